"""Paste: how the faces are put back."""

from __future__ import annotations

from dataclasses import dataclass

from .spec import Checked, option

UPSCALES = (1, 2, 4)


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
