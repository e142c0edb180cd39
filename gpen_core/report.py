"""What happened in a run: the faces found, seconds per stage, and everything worth saying."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

NOT_SELECTED = "not selected"
"""The reason of a face that nobody asked for."""


@dataclass(frozen=True)
class Face:
    """What the report says of one face found; pixels of the input image.

    Attributes:
        image: index of the picture in the batch.
        index: the face's number as `keep` and the previews count it; None where it was dropped
            before counting.
        box: `x0, y0, x1, y1`.
        score: the detector's confidence, 0..1.
        landmarks: five points: left eye, right eye, nose, mouth corners.
        restored: whether it was.
        reason: why not, or why less than asked for.
        scale: pixels of the picture for each pixel that the model makes of the face; above 1, it
            comes back softer. None where it was not counted, or without a model.
        person: similarity to the person looked for, -1..1; None where nobody was.
        quality: how good the face was, 0..1; see `faces.quality`. None where it was not counted.
        strength: how much of the restoration is in the picture, where that is decided for each
            face; else None.
        identity: similarity of the restored face to the face as it was, -1..1, where that is
            looked at; else None.
        covered: share of the face that something is in front of, 0..1; None where nobody looked.

    Example:
        >>> box, points = [8.0, 8.0, 40.0, 48.0], [[16.0, 20.0]] * 5
        >>> Face(0, 2, box, 0.97, points, restored=False, reason="not selected").reason
        'not selected'
    """

    image: int
    index: int | None
    box: list[float]
    score: float
    landmarks: list[list[float]]
    restored: bool
    reason: str | None = None
    scale: float | None = None
    person: float | None = None
    quality: float | None = None
    strength: float | None = None
    identity: float | None = None
    covered: float | None = None


@dataclass
class Report:
    """What happened.

    Attributes:
        faces: every face found, restored or not.
        seconds: by stage.
        events: one sentence each.

    Example:
        >>> report = Report()
        >>> with report.stage("detect"):
        ...     pass
        >>> report.found, report.restored, list(report.seconds)
        (0, 0, ['detect'])
    """

    faces: list[Face] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of a block to `seconds[name]`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def tell_covered(self, places: Sequence[int], shares: Sequence[float]) -> None:
        """Note how much of some faces is covered.

        Args:
            places: of their lines in `faces`.
            shares: 0..1 of each; none where nobody looked.
        """
        for place, share in zip(places, shares, strict=False):
            self.faces[place] = replace(self.faces[place], covered=round(share, 3))

    @property
    def restored(self) -> int:
        """Number of faces restored."""
        return sum(face.restored for face in self.faces)

    @property
    def found(self) -> int:
        """Number of faces found that count as faces."""
        return sum(face.index is not None for face in self.faces)

    @property
    def why_left(self) -> str:
        """Why faces were left alone that had been selected, each reason once, without figures."""
        left = [face for face in self.faces if face.index is not None and not face.restored]
        reasons = [face.reason for face in left if face.reason not in (None, NOT_SELECTED)]
        return ", ".join(dict.fromkeys(str(reason).partition(" (")[0] for reason in reasons))

    def add(self, other: Report) -> None:
        """Take in another group's report; sentences are kept once."""
        self.faces += other.faces
        for name, value in other.seconds.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + value
        self.events += [event for event in other.events if event not in self.events]
