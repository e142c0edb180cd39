"""Every option of a restoration: its range, choices, default and help, once and for everybody.

The command line makes its flags from these classes, the nodes their widgets, the documentation its
tables. Nothing here needs PyTorch, so `gpen --help` answers at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any

from .errors import InputError

DETECTORS = ("mtcnn", "retinaface-resnet50", "retinaface-mobile0.25")
SORTS = (
    "area",
    "confidence",
    "left-right",
    "top-bottom",
    "center",
    "small-large",
    "right-left",
    "bottom-top",
    "detected",
)
TEMPLATES = ("gpen", "ffhq")
MASKS = ("rectangle", "ellipse", "hull", "parsing", "face")
PARTS = ("eyes", "brows", "mouth")
"""Parts of a face that its mesh knows, in or out of a mask."""
UPSCALES = (1, 2, 4)
TASKS = ("restore", "colorize", "inpaint", "paint")
PRECISIONS = ("auto", "fp32", "fp16", "bf16")

PARSING_CLASSES = (
    "background",
    "skin",
    "nose",
    "glasses",
    "left_eye",
    "right_eye",
    "left_brow",
    "right_brow",
    "left_ear",
    "right_ear",
    "inner_mouth",
    "upper_lip",
    "lower_lip",
    "hair",
    "hat",
    "earring",
    "necklace",
    "neck",
    "cloth",
)
"""Classes of CelebAMask-HQ, in the order of ParseNet's output channels."""

PARSING_GROUPS: Mapping[str, tuple[str, ...]] = {
    "eyes": ("left_eye", "right_eye"),
    "brows": ("left_brow", "right_brow"),
    "ears": ("left_ear", "right_ear"),
    "lips": ("upper_lip", "lower_lip"),
    "mouth": ("inner_mouth", "upper_lip", "lower_lip"),
}


@dataclass(frozen=True)
class Spec:
    """What is known of one option.

    Attributes:
        help: one line, ending in a full stop.
        low, high: range of a number, both ends included.
        step: a sensible step for a slider.
        choices: the values allowed, if they are few.
        unset: what None means, for options that may be left open.

    Example:
        >>> Spec("A share.", low=0, high=1).check("share", 2)
        Traceback (most recent call last):
        gpen_core.errors.InputError: share must be from 0 to 1, not 2.
    """

    help: str
    low: float | None = None
    high: float | None = None
    step: float | None = None
    choices: tuple[Any, ...] = ()
    unset: str = ""

    @property
    def limits(self) -> str:
        """The range in words, `0.1 to 1`; empty where there is none."""
        if self.low is None or self.high is None:
            return ""
        return f"{self.low:.10g} to {self.high:.10g}"  # all digits of a seed

    def check(self, name: str, value: Any) -> None:
        """Refuse a value outside the range or the choices.

        Raises:
            InputError: names the option, the value and what is allowed.
        """
        if value is None and self.unset:
            return
        if self.choices:
            if value not in self.choices or isinstance(value, bool):
                allowed = ", ".join(str(choice) for choice in self.choices)
                raise InputError(f"{name} must be one of {allowed}, not {value!r}.", option=name)
        elif self.low is not None and self.high is not None:
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not self.low <= value <= self.high or not math.isfinite(value):
                raise InputError(
                    f"{name} must be from {self.limits}, not {value!r}.",
                    option=name,
                )


def option(default: Any, help: str, **spec: Any) -> Any:
    """A dataclass field with its `Spec`."""
    return field(default=default, metadata={"spec": Spec(help, **spec)})


def spec_of(options: type | object, name: str) -> Spec:
    """The spec of one field of an option class.

    Example:
        >>> spec_of(RestoreOptions, "strength").high
        1.0
    """
    return next(one for one in _option_fields(options) if one.name == name).metadata["spec"]


def default_of(options: type | object, name: str) -> Any:
    """The default of one field of an option class.

    Example:
        >>> default_of(DetectOptions, "confidence")
        0.9
    """
    return next(one for one in _option_fields(options) if one.name == name).default


def specs(options: type | object) -> Iterator[tuple[str, Any, Spec]]:
    """(name, default, spec) of every field of an option class.

    Example:
        >>> [name for name, default, spec in specs(RestoreOptions)]
        ['strength', 'batch_size', 'seed']
    """
    return ((one.name, one.default, one.metadata["spec"]) for one in _option_fields(options))


def _option_fields(options: type | object) -> list[Field[Any]]:
    return [one for one in fields(options) if "spec" in one.metadata]  # type: ignore[arg-type]


@dataclass(frozen=True)
class Checked:
    """Base of option classes: every field is checked against its spec when it is made.

    Example:
        >>> @dataclass(frozen=True)
        ... class Sharpening(Checked):
        ...     amount: float = option(0.5, "How much.", low=0, high=2)
        >>> Sharpening(amount=3)
        Traceback (most recent call last):
        gpen_core.errors.InputError: amount must be from 0 to 2, not 3.
    """

    def __post_init__(self) -> None:
        for name, _, spec in specs(self):
            spec.check(name, getattr(self, name))


@dataclass(frozen=True)
class ModelOptions(Checked):
    """What the model is for.

    Example:
        >>> ModelOptions(task="colorize").task
        'colorize'
    """

    task: str | None = option(
        None,
        "What the model is for, where its file does not say so.",
        choices=TASKS,
        unset="what the file says or its name suggests, else restore",
    )


@dataclass(frozen=True)
class DetectOptions(Checked):
    """What counts as a face, and how hard to look.

    Example:
        >>> DetectOptions(confidence=0.8, min_size=40).rotations
        False
    """

    confidence: float = option(
        0.9,
        "Lowest score that counts as a face; lower it if faces are missed.",
        low=0.1,
        high=1.0,
        step=0.01,
    )
    min_size: int | None = option(
        None,
        "Skip faces whose shorter side is below this, in pixels of the picture.",
        low=1,
        high=16384,
        step=1,
        unset="16 px, after large pictures are reduced for the search",
    )
    max_size: int | None = option(
        None,
        "Skip faces whose shorter side is above this, in pixels of the picture.",
        low=1,
        high=16384,
        step=1,
        unset="no limit",
    )
    long_side: int | None = option(
        None,
        "Reduce larger pictures to this long side for the search; raise it to find small faces in "
        "large pictures, which are then searched in tiles.",
        low=64,
        high=16384,
        step=64,
        unset="1280 px, and more for panoramas",
    )
    rotations: bool = option(
        False,
        "Also search the picture turned by every 45 degrees, and keep the best view of each face; "
        "the search takes nine times as long.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min_size and self.max_size and self.min_size > self.max_size:
            raise InputError(
                f"min_size ({self.min_size}) is above max_size ({self.max_size}); swap them.",
                option="min_size",
            )


@dataclass(frozen=True)
class SelectOptions(Checked):
    """Which of the faces found are restored, in which order.

    Example:
        >>> SelectOptions(sort="left-right", keep=[0, 2]).keep
        (0, 2)
    """

    sort: str = option(
        "area",
        "Order in which faces are numbered: largest (area), most confident, leftmost, topmost or "
        "most central first, the reverse, or as they were detected.",
        choices=SORTS,
    )
    keep: str | int | tuple[int, ...] = option(
        "all",
        'Faces to restore: "all", "none", "largest", "smallest", or indices such as "0,2", "0-3" '
        'or "-1" for the last.',
    )
    skip_sharp: bool = option(
        False,
        "Leave faces as they are that have more pixels than the model makes of them; restored, "
        "they come back softer.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.keep, list):
            object.__setattr__(self, "keep", tuple(self.keep))
        elif not isinstance(self.keep, int | str | tuple) and hasattr(self.keep, "__index__"):
            object.__setattr__(self, "keep", self.keep.__index__())  # NumPy's integers


CAREFUL: Mapping[str, float] = {"only_below": 0.9, "identity": 0.9}
"""What `careful` sets, see docs/choosing.md."""


@dataclass(frozen=True)
class GateOptions(Checked):
    """Which faces are left as they are although they were selected.

    Example:
        >>> GateOptions(person_threshold=0.5).person_threshold
        0.5
    """

    person_threshold: float = option(
        0.36,
        "How alike two faces must be to be taken for one person; higher: fewer strangers are "
        "restored, and more pictures of the person are left out.",
        low=0.0,
        high=1.0,
        step=0.01,
    )
    only_below: float | None = option(
        None,
        "Leave faces as they are whose quality is this or better; quality is how alike a face and "
        "its undamaged original would be, 1 for a good picture.",
        low=0.0,
        high=1.0,
        step=0.01,
        unset="all are restored",
    )
    auto_strength: bool = option(
        False, "Restore damaged faces in full, better ones less, and good ones not at all."
    )
    identity: float | None = option(
        None,
        "Restore a face less where it would no longer resemble its original by this share of its "
        "quality, and not at all where nothing else helps.",
        low=0.0,
        high=1.0,
        step=0.05,
        unset="not compared",
    )
    careful: bool = option(
        False,
        "Leave good faces alone, set the strength by quality and keep the identity: only_below "
        f"{CAREFUL['only_below']}, strength auto, identity {CAREFUL['identity']}, unless given.",
    )

    @property
    def resolved(self) -> GateOptions:
        """With `careful` spelled out.

        Example:
            >>> GateOptions(careful=True, only_below=0.5).resolved.only_below
            0.5
        """
        if not self.careful:
            return self
        given = {name: getattr(self, name) for name in CAREFUL if getattr(self, name) is not None}
        return replace(self, careful=False, **{**CAREFUL, **given, "auto_strength": True})


@dataclass(frozen=True)
class RestoreOptions(Checked):
    """How the faces go through the network.

    Example:
        >>> RestoreOptions(strength=0.7).batch_size
        4
    """

    strength: float = option(
        1.0,
        "How much of the restoration to use: 1 is the restored face, 0 the original.",
        low=0.0,
        high=1.0,
        step=0.05,
    )
    batch_size: int = option(
        4,
        "Faces restored at once; halved automatically when memory runs out.",
        low=1,
        high=64,
        step=1,
    )
    seed: int = option(
        0,
        "Seed of the noise in super-resolution models; other models ignore it.",
        low=0,
        high=0xFFFFFFFF,
        step=1,
    )


@dataclass(frozen=True)
class MaskOptions(Checked):
    """The shape that is pasted back.

    Lengths are pixels of a 512-px crop and scale with the crop, so that one setting looks the same
    with every model.

    Example:
        >>> MaskOptions(mask="parsing", exclude="hair, glasses").exclude
        ('hair', 'glasses')
    """

    mask: str = option(
        "ellipse",
        "Shape of the pasted region: the whole crop, an ellipse around the face, the outline of "
        "its landmarks, the parts that a face parser finds, or the face's own outline.",
        choices=MASKS,
    )
    feather: float | None = option(
        None,
        "Width of the soft edge, in pixels of a 512-px crop.",
        low=0.0,
        high=128.0,
        step=1.0,
        unset="22.6, as in the official pipeline",
    )
    border: float = option(
        26.0,
        "Width of the crop's edge that is never pasted, in pixels of a 512-px crop.",
        low=0.0,
        high=128.0,
        step=1.0,
    )
    exclude: tuple[str, ...] = option(
        ("background", "hat", "cloth"),
        "Parts that the parsing mask leaves out, separated by commas: eyes, mouth, glasses, hair "
        "and so on.",
    )

    parts: tuple[str, ...] = option(
        (),
        "Paste only these parts of the face, of eyes, brows and mouth, separated by commas; with a "
        "minus, as in -mouth, all but these.",
    )
    grow: float = option(
        8.0,
        "Move the outline of the face mask and of the parts outward so far, in pixels of a 512-px "
        "crop; below 0 inward.",
        low=-64.0,
        high=128.0,
        step=1.0,
    )
    occlusion: bool = option(
        False,
        "Leave alone what is in front of a face: hands, hair, microphones, glasses, text and so "
        "on.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("exclude", "parts"):
            if isinstance(text := getattr(self, name), str):
                object.__setattr__(self, name, comma_separated(text))
        class_indices(self.exclude)
        for part in self.parts:
            if part.removeprefix("-") not in PARTS:
                raise InputError(
                    f"There is no part {part!r} to paste; choose among {', '.join(PARTS)}, each "
                    f"with a minus to leave it out.",
                    option="parts",
                )

        both = sorted(set(self.included) & set(self.left_out))
        if both:
            raise InputError(
                f"parts names {both[0]} with and without a minus; give one of them.", option="parts"
            )

    @property
    def included(self) -> tuple[str, ...]:
        """The parts that alone are pasted; none means all of the mask."""
        return tuple(part for part in self.parts if not part.startswith("-"))

    @property
    def left_out(self) -> tuple[str, ...]:
        """The parts that are not pasted."""
        return tuple(part[1:] for part in self.parts if part.startswith("-"))

    @property
    def needs_mesh(self) -> bool:
        """Whether the faces' own outlines are needed."""
        return self.mask == "face" or bool(self.parts)


@dataclass(frozen=True)
class PasteOptions(Checked):
    """How the faces are put back.

    Example:
        >>> PasteOptions(upscale=2, color_match=0.5).small_face_filter
        False
    """

    upscale: int = option(
        1,
        "Enlarge the picture this many times (bicubic) before pasting the faces.",
        choices=UPSCALES,
    )
    color_match: float = option(
        0.0,
        "Shift the face's overall colors toward those of the original: 0 not at all, 1 fully.",
        low=0.0,
        high=1.0,
        step=0.05,
    )
    small_face_filter: bool = option(
        False, "Smooth faces under 100 px slightly, as the official pipeline does."
    )
    grain: float = option(
        0.0,
        "Give the face the film grain or noise of what lies around it: 0 none, 1 as much.",
        low=0.0,
        high=1.0,
        step=0.05,
    )
    sharpness_match: float = option(
        0.0,
        "Let the face become as soft as what lies around it toward its edge: 0 not at all, 1 "
        "fully.",
        low=0.0,
        high=1.0,
        step=0.05,
    )

    @property
    def measures_around(self) -> bool:
        """Whether faces become like what lies around their crops."""
        return self.grain > 0 or self.sharpness_match > 0


@dataclass(frozen=True)
class TrackOptions(Checked):
    """How faces are followed from frame to frame of a film, and held still.

    Example:
        >>> TrackOptions(detect_every=1).shortest
        5
    """

    detect_every: int = option(
        5,
        "Look for faces in every n-th frame, and in between where they move unevenly.",
        low=1,
        high=60,
        step=1,
    )
    shortest: int = option(
        5,
        "Leave out faces that are there for fewer frames than this.",
        low=1,
        high=250,
        step=1,
    )
    gap: int = option(
        12,
        "Follow a face through up to so many frames in which it is not found.",
        low=0,
        high=250,
        step=1,
    )
    smoothing: float = option(
        1.0,
        "How steadily faces are cut out: 0 as they are found, 1 without a tremor.",
        low=0.0,
        high=1.0,
        step=0.05,
    )
    steadiness: int = option(
        2,
        "Average each restored face with so many frames before and after it, where it did not "
        "change.",
        low=0,
        high=5,
        step=1,
    )


@dataclass(frozen=True)
class FilmOptions(Checked):
    """How a film is written.

    Attributes:
        quality: 1 to 100; None: hardly to be told from the original.
        frames: first and last frame wanted, counted from 0; None: all.
        window: start and length wanted, seconds; a length of 0 reaches to the end. None: all.

    Example:
        >>> FilmOptions(codec="hevc", frames=(100, 250)).frames
        (100, 250)
    """

    every_frame_as: str | None = option(
        None,
        "Write each frame of a film as a picture, into a folder, instead of a film.",
        choices=("png", "tif", "jpg"),
        unset="a film",
    )

    codec: str | None = option(
        None, "What films are encoded with: h264, hevc, ffv1 and so on.", unset="as the film was"
    )
    quality: int | None = None
    frames: tuple[int, int] | None = None
    window: tuple[float, float] | None = None


@dataclass(frozen=True)
class Options:
    """Everything that can be chosen about a restoration; the defaults suit a photograph.

    Attributes:
        model: what the network is taken for.
        detect, select, gate, restore, mask, paste: the options of the steps.
        track: how faces are followed in films.
        template: alignment template, "gpen" or "ffhq"; None takes the model's own.
        keep_crops: hand the aligned and restored crops back; off, memory does not grow with the
            number of faces.
        purpose: what the run is for, one of `TASKS`; a model of another task is refused.

    Example:
        >>> Options.of(strength=0.7, keep="largest").select.keep
        'largest'
    """

    model: ModelOptions = field(default_factory=ModelOptions)
    detect: DetectOptions = field(default_factory=DetectOptions)
    select: SelectOptions = field(default_factory=SelectOptions)
    gate: GateOptions = field(default_factory=GateOptions)
    template: str | None = option(
        None,
        "Alignment of the crops: where eyes, nose and mouth are placed.",
        choices=TEMPLATES,
        unset="the model's own",
    )
    restore: RestoreOptions = field(default_factory=RestoreOptions)
    mask: MaskOptions = field(default_factory=MaskOptions)
    paste: PasteOptions = field(default_factory=PasteOptions)
    track: TrackOptions = field(default_factory=TrackOptions)
    keep_crops: bool = False
    purpose: str = TASKS[0]

    def __post_init__(self) -> None:
        spec_of(self, "template").check("template", self.template)
        Spec("", choices=TASKS).check("purpose", self.purpose)

    @classmethod
    def of(cls, **values: Any) -> Options:
        """Options from their plain names, whichever step they belong to; None leaves a default.

        Raises:
            InputError: an unknown name, or a value outside its range.
        """
        chosen: dict[str, Any] = {}
        for name, group in STEPS.items():
            known = {one for one, _, _ in specs(group)}
            own = {key: values.pop(key) for key in known & values.keys()}
            chosen[name] = group(**{key: value for key, value in own.items() if value is not None})
        for name in ("template", "keep_crops", "purpose"):
            if values.get(name) is not None:
                chosen[name] = values[name]
            values.pop(name, None)
        if values:
            names = sorted(name for group in STEPS.values() for name, _, _ in specs(group))
            raise InputError(
                f"There is no option {min(values)!r}; choose among {', '.join(names)}."
            )
        return cls(**chosen)


CHANGED: Mapping[str, Mapping[str, Any]] = {
    "restore": {},
    # Only colors are pasted, so a wide edge costs no sharpness and leaves no seam.
    "colorize": {"feather": 80.0},
    # The hole is the shape; that of the crop only keeps its very edge out.
    "inpaint": {"mask": "rectangle", "border": 0.0, "feather": 4.0},
    "paint": {},
}
"""Defaults that are others for a purpose."""

STEPS: Mapping[str, type[Checked]] = {
    "model": ModelOptions,
    "detect": DetectOptions,
    "select": SelectOptions,
    "gate": GateOptions,
    "restore": RestoreOptions,
    "mask": MaskOptions,
    "paste": PasteOptions,
    "track": TrackOptions,
}
"""The option classes by their names in `Options`."""


def comma_separated(text: str) -> tuple[str, ...]:
    """The names in a text.

    Example:
        >>> comma_separated("eyes, mouth,")
        ('eyes', 'mouth')
    """
    return tuple(name.strip() for name in text.split(",") if name.strip())


def class_indices(names: tuple[str, ...]) -> tuple[int, ...]:
    """Output channels of parsing classes or groups of them, ascending.

    Raises:
        InputError: a name that is neither.

    Example:
        >>> class_indices(("eyes", "nose"))
        (2, 4, 5)
    """
    indices = set()
    for name in names:
        for member in PARSING_GROUPS.get(name, (name,)):
            if member not in PARSING_CLASSES:
                known = ", ".join((*PARSING_CLASSES, *PARSING_GROUPS))
                raise InputError(
                    f"There is no face part {name!r}; choose among {known}.", option="exclude"
                )
            indices.add(PARSING_CLASSES.index(member))
    return tuple(sorted(indices))
