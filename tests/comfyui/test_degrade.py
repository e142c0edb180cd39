"""Degrade Image in the real executor of the host."""

from __future__ import annotations

import pytest
import torch

CUSTOM = {
    "scale_min": 1.0,
    "scale_max": 1.0,
    "blur_min": 0.0,
    "blur_max": 0.0,
    "motion_min": 0.0,
    "motion_max": 0.0,
    "noise_min": 0.0,
    "noise_max": 0.0,
    "jpeg_min": 0.0,
    "jpeg_max": 0.0,
    "color_min": 0.0,
    "color_max": 0.0,
    "gray": 0.0,
}


@pytest.fixture
def picture() -> torch.Tensor:
    """IMAGE (3, 48, 64, 3), smooth colors with edges."""
    y, x = torch.meshgrid(torch.linspace(0, 1, 48), torch.linspace(0, 1, 64), indexing="ij")
    frame = torch.stack([x, y, (x > 0.5).float() * 0.8], dim=-1)
    return torch.stack([frame, frame.flip(1), 1 - frame])


@pytest.fixture
def degraded(fresh):
    """Runs the node on a fed IMAGE and gives what came out."""

    def run(image: torch.Tensor, preset: str = "medium", seed: int = 0, **changes: float):
        fresh.feeds["picture"] = image
        inputs = {"preset": preset, "seed": seed, **CUSTOM, **changes}
        prompt = {
            "in": {"class_type": "Test_Feed", "inputs": {"name": "picture"}},
            "out": {"class_type": "GPEN_DegradeImage", "inputs": {"image": ["in", 0], **inputs}},
            "got": {"class_type": "Test_Capture", "inputs": {"name": "got", "value": ["out", 0]}},
        }
        return fresh.run(prompt)

    return run


def image_of(outcome) -> torch.Tensor:
    assert outcome.success, outcome.errors
    return outcome.values["got"][-1]


@pytest.mark.parametrize(
    "preset", ["mild", "medium", "severe", "old-photo", "wild", "reposted", "old-print"]
)
def test_every_preset_damages_and_the_seed_decides(degraded, picture, preset):
    first = image_of(degraded(picture, preset, seed=3))
    assert first.shape == picture.shape and first.dtype == picture.dtype
    assert float(first.min()) >= 0 and float(first.max()) <= 1
    assert not torch.equal(first, picture)
    assert torch.equal(image_of(degraded(picture, preset, seed=3)), first)
    assert not torch.equal(image_of(degraded(picture, preset, seed=4)), first)


def test_a_frame_of_a_batch_has_the_next_seed(degraded, picture):
    batch = image_of(degraded(picture.repeat(2, 1, 1, 1), "old-photo", seed=7))
    for index in (0, 4, 5):
        alone = image_of(degraded(picture[index % 3][None], "old-photo", seed=7 + index))
        assert torch.equal(alone[0], batch[index])


def test_the_alpha_survives(degraded, picture):
    alpha = torch.linspace(0, 1, 64).expand(3, 48, 64)[..., None]
    got = image_of(degraded(torch.cat([picture, alpha], dim=-1), "severe"))
    assert torch.equal(got[..., 3:], alpha)
    assert not torch.equal(got[..., :3], picture)


def test_the_ranges_count_with_custom_only(degraded, picture):
    assert torch.equal(image_of(degraded(picture, "custom")), picture)
    gray = image_of(degraded(picture, "custom", gray=1.0))
    torch.testing.assert_close(gray[..., 0], gray[..., 2])
    preset = image_of(degraded(picture, "mild"))
    assert torch.equal(image_of(degraded(picture, "mild", gray=1.0)), preset)


def test_more_noise_is_more_error(degraded, picture):
    errors = [
        (image_of(degraded(picture, "custom", noise_min=n, noise_max=n)) - picture).abs().mean()
        for n in (2.0, 8.0, 25.0)
    ]
    assert errors == sorted(errors) and errors[0] > 0


def test_a_reversed_range_is_named(degraded, picture):
    outcome = degraded(picture, "custom", blur_min=2.0, blur_max=1.0)
    assert not outcome.success
    assert "Degradation blur must be a range within 0..3, not 2.0..1.0" in " ".join(outcome.errors)


def test_the_widgets_start_at_the_whole_ranges(fresh):
    node = fresh.nodes.NODE_CLASS_MAPPINGS["GPEN_DegradeImage"]
    inputs = node.GET_NODE_INFO_V1()["input"]["required"]
    starts = {name: inputs[name][1]["default"] for name in CUSTOM}
    assert starts == CUSTOM | {
        "scale_min": 2.0,
        "scale_max": 16.0,
        "blur_max": 3.0,
        "motion_max": 25.0,
        "noise_max": 25.0,
        "jpeg_min": 10.0,
        "jpeg_max": 100.0,
        "color_max": 1.0,
        "gray": 0.1,
    }
