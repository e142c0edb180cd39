"""Layouts: what is refused frame by frame, and what follows a change of size."""

from __future__ import annotations

import pytest
import torch

from gpen_core.errors import InputError
from gpen_core.images.layouts import enlarge, from_comfy, resize, to_comfy
from gpen_core.images.picture import Picture


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_one_bad_value_in_one_frame_is_enough(bad) -> None:
    image = torch.rand(3, 6, 7, 3)
    image[1, 2, 3, 0] = bad
    with pytest.raises(InputError, match="Image 1 holds NaN or infinite values"):
        from_comfy(image)


def stripes() -> torch.Tensor:
    """(1, 1, 8, 8): the left half opaque, the right half clear."""
    alpha = torch.zeros(1, 1, 8, 8)
    alpha[..., :4] = 1
    return alpha


def test_alpha_follows_an_enlargement() -> None:
    large = to_comfy(torch.rand(1, 3, 32, 32), stripes())
    assert large.shape == (1, 32, 32, 4)
    torch.testing.assert_close(large[0, :, :6, 3], torch.ones(32, 6))
    torch.testing.assert_close(large[0, :, 26:, 3], torch.zeros(32, 6))
    assert float(large[0, :, 16, 3].max()) < 0.5 < float(large[0, :, 15, 3].min())
    picture = Picture(torch.rand(3, 8, 8), alpha=stripes()[0]).with_pixels(torch.rand(3, 32, 32))
    assert torch.equal(picture.alpha[0], large[0, ..., 3])
    same = picture.with_pixels(torch.zeros(3, 32, 32))
    assert same.alpha is picture.alpha


def test_resizing_to_the_same_size_changes_nothing() -> None:
    images = torch.rand(1, 3, 5, 6) * 3 - 1
    assert resize(images, (5, 6)) is images
    small = resize(images, (5, 3))
    assert small.shape == (1, 3, 5, 3)
    assert (float(small.min()), float(small.max())) == (0, 1)
    assert enlarge(images, 1) is images
