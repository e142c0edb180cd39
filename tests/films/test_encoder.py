"""What encoders are told."""

from __future__ import annotations

import pytest

av = pytest.importorskip("av", reason="films need PyAV", exc_type=ImportError)

from gpen_core.films.encoder import Encoding, Part  # noqa: E402


def told(path, codec, size, ordered=False):
    """The parameters that the encoder says it used."""
    frame = av.VideoFrame(*size)
    encoding = Encoding.choose(codec, "yuv420p")
    if ordered:
        encoding = encoding.without_reordering()
    with Part.writing(path, encoding, frame) as part:
        part.add(frame, 0)
    with av.open(str(path)) as container:
        head = container.streams.video[0].codec_context.extradata or b""
        packet = next(container.demux(video=0))
    return (head + bytes(packet)).decode("latin-1")


@pytest.mark.parametrize("size, ahead", [((640, 360), 40), ((2560, 1440), 22), ((3840, 2160), 2)])
def test_large_frames_are_looked_at_less_far_ahead(tmp_path, size, ahead):
    assert f"rc_lookahead={ahead} " in told(tmp_path / "part.mkv", "h264", size)


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_of_huge_frames_few_are_kept(tmp_path, codec):
    said = told(tmp_path / "part.mkv", codec, (3840, 2160))
    assert "bframes=1 " in said and "ref=1 " in said
    assert ("sliced_threads=1" if codec == "h264" else "frame-threads=1") in said


@pytest.mark.parametrize("size", [(640, 360), (3840, 2160)])
def test_without_reordering_no_size_brings_it_back(tmp_path, size):
    assert "bframes=0 " in told(tmp_path / "part.mkv", "h264", size, ordered=True)
