"""Pairs as colorizing and inpainting pose them."""

from __future__ import annotations

import pytest
import torch

from gpen_core.dataset.posing import LEARNED, hole, posed
from gpen_core.images.monochrome import luma
from gpen_core.options import TASKS
from gpen_core.tasks.known import task_named

SIZE = 64


@pytest.fixture
def faces() -> tuple[torch.Tensor, torch.Tensor]:
    """Degraded and truth, 0..1."""
    generator = torch.Generator().manual_seed(2)
    truth = torch.rand(3, 3, SIZE, SIZE, generator=generator) * 0.6 + 0.2
    return (truth + 0.1).clamp(0, 1), truth


def test_a_colorizer_is_not_asked_for_light(faces):
    degraded, colored, holes = posed("colorize", *faces, [1, 2, 3])
    assert torch.equal(degraded[:, 0], degraded[:, 1]) and not holes.any()
    assert (luma(colored) - luma(faces[0])).abs().max() < 1e-5
    # An answer with the truth's colors is no error, whatever its light.
    crops, answer = degraded * 2 - 1, faces[1] * 2 - 1
    made = task_named("colorize").combine(crops, answer, holes)
    assert (made - (colored * 2 - 1)).abs().max() < 1e-5


def test_an_inpainter_is_asked_for_what_is_in_the_hole_alone(faces):
    degraded, truth, holes = posed("inpaint", *faces, [1, 2, 3])
    inside = holes.expand_as(truth) > 0
    assert bool((degraded[inside] == 1).all())
    assert torch.equal(degraded[~inside], faces[0][~inside])
    assert torch.equal(truth[inside], faces[1][inside])
    assert torch.equal(truth[~inside], faces[0][~inside]), "known pixels are not to be changed"


def test_holes_are_drawn_from_their_seeds_and_are_not_everything():
    shares = torch.tensor([hole(SIZE, seed).mean() for seed in range(200)])
    assert torch.equal(hole(SIZE, 7), hole(SIZE, 7))
    assert not torch.equal(hole(SIZE, 7), hole(SIZE, 8))
    assert float(shares.min()) > 0.003 and float(shares.max()) < 0.8
    assert 0.08 < float(shares.mean()) < 0.25


def test_a_hole_has_one_shape_at_every_size():
    for seed in range(20):
        small, large = hole(SIZE, seed), hole(4 * SIZE, seed)
        shrunk = torch.nn.functional.avg_pool2d(large, 4)
        assert float((small - shrunk).abs().mean()) < 0.05


def test_only_known_tasks_are_learned():
    assert set(LEARNED) < set(TASKS)
