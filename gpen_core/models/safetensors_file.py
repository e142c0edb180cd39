"""Safetensors files: a header in JSON, then the tensors' bytes, one after the other.

Read here rather than by the package, whose reading of a type depends on its version and which maps
the file, so that a copy would be in memory twice for a while. The format is a page:
https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError
from ..text import first_line, quoted
from .tensors import BadTensor, FileBytes, build_tensor, item_size

MAX_HEADER = 16 << 20
MAX_TENSORS = 20_000
_TYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
    "C64": "complex64",
}


class _Damaged(ValueError):
    """What is wrong with the file; the text stands in parentheses."""


def read_safetensors(path: Path, *, mapped: bool) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the text metadata of a file.

    Args:
        path: the file.
        mapped: leave the tensors on the disk until they are looked at.

    Raises:
        CheckpointError: it is damaged, cut off, or holds numbers of an unknown type.
    """
    try:
        header, start = _header(path)
        metadata = _metadata(header)
        with FileBytes(path, mapped) as data, torch.inference_mode(False):
            _check_places(header, path.stat().st_size - start)
            tensors = {key: _tensor(path, key, entry, start, data) for key, entry in header.items()}
    except (_Damaged, BadTensor, OSError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} is a damaged or cut-off safetensors file ({first_line(error)}); "
            f"download it again."
        ) from error
    return tensors, metadata


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """The header, and where the tensors' bytes begin."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size - 8:
            raise _Damaged("its header is not whole")
        if length > MAX_HEADER:
            raise _Damaged("its header is larger than any model's")
        text = file.read(length)
    if text.count(b"{") > MAX_TENSORS + 2:
        raise _Damaged("it names more tensors than any model has")
    try:
        header = json.loads(text, object_pairs_hook=_without_duplicates)
    except _Damaged:
        raise
    except (ValueError, RecursionError) as error:
        raise _Damaged("its header is not JSON") from error
    if not isinstance(header, dict):
        raise _Damaged("its header names no tensors")
    return header, 8 + length


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Damaged("its header has a name twice")
    return found


def _metadata(header: dict[str, Any]) -> dict[str, str]:
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise _Damaged("its metadata is not text")
    return metadata


def _check_places(header: dict[str, Any], available: int) -> None:
    """Every byte belongs to one tensor."""
    end = 0
    for begin, stop in sorted(_place(entry) for entry in header.values()):
        if begin != end or stop < begin:
            raise _Damaged("its tensors overlap or leave gaps")
        end = stop
    if end != available:
        raise _Damaged(f"its tensors take {end} bytes, and {available} are there")


def _place(entry: Any) -> tuple[int, int]:
    place = entry.get("data_offsets") if isinstance(entry, dict) else None
    if not isinstance(place, list) or len(place) != 2 or any(type(at) is not int for at in place):
        raise _Damaged("a tensor has no place")
    return place[0], place[1]


def _tensor(path: Path, key: str, entry: dict[str, Any], start: int, data: FileBytes) -> Tensor:
    name, shape = entry.get("dtype"), entry.get("shape")
    dtype = getattr(torch, _TYPES.get(name, ""), None) if isinstance(name, str) else None
    if dtype is None:
        raise CheckpointError(
            f"{path}: the weights {quoted(key)} are stored as {quoted(name)}, which cannot be run; "
            f"get the file in fp32, fp16 or bf16."
        )
    if not isinstance(shape, list) or any(type(side) is not int or side < 0 for side in shape):
        raise _Damaged("a tensor has no shape")
    begin, stop = _place(entry)
    item = item_size(dtype)
    if len(shape) > 16 or math.prod(shape) * item != stop - begin:
        raise _Damaged(f"the tensor {quoted(key)} has another size than its shape says")
    strides = [math.prod(shape[at + 1 :]) for at in range(len(shape))]
    storage = data.storage(start + begin, stop - begin, item)
    return build_tensor(storage, dtype, 0, shape, strides)
