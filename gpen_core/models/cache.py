"""Loaded models, kept between calls: the project's one global.

A model is known by its file's identity (path, size, time of change), precision and device, so a
file replaced on disk is loaded anew. The cache is bounded in bytes and drops what was used longest
ago; it can be emptied when a host needs the memory.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Generic, TypeVar

from ..errors import MissingWeightsError

log = logging.getLogger(__name__)

Value = TypeVar("Value")
DEFAULT_LIMIT = 2 << 30


class ModelCache(Generic[Value]):
    """A thread-safe cache bounded in bytes (least recently used goes first).

    Keys are any hashable. A key that begins with a file's identity (see `file_identity`) replaces
    those of earlier states of the same file.

    Attributes:
        limit: bytes; a value larger than it is returned but not kept.
        loads, hits: how often a value was loaded and found.
    """

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self.limit = limit
        self.loads = self.hits = 0
        self._values: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self._lock = threading.RLock()
        self._loading: dict[Hashable, threading.Lock] = {}

    def get(self, key: Hashable, load: Callable[[], Value], size: Callable[[Value], int]) -> Value:
        """The value of `key`, loaded once however many threads ask for it at the same time.

        Args:
            key: see the class.
            load: makes the value; what it raises is passed on and nothing is kept.
            size: bytes of a value.
        """
        with self._lock:
            one_at_a_time = self._loading.setdefault(key, threading.Lock())
        with one_at_a_time:
            with self._lock:
                if key in self._values:
                    self._values.move_to_end(key)
                    self.hits += 1
                    return self._values[key][0]
            try:
                value = load()
                self._keep(key, value, size(value))
            finally:
                with self._lock:
                    self._loading.pop(key, None)
            return value

    def clear(self) -> None:
        """Forget everything; what others still hold stays theirs."""
        with self._lock:
            self._values.clear()

    @property
    def bytes(self) -> int:
        """Memory of the values kept."""
        with self._lock:
            return sum(size for _, size in self._values.values())

    def __len__(self) -> int:
        return len(self._values)

    def _keep(self, key: Hashable, value: Value, size: int) -> None:
        with self._lock:
            self.loads += 1
            for old in [one for one in self._values if _is_same_file_before(one, key)]:
                del self._values[old]
            if size > self.limit:
                log.info("%s (%d MB) is larger than the model cache; not kept.", key, size >> 20)
                return
            self._values[key] = (value, size)
            while self.bytes > self.limit:
                oldest, (_, freed) = self._values.popitem(last=False)
                log.info("Dropped %s from the model cache (%d MB).", oldest, freed >> 20)


def file_identity(path: Path) -> tuple[str, int, int]:
    """(resolved path, bytes, time of change in ns): changes when the file is replaced.

    Raises:
        MissingWeightsError: there is no such file.

    Example:
        >>> file_identity(Path("no-such-model.pth"))
        Traceback (most recent call last):
        gpen_core.errors.MissingWeightsError: no-such-model.pth: no such model file; check the path.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise MissingWeightsError(f"{path}: no such model file; check the path.") from error
    return str(path.resolve()), stat.st_size, stat.st_mtime_ns


def _is_same_file_before(old: Hashable, new: Hashable) -> bool:
    """Whether two keys begin with identities of one file in different states."""
    if not isinstance(old, tuple) or not isinstance(new, tuple) or not _has_identity(new):
        return False
    return _has_identity(old) and old[0] == new[0] and old[1:3] != new[1:3]


def _has_identity(key: tuple[object, ...]) -> bool:
    return len(key) >= 3 and isinstance(key[1], int) and isinstance(key[2], int)


CACHE: ModelCache = ModelCache()
