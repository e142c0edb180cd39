"""Constants derived from a network's weights, made at first use and kept until the weights change.

A host may move, cast or patch the weights at any time, and may not tell. So nothing here is a
buffer that could go stale: every entry remembers which tensors it was made from, and is made again
where one of them is another tensor, was written to, or lives elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor

T = TypeVar("T")


def fingerprint(tensor: Tensor) -> tuple[Any, ...]:
    """What changes when `tensor` is replaced, moved, cast or written to in place.

    Tensors made under `inference_mode` count no writes; replacing and moving them still shows.
    """
    version = None if tensor.is_inference() else tensor._version
    return tensor.data_ptr(), version, tensor.dtype, tensor.device, tensor.shape


class Prepared:
    """A small cache of derived constants, checked against their sources at every use."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[tuple[Any, ...], Any]] = {}

    def get(self, name: str, sources: tuple[Tensor, ...], make: Callable[[], T]) -> T:
        """The entry `name`, made by `make()` unless it exists and the sources are unchanged."""
        state = tuple(fingerprint(tensor) for tensor in sources)
        entry = self._entries.get(name)
        if entry is None or entry[0] != state:
            entry = (state, make())
            self._entries[name] = entry
        value: T = entry[1]
        return value

    def clear(self) -> None:
        """Forget everything; the memory is free at once."""
        self._entries.clear()

    def names(self) -> list[str]:
        """What is there, in the order in which it was made."""
        return list(self._entries)

    def get_unchecked(self, name: str) -> Any:
        """An existing entry as it is, for whoever inspects the cache."""
        return self._entries[name][1]

    def __len__(self) -> int:
        return len(self._entries)

    def __deepcopy__(self, memo: dict[int, Any]) -> Prepared:
        return Prepared()

    def __getstate__(self) -> dict[str, Any]:
        return {"_entries": {}}
