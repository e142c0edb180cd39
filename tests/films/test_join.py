"""The picture encoded in parts and joined: everything else is where and what it was."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from gpen_core.errors import InputError

av = pytest.importorskip("av", reason="films need PyAV", exc_type=ImportError)

from gpen_core.films.encoder import Encoding, Part, Timing  # noqa: E402
from gpen_core.films.film import Film  # noqa: E402
from gpen_core.films.join import Picture, join  # noqa: E402
from gpen_core.films.survey import times_between  # noqa: E402

UNEVEN = [Fraction(t, 1000) for t in (0, 40, 120, 240, 280, 400, 410, 500, 700, 740, 800, 900)]
PQ = (1, 9, 16, 9)
KINDS = {
    "film.mp4": {},
    "uneven.mp4": {"times": UNEVEN},
    "turned.mov": {"rotation": 90, "aspect": Fraction(4, 3)},
    "hdr.mkv": {"codec": "libx265", "pixel_format": "yuv420p10le", "tags": PQ, "times": UNEVEN},
    "sound.mkv": {"sound": 2},
    "silent.mp4": {"sound": 0},
    "vp9.webm": {"codec": "libvpx-vp9"},
    "motion.avi": {"codec": "mjpeg", "pixel_format": "yuvj420p", "sound": 0},
    "lossless.mkv": {"codec": "ffv1", "tags": PQ, "aspect": Fraction(16, 11)},
    "prores.mov": {"codec": "prores_ks", "pixel_format": "yuv422p10le"},
    "film.ts": {"codec": "libx264"},
}


def again(source, target, length=5):
    """The film encoded anew in parts of so many frames, and joined."""
    film = Film.open(source)
    encoding = Encoding.choose(film.codec, film.pixel_format)
    frames = list(film.frames())
    times = [frame.pts for frame in frames]
    rotation, last = frames[0].rotation, frames[-1].duration or 1
    parts = []
    for start in range(0, len(frames), length):
        parts.append(target.with_name(f"part-{start}.mkv"))
        timing = Timing(film.time_base, film.rate, film.sample_aspect)
        with Part.writing(parts[-1], encoding, frames[0], timing) as part:
            for frame, time in list(zip(frames, times, strict=True))[start : start + length]:
                part.add(frame, time)
    picture = Picture(parts, times, list(times_between(times, last)), rotation)
    return join(film, picture, target, target.suffix)


@pytest.mark.parametrize("name", KINDS)
def test_all_but_the_picture_is_the_same(make_film, look, tmp_path, name):
    source = make_film(name, **KINDS[name])
    assert again(source, tmp_path / f"out{source.suffix}") == []
    assert look(tmp_path / f"out{source.suffix}") == look(source)


def test_subtitles_attachments_and_chapters_stay(make_film, look, tmp_path):
    def prepare(container):
        subtitles = container.add_mux_stream("subrip")
        subtitles.time_base = Fraction(1, 1000)
        subtitles.metadata["language"] = "deu"
        container.add_attachment("list.txt", "text/plain", b"guests")
        chapter = {"id": 1, "start": 0, "end": 400, "time_base": Fraction(1, 1000)}
        container.set_chapters([{**chapter, "metadata": {"title": "Church"}}])
        return subtitles

    def finish(container, subtitles):
        packet = av.Packet(b"I do.")
        packet.pts = packet.dts = 120
        packet.duration, packet.time_base, packet.stream = 200, Fraction(1, 1000), subtitles
        container.mux(packet)

    source = make_film("wedding.mkv", sound=2, prepare=prepare, finish=finish)
    assert again(source, tmp_path / "out.mkv") == []
    before, after = look(source), look(tmp_path / "out.mkv")
    assert ("subtitle", "deu", None) in before["streams"]
    assert [one[:2] for one in before["chapters"]] == [(0, Fraction(2, 5))]
    assert after == before


def test_lossless_frames_are_the_same_bytes(make_film, samples, tmp_path):
    source = make_film("lossless.mkv", codec="ffv1", sound=0)
    again(source, tmp_path / "out.mkv")
    for one, other in zip(samples(source), samples(tmp_path / "out.mkv"), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_format_that_cannot_hold_it_is_named(make_film, tmp_path):
    source = make_film("film.mp4")
    with pytest.raises(InputError, match=r"\.webm file cannot hold"):
        again(source, tmp_path / "out.webm")


def test_a_frame_that_is_missing_is_noticed(make_film, tmp_path, monkeypatch):
    from gpen_core.films import join as module

    source, complete = make_film("film.mkv"), module._new
    monkeypatch.setattr(module, "_new", lambda *args: list(complete(*args))[:-1])
    with pytest.raises(InputError, match="of 12 frames the file written holds 11"):
        again(source, tmp_path / "out.mkv")


def test_frames_at_the_wrong_time_are_noticed(make_film, tmp_path, monkeypatch):
    from gpen_core.films import join as module

    source, complete = make_film("film.mkv"), module._new

    def late(*args):
        for packet in complete(*args):
            packet.pts += 40 * (packet.pts > 200)
            yield packet

    monkeypatch.setattr(module, "_new", late)
    with pytest.raises(InputError, match=r"up to 0\.040 s too early or too late"):
        again(source, tmp_path / "out.mkv")
