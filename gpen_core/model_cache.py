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

from .errors import MissingWeightsError

log = logging.getLogger(__name__)

Value = TypeVar("Value")
DEFAULT_LIMIT = 2 << 30


class ModelCache(Generic[Value]):
    """A thread-safe cache bounded in bytes (least recently used goes first).

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
        """The value of `key`, loaded once however many threads ask for it at the same time."""
        with self._lock:
            one_at_a_time = self._loading.setdefault(key, threading.Lock())
        with one_at_a_time:
            with self._lock:
                if key in self._values:
                    self._values.move_to_end(key)
                    self.hits += 1
                    return self._values[key][0]
            value = load()
            with self._lock:
                self.loads += 1
                self._values[key] = (value, size(value))
                self._loading.pop(key, None)
                self._shrink(self.limit)
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

    def _shrink(self, limit: int) -> None:
        while self._values and self.bytes > limit:
            key, (_, size) = self._values.popitem(last=False)
            log.info("Dropped %s from the model cache (%d MB).", key, size >> 20)


def file_identity(path: Path) -> tuple[str, int, int]:
    """(resolved path, bytes, time of change in ns): changes when the file is replaced.

    Raises:
        MissingWeightsError: there is no such file.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise MissingWeightsError(f"{path}: no such model file; check the path.") from error
    return str(path.resolve()), stat.st_size, stat.st_mtime_ns


CACHE: ModelCache = ModelCache()
