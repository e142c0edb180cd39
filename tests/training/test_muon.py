"""Muon's direction against the singular value decomposition, and its step against the formula."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("pydantic", reason="pydantic, of the extra gpen[train], is not installed")
muon = pytest.importorskip("gpen_core.training.muon")


@pytest.mark.parametrize("shape", [(12, 40), (40, 12), (9, 9)])
def test_the_direction_has_the_same_singular_vectors_and_values_near_one(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = muon.orthogonalize(matrix)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    inside = left.T @ found @ right.T
    diagonal = inside.diagonal()
    assert bool(((diagonal > 0.6) & (diagonal < 1.3)).all())
    assert (inside - torch.diag(diagonal)).abs().max() < 1e-3


def test_a_step_is_as_large_as_adams_whatever_the_gradient():
    for scale in (1e-6, 1.0, 1e6):
        weight = torch.nn.Parameter(torch.zeros(16, 8, 3, 3))
        weight.grad = scale * torch.randn(16, 8, 3, 3, generator=torch.Generator().manual_seed(1))
        muon.Muon([weight], lr=0.1).step()
        assert 0.1 < weight.detach().square().mean().sqrt() / (0.1 * 0.2) < 1.2


def test_leading_ones_are_dropped_and_the_rest_is_joined():
    assert muon.as_matrix(torch.zeros(1, 6, 5, 3, 3)).shape == (6, 45)
    assert muon.as_matrix(torch.zeros(6, 5, 3, 3)).shape == (6, 45)
