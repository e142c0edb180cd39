"""Training of the network that sees what is in front of a face.

    python -m gpen_core.training.occlusion CONFIG.yaml

A run that was stopped goes on from its last checkpoint.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
import yaml
from pydantic import Field, ValidationError, field_validator
from safetensors.torch import save_file
from torch import Tensor, nn

from ..dataset.covered import SIDE, Behind, CoveredSampler, Drawing
from ..dataset.occluders import KINDS
from ..dataset.sources import read_faces, split
from ..errors import GPENError, InputError
from ..faces.occlusion import load_trunk
from ..files import append_line, replacing
from ..networks.occlusion import OcclusionNet
from .checkpoint import load_last, save
from .muon import Muon
from .schedule import learning_rate
from .sections import Adam, Damage, Data, Jitter, Section

log = logging.getLogger(__name__)


class OcclusionConfig(Section):
    """One run.

    Example:
        >>> content = {"output": "run", "data": {"root": "faces"}, "damage": [{}], "steps": 10}
        >>> OcclusionConfig.model_validate(content).batch_size
        16
    """

    output: Path
    data: Data
    skip: Path | None = None
    """A file with the names of pictures in which something is in front of the face already."""
    damage: tuple[Damage, ...] = Field(min_length=1)
    none: float = Field(default=0.28, ge=0, le=1)
    """Share of faces with nothing in front of them."""
    kinds: dict[str, float] = Field(default_factory=dict)
    """How often a thing is drawn relative to the others; 1 unless named."""
    jitter: Jitter = Jitter()
    optimizer: Adam = Adam()
    ema: float = Field(default=0.998, ge=0, lt=1)
    steps: int = Field(ge=1)
    batch_size: int = Field(default=16, ge=1)
    echo: int = Field(default=1, ge=1, le=2)
    """Steps with each batch that is drawn; in the second one its pictures are mirrored."""
    seed: int = Field(default=0, ge=0)
    threads: int | None = Field(default=None, ge=1)
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the convolutions; a CPU with AMX multiplies bfloat16 several times faster."""
    log_every: int = Field(default=50, ge=1)
    checkpoint_every: int = Field(default=250, ge=1)
    export: Path | None = None
    """Where the averaged network is written in half precision."""
    training_data: str = ""

    @field_validator("kinds")
    @classmethod
    def _known(cls, kinds: dict[str, float]) -> dict[str, float]:
        unknown = [name for name in kinds if name not in KINDS[1:]]
        if unknown:
            raise ValueError(f"there is no {unknown[0]!r}; known are {', '.join(KINDS[1:])}")
        if min(kinds.values(), default=0) < 0:
            raise ValueError("how often a kind is drawn must be 0 or more")
        return kinds

    def drawing(self, skip: frozenset[str]) -> Drawing:
        """What is drawn for every step."""
        return Drawing(
            recipes=[(damage.share, damage.recipe()) for damage in self.damage],
            batch_size=self.batch_size,
            seed=self.seed,
            none=self.none,
            kinds=self.kinds,
            weights=self.data.weights,
            jitter=self.jitter.value(),
            skip=skip,
        )


def read_config(path: str | Path) -> OcclusionConfig:
    """Read and check a config; its relative paths become relative to its own folder.

    Raises:
        InputError: the file cannot be read, or an entry is wrong.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        config = OcclusionConfig.model_validate(content)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
        raise InputError(f"The training config {path} cannot be used: {error}") from error
    folder = path.parent.resolve()
    changes: dict[str, object] = {
        "output": folder / config.output,
        "data": config.data.model_copy(update={"root": folder / config.data.root}),
    }
    for name in ("skip", "export"):
        if getattr(config, name) is not None:
            changes[name] = folder / getattr(config, name)
    return config.model_copy(update=changes)


def names(path: Path | None) -> frozenset[str]:
    """The names in a file, one to a line; lines that start with # are left out.

    Raises:
        InputError: the file cannot be read.
    """
    if path is None:
        return frozenset()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The list {path} cannot be read: {error}") from error
    return frozenset(line.strip() for line in lines if line.strip() and line[0] != "#")


def loss(logits: Tensor, batch: Behind) -> Tensor:
    """Cross entropy of the pixels, and of the faces behind something 1 - IoU.

    Pixels count by how far they lie inside the photograph, and the rim of the crop, which no mask
    reaches, counts a third.
    """
    weight = batch.inside * _middle(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, batch.covered, reduction="none")
    total = (entropy * weight).sum() / weight.sum()
    seen = logits.sigmoid() * weight
    true = batch.covered * weight
    both = (seen * batch.covered).sum((1, 2, 3))
    either = seen.sum((1, 2, 3)) + true.sum((1, 2, 3)) - both
    behind = (true.sum((1, 2, 3)) > SIDE).float()
    overlap = (1 - both / either.clamp(min=1e-6)) * behind
    return total + 0.5 * overlap.sum() / behind.sum().clamp(min=1)


def _middle(like: Tensor) -> Tensor:
    weight = torch.full_like(like[:1], 1 / 3)
    rim = like.shape[-1] // 10
    weight[..., rim:-rim, rim:-rim] = 1
    return weight


class OcclusionTrainer:
    """The state of a run and its step.

    Args:
        config: of the run.
    """

    def __init__(self, config: OcclusionConfig) -> None:
        self.config = config
        if config.threads:
            torch.set_num_threads(config.threads)
        selection = config.data.selection()
        training, held = split(read_faces(selection), selection)
        self.sampler = CoveredSampler(training, config.drawing(names(config.skip)))
        log.info("%d faces to train on, %d held out", len(training), len(held))
        torch.manual_seed(config.seed)
        self.net = OcclusionNet()
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        load_trunk(self.net)
        self.average = OcclusionNet()
        self.average.load_state_dict(self.net.state_dict())
        self.optimizers = _optimizers(self.net, config.optimizer)
        self.step, self.seconds = 0, 0.0
        self._drawn: Behind | None = None
        state = load_last(config.output) if config.output.is_dir() else None
        if state is not None:
            self._resume(state)

    def run(self) -> None:
        """Train to the end, with checkpoints and the file for use."""
        config, total, since = self.config, 0.0, self.step
        while self.step < config.steps:
            total += self.train_step()
            done = self.step == config.steps
            if done or self.step % config.log_every == 0:
                self._log(total / (self.step - since))
                total, since = 0.0, self.step
            if done or self.step % config.checkpoint_every == 0:
                self.save()
        if config.export is not None:
            self.export(config.export)

    def train_step(self) -> float:
        """One step; its loss."""
        started, config = time.monotonic(), self.config
        for group in (group for one in self.optimizers for group in one.param_groups):
            group["lr"] = learning_rate(self.step, config.steps, config.optimizer)
        batch = self._batch()
        self.net.train()
        pictures = batch.pictures.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bfloat16"):
            logits = self.net(pictures)
        current = loss(logits.float(), batch)
        self.net.zero_grad(set_to_none=True)
        current.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 2.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self._follow()
        self.step += 1
        self.seconds += time.monotonic() - started
        return float(current.detach())

    def _batch(self) -> Behind:
        number, again = divmod(self.step, self.config.echo)
        if not again or self._drawn is None:
            self._drawn = self.sampler.batch(number)
        return self._drawn.mirrored() if again else self._drawn

    def save(self) -> None:
        """Write the state of the run."""
        state: dict[str, object] = {
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "seconds": self.seconds,
        }
        self.config.output.mkdir(parents=True, exist_ok=True)
        save(self.config.output, self.step, state, keep=2)

    def export(self, path: Path) -> None:
        """Write the averaged network in half precision, with where it comes from."""
        state = self.average.own_state()
        half = {
            name: (value.half() if value.is_floating_point() else value).contiguous()
            for name, value in state.items()
        }
        described = {
            "architecture": "gpen-occlusion",
            "input_size": str(SIDE),
            "template": "gpen",
            "license": "MIT",
            "steps": str(self.step),
            "training_data": self.config.training_data,
        }
        with replacing(path) as scratch:
            save_file(half, scratch, metadata=described)

    def _follow(self) -> None:
        """Move the average toward the network; early on, faster."""
        keep = min(self.config.ema, (1 + self.step) / (10 + self.step))
        theirs = self.net.own_state()
        for name, value in self.average.own_state().items():
            if value.is_floating_point():
                value.lerp_(theirs[name].to(value), 1 - keep)

    def _log(self, mean: float) -> None:
        line = {"step": self.step, "seconds": round(self.seconds, 1), "loss": round(mean, 5)}
        self.config.output.mkdir(parents=True, exist_ok=True)
        append_line(self.config.output / "log.jsonl", json.dumps(line))
        log.info("%s", line)

    def _resume(self, state: dict[str, Any]) -> None:
        try:
            self.net.load_state_dict(state["net"])
            self.average.load_state_dict(state["average"])
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
            self.step = int(state["step"])
            self.seconds = float(state["seconds"])
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(
                f"The checkpoint in {self.config.output} is of another run ({error}); delete it, "
                f"or name another folder."
            ) from error


def _optimizers(net: OcclusionNet, options: Adam) -> list[torch.optim.Optimizer]:
    """Muon for what mixes channels, Adam for the rest, at the same rate."""
    layers = (layer for layer in net.modules() if isinstance(layer, nn.Conv2d))
    mixers = {id(layer.weight) for layer in layers if layer.groups == 1}
    learned = [weight for weight in net.parameters() if weight.requires_grad]
    mixing = [weight for weight in learned if id(weight) in mixers]
    rest = [weight for weight in learned if id(weight) not in mixers]
    return [
        Muon(mixing, options.lr),
        torch.optim.Adam(rest, lr=options.lr, betas=options.betas),
    ]


def main(arguments: list[str]) -> int:
    """The command: the path of a config."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if len(arguments) != 1:
        log.error("Give the path of one config.")
        return 2
    try:
        OcclusionTrainer(read_config(arguments[0])).run()
    except GPENError as error:
        log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
