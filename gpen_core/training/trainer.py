"""One run's networks, optimizers, average and data, and its single step."""

from __future__ import annotations

import copy
import json
import logging
import signal
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ..dataset.pairs import Batch, PairSampler, validation_pairs
from ..dataset.resident import ResidentSampler
from ..dataset.sources import Face, check_pictures, read_faces, split
from ..errors import CheckpointError, InputError
from ..tasks.known import task_named
from . import checkpoint
from .adversary import Adversary, Sight
from .augmentation import DRAWS
from .config import Adam, TrainConfig
from .likeness import Corner, PerceptualLosses, random_corners, region_corners, seen
from .losses import regression_losses
from .network import compiled, empty_network, new_network
from .optimizer import adam, optimizers
from .processes import Processes
from .schedule import learning_rate
from .second import answer
from .validation import compare, restore_pairs, sheet

log = logging.getLogger(__name__)
VALIDATION_PRESET = "medium"
_GPU_WORKERS = 4
# Where a checkpoint keeps the generator's optimizers.
_STATES = {"adam": "g_optim", "muon": "g_muon"}
DISCRIMINATORS = ("d", "d_patch", "d_regions")
# Keep the seeds of squares and augmentations apart from the pictures'.
_CROP_SEED, _SIGHT_SEED, _IDENTITY_SEED = 7919, 104_729, 15_485_863
_ADAPT_EVERY = 4
"""Steps between two changes of the augmentation's probability, as in StyleGAN2-ADA."""


class Trainer:
    """A run's networks, optimizers, average and data.

    Args:
        config: the run.
        processes: who else trains; alone unless given.

    Raises:
        InputError: the data set or the device cannot be used.
        CheckpointError: the last checkpoint belongs to another network, or a backbone is damaged.
        MissingDependencyError: a loss's backbone is not installed.
    """

    def __init__(self, config: TrainConfig, processes: Processes | None = None) -> None:
        self.config = config
        self.processes = processes or Processes(config.device)
        self.device = self.processes.device
        if config.precision == "fp16" and self.device.type != "cuda":
            raise InputError("precision: fp16 needs a CUDA GPU; set bf16 or fp32.")
        self.step = 0
        self.task = task_named(config.task)
        self.started = time.monotonic()
        last = checkpoint.load_last(config.output)
        training, validation = self._faces(resuming=last is not None)
        self.sampler = self._new_sampler(training)
        self.held_out = validation
        self.perceptual = PerceptualLosses(config.losses, config.backbones).to(self.device)
        if last is None:
            net = new_network(config.model, config.seed)
        else:  # the files a run started from may be gone
            net = empty_network(config.model)
        self.net = net.to(self.device)
        self._answering = compiled(self.net) if config.compile else self.net
        self.average = copy.deepcopy(self.net).eval().requires_grad_(False)
        self.optimizers = optimizers(self.net, config.optimizer)
        self.adversary = self._new_adversary()
        self.d_optimizer = (
            adam(list(self.adversary.parameters()), config.discriminators.optimizer)
            if self.adversary
            else None
        )
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.precision == "fp16")
        if last is not None:
            self._resume(last)
        if not self.processes.agree(self.step):
            raise InputError(
                f"The processes found different checkpoints in {config.output}; the folder must be "
                f"one that all machines share."
            )
        self._batches: Iterator[Batch] | None = None

    def train_step(self) -> dict[str, Tensor]:
        """One step on the batches of `self.step`; its losses, weighted, of this process."""
        playing = self.adversary is not None and self.playing
        self.net.zero_grad()
        if self.adversary is not None:
            self.adversary.zero_grad()
        sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=self.device))
        for part in range(self.config.accumulate):
            for name, value in self._backward(self._next_batch(), part, playing).items():
                sums[name] = sums[name] + value / self.config.accumulate
        for optimizer in self.optimizers.values():
            self._update(optimizer, self.config.optimizer)
        if playing and self.d_optimizer is not None:
            self._update(self.d_optimizer, self.config.discriminators.optimizer)
        self.scaler.update()
        self.step += 1
        if playing:
            self._adapt_augmentation()
        self._update_average()
        return dict(sums)

    @property
    def playing(self) -> bool:
        """Whether the discriminators take part in the step at hand."""
        return self.step >= self.config.discriminators.from_step

    @property
    def seconds(self) -> float:
        """Time spent on the run so far, sittings before a resume included."""
        return time.monotonic() - self.started

    @property
    def rate(self) -> float:
        """The generator's learning rate in the step at hand."""
        return learning_rate(self.step, self.config.steps, self.config.optimizer)

    @cached_property
    def pairs(self) -> Batch:
        """The held-out faces, degraded; only the process that writes needs them."""
        config = self.config
        return validation_pairs(
            self.held_out,
            config.model.size,
            VALIDATION_PRESET,
            damage_size=config.damage_size,
            task=config.task,
        )

    def validate(self) -> dict[str, float]:
        """The averaged network on the held-out faces, preset `medium`.

        PSNR in dB of the degraded and the restored faces, and what the losses' networks say.
        """
        return compare(self.average, self.pairs, self.perceptual, self.task)

    def samples(self) -> Tensor:
        """Degraded | restored | truth of the first held-out faces: (3, H, W) 0..1."""
        few = self.pairs.first(8)
        return sheet(few, restore_pairs(self.average, few, self.task))

    def save(self) -> Path:
        """Write a checkpoint in the layout of the official self-trained files."""
        state: dict[str, object] = {
            "g": self.net.state_dict(),
            "g_ema": self.average.state_dict(),
            **{_STATES[name]: one.state_dict() for name, one in self.optimizers.items()},
            "step": self.step,
            "seconds": self.seconds,
        }
        if self.adversary is not None and self.d_optimizer is not None:
            state |= {name: part.state_dict() for name, part in self.adversary.parts.items()}
            state["d_optim"] = self.d_optimizer.state_dict()
            if self.adversary.augmentation is not None:
                state["augmentation"] = self.adversary.augmentation.state_dict()
        if self.scaler.is_enabled():
            state["scaler"] = self.scaler.state_dict()
        return checkpoint.save(self.config.output, self.step, state, self.config.keep)

    def export(self, metrics: dict[str, float]) -> None:
        """Write the averaged network as safetensors, where the config asks for it."""
        target = self.config.export
        if target is None:
            return
        metadata = {
            "license": target.license,
            "training_data": target.training_data,
            "steps": str(self.step),
            "training_minutes": f"{self.seconds / 60:.0f}",
            "metrics": json.dumps({name: round(value, 3) for name, value in metrics.items()}),
            "metrics_preset": VALIDATION_PRESET,
            "task": self.config.task,
        }
        checkpoint.export(target.path, self.net, self.average.state_dict(), metadata)

    def _faces(self, *, resuming: bool) -> tuple[list[Face], list[Face]]:
        """(training, validation), looked at by the main process while the others wait."""
        config = self.config
        selection = config.data.selection()
        faces = read_faces(selection)
        # A run that went well before has read them all.
        decode = config.data.check == "pixels" and not resuming and self.processes.is_main
        check_pictures(faces, config.data.min_size or config.model.size, decode=decode)
        training, validation = split(faces, selection)
        log.info("%d faces to train on, %d held out", len(training), len(validation))
        drawn = config.batch_size * config.accumulate * self.processes.count
        if len(training) < drawn:
            raise InputError(
                f"There are {len(training)} faces to train on, fewer than the {drawn} of one step "
                f"(batch_size x accumulate x processes); add faces or lower batch_size."
            )
        return training, validation

    def _new_sampler(self, faces: list[Face]) -> PairSampler:
        plan, sharing = self.config.plan(), (self.processes.count, self.processes.index)
        if self.config.data.resident:
            return ResidentSampler(faces, plan, self.device, *sharing)
        return PairSampler(faces, plan, *sharing)

    def _new_adversary(self) -> Adversary | None:
        if not self.config.losses.needs_discriminators:
            return None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed + 1)
            adversary = Adversary(self.config)
        return adversary.train().to(self.device)

    def _next_batch(self) -> Batch:
        if self._batches is None:
            self._batches = iter(self._loader())
        return next(self._batches).to(self.device)

    def _loader(self) -> DataLoader[Batch]:
        """The passes that are left, in order; prepared ahead where there are workers."""
        # Resident faces are on the device already, where no other process can put them.
        on_gpu = self.device.type == "cuda" and not self.config.data.resident
        workers = self.config.data.workers
        passes = self.config.accumulate
        return DataLoader(
            self.sampler,
            batch_size=None,
            sampler=range(self.step * passes, max(self.config.steps, self.step + 1) * passes),
            num_workers=(_GPU_WORKERS if on_gpu else 0) if workers is None else workers,
            pin_memory=on_gpu,
            worker_init_fn=_leave_signals_to_the_parent,
        )

    def _backward(self, batch: Batch, part: int, playing: bool) -> dict[str, Tensor]:
        """Add one pass's gradients to those of all networks; the losses."""
        real = batch.truth
        with self._autocast():
            made = answer(self._answering, batch.degraded)
        restored = self.task.combine(batch.degraded, made.float(), batch.holes)
        counted = batch.weight * batch.focus
        losses = regression_losses(restored, real, counted, self.config.losses)
        fake = seen(restored, real, batch.weight)
        sight = Sight(batch.places, self._draws(_SIGHT_SEED, part, DRAWS))
        with self._autocast():
            if self.perceptual.looks(self.step):
                corners = self._corners(part, batch.places)
                draws = self._draws(_IDENTITY_SEED, part, DRAWS)
                losses |= self.perceptual(fake, real, corners, draws)
            if playing and self.adversary is not None:
                losses |= self.adversary.generator_losses(fake, real, sight)
        losses = {"loss": torch.stack(list(losses.values())).sum(), **losses}
        self._add_gradients(losses["loss"])
        if playing and self.adversary is not None:
            losses |= self._judge(self.adversary, fake.detach(), real, sight)
        return {name: value.detach() for name, value in losses.items()}

    def _judge(
        self, adversary: Adversary, fake: Tensor, real: Tensor, sight: Sight
    ) -> dict[str, Tensor]:
        """The discriminators' half of a pass, against the generator of before the step."""
        with self._autocast():
            losses = adversary.discriminator_losses(fake, real, sight)
        if adversary.penalized(self.step):
            losses |= adversary.penalty(real, sight)
        self._add_gradients(torch.stack(list(losses.values())).sum())
        return losses

    def _add_gradients(self, loss: Tensor) -> None:
        self.scaler.scale(loss / self.config.accumulate).backward()

    def _update(self, optimizer: torch.optim.Optimizer, options: Adam) -> None:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.config.steps, options)
            self.processes.average_gradients(group["params"])
        self.scaler.step(optimizer)

    def _adapt_augmentation(self) -> None:
        """Every few steps: what the discriminators of all processes made of real faces."""
        augmentation = self.adversary.augmentation if self.adversary is not None else None
        if augmentation is None or self.step % _ADAPT_EVERY:
            return
        certainty = self.processes.mean({"certainty": augmentation.certainty})["certainty"]
        augmentation.adapt(certainty, self.sampler.step_size * _ADAPT_EVERY)

    def _corners(self, part: int, places: Tensor) -> list[Corner]:
        """The squares of this process's pass `part`, drawn for the whole step as the faces are."""
        size, crop = self.config.model.size, self.config.losses.perceptual_crop
        if crop is not None and self.config.losses.perceptual_at == "regions":
            draws = self._draws(_CROP_SEED, part, 1)
            return region_corners(places, size, crop, draws[:, 0])
        passes = slice(*self.sampler.share(part))
        return random_corners(self.sampler.step_size, size, crop, self._seed(_CROP_SEED))[passes]

    def _draws(self, what: int, part: int, count: int) -> Tensor:
        """(N, count) 0..1 for this process's pass `part`, drawn for the whole step."""
        generator = torch.Generator().manual_seed(self._seed(what))
        everyone = torch.rand(self.sampler.step_size, count, generator=generator)
        return everyone[slice(*self.sampler.share(part))]

    def _seed(self, what: int) -> int:
        """A seed for the step at hand, apart from those of the pictures and of other things."""
        return (self.config.seed + what) * 1_000_003 + self.step

    def _autocast(self) -> AbstractContextManager[object]:
        dtype = torch.float16 if self.config.precision == "fp16" else torch.bfloat16
        return torch.autocast(self.device.type, dtype, enabled=self.config.precision != "fp32")

    @torch.no_grad()
    def _update_average(self) -> None:
        # A short memory at first, or the untrained start would linger in the average.
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        for mean, value in zip(self.average.parameters(), self.net.parameters(), strict=True):
            mean.lerp_(value, 1 - decay)

    def _resume(self, state: dict[str, object]) -> None:
        try:
            self.net.load_state_dict(state["g"])  # type: ignore[arg-type]
            self.average.load_state_dict(state["g_ema"])  # type: ignore[arg-type]
            for name, optimizer in self.optimizers.items():
                optimizer.load_state_dict(state[_STATES[name]])  # type: ignore[arg-type]
            self._resume_adversary(state)
            if self.scaler.is_enabled() and "scaler" in state:
                self.scaler.load_state_dict(state["scaler"])  # type: ignore[arg-type]
            self.step = int(state["step"])  # type: ignore[call-overload]
            self.started -= float(state["seconds"])  # type: ignore[arg-type]
        except (KeyError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"The last checkpoint in {self.config.output} does not fit this config's networks; "
                f"choose another output folder ({str(error).splitlines()[0]})."
            ) from error
        log.info("resumed %s at step %d", self.config.output, self.step)

    def _resume_adversary(self, state: dict[str, object]) -> None:
        if self.adversary is None or self.d_optimizer is None:
            if "d_optim" in state:
                log.warning("adversarial is off: the checkpoint's discriminators are dropped")
            return
        if "d_optim" not in state:
            log.warning("the checkpoint has no discriminators: they start afresh")
            return
        parts = self.adversary.parts
        there = {name for name in DISCRIMINATORS if name in state}
        for name in parts.keys() & there:
            parts[name].load_state_dict(state[name])  # type: ignore[arg-type]
        if there == parts.keys():
            self.d_optimizer.load_state_dict(state["d_optim"])  # type: ignore[arg-type]
        else:
            log.warning(
                "the checkpoint has the discriminators %s, this config %s: what is new, and their "
                "optimizer, starts afresh",
                sorted(there),
                sorted(parts),
            )
        if self.adversary.augmentation is not None and "augmentation" in state:
            self.adversary.augmentation.load_state_dict(state["augmentation"])  # type: ignore[arg-type]


def _leave_signals_to_the_parent(worker: int) -> None:
    """Ctrl-C reaches the workers too; the trainer ends them after its last step."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
