"""How much is worked on at once, and where: less, and elsewhere, each time memory runs out."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch

from ..errors import OutOfMemory
from .shortage import is_out_of_memory

log = logging.getLogger(__name__)

CPU = torch.device("cpu")
Result = TypeVar("Result")


class Allowance:
    """What a stage may take, which shrinks for good each time it turns out to be too much.

    Half as much at once, down to one; then the CPU; there once more after everything that can be
    freed is freed; then one sentence. Every step is told.

    Args:
        doing: the stage, as in "out of memory while ...".
        event: told each step; `Hooks.event`.
        at_once: so many pieces at the most.
        device: where it is done; the CPU follows, unless it is the CPU.

    Example:
        >>> def double(count, device):
        ...     if count > 2:
        ...         raise MemoryError
        ...     return 2 * count
        >>> told = []
        >>> Allowance("doubling", told.append, at_once=5)(double), told
        (4, ['Out of memory while doubling, 5 at once; continuing with 2.'])
    """

    def __init__(
        self,
        doing: str,
        event: Callable[[str], None] = log.warning,
        *,
        at_once: int = 1,
        device: torch.device | str = CPU,
    ) -> None:
        self.doing, self.event = doing, event
        self.at_once, self.device = max(at_once, 1), torch.device(device)
        self._freed = False

    def __call__(self, work: Callable[[int, torch.device], Result]) -> Result:
        """`work(pieces, device)`, repeated with less until it has memory enough.

        It may be called several times, so it must not build on what it did before it failed.

        Raises:
            OutOfMemory: nothing smaller is left to try.
        """
        while True:
            try:
                return work(self.at_once, self.device)
            except Exception as error:
                if isinstance(error, OutOfMemory) or not is_out_of_memory(error):
                    raise
                self._shrink(error)
            # Only now, when the error no longer holds what the work had allocated.
            _release()

    def over(
        self, total: int, work: Callable[[slice, torch.device], Result]
    ) -> Iterator[tuple[slice, Result]]:
        """`work(pieces, device)` over `total` pieces in order: what was done, and its result."""
        done = 0
        while done < total:
            chosen, result = self(_from(done, total, work))
            yield chosen, result
            done = chosen.stop

    def _shrink(self, error: Exception) -> None:
        if self.at_once > 1:
            much, self.at_once = self.at_once, self.at_once // 2
            self._tell(f", {much} at once; continuing with {self.at_once}.")
        elif self.device.type != "cpu":
            place, self.device = self.device, CPU
            self._tell(f" on {place}; continuing on the CPU.")
        elif not self._freed:
            self._freed = True
            self._tell("; trying again with what could be freed.")
        else:
            raise shortage(self.doing) from error

    def _tell(self, how: str) -> None:
        self.event(f"Out of memory while {self.doing}{how}")


def _release() -> None:
    """Give back what nobody uses any more."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def _from(
    done: int, total: int, work: Callable[[slice, torch.device], Result]
) -> Callable[[int, torch.device], tuple[slice, Result]]:
    def next_pieces(count: int, device: torch.device) -> tuple[slice, Result]:
        chosen = slice(done, min(done + count, total))
        return chosen, work(chosen, device)

    return next_pieces


def shortage(doing: str) -> OutOfMemory:
    """The sentence for a shortage that nothing helps against.

    Example:
        >>> str(shortage("reading a.png")).partition(";")[0]
        'Not enough memory for reading a.png'
    """
    return OutOfMemory(
        f"Not enough memory for {doing}; use a smaller picture or model, or close other programs."
    )


def movable(holder: Any) -> torch.device:
    """Where the networks of a detector or parser are; the CPU if it cannot be moved.

    Example:
        >>> movable(lambda image: image)
        device(type='cpu')
    """
    return torch.device(holder.device) if hasattr(holder, "on") else CPU


def moved(holder: Result, device: torch.device) -> Result:
    """A detector or parser on another device, where it can be moved; itself elsewhere.

    Example:
        >>> parser = print
        >>> moved(parser, torch.device("meta")) is parser
        True
    """
    if movable(holder) == device:
        return holder
    return holder.on(device) if hasattr(holder, "on") else holder
