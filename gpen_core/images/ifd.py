"""Directories of TIFF (TIFF 6.0, section 2), which EXIF uses too: read, changed, written.

Entries keep their bytes and types as they were found, so that nothing is rounded or retyped between
one file and the next.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 1, 2, 3, 4, 5, 7
_LONG8, _IFD8 = 16, 18

# struct letters of the types; rationals are pairs of 32-bit integers.
_LETTERS = {
    1: "B", 2: "s", 3: "H", 4: "L", 5: "LL", 6: "b", 7: "s", 8: "h", 9: "l", 10: "ll", 11: "f",
    12: "d", 13: "L", 16: "Q", 17: "q", 18: "Q",
}  # fmt: skip


class DamagedDirectory(ValueError):
    """The bytes are no directory, or one that leads out of the file."""


@dataclass(frozen=True)
class Entry:
    """One tag's value: its type, how many, and their bytes in the directory's byte order."""

    kind: int
    count: int
    data: bytes


@dataclass
class Directory:
    """The entries of one directory and the directories that hang below them.

    Attributes:
        order: byte order as `struct` writes it, "<" or ">".
        entries: by tag.
        children: by the tag that points to them, such as 34665 for EXIF.
        lost: how many entries could not be read.
        following: where the next directory of a chain begins; 0 at its end.
    """

    order: str = "<"
    entries: dict[int, Entry] = field(default_factory=dict)
    children: dict[int, Directory] = field(default_factory=dict)
    lost: int = 0
    following: int = 0

    def values(self, tag: int) -> tuple[float | int | bytes, ...]:
        """The values of a tag; empty where it is absent. Texts come as one `bytes`.

        >>> directory = Directory()
        >>> directory.put(282, RATIONAL, (300, 1))
        >>> directory.values(282)
        (300.0,)
        """
        entry = self.entries.get(tag)
        if entry is None:
            return ()
        letters = _LETTERS[entry.kind]
        if letters == "s":
            return (entry.data,)
        numbers = struct.unpack(f"{self.order}{letters * entry.count}", entry.data)
        if len(letters) == 1:
            return numbers
        pairs = zip(numbers[::2], numbers[1::2], strict=True)
        return tuple(top / bottom if bottom else 0.0 for top, bottom in pairs)

    def number(self, tag: int, default: int = 0) -> int:
        """The first value of a tag as an integer."""
        values = self.values(tag)
        return default if not values or isinstance(values[0], bytes) else int(values[0])

    def numbers(self, tag: int) -> tuple[int, ...]:
        """All values of a tag as integers."""
        return tuple(int(value) for value in self.values(tag) if not isinstance(value, bytes))

    def put(self, tag: int, kind: int, values: Sequence[int] | bytes) -> None:
        """Set a tag; rationals are given as numerator, denominator, numerator and so on."""
        if isinstance(values, bytes):
            self.entries[tag] = Entry(kind, len(values), values)
            return
        letter = _LETTERS[kind][0]
        data = struct.pack(f"{self.order}{len(values)}{letter}", *values)
        self.entries[tag] = Entry(kind, len(values) // len(_LETTERS[kind]), data)


def read_header(data: bytes) -> tuple[str, bool, int]:
    """Byte order, whether it is a BigTIFF, and where the first directory begins.

    Raises:
        DamagedDirectory: the bytes begin otherwise.
    """
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 8:
        raise DamagedDirectory("no TIFF header")
    magic, first = struct.unpack(order + "HL", data[2:8])
    if magic == 42:
        return order, False, first
    if magic == 43 and len(data) >= 16 and struct.unpack(order + "HH", data[4:8]) == (8, 0):
        return order, True, struct.unpack(order + "Q", data[8:16])[0]
    raise DamagedDirectory("no TIFF header")


def read_directory(data: bytes, offset: int, order: str, big: bool = False) -> Directory:
    """The directory at `offset`. Entries that lead out of `data` are left out and counted.

    Raises:
        DamagedDirectory: the directory itself lies outside, or claims more than `data` holds.
    """
    head, size, pointer = ("Q", 20, 8) if big else ("H", 12, 4)
    start = offset + struct.calcsize("=" + head)
    if not offset > 0 or start > len(data):
        raise DamagedDirectory("a directory lies outside the file")
    (count,) = struct.unpack(order + head, data[offset:start])
    end = start + count * size
    if end > len(data):
        raise DamagedDirectory("a directory is cut off")
    directory = Directory(order)
    budget = len(data)
    for position in range(start, end, size):
        tag, kind = struct.unpack(order + "HH", data[position : position + 4])
        field_start = position + 4 + pointer
        (number,) = struct.unpack(order + ("Q" if big else "L"), data[position + 4 : field_start])
        length = struct.calcsize("=" + _LETTERS[kind]) * number if kind in _LETTERS else -1
        where = field_start
        if length > pointer:
            field_bytes = data[field_start : field_start + pointer]
            (where,) = struct.unpack(order + ("Q" if big else "L"), field_bytes)
        if length < 0 or number == 0 or where + length > len(data):
            directory.lost += 1
            continue
        # Entries may share bytes; together they must not ask for more than there are.
        budget -= length
        if budget < 0:
            raise DamagedDirectory("a directory claims more than the file holds")
        directory.entries[tag] = Entry(kind, number, data[where : where + length])
    if end + pointer <= len(data):
        (following,) = struct.unpack(order + ("Q" if big else "L"), data[end : end + pointer])
        directory.following = following
    return directory


def read_child(data: bytes, parent: Directory, tag: int, big: bool = False) -> Directory | None:
    """The directory that a tag of `parent` points to, taken out of its entries; None without one.

    Raises:
        DamagedDirectory: there is a pointer, but no directory where it points.
    """
    if tag not in parent.entries:
        return None
    offset = parent.number(tag)
    del parent.entries[tag]
    child = read_directory(data, offset, parent.order, big)
    parent.children[tag] = child
    return child


def count_chain(data: bytes, first: Directory, big: bool = False) -> int:
    """How many directories follow each other, `first` included; damage ends the chain."""
    seen: set[int] = set()
    following = first.following
    while following and following not in seen:
        try:
            directory = read_directory(data, following, first.order, big)
        except DamagedDirectory:
            break
        seen.add(following)
        following = directory.following
    return 1 + len(seen)


def header(order: str, first: int) -> bytes:
    """The eight bytes a TIFF or an EXIF block begins with."""
    return (b"II" if order == "<" else b"MM") + struct.pack(order + "HL", 42, first)


def write_directory(directory: Directory, start: int) -> bytes:
    """The bytes of a directory that will lie at the even offset `start`, children behind it.

    Raises:
        DamagedDirectory: something would lie beyond 4 GiB, where classic TIFF ends.
    """
    order = directory.order
    entries = {tag: _narrow(entry, order) for tag, entry in directory.entries.items()}
    for tag in directory.children:
        entries[tag] = Entry(LONG, 1, bytes(4))
    table_end = start + 2 + 12 * len(entries) + 4
    table = [struct.pack(order + "H", len(entries))]
    parts: list[bytes] = []
    position = table_end
    for tag in sorted(entries):
        entry = entries[tag]
        data = entry.data
        if tag in directory.children:
            data = struct.pack(order + "L", position)
            behind = write_directory(directory.children[tag], position)
        elif len(data) > 4:
            behind = data + bytes(len(data) % 2)
            data = struct.pack(order + "L", position)
        else:
            behind = b""
        parts.append(behind)
        position += len(behind)
        if position > 0xFFFFFFFF:
            raise DamagedDirectory("more than 4 GiB")
        table.append(
            struct.pack(order + "HHL", tag, entry.kind, entry.count) + data.ljust(4, b"\0")
        )
    return b"".join([*table, bytes(4), *parts])


def _narrow(entry: Entry, order: str) -> Entry:
    """64-bit values of a BigTIFF as the 32-bit ones of a classic TIFF."""
    if entry.kind not in (_LONG8, _IFD8):
        return entry
    values = struct.unpack(f"{order}{entry.count}Q", entry.data)
    if max(values) > 0xFFFFFFFF:
        raise DamagedDirectory("more than 4 GiB")
    return Entry(LONG, entry.count, struct.pack(f"{order}{entry.count}L", *values))
