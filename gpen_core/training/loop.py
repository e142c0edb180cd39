"""The training loop: one network, Adam, EMA, and a state that resumes bit for bit."""

from __future__ import annotations

import copy
import json
import logging
import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import torch
from PIL import Image
from torch import Tensor

from ..errors import CheckpointError, InputError
from ..networks import GPEN
from . import checkpoint
from .config import Optimiser, TrainConfig
from .dataset import (
    Batch,
    PairSampler,
    read_manifest,
    split,
    validation_pairs,
)
from .evaluate import compare, restore_pairs, sheet
from .losses import regression_losses
from .start import start_as_identity

log = logging.getLogger(__name__)
VALIDATION_PRESET = "medium"


class Trainer:
    """A run's network, optimiser, average and data.

    Raises:
        InputError: the data set cannot be used.
        CheckpointError: the last checkpoint belongs to another network.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.step = 0
        self.started = time.monotonic()
        training, validation = split(read_manifest(config.data), config.data)
        log.info("%d faces to train on, %d held out", len(training), len(validation))
        self.sampler = PairSampler(training, config)
        self.pairs = validation_pairs(validation, config.model.size, VALIDATION_PRESET)
        self.net = _new_network(config)
        self.average = copy.deepcopy(self.net).eval().requires_grad_(False)
        self.optimiser = torch.optim.Adam(
            self.net.parameters(), lr=config.optimiser.lr, betas=config.optimiser.betas
        )
        self._resume()

    def train_step(self) -> dict[str, float]:
        """One step on the batch of `self.step`; the losses."""
        config = self.config
        batch = self.sampler.batch(self.step).to(config.device)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.step, config.steps, config.optimiser)
        losses = self._losses(batch)
        total = torch.stack(list(losses.values())).sum()
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        self.optimiser.step()
        self.step += 1
        self._update_average()
        return {"loss": total.item(), **{name: loss.item() for name, loss in losses.items()}}

    @property
    def seconds(self) -> float:
        """Time spent on the run so far, sittings before a resume included."""
        return time.monotonic() - self.started

    def validate(self) -> dict[str, float]:
        """PSNR of the averaged network on the held-out faces, preset `medium`."""
        return compare(self.average, self.pairs)

    def save(self) -> Path:
        """Write a checkpoint in the layout of the official self-trained files."""
        state = {
            "g": self.net.state_dict(),
            "g_ema": self.average.state_dict(),
            "g_optim": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        return checkpoint.save(self.config.output, self.step, state, self.config.keep)

    def export(self, metrics: dict[str, float]) -> None:
        """Write the averaged network as safetensors, where the config asks for it."""
        target = self.config.export
        if target is None:
            return
        metadata = {
            "licence": target.licence,
            "training_data": target.training_data,
            "steps": str(self.step),
            "training_minutes": f"{self.seconds / 60:.0f}",
            "metrics": json.dumps({name: round(value, 3) for name, value in metrics.items()}),
            "metrics_preset": VALIDATION_PRESET,
        }
        checkpoint.export(target.path, self.net, self.average.state_dict(), metadata)

    def draw_sheet(self, path: Path) -> None:
        """Degraded | restored | truth of the first held-out faces, as a PNG."""
        few = Batch(self.pairs.degraded[:8], self.pairs.truth[:8], self.pairs.weight[:8])
        Image.fromarray(sheet(few, restore_pairs(self.average, few)).numpy()).save(path)

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        device = torch.device(self.config.device).type
        half = self.config.precision == "bf16"
        with torch.autocast(device, torch.bfloat16, enabled=half):
            restored = self.net(batch.degraded)
        return regression_losses(restored, batch.truth, batch.weight, self.config.losses)

    @torch.no_grad()
    def _update_average(self) -> None:
        # A short memory at first, or the untrained start would linger in the average.
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        for mean, value in zip(self.average.parameters(), self.net.parameters(), strict=True):
            mean.lerp_(value, 1 - decay)

    def _resume(self) -> None:
        state = checkpoint.load_last(self.config.output)
        if state is None:
            return
        try:
            self.net.load_state_dict(state["g"])  # type: ignore[arg-type]
            self.average.load_state_dict(state["g_ema"])  # type: ignore[arg-type]
            self.optimiser.load_state_dict(state["g_optim"])  # type: ignore[arg-type]
            self.step = int(state["step"])  # type: ignore[call-overload]
            self.started -= float(state["seconds"])  # type: ignore[arg-type]
        except (KeyError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"The last checkpoint in {self.config.output} does not fit this config's network; "
                f"choose another output folder ({str(error).splitlines()[0]})."
            ) from error
        log.info("resumed %s at step %d", self.config.output, self.step)


def run(config: TrainConfig) -> Path:
    """Train to the last step, or until SIGTERM or Ctrl-C; the folder of the run.

    Stopping finishes the step at hand and writes a checkpoint; the same call resumes it.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    config.output.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(config)
    clock = _Clock(config)
    with _stop_requests() as stop:
        while trainer.step < config.steps and not stop:
            losses = trainer.train_step()
            clock.after_step(trainer, losses)
    clock.finish(trainer)
    return config.output


class _Clock:
    """What happens between the steps: log, validate, checkpoint, export."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.exported = float("-inf")
        self.saved = -1

    def after_step(self, trainer: Trainer, losses: dict[str, float]) -> None:
        config, step = self.config, trainer.step
        if not math.isfinite(losses["loss"]):
            raise InputError(
                f"The loss is {losses['loss']} at step {step}; lower optimiser.lr or use fp32."
            )
        if step % config.log_every == 0:
            self._write(trainer, losses)
        if step % config.checkpoint_every == 0:
            self._save(trainer)
        every = config.export.every_minutes * 60 if config.export else float("inf")
        export_due = time.monotonic() - self.exported > every
        if step % config.validate_every == 0 or export_due:
            self._validate(trainer, export=export_due)

    def finish(self, trainer: Trainer) -> None:
        self._save(trainer)
        self._validate(trainer, export=True)

    def _validate(self, trainer: Trainer, *, export: bool) -> None:
        metrics = trainer.validate()
        self._write(trainer, metrics)
        if export:
            trainer.export(metrics)
            trainer.draw_sheet(self.config.output / f"sheet-{trainer.step:08d}.png")
            self.exported = time.monotonic()

    def _save(self, trainer: Trainer) -> None:
        if trainer.step != self.saved:
            trainer.save()
            self.saved = trainer.step

    def _write(self, trainer: Trainer, values: dict[str, float]) -> None:
        line = {"step": trainer.step, "seconds": round(trainer.seconds, 1)}
        line |= {name: round(value, 5) for name, value in values.items()}
        with (self.config.output / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        log.info("%s", line)


def learning_rate(step: int, steps: int, options: Optimiser) -> float:
    """Linear warm-up, constant, then half a cosine from `lr` down to `final_lr`."""
    if step < options.warmup:
        return options.lr * (step + 1) / options.warmup
    begin = options.decay_from * steps
    if step <= begin:
        return options.lr
    done = (step - begin) / max(1, steps - begin)
    return options.final_lr + (options.lr - options.final_lr) * (1 + math.cos(math.pi * done)) / 2


def _new_network(config: TrainConfig) -> GPEN:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        net = GPEN(config.model.shape())
    if config.model.start == "identity":
        start_as_identity(net)
    return net.train().to(config.device)


@contextmanager
def _stop_requests() -> Iterator[list[int]]:
    """A list that fills when the process is asked to stop (SIGTERM, Ctrl-C)."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        log.warning("signal %d: stopping after this step", number)
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
