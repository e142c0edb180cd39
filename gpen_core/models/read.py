"""Read a checkpoint file without running anything that is in it.

Files are recognized by their content, never by their name. What a file costs is bounded by its
size, and what is wrong with it is said in one sentence. PyTorch files are read by `torch_file`,
safetensors by `safetensors_file`, graphs by `onnx.weights`; PyTorch's own reader has no part in it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, MissingWeightsError
from .safetensors_file import read_safetensors
from .torch_file import read_legacy, read_zip

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
    return _read(path, kind, mapped)


def read_tensors(path: str | os.PathLike[str]) -> Any:
    """The content of a PyTorch or safetensors file that is no restoration model, on the CPU.

    Weights of detectors and parsers, and training checkpoints: the same reader and the same
    checks as for models.

    Raises:
        MissingWeightsError: there is no such file.
        CheckpointError: the file is damaged, wants to run code, or is an ONNX graph.

    Example:
        >>> import tempfile, torch
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save({"weight": torch.ones(2, 3)}, f"{folder}/a.pth")
        ...     read_tensors(f"{folder}/a.pth")["weight"].shape
        torch.Size([2, 3])
    """
    path = Path(path)
    kind = file_kind(path)
    if kind == "onnx":
        raise CheckpointError(
            f"{path} is an ONNX graph where a PyTorch or safetensors file is expected."
        )
    return _read(path, kind, mapped=False).content


def _read(path: Path, kind: str, mapped: bool) -> RawCheckpoint:
    if kind == "safetensors":
        tensors, metadata = read_safetensors(path, mapped=mapped)
        return RawCheckpoint(tensors, kind, metadata)
    content = read_zip(path, mapped=mapped) if kind == "torch-zip" else read_legacy(path)
    return RawCheckpoint(content, kind)


def file_kind(path: Path) -> str:
    """ "safetensors", "torch-zip", "torch-legacy" or "onnx", by content.

    Raises:
        MissingWeightsError, CheckpointError: see `read_checkpoint`.

    Example:
        >>> from gpen_core.weights.locate import embedded
        >>> file_kind(embedded())
        'safetensors'
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
