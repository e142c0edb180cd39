"""Any readable checkpoint to safetensors with metadata, and what `gpen inspect` says."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from ..errors import InputError
from ..images import write_atomically
from ..model import DTYPES, build_model
from .info import ModelInfo
from .read import read_checkpoint
from .unwrap import unwrap


def inspect(path: str | os.PathLike[str]) -> ModelInfo:
    """What a model file is.

    Raises:
        GPENError: it is not a model this project runs; the text says what it looks like.
    """
    from ..model import load_model

    return load_model(path).info


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    precision: str | None = None,
    *,
    overwrite: bool = False,
) -> ModelInfo:
    """Write a checkpoint's weights as safetensors, with what is known about them as metadata.

    Args:
        source: any checkpoint that `load_model` reads.
        target: a `.safetensors` file, written atomically.
        precision: "fp32", "fp16" or "bf16"; None keeps the stored one.

    Raises:
        GPENError: the source is no model, the target exists or cannot be written.
    """
    source, target = Path(source), Path(target)
    if target.suffix.lower() != ".safetensors":
        raise InputError(f"{target}: the converted file must be named .safetensors.")
    if target.exists() and not overwrite:
        raise InputError(f"{target} exists already; give another name or --overwrite.")
    raw = read_checkpoint(source)
    weights = unwrap(raw.content, raw.metadata)
    model = build_model(raw.content, str(source), DTYPES["fp32"], raw.metadata)
    info = model.info
    state = {key: _cast(value, precision) for key, value in weights.state.items()}
    metadata = {
        **raw.metadata,
        "architecture": info.architecture,
        "input_size": str(info.input_size),
        "output_size": str(info.output_size),
        "template": info.template,
        "source_file": source.name,
        "source_sha256": sha256(source),
    }
    if weights.args:
        metadata["args"] = json.dumps(weights.args, default=str)
    write_atomically(target, save(state, metadata))
    return info


def _cast(value: Tensor, precision: str | None) -> Tensor:
    if precision is not None and value.is_floating_point():
        value = value.to(DTYPES[precision])
    return value.contiguous().clone()


def sha256(path: Path) -> str:
    """The SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
