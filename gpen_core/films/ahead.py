"""Work done beside other work: an iterator read ahead, a consumer fed behind, each in a thread.

One thread each, so that PyTorch's are left to the network.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from ..hooks import Hooks
from ..networks.fast.lanes import unshared_threads

T = TypeVar("T")
_END = object()


def ahead(items: Iterable[T], count: int = 4) -> Generator[T]:
    """The same items, up to `count` of them made before they are asked for, in a thread.

    What making them raises is raised where it is asked for. Closing the iterator stops the thread.

    Example:
        >>> list(ahead(n * n for n in range(4)))
        [0, 1, 4, 9]
    """
    made: queue.Queue[object] = queue.Queue(count)
    stopped = threading.Event()

    def put(item: object) -> None:
        while not stopped.is_set():
            try:
                made.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def make() -> None:
        try:
            for item in items:
                put(item)
                if stopped.is_set():
                    break
            put(_END)
        except BaseException as error:  # noqa: BLE001 - raised where it is asked for
            put(_Raised(error))
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()

    pool = unshared_threads(1, "gpen-film-ahead")
    pool.submit(make)
    try:
        while (item := made.get()) is not _END:
            if isinstance(item, _Raised):
                raise item.error
            yield item  # type: ignore[misc]
    finally:
        stopped.set()
        pool.shutdown()


class Behind(Generic[T]):
    """Hands items to a function that runs in a thread, in order, at most a few waiting.

    Example:
        >>> done = []
        >>> with Behind.feeding(done.append) as behind:
        ...     behind.put(1)
        ...     behind.put(2)
        >>> done
        [1, 2]
    """

    def __init__(self, consume: Callable[[T], None], count: int) -> None:
        self._consume = consume
        self._waiting: queue.Queue[object] = queue.Queue(count)
        self._error: BaseException | None = None

    @classmethod
    @contextmanager
    def feeding(cls, consume: Callable[[T], None], count: int = 4) -> Iterator[Behind[T]]:
        """Everything put in is consumed when the block ends; what that raises is raised then."""
        behind = cls(consume, count)
        with unshared_threads(1, "gpen-film-behind") as pool:
            pool.submit(behind._work)
            try:
                yield behind
            finally:
                behind._waiting.put(_END)
        behind._check()

    def put(self, item: T) -> None:
        """Raises what an earlier item led to."""
        self._check()
        self._waiting.put(item)

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while (item := self._waiting.get()) is not _END:
            if self._error is None:
                try:
                    self._consume(item)  # type: ignore[arg-type]
                except BaseException as error:  # noqa: BLE001 - raised at the next `put`
                    self._error = error


class _Raised:
    def __init__(self, error: BaseException) -> None:
        self.error = error


class Later(Hooks):
    """Hooks for such a thread: sentences are kept until they are told where the run is.

    A host shows progress and stops a run in the thread that called it alone.

    Example:
        >>> class Told(Hooks):
        ...     def event(self, sentence: str) -> None:
        ...         print(sentence)
        >>> later = Later()
        >>> later.event("Out of memory while pasting faces; trying again with what could be freed.")
        >>> later.tell(Told())
        Out of memory while pasting faces; trying again with what could be freed.
    """

    def __init__(self) -> None:
        self._sentences: queue.SimpleQueue[str] = queue.SimpleQueue()

    def event(self, sentence: str) -> None:
        self._sentences.put(sentence)

    def tell(self, hooks: Hooks) -> None:
        """Pass on what was said so far."""
        while not self._sentences.empty():
            hooks.event(self._sentences.get())
