"""Detect: what counts as a face."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import InputError
from .spec import Checked, option

DETECTORS = ("mtcnn", "retinaface-resnet50", "retinaface-mobile0.25")


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
