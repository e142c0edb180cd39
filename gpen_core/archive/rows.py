"""What is to be done with one picture, and what became of it."""

from __future__ import annotations

import json
import platform
import time
from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Task:
    """A picture to restore.

    Attributes:
        key: its name below the source; a result's name follows from it.
        place: where its bytes are: a path, or an address such as s3://bucket/one.jpg.
        size: of its file, bytes; -1 where the source does not say.
        version: changes with the file: its time, or an object's ETag.
        result: its result's name below the target.
        replace: whether that may replace what is there.
    """

    key: str
    place: str
    size: int
    version: str
    result: str
    replace: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """What became of a picture; a row of the manifest.

    Attributes:
        key, place, size, version, result: as in `Task`.
        sha256: of the bytes that were read.
        result_size, result_sha256: of the bytes that were written.
        status: "restored", "unchanged" (no face was restored) or "failed".
        error: why it failed.
        found, restored: faces.
        lowest: the lowest score among the faces restored, 0..1.
        box: of that face, pixels: `x0, y0, x1, y1`.
        seconds: spent on it.
        events: what fell back, a sentence each.
        made_with: stands for the options and the model, see `Recipe.made_with`.
        model: SHA-256 of the model's file.
        finished: seconds since 1970.
        machine: where it was done.

    Example:
        >>> Row("a.jpg", "/scans/a.jpg", 10, "1", "a.jpg", status="failed", error="damaged").done
        False
    """

    key: str
    place: str
    size: int
    version: str
    result: str
    sha256: str = ""
    result_size: int = 0
    result_sha256: str = ""
    status: str = "restored"
    error: str = ""
    found: int = 0
    restored: int = 0
    lowest: float | None = None
    box: list[float] = field(default_factory=list)
    seconds: float = 0.0
    events: list[str] = field(default_factory=list)
    made_with: str = ""
    model: str = ""
    finished: float = 0.0
    machine: str = ""

    @classmethod
    def about(cls, task: Task, made_with: str, model: str) -> Row:
        """The row of a picture of which nothing else is known yet, finished here and now."""
        return cls(
            key=task.key,
            place=task.place,
            size=task.size,
            version=task.version,
            result=task.result,
            made_with=made_with,
            model=model,
            finished=round(time.time(), 3),
            machine=platform.node(),
        )

    @property
    def done(self) -> bool:
        """Whether there is a result."""
        return self.status != "failed"

    def belongs_to(self, task: Task, made_with: str) -> bool:
        """Whether it is a result for this very file, made with these options."""
        mine = (self.key, self.size, self.version, self.made_with)
        return self.done and mine == (task.key, task.size, task.version, made_with)

    def text(self) -> str:
        """One line of JSON in ASCII."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def of(cls, values: dict[str, Any]) -> Row:
        """From a dictionary; names that are not known are passed over."""
        known = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})

    @classmethod
    def of_text(cls, text: str) -> Row | None:
        """From a line of JSON; None if it is torn or no row."""
        try:
            return cls.of(json.loads(text))
        except (ValueError, TypeError, AttributeError):
            return None
