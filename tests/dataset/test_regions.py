"""Eyes and mouth: found where they are, however the crop was moved."""

from __future__ import annotations

import math

import pytest
import torch

from gpen_core.dataset.placement import Jitter, Placement
from gpen_core.dataset.regions import NAMES, box, centers, focus, region, squares
from gpen_core.errors import InputError
from gpen_core.faces.templates import template

MOVED = Placement(rotation=0.4, scale=1.3, shift=(0.05, -0.08))


def moved(points: torch.Tensor, size: int, placement: Placement) -> torch.Tensor:
    """Template points (K, 2) where a placement puts them, one by one."""
    middle = template("gpen", size).mean(dim=0)
    cos, sin = math.cos(placement.rotation), math.sin(placement.rotation)
    found = []
    for x, y in (points - middle).tolist():
        turned = (cos * x - sin * y, sin * x + cos * y)
        found.append([placement.scale * part for part in turned])
    return torch.tensor(found) + middle.float() + size * torch.tensor(placement.shift)


@pytest.mark.parametrize("placement", [Placement(), MOVED])
def test_the_parts_lie_where_the_template_has_them(placement):
    points = template("gpen", 256)
    wanted = {"eyes": points[:2], "mouth": points[3:].mean(dim=0, keepdim=True)}
    for name in NAMES:
        found = centers(name, 256, placement.row())[0]
        torch.testing.assert_close(
            found, moved(wanted[name], 256, placement), atol=1e-3, rtol=0, check_dtype=False
        )


def test_the_focus_is_highest_in_the_middle_of_a_region():
    for name in NAMES:
        found = region(name, 256, MOVED.row())[0, 0]
        for x, y in centers(name, 256, MOVED.row())[0].round().int().tolist():
            assert found[y, x] > 0.95
        assert found[:40].max() < 1e-3
    total = focus({"eyes": 3.0, "mouth": 1.0}, 256, Placement().row())
    assert total.min() == 1 and total.max() == pytest.approx(3, abs=0.02)


def spots(size: int, placement: Placement) -> torch.Tensor:
    """(1, 3, S, S), black with a bright spot in the middle of each part of both regions."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    total = torch.zeros(size, size)
    for name in NAMES:
        for center in centers(name, size, placement.row())[0]:
            total += torch.exp(-((x - center[0]) ** 2 + (y - center[1]) ** 2) / 8)
    return total.expand(1, 3, size, size)


@pytest.mark.parametrize("placement", [Placement(), MOVED])
@pytest.mark.parametrize("name", NAMES)
def test_a_square_has_its_part_in_the_middle(name, placement):
    cut = squares(name, spots(256, placement), placement.row())
    side = {"eyes": 64, "mouth": 80}[name]
    assert cut.shape == (1, {"eyes": 6, "mouth": 3}[name], side, side)
    rows = torch.arange(side).float() - (side - 1) / 2
    for channel in cut[0]:
        # The other spots may be inside too; the nearest is the one that counts.
        near = channel * torch.exp(-(rows[:, None] ** 2 + rows[None] ** 2) / 200)
        assert abs((near.sum(dim=0) * rows).sum() / near.sum()) < 0.5
        assert abs((near.sum(dim=1) * rows).sum() / near.sum()) < 0.5


def test_an_unmoved_square_is_those_pixels_and_the_other_eye_is_mirrored():
    face = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    left = centers("eyes", 256, Placement().row())[0, 0]
    whole = Placement(shift=tuple(((left.ceil() - 0.5 - left) / 256).tolist()))
    cut = squares("eyes", face, whole.row())
    x, y = (int(v) for v in centers("eyes", 256, whole.row())[0, 0].floor())
    torch.testing.assert_close(
        cut[0, :3], face[0, :, y - 31 : y + 33, x - 31 : x + 33], atol=1e-4, rtol=0
    )
    ramp = torch.arange(256.0).expand(1, 3, 256, 256)
    left_eye, right_eye = squares("eyes", ramp)[0].split(3)
    assert (left_eye.diff(dim=-1) > 0).all() and (right_eye.diff(dim=-1) < 0).all()


def test_squares_and_crops_follow_the_gradient():
    face = torch.rand(2, 3, 64, 64, requires_grad=True)
    places = torch.cat([Placement().row(), MOVED.row()])
    squares("mouth", face, places).sum().backward()
    assert (face.grad.abs().sum(dim=(1, 2, 3)) > 0).all()


def test_the_rectangle_holds_the_parts():
    for name in NAMES:
        left, top, right, bottom = box(name, 256)
        for x, y in centers(name, 256, Placement().row())[0].tolist():
            assert left < x < right and top < y < bottom
        assert right - left > 60 and bottom - top > 30


def test_an_impossible_jitter_is_named():
    with pytest.raises(InputError, match=r"within 0.25..4, not 1.2..0.9"):
        Jitter(scale=(1.2, 0.9))
