"""Read a checkpoint file without running anything that is in it.

Files are recognized by their content. PyTorch files (zip and legacy format) go through PyTorch's
`weights_only` unpickler, whose allow-list is widened by `argparse.Namespace` as plain data and by
nothing else; safetensors hold no code at all.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import re
import struct
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import CheckpointError, MissingWeightsError

_HEAD = 512
_PICTURES = {
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"RIFF": "WebP",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}
_ARCHIVES = {
    b"\x1f\x8b": "gzip",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!": "RAR",
    b"\xfd7zXZ": "xz",
    b"BZh": "bzip2",
    b"\x28\xb5\x2f\xfd": "zstd",
}
_OTHER_MODELS = {
    b"GGUF": "a GGUF file",
    b"\x89HDF": "an HDF5 (Keras) file",
    b"ftrt": "a TensorRT engine",
    b"ptrt": "a TensorRT engine",
}
# What the unpickler and the zip reader raise on bytes that were changed or cut off, found by
# flipping, removing and cutting bytes of real files.
_DAMAGE = (
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    OverflowError,
    MemoryError,
    struct.error,
    zipfile.BadZipFile,
)
_SAFETENSORS_TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
# PyTorch keeps one allow-list for the whole process: without this lock one thread would take the
# name away from under another.
_ALLOW_LIST = threading.Lock()


@dataclass(frozen=True)
class RawCheckpoint:
    """What a file holds, before anybody asked what it means.

    Attributes:
        content: the top-level object; for safetensors a flat dict of tensors.
        file_format: "safetensors", "torch-zip", "torch-legacy" or "onnx".
        metadata: the text metadata of a safetensors file.
    """

    content: Any
    file_format: str
    metadata: Mapping[str, str] = field(default_factory=dict)


def read_checkpoint(path: str | os.PathLike[str], *, mapped: bool = False) -> RawCheckpoint:
    """The content of a `.pth`, `.pt`, `.ckpt` or `.safetensors` file, on the CPU.

    The name does not matter, the content decides.

    Args:
        path: the file.
        mapped: leave the tensors of zip and safetensors files on the disk until they are looked
            at. For a look that ends before the file can change; without it the memory taken is
            that of the file.

    Raises:
        MissingWeightsError: there is no such file.
        CheckpointError: the file is no checkpoint, is damaged, or wants to run code.
    """
    path = Path(path)
    kind = file_kind(path)
    if kind == "onnx":
        from ..onnx.weights import read_onnx_weights  # late: few have the package onnx

        state, metadata = read_onnx_weights(path)
        return RawCheckpoint(state, kind, metadata)
    # Tensors made in inference mode could not be moved or changed outside of it.
    with torch.inference_mode(False):
        if kind == "safetensors":
            return _read_safetensors(path, mapped)
        return RawCheckpoint(_read_torch(path, kind, mapped), kind)


def file_kind(path: Path) -> str:
    """ "safetensors", "torch-zip", "torch-legacy" or "onnx", by content.

    Raises:
        MissingWeightsError, CheckpointError: see `read_checkpoint`.
    """
    head = _head(path)
    _refuse_failed_downloads(path, head)
    _refuse_other_formats(path, head)
    if head.startswith(b"PK\x03\x04"):
        return "torch-zip"
    if _is_safetensors(head):
        return "safetensors"
    if head.startswith(b"\x80"):  # a pickle of protocol 2 or later
        return "torch-legacy"
    if _is_onnx(head):
        return "onnx"
    raise CheckpointError(
        f"{path} is not a model file this program knows ({path.stat().st_size} bytes, starting "
        f"with {head[:8].hex(' ')}); it may be damaged: download it again."
    )


def _head(path: Path) -> bytes:
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; name the model file in it.")
    if not path.exists():
        raise MissingWeightsError(f"{path}: no such model file; check the path.")
    if not path.is_file():  # opening a pipe would wait for ever
        raise CheckpointError(f"{path} is a device or a pipe; name a model file.")
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error.strerror}); check its permissions."
        ) from error


def _refuse_failed_downloads(path: Path, head: bytes) -> None:
    """What lies where a model should, when a download went wrong."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if not head:
        raise CheckpointError(f"{path} is empty (0 bytes); download it again.")
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<body", b"<!--")):
        raise CheckpointError(
            f"{path} is a web page saved under a model's name; download the file itself."
        )
    if head.startswith(b"version https://git-lfs"):
        raise CheckpointError(
            f"{path} is a Git LFS pointer, not the file it points to; run 'git lfs pull' or "
            f"download the file itself."
        )
    if text.startswith(b"{") and b'"error' in text:
        raise CheckpointError(f"{path} is a server's error message; download the file again.")


def _refuse_other_formats(path: Path, head: bytes) -> None:
    """Pictures, archives and the model files of other programs."""
    for magic, name in _PICTURES.items():
        if head.startswith(magic):
            raise CheckpointError(f"{path} is a {name} picture, not a model; name a model file.")
    for magic, name in _ARCHIVES.items():
        if head.startswith(magic):
            raise CheckpointError(
                f"{path} is a {name} archive, not a model; unpack it and name the file inside."
            )
    for magic, name in _OTHER_MODELS.items():
        if head.startswith(magic) or head[4 : 4 + len(magic)] == magic:
            raise CheckpointError(
                f"{path} is {name}, which this program cannot run; get the model as .safetensors "
                f"or .pth."
            )


def _is_safetensors(head: bytes) -> bool:
    return len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 30


def _is_onnx(head: bytes) -> bool:
    """An ONNX ModelProto: field 1 (the IR version, a small number), then a field it may have."""
    return len(head) > 2 and head[0] == 0x08 and 0 < head[1] < 32 and head[2] in b"\x12\x1a\x22:B("


def _read_safetensors(path: Path, mapped: bool) -> RawCheckpoint:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            if mapped:
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        # The header was checked above: offsets are in range and belong to the shapes.
        return RawCheckpoint(tensors if mapped else _copied(path), "safetensors", metadata)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{path} is a damaged or cut-off safetensors file ({_first_line(error)}); "
            f"download it again."
        ) from error


def _copied(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, read into memory of their own.

    `safe_open` maps them, so that a copy would have both in memory for a while.
    """
    tensors = {}
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        for key, entry in header.items():
            tensor = torch.empty(entry["shape"], dtype=_SAFETENSORS_TYPES[entry["dtype"]])
            if tensor.numel():
                file.seek(8 + length + entry["data_offsets"][0])
                file.readinto(tensor.reshape(-1).view(torch.uint8).numpy().data)
            tensors[key] = tensor
    return tensors


def _read_torch(path: Path, kind: str, mapped: bool) -> Any:
    if kind == "torch-zip":
        _check_zip(path)
    try:
        with _namespaces_allowed():
            return torch.load(
                path, map_location="cpu", weights_only=True, mmap=mapped and kind == "torch-zip"
            )
    except pickle.UnpicklingError as error:
        raise CheckpointError(_pickle_sentence(path, str(error))) from error
    except _DAMAGE as error:
        raise CheckpointError(
            f"{path} is damaged or cut off ({_first_line(error)}); download it again."
        ) from error


@contextmanager
def _namespaces_allowed() -> Iterator[None]:
    """`argparse.Namespace` on PyTorch's allow-list, which is left as it was found."""
    with _ALLOW_LIST:
        if argparse.Namespace in torch.serialization.get_safe_globals():
            yield
        else:
            with torch.serialization.safe_globals([argparse.Namespace]):
                yield


def _check_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, EOFError) as error:
        raise CheckpointError(
            f"{path} is cut off: its end is missing; download it again."
        ) from error
    except (NotImplementedError, ValueError, OSError, struct.error) as error:
        raise CheckpointError(
            f"{path} is damaged ({_first_line(error)}); download it again."
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
    return f"{path} is damaged or no PyTorch file ({_detail(reason)}); download it again."


def _detail(reason: str) -> str:
    """PyTorch's own finding, without the advice it wraps around it."""
    return _first_line(reason.rpartition("WeightsUnpickler error: ")[2] or reason)


def _first_line(error: object) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".")[:160] if lines else type(error).__name__
