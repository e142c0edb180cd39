"""Options: everything that can be chosen about a restoration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import InputError
from .detect import DetectOptions
from .films import TrackOptions
from .mask import MaskOptions
from .model import TASKS, ModelOptions
from .paste import PasteOptions
from .restore import RestoreOptions
from .select import GateOptions, SelectOptions
from .spec import Checked, Spec, option, spec_of, specs

TEMPLATES = ("gpen", "ffhq")


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
