"""A film in a file: what its picture is like, and its frames in the order they are shown."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from ..errors import InputError
from ..files import shown

log = logging.getLogger(__name__)

HUGE = 2 * 1920 * 1088
"""Pixels from which a frame is held in memory only where it must be."""

# Damaged packets in a row after which nothing more is to be had.
_HOPELESS = 300


@dataclass(frozen=True)
class Film:
    """What is known of a film before its frames are decoded.

    Attributes:
        path: of the file.
        stream: index of the picture's stream.
        codec: FFmpeg's name of what it was encoded with.
        pixel_format: FFmpeg's name.
        size: (height, width) as encoded, before `rotation`.
        time_base: seconds of one unit of a frame's time.
        rate: frames a second, on average.
        sample_aspect: width of a pixel over its height, None where the file does not say.
        frames_said: how many frames the file says it has, 0 where it does not.

    Raises:
        InputError: (of `open`) no film, or one without a picture.

    Example:
        >>> Film.open(Path("no-such.mp4"))
        Traceback (most recent call last):
        gpen_core.errors.InputError: no-such.mp4: there is no such file; check the path.
    """

    path: Path
    stream: int
    codec: str
    pixel_format: str
    size: tuple[int, int]
    time_base: Fraction
    rate: Fraction
    sample_aspect: Fraction | None
    frames_said: int

    @classmethod
    def open(cls, path: Path) -> Film:
        """Read the file's head."""
        with opened(path) as container:
            stream = _picture_of(container, path)
            context = stream.codec_context
            if not context.width or not context.height or context.pix_fmt is None:
                raise InputError(
                    f"{shown(path)}: its picture cannot be read; the file is damaged or its codec "
                    f"({context.name}) is not supported."
                )
            assert stream.time_base is not None
            rate = stream.average_rate or stream.guessed_rate or Fraction(25)
            said = stream.frames
            if not said:
                said = round(_duration(container, stream) * rate)
            return cls(
                path=path,
                stream=stream.index,
                codec=context.codec.canonical_name,
                pixel_format=context.pix_fmt,
                size=(context.height, context.width),
                time_base=stream.time_base,
                rate=rate,
                sample_aspect=stream.sample_aspect_ratio,
                frames_said=said,
            )

    @property
    def is_huge(self) -> bool:
        """Whether every frame held counts: from twice the size of 1080p on."""
        return self.size[0] * self.size[1] >= HUGE

    def frames(self, start: int | None = None) -> Generator[av.VideoFrame]:
        """Frame after frame, each with its time `pts` in units of `time_base`.

        Args:
            start: time of the first one wanted; the film's first, unless given.

        Raises:
            InputError: a frame of another size or format than the others.
        """
        with opened(self.path) as container:
            stream = container.streams[self.stream]
            assert isinstance(stream, VideoStream)
            # Threads for frames of their own hold some more of them each.
            stream.thread_type = "SLICE" if self.is_huge else "AUTO"
            if start is not None:
                container.seek(start, stream=stream)
            for frame in _timed(_decoded(container, stream)):
                if start is not None and time_of(frame) < start:
                    continue
                if (frame.height, frame.width) != self.size:
                    raise InputError(
                        f"{shown(self.path)}: the picture changes from {self.size[1]}x"
                        f"{self.size[0]} to {frame.width}x{frame.height} after "
                        f"{float(time_of(frame) * self.time_base):.1f} s; cut the film there."
                    )
                yield frame

    def frames_at(self, times: Sequence[int]) -> Generator[av.VideoFrame]:
        """Exactly the frames shown at these times, of those that `frames` gives, in order.

        Looked up by seeking; where that leads elsewhere than reading on does (formats without an
        index, damaged films), the film is read from its start.

        Raises:
            InputError: the film gives other frames than before.
        """
        place = 0
        for start in (times[0], None) if times else ():
            with closing(self.frames(start)) as frames:
                for frame in frames:
                    if place == len(times):
                        return
                    if time_of(frame) == times[place]:
                        yield frame
                        place += 1
                    elif time_of(frame) > times[place]:
                        break
            if place == len(times):
                return
            log.debug("%s: sought in vain; read from its start.", self.path)
        if times:
            raise InputError(
                f"{shown(self.path)}: the frame at {float(times[place] * self.time_base):.2f} s is "
                "not there any more; was the film changed while it was read?"
            )


@contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """A file that FFmpeg can read.

    Raises:
        InputError: it is not there, or not a film.

    Example:
        >>> with opened(Path("no-such.mp4")) as container:
        ...     pass
        Traceback (most recent call last):
        gpen_core.errors.InputError: no-such.mp4: there is no such file; check the path.
    """
    if not path.exists():
        raise InputError(f"{shown(path)}: there is no such file; check the path.")
    try:
        # "file:" keeps names such as "concat:a|b" from being taken for what they say.
        container = av.open(f"file:{path}", metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{shown(path)}: this is no film that can be read ({reason}).") from error
    with container:
        yield container


def _picture_of(container: InputContainer, path: Path) -> VideoStream:
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    raise InputError(f"{shown(path)}: this file has no moving picture.")


def _duration(container: InputContainer, stream: VideoStream) -> Fraction:
    """Seconds, 0 where the file does not say."""
    if stream.duration and stream.time_base is not None:
        return stream.duration * stream.time_base
    return Fraction(container.duration or 0, av.time_base)


def _decoded(container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
    """What can be decoded; damaged packets are passed over and counted in the log."""
    damaged, in_a_row = 0, 0
    packets = container.demux(stream)
    while in_a_row < _HOPELESS:
        try:
            packet = next(packets)
            if packet.is_discard:
                continue
            frames = packet.decode()
        except StopIteration:
            break
        except (av.error.InvalidDataError, av.error.EOFError, av.error.UndefinedError):
            damaged, in_a_row = damaged + 1, in_a_row + 1
            continue
        in_a_row = 0
        yield from frames
    if damaged:
        log.warning("%s: %d damaged packets passed over.", shown(container.name), damaged)


def _timed(frames: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """Every frame with a time later than that of the one before."""
    last, step = None, 1
    for frame in frames:
        time = frame.pts if frame.pts is not None else frame.dts
        if time is None or (last is not None and time <= last):
            time = 0 if last is None else last + step
            frame.pts = time
        elif last is not None:
            step = time - last
        frame.pts = last = time
        yield frame


def time_of(frame: av.VideoFrame) -> int:
    """When a frame is shown, in units of its film.

    Example:
        >>> frame = av.VideoFrame(64, 48)
        >>> frame.pts = 90
        >>> time_of(frame)
        90
    """
    assert frame.pts is not None
    return frame.pts
