"""The directory of a zip archive as PyTorch writes it, checked before anything in it is opened.

Written here rather than left to `zipfile` or to PyTorch's reader, which look names up in different
ways (PyTorch ignores case) and unpack whatever is compressed. Accepted is what `torch.save` makes:
every entry stored as it is, whole, inside the file, under one folder, with a name of its own, and
none that belongs to a TorchScript program.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..errors import CheckpointError
from ..text import quoted

_END, _END64, _LOCATOR64 = b"PK\5\6", b"PK\6\6", b"PK\6\7"
_ENTRY, _LOCAL = b"PK\1\2", b"PK\3\4"
_MAX_ENTRIES = 100_000
_MAX_DIRECTORY = 16 << 20
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF
# Compared without regard to case: PyTorch's own reader finds `Constants.pkl` as `constants.pkl`.
_PROGRAM_FILES = ("constants.pkl", ".py", ".debug_pkl", "bytecode.pkl")


@dataclass(frozen=True)
class Entry:
    """A file in the archive.

    Attributes:
        name: without the archive's one folder.
        start, size: where its bytes are in the archive.
    """

    name: str
    start: int
    size: int


def read_archive(path: Path) -> dict[str, Entry]:
    """The entries of an archive by their name in its folder.

    Raises:
        CheckpointError: it is cut off, damaged, compressed, a TorchScript program, or no model.
    """
    try:
        with path.open("rb") as file:
            return _entries(file, path.stat().st_size)
    except (struct.error, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} is damaged; download it again.") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}).") from error
    except _Refused as error:
        raise CheckpointError(f"{path} {error}.") from error


class _Refused(Exception):
    """What is wrong with an archive; the text goes on after its path."""


def _entries(file: BinaryIO, size: int) -> dict[str, Entry]:
    count, length, start = _end_record(file, size)
    file.seek(start)
    directory = file.read(length)
    headers = list(_headers(directory, count))
    names = [name for name, *_ in headers]
    _refuse_programs(names)
    if len({name.casefold() for name in names}) < len(names):
        raise _Refused("holds two entries of one name, which no model file does; download it again")
    folder = _folder(names)
    entries = {}
    for name, at, stored in sorted(headers, key=lambda header: header[1]):
        begin = _data_start(file, name, at)
        entries[name[len(folder) :]] = Entry(name[len(folder) :], begin, stored)
    _check_places(list(entries.values()), start)
    return entries


def _end_record(file: BinaryIO, size: int) -> tuple[int, int, int]:
    """Number of entries, and length and place of the directory."""
    tail_length = min(size, (1 << 16) + 22)
    file.seek(size - tail_length)
    tail = file.read(tail_length)
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < 22:
        raise _Refused("is cut off: its end is missing; download it again")
    count, length, start = struct.unpack_from("<HII", tail, at + 10)
    if count == _FULL16 or _FULL32 in (length, start):
        # Larger numbers are in a record of their own, which a locator before this one names.
        locator = at - 20
        if locator < 0 or tail[locator : locator + 4] != _LOCATOR64:
            raise _Refused("is damaged: its directory cannot be found; download it again")
        (record,) = struct.unpack_from("<Q", tail, locator + 8)
        if record + 56 > size:
            raise _Refused("is damaged: its directory cannot be found; download it again")
        file.seek(record)
        head = file.read(56)
        if head[:4] != _END64:
            raise _Refused("is damaged: its directory cannot be found; download it again")
        count, length, start = struct.unpack_from("<QQQ", head, 32)
    if count > _MAX_ENTRIES or length > _MAX_DIRECTORY:
        raise _Refused(f"holds {count} entries, more than any model; it is refused")
    if start + length > size:
        raise _Refused(
            "is cut off or damaged: its directory is outside the file; download it again"
        )
    return count, length, start


def _headers(directory: bytes, count: int) -> list[tuple[str, int, int]]:
    """(name, place of the local header, bytes) of every entry."""
    headers, at = [], 0
    for _ in range(count):
        if directory[at : at + 4] != _ENTRY:
            raise _Refused("is damaged: its directory is incomplete; download it again")
        flags, method = struct.unpack_from("<HH", directory, at + 8)
        packed, stored, *lengths = struct.unpack_from("<IIHHH", directory, at + 20)
        (local,) = struct.unpack_from("<I", directory, at + 42)
        name_end = at + 46 + lengths[0]
        extra = directory[name_end : name_end + lengths[1]]
        name = directory[at + 46 : name_end].decode("utf-8")
        stored, packed, local = _wide(extra, stored, packed, local)
        if flags & 1:
            raise _Refused("is an encrypted archive; unpack it and name the file inside")
        if method != 0 or packed != stored:
            raise _Refused(
                "is a compressed archive, which PyTorch does not write; unpack it and pack it "
                "without compression, or name the file inside"
            )
        headers.append((name, local, stored))
        at = name_end + lengths[1] + lengths[2]
    return headers


def _wide(extra: bytes, *values: int) -> list[int]:
    """Numbers of the directory, those that say "too large" taken from the ZIP64 field."""
    at, wide = 0, b""
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            wide = extra[at + 4 : at + 4 + length]
        at += 4 + length
    result = []
    for value in values:
        if value == _FULL32:
            (value,), wide = struct.unpack_from("<Q", wide), wide[8:]
        result.append(value)
    return result


def _refuse_programs(names: list[str]) -> None:
    """Refuse TorchScript in any spelling, before anything is opened."""
    for name in names:
        parts = [part.strip().casefold() for part in re.split(r"[/\\]", name)]
        if "code" in parts[:-1] or parts[-1].split("\0")[0].endswith(_PROGRAM_FILES):
            raise _Refused("is a TorchScript program, which is code; use the file with the weights")


def _folder(names: list[str]) -> str:
    """The archive's one folder, with its slash."""
    pickles = [name for name in names if name == "data.pkl" or name.endswith("/data.pkl")]
    if not pickles:
        raise _Refused("is a ZIP archive, not a model; unpack it and name the file inside")
    folder = pickles[0][: -len("data.pkl")]
    odd = next((name for name in names if not name.startswith(folder)), None)
    if len(pickles) > 1 or odd is not None:
        raise _Refused(
            f"holds more than one model or strange entries ({quoted(odd or pickles[1])}); unpack "
            f"it and name the file inside"
        )
    return folder


def _data_start(file: BinaryIO, name: str, at: int) -> int:
    """Where an entry's bytes begin, from its own header, which must name it too."""
    file.seek(at)
    head = file.read(30)
    if len(head) < 30 or head[:4] != _LOCAL:
        raise _Refused("is damaged: an entry is not where it should be; download it again")
    flags, method = struct.unpack_from("<HH", head, 6)
    name_length, extra_length = struct.unpack_from("<HH", head, 26)
    if flags & 1 or method != 0 or file.read(name_length) != name.encode():
        raise _Refused("is damaged: an entry contradicts the directory; download it again")
    return at + 30 + name_length + extra_length


def _check_places(entries: list[Entry], directory: int) -> None:
    """Entries, in the order of their places, lie one after the other before the directory."""
    ends = [entry.start for entry in entries[1:]] + [directory]
    for entry, end in zip(entries, ends, strict=True):
        if entry.start + entry.size > end:
            raise _Refused("is damaged: its entries overlap or reach outside it; download it again")
