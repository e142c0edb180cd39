"""Which frames of a film are wanted: by their numbers, by their times, or all of them."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass

import av

from ..errors import InputError
from ..files import shown
from ..options import FilmOptions
from .film import Film, time_of

# Of a frame: times this close are the same, but for rounding.
_SLACK = 0.01


@dataclass
class Section:
    """The wanted frames of a film, and what is seen of it while they are decoded.

    Attributes:
        film: whose frames these are.
        options: which of them.
        passed: how many frames came before the first wanted one.
        end: time of the first frame after the last wanted one, None where the film ends with it.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from gpen_core.films.encoder import Encoding, Part
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path, frame = Path(folder, "film.mkv"), av.VideoFrame(64, 48)
        ...     with Part.writing(path, Encoding.choose("ffv1", "yuv420p"), frame) as part:
        ...         for time in range(5):
        ...             part.add(frame, time)
        ...     section = Section(Film.open(path), FilmOptions(frames=(1, 2)))
        ...     len(list(section.frames())), section.passed, section.is_whole
        (2, 1, False)
    """

    film: Film
    options: FilmOptions
    passed: int = 0
    end: int | None = None

    @property
    def is_whole(self) -> bool:
        """Whether no frame was left out; known once all have been decoded."""
        return self._seek is None and self.passed == 0 and self.end is None

    @property
    def expected(self) -> int:
        """How many frames there will be, as far as the file says; at least 1."""
        whole = self.film.frames_said
        if self.options.window is not None:
            start, length = self.options.window
            rate = float(self.film.rate)
            return max(1, round(length * rate) if length else whole - round(start * rate))
        if self.options.frames is not None:
            first, last = self.options.frames
            return max(1, (min(last + 1, whole) if whole else last + 1) - first)
        return max(1, whole)

    def frames(self) -> Generator[av.VideoFrame]:
        """The wanted frames, in order.

        Raises:
            InputError: there is none; and as `Film.frames`.
        """
        inside, last = 0, None
        with closing(self.film.frames(self._seek)) as frames:
            for place, frame in self._placed(frames):
                last = time_of(frame)
                if place > 0:
                    self.end = last
                    break
                if place < 0:
                    self.passed += 1
                    continue
                inside += 1
                yield frame
        if not inside:
            raise self._nothing(last)

    def _placed(self, frames: Iterator[av.VideoFrame]) -> Iterator[tuple[int, av.VideoFrame]]:
        """Each frame with -1 before, 0 inside of and 1 after what is wanted."""
        first, last = self._bounds
        for index, frame in enumerate(frames):
            value = index if self.options.window is None else time_of(frame)
            yield (value > last) - (value < first), frame

    @property
    def _bounds(self) -> tuple[float, float]:
        """First and last number, or time in the film's units, both included."""
        if self.options.window is None:
            return self.options.frames or (0, math.inf)
        start, length = self.options.window
        unit, slack = float(self.film.time_base), _SLACK / float(self.film.rate)
        end = start + length - 2 * slack if length else math.inf
        return (start - slack) / unit, (end + slack) / unit

    @property
    def _seek(self) -> int | None:
        if self.options.window is None or not self.options.window[0]:
            return None
        return math.ceil(self._bounds[0])

    def _nothing(self, last: int | None) -> InputError:
        path = shown(self.film.path)
        if self.options.window is not None:
            return InputError(f"{path}: no frame from {self.options.window[0]:g} s on.")
        if last is None or self.options.frames is None:
            return InputError(f"{path}: not a single frame can be decoded.")
        count, first = self.passed, self.options.frames[0]
        return InputError(
            f"The film has {count} frames, 0 to {count - 1}; frame {first} is not one of them.",
            option="frames",
        )
