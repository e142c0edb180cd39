"""The training loop: steps, and what happens between them, until the end or a signal."""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import torch
from torch import Tensor

from ..errors import InputError
from ..files import make_folder
from .config import TrainConfig
from .processes import Processes
from .record import Record
from .trainer import Trainer

log = logging.getLogger(__name__)
Watcher = Callable[[int, int, dict[str, float]], None]
"""Told (step, steps, losses) after every step; the losses are those logged last."""


def run(config: TrainConfig, watcher: Watcher | None = None) -> Path:
    """Train to the last step, or until SIGTERM or Ctrl-C; the folder of the run.

    Stopping finishes the step at hand and writes a checkpoint; the same call resumes it. Of several
    processes only the main one writes and calls `watcher`.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    processes = Processes(config.device)
    trainer = Trainer(config, processes)
    make_folder(config.output)
    with _stop_requests() as stop:
        clock = _Clock(config, trainer, watcher)
        while trainer.step < config.steps and not processes.any(bool(stop)):
            clock.after_step(trainer.train_step())
        clock.finish()
    return config.output


class _Clock:
    """What happens between the steps: log, validate, checkpoint, export."""

    def __init__(self, config: TrainConfig, trainer: Trainer, watcher: Watcher | None) -> None:
        self.config, self.trainer = config, trainer
        self.is_main = trainer.processes.is_main
        self.watcher = watcher if self.is_main else None
        self.record = (
            Record(config.output, tensorboard=config.tensorboard, step=trainer.step)
            if self.is_main
            else None
        )
        self.losses: dict[str, Tensor] = {}
        self.last: dict[str, float] = {}
        self.validated, self.metrics = -1, dict[str, float]()
        self.exported = time.monotonic()
        self.saved, self.saved_at = -1, time.monotonic()

    def after_step(self, losses: dict[str, Tensor]) -> None:
        config, step = self.config, self.trainer.step
        self.losses = losses
        if step % config.log_every == 0:
            self._look()
            self._log()
        if step % config.checkpoint_every == 0 or self._checkpoint_due():
            self._save()
        every = config.export.every_minutes * 60 if config.export else float("inf")
        export_due = time.monotonic() - self.exported > every
        if step % config.validate_every == 0 or export_due:
            self._validate(export=export_due)
        if self.watcher is not None:
            self.watcher(step, config.steps, self.last)

    def finish(self) -> None:
        self._save()
        self._validate(export=True)
        if self.record is not None:
            self.record.close()
        self.trainer.processes.wait()

    def _look(self) -> None:
        """Fetch the losses, averaged over the processes; all of them get here together."""
        if not self.losses:  # nothing was left to do
            return
        self.last = self.trainer.processes.mean(self.losses)
        wrong = next((name for name, value in self.last.items() if not math.isfinite(value)), None)
        if wrong is not None:
            raise InputError(
                f"The loss {wrong!r} is {self.last[wrong]} at step {self.trainer.step}; go on from "
                f"the last checkpoint with a lower optimizer.lr, or with bf16 or fp32."
            )

    def _log(self) -> None:
        if self.record is not None:
            values = self.last | {"lr": self.trainer.rate}
            self.record.scalars(self.trainer.step, self.trainer.seconds, values, "train")

    def _validate(self, *, export: bool) -> None:
        if self.record is None:
            return
        trainer = self.trainer
        if trainer.step != self.validated:
            self.metrics = trainer.validate()
            self.record.scalars(trainer.step, trainer.seconds, self.metrics, "validation")
            self.record.samples(trainer.step, trainer.samples())
            self.validated = trainer.step
        if export:
            trainer.export(self.metrics)
            self.exported = time.monotonic()

    def _checkpoint_due(self) -> bool:
        """Whether the minutes since the last checkpoint are up; all processes agree."""
        minutes = self.config.checkpoint_minutes
        if minutes is None:
            return False
        return self.trainer.processes.any(time.monotonic() - self.saved_at > 60 * minutes)

    def _save(self) -> None:
        self.saved_at = time.monotonic()
        if self.trainer.step == self.saved:
            return
        self._look()  # what is not finite must not replace a good checkpoint
        if self.is_main:
            self.trainer.save()
        self.saved = self.trainer.step


@contextmanager
def _stop_requests() -> Iterator[list[int]]:
    """A list that fills when the process is asked to stop (SIGTERM, Ctrl-C)."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        log.warning("signal %d: stopping after this step", number)
        received.append(number)

    if threading.current_thread() is not threading.main_thread():
        log.info("not in the main thread: signals are left to the caller")
        yield received
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
