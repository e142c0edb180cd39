"""Lanes: threads that each compute a part of a picture of their own, with buffers of their own.

PyTorch splits every operation among its threads and has them wait for each other after each one,
thousands of times a pass. A lane runs its operations whole; the lanes meet once a resolution.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

import torch

from .workspace import KEPT_BYTES, Workspace

T = TypeVar("T")


class Lanes(threading.local):
    """As many lanes as PyTorch has threads where it is called; every calling thread has its own.

    `Lanes.each` is `for part in parts: work(part, lanes.workspace)`, in several threads. PyTorch's
    numbers of threads, the caller's and that of new threads, are the same before and after.

    Attributes:
        workspace: of the first lane, and of the calling thread.
    """

    def __init__(self, kept_bytes: int = KEPT_BYTES, poison: bool = False) -> None:
        self.kept_bytes, self.poison = kept_bytes, poison
        self.workspace = self._new_workspace()
        self._others: list[Workspace] = []
        self._pool: ThreadPoolExecutor | None = None
        self._size = 0

    @property
    def count(self) -> int:
        return torch.get_num_threads() if _threads_are_counted_each() else 1

    def each(self, work: Callable[[T, Workspace], None], parts: Sequence[T]) -> None:
        """`work(part, workspace)` for up to `count` parts at once, each in a lane.

        A single part runs in the calling thread, where PyTorch splits operations as ever. What
        `work` raises is raised once all lanes have stopped.
        """
        if len(parts) == 1:
            work(parts[0], self.workspace)
            return
        inference = torch.is_inference_mode_enabled()

        def run(part: T, workspace: Workspace) -> None:
            with torch.inference_mode(inference), torch.no_grad():
                work(part, workspace)

        self._others += [self._new_workspace() for _ in range(len(parts) - 1 - len(self._others))]
        workspaces = (self.workspace, *self._others)
        pool = self._threads()
        futures = [pool.submit(run, *args) for args in zip(parts, workspaces, strict=False)]
        wait(futures)
        for future in futures:
            future.result()

    def each_reference(self, work: Callable[[T, Workspace], None], parts: Sequence[T]) -> None:
        """What `each` does, one after another."""
        for part in parts:
            work(part, self._new_workspace())

    def end_pass(self) -> None:
        """Nothing taken from the workspaces is used any more."""
        for workspace in (self.workspace, *self._others):
            workspace.end_pass()

    def _new_workspace(self) -> Workspace:
        return Workspace(self.kept_bytes, self.poison)

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None or self._size != self.count:
            self._size = self.count
            self._pool = unshared_threads(self._size, "gpen-lane")
        return self._pool

    def __reduce__(self) -> tuple[type[Lanes], tuple[int, bool]]:
        """Copies of a network start without buffers and threads."""
        return Lanes, (self.kept_bytes, self.poison)

    @property
    def nbytes(self) -> int:
        """Held for this thread and its lanes."""
        return sum(workspace.nbytes for workspace in (self.workspace, *self._others))


@functools.cache
def _threads_are_counted_each() -> bool:
    """With OpenMP, every thread has its own number of threads to split operations among."""
    return "ATen parallel backend: OpenMP" in torch.__config__.parallel_info()


def unshared_threads(count: int, name: str) -> ThreadPoolExecutor:
    """`count` threads that do not share their operations, called `name` and a number.

    `torch.set_num_threads` sets two numbers: that of the thread that calls it, and the one that
    threads yet to come take over at their first operation. The latter is the host's, so it is
    read first and put back last, both in threads of our own; the caller's is never touched.

    Example:
        >>> with unshared_threads(2, "gpen-example") as pool:
        ...     pool.submit(torch.get_num_threads).result()
        1
    """
    pool = ThreadPoolExecutor(count, name)
    started = threading.Barrier(count + 1)

    def start() -> None:
        torch.set_num_threads(1)
        # At its first operation a thread takes over the number that was set last, anywhere.
        torch.get_num_threads()
        started.wait()

    hosts = _in_new_thread(torch.get_num_threads)
    try:
        for _ in range(count):
            pool.submit(start)
        started.wait()
    except RuntimeError:  # a thread could not be had: the others must not wait for it
        started.abort()
        raise
    finally:
        _in_new_thread(functools.partial(torch.set_num_threads, hosts))
    return pool


def _in_new_thread(function: Callable[[], T]) -> T:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()
