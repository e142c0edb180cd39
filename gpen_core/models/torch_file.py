"""PyTorch files, zip and legacy format: the one reader of pickles in this project.

Neither PyTorch's nor Python's unpickler has a part in it, so that what is refused does not depend
on their versions: `archive` checks the entries, `unpickle` the program, `tensors` the numbers.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch

from ..errors import CheckpointError
from ..text import first_line
from .archive import Entry, read_archive
from .tensors import BadTensor, FileBytes, item_size
from .unpickle import MAX_BYTES, BadPickle, Refused, Storage, Unpickler, storage_dtype

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001


def read_zip(path: Path, *, mapped: bool) -> Any:
    """The content of a file of PyTorch 1.6 or later.

    Raises:
        CheckpointError: it is damaged, asks for more than it holds, or wants to run code.
    """
    entries = read_archive(path)
    with FileBytes(path, mapped) as data:

        def load() -> Any:
            _check_byteorder(path, entries)
            pickled = entries["data.pkl"]
            if pickled.size > MAX_BYTES:
                raise BadPickle("more text and numbers than any model file")
            file = io.BytesIO(_bytes_of(path, pickled))
            return Unpickler(file, _ZipStorages(entries, data)).load()

        return _in_sentences(path, load)


def read_legacy(path: Path) -> Any:
    """The content of a file of before PyTorch 1.6: pickles, then the bytes of the storages.

    Raises:
        CheckpointError: as `read_zip`.
    """
    with path.open("rb") as file:
        return _in_sentences(path, lambda: _legacy(file, path.stat().st_size))


def _in_sentences(path: Path, load: Callable[[], Any]) -> Any:
    try:
        # Tensors made in inference mode could not be moved or changed outside of it.
        with torch.inference_mode(False):
            return load()
    except Refused as error:
        raise CheckpointError(f"{path} {error}") from error
    except BadTensor as error:
        raise CheckpointError(
            f"{path} is damaged or cut off: it holds {error}; download it again."
        ) from error
    except BadPickle as error:
        raise CheckpointError(
            f"{path} is damaged or not a PyTorch file: it holds {first_line(error)}; download it "
            f"again."
        ) from error
    except (OSError, ValueError, RuntimeError, struct.error) as error:
        raise CheckpointError(
            f"{path} is damaged or cut off ({first_line(error)}); download it again."
        ) from error


def _bytes_of(path: Path, entry: Entry) -> bytes:
    with path.open("rb") as file:
        file.seek(entry.start)
        return file.read(entry.size)


def _check_byteorder(path: Path, entries: dict[str, Entry]) -> None:
    entry = entries.get("byteorder")  # absent before PyTorch 2.1, which wrote little-endian only
    if entry is not None and (entry.size > 8 or _bytes_of(path, entry).strip() != b"little"):
        raise Refused(
            "was written on a big-endian machine, which this program does not read; get the model "
            "as .safetensors."
        )


class _ZipStorages:
    """The storages of an archive by their persistent ids, each read once."""

    def __init__(self, entries: dict[str, Entry], data: FileBytes) -> None:
        self._entries = entries
        self._data = data
        self._read: dict[str, Storage] = {}

    def __call__(self, name: tuple[Any, ...]) -> Storage:
        if len(name) != 5 or name[0] != "storage":
            raise BadPickle("a storage without a proper name")
        dtype, key, count = storage_dtype(name[1]), name[2], name[4]
        entry = self._entries.get(f"data/{key}") if isinstance(key, str) else None
        if entry is None:
            raise BadTensor("a tensor whose data is missing")
        item = item_size(dtype) if dtype else 1
        if type(count) is not int or count * item != entry.size:
            raise BadTensor("a tensor whose data has another size than it says")
        known = self._read.get(entry.name)
        if known is None:
            # A storage that does not say its type may hold any: 16 bytes suit all.
            known = Storage(
                self._data.storage(entry.start, entry.size, item if dtype else 16), dtype
            )
            self._read[entry.name] = known
        return Storage(known.data, dtype)


class _LegacyStorages:
    """The storages of a legacy file: set aside when named, filled from the file afterwards."""

    def __init__(self, available: int) -> None:
        self._available = available
        self._named: dict[str, tuple[Storage, int]] = {}

    def __call__(self, name: tuple[Any, ...]) -> Storage:
        if name[:1] == ("module",):
            raise Refused(
                "holds a whole network and not only its weights, which is code; it is refused: "
                "get a file with the weights, best as .safetensors."
            )
        if len(name) != 6 or name[0] != "storage" or name[5] is not None:
            raise BadPickle("a storage without a proper name")
        dtype, key, count = storage_dtype(name[1]), name[2], name[4]
        if not isinstance(key, str) or type(count) is not int or count < 0:
            raise BadPickle("a storage without a proper name")
        item = item_size(dtype) if dtype else 1
        if key in self._named:
            known = self._named[key][0]
            if known.data.numel() != count * item:
                raise BadTensor("a tensor whose data has another size than it says")
            return Storage(known.data, dtype)
        self._available -= count * item
        if self._available < 0:
            raise BadTensor("tensors larger than the file")
        storage = Storage(torch.empty(count * item, dtype=torch.uint8), dtype)
        self._named[key] = storage, count
        return storage

    def fill(self, file: BinaryIO, keys: Any) -> None:
        """Read the bytes of every storage, which follow in the order of `keys`."""
        if not isinstance(keys, list) or len(keys) != len(self._named):
            raise BadPickle("another list of storages than it uses")
        for key in keys:
            if not isinstance(key, str) or key not in self._named:
                raise BadPickle("another list of storages than it uses")
            storage, count = self._named.pop(key)
            (stored,) = struct.unpack("<q", file.read(8))
            if stored != count:
                raise BadTensor("a tensor whose data has another size than it says")
            target = storage.data
            if target.numel():
                read = file.readinto(target.numpy().data)  # type: ignore[attr-defined]
                if read != target.numel():
                    raise BadTensor("a tensor whose bytes are missing")


def _legacy(file: BinaryIO, size: int) -> Any:
    storages = _LegacyStorages(size)
    unpickler = Unpickler(file, storages)
    if unpickler.load() != _MAGIC or unpickler.load() != _PROTOCOL:
        raise BadPickle("a plain pickle and no tensors")
    system = unpickler.load()
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise Refused(
            "was written on a big-endian machine, which this program does not read; get the model "
            "as .safetensors."
        )
    content = unpickler.load()
    storages.fill(file, unpickler.load())
    return content
