"""Grain: measured as it is, made again as it was measured, and put where it is missing only."""

from __future__ import annotations

import pytest
import torch
from kornia.filters import gaussian_blur2d

from gpen_core.faces.found import Faces
from gpen_core.faces.grain import Grain, Surroundings, with_grain
from gpen_core.faces.paste import Canvas, Surface
from gpen_core.hooks import Recording
from gpen_core.images.monochrome import tones_of
from gpen_core.options import PasteOptions

SIZE, CROP = 384, 160


def noise(size: int, strength: float, coarse: float, seed: int = 0, channels: int = 3):
    """(3, size, size) noise of this deviation, its grains `coarse` pixels wide."""
    made = torch.randn(1, channels, size, size, generator=torch.Generator().manual_seed(seed))
    if coarse:
        made = gaussian_blur2d(made, 13, (coarse, coarse), "circular")
    return (made / made.std() * strength)[0].expand(3, -1, -1)


def scene(size: int = SIZE) -> torch.Tensor:
    """(3, size, size) smooth light with one hard edge."""
    y, x = torch.meshgrid(torch.linspace(0, 1, size), torch.linspace(0, 1, size), indexing="ij")
    light = torch.stack([0.35 + 0.2 * x, 0.4 + 0.15 * y, 0.45 + 0.1 * x * y])
    light[:, : size // 10] *= 0.6
    return light


def residual(image: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """(3,) variance of what a 5x5 mean leaves: another filter than the one that is tested."""
    low = torch.nn.functional.avg_pool2d(image[None], 5, 1, 2, count_include_pad=False)[0]
    return (image - low)[:, where].var(dim=1)


def pasted(image: torch.Tensor, restored: torch.Tensor, amount: float, hooks=None) -> Canvas:
    """One upright face in the middle of the picture, its crop at the picture's scale."""
    start = (SIZE - CROP) // 2
    faces = Faces(
        boxes=torch.tensor([[start, start, start + CROP, start + CROP]]).float(),
        scores=torch.ones(1),
        landmarks=torch.zeros(1, 5, 2),
        source=torch.zeros(1, dtype=torch.int64),
        image_sizes=((SIZE, SIZE),),
        tones=tones_of(image[None]),
        matrices=torch.tensor([[[1.0, 0, -start], [0, 1, -start]]]),
        crops=torch.zeros(1, 3, CROP, CROP),
        restored=restored[None] * 2 - 1,
    )
    mask = torch.zeros(1, 1, CROP, CROP)
    mask[..., 16:-16, 16:-16] = 1
    mask = gaussian_blur2d(mask, 17, (4.0, 4.0), "constant")
    canvas = Canvas(Surface(image[None]), PasteOptions(grain=amount), hooks)
    canvas.add(faces, mask)
    return canvas


def crop(image: torch.Tensor) -> torch.Tensor:
    start = (SIZE - CROP) // 2
    return image[:, start : start + CROP, start : start + CROP]


@pytest.mark.parametrize("coarse", [0.0, 0.7, 1.2])
@pytest.mark.parametrize("strength", [0.015, 0.05])
@pytest.mark.parametrize("own", [0.0, 0.5])
def test_the_face_gets_as_much_grain_as_what_lies_around_it(coarse, strength, own):
    """Whether it has none of its own or half as much."""
    clean = scene()
    image = (clean + noise(SIZE, strength, coarse)).clamp(0, 1)
    restored = crop(clean) + noise(CROP, own * strength, coarse, seed=7)
    canvas = pasted(image, restored.clamp(0, 1), 1.0)
    full, around = canvas.mask[0, 0] > 0.99, canvas.mask[0, 0] == 0
    around[: SIZE // 10 + 4] = False  # beyond the edge in the light
    inside = residual(canvas.images[0], full) / residual(image, around)
    assert torch.allclose(inside, torch.ones(3), atol=0.15), inside
    seam = (canvas.mask[0, 0] > 0.2) & (canvas.mask[0, 0] < 0.8)
    ring = residual(canvas.images[0], seam) / residual(image, around)
    assert torch.allclose(ring, torch.ones(3), atol=0.2), "no smooth ring either"
    assert torch.equal(canvas.images[0][:, around], image[:, around])


def test_half_of_it_is_a_quarter_of_the_variance():
    clean = scene()
    image = clean + noise(SIZE, 0.04, 0.7)
    full, half = (pasted(image, crop(clean), amount) for amount in (1.0, 0.5))
    inside = full.mask[0, 0] > 0.99
    ratio = residual(half.images[0], inside) / residual(full.images[0], inside)
    assert torch.allclose(ratio, torch.full((3,), 0.25), atol=0.03)


def test_none_is_bit_identical_and_a_clean_picture_stays_clean():
    clean = scene()
    image = clean + noise(SIZE, 0.04, 0.7)
    plain = pasted(image, crop(clean), 0.0)
    inside = plain.mask[0, 0] > 0.99
    without = Canvas(Surface(image[None])).images  # what pasting nothing gives
    assert torch.equal(
        plain.images[:, :, plain.mask[0, 0] == 0], without[:, :, plain.mask[0, 0] == 0]
    )
    assert torch.allclose(plain.images[0][:, inside], clean[:, inside], atol=0.02)
    untouched = pasted(clean, crop(clean), 1.0)
    assert float((untouched.images[0] - clean).abs().max()) < 2e-3


def test_a_face_with_more_grain_than_its_picture_gets_none():
    clean = scene()
    image = clean + noise(SIZE, 0.01, 0.7)
    restored = crop(clean) + noise(CROP, 0.05, 0.7, seed=3)
    given, plain = pasted(image, restored, 1.0), pasted(image, restored, 0.0)
    assert float((given.images - plain.images).abs().max()) < 1e-4


def test_the_same_picture_gets_the_same_grain_and_the_next_frame_another():
    clean = scene()
    frames = [clean + noise(SIZE, 0.04, 0.7, seed=seed) for seed in (1, 1, 2)]
    first, again, other = (pasted(frame, crop(clean), 1.0).images[0] for frame in frames)
    inside = pasted(clean, crop(clean), 0.0).mask[0, 0] > 0.99
    assert torch.equal(first, again)
    assert float((first - other)[:, inside].abs().mean()) > 0.01


@pytest.mark.parametrize("brown", [False, True])
def test_a_picture_in_one_tone_stays_in_it(brown):
    light = scene().mean(0, keepdim=True).expand(3, -1, -1) + noise(SIZE, 0.04, 0.7, channels=1)
    image = light.clamp(0, 1)
    if brown:
        image = image ** torch.tensor([0.85, 1.0, 1.25])[:, None, None]
    tone = tones_of(image[None])[0]
    assert tone is not None and tone.is_gray is not brown
    face = scene().mean(0, keepdim=True).expand(3, -1, -1)
    canvas = pasted(image, crop(tone.apply(face[None])[0]), 1.0)
    after = tones_of(canvas.images)[0]
    assert after is not None and after.is_gray is not brown
    if not brown:
        assert torch.equal(canvas.images[:, 0], canvas.images[:, 1])
        assert torch.equal(canvas.images[:, 0], canvas.images[:, 2])
    inside = residual(canvas.images[0], canvas.mask[0, 0] > 0.99)
    assert torch.allclose(inside / residual(image, canvas.mask[0, 0] == 0), torch.ones(3), atol=0.2)


def test_grain_that_cannot_be_measured_is_said():
    hooks = Recording()
    dark = torch.zeros(3, SIZE, SIZE)
    canvas = pasted(dark, torch.full((3, CROP, CROP), 0.5), 1.0, hooks)
    assert any("got no grain" in event for event in hooks.events)
    assert float(canvas.images[0].max()) == pytest.approx(0.5)
    tiny = Surroundings(torch.rand(3, 9, 9), (2, 2, 7, 7))
    assert with_grain(torch.rand(3, 5, 5), torch.ones(1, 5, 5), tiny, 1.0) is None


def test_colored_grain_keeps_its_colors():
    """Blue layers of film are the coarsest and grainiest; channels may move together."""
    gray = noise(256, 0.03, 0.7, channels=1)
    own = torch.stack([noise(256, s, 0.7, seed=9 + i)[i] for i, s in enumerate((0.01, 0.01, 0.04))])
    picture = (0.5 + gray + own).clamp(0, 1)
    where = torch.ones(256, 256, dtype=torch.bool)
    grain = Grain.measure(picture, where, 2.0)
    made = Grain.measure(0.5 + grain.field((256, 256), 5), where, 2.0)
    assert torch.allclose(made.covariance, grain.covariance, rtol=0.15, atol=1e-5)
    assert grain.covariance[2, 2] > 2 * grain.covariance[0, 0]
    assert grain.covariance[0, 1] > 0.7 * grain.covariance[0, 0]
    near = slice(3, 6)
    assert torch.allclose(
        made.correlation[:, near, near], grain.correlation[:, near, near], atol=0.1
    )


def test_blacks_and_whites_get_no_grain():
    """Film and file end there; speckles in a white background would be new."""
    clean = scene()
    image = (clean + noise(SIZE, 0.04, 0.7)).clamp(0, 1)
    face = torch.ones(3, CROP, CROP)
    face[:, CROP // 2 :] = 0
    canvas = pasted(image, face, 1.0)
    inside = canvas.mask[0, 0] == 1
    plain = pasted(image, face, 0.0)
    assert torch.equal(canvas.images[0][:, inside], plain.images[0][:, inside])
