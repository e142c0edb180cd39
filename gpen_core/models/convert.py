"""Any readable checkpoint to safetensors with metadata, and what `gpen inspect` says."""

from __future__ import annotations

import argparse
import json
import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..errors import InputError
from ..files import replacing, sha256
from ..options import ModelOptions, spec_of
from .device import DTYPES
from .identify import Identified
from .info import ModelInfo
from .load import describe_content
from .read import RawCheckpoint, file_kind, read_checkpoint
from .unwrap import V2_PARTS, unwrap

log = logging.getLogger(__name__)

__all__ = ["convert", "inspect", "save_torch"]


def inspect(path: str | os.PathLike[str]) -> ModelInfo:
    """What a model file is. The weights are looked at (all must be finite) but not loaded.

    Raises:
        GPENError: it is not a model this project runs; the text says what it looks like.

    Example:
        >>> from gpen_core.weights.locate import embedded
        >>> info = inspect(embedded())
        >>> info.architecture, info.output_size, info.file_format
        ('gpen-v1', 256, 'safetensors')
    """
    path = Path(path)
    if file_kind(path) == "onnx":
        from .onnx_file import describe_onnx  # late: few have onnxruntime

        return describe_onnx(path)[0]
    return _look(path)[0]


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    precision: str | None = None,
    *,
    task: str | None = None,
    overwrite: bool = False,
) -> ModelInfo:
    """Write a checkpoint's weights as safetensors, with what is known about them as metadata.

    Args:
        source: any checkpoint that `load_model` reads.
        target: a `.safetensors` file, written atomically.
        precision: "fp32", "fp16" or "bf16"; None keeps the stored one.
        task: what the model is for; None writes what is known, and a guess is said.

    Returns:
        What the source is.

    Raises:
        GPENError: the source is no model, the target exists or cannot be written.

    Example:
        >>> import tempfile
        >>> from gpen_core.weights.locate import embedded
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     target = Path(folder, "half.safetensors")
        ...     _ = convert(embedded(), target, precision="fp16")
        ...     inspect(target).stored
        'fp16'
    """
    source, target = Path(source), Path(target)
    if target.suffix.lower() != ".safetensors":
        raise InputError(f"{target}: the converted file must be named .safetensors.")
    dtype = _check(source, target, precision, overwrite)
    info, found, raw = _look(source)
    if task is not None:
        spec_of(ModelOptions, "task").check("task", task)
        info = replace(info, task=task, task_source="user")
    elif info.guess:
        log.warning("%s It is written into %s.", info.guess, target)
    state = {key: _cast(value, dtype) for key, value in found.state.items()}
    with replacing(target) as scratch:
        save_file(state, scratch, _metadata(info, source, unwrap(raw.content, raw.metadata).args))
    return info


def save_torch(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    precision: str | None = None,
    *,
    legacy: bool = False,
    overwrite: bool = False,
) -> ModelInfo:
    """Write a checkpoint's weights as PyTorch does, for programs that read nothing else.

    A v2.0 model is written in its own layout: `encoder`, `mapper`, `generator` and `args`.

    Args:
        source, precision: as for `convert`.
        target: a `.pth` or `.pt` file, written atomically.
        legacy: the format of before PyTorch 1.6, which is no zip archive.

    Raises:
        GPENError: as for `convert`.

    Example:
        >>> import tempfile
        >>> from gpen_core.weights.locate import embedded
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     target = Path(folder, "old.pth")
        ...     _ = save_torch(embedded(), target, legacy=True)
        ...     inspect(target).file_format
        'torch-legacy'
    """
    source, target = Path(source), Path(target)
    if target.suffix.lower() not in (".pth", ".pt"):
        raise InputError(f"{target}: a PyTorch file must be named .pth or .pt.")
    dtype = _check(source, target, precision, overwrite)
    info, found, raw = _look(source)
    content: dict[str, Any] = {key: _cast(value, dtype) for key, value in found.state.items()}
    if info.architecture == "gpen-v2":
        content = _parts(content, unwrap(raw.content, raw.metadata).args, info)
    # Into an open file: PyTorch's own way to write keeps the reason of a failure to itself.
    with replacing(target) as scratch, scratch.open("wb") as file:
        torch.save(content, file, _use_new_zipfile_serialization=not legacy)
    return info


def _look(path: Path) -> tuple[ModelInfo, Identified, RawCheckpoint]:
    """What a file is and its weights, which stay on the disk where the format allows it."""
    raw = read_checkpoint(path, mapped=True)
    info, found = describe_content(raw.content, str(path), raw.metadata)
    return info.of_file(path, raw.file_format), found, raw


def _check(
    source: Path, target: Path, precision: str | None, overwrite: bool
) -> torch.dtype | None:
    if target.exists() and not overwrite:
        raise InputError(f"{target} exists already; give another name.", remedy="overwrite")
    if target.exists() and source.exists() and target.samefile(source):
        raise InputError(f"{target} is the file to be converted; give another name.")
    if precision is None:
        return None
    if precision not in DTYPES:
        raise InputError(f"There is no precision {precision!r}; use {', '.join(DTYPES)}.")
    return DTYPES[precision]


def _cast(value: Tensor, dtype: torch.dtype | None) -> Tensor:
    value = value.detach().to(dtype or value.dtype).contiguous()
    # Two names for one tensor, or a slice of a larger one, are written as tensors of their own.
    whole = value.untyped_storage().nbytes() == value.numel() * value.element_size()
    return value if whole and dtype is not None else value.clone()


def _metadata(info: ModelInfo, source: Path, args: dict[str, Any]) -> dict[str, str]:
    metadata = {
        **info.metadata,
        "format": "pt",
        "architecture": info.architecture,
        "input_size": str(info.input_size),
        "output_size": str(info.output_size),
        "template": info.template,
        "source_file": source.name,
        "source_sha256": sha256(source),
    }
    if info.task_source:  # of other files nothing is known
        metadata["task"] = info.task
    if args:
        metadata["args"] = json.dumps(args)
    return metadata


def _parts(state: dict[str, Any], args: dict[str, Any], info: ModelInfo) -> dict[str, Any]:
    """A v2.0 state dict in the layout of its files."""
    sizes = {"input_resolution": info.input_size, "output_resolution": info.output_size}
    parts: dict[str, Any] = {part: {} for part in V2_PARTS}
    for key, value in state.items():
        part, _, name = key.partition(".")
        parts[part][name] = value
    return {**parts, "args": argparse.Namespace(**{**sizes, **args})}
