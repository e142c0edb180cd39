"""What each task gives a network and makes of its answer; the official way of doing it beside."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gpen_core.errors import InputError
from gpen_core.faces.aligned import as_faces
from gpen_core.faces.restore import restore
from gpen_core.images.monochrome import luma, with_light
from gpen_core.networks.gpen import GPEN, GPENConfig
from gpen_core.options import PARSING_CLASSES, TASKS, RestoreOptions
from gpen_core.tasks.known import task_named
from gpen_core.tasks.paint import PALETTE, cleaned

SIZE = 64


@pytest.fixture
def network(small_state):
    """The plain network, which the official one equals (see tests/networks)."""
    network = GPEN(GPENConfig.create(SIZE, narrow=0.0625)).eval()
    network.load_state_dict(small_state)
    return network


def crops(count: int = 2, size: int = SIZE) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    small = torch.rand(count, 3, 8, 8, generator=generator)
    large = torch.nn.functional.interpolate(small, (size, size), mode="bicubic")
    return large.clamp(0.02, 0.98)


def answer(network, values: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return network(values)


# --- the official way ----------------------------------------------------------------------------


def official_colorizing(network, gray: torch.Tensor) -> torch.Tensor:
    """-1..1 in and out, then Y of the input in place of the answer's (YUV of BT.601)."""
    colored = (answer(network, gray * 2 - 1) * 0.5 + 0.5).clamp(0, 1)
    red, green, blue = colored.unbind(1)
    light = 0.299 * red + 0.587 * green + 0.114 * blue
    u, v = 0.492 * (blue - light), 0.877 * (red - light)
    light = 0.299 * gray[:, 0] + 0.587 * gray[:, 1] + 0.114 * gray[:, 2]
    red, blue = light + v / 0.877, light + u / 0.492
    green = (light - 0.299 * red - 0.114 * blue) / 0.587
    return torch.stack([red, green, blue], dim=1)


def official_inpainting(network, picture: torch.Tensor, hole: torch.Tensor) -> torch.Tensor:
    """The hole painted white, -1..1 in and out; the official result before known pixels return."""
    broken = torch.where(hole > 0, torch.ones_like(picture), picture)
    return (answer(network, broken * 2 - 1) * 0.5 + 0.5).clamp(0, 1)


def official_painting(network, maps: torch.Tensor) -> torch.Tensor:
    """Without normalization: 0..1 in and out."""
    return answer(network, maps).clamp(0, 1)


def made(small_model, task: str, images: torch.Tensor, **changes) -> torch.Tensor:
    """Ready crops 0..1 through this project's steps, 0..1."""
    faces = as_faces(images, "gpen").with_(**changes)
    return restore(faces, small_model.as_task(task)).restored * 0.5 + 0.5


def test_colorizing_is_the_official_one(small_model, network):
    gray = luma(crops()).expand(-1, 3, -1, -1).contiguous()
    expected = official_colorizing(network, gray)
    inside = ((expected >= 0) & (expected <= 1)).all(dim=1, keepdim=True).expand_as(expected)
    assert inside.float().mean() > 0.3
    ours = made(small_model, "colorize", gray)
    assert (ours - expected)[inside].abs().max() < 1e-4


def test_inpainting_is_the_official_one_in_the_hole_and_the_picture_beside(small_model, network):
    picture, hole = crops(), torch.zeros(2, 1, SIZE, SIZE)
    hole[0, :, 10:30, 20:50], hole[1, :, 40:, :20] = 1, 1
    expected = official_inpainting(network, picture, hole)
    faces = as_faces(picture, "gpen").with_(holes=hole)
    filled = restore(faces, small_model.as_task("inpaint")).restored
    missing = hole.expand_as(picture) > 0
    assert (filled * 0.5 + 0.5 - expected)[missing].abs().max() < 1e-4
    assert torch.equal(filled[~missing], faces.crops[~missing]), "known pixels changed"


def test_painting_is_the_official_one(small_model, network):
    colors = torch.tensor(list(PALETTE.values())) / 255
    generator = torch.Generator().manual_seed(1)
    parts = torch.randint(len(colors), (2, 8, 8), generator=generator)
    maps = colors[parts].permute(0, 3, 1, 2).repeat_interleave(8, 2).repeat_interleave(8, 3)
    ours = made(small_model, "paint", maps.contiguous())
    assert (ours - official_painting(network, maps)).abs().max() < 1e-4


# --- light ---------------------------------------------------------------------------------------

SHARES = st.floats(0, 1, width=32)


@settings(max_examples=50, deadline=None)
@given(st.lists(SHARES, min_size=3, max_size=3), SHARES)
def test_any_color_under_any_light_has_that_light_and_stays_a_color(color, light):
    color = torch.tensor(color).view(1, 3, 1, 1)
    lit = with_light(color, torch.tensor(light).view(1, 1, 1, 1))
    assert abs(float(luma(lit)) - light) < 1e-5
    assert float(lit.min()) >= 0 and float(lit.max()) <= 1


def test_a_color_that_fits_keeps_its_chroma():
    color = torch.tensor([0.6, 0.4, 0.3]).view(1, 3, 1, 1)
    lit = with_light(color, luma(color) + 0.2)
    assert torch.allclose(lit, color + 0.2, atol=1e-6)


def test_colors_of_a_small_model_leave_every_detail_of_a_large_crop(small_model):
    gray = torch.rand(1, 1, 200, 200).expand(-1, 3, -1, -1)
    colored = made(small_model, "colorize", gray)
    assert colored.shape == gray.shape
    assert (luma(colored) - luma(gray)).abs().max() < 1e-5


def test_half_a_strength_is_half_the_color(small_model):
    gray = luma(crops(1)).expand(-1, 3, -1, -1)
    faces = as_faces(gray, "gpen")
    model = small_model.as_task("colorize")
    whole = restore(faces, model).restored
    half = restore(faces, model, RestoreOptions(strength=0.5)).restored
    assert torch.allclose(half, (whole + faces.crops) / 2, atol=1e-6)


# --- holes ---------------------------------------------------------------------------------------


def test_a_mask_that_is_missing_is_said():
    with pytest.raises(InputError, match="nothing to fill without a mask"):
        task_named("inpaint").prepare(torch.zeros(1, 3, 8, 8), None, 8)


def test_the_network_sees_white_wherever_a_hole_reaches():
    holes = torch.zeros(1, 1, 128, 128)
    holes[..., 64, 64] = 1
    seen = task_named("inpaint").prepare(torch.full((1, 3, 128, 128), -1.0), holes, SIZE)
    white = (seen == 1).all(dim=1)[0]
    assert white[32, 32] and 1 <= int(white.sum()) <= 16


# --- maps ----------------------------------------------------------------------------------------


def test_the_palette_has_every_part_once():
    assert tuple(PALETTE) == PARSING_CLASSES
    assert len(set(PALETTE.values())) == len(PALETTE)


def test_antialiased_edges_go_to_the_nearest_part_and_are_counted():
    colors = torch.tensor([PALETTE["skin"], PALETTE["hair"]]) / 255
    picture = torch.stack([colors[0], 0.9 * colors[0] + 0.1 * colors[1], colors[1]], dim=1)
    picture = picture[:, None, :].repeat_interleave(4, 1)
    result = cleaned(picture)
    assert result.changed == 4
    assert torch.equal(result.map[:, :, 1], result.map[:, :, 0])


def test_a_photograph_is_no_map():
    with pytest.raises(InputError, match=r"\d+% of the map's pixels have colors of no part"):
        cleaned(crops(1)[0])


def test_the_other_palettes_brow_is_a_brow():
    brow = torch.tensor([0xFF, 0xCC, 0xCC]).view(3, 1, 1).expand(3, 4, 4) / 255
    result = cleaned(brow)
    assert result.changed == 0
    assert (result.map[:, 0, 0] * 255).round().tolist() == list(PALETTE["right_brow"])


def test_a_map_of_numbers_is_no_map_of_colors():
    numbers = torch.arange(19).float().view(1, 1, 19).expand(3, 8, 19) / 255
    with pytest.raises(InputError, match="it may hold the numbers of the parts"):
        cleaned(numbers)


def test_a_map_is_enlarged_without_new_colors():
    maps = torch.tensor([PALETTE["skin"], PALETTE["hair"]]).T.reshape(1, 3, 1, 2) / 255
    maps = maps.repeat_interleave(2, 2)[..., :2]
    grown = task_named("paint").prepare(maps * 2 - 1, None, 32)
    assert len(grown.flatten(2)[0].T.unique(dim=0)) == 2


def test_every_task_has_a_name_and_no_other_name_is_taken():
    assert [task_named(name).name for name in TASKS] == list(TASKS)
    with pytest.raises(InputError, match="task must be one of"):
        task_named("upscale")
