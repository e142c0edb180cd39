"""What encoders are told."""

from __future__ import annotations

import pytest

av = pytest.importorskip("av", reason="films need PyAV", exc_type=ImportError)

from gpen_core.films.encoder import Encoding, Part  # noqa: E402


def told(path, codec, size):
    """The parameters that the encoder says it used."""
    frame = av.VideoFrame(*size)
    with Part.writing(path, Encoding.choose(codec, "yuv420p"), frame) as part:
        part.add(frame, 0)
    with av.open(str(path)) as container:
        packet = next(container.demux(video=0))
    return bytes(packet).decode("latin-1")


@pytest.mark.parametrize("size, ahead", [((640, 360), 40), ((3840, 2160), 10)])
def test_large_frames_are_looked_at_less_far_ahead(tmp_path, size, ahead):
    assert f"rc_lookahead={ahead} " in told(tmp_path / "part.mkv", "h264", size)
