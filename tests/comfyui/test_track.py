"""Track Faces in a real host: a batch of frames, followed."""

from __future__ import annotations

import pytest
import torch
from host_graphs import DETECT, capture, done, failed, feed, node

TRACK = {
    "fps": 25.0,
    "shortest": 3,
    "gap": 12,
    "smoothing": 1.0,
    "sort": "area",
    "keep": "all",
}


@pytest.fixture
def frames(base_folder):
    """Eight frames of a face that moves."""
    from PIL import Image
    from torchvision.transforms.functional import to_tensor

    photo = Image.open(base_folder / "input" / "astronaut-damaged.jpg").convert("RGB")
    boxes = [(70 + 4 * i, 10, 70 + 4 * i + 350, 290) for i in range(8)]
    return torch.stack(
        [to_tensor(photo.resize((160, 128), box=box)).movedim(0, -1) for box in boxes]
    )


def graph(steadiness=1, **changes):
    return {
        "frames": feed("frames"),
        "model": node("GPEN_LoadModel", file="small.pth", precision="auto", device="auto"),
        "found": node("GPEN_DetectFaces", image=["frames", 0], gpen_model=["model", 0], **DETECT),
        "tracked": node(
            "GPEN_TrackFaces", image=["frames", 0], faces=["found", 0], **(TRACK | changes)
        ),
        "restored": node(
            "GPEN_RestoreFaces",
            gpen_model=["model", 0],
            faces=["tracked", 0],
            strength=1.0,
            batch_size=4,
            seed=0,
            steadiness=steadiness,
        ),
        "c-faces": capture("faces", ["restored", 0]),
        "c-crops": capture("crops", ["tracked", 1]),
        "c-count": capture("count", ["tracked", 2]),
    }


def test_a_face_gets_one_number_and_holds_still(fresh, frames):
    fresh.feeds["frames"] = frames
    values = done(fresh.run(graph(steadiness=0)))
    loose = values["faces"]
    assert values["count"] == 1
    assert loose.tracks.tolist() == [0] * len(frames)
    assert values["crops"].shape[0] == len(frames)
    still = done(fresh.run(graph(steadiness=2)))["faces"].restored
    moved = [(one[1:] - one[:-1]).abs().mean() for one in (loose.restored, still)]
    assert float(moved[1]) < 0.8 * float(moved[0])


def test_nobody_and_wrong_frames_are_said(fresh, frames):
    fresh.feeds["frames"] = torch.full_like(frames, 0.4)
    assert done(fresh.run(graph()))["count"] == 0
    fresh.feeds["frames"] = frames
    other = graph()
    other["other"] = feed("other")
    fresh.feeds["other"] = frames[:3]
    other["tracked"]["inputs"]["image"] = ["other", 0]
    assert "3 frames, but the faces are of 8" in failed(fresh.run(other))
