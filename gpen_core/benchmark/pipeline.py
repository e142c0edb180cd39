"""Seconds per stage of the whole pipeline, and of starting up."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..images import read_picture
from ..model import Model, load_model
from ..pipeline import restore_images

STAGES = ("detect", "align", "restore", "mask", "paste")


def pipeline(pictures: Tensor, model: Model) -> dict[str, Any]:
    """Seconds per stage for (B, 3, H, W) 0..1 pictures, run twice; the second run counts."""
    restore_images(pictures[:1], model)
    start = time.perf_counter()
    *_, report = restore_images(pictures, model)
    seconds = time.perf_counter() - start
    restoring = report.seconds.get("restore", 0.0)
    return {
        "pictures": len(pictures),
        "faces": sum(face.restored for face in report.faces),
        "seconds": seconds,
        "stages": {name: report.seconds.get(name, 0.0) for name in STAGES},
        "outside_the_network": 1 - restoring / seconds,
        "events": report.events,
    }


def photograph(path: Path, frames: int = 1) -> Tensor:
    """(frames, 3, H, W): one photograph as a batch of equal frames."""
    return read_picture(path).pixels.expand(frames, -1, -1, -1).contiguous()


def start_up(model_path: str | None) -> dict[str, float]:
    """Seconds to import, to load, to the first face and to the second, in a fresh process."""
    code = (
        "import sys, time; t0 = time.perf_counter(); import gpen_core, torch;"
        "t1 = time.perf_counter(); m = gpen_core.load_model(sys.argv[1] or None);"
        "t2 = time.perf_counter(); x = torch.zeros(1, 3, m.input_size, m.input_size);"
        "m(x); t3 = time.perf_counter(); m(x); t4 = time.perf_counter();"
        "print(t1 - t0, t2 - t1, t3 - t2, t4 - t3)"
    )
    command = [sys.executable, "-c", code, model_path or ""]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, capture_output=True, check=True, text=True, cwd=root)
    names = ("import", "load", "first face", "next face")
    return dict(zip(names, map(float, done.stdout.split()), strict=True))


def of_model(path: Path, model_path: str | None, device: str, frames: int) -> dict[str, Any]:
    """`pipeline` and `start_up` of one model on one photograph."""
    model = load_model(model_path, device)
    with torch.inference_mode():
        stages = pipeline(photograph(path, frames), model)
    return {**stages, "start_up": start_up(model_path)}
