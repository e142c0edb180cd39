"""What a training run is told: a YAML file, checked before the first step."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..degradation import Degradation, preset
from ..errors import InputError
from ..networks import GPENConfig


class _Part(BaseModel):
    # An unknown key is a typing error that would otherwise train the wrong thing for hours.
    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(_Part):
    """Which faces: a folder with a `manifest.csv` (file, source, strict, inside)."""

    root: Path
    strict_only: bool = True
    also: tuple[str, ...] = ()
    """Sources taken although their rows are not marked strict."""
    exclude: tuple[str, ...] = ()
    weights: dict[str, float] = {}
    """How often a picture of a source is drawn, relative to 1."""
    holdout: float = Field(default=0.06, gt=0, lt=1)
    """Share of each source kept for validation: its last files, so neighbours stay together."""
    max_validation: int = Field(default=64, ge=1)


class Jitter(_Part):
    """Random placement of the training crops around the GPEN template."""

    rotation: float = Field(default=8.0, ge=0, le=45)
    """Degrees either way."""
    scale: tuple[float, float] = (0.95, 1.16)
    """Magnification; 1 is the GPEN template, 1.12 the FFHQ template."""
    shift: float = Field(default=0.03, ge=0, le=0.25)
    """Share of the crop's side, either way."""
    flip: bool = True


class Network(_Part):
    """The shape of a GPEN v1 network and its start."""

    size: int
    narrow: float = Field(gt=0, le=2)
    channel_multiplier: float = Field(default=1, gt=0)
    start: Literal["identity", "random"] = "identity"

    def shape(self) -> GPENConfig:
        return GPENConfig.create(self.size, self.narrow, self.channel_multiplier)


class Damage(_Part):
    """One kind of damage among several: a preset, or ranges."""

    share: float = Field(default=1.0, gt=0)
    preset: str | None = None
    scale: tuple[float, float] = (1, 1)
    blur: tuple[float, float] = (0, 0)
    motion: tuple[float, float] = (0, 0)
    noise: tuple[float, float] = (0, 0)
    jpeg: tuple[float, float] = (0, 0)
    colour: tuple[float, float] = (0, 0)
    grey: float = 0

    @model_validator(mode="after")
    def _usable(self) -> Damage:
        self.recipe()
        return self

    def recipe(self) -> Degradation:
        if self.preset is not None:
            return preset(self.preset)
        ranges = self.model_dump(exclude={"share", "preset"})
        return Degradation(**ranges)


class Losses(_Part):
    """Weights of the losses; 0 turns one off."""

    l1: float = Field(default=1.0, ge=0)
    gradient: float = Field(default=0.5, ge=0)
    frequency: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _some(self) -> Losses:
        if not (self.l1 or self.gradient or self.frequency):
            raise ValueError("every loss is off")
        return self


class Optimiser(_Part):
    """Adam, a short warm-up, then `lr` until `decay_from` of the run and cosine to `final_lr`."""

    lr: float = Field(default=2e-3, gt=0)
    final_lr: float = Field(default=2e-4, gt=0)
    decay_from: float = Field(default=0.8, ge=0, le=1)
    warmup: int = Field(default=50, ge=0)
    betas: tuple[float, float] = (0.9, 0.99)


class Export(_Part):
    """The EMA network as a half-precision safetensors file, written while training."""

    path: Path
    every_minutes: float = Field(default=10, gt=0)
    licence: str = "MIT"
    training_data: str = ""


class TrainConfig(_Part):
    """One run."""

    output: Path
    data: Data
    model: Network
    damage: tuple[Damage, ...] = Field(min_length=1)
    steps: int = Field(ge=1)
    batch_size: int = Field(default=4, ge=1)
    seed: int = Field(default=0, ge=0)
    jitter: Jitter = Jitter()
    losses: Losses = Losses()
    optimiser: Optimiser = Optimiser()
    ema: float = Field(default=0.998, ge=0, lt=1)
    precision: Literal["fp32", "bf16"] = "fp32"
    device: str = "cpu"
    threads: int | None = Field(None, ge=1)
    log_every: int = Field(default=50, ge=1)
    checkpoint_every: int = Field(default=500, ge=1)
    validate_every: int = Field(default=500, ge=1)
    keep: int = Field(default=2, ge=1)
    export: Export | None = None


def read_config(path: str | Path) -> TrainConfig:
    """Read and check a config; its relative paths become relative to its own folder.

    Raises:
        InputError: the file cannot be read, is no YAML mapping, or an entry is wrong.
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
        config.model.shape()
    except ValidationError as error:
        raise InputError(f"The training config {path} is wrong at {_first(error)}") from error
    return _absolute(config, path.parent.resolve())


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "its top"
    return f"{where}: {first['msg']}."


def _absolute(config: TrainConfig, folder: Path) -> TrainConfig:
    changes: dict[str, object] = {
        "output": folder / config.output,
        "data": config.data.model_copy(update={"root": folder / config.data.root}),
    }
    if config.export is not None:
        changes["export"] = config.export.model_copy(update={"path": folder / config.export.path})
    return config.model_copy(update=changes)
