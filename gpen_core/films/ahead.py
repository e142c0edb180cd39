"""Work done beside other work: an iterator read ahead, a consumer fed behind, each in a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

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

    thread = threading.Thread(target=make, name="gpen-film-ahead", daemon=True)
    thread.start()
    try:
        while (item := made.get()) is not _END:
            if isinstance(item, _Raised):
                raise item.error
            yield item  # type: ignore[misc]
    finally:
        stopped.set()
        thread.join()


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
        self._thread = threading.Thread(target=self._work, name="gpen-film-behind", daemon=True)

    @classmethod
    @contextmanager
    def feeding(cls, consume: Callable[[T], None], count: int = 4) -> Iterator[Behind[T]]:
        """Everything put in is consumed when the block ends; what that raises is raised then."""
        behind = cls(consume, count)
        behind._thread.start()
        try:
            yield behind
        finally:
            behind._waiting.put(_END)
            behind._thread.join()
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
