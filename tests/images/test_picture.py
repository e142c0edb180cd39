"""A picture in memory: its size, and what follows a change of its pixels."""

from __future__ import annotations

import torch

from gpen_core.images.layouts import resize
from gpen_core.images.picture import Picture


def test_the_alpha_follows_a_change_of_size() -> None:
    alpha = torch.rand(1, 8, 12)
    picture = Picture(torch.rand(3, 8, 12), alpha, bits=16, icc=b"profile", dpi=(300.0, 300.0))
    assert picture.size == (8, 12)
    for size in ((16, 24), (8, 24), (16, 12)):
        pixels = torch.rand(3, *size)
        other = picture.with_pixels(pixels)
        assert other.size == size and other.pixels is pixels
        assert torch.equal(other.alpha, resize(alpha[None], size)[0])
        assert (other.bits, other.icc, other.dpi) == (16, b"profile", (300.0, 300.0))
    same = picture.with_pixels(torch.zeros(3, 8, 12))
    assert same.alpha is alpha
    assert Picture(torch.rand(3, 8, 12)).with_pixels(torch.rand(3, 4, 6)).alpha is None
