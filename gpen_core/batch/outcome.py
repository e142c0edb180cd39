"""What became of each file, and of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..faces.embed import Origin
from ..files import write_json
from ..report import Face
from .crops import SavedCrops


@dataclass(frozen=True)
class TrackLine:
    """What the report says of one face of a film, followed through its frames.

    Attributes:
        number: as `keep` counts them.
        first, last: indices of its frames in the film, from 0.
        score: the detector's, on average.
        seen: in how many frames it was found, not followed.
        restored: whether it was.
        reason: why not, where it was selected.
        quality, person: of all its frames, where they were looked at; see `report.Face`.
        strength: how far it is restored, where that is decided for each track.
        identity: the lowest, and
        covered: the mean of those of its frames that were looked at more closely.
        thumbnail: a small picture of it, as a URL that holds the JPEG; only the longest tracks of
            a film with very many have one.

    Example:
        >>> TrackLine(0, 12, 240, 0.98, 46, restored=True).last
        240
    """

    number: int
    first: int
    last: int
    score: float
    seen: int
    restored: bool
    reason: str | None = None
    quality: float | None = None
    person: float | None = None
    strength: float | None = None
    identity: float | None = None
    covered: float | None = None
    thumbnail: str | None = None


@dataclass
class Outcome:
    """What became of one input file; one entry of the report.

    Attributes:
        status: "restored", "aligned" (a ready crop), "unchanged", "skipped" (its result was there
            already), "planned" (a rehearsal) or "failed".
        error: why it failed.
        size: width and height of the input, pixels.
        frames, tracks: of a film: how many it has now, and the faces in them.
        crops: the files of the faces' crops, where they were asked for.
        embedder: file and SHA-256 of the network that told people apart, where it is not SFace.

    Example:
        >>> Outcome("a.jpg", status="failed", error="a.jpg: no such file; check the path.").faces
        []
    """

    input: str
    output: str | None = None
    status: str = "restored"
    error: str | None = None
    size: list[int] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    faces: list[Face] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    crops: list[SavedCrops] = field(default_factory=list)
    frames: int | None = None
    tracks: list[TrackLine] = field(default_factory=list)
    embedder: Origin | None = None

    @property
    def counts(self) -> tuple[int, int]:
        """Faces restored and faces found; of a film each once, however many frames it is in."""
        if self.frames is not None:
            return sum(one.restored for one in self.tracks), len(self.tracks)
        found = sum(one.index is not None for one in self.faces)
        return sum(one.restored for one in self.faces), found


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """0 all went well, 1 some failed, 2 all failed.

    Example:
        >>> exit_code([Outcome("a.jpg"), Outcome("b.jpg", status="failed")])
        1
    """
    failed = sum(outcome.status == "failed" for outcome in outcomes)
    return 0 if failed == 0 else 2 if failed == len(outcomes) else 1


def write_report(path: Path, outcomes: Sequence[Outcome], *, overwrite: bool = False) -> None:
    """All outcomes as JSON.

    Raises:
        InputError: the file exists (without `overwrite`) or cannot be written.

    Example:
        >>> import json, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_report(Path(folder, "report.json"), [Outcome("a.jpg", "a_restored.jpg")])
        ...     json.loads(Path(folder, "report.json").read_text())[0]["status"]
        'restored'
    """
    write_json(path, [asdict(outcome) for outcome in outcomes], overwrite=overwrite)
