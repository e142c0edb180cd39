"""What the commands print, and how an error speaks of flags."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..errors import GPENError
from ..files import shown

console = Console(stderr=True)

_REMEDIES = {
    "overwrite": ", or add --overwrite to replace it.",
    "align": "; add --face_align to find and align the faces, or --no_check for a face crop.",
    "license": " (--accept_license).",
    "model": " (--model_path).",
    "task": " (--task).",
}


def sentence(error: GPENError) -> str:
    """An error's text in the terms of the command line: its flag, and the flag that helps."""
    text = str(error)
    if error.option is not None:
        flag = f"--{error.option}"
        if text.startswith(error.option):
            text = flag + text[len(error.option) :]
        elif flag not in text:
            text = f"{flag}: {text}"
    if error.remedy in _REMEDIES:
        text = text.rstrip(".") + _REMEDIES[error.remedy]
    return text


def complain(error: GPENError) -> None:
    """Print an error, in one line; names in it may hold anything."""
    console.print(f"[bold red]Error:[/] {escape(shown(sentence(error)))}", soft_wrap=True)


def say(text: str) -> None:
    """Print a line; names in it may hold anything."""
    console.print(shown(text), markup=False, soft_wrap=True)


@contextmanager
def terminating() -> Iterator[None]:
    """SIGTERM ends a block as Ctrl-C does, so that scratch files go and reports are written."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def bars() -> Progress:
    """Progress bars that vanish when they are done; none where nobody watches."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
