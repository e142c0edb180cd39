"""Films made on the spot: small, in many formats, with sound, subtitles and times of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

try:
    import av
except ImportError:  # each file of tests is skipped then, and says so
    av = None


def pictures(count: int, size: tuple[int, int] = (96, 64)) -> list[np.ndarray]:
    """(H, W, 3) uint8: a bright square that moves over a gradient."""
    width, height = size
    ramp = np.linspace(20, 160, width)[None, :, None] * np.ones((height, 1, 3))
    frames = []
    for i in range(count):
        frame = ramp.copy()
        frame[10:24, 2 * i % (width - 16) : 2 * i % (width - 16) + 14] = (230, 60, 120)
        frames.append(frame.astype(np.uint8))
    return frames


def write_film(
    path: Path,
    frames: Sequence[np.ndarray],
    *,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    times: Sequence[Fraction] | None = None,
    sound: int = 1,
    rotation: int = 0,
    tags: tuple[int, int, int, int] | None = None,
    aspect: Fraction | None = None,
    parameters: str = "log-level=error",
    prepare: Callable[[av.container.OutputContainer], object] = lambda container: None,
    finish: Callable[[av.container.OutputContainer, object], None] = lambda container, made: None,
) -> Path:
    """A film of these pictures.

    Args:
        times: of the frames, seconds; 25 a second unless given.
        sound: so many tracks.
        rotation: degrees.
        tags: range, primaries, transfer and matrix, by H.273.
        aspect: of a pixel.
        parameters: of x265.
        prepare, finish: add other streams before the first packet, and their packets.
    """
    times = times or [Fraction(i, 25) for i in range(len(frames))]
    quiet = {"x265-params": parameters} if codec == "libx265" else {}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=quiet)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixel_format
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        context = stream.codec_context
        if tags is not None:
            context.color_range, context.color_primaries = tags[:2]
            context.color_trc, context.colorspace = tags[2:]
        if aspect is not None:
            context.sample_aspect_ratio = aspect
        if rotation:
            stream.set_display_rotation(rotation)
        container.metadata["title"] = "A wedding"
        tracks = [_sound(container, index) for index in range(sound)]
        other = prepare(container)
        for frame, time in zip(frames, times, strict=True):
            picture = av.VideoFrame.from_ndarray(frame, "rgb24").reformat(format=pixel_format)
            picture.pts, picture.time_base = round(time * 1000), Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
        for track in tracks:
            for start in range(0, round(48000 * (times[-1] + Fraction(1, 25))), 960):
                wave = (np.sin(np.arange(start, start + 960) / 20) * 3000).astype(np.int16)
                samples = av.AudioFrame.from_ndarray(wave[None], "s16", "mono")
                samples.pts, samples.rate, samples.time_base = start, 48000, Fraction(1, 48000)
                container.mux(track.encode(samples))
            container.mux(track.encode())
        finish(container, other)
    return path


def _sound(container, index: int):
    track = container.add_stream("libopus" if "webm" in container.name else "aac", rate=48000)
    track.layout = "mono"
    track.metadata["language"] = ("eng", "deu")[index % 2]
    return track


@pytest.fixture
def make_film(tmp_path):
    """`make_film(name, count=12, size=(96, 64), **see write_film)`, a file in a folder."""

    def make(name: str, count: int = 12, size: tuple[int, int] = (96, 64), **how: object) -> Path:
        folder = tmp_path / "films"
        folder.mkdir(exist_ok=True)
        frames = how.pop("frames", None) or pictures(count, size)
        return write_film(folder / name, frames, **how)

    return make


@pytest.fixture(name="look")
def _look():
    return look


@pytest.fixture(name="samples")
def _samples():
    return samples


def look(path: Path) -> dict[str, object]:
    """Everything of a film that a restoration must not lose."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        found = {
            "times": [frame.pts * stream.time_base for frame in frames],
            "rotation": frames[0].rotation,
            "aspect": stream.sample_aspect_ratio,
            "tags": (
                frames[0].color_range,
                frames[0].color_primaries,
                frames[0].color_trc,
                frames[0].colorspace,
            ),
            "codec": stream.codec_context.codec.canonical_name,
            "pixel format": frames[0].format.name,
            "size": (frames[0].width, frames[0].height),
            "title": container.metadata.get("title"),
            "chapters": [
                (one["start"] * one["time_base"], one["end"] * one["time_base"], one["metadata"])
                for one in container.chapters()
            ],
        }
    with av.open(str(path)) as container:
        rest = [stream for stream in container.streams if stream.type != "video"]
        found["streams"] = [
            (one.type, one.metadata.get("language"), one.metadata.get("filename")) for one in rest
        ]
        packets: dict[int, list[tuple[Fraction | None, bytes]]] = {}
        for packet in container.demux():
            if packet.size and packet.stream.type != "video":
                time = None if packet.pts is None else packet.pts * packet.time_base
                packets.setdefault(packet.stream_index, []).append((time, bytes(packet)))
        found["packets"] = packets
    return found


def samples(path: Path) -> list[list[np.ndarray]]:
    """Of each frame the bytes of its planes, without padding."""
    with av.open(str(path)) as container:
        return [
            [
                np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
                for plane in frame.planes
            ]
            for frame in container.decode(video=0)
        ]
