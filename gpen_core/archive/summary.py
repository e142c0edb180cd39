"""What became of an archive, or of a run: counts, sizes, times."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from .rows import Row

_REASONS = 1000


@dataclass
class Summary:
    """Counts, and why pictures failed.

    Attributes:
        pictures: in the source, or with a row; 0 where nobody knows.
        restored, unchanged, failed: how they ended.
        found, faces: faces, and those restored.
        read, written: bytes.
        seconds: of work, all workers together.
        elapsed: seconds that passed.
        notes: events, and in how many pictures.
        failures: of the first thousand, by key.

    Example:
        >>> summary = Summary(2)
        >>> summary.add(Row("a.jpg", "", 10, "", "a.jpg", status="failed", error="a.jpg: no"))
        >>> summary.failed, summary.left
        (1, 1)
    """

    pictures: int = 0
    restored: int = 0
    unchanged: int = 0
    failed: int = 0
    found: int = 0
    faces: int = 0
    read: int = 0
    written: int = 0
    seconds: float = 0.0
    elapsed: float = 0.0
    notes: dict[str, int] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Iterable[Row], pictures: int = 0) -> Summary:
        """Of rows."""
        summary = cls(pictures)
        for row in rows:
            summary.add(row)
        summary.pictures = summary.pictures or summary.counted
        return summary

    def add(self, row: Row) -> None:
        """Count a picture."""
        self.restored += row.status == "restored"
        self.unchanged += row.status == "unchanged"
        self.found += row.found
        self.faces += row.restored
        self.read += max(row.size, 0)
        self.written += row.result_size
        self.seconds += row.seconds
        for event in row.events:
            if event in self.notes or len(self.notes) < _REASONS:
                self.notes[event] = self.notes.get(event, 0) + 1
        if not row.done:
            self.failed += 1
            if len(self.failures) < _REASONS:
                self.failures[row.key] = row.error

    @property
    def counted(self) -> int:
        """Pictures with a row."""
        return self.restored + self.unchanged + self.failed

    @property
    def left(self) -> int:
        """Pictures without one."""
        return max(self.pictures - self.counted, 0)

    def facts(self) -> dict[str, Any]:
        """As JSON holds it."""
        values = {k: round(v, 1) if isinstance(v, float) else v for k, v in asdict(self).items()}
        return {**values, "left": self.left}
