"""Ray Data: spreads tasks over workers, here or on a cluster, and streams back what became of them.

Of its fault tolerance only one thing is used: tasks of a machine that is lost are given to another.
A picture that ends its process never reaches Ray, see `worker`; Ray would try it again without end,
or drop the pictures beside it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..errors import InputError, MissingDependencyError
from ..files import shown
from .manifest import arrow
from .recipe import Recipe
from .rows import Row, Task
from .worker import Refused, Worker

log = logging.getLogger(__name__)

# Rows are handed over as they come, but no more often than this.
_SECONDS = 1.0
# Tasks in a block, which one worker takes: few, so that the last worker is not long alone.
_BLOCK, _BLOCKS_A_WORKER = 128, 16
_OBJECT_STORE = 200 << 20
_EMBEDDED = {
    # The kernel ends the process with the networks first; Ray would end its worker.
    "memory_monitor_refresh_ms": 0,
    "prestart_worker_first_driver": False,
    # Ray's are 15 steps nicer than anybody else, and beside other work get next to nothing.
    "worker_niceness": 0,
}


@dataclass(frozen=True)
class Crew:
    """Who works.

    Attributes:
        workers: how many; 0: as many as there is room for.
        gpus: of each worker, 0.25 for four on one; 0: they work on the CPU.
        cpus: of each worker.
        address: of a cluster that runs, or "auto"; None: this machine alone.
    """

    workers: int = 0
    gpus: float = 0.0
    cpus: float = 1.0
    address: str | None = None


def ray_data() -> Any:
    """Ray, with Ray Data.

    Raises:
        MissingDependencyError: it is not installed.

    Example:
        >>> try:
        ...     _ = ray_data()
        ... except MissingDependencyError:
        ...     pass  # it is not installed here
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingDependencyError(
            'Archives need the packages of an extra: pip install "gpen[archive]".'
        ) from error
    return ray


@contextlib.contextmanager
def session(crew: Crew) -> Iterator[Any]:
    """Ray, started on this machine or joined, and left again.

    Raises:
        InputError: there is no cluster at the address.
    """
    ray = ray_data()
    if ray.is_initialized():
        yield ray
        return
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    stopping = signal.getsignal(signal.SIGTERM)
    if crew.address is not None:
        _knock(crew.address)
        try:
            with _chatter_held_back():
                ray.init(address=crew.address, **quiet)
        except ConnectionError as error:
            raise _no_cluster(crew.address) from error
    else:
        # Ray counts the cores by itself, and stalls without a word where none is left over for
        # its own tasks; here the number is ours.
        with _chatter_held_back():
            ray.init(
                address="local",  # whatever cluster is found here, too
                num_cpus=int(max(crew.workers, 1) * crew.cpus) + 2,
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE,
                _system_config=_EMBEDDED,
                **quiet,
            )
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, stopping)  # Ray has put its own, which prints its stack
    try:
        yield ray
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Ray asks for minutes whether there is a cluster; a connection tells at once.

    Raises:
        InputError: it is no address of one, or nobody answers.
    """
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, ValueError) as error:
        raise _no_cluster(address) from error


def _no_cluster(address: str) -> InputError:
    return InputError(
        f"No cluster answers at {shown(address)}; give HOST:PORT of one that runs, or leave the "
        f"address out.",
        option="address",
    )


@contextlib.contextmanager
def _chatter_held_back() -> Iterator[None]:
    """What Ray's own core prints while it starts, which no level silences; shown if it fails."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as chatter:
        os.dup2(chatter.fileno(), 2)
        try:
            yield
        except BaseException:
            chatter.seek(0)
            os.write(kept, chatter.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def size_of_crew(crew: Crew, ray: Any) -> int:
    """How many workers there is room for."""
    if crew.workers:
        return crew.workers
    there = ray.cluster_resources()
    if crew.gpus:
        return max(int(there.get("GPU", 0) / crew.gpus), 1)
    return max(int((there.get("CPU", 1) - 1) / crew.cpus), 1)


def spread(tasks: Sequence[Task], recipe: Recipe, crew: Crew) -> Iterator[list[Row]]:
    """What became of the tasks, a few at a time, as soon as it is known.

    Args:
        tasks: the pictures.
        recipe: how they are restored.
        crew: by whom.

    Raises:
        Refused: the networks cannot be loaded on a machine.
        InputError: there is no cluster at the address, or it has not what the crew needs.
    """
    with session(crew) as ray:
        crew = replace(crew, workers=min(size_of_crew(crew, ray), len(tasks)))
        _check_room(ray, crew)
        _quiet(ray)
        results = _mapped(ray, _blocks(tasks, crew.workers), crew, _Actor, recipe.text())
        for block in results.iter_batches(
            batch_size=None, batch_format="pyarrow", prefetch_batches=0
        ):
            rows = []
            for text in block.column("row").to_pylist():
                if text.startswith(_REFUSED):
                    raise Refused(text.removeprefix(_REFUSED))
                row = Row.of_text(text)
                assert row is not None
                rows.append(row)
            yield rows


def _mapped(ray: Any, blocks: Sequence[Any], crew: Crew, actor: type, *arguments: str) -> Any:
    """A data set of what actors, made with the arguments, make of blocks; each block is one's."""
    return ray.data.from_arrow(blocks).map_batches(
        actor,
        fn_constructor_args=arguments,
        # As long as the blocks: Ray joins shorter ones, and then the last worker is long alone.
        batch_size=len(blocks[0]),
        batch_format="pyarrow",
        zero_copy_batch=True,
        compute=ray.data.ActorPoolStrategy(size=crew.workers, max_tasks_in_flight_per_actor=2),
        num_cpus=crew.cpus,
        num_gpus=crew.gpus or None,
    )


_REFUSED = "refused: "


def _check_room(ray: Any, crew: Crew) -> None:
    """Ray waits for what it may get one day; say at once what it does not have.

    Raises:
        InputError: it has less than one worker needs.
    """
    there = ray.cluster_resources()
    if crew.gpus and there.get("GPU", 0) < min(crew.gpus, 1):
        raise InputError(
            f"Ray has {there.get('GPU', 0):g} GPUs, and a worker needs {crew.gpus:g}; "
            f"choose the CPU with device cpu.",
            option="gpus_per_worker",
        )
    if there.get("CPU", 0) < crew.cpus:
        raise InputError(
            f"Ray has {there.get('CPU', 0):g} CPUs, and a worker needs {crew.cpus:g}; "
            f"give it fewer threads.",
            option="threads",
        )


def _blocks(tasks: Sequence[Task], workers: int) -> list[Any]:
    pa = arrow()
    size = min(max(len(tasks) // (workers * _BLOCKS_A_WORKER), 1), _BLOCK)
    table = pa.Table.from_pylist([asdict(task) for task in tasks])
    return [table.slice(start, size) for start in range(0, len(tasks), size)]


def _quiet(ray: Any) -> None:
    """Rows at once, not in blocks of 128 MB; no bars beside ours."""
    context = ray.data.DataContext.get_current()
    context.target_max_block_size = 1
    context.enable_progress_bars = False
    context.enable_operator_progress_bars = False
    context.print_on_execution_start = False
    # Ray Data sets gigabytes aside for each worker, and quietly starts fewer where they lack.
    context.default_map_logical_memory_enabled = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)


class _Actor:
    """A worker as Ray Data holds it."""

    def __init__(self, recipe: str) -> None:
        self._worker = Worker(Recipe.of_text(recipe))

    def __call__(self, batch: Any) -> Iterator[Any]:
        tasks = [Task(**values) for values in batch.to_pylist()]
        ready: list[str] = []
        last = time.monotonic()
        try:
            for row in self._worker(tasks):
                ready.append(row.text())
                if time.monotonic() - last > _SECONDS:
                    yield _table(ready)
                    ready, last = [], time.monotonic()
        except Refused as error:
            # As data: what Ray makes of an exception cannot be told from a fault of ours.
            ready.append(f"{_REFUSED}{error}")
        if ready:
            yield _table(ready)

    def __del__(self) -> None:
        self._worker.close()


def _table(rows: list[str]) -> Any:
    return arrow().table({"row": rows})
