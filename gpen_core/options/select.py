"""Select: which faces are restored, and which of them are left as they are after all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from .spec import Checked, option

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
SFACE_THRESHOLD = 0.36
"""From which similarity SFace takes two faces for one person, see docs/choosing.md."""

CAREFUL: Mapping[str, float] = {"only_below": 0.9, "identity": 0.9}
"""What `careful` sets, see docs/choosing.md."""


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


@dataclass(frozen=True)
class GateOptions(Checked):
    """Which faces are left as they are although they were selected.

    Example:
        >>> GateOptions(person_threshold=0.5).person_threshold
        0.5
    """

    person_threshold: float | None = option(
        None,
        "How alike two faces must be to be taken for one person; higher: fewer strangers are "
        "restored, and more pictures of the person are left out.",
        low=0.0,
        high=1.0,
        step=0.01,
        unset=f"{SFACE_THRESHOLD}, which is measured for SFace alone",
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
