"""An ONNX file without its weights, read field by field: a bad one is known before it costs.

A graph is a Protocol Buffers message; parsing one sets aside many times its size where it is made
of nothing but small parts. Here the file is walked on the disk: parts are counted, tensors are held
against the bytes they have, and what is large is left out. The skeleton that remains is small and
says everything about a graph but its numbers.

Field numbers: onnx.proto of https://github.com/onnx/onnx.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import CheckpointError
from ..text import quoted

MAX_FIELDS = 150_000
MAX_SKELETON = 16 << 20
_KEPT = 4096  # bytes of a tensor that stay, so that shapes and axes can be read

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# Message: field to the message in it.
_MESSAGES = {
    "model": {7: "graph"},
    "graph": {1: "node", 5: "tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 10: "tensor"},
    "tensor": {},
}
_REFUSED = {
    ("model", 20): "training steps",
    ("model", 25): "functions of its own",
    ("graph", 15): "sparse constants",
    ("attribute", 6): "loops or branches",
    ("attribute", 11): "loops or branches",
    ("attribute", 22): "sparse constants",
    ("attribute", 23): "sparse constants",
}
_SINGLE = {("model", 7), ("attribute", 5)}
_DATA = {4: 4, 5: 0, 6: 0, 7: 0, 9: 1, 10: 8, 11: 0}  # of a tensor; bytes of an item, 0 varies
_RAW = 9
_BITS = {1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64}
_BITS |= {14: 64, 15: 128, 16: 16, 17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4}


class BadGraph(ValueError):
    """What is wrong with a graph; the text goes on after "the graph" or its path."""


@dataclass
class Skeleton:
    """A graph without its weights.

    Attributes:
        data: the message, to be parsed.
        bytes: of the file and of the data it keeps in others.
    """

    data: bytes
    bytes: int


@dataclass
class _Walk:
    """What is known on the way.

    Attributes:
        folder: where external data may be.
        fields: how many were seen.
        outside: bytes of external data.
    """

    folder: Path
    fields: int = 0
    outside: int = 0
    sizes: dict[Path, int] = field(default_factory=dict)


def read_skeleton(path: Path) -> Skeleton:
    """The graph of a file without its weights.

    Raises:
        CheckpointError: it is no whole graph, is made of absurdly many parts, has loops, or keeps
            its data where they must not be or are not.
    """
    try:
        with path.open("rb") as file:
            view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        walk = _Walk(path.resolve().parent)
        data = b"".join(_strip(view, "model", walk))
        if len(data) > MAX_SKELETON:
            raise BadGraph("has more in it than the nodes of a network")
        return Skeleton(data, path.stat().st_size + walk.outside)
    except BadGraph as error:
        raise CheckpointError(
            f"{path} is not an ONNX graph that can be run: it {error}."
        ) from error
    except (OSError, ValueError, IndexError) as error:
        raise CheckpointError(
            f"{path} is a damaged or cut-off ONNX graph; download it again."
        ) from error


def _strip(view: memoryview, message: str, walk: _Walk) -> Iterator[bytes]:
    """The fields of a message, those that are large left out."""
    tensor = _Tensor() if message == "tensor" else None
    seen: set[int] = set()
    for number, kind, value, whole in _fields(view, walk):
        if (message, number) in _REFUSED:
            raise BadGraph(f"has {_REFUSED[message, number]}, which no face restorer needs")
        inner = _MESSAGES[message].get(number)
        if inner and kind == _BYTES:
            assert isinstance(value, memoryview)
            if (message, number) in _SINGLE and number in seen:
                raise ValueError("a part that is there twice")
            seen.add(number)
            parts = b"".join(_strip(value, inner, walk))
            yield _key(number, _BYTES) + _varint(len(parts)) + parts
            continue
        if tensor is not None:
            tensor.note(number, kind, value)
            if number in _DATA and len(whole) > _KEPT:
                continue
        yield bytes(whole)
    if tensor is not None:
        tensor.check(walk)


def _fields(
    view: memoryview, walk: _Walk
) -> Iterator[tuple[int, int, int | memoryview, memoryview]]:
    """(number, kind, value, the whole field) of every field of a message."""
    at, end = 0, len(view)
    while at < end:
        walk.fields += 1
        if walk.fields > MAX_FIELDS:
            raise BadGraph("is made of more parts than any network")
        begin = at
        key, at = _read_varint(view, at)
        kind = key & 7
        value: int | memoryview
        if kind == _VARINT:
            value, at = _read_varint(view, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
            value, at = view[at : at + size], at + size
        elif kind == _BYTES:
            size, at = _read_varint(view, at)
            value, at = view[at : at + size], at + size
        else:
            raise ValueError("an unknown kind of field")
        if at > end:
            raise ValueError("cut off")
        yield key >> 3, kind, value, view[begin:at]


def _read_varint(view: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number without an end")


def _key(number: int, kind: int) -> bytes:
    return _varint(number << 3 | kind)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


class _Tensor:
    """What a tensor says of itself, and what it has."""

    def __init__(self) -> None:
        self.dims: list[int] = []
        self.type = 0
        self.name = ""
        self.external: dict[str, str] = {}
        self.is_external = False
        self.has: dict[int, int] = {}

    def note(self, number: int, kind: int, value: int | memoryview) -> None:
        if number == 1:
            self._note_dims(value)
        elif number == 2 and isinstance(value, int):
            self.type = value
        elif number == 8 and isinstance(value, memoryview):
            self.name = bytes(value[:200]).decode("utf-8", "replace")
        elif number == 13 and isinstance(value, memoryview):
            self._note_external(value)
        elif number == 14:
            self.is_external = bool(value)
        elif number in _DATA:
            size = len(value) if isinstance(value, memoryview) else 1
            # A list that is not packed comes as one field for each number.
            self.has[number] = self.has.get(number, 0) + size

    def _note_dims(self, value: int | memoryview) -> None:
        if isinstance(value, int):
            self.dims.append(value)
        else:
            at = 0
            while at < len(value):
                side, at = _read_varint(value, at)
                self.dims.append(side)
        if len(self.dims) > 16:
            raise BadGraph("has a constant without a proper shape")

    def _note_external(self, value: memoryview) -> None:
        entry = {n: part for n, _, part, _ in _fields(value, _Walk(Path()))}
        key, text = entry.get(1), entry.get(2)
        if isinstance(key, memoryview) and isinstance(text, memoryview):
            name = bytes(key[:40]).decode("utf-8", "replace")
            self.external[name] = bytes(text[:4096]).decode("utf-8", "replace")

    def check(self, walk: _Walk) -> None:
        """Hold the shape against the data."""
        name = quoted(self.name, 80)
        if any(side >= 1 << 62 for side in self.dims):
            raise BadGraph(f"has a constant {name} without a proper shape")
        count = math.prod(self.dims)
        if self.type == 8:
            raise BadGraph(f"has a constant {name} of text, which no face restorer needs")
        if self.type not in _BITS:
            raise BadGraph(f"has a constant {name} of unknown type")
        bits = _BITS[self.type]
        needed = (count * bits + 7) // 8
        if self.is_external:
            self._check_external(walk, name, needed)
        elif len(self.has) > 1 or (not self.has and count):
            raise BadGraph(f"has a constant {name} without data")
        elif _RAW in self.has and self.has[_RAW] != needed:
            raise BadGraph(f"has a constant {name} whose data are of another size than its shape")
        elif self.has and _RAW not in self.has:
            ((number, size),) = self.has.items()
            # Whole numbers take a byte or more each, those of four bits half of one.
            enough = size == needed if _DATA[number] else 8 * size >= count * min(bits, 8)
            if not enough:
                raise BadGraph(f"has a constant {name} whose data are of another size than it")

    def _check_external(self, walk: _Walk, name: str, needed: int) -> None:
        location = self.external.get("location", "")
        file = walk.folder / location
        said = quoted(location, 120)
        if not location or "\0" in location or not file.resolve().is_relative_to(walk.folder):
            raise BadGraph(f"keeps its constant {name} in {said}, outside its own folder")
        if file not in walk.sizes:
            if not file.is_file():
                raise BadGraph(f"keeps its constant {name} in {said}, which is not beside it")
            walk.sizes[file] = file.stat().st_size
            walk.outside += walk.sizes[file]
        offset, length = (self.external.get(key, "") for key in ("offset", "length"))
        start, size = _whole(offset or "0"), _whole(length or str(needed))
        if min(start, size) < 0 or size != needed or start + size > walk.sizes[file]:
            raise BadGraph(f"finds less data for its constant {name} in {said} than it needs")


def _whole(text: str) -> int:
    """A number as external data name their place, -1 for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else -1
