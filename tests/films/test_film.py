"""Frames found again: by seeking where that leads there, else from the start."""

from __future__ import annotations

import pytest

from gpen_core.errors import InputError

av = pytest.importorskip("av", reason="films need PyAV", exc_type=ImportError)

from gpen_core.films.film import Film, time_of  # noqa: E402


def shown(frame):
    return frame.pts, bytes(frame.planes[0])


@pytest.mark.parametrize(
    "name, codec", [("a.mkv", "libx264"), ("a.ts", "libx264"), ("a.avi", "mjpeg")]
)
@pytest.mark.parametrize("damage", [False, True])
def test_a_frame_is_the_one_that_reading_on_gives(make_film, name, codec, damage):
    pixel_format = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = make_film(name, count=60, codec=codec, pixel_format=pixel_format, sound=0)
    if damage:
        data = bytearray(path.read_bytes())
        for place in range(len(data) // 3, len(data) // 3 + 40):
            data[place] ^= 0x5A
        path.write_bytes(data)
    film = Film.open(path)
    frames = [shown(one) for one in film.frames()]
    times = [time for time, _ in frames]
    for first, last in ((0, 5), (17, 31), (45, len(times))):
        again = [shown(one) for one in film.frames_at(times[first:last])]
        assert [time for time, _ in again] == times[first:last]
        if not damage:
            assert again == frames[first:last]


def test_seeking_to_the_wrong_place_is_made_good(make_film, monkeypatch):
    film = Film.open(make_film("a.mkv", count=30, sound=0))
    frames = [shown(one) for one in film.frames()]
    complete, asked = Film.frames, []

    def too_late(self, start=None):
        asked.append(start)
        return complete(self, None if start is None else start + 200)

    monkeypatch.setattr(Film, "frames", too_late)
    times = [time for time, _ in frames][8:14]
    assert [shown(one) for one in film.frames_at(times)] == frames[8:14]
    assert asked == [times[0], None]


def test_a_frame_that_is_gone_is_said(make_film):
    film = Film.open(make_film("a.mkv", count=10, sound=0))
    with pytest.raises(InputError, match="was the film changed"):
        list(film.frames_at([time_of(next(film.frames())), 7]))
