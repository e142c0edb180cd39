"""Films: how faces are followed in them, and how they are written."""

from __future__ import annotations

from dataclasses import dataclass

from .spec import Checked, option


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
