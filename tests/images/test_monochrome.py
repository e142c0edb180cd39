"""Gray stays gray and sepia stays sepia, by one rule, whichever way a picture comes in."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

import gpen_core
from gpen_core.faces.paste import Surface
from gpen_core.images.layouts import to_network
from gpen_core.images.monochrome import Tone, _blocks, _curve, luma, tone_of, tones_of
from gpen_core.options import Options
from gpen_core.run import Run, Tools

EXPONENTS = (0.8, 1.0, 1.35)


def tensor_of(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255


@pytest.fixture(scope="module")
def gray(portrait) -> torch.Tensor:
    """(3, 512, 512) in levels of 1/255."""
    light = (luma(tensor_of(portrait)[None])[0] * 255).round() / 255
    return light.expand(3, -1, -1)


def sepia_of(gray: torch.Tensor) -> torch.Tensor:
    return torch.stack([gray[0] ** exponent for exponent in EXPONENTS])


def as_jpeg(image: torch.Tensor, quality: int) -> torch.Tensor:
    file = io.BytesIO()
    pixels = (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return tensor_of(np.asarray(Image.open(file)))


@pytest.mark.parametrize("levels", [0, 1, 2])
def test_gray_within_two_levels_is_gray(gray, levels):
    noise = torch.randint(-levels, levels + 1, gray.shape, generator=torch.Generator())
    tone = tone_of((gray + noise / 255).clamp(0, 1))
    assert tone is not None and tone.is_gray
    painted = tone.apply(torch.rand(1, 3, 8, 8))
    assert torch.equal(painted[:, 0], painted[:, 1]) and torch.equal(painted[:, 1], painted[:, 2])


@pytest.mark.parametrize("quality", [75, 95])
def test_sepia_has_its_tone(gray, quality):
    tone = tone_of(as_jpeg(sepia_of(gray), quality))
    assert tone is not None and not tone.is_gray
    assert (tone.apply(gray[None])[0] - sepia_of(gray)).abs().mean() < 0.03
    # A tone is a color for each brightness: it takes a tint out, and leaves the light alone.
    tinted = (gray[None] * torch.tensor([0.7, 1.0, 1.2])[None, :, None, None]).clamp(0, 1)
    assert (luma(tone.apply(tinted)) - luma(tinted)).abs().max() < 0.02


def test_photographs_in_color_have_no_tone(portrait, shared):
    assert tone_of(tensor_of(portrait)) is None
    for name in ("18f_Estonia2.jpg", "18f_pif-group.jpg", "astronaut_skimage.png"):
        picture = Image.open(shared / "photos" / name).convert("RGB")
        assert tone_of(tensor_of(np.asarray(picture))) is None, name


def test_one_face_in_color_on_a_gray_wall_is_color(gray, portrait):
    mixed = gray.clone()
    mixed[:, 40:200, 160:300] = tensor_of(portrait)[:, 40:200, 160:300]
    assert tone_of(mixed) is None


def chroma(image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(2, n) of the pixels that were replaced."""
    light = luma(image[None])[0, 0]
    return torch.stack([image[0] - light, image[2] - light])[:, mask > 0.9]


def test_every_way_in_keeps_gray_and_sepia(gray, small_model):
    """A random network paints wild colors; none of them comes through, on any way."""
    frames = torch.stack([gray, sepia_of(gray)])
    for batch in (frames, frames.flip(0)):
        result = Run(Tools(small_model))
        restored = result.restored(Surface(batch))
        for image, mask, before in zip(restored.images, restored.mask, batch, strict=True):
            assert mask.max() > 0.9
            if torch.equal(before, gray):
                assert torch.equal(image[0], image[1]) and torch.equal(image[1], image[2])
            else:
                replaced = mask[0] > 0.9
                tone = tone_of(before)
                expected = tone.apply(image[None])[0][:, replaced]
                assert (image[:, replaced] - expected).abs().mean() < 0.01
    # As ready crops, and step by step.
    run = Run(Tools(small_model), Options(keep_crops=True))
    faces = run.restored(Surface(gray[None])).faces
    crops = (faces.crops + 1) / 2
    ready = run.crops(crops, check=False).images
    assert torch.equal(ready[:, 0], ready[:, 1]) and torch.equal(ready[:, 1], ready[:, 2])
    assert torch.equal(to_network(ready), faces.restored)


def test_a_colored_frame_beside_a_gray_one_keeps_its_colors(gray, portrait, small_model):
    color = tensor_of(portrait)
    together = Run(Tools(small_model)).restored(Surface(torch.stack([gray, color]))).images[1]
    alone = Run(Tools(small_model)).restored(Surface(color[None])).images[0]
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    assert not torch.equal(alone[0], alone[1])


def test_each_of_several_ready_crops_keeps_its_own_tone(gray, small_model):
    small = torch.nn.functional.interpolate(gray[None], (64, 64), mode="area")
    crops = torch.cat([small, torch.rand(1, 3, 64, 64), small])
    for order in ([0, 1, 2], [1, 0, 2]):
        ready = Run(Tools(small_model)).crops(crops[order], check=False).images
        is_gray = [torch.equal(one[0], one[1]) and torch.equal(one[1], one[2]) for one in ready]
        assert is_gray == [index != 1 for index in order]


def test_the_shared_examples(shared, small_model):
    for name, is_gray in (("almostgrey_weber.png", True), ("sepia.jpg", False)):
        picture = np.asarray(Image.open(shared / "cases" / "pictures" / name).convert("RGB"))
        tone = tone_of(tensor_of(picture))
        assert tone is not None and tone.is_gray is is_gray, name
        result = gpen_core.restore_image(picture, small_model)
        replaced = result.mask.numpy() > 0.99
        if is_gray:
            pixels = result.image[replaced].astype(int)
            assert replaced.any() and np.ptp(pixels, axis=1).max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (3, 2000), (17, 300_000)])
def test_pictures_of_any_shape_have_an_answer(size):
    gray = torch.rand(1, *size).expand(3, -1, -1)
    assert tone_of(gray).is_gray
    nearly = (gray + torch.rand(3, *size) / 255).clamp(0, 1)
    assert tone_of(nearly).is_gray


# --- the rule, in numbers ------------------------------------------------------------------------


def flat(*color: float) -> torch.Tensor:
    """(1, 3, 1, 1)."""
    return torch.tensor(color).view(1, 3, 1, 1)


def test_luma_is_that_of_jpeg():
    for color, expected in (((1, 0, 0), 0.299), ((0, 1, 0), 0.587), ((0, 0, 1), 0.114)):
        assert float(luma(flat(*map(float, color)))) == pytest.approx(expected)
    assert luma(torch.rand(2, 3, 4, 5)).shape == (2, 1, 4, 5)


def test_a_tone_gives_each_brightness_its_color():
    """The curve stands at 1/64, 3/64, ...; between them it is linear, beyond them even."""
    red = torch.linspace(-0.05, 0.1, 32)
    tone = Tone(torch.stack([red, -0.5 * red]))
    assert not tone.is_gray and Tone().is_gray
    step = float(red[1] - red[0])
    for light, expected in (
        (1 / 64, -0.05),
        (3 / 64, -0.05 + step),
        (2 / 64, -0.05 + step / 2),
        (31 / 64, -0.05 + 15 * step),
        (0.004, -0.05),
        (61 / 64, 0.1 - step),
        (63 / 64, 0.1),
    ):
        found = tone.apply(flat(light, light, light))
        assert float(found[0, 0]) == pytest.approx(min(max(light + expected, 0), 1), abs=1e-5)
        assert float(found[0, 2]) == pytest.approx(min(light - 0.5 * expected, 1), abs=1e-5)
    lights = torch.rand(2, 1, 6, 7) * 0.6 + 0.2
    found = tone.apply(lights.expand(2, 3, 6, 7))
    torch.testing.assert_close(luma(found), lights, rtol=0, atol=1e-6)
    gray = Tone().apply(found)
    assert torch.equal(gray, luma(found).expand(2, 3, 6, 7))
    assert tone.apply(found.double()).dtype == torch.float64


def picture(amount: float, share: float = 1.0) -> torch.Tensor:
    """(3, 64, 64) grays of every brightness, a share of them off gray by an amount of 8-bit levels:
    to red or to blue and back in turns, so that their mean is gray."""
    light = torch.linspace(0.1, 0.9, 4096).view(64, 64)
    sign = torch.ones(4096)
    sign[::2] = -1
    colored = torch.zeros(4096)
    places = torch.linspace(0, 4095, round(4096 * share)).long() if share < 1 else slice(None)
    colored[places] = 1
    if share < 1:
        sign = torch.ones(4096)
        sign[places[::2]] = -1
    off = (amount / 255 * sign * colored).view(64, 64)
    red, blue = light + off, light + 0.4 * off
    green = light - (0.299 * off + 0.114 * 0.4 * off) / 0.587
    return torch.stack([red, green, blue])


@pytest.mark.parametrize(
    ("amount", "share", "expected"),
    [
        (1.8, 1.0, "gray"),
        (2.2, 1.0, "toned"),
        (3.0, 0.5, "toned"),
        (3.3, 1.0, "toned"),
        (3.8, 1.0, None),
        (3.8, 0.95, None),
        (6.0, 0.09, "toned"),
        (6.0, 0.12, None),
        (9.0, 0.05, None),
        (90.0, 0.008, "gray"),
        (90.0, 0.013, None),
        (7.0, 0.05, "toned"),
    ],
)
def test_how_far_from_its_tone_how_much_of_a_picture_may_be(amount, share, expected):
    """90 % within 3.5 levels, 99 % within 8; gray is 99 % within 2."""
    tone = tone_of(picture(amount, share))
    assert {None: None, True: "gray", False: "toned"}[tone and tone.is_gray] == expected


def test_three_equal_channels_are_gray_and_two_are_not():
    gray = torch.rand(1, 40, 40).expand(3, -1, -1)
    assert tone_of(gray).curve is None
    for channel in range(3):
        one = gray.clone()
        one[channel] = torch.rand(40, 40)
        assert tone_of(one) is None
    tones = tones_of(torch.stack([gray, torch.rand(3, 40, 40), gray]))
    assert [tone and tone.is_gray for tone in tones] == [True, None, True]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((64, 512), (64, 512)),
        ((64, 513), (16, 128)),
        ((65, 65), (16, 16)),
        ((512, 64), (512, 64)),
        ((100, 2048), (25, 512)),
        ((100, 2049), (20, 409)),
        ((2, 3000), (1, 500)),
        ((3000, 1), (500, 1)),
    ],
)
def test_large_pictures_are_looked_at_in_blocks(size, expected):
    image = torch.rand(3, *size, dtype=torch.float64)
    found = _blocks(image)
    assert (found.dtype, tuple(found.shape)) == (torch.float32, (3, *expected))
    tall, wide = size[0] // expected[0], size[1] // expected[1]
    part = image[:, :tall, :wide] if expected != size else image[:, :1, :1]
    torch.testing.assert_close(found[:, 0, 0], part.mean((1, 2)).float(), rtol=0, atol=1e-6)


def test_brightnesses_that_do_not_occur_take_the_nearest_ones_color():
    light = torch.tensor([0.01, 0.02, 0.35, 0.351, 1.0])
    chroma = torch.tensor([[0.2, 0.4, -0.1, -0.3, 0.5], [0.0, 0.2, 0.1, 0.1, -1.0]])
    curve = _curve(light, chroma)
    assert curve.shape == (2, 32)
    bins = [0] * 6 + [11] * 15 + [31] * 11  # 0, 11 and 31 are filled; 5 and 21 lie nearer below
    means = {0: (0.3, 0.1), 11: (-0.2, 0.1), 31: (0.5, -1.0)}
    for row in (0, 1):
        expected = [means[place][row] for place in bins]
        expected[21] = means[11][row]
        assert curve[row, :21].tolist() == pytest.approx(expected[:21])
        assert curve[row, 22:].tolist() == pytest.approx(expected[22:])
