"""What a training run is told: a YAML file, checked before the first step."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from ..dataset.pairs import Plan
from ..errors import InputError
from .sections import (
    Adam,
    Backbones,
    Damage,
    Data,
    Discriminators,
    Export,
    Jitter,
    Losses,
    Network,
    Optimizer,
    Section,
)

__all__ = [
    "Adam",
    "Backbones",
    "Damage",
    "Data",
    "Discriminators",
    "Export",
    "Jitter",
    "Losses",
    "Network",
    "Optimizer",
    "TrainConfig",
    "read_config",
]


class TrainConfig(Section):
    """One run.

    Example:
        >>> content = {"output": "run", "data": {"root": "faces"}, "steps": 1000}
        >>> content |= {"model": {"size": 256, "narrow": 0.5}, "damage": [{"preset": "medium"}]}
        >>> TrainConfig.model_validate(content).batch_size
        4
    """

    output: Path
    data: Data
    model: Network
    damage: tuple[Damage, ...] = Field(min_length=1)
    steps: int = Field(ge=1)
    batch_size: int = Field(default=4, ge=1)
    """Pictures in one pass of one process."""
    accumulate: int = Field(default=1, ge=1)
    """Passes summed into one step."""
    seed: int = Field(default=0, ge=0)
    task: Literal["restore", "colorize", "inpaint"] = "restore"
    """What is learned: restoring, coloring gray faces, or filling holes that are painted white."""
    jitter: Jitter = Jitter()
    losses: Losses = Losses()
    backbones: Backbones = Backbones()
    optimizer: Optimizer = Optimizer()
    discriminators: Discriminators = Discriminators()
    ema: float = Field(default=0.998, ge=0, lt=1)
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    compile: bool = False
    """Let PyTorch compile the network first, which takes minutes; on a CPU by a C++ compiler."""
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    """`auto` is the first GPU, or one for each process, or the CPU."""
    threads: int | None = Field(None, ge=1)
    log_every: int = Field(default=50, ge=1)
    checkpoint_every: int = Field(default=500, ge=1)
    checkpoint_minutes: float | None = Field(default=None, gt=0)
    """Also when so many minutes have passed since the last one."""
    validate_every: int = Field(default=500, ge=1)
    keep: int = Field(default=2, ge=1)
    tensorboard: bool = True
    export: Export | None = None

    @model_validator(mode="after")
    def _fits(self) -> TrainConfig:
        crop, size = self.losses.perceptual_crop, self.model.size
        if crop is not None and crop > size:
            raise ValueError(f"losses.perceptual_crop {crop} is larger than model.size {size}")
        if self.data.damage_size is not None and self.data.damage_size < size:
            raise ValueError(f"data.damage_size {self.data.damage_size} is below model.size {size}")
        if self.losses.identity_features and self.backbones.identity != "sface":
            raise ValueError("losses.identity_features needs backbones.identity: sface")
        return self

    @property
    def damage_size(self) -> int:
        """Side in pixels at which pairs are damaged."""
        return self.data.damage_size or self.model.size

    def plan(self) -> Plan:
        """What is drawn for every step."""
        return Plan(
            size=self.model.size,
            recipes=[(damage.share, damage.recipe()) for damage in self.damage],
            damage_size=self.damage_size,
            batch_size=self.batch_size,
            accumulate=self.accumulate,
            seed=self.seed,
            weights=self.data.weights,
            jitter=self.jitter.value(),
            factors={"eyes": self.losses.eyes, "mouth": self.losses.mouth},
            task=self.task,
        )


def read_config(path: str | Path) -> TrainConfig:
    """Read and check a config; its relative paths become relative to its own folder.

    Raises:
        InputError: the file cannot be read, is no YAML mapping, or an entry is wrong.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "run.yaml")
        ...     _ = path.write_text("steps: 10")
        ...     read_config(path)
        Traceback (most recent call last):
        gpen_core.errors.InputError: ...
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"The training config {path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"The training config {path} must be a YAML mapping of options.")
    try:
        config = TrainConfig.model_validate(content)
        config.model.second() if config.model.architecture == "v2" else config.model.shape()
    except ValidationError as error:
        raise InputError(f"The training config {path} is wrong at {_first(error)}") from error
    return _absolute(config, path.parent.resolve())


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "its top"
    return f"{where}: {first['msg']}."


def _absolute(config: TrainConfig, folder: Path) -> TrainConfig:
    """The config with every path absolute."""

    def moved(part: Section, *names: str) -> Section:
        paths = {name: getattr(part, name) for name in names}
        found = {name: folder / path for name, path in paths.items() if path is not None}
        return part.model_copy(update=found)

    changes: dict[str, object] = {
        "output": folder / config.output,
        "data": moved(config.data, "root"),
        "model": moved(config.model, "start_from", "grow_from"),
        "backbones": moved(config.backbones, "vgg", "sface", "vgg19", "arcface"),
    }
    if config.export is not None:
        changes["export"] = moved(config.export, "path")
    return config.model_copy(update=changes)
