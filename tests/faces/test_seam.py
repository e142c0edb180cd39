"""Sharpness at the seam: a face in a soft picture is soft at its edge, and itself in its middle."""

from __future__ import annotations

import pytest
import torch
from kornia.filters import gaussian_blur2d

from gpen_core.faces.aligned import as_faces
from gpen_core.faces.grain import Surroundings
from gpen_core.faces.mask import crop_masks
from gpen_core.faces.paste import Canvas, Surface
from gpen_core.faces.seam import with_sharpness
from gpen_core.hooks import Recording
from gpen_core.options import PasteOptions

SIZE, BOX = 240, (40, 40, 200, 200)


def noise(sigma: float) -> torch.Tensor:
    """(3, 240, 240) around 0.5, its detail as coarse as sigma, of one deviation."""
    made = torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(3))
    if sigma:
        made = gaussian_blur2d(made, 25, (sigma, sigma), "circular")
    return (0.5 + 0.1 * made / made.std())[0].clamp(0, 1)


def mask() -> torch.Tensor:
    soft = torch.zeros(1, 1, 160, 160)
    soft[..., 20:-20, 20:-20] = 1
    soft = gaussian_blur2d(soft, 17, (4.0, 4.0), "constant")[0]
    return torch.where(soft > 1e-3, soft, 0)


def detail(picture: torch.Tensor) -> torch.Tensor:
    """(H, W): differences between neighbors, another measure than the one that is tested."""
    return (picture[:, 1:, 1:] - picture[:, :-1, :-1]).abs().mean(0)


def test_the_edge_becomes_as_soft_as_its_surroundings_and_the_middle_stays() -> None:
    face = noise(0)[:, 40:200, 40:200]
    soft = with_sharpness(face, mask(), Surroundings(noise(3), BOX), 1.0)
    assert soft is not None
    before, after, around = detail(face), detail(soft), detail(noise(3))
    edge, middle = (slice(21, 25), slice(30, 130)), (slice(70, 90), slice(70, 90))
    assert after[edge].mean() < 0.3 * before[edge].mean()
    assert after[edge].mean() < 2.5 * around.mean()
    torch.testing.assert_close(soft[:, 70:90, 70:90], face[:, 70:90, 70:90])
    assert after[middle].mean() > 0.99 * before[middle].mean()


def test_half_the_amount_is_between() -> None:
    face, around = noise(0)[:, 40:200, 40:200], Surroundings(noise(3), BOX)
    whole, half = (with_sharpness(face, mask(), around, amount) for amount in (1.0, 0.5))
    assert whole is not None and half is not None
    edge = (slice(21, 25), slice(30, 130))
    assert detail(whole)[edge].mean() < detail(half)[edge].mean() < detail(face)[edge].mean()


def test_a_face_that_is_softer_stays_as_it_is() -> None:
    face = noise(3)[:, 40:200, 40:200]
    same = with_sharpness(face, mask(), Surroundings(noise(0), BOX), 1.0)
    assert same is not None
    torch.testing.assert_close(same, face)


def test_an_enlarged_picture_is_measured_in_its_own_pixels() -> None:
    """In a picture enlarged four times the blur that is needed is four times as wide."""
    face = noise(2)[:, 40:200, 40:200]
    plain, enlarged = (
        with_sharpness(face, mask(), Surroundings(noise(8), BOX, scale), 1.0)
        for scale in (1.0, 4.0)
    )
    assert plain is not None and enlarged is not None
    edge = (slice(21, 25), slice(30, 130))
    assert detail(enlarged)[edge].mean() <= 1.05 * detail(plain)[edge].mean()


@pytest.mark.parametrize("size", [1, 4, 12])
def test_where_there_is_too_little_to_measure_it_says_so(size) -> None:
    face, shape = torch.rand(3, size, size), torch.ones(1, size, size)
    around = Surroundings(torch.rand(3, size, size), (0, 0, size, size))
    assert with_sharpness(face, shape, around, 1.0) is None


def pasted(picture: torch.Tensor, amount: float, hooks: Recording | None = None) -> torch.Tensor:
    """The picture with a face of white noise in its middle half."""
    size = picture.shape[-1]
    start, side = size // 4, size // 2
    drawn = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(1))
    faces = as_faces(drawn, "gpen")
    faces = faces.with_(
        restored=faces.crops,
        image_sizes=((size, size),),
        matrices=torch.tensor([[[1.0, 0, -start], [0, 1, -start]]]),
    )
    canvas = Canvas(Surface(picture[None]), PasteOptions(sharpness_match=amount), hooks)
    canvas.add(faces, crop_masks(faces))
    return canvas.images[0]


def test_the_option_softens_the_edge_of_what_is_pasted_and_nothing_else() -> None:
    picture = noise(3)
    plain, soft = (pasted(picture, amount) for amount in (0.0, 1.0))
    change = (plain - soft).abs().amax(0)
    changed = change > 0.1
    assert changed.any() and change[110:130, 110:130].mean() < 0.1 * change[changed].mean()
    assert torch.equal(soft[:, :60], picture[:, :60])
    assert detail(soft)[changed[1:, 1:]].mean() < 0.8 * detail(plain)[changed[1:, 1:]].mean()


def test_a_picture_that_is_too_small_is_told() -> None:
    hooks = Recording()
    pasted(torch.rand(3, 16, 16), 1.0, hooks)
    assert any("was not made softer" in event for event in hooks.events)
