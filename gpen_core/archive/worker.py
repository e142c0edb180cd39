"""A worker: gives tasks to a process that has the networks, and outlives it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
import queue
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any

from ..errors import GPENError
from .recipe import Recipe
from .rows import Row, Task

log = logging.getLogger(__name__)

_ROOT = Path(__file__).resolve().parents[2]
_STARTS = 3
# Loading PyTorch and a model of gigabytes from a slow disk.
_START_PATIENCE = 900.0


class Refused(GPENError):
    """The networks cannot be loaded here; no picture can be restored."""


class _Ended(Exception):
    """The process is gone; the text says how."""


class Worker:
    """Restores pictures in a process of its own, and starts another one when that dies.

    The pictures it had in work are then tried once more, each alone in a new process; the one that
    ends that too is failed with the reason.

    Args:
        recipe: how.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._child: _Child | None = None

    def __call__(self, tasks: Sequence[Task]) -> Iterator[Row]:
        """What became of each task, in any order, as soon as it is known.

        Raises:
            Refused: the networks cannot be loaded.
        """
        left = dict(enumerate(tasks))
        while left:
            numbers = list(left)
            working: list[int] = []
            try:
                for message in self._started().work([left[number] for number in numbers]):
                    if "begin" in message:
                        working = [numbers[place] for place in message["begin"]]
                    elif "row" in message:
                        place, row = message["row"]
                        del left[numbers[place]]
                        yield Row.of(row)
            except _Ended as ended:
                self.close()
                for number in working:
                    if number in left:
                        yield self._alone(left.pop(number), str(ended))

    def _alone(self, task: Task, first: str) -> Row:
        """A second try, with nothing else in the process."""
        log.warning("%s: %s; it is tried once more, alone.", task.key, first)
        try:
            messages = list(self._started().work([task]))
        except _Ended as ended:
            self.close()
            return self._lost(task, str(ended))
        [row] = [Row.of(message["row"][1]) for message in messages if "row" in message]
        return replace(row, events=[*row.events, f"The first try ended its process ({first})."])

    def _lost(self, task: Task, how: str) -> Row:
        row = Row.about(task, self.recipe.made_with, self.recipe.model_sha256)
        error = f"{task.key}: {how}, twice, the second time alone."
        return replace(row, status="failed", error=error)

    def _started(self) -> _Child:
        for start in range(_STARTS):
            if self._child is not None:
                return self._child
            child = _Child(self.recipe)
            try:
                child.begin()
                self._child = child
            except _Ended as ended:
                child.close()
                if start + 1 == _STARTS:
                    raise Refused(
                        f"The process that restores does not start: {ended}. With too little "
                        f"memory, use fewer workers."
                    ) from ended
        assert self._child is not None
        return self._child

    def close(self) -> None:
        """End the process."""
        if self._child is not None:
            self._child.close()
            self._child = None


class _Child:
    """The process, and its messages."""

    def __init__(self, recipe: Recipe) -> None:
        self._patience = recipe.patience
        module = f"{__package__}.child"
        path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
        threads = {"OMP_NUM_THREADS": str(recipe.threads), "MKL_NUM_THREADS": str(recipe.threads)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={**os.environ, **threads, "PYTHONPATH": path},
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        stream = (self._process.stdout,)
        self._listener = threading.Thread(target=self._listen, args=stream, daemon=True)
        self._listener.start()
        writer = f"{platform.node()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._recipe = {"recipe": recipe.text(), "writer": writer}

    def _listen(self, stream: IO[str]) -> None:
        for line in stream:
            self._lines.put(line)
        self._lines.put(None)

    def begin(self) -> None:
        """Hand over the recipe, and wait for the networks.

        Raises:
            Refused, _Ended.
        """
        self._send(self._recipe)
        message = self._next(_START_PATIENCE)
        if "refused" in message:
            raise Refused(message["refused"])

    def work(self, tasks: Sequence[Task]) -> Iterator[dict[str, Any]]:
        """Messages until all is done."""
        self._send([asdict(task) for task in tasks])
        while not (message := self._next(self._patience)).get("end"):
            yield message

    def _send(self, content: object) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(content) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise _Ended(self._how()) from error

    def _next(self, patience: float) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=patience)
        except queue.Empty as error:
            self._process.kill()
            raise _Ended(f"nothing was heard of its process for {patience:.0f} s") from error
        if line is None:
            raise _Ended(self._how())
        return dict(json.loads(line))

    def _how(self) -> str:
        """How the process ended."""
        code = self._process.wait()
        if code >= 0:
            return f"its process ended with code {code}"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        why = " (the system's way when memory runs out)" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{why}"

    def close(self) -> None:
        """End the process, whatever it is doing."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._listener.join()
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # what it did not read any more
                if stream is not None:
                    stream.close()
