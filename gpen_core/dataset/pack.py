"""Faces in one file, to carry them elsewhere: the bytes of all pictures as one uint8 tensor.

A safetensors file with `pictures`, the files one after the other, `ends`, where each ends, and the
manifest's rows as metadata. Nothing is encoded anew, so a pack is as large as the files in it.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..errors import InputError
from ..files import replacing


def write_pack(files: list[Path], manifest: str, path: Path) -> int:
    """Write a pack; its size in bytes.

    Args:
        files: the pictures.
        manifest: CSV with a head and a row for each picture, in the same order.
        path: of the pack; replaced where it exists.

    Raises:
        InputError: a picture cannot be read.
    """
    parts = []
    for file in files:
        try:
            parts.append(torch.frombuffer(bytearray(file.read_bytes()), dtype=torch.uint8))
        except (OSError, ValueError) as error:
            raise InputError(f"The picture {file} cannot be read: {error}") from error
    ends = torch.tensor([len(part) for part in parts]).cumsum(0)
    tensors = {"pictures": torch.cat(parts), "ends": ends}
    with replacing(path) as scratch:
        save_file(tensors, scratch, metadata={"manifest": manifest})
    return path.stat().st_size


def read_index(path: Path) -> tuple[str, list[int]]:
    """The manifest and where each picture ends.

    Raises:
        InputError: the file is no pack.
    """
    try:
        with safe_open(path, "pt") as file:
            return file.metadata()["manifest"], file.get_tensor("ends").tolist()
    except (OSError, SafetensorError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is not a pack of faces; give a folder of pictures, or a pack made of one."
        ) from error


def read_span(path: Path, span: tuple[int, int]) -> bytes:
    """The bytes of one picture.

    Raises:
        OSError: the pack is missing or torn.
    """
    try:
        with safe_open(path, "pt") as file:
            return file.get_slice("pictures")[span[0] : span[1]].numpy().tobytes()
    except SafetensorError as error:
        raise OSError(str(error)) from error
