"""The process that has the networks: tasks come in on standard input, rows go out.

It is apart from whoever gives it work, so that a decoder which brings its process down, or a
picture that takes all memory, costs this process and no other. Each line is JSON:

    in    a recipe, then lists of tasks
    out   {"ready": ...}, {"begin": [numbers]}, {"row": [number, {...}]}, {"alive": true},
          {"end": true} after each list; {"refused": sentence} where the work cannot begin
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from ..errors import GPENError
from ..hooks import Hooks
from ..memory.process import prepare_memory

_WATCH, _SIGN = 0.5, 5.0  # seconds


class _Line:
    """One message at a time to the parent."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, **message: Any) -> None:
        self._stream.write(json.dumps(message) + "\n")
        self._stream.flush()


class _Signs(Hooks):
    """Tells the parent now and then that a long picture goes on."""

    def __init__(self, send: _Line) -> None:
        self._send, self._last = send, 0.0

    def progress(self, stage: str, done: int, total: int) -> None:
        self.may_stop()

    def may_stop(self) -> None:
        if time.monotonic() - self._last > _SIGN:
            self._last = time.monotonic()
            self._send(alive=True)

    def event(self, sentence: str) -> None:
        """Kept in the row."""


def _end_with(parent: int) -> None:
    """End when the parent has, whatever it died of."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _offer_to_the_kernel() -> None:
    """Where memory runs out, this process goes first: it is the one that can be spared."""
    try:
        Path("/proc/self/oom_score_adj").write_text("700")
    except OSError as error:
        logging.getLogger(__name__).debug("oom_score_adj: %s", error)


def main() -> None:
    """Serve until standard input ends."""
    send = _Line(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)  # whatever libraries print is no message
    if hasattr(os, "getppid"):
        _end_with(os.getppid())
    _offer_to_the_kernel()
    logging.basicConfig(level=logging.ERROR)
    first = json.loads(sys.stdin.readline())
    try:
        maker = _maker(first, send)
    except GPENError as error:
        send(refused=str(error))
        return
    from .rows import Task

    send(ready=True)
    for line in sys.stdin:
        tasks = [Task(**one) for one in json.loads(line)]
        for number, row in maker(tasks, lambda numbers: send(begin=numbers)):
            send(row=[number, asdict(row)])
        send(end=True)


def _maker(first: dict[str, str], send: _Line) -> Any:
    prepare_memory()
    import torch

    from .maker import Maker
    from .recipe import Recipe

    recipe = Recipe.of_text(first["recipe"])
    torch.set_num_threads(recipe.threads)
    return Maker(recipe, first["writer"], _Signs(send))


if __name__ == "__main__":
    main()
