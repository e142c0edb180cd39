"""What a film becomes: a film again, or a picture of every frame."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar

from ..errors import InputError
from ..files import make_folder, replacing, shown
from ..images.picture import Picture as StillPicture
from ..images.write import write_picture
from ..options import FilmOptions
from .encoder import Encoding, Part, Timing, check_codec, writable
from .film import Film
from .join import Picture, check_format, codec_for, has_times, join
from .planes import PlanarFormat, Planes
from .survey import Survey, times_between


class Writing(ABC):
    """A part while it is written."""

    @abstractmethod
    def add(self, planes: Planes, index: int) -> None:
        """The next frame: its samples, and its number in the survey."""


class Output(ABC):
    """How the parts of a film are written and put together.

    Attributes:
        remarks: what the film's own settings could not give, a sentence each.
        suffix: of a part's name.

    Example:
        >>> FrameOutput.suffix
        ''
    """

    suffix: ClassVar[str]
    remarks: tuple[str, ...] = ()

    @abstractmethod
    def plan(self) -> object:
        """What parts depend on; other plans need other parts."""

    @abstractmethod
    def writing(self, path: Path, known: Survey, first: Planes) -> AbstractContextManager[Writing]:
        """A part at `path`, there whole when the block ends or not at all."""

    @abstractmethod
    def join(self, parts: Sequence[Path], count: int, known: Survey, target: Path) -> list[str]:
        """All parts, of so many frames, at `target`; what could not be kept, a sentence each."""

    @abstractmethod
    def so_far(self, parts: Sequence[Path], count: int, known: Survey, target: Path) -> Path:
        """Where the first parts, of so many frames, can be looked at; they stay as they are."""


class FilmOutput(Output):
    """A film of the same times, with everything else of the source.

    Raises:
        InputError: the name's format cannot hold a film of this codec.

    Example:
        >>> from fractions import Fraction
        >>> film = Film(Path("a.mkv"), 0, "h264", "yuv420p", (48, 64), Fraction(1), 25, None, 9)
        >>> FilmOutput(film, FilmOptions(), Path("b.webm")).remarks
        ('h264 cannot be written here; the film is encoded as vp9.',)
    """

    suffix = ".mkv"

    def __init__(self, film: Film, options: FilmOptions, target: Path) -> None:
        self._film = film
        if options.codec is not None:
            check_codec(options.codec)
        planar, remarks = PlanarFormat.of(film.pixel_format), list[str]()
        own = [writable(film.codec, planar, film.rate), "h264" if planar.bits == 8 else "hevc"]
        chosen = options.codec or codec_for(target, own)
        if options.codec is None and chosen != film.codec:
            remarks.append(f"{film.codec} cannot be written here; the film is encoded as {chosen}.")
        encoding = Encoding.choose(chosen, film.pixel_format, quality=options.quality)
        check_format(target, encoding.codec)
        if not has_times(target):
            encoding = encoding.without_reordering()
        self._encoding, self.remarks = encoding, (*remarks, *encoding.remarks)

    def plan(self) -> object:
        """The encoder's settings."""
        return asdict(self._encoding)

    @contextmanager
    def writing(self, path: Path, known: Survey, first: Planes) -> Iterator[Writing]:
        """An encoded part."""
        film = self._film
        timing = Timing(film.time_base, film.rate, film.sample_aspect)
        with (
            replacing(path) as scratch,
            Part.writing(scratch, self._encoding, first.frame, timing) as part,
        ):
            yield _Encoded(part, known.times)

    def join(self, parts: Sequence[Path], count: int, known: Survey, target: Path) -> list[str]:
        """The parts in a row, with the other streams."""
        durations = list(times_between(known.times, known.last_duration))
        end = known.times[count - 1] + durations[count - 1]
        whole = known.whole and count == len(known.times)
        picture = Picture(
            parts=parts,
            times=known.times[:count],
            durations=durations[:count],
            rotation=known.rotation,
            window=None if whole else (known.times[0], end),
        )
        with replacing(target) as scratch:
            return join(self._film, picture, scratch, target.suffix.lower())

    def so_far(self, parts: Sequence[Path], count: int, known: Survey, target: Path) -> Path:
        """A shorter film, under a name that says so."""
        partial = target.with_name(f"{target.stem}_partial{target.suffix}")
        self.join(parts, count, known, partial)
        return partial


class _Encoded(Writing):
    def __init__(self, part: Part, times: Sequence[int]) -> None:
        self._part, self._times = part, times

    def add(self, planes: Planes, index: int) -> None:
        self._part.add(planes.frame, self._times[index])


class FrameOutput(Output):
    """A folder with a picture of each frame, upright, `NAME_000123.png` by its number in the film.

    Frames of more than 8 bits become 16-bit pictures.

    Args:
        film: gives its name.
        options: the pictures' format and quality.
        target: the folder to be made.

    Raises:
        InputError: something is in the folder's place.

    Example:
        >>> from fractions import Fraction
        >>> film = Film(Path("a.mkv"), 0, "h264", "yuv420p", (48, 64), Fraction(1), 25, None, 9)
        >>> FrameOutput(film, FilmOptions("png"), Path("no-such-folder")).plan()
        ['png', None]
    """

    suffix = ""

    def __init__(self, film: Film, options: FilmOptions, target: Path) -> None:
        if target.exists():
            raise InputError(
                f"{shown(target)} exists already; the frames need a folder of their own."
            )
        self._film, self._options = film, options

    def plan(self) -> object:
        """The pictures' format and quality."""
        return [self._options.every_frame_as, self._options.quality]

    @contextmanager
    def writing(self, path: Path, known: Survey, first: Planes) -> Iterator[Writing]:
        """A folder of pictures."""
        scratch = path.with_name(f"{path.name}.unfinished")
        if scratch.exists():
            shutil.rmtree(scratch)
        make_folder(scratch)
        yield _Pictures(scratch / self._film.path.stem, self._options, known.passed)
        scratch.rename(path)

    def join(self, parts: Sequence[Path], count: int, known: Survey, target: Path) -> list[str]:
        """All pictures in one folder."""
        whole = parts[0].with_name("frames")
        make_folder(whole)
        for part in parts:
            for picture in sorted(part.iterdir()):
                picture.rename(whole / picture.name)
        make_folder(target.parent)
        whole.rename(target)
        return []

    def so_far(self, parts: Sequence[Path], count: int, known: Survey, target: Path) -> Path:
        """The folder of the parts."""
        return parts[0].parent


class _Pictures(Writing):
    """Pictures whose names begin with `start`."""

    def __init__(self, start: Path, options: FilmOptions, passed: int) -> None:
        self._start, self._options, self._passed = start, options, passed

    def add(self, planes: Planes, index: int) -> None:
        number = f"{index + self._passed:06}"
        path = self._start.with_name(f"{self._start.name}_{number}.{self._options.every_frame_as}")
        bits = 8 if planes.format.bits == 8 else 16
        picture = StillPicture(planes.rgb()[0].clamp(0, 1), gray=planes.format.gray, bits=bits)
        write_picture(path, picture, quality=self._options.quality)
