"""Tensors built from bytes of a file, after their numbers were checked against these bytes.

What `torch._utils._rebuild_tensor_v2` and its like do, without believing what they are told: no
tensor reaches outside its storage, counts an element twice, or is larger than its bytes.
"""

from __future__ import annotations

import math
import mmap
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

_MAX_DIMENSIONS = 16
_MAX_NUMBER = 1 << 62


class BadTensor(ValueError):
    """A tensor that is not what its bytes allow; the text begins with "a tensor"."""


class FileBytes:
    """Parts of a file as storages: read into memory of their own, or left on the disk.

    Args:
        path: the file.
        mapped: leave them on the disk until they are looked at; changes are not written back.
    """

    def __init__(self, path: Path, mapped: bool) -> None:
        if sys.byteorder != "little":
            raise BadTensor("a tensor that this machine, which is big-endian, cannot read")
        self._file = path.open("rb")
        self._map = None
        size = path.stat().st_size
        if mapped and size:
            view = mmap.mmap(self._file.fileno(), size, access=mmap.ACCESS_COPY)
            self._map = torch.frombuffer(view, dtype=torch.uint8)

    def __enter__(self) -> FileBytes:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def storage(self, start: int, size: int, item: int) -> Tensor:
        """(size,) uint8: `size` bytes of the file from `start`, which hold items of `item` bytes.

        Raises:
            BadTensor: the file ends before.
        """
        # A tensor that does not begin at a multiple of its items cannot be seen in place.
        if self._map is not None and start % item == 0:
            return self._map[start : start + size]
        target = torch.empty(size, dtype=torch.uint8)
        self._file.seek(start)
        if size and self._file.readinto(target.numpy().data) != size:
            raise BadTensor("a tensor whose bytes are missing")
        return target


def build_tensor(
    storage: Tensor,
    dtype: torch.dtype,
    offset: object,
    shape: object,
    strides: object,
) -> Tensor:
    """The tensor of a storage's bytes.

    Args:
        storage: (bytes,) uint8.
        dtype: of its elements.
        offset, shape, strides: in elements, as a file gives them: anything at all.

    Raises:
        BadTensor: they are no such numbers, or reach outside the storage, or use elements twice.
    """
    sides, steps = _numbers(shape), _numbers(strides)
    (begin,) = _numbers((offset,))
    if len(sides) != len(steps) or len(sides) > _MAX_DIMENSIONS:
        raise BadTensor("a tensor without a proper shape")
    item = item_size(dtype)
    available = storage.numel() // item
    count, last = 1, begin
    for side, step in zip(sides, steps, strict=True):
        count *= side
        last += (side - 1) * step
        if side > 1 and step == 0:
            raise BadTensor("a tensor that repeats its values instead of holding them")
    if count and (count > available or last >= available):
        raise BadTensor("a tensor larger than its data")
    if not count:
        if math.prod(max(side, 1) for side in sides) > _MAX_NUMBER:
            raise BadTensor("a tensor without a proper shape")
        return torch.empty(sides, dtype=dtype)
    used = storage[: available * item].view(dtype) if item > 1 else storage.view(dtype)
    return used.as_strided(sides, steps, used.storage_offset() + begin)


def item_size(dtype: torch.dtype) -> int:
    """Bytes of one element."""
    return torch.empty(0, dtype=dtype).element_size()


def _numbers(values: object) -> list[int]:
    if not isinstance(values, Sequence) or isinstance(values, str | bytes):
        raise BadTensor("a tensor without a proper shape")
    if any(type(value) is not int or not 0 <= value < _MAX_NUMBER for value in values):
        raise BadTensor("a tensor without a proper shape")
    return list(values)
