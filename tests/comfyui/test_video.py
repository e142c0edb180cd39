"""Restore Video in a real host: from file to file."""

from __future__ import annotations

from fractions import Fraction
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

av = pytest.importorskip("av", reason="films need PyAV", exc_type=ImportError)

VIDEO = {
    "strength": 1.0,
    "keep": "all",
    "mask_type": "ellipse",
    "color_match": 0.0,
    "detector": "mtcnn",
    "confidence": 0.9,
    "file": "small.pth",
    "detect_every": 5,
    "shortest": 1,
    "gap": 12,
    "smoothing": 1.0,
    "steadiness": 1,
    "sort": "area",
    "min_size": 0,
    "rotations": False,
    "batch_size": 4,
}


@pytest.fixture
def film(tmp_path, base_folder):
    """Twenty-five frames of a moving face, with sound; a second."""
    photo = Image.open(base_folder / "input" / "astronaut-damaged.jpg").convert("RGB")
    path = tmp_path / "film.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 128, "yuv420p"
        sound = container.add_stream("aac", rate=48000)
        sound.layout = "mono"
        for i in range(25):
            box = (70 + 2 * i, 10, 70 + 2 * i + 350, 290)
            frame = av.VideoFrame.from_image(photo.resize((160, 128), box=box))
            frame.pts = i
            container.mux(stream.encode(frame.reformat(format="yuv420p")))
        container.mux(stream.encode())
        for start in range(0, 48000, 1024):
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), "s16", "mono")
            samples.rate, samples.pts, samples.time_base = 48000, start, Fraction(1, 48000)
            container.mux(sound.encode(samples))
        container.mux(sound.encode())
    return path


def graph(**changes):
    return {
        "video": {"class_type": "Test_FeedVideo", "inputs": {"name": "video"}},
        "all": {
            "class_type": "GPEN_RestoreVideo",
            "inputs": {"video": ["video", 0], **VIDEO, **changes},
        },
        "c-video": {"class_type": "Test_Capture", "inputs": {"name": "out", "value": ["all", 0]}},
        "c-count": {"class_type": "Test_Capture", "inputs": {"name": "count", "value": ["all", 1]}},
    }


def frames(video):
    with av.open(video.get_stream_source()) as container:
        kinds = [stream.type for stream in container.streams]
        return kinds, [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def restored(fresh, video, **changes):
    from comfy_api.latest import InputImpl

    fresh.feeds["video"] = (
        InputImpl.VideoFromFile(video) if not hasattr(video, "save_to") else video
    )
    outcome = fresh.run(graph(**changes))
    assert outcome.success, outcome.errors
    return fresh.values["out"][0], fresh.values["count"][0]


def test_a_video_is_restored_with_its_sound(fresh, film):
    video, count = restored(fresh, str(film))
    kinds, pictures = frames(video)
    assert (kinds, len(pictures), count) == (["video", "audio"], 25, 1)
    with av.open(str(film)) as container:
        before = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    for old, new in zip(before, pictures, strict=True):
        assert (old != new).any() and np.array_equal(old[:, -8:], new[:, -8:])


def test_a_video_in_memory_and_a_trimmed_one(fresh, film):
    video, _ = restored(fresh, BytesIO(film.read_bytes()))
    assert len(frames(video)[1]) == 25
    from comfy_api.latest import InputImpl

    whole = InputImpl.VideoFromFile(str(film))
    if not hasattr(whole, "get_active_trim_window"):
        pytest.skip("this host does not trim videos")
    video, _ = restored(fresh, InputImpl.VideoFromFile(str(film), start_time=0.2, duration=0.4))
    assert len(frames(video)[1]) == 10


def test_nothing_found_and_nobody_kept_are_said(fresh, film, caplog):
    _, count = restored(fresh, str(film), keep="none")
    assert count == 0 and "none is kept; change keep" in caplog.text
