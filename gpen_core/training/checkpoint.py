"""The state of a run on disk: written whole or not at all, read back bit for bit."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..errors import CheckpointError
from ..files import remove_torn, replacing
from ..models.read import read_tensors
from ..networks.gpen_v2 import GPENv2Config
from .second import Restorer

log = logging.getLogger(__name__)
_NAME = re.compile(r"step-(\d{8})\.pt")


def save(folder: Path, step: int, state: dict[str, object], keep: int) -> Path:
    """Write `step-<step>.pt` atomically and delete all but the last `keep` checkpoints."""
    path = folder / f"step-{step:08d}.pt"
    remove_torn(folder)  # of a run that was killed while it wrote
    # Into an open file: PyTorch's own way to write keeps the reason of a failure to itself.
    with replacing(path) as scratch, scratch.open("wb") as file:
        torch.save(state, file)
    for old in _all(folder)[:-keep]:
        old.unlink()
    return path


def load_last(folder: Path) -> dict[str, object] | None:
    """The newest checkpoint of a run, None where there is none.

    Raises:
        CheckpointError: the newest file is damaged.
    """
    files = _all(folder)
    if not files:
        return None
    damaged = (
        f"The training checkpoint {files[-1]} is damaged; delete it to resume from the one before."
    )
    try:
        state = read_tensors(files[-1])
    except CheckpointError as error:
        raise CheckpointError(f"{damaged} ({error})") from error
    if not isinstance(state, dict):
        raise CheckpointError(damaged)
    return state


def export(path: Path, net: Restorer, state: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write `state` in float16 as safetensors, atomically, with what a loader wants to know."""
    config = net.config
    half = {key: value.detach().cpu().half().contiguous() for key, value in state.items()}
    second = isinstance(config, GPENv2Config)
    described = {
        "architecture": "gpen-v2" if second else "gpen-v1",
        "input_size": str(config.in_size),
        "output_size": str(config.out_size),
        "template": "gpen",
        **({"args": json.dumps(_arguments(config))} if isinstance(config, GPENv2Config) else {}),
        **metadata,
    }
    with replacing(path) as scratch:
        save_file(half, scratch, metadata=described)
    log.info("exported %s (%.1f MB)", path, path.stat().st_size / 1e6)


def _arguments(config: GPENv2Config) -> dict[str, object]:
    """What a v2.0 file says of itself; shapes do not tell at which size its encoder looks."""
    return {
        "input_resolution": config.in_size,
        "output_resolution": config.out_size,
        "version": f"GPEN-BFR-v2.0-{config.out_size}",
    }


def _all(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("step-*.pt") if _NAME.fullmatch(path.name))
