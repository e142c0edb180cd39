"""Alignment: the official matrices, exact recovery, antialiased crops, refusals."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gpen_core.errors import InputError
from gpen_core.faces.align import align, estimate_similarity
from gpen_core.faces.found import Faces
from gpen_core.faces.templates import template
from gpen_core.faces.warp import resize_matrix, shift_matrix, square, warp
from gpen_core.hooks import Hooks


def similarity(scale: float, angle: float, x: float, y: float) -> torch.Tensor:
    """(2, 3) float64."""
    a, b = scale * math.cos(angle), scale * math.sin(angle)
    return torch.tensor([[a, -b, x], [b, a, y]], dtype=torch.float64)


def faces_at(landmarks: torch.Tensor, source: list[int], size: tuple[int, int]) -> Faces:
    low, high = landmarks.amin(1), landmarks.amax(1)
    return Faces(
        boxes=torch.cat([low, high], 1).float(),
        scores=torch.ones(len(landmarks)),
        landmarks=landmarks.float(),
        source=torch.tensor(source),
        image_sizes=((size),) * (max(source, default=0) + 1),
    )


def invert(matrices: torch.Tensor) -> torch.Tensor:
    return torch.linalg.inv(square(matrices))[..., :2, :]


def map_points(matrix: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    return points.double() @ matrix[:, :2].T + matrix[:, 2]


def test_templates_are_those_of_the_notes() -> None:
    gpen = [[202.0407, 242.8840], [309.4302, 242.2900], [256.0768, 303.9592]]
    gpen += [[211.9598, 366.8282], [300.8911, 366.3363]]
    torch.testing.assert_close(
        template("gpen", 512), torch.tensor(gpen, dtype=torch.float64), rtol=0, atol=1e-4
    )
    torch.testing.assert_close(template("ffhq", 1024), 2 * template("ffhq", 512))
    with pytest.raises(InputError, match="no alignment template 'arcface'"):
        template("arcface", 512)


def test_matrices_match_the_official_code(shared) -> None:
    """The official code solves in float32, so its offsets of some thousand pixels carry its own
    rounding: they are compared in proportion, the rest to 1e-4."""
    cases = json.loads((Path(__file__).parents[1] / "golden" / "align.json").read_text())
    assert len(cases) == 12
    for case in cases:
        points = torch.tensor(case["template"], dtype=torch.float64)
        torch.testing.assert_close(template("gpen", case["size"]), points, rtol=0, atol=1e-9)
        matrix = estimate_similarity(torch.tensor([case["landmarks"]]), points)
        expected = torch.tensor([case["matrix"]], dtype=torch.float64)
        torch.testing.assert_close(
            matrix[..., :2], expected[..., :2], rtol=0, atol=2e-6, msg=str(case["size"])
        )
        torch.testing.assert_close(matrix, expected, rtol=5e-7, atol=1e-4, check_dtype=True)
        inverse = torch.tensor([case["inverse"]], dtype=torch.float64)
        torch.testing.assert_close(invert(matrix), inverse, rtol=0, atol=1e-4)


@given(
    scale=st.floats(0.02, 40),
    angle=st.floats(-math.pi, math.pi),
    x=st.floats(-5000, 5000),
    y=st.floats(-5000, 5000),
)
def test_a_similarity_is_recovered(scale, angle, x, y) -> None:
    expected = similarity(scale, angle, x, y)
    points = template("gpen", 512)
    landmarks = map_points(invert(expected[None])[0], points)
    found = estimate_similarity(landmarks[None], points)[0]
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-6)


def test_unusable_landmarks_are_refused_by_number() -> None:
    good = template("gpen", 100)
    for bad in (torch.full((5, 2), 7.0), good * float("nan"), good * float("inf")):
        with pytest.raises(InputError, match="face 1"):
            estimate_similarity(torch.stack([good, bad.double()]), good)
    square = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1], [0.5, 0.5]])
    mirrored = square * torch.tensor([-1.0, 1.0])
    with pytest.raises(InputError, match="do not resemble"):
        estimate_similarity(mirrored[None], square)


def ramp(height: int, width: int) -> torch.Tensor:
    """(1, 3, H, W): red rises with x, green with y."""
    x = torch.linspace(0, 1, width).expand(height, width)
    y = torch.linspace(0, 1, height)[:, None].expand(height, width)
    return torch.stack([x, y, torch.zeros_like(x)])[None]


@pytest.mark.parametrize("size", [64, 512])
def test_landmarks_land_on_the_template(size) -> None:
    """Each crop pixel shows the picture at the matching place: a ramp makes places readable."""
    images = ramp(300, 400)
    landmarks = map_points(similarity(0.3, 0.4, 100, 70), template("gpen", 512))[None]
    faces = align(images, faces_at(landmarks, [0], (300, 400)), size)
    for point, (x, y) in zip(template("gpen", size), landmarks[0].tolist(), strict=True):
        column, row = point.round().int().tolist()
        seen = (faces.crops[0, :2, row, column] + 1) / 2
        # Half a crop pixel of rounding, in image pixels.
        slack = 0.75 * 512 * 0.3 / size + 0.1
        assert abs(float(seen[0]) * 399 - x) < slack
        assert abs(float(seen[1]) * 299 - y) < slack


def test_shrinking_is_antialiased() -> None:
    """One-pixel stripes shrunk eight times are gray, not a moiré."""
    images = (torch.arange(800) % 2).float().expand(1, 3, 800, 800)
    landmarks = map_points(similarity(8, 0.1, 150, 100), template("gpen", 64))[None]
    crops = align(images, faces_at(landmarks, [0], (800, 800)), 64).crops
    assert float(crops.abs().max()) < 0.02


def test_only_the_face_region_is_read() -> None:
    images = torch.rand(1, 3, 400, 600)
    landmarks = map_points(similarity(0.2, 0.2, 100, 100), template("gpen", 512))[None]
    faces = faces_at(landmarks, [0], (400, 600))
    crops = align(images, faces, 128).crops
    images[..., 320:] = float("nan")
    assert torch.equal(align(images, faces, 128).crops, crops)


def test_a_batch_gives_what_single_images_give() -> None:
    images = torch.rand(2, 3, 90, 120)
    landmarks = torch.stack(
        [map_points(similarity(s, a, 20, 10), template("gpen", 64)) for s, a in ((1, 0), (0.5, 1))]
    )
    together = align(images, faces_at(landmarks, [1, 0], (90, 120)), 48)
    for face, image in ((0, 1), (1, 0)):
        alone = faces_at(landmarks[face : face + 1], [0], (90, 120))
        alone = align(images[image : image + 1], alone, 48)
        assert torch.equal(alone.crops[0], together.crops[face])
        assert torch.equal(alone.matrices[0], together.matrices[face])
    assert together.crops.abs().max() <= 1
    assert together.template == "gpen"


def test_no_faces_and_wrong_images() -> None:
    empty = align(torch.rand(1, 3, 20, 20), Faces.empty([(20, 20)]), 64)
    assert empty.crops.shape == (0, 3, 64, 64)
    assert empty.matrices.shape == (0, 2, 3)
    faces = faces_at(template("gpen", 16)[None], [3], (20, 20))
    with pytest.raises(InputError, match="image 3, which is not among the 1"):
        align(torch.rand(1, 3, 20, 20), faces, 64)


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    scale=st.floats(0.05, 20),
    angle=st.floats(-math.pi, math.pi),
    x=st.floats(-100, 100),
    y=st.floats(-100, 100),
    size=st.integers(1, 40),
    border=st.sampled_from(["reflect", "replicate"]),
)
def test_any_picture_any_place(height, width, scale, angle, x, y, size, border) -> None:
    """However small the picture and however far outside the place, the values stay the
    picture's (bicubic may overshoot a little)."""
    image = torch.rand(2, height, width)
    seen = warp(image, similarity(scale, angle, x, y), (size, size + 1), border)
    assert seen.shape == (2, size, size + 1)
    assert float(seen.min()) > -0.5 and float(seen.max()) < 1.5


def test_warp_keeps_pixel_centers() -> None:
    image = torch.rand(3, 40, 50)
    identity = resize_matrix(1.0, 1.0)
    torch.testing.assert_close(warp(image, identity, (40, 50)), image, rtol=0, atol=1e-4)
    moved = warp(image, shift_matrix(-7, -5), (20, 20))
    torch.testing.assert_close(moved, image[:, 5:25, 7:27], rtol=0, atol=1e-4)
    mirrored = warp(image, shift_matrix(3, 0), (40, 3))
    torch.testing.assert_close(mirrored, image[:, :, [3, 2, 1]], rtol=0, atol=1e-4)
    repeated = warp(image, shift_matrix(3, 0), (40, 3), "replicate")
    torch.testing.assert_close(repeated, image[:, :, [0, 0, 0]], rtol=0, atol=1e-4)


def test_outside_of_the_picture_lies_its_mirror_image() -> None:
    """A face at the edge: its crop is that of the picture padded by hand."""
    image = torch.rand(1, 3, 120, 100, generator=torch.Generator().manual_seed(0))
    landmarks = map_points(similarity(0.2, 0.3, -30, -20), template("gpen", 512))[None]
    found = align(image, faces_at(landmarks, [0], (120, 100)), 96)
    padded = torch.nn.functional.pad(image, (90, 90, 90, 90), mode="reflect")
    expected = align(padded, faces_at(landmarks + 90, [0], (300, 280)), 96)
    torch.testing.assert_close(found.crops, expected.crops, rtol=0, atol=1e-3)
    beside = torch.nn.functional.pad(image, (90, 90, 90, 90), mode="replicate")
    other = align(beside, faces_at(landmarks + 90, [0], (300, 280)), 96)
    assert float((found.crops - other.crops).abs().max()) > 0.1, "the face lies inside"


def test_a_picture_keeps_its_range() -> None:
    """0..1 becomes -1..1; what bicubic overshoots is clamped."""
    landmarks = template("gpen", 64)[None]
    image = torch.zeros(1, 3, 64, 64)
    image[..., 32:] = 1
    crops = align(image, faces_at(landmarks, [0], (64, 64)), 64).crops
    assert (float(crops.min()), float(crops.max())) == (-1.0, 1.0)
    torch.testing.assert_close(crops[0], image[0] * 2 - 1, rtol=0, atol=1e-3)


def test_types_of_the_result() -> None:
    """Matrices are solved in double precision whatever is given, and kept in single precision."""
    landmarks = map_points(similarity(0.3, 0.4, 1000, 700), template("gpen", 512))[None]
    exact = estimate_similarity(landmarks, template("gpen", 512))
    assert exact.dtype == torch.float64
    rounded = estimate_similarity(landmarks.float(), template("gpen", 512).float())
    assert rounded.dtype == torch.float64
    torch.testing.assert_close(rounded, exact, rtol=1e-5, atol=1e-2)
    for dtype in (torch.float32, torch.float64):
        images = torch.rand(1, 3, 40, 40, dtype=dtype)
        faces = align(images, faces_at(template("ffhq", 40)[None], [0], (40, 40)), 32, "ffhq")
        assert (faces.matrices.dtype, faces.crops.dtype) == (torch.float32, torch.float32)
        assert faces.template == "ffhq"


@pytest.mark.parametrize("source", [-1, 2, 5])
def test_a_face_of_an_image_that_is_not_there(source) -> None:
    faces = faces_at(template("gpen", 16).expand(2, 5, 2), [0, 1], (20, 20))
    faces = faces.with_(source=torch.tensor([0, source]))
    with pytest.raises(InputError, match="which is not among the 2 given"):
        align(torch.rand(2, 3, 20, 20), faces, 64)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_single_bad_coordinate_is_enough(bad) -> None:
    good = template("gpen", 100)
    landmarks = good.expand(3, 5, 2).clone()
    landmarks[2, 4, 1] = bad
    message = (
        "The landmarks of face 2 are not five distinct, finite points, so it cannot be aligned; "
        "leave it out or detect it again."
    )
    with pytest.raises(InputError) as caught:
        estimate_similarity(landmarks, good)
    assert str(caught.value) == message


def test_how_near_landmarks_may_lie() -> None:
    """A thousandth of a pixel, root mean square, and a ten-thousandth of the template's scale."""
    good = template("gpen", 100)
    spread = (good - good.mean(0)).square().sum(1).mean().sqrt()
    unit = (good - good.mean(0)) / spread
    assert estimate_similarity(unit[None] * 1.1e-3, good).shape == (1, 2, 3)
    with pytest.raises(InputError, match="five distinct"):
        estimate_similarity(unit[None] * 0.9e-3, good)
    assert estimate_similarity(unit[None] * spread * 0.9e4, good).shape == (1, 2, 3)
    with pytest.raises(InputError, match="do not resemble a face's"):
        estimate_similarity(unit[None] * spread * 1.1e4, good)


def test_every_face_is_told() -> None:
    class Told(Hooks):
        steps: ClassVar[list[tuple]] = []

        def progress(self, *step) -> None:
            self.steps.append(step)

    faces = faces_at(template("gpen", 20).expand(3, 5, 2), [0, 0, 0], (20, 20))
    align(torch.rand(1, 3, 20, 20), faces, 16, hooks=Told())
    assert Told.steps == [("align", 1, 3), ("align", 2, 3), ("align", 3, 3)]
