"""Where a host hooks into a run: memory before a pass, progress, interruption, messages."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .models.model import Model

log = logging.getLogger(__name__)


class Hooks:
    """What a run calls; every method does nothing useful until it is overridden.

    Raising from `prepare`, `progress` or `may_stop` stops the run, and the exception passes through
    unchanged: that is how a host interrupts. One of them is called at least every second or so, on
    pictures of up to 48 megapixels.

    Example:
        >>> from gpen_core.images.layouts import enlarge
        >>> class Told(Hooks):
        ...     def progress(self, stage: str, done: int, total: int) -> None:
        ...         print(f"{stage}: {done} of {total}")
        >>> import torch
        >>> enlarge(torch.zeros(1, 3, 48, 64), 2, Told()).shape
        enlarge: 48 of 48
        torch.Size([1, 3, 96, 128])
    """

    def prepare(self, model: Model, faces: int) -> None:
        """Before a pass of the network over so many faces; a host frees memory here."""

    def found(self, faces: int) -> None:
        """So many more faces will be restored."""

    def progress(self, stage: str, done: int, total: int) -> None:
        """`done` of `total` steps of a stage: detect, align, restore, paste or enlarge."""

    def may_stop(self) -> None:
        """Between two computations over a whole picture, where there is no progress to tell."""

    def event(self, sentence: str) -> None:
        """Something the user should know: a fall-back, a limit; logged as a warning."""
        log.warning(sentence)


class Recording(Hooks):
    """Hooks that pass everything on and keep the sentences.

    Args:
        inner: whose methods are called.

    Attributes:
        events: what `event` was told.

    Example:
        >>> hooks = Recording()
        >>> hooks.event("Out of memory with 4 faces at once; continuing with 2.")
        >>> hooks.events
        ['Out of memory with 4 faces at once; continuing with 2.']
    """

    def __init__(self, inner: Hooks | None = None) -> None:
        self._inner = inner or Hooks()
        self.events: list[str] = []

    def prepare(self, model: Model, faces: int) -> None:
        self._inner.prepare(model, faces)

    def found(self, faces: int) -> None:
        self._inner.found(faces)

    def progress(self, stage: str, done: int, total: int) -> None:
        self._inner.progress(stage, done, total)

    def may_stop(self) -> None:
        self._inner.may_stop()

    def event(self, sentence: str) -> None:
        self._inner.event(sentence)
        self.events.append(sentence)


class Once(Recording):
    """Hooks that pass each sentence on once, however often it is said.

    Example:
        >>> hooks = Once()
        >>> for track in range(3):
        ...     hooks.event("The identity is compared by arcface.onnx.")
        >>> hooks.events
        ['The identity is compared by arcface.onnx.']
    """

    def event(self, sentence: str) -> None:
        if sentence not in self.events:
            super().event(sentence)
