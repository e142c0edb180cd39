"""Seconds per stage of the whole pipeline, and how time and memory grow with the faces."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..faces.paste import Surface
from ..faces.restore import at_once
from ..images.files import read_picture
from ..models.load import load_model
from ..models.model import Model
from ..options import Options
from ..report import Report
from ..run import Run, Tools, split
from ..weights.locate import locate
from .contenders import Task, random_state
from .measure import reset_peak, resident_peak
from .start_up import start_up

STAGES = ("detect", "align", "restore", "mask", "paste")


def pipeline(pictures: Tensor, model: Model, options: Options | None = None) -> dict[str, Any]:
    """Seconds per stage for (B, 3, H, W) 0..1 pictures.

    `peak_mb` is the resident peak meanwhile, less what was resident at its start; None where the
    operating system does not tell.
    """
    before = reset_peak()
    start, start_cpu = time.perf_counter(), time.process_time()
    report = Report()
    for result in Run(Tools(model), options)(split(Surface(pictures))):
        report.add(result.report)
    seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    peak = resident_peak()
    restoring = report.seconds.get("restore", 0.0)
    return {
        "pictures": len(pictures),
        "faces": report.restored,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "peak_mb": None if before is None or peak is None else peak - before,
        "stages": {name: report.seconds.get(name, 0.0) for name in STAGES},
        "outside_the_network": 1 - restoring / seconds,
        "events": report.events,
    }


def growth(picture: Tensor, model: Model, faces: int) -> list[dict[str, Any]]:
    """`pipeline` of (1, 3, H, W) with a quarter and half of its faces restored."""
    counts = [count for count in (faces // 4, faces // 2) if count]
    return [pipeline(picture, model, Options.of(keep=count)) for count in counts]


def photograph(path: Path, frames: int = 1) -> Tensor:
    """(frames, 3, H, W): one photograph as a batch of equal frames."""
    return read_picture(path).pixels.expand(frames, -1, -1, -1).contiguous()


@contextmanager
def model_file(model_path: str | None, size: int | None) -> Iterator[Path]:
    """The file named, the embedded one, or of random weights of the published `size`."""
    if size is None:
        yield locate(model_path)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"random-{size}.safetensors"
        save_file(random_state(Task(size).config), path)
        yield path


def of_model(
    photo: Path, model_path: str | None, size: int | None, device: str, frames: int
) -> dict[str, Any]:
    """`pipeline`, `growth` and `start_up` of one model on one photograph."""
    with model_file(model_path, size) as path:
        model = load_model(path, device)
        pictures = photograph(photo, frames)
        with torch.inference_mode():
            # Warm: the detector's weights, what the network derives from its own, and its
            # buffers for a full batch.
            few = Options.of(keep=at_once(model, Options().restore))
            Run(Tools(model), few).restored(Surface(pictures[:1]))
            whole = pipeline(pictures, model)
            parts = growth(pictures, model, whole["faces"]) if frames == 1 else []
        return {
            **whole,
            "growth": parts,
            "start_up": start_up(path, device, torch.get_num_threads()),
        }
