"""Read a checkpoint file without running anything that is in it.

Files are recognised by their content. PyTorch files (zip and legacy format) go through PyTorch's
`weights_only` unpickler, whose allow-list is widened by `argparse.Namespace` as plain data and by
nothing else; safetensors hold no code at all.
"""

from __future__ import annotations

import argparse
import os
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from ..errors import CheckpointError, MissingWeightsError

_HEAD = 512
_LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_PICTURES = {b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG", b"RIFF": "WebP", b"GIF8": "GIF"}


@dataclass(frozen=True)
class RawCheckpoint:
    """What a file holds, before anybody asked what it means.

    Attributes:
        content: the top-level object; for safetensors a flat dict of tensors.
        file_format: "safetensors", "torch-zip" or "torch-legacy".
        metadata: the text metadata of a safetensors file.
    """

    content: Any
    file_format: str
    metadata: Mapping[str, str] = field(default_factory=dict)


def read_checkpoint(path: str | os.PathLike[str]) -> RawCheckpoint:
    """The content of a `.pth`, `.pt` or `.safetensors` file, whatever its name, on the CPU.

    Tensors of zip and safetensors files are mapped, not copied: copy them before the file can
    change.

    Raises:
        MissingWeightsError: there is no such file.
        CheckpointError: the file is no checkpoint, is damaged, or wants to run code.
    """
    path = Path(path)
    kind = file_kind(path)
    if kind == "safetensors":
        return _read_safetensors(path)
    return RawCheckpoint(_read_torch(path, kind), kind)


def file_kind(path: Path) -> str:
    """ "safetensors", "torch-zip", "torch-legacy" or "onnx", by content.

    Raises:
        MissingWeightsError, CheckpointError: see `read_checkpoint`.
    """
    head = _head(path)
    size = path.stat().st_size
    _refuse_known_strangers(path, head)
    if head.startswith(b"PK\x03\x04"):
        return "torch-zip"
    if _is_safetensors(head):
        return "safetensors"
    if head.startswith(_LEGACY_MAGIC):
        return "torch-legacy"
    if head[:1] == b"\x80":
        return "torch-legacy"
    if _is_onnx(path, head):
        return "onnx"
    raise CheckpointError(
        f"{path} is not a model file this program knows ({size} bytes, starting with "
        f"{head[:8].hex(' ')}); it may be damaged: download it again."
    )


def _head(path: Path) -> bytes:
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; name the model file in it.")
    if not path.exists():
        raise MissingWeightsError(f"{path}: no such model file; check the path.")
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}).") from error


def _refuse_known_strangers(path: Path, head: bytes) -> None:
    """What people have in place of a model: empty files, web pages, pointers, pictures."""
    text = head.lstrip().lower()
    if not head:
        raise CheckpointError(f"{path} is empty (0 bytes); download it again.")
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<body")):
        raise CheckpointError(
            f"{path} is a web page saved under a model's name; download the file itself."
        )
    if head.startswith(b"version https://git-lfs"):
        raise CheckpointError(
            f"{path} is a Git LFS pointer, not the file it points to; run 'git lfs pull' or "
            f"download the file itself."
        )
    if text.startswith(b'{"') and b"error" in text:
        raise CheckpointError(f"{path} is a server's error message; download the file again.")
    for magic, name in _PICTURES.items():
        if head.startswith(magic):
            raise CheckpointError(f"{path} is a {name} picture, not a model.")


def _is_safetensors(head: bytes) -> bool:
    return len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 30


def _is_onnx(path: Path, head: bytes) -> bool:
    """An ONNX ModelProto starts with field 1 (the IR version), and names its producer."""
    return head[:1] == b"\x08" and (path.suffix.lower() == ".onnx" or b"pytorch" in head[:64])


def _read_safetensors(path: Path) -> RawCheckpoint:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return RawCheckpoint(tensors, "safetensors", file.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is a damaged or cut-off safetensors file ({error}); download it again."
        ) from error


def _read_torch(path: Path, kind: str) -> Any:
    if kind == "onnx":
        raise CheckpointError(f"{path} is an ONNX graph, not a PyTorch checkpoint.")
    if kind == "torch-zip":
        _check_zip(path)
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=kind == "torch-zip")
    except pickle.UnpicklingError as error:
        raise CheckpointError(_pickle_sentence(path, str(error))) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise CheckpointError(
            f"{path} is damaged or cut off ({_first_line(error)}); download it again."
        ) from error


def _check_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile as error:
        raise CheckpointError(
            f"{path} is cut off: its end is missing; download it again."
        ) from error
    if any(name.partition("/")[2].startswith("code/") for name in names):
        raise CheckpointError(
            f"{path} is a TorchScript program, which is code; use the file with the weights."
        )
    if not any(name.endswith("data.pkl") for name in names):
        raise CheckpointError(
            f"{path} is a ZIP archive, not a model; unpack it and name the file inside."
        )


def _pickle_sentence(path: Path, reason: str) -> str:
    wanted = re.search(r"GLOBAL ([\w.]+)", reason)
    if wanted:
        return (
            f"{path} asks for {wanted[1]!r} when it is opened, which is code and not weights; it "
            f"is refused: get the model from a source you trust, best as .safetensors."
        )
    return f"{path} is damaged or no PyTorch file ({_first_line(reason)}); download it again."


def _first_line(error: object) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".")[:160] if lines else type(error).__name__
