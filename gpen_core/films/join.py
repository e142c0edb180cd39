"""The finished film: the parts of its new picture in a row, the rest packet for packet."""

from __future__ import annotations

import heapq
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from ..errors import GPENError, InputError
from ..files import shown
from .film import Film, opened
from .formats import FORMATS


@dataclass(frozen=True)
class Picture:
    """The new picture of a film.

    Attributes:
        parts: files in order, as `encoder.Part` writes them.
        times: of all frames, in units of the film's time base.
        durations: of all frames.
        rotation: degrees counterclockwise by which it is shown.
        window: first and last + 1 time of what is wanted of the other streams, or all.
    """

    parts: Sequence[Path]
    times: Sequence[int]
    durations: Sequence[int]
    rotation: int = 0
    window: tuple[int, int] | None = None


# Of these FFmpeg does not say which codecs they hold.
_UNKNOWN = ("mpeg", "mpegts")
# These hold frames in the order in which they are shown, without a time of their own.
_WITHOUT_TIMES = ("avi", "asf")


def check_format(path: Path, codec: str) -> None:
    """Refuse a name before the work whose format cannot hold a picture of this codec.

    Raises:
        InputError: no format of films, or one without this codec.

    Example:
        >>> check_format(Path("film.webm"), "h264")
        Traceback (most recent call last):
        gpen_core.errors.InputError: film.webm: a .webm file cannot hold h264; choose another ...
    """
    suffix = _checked_suffix(path)
    if FORMATS[suffix] in _UNKNOWN:
        return
    with av.open(io.BytesIO(), "w", format=FORMATS[suffix]) as container:
        if codec not in container.supported_codecs:
            raise InputError(
                f"{shown(path)}: a {suffix} file cannot hold {codec}; choose another codec, or "
                "another format such as .mkv."
            )


def _checked_suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise InputError(
            f"{shown(path)}: a film cannot be written as {shown(suffix) or 'this'}; "
            f"formats: {', '.join(FORMATS)}."
        )
    return suffix


def codec_for(path: Path, wanted: Sequence[str]) -> str:
    """The first of some codecs that the format of a name holds, else the format's own.

    Raises:
        InputError: no format of films.

    Example:
        >>> codec_for(Path("film.webm"), ["h264"]), codec_for(Path("film.mov"), ["ffv1", "hevc"])
        ('vp9', 'hevc')
    """
    suffix = _checked_suffix(path)
    if FORMATS[suffix] in _UNKNOWN:
        return wanted[0]
    with av.open(io.BytesIO(), "w", format=FORMATS[suffix]) as container:
        fitting = [one for one in wanted if one in container.supported_codecs]
        return fitting[0] if fitting else str(container.default_video_codec)


def has_times(path: Path) -> bool:
    """Whether the format of a name says when each frame is shown.

    Example:
        >>> has_times(Path("film.avi")), has_times(Path("film.mkv"))
        (False, True)
    """
    return FORMATS[path.suffix.lower()] not in _WITHOUT_TIMES


def join(film: Film, picture: Picture, scratch: Path, suffix: str) -> list[str]:
    """Write the film to `scratch` in the format of `suffix`, and read it back.

    Args:
        film: whose other streams, chapters and metadata are taken over.
        picture: the new one.
        scratch: the file to write.
        suffix: of the name it will have.

    Returns:
        What this format could not take, a sentence each.

    Raises:
        InputError: a format that cannot be written or cannot hold this.
    """
    remarks: list[str] = []
    try:
        with ExitStack() as stack:
            source = stack.enter_context(opened(film.path))
            first = stack.enter_context(opened(picture.parts[0]))
            target = stack.enter_context(
                av.open(f"file:{scratch}", "w", format=FORMATS[suffix], options=_AS_GIVEN)
            )
            streams = _streams(source, film, first.streams.video[0], target, remarks)
            if picture.rotation:
                own = streams[film.stream]
                assert isinstance(own, VideoStream)
                own.set_display_rotation(picture.rotation)
            target.metadata.update(source.metadata)
            if picture.window is None and source.chapters():
                target.set_chapters(source.chapters())
            for packet in _in_order(source, film, picture, streams):
                target.mux(packet)
    except (GPENError, OSError):  # said already, or the disk's
        raise
    except (av.error.FFmpegError, ValueError) as error:
        raise InputError(
            f"{shown(film.path)}: a {suffix} file cannot hold this film ({error}); "
            "choose another format, such as .mkv."
        ) from error
    return remarks + _read_back(scratch, picture, film)


# Times stay as they are, even those before 0 that decoding needs; no random identifiers.
_AS_GIVEN = {"avoid_negative_ts": "disabled", "fflags": "+bitexact"}


def _streams(
    source: InputContainer,
    film: Film,
    new: Stream,
    target: OutputContainer,
    remarks: list[str],
) -> dict[int, Stream]:
    """The streams of the finished film, by their index in the source."""
    streams: dict[int, Stream] = {}
    for stream in source.streams:
        template = new if stream.index == film.stream else stream
        try:
            made = target.add_stream_from_template(template, opaque=True)
        except (ValueError, av.error.FFmpegError) as error:
            if stream.index == film.stream:
                raise
            remarks.append(f"Stream {stream.index} ({stream.type}) does not fit: {error}.")
            continue
        made.metadata.update(_named(stream.metadata))
        made.disposition = stream.disposition
        if stream.time_base is not None:
            made.time_base = stream.time_base
        streams[stream.index] = made
    return streams


def _named(metadata: Mapping[str, str]) -> dict[str, str]:
    """MP4 reads a stream's title as its name, and writes it from its title."""
    return {"title" if key == "name" else key: value for key, value in metadata.items()}


def _in_order(
    source: InputContainer, film: Film, picture: Picture, streams: dict[int, Stream]
) -> Iterator[Packet]:
    """All packets by the time at which they are decoded."""
    stream = streams[film.stream]
    assert isinstance(stream, VideoStream)
    own = ((_seconds(packet), 0, packet) for packet in _new(film, picture, stream))
    rest = (
        (_seconds(packet), 1, packet) for packet in _others(source, film, picture.window, streams)
    )
    for _, _, packet in heapq.merge(own, rest, key=lambda one: one[:2]):
        yield packet


def _seconds(packet: Packet) -> Fraction:
    time = packet.dts if packet.dts is not None else packet.pts
    if time is None or packet.time_base is None:
        return Fraction(0)
    return time * packet.time_base


def _others(
    source: InputContainer,
    film: Film,
    window: tuple[int, int] | None,
    streams: dict[int, Stream],
) -> Iterator[Packet]:
    for packet in source.demux():
        stream = streams.get(packet.stream_index)
        # An empty packet at the end flushes a decoder; there is none.
        if packet.stream_index == film.stream or stream is None or packet.size == 0:
            continue
        if window is not None and not _moved(packet, film.time_base, window):
            continue
        packet.stream = stream
        yield packet


def _moved(packet: Packet, unit: Fraction, window: tuple[int, int]) -> bool:
    """Whether a packet lies in the window, whose start is then its time 0."""
    if packet.pts is None or packet.time_base is None:
        return False
    start, stop = (bound * unit / packet.time_base for bound in window)
    if not start <= packet.pts < stop:
        return False
    shift = round(start)
    packet.pts -= shift
    if packet.dts is not None:
        packet.dts -= shift
    return True


def _new(film: Film, picture: Picture, stream: VideoStream) -> Iterator[Packet]:
    """The picture's packets, with the film's own times.

    What has to be decoded before it is shown gets a time of decoding as many frames ahead as the
    worst of all needs, so that these times rise even where parts meet.
    """
    orders = [_order(part) for part in picture.parts]
    delay = max(i - place for order in orders for i, place in enumerate(order))
    start = picture.window[0] if picture.window else 0
    times = [time - start for time in picture.times]
    step = times[1] - times[0] if len(times) > 1 else picture.durations[0]
    early = [times[0] - (delay - i) * step for i in range(delay)]
    decoding = [*early, *times]
    count = done = 0
    for part, order in zip(picture.parts, orders, strict=True):
        with opened(part) as container:
            packets = (one for one in container.demux(container.streams.video[0]) if one.size)
            for packet, place in zip(packets, order, strict=True):
                packet.pts = times[done + place]
                packet.dts = min(decoding[count], packet.pts)
                packet.duration = picture.durations[done + place]
                packet.time_base = film.time_base
                packet.stream = stream
                count += 1
                yield packet
        done += len(order)


def _order(part: Path) -> list[int]:
    """Of each packet of a part, which of its frames it is, by time."""
    with opened(part) as container:
        stream = container.streams.video[0]
        shown_at = [packet.pts or 0 for packet in container.demux(stream) if packet.size]
    places = {time: place for place, time in enumerate(sorted(shown_at))}
    return [places[time] for time in shown_at]


def _read_back(scratch: Path, picture: Picture, film: Film) -> list[str]:
    """Whether the file holds every frame at its time.

    Raises:
        InputError: it does not.
    """
    start = picture.window[0] if picture.window else 0
    meant = [(time - start) * film.time_base for time in picture.times]
    with opened(scratch) as container:
        stream = container.streams.video[0]
        unit = stream.time_base or Fraction(1)
        # Where a format has no times, FFmpeg guesses wrong ones; the order is that of decoding.
        guessed = container.format.name in _WITHOUT_TIMES
        times = (
            packet.dts if guessed else packet.pts
            for packet in container.demux(stream)
            if packet.size
        )
        found = sorted(time * unit for time in times if time is not None)
    if len(found) != len(meant):
        raise InputError(
            f"{shown(film.path)}: of {len(meant)} frames the file written holds {len(found)}; "
            "choose another format, such as .mkv."
        )
    # Some formats start every film at 0, or have coarse times.
    shift = found[0] - meant[0]
    worst = max(abs(a - b - shift) for a, b in zip(found, meant, strict=True))
    if worst > max(unit, Fraction(1, 1000)):
        raise InputError(
            f"{shown(film.path)}: frames would be shown up to {float(worst):.3f} s too early or "
            "too late; choose another format, such as .mkv."
        )
    remarks = []
    if shift:
        remarks.append(f"The film starts {float(shift):+.3f} s from where it did.")
    if worst:
        remarks.append(f"Times are rounded to {float(unit):.4f} s, as this format has them.")
    return remarks
