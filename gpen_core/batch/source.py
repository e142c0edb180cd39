"""A picture to work on, and where in its folder it was found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Source:
    """A picture to work on.

    Attributes:
        path: the file.
        root: the folder it was found below; results mirror the way from there.
    """

    path: Path
    root: Path

    @property
    def place(self) -> Path:
        """Its path below the root."""
        return self.path.relative_to(self.root)
