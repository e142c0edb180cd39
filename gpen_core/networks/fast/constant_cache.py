"""Constants derived from a network's weights, made at first use and kept until the weights change.

A host may move, cast or patch the weights at any time, and may not tell. So nothing here is a
buffer that could go stale: every entry remembers which tensors it was made from, and is made again
where one of them is another tensor, was written to, or lives elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from torch import Tensor, nn

T = TypeVar("T")


def fingerprint(tensor: Tensor) -> tuple[Any, ...]:
    """What changes when `tensor` is replaced, moved, cast or written to in place.

    Tensors made under `inference_mode` count no writes; replacing and moving them still shows.
    """
    version = None if tensor.is_inference() else tensor._version
    return tensor.data_ptr(), version, tensor.dtype, tensor.device, tensor.shape


class ConstantCache:
    """Derived constants by the module they belong to and their kind, checked at every use."""

    def __init__(self) -> None:
        self._entries: WeakKeyDictionary[nn.Module, dict[str, tuple[Any, Any]]]
        self._entries = WeakKeyDictionary()

    def get(
        self, owner: nn.Module, kind: str, sources: tuple[Tensor, ...], make: Callable[[], T]
    ) -> T:
        """The constant `kind` of `owner`: `make()`, unless it exists and `sources` are unchanged.

        Example:
            >>> cache, layer = ConstantCache(), nn.Linear(2, 2)
            >>> double = lambda: cache.get(layer, "double", (layer.bias,), lambda: layer.bias * 2)
            >>> double() is double()
            True
        """
        state = tuple(fingerprint(tensor) for tensor in sources)
        kinds = self._entries.setdefault(owner, {})
        if kind not in kinds or kinds[kind][0] != state:
            kinds[kind] = (state, make())
        value: T = kinds[kind][1]
        return value

    def clear(self) -> None:
        """Forget everything; the memory is free at once."""
        self._entries.clear()

    def kinds(self) -> set[str]:
        """Of the constants that are there."""
        return {kind for kinds in self._entries.values() for kind in kinds}

    def __len__(self) -> int:
        return sum(map(len, self._entries.values()))

    def __deepcopy__(self, memo: dict[int, Any]) -> ConstantCache:
        return ConstantCache()

    def __reduce__(self) -> tuple[type[ConstantCache], tuple[()]]:
        return ConstantCache, ()
