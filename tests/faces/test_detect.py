"""Detection: counts on photographs, options, errors, and RetinaFace against its own formulas."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from gpen_core.errors import (
    CheckpointError,
    InputError,
    MissingDependencyError,
    MissingWeightsError,
)
from gpen_core.faces import mtcnn, retinaface
from gpen_core.faces.boxes import overlaps, short_sides, square_boxes, suppress
from gpen_core.faces.detect import detect
from gpen_core.faces.detector import load_detector
from gpen_core.faces.draw import draw_faces
from gpen_core.faces.found import Faces
from gpen_core.faces.sanity import plausible
from gpen_core.faces.search import reduction
from gpen_core.faces.tile import tiles
from gpen_core.faces.turn import Turn
from gpen_core.hooks import Hooks
from gpen_core.options import DetectOptions
from gpen_core.weights import catalogue
from gpen_core.weights.locate import FOLDER_VARIABLE
from gpen_core.weights.verify import PINS, check

SAMPLES = Path(__file__).resolve().parents[2] / "docs" / "samples"

# Left eye, right eye, nose, mouth corners of a face in the unit box.
FRONTAL = torch.tensor([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])


def read(path: Path) -> torch.Tensor:
    """(1, 3, H, W) 0..1."""
    pixels = np.array(Image.open(path).convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


@pytest.fixture(scope="module")
def detector():
    return load_detector("mtcnn")


@pytest.fixture(scope="module")
def face_image(portrait) -> torch.Tensor:
    return torch.from_numpy(portrait.copy()).permute(2, 0, 1)[None].float() / 255


@pytest.fixture(scope="module")
def one_face(detector, face_image) -> Faces:
    return detect(face_image, detector)


# --- photographs -------------------------------------------------------------------------------

COUNTS = {
    "solvay_1927.png": (29, 29),
    "18f_pif-group.jpg": (65, 68),
    "18f_Estonia2.jpg": (10, 10),
    "astronaut_skimage.png": (1, 1),
    "Harding_004056_c40.jpg": (1, 1),
    "DeBolt_002456_c44.jpg": (1, 1),
    "Hinshaw_004449_c61.jpg": (1, 1),
    "Reed_007784_c63.jpg": (1, 1),
    "bioguide_Smith_041706_c119.jpg": (1, 1),
    "bioguide_Wheeler_009996_c83.jpg": (1, 1),
    "obama-240p.jpg": (1, 1),
}


@pytest.mark.parametrize("name", COUNTS)
def test_counts_on_photographs(name, shared, detector):
    faces = detect(read(shared / "photos" / name), detector)
    least, most = COUNTS[name]
    assert least <= len(faces) <= most


def test_count_on_the_sample_that_ships(detector):
    assert len(detect(read(SAMPLES / "solvay-1927.jpg"), detector)) == 29


def face_free(kind: str) -> torch.Tensor:
    """(1, 3, 384, 512) 0..1 without a face."""
    random = np.random.RandomState(3)
    y, x = np.mgrid[0:384, 0:512].astype(np.float32)
    pictures = {
        "noise": random.rand(384, 512, 3),
        "coarse noise": np.kron(random.rand(24, 32, 3), np.ones((16, 16, 1))),
        "gradient": np.stack([x / 511, y / 383, (x + y) / 894], -1),
        "checkers": ((x // 24 + y // 24) % 2)[..., None].repeat(3, -1),
        "stripes": (0.5 + 0.5 * np.sin(x / 7 + y / 19))[..., None].repeat(3, -1),
        "rings": (0.5 + 0.5 * np.sin(np.hypot(x - 256, y - 192) / 9))[..., None].repeat(3, -1),
        "black": np.zeros((384, 512, 3)),
        "white": np.ones((384, 512, 3)),
    }
    return torch.from_numpy(np.float32(pictures[kind])).permute(2, 0, 1)[None]


KINDS = ["noise", "coarse noise", "gradient", "checkers", "stripes", "rings", "black", "white"]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_found_without_faces(kind, detector):
    assert len(detect(face_free(kind), detector, DetectOptions(rotations=kind == "noise"))) == 0


@pytest.mark.parametrize(
    ("name", "box"),
    [
        ("solvay_1927.png", (0, 280, 1328, 568)),
        ("18f_pif-group.jpg", (0, 420, 760, 575)),
        ("18f_pif-group.jpg", (0, 0, 230, 575)),
        ("DeBolt_002456_c44.jpg", (0, 280, 480, 600)),
        ("astronaut_skimage.png", (0, 220, 512, 512)),
        ("Reed_007784_c63.jpg", (0, 250, 491, 600)),
    ],
)
def test_nothing_is_found_in_parts_without_faces(name, box, shared, detector):
    left, top, right, bottom = box
    image = read(shared / "photos" / name)[:, :, top:bottom, left:right]
    if name == "18f_pif-group.jpg" and left == 0 and top == 0:
        image = image[:, :, :, :100]  # the column beside the people
    assert len(detect(image, detector)) == 0


# --- the result --------------------------------------------------------------------------------


def test_shapes_and_places(one_face, face_image):
    assert len(one_face) == 1
    assert one_face.boxes.shape == (1, 4)
    assert one_face.landmarks.shape == (1, 5, 2)
    assert one_face.image_sizes == (tuple(face_image.shape[-2:]),)
    assert one_face.source.dtype == torch.int64
    assert bool(plausible(one_face.boxes, one_face.landmarks).all())


def test_batch_keeps_images_apart(detector, face_image):
    batch = torch.cat([torch.zeros_like(face_image), face_image, face_image])
    done = []

    class Telling(Hooks):
        def progress(self, stage, done_, total):
            done.append((stage, done_, total))

    faces = detect(batch, detector, hooks=Telling())
    assert faces.source.tolist() == [1, 2]
    assert len(faces.image_sizes) == 3
    assert {stage for stage, _, _ in done} == {"detect"}
    assert [n for _, n, _ in done] == sorted(n for _, n, _ in done)
    assert {(100, 300), (200, 300), (300, 300)} <= {(n, total) for _, n, total in done}
    assert len(done) > 3 * 5, "a detector tells several times a picture"
    assert torch.equal(faces.boxes[0], faces.boxes[1])


def test_mirrored_picture_gives_mirrored_landmarks(detector, face_image, one_face):
    mirrored = detect(face_image.flip(-1), detector).landmarks[0][[1, 0, 2, 4, 3]]
    mirrored[:, 0] = face_image.shape[-1] - 1 - mirrored[:, 0]
    eyes = float((one_face.landmarks[0, 1] - one_face.landmarks[0, 0]).norm())
    assert float((mirrored - one_face.landmarks[0]).norm(dim=1).mean()) < 0.04 * eyes


@pytest.mark.parametrize("scale", [0.5, 3])
def test_scaled_picture_gives_scaled_landmarks(scale, detector, face_image, one_face):
    """Three times 512 px is above the long-side cap, so that its way back is tried too."""
    scaled = nn.functional.interpolate(
        face_image, scale_factor=scale, mode="bilinear", antialias=True
    )
    faces = detect(scaled, detector)
    back = (faces.landmarks[0] + 0.5) / scale - 0.5
    eyes = float((one_face.landmarks[0, 1] - one_face.landmarks[0, 0]).norm())
    assert float((back - one_face.landmarks[0]).norm(dim=1).mean()) < 0.05 * eyes


class Spots:
    """Finds the centers of seven bright spots exactly: five landmarks and two corners of a box."""

    name, device, network = "spots", torch.device("cpu"), None

    def __init__(self, places: torch.Tensor, size: tuple[int, int]) -> None:
        self.shares = (places + 0.5) / torch.tensor([size[1], size[0]])

    def __call__(self, image, min_size, confidence, progress):
        height, width = image.shape[-2:]
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        found = []
        for share_x, share_y in self.shares.tolist():
            near = ((x + 0.5 - share_x * width).abs() < 0.07 * width) & (
                (y + 0.5 - share_y * height).abs() < 0.07 * height
            )
            light = image[0] * near
            found.append(torch.stack([(light * x).sum(), (light * y).sum()]) / light.sum())
        points = torch.stack(found)
        return points[5:].reshape(1, 4), torch.ones(1), points[None, :5]


@pytest.mark.parametrize(("size", "long_side"), [((640, 800), 400), ((800, 640), 100)])
def test_places_in_a_reduced_picture_are_those_in_the_picture(size, long_side):
    """To a quarter of a pixel; without the half pixel they would lie 0.5 and 3.5 px off."""
    places = torch.tensor([[250.0, 300], [410, 310], [330, 400], [270, 480], [400, 490]])
    places = torch.cat([places, torch.tensor([[170.0, 190], [490, 590]])])
    y, x = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    spots = [torch.exp(-((x - px) ** 2 + (y - py) ** 2) / 200) for px, py in places.tolist()]
    image = torch.stack(spots).amax(0).expand(1, 3, *size)
    faces = detect(image, Spots(places, size), DetectOptions(long_side=long_side))
    torch.testing.assert_close(faces.landmarks[0], places[:5], rtol=0, atol=0.25)
    torch.testing.assert_close(faces.boxes[0].view(2, 2), places[5:], rtol=0, atol=0.25)


@pytest.mark.parametrize("angle", [45, 90, 180, 225, 270])
def test_turned_faces_are_found_on_request(angle, detector, face_image, one_face):
    turn = Turn(angle, tuple(face_image.shape[-2:]))
    faces = detect(turn.apply(face_image[0])[None], detector, DetectOptions(rotations=True))
    assert len(faces) == 1
    back = turn.points_back(faces.landmarks)
    if angle % 90 == 0:  # the very pixels of the upright picture
        assert torch.allclose(back, one_face.landmarks, atol=1e-2)
        assert torch.allclose(turn.boxes_back(faces.boxes), one_face.boxes, atol=1e-2)
    eyes = float((one_face.landmarks[0, 1] - one_face.landmarks[0, 0]).norm())
    assert float((back - one_face.landmarks).norm(dim=-1).mean()) < 0.05 * eyes
    side, upright = (float(short_sides(one.boxes)) for one in (faces, one_face))
    assert 0.85 < side / upright < 1.15, "a face has one size in every turn"


@settings(max_examples=40, deadline=None)
@given(
    st.integers(-400, 400),
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
)
def test_points_of_a_turned_picture_go_back_to_where_they_were(angle, size):
    """Of a picture whose values are its coordinates, a turned pixel says where it came from."""
    height, width = size
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    picture = torch.stack([x, y, torch.ones(size)]).float()
    turn = Turn(angle, size)
    turned = turn.apply(picture)
    assert turned.shape[1:] == turn.turned_size
    inside = turned[2] > 1 - 1e-4  # elsewhere gray is mixed in
    rows, columns = torch.nonzero(inside).unbind(1)
    back = turn.points_back(torch.stack([columns, rows], -1).float())
    assert torch.allclose(back.T, turned[:2, rows, columns], atol=1e-2)
    corners = torch.tensor([[-0.5, -0.5], [width - 0.5, height - 0.5]])
    low, high = back.amin(0) if len(back) else corners[0], back.amax(0) if len(back) else corners[1]
    assert bool((low >= corners[0]).all()) and bool((high <= corners[1]).all())


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 360), st.floats(-50, 90), st.floats(-50, 90), st.floats(1, 60))
def test_a_box_keeps_its_center_and_size_in_every_turn(angle, x, y, side):
    turn = Turn(angle, (70, 90))
    box = torch.tensor([[x, y, x + side, y + side]])
    [back] = turn.boxes_back(box)
    assert torch.allclose(back[2:] - back[:2], torch.tensor([side, side]), atol=1e-3)
    center = turn.points_back((box[:, :2] + box[:, 2:]) / 2)[0]
    assert torch.allclose((back[:2] + back[2:]) / 2, center, atol=1e-3)


def tilts(faces: Faces) -> list[float]:
    """By how many degrees each face is turned clockwise, 0 to 360."""
    mouth, eyes = faces.landmarks[:, 3:].mean(1), faces.landmarks[:, :2].mean(1)
    down = mouth - eyes
    return [math.degrees(math.atan2(-float(x), float(y))) % 360 for x, y in down]


def test_the_better_turn_wins(shared, detector):
    """Upright, a piece of this turned portrait passes for a face; turned, the man does."""
    image = read(shared / "cases" / "pictures" / "astro120.jpg")
    [wrong] = tilts(detect(image, detector))
    faces = detect(image, detector, DetectOptions(rotations=True))
    [right] = tilts(faces)
    assert abs(wrong - 240) > 60 and abs(right - 240) < 20
    assert float(faces.scores[0]) > 0.99


def test_every_turn_of_a_picture_with_several(shared, detector):
    image = read(shared / "cases" / "pictures" / "mixed_updown.jpg")
    found = sorted(tilts(detect(image, detector, DetectOptions(rotations=True))), key=math.cos)
    assert [round(math.cos(math.radians(tilt))) for tilt in sorted(found)] in ([1, -1], [-1, 1])


# --- tiles ---------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 900), st.integers(1, 900)), st.integers(90, 400), st.integers(0, 199)
)
def test_tiles_cover_a_picture_and_their_cores_do_so_once(size, side, overlap):
    overlap = min(overlap, side // 2)
    height, width = size
    points = torch.cartesian_prod(torch.arange(width), torch.arange(height)).float()[::97]
    owners = torch.zeros(len(points), dtype=torch.int64)
    for tile in tiles(size, side, overlap):
        x0, y0, x1, y1 = tile.box
        assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height and max(tile.size) <= side
        owned = tile.owns(points)
        owners += owned
        # Around what a tile owns it sees half of the overlap, or the picture ends there.
        for own, start, stop, end in (
            (points[owned][:, 0], x0, x1, width),
            (points[owned][:, 1], y0, y1, height),
        ):
            assert start == 0 or bool((own - start >= overlap / 2 - 1).all())
            assert stop == end or bool((stop - 1 - own >= overlap / 2 - 1).all())
    assert bool((owners == 1).all())


@pytest.mark.parametrize("place", [300, 1100, 1190, 1280, 1650])
def test_a_face_is_found_once_wherever_the_tiles_meet(place, detector, face_image, one_face):
    """At 1:1 the picture is searched in tiles; the face is as one would find it alone."""
    image = torch.full((1, 3, 560, 2400), 0.5)
    image[..., 24:536, place : place + 512] = face_image
    faces = detect(image, detector, DetectOptions(long_side=2400))
    assert len(faces) == 1
    expected = one_face.landmarks + torch.tensor([place, 24.0])
    eyes = float((expected[0, 1] - expected[0, 0]).norm())
    assert float((faces.landmarks - expected).norm(dim=-1).mean()) < 0.04 * eyes


def test_a_panorama_is_not_reduced_to_a_strip(detector, face_image):
    """A face of some 90 px in 6000 x 1000 px is lost at 1280 px."""
    small = nn.functional.interpolate(face_image, (420, 420), mode="bilinear", antialias=True)
    image = nn.functional.pad(small, (4000, 6000 - 4420, 300, 280), value=0.5)
    assert len(detect(image, detector, DetectOptions(long_side=1280))) == 0
    assert len(detect(image, detector)) == 1
    assert reduction((1000, 1500), DetectOptions()) == 1500 / 1280
    assert reduction((30, 90), DetectOptions()) == 1
    assert reduction((1000, 6000), DetectOptions(long_side=3000)) == 2


def test_it_is_said_when_faces_are_too_small_to_be_looked_for(detector):
    class Listening(Hooks):
        def __init__(self):
            self.said, self.steps = [], []

        def event(self, sentence):
            self.said.append(sentence)

        def progress(self, stage, done, total):
            self.steps.append(done / total)

    for options, told in (
        (DetectOptions(long_side=1000), 1),
        (DetectOptions(long_side=4000), 0),
        (DetectOptions(long_side=1000, min_size=120), 0),
        (DetectOptions(), 0),
    ):
        hooks = Listening()
        detect(torch.zeros(1, 3, 100, 7000), detector, options, hooks)
        assert ["raise long_side" in text for text in hooks.said] == [True] * told
        assert hooks.steps == sorted(hooks.steps) and hooks.steps[-1] == 1
        assert options.long_side != 4000 or len(set(hooks.steps)) > 4, "every tile is a step"


def test_sizes_are_filtered(detector, face_image, one_face):
    side = float((one_face.boxes[0, 2:] - one_face.boxes[0, :2]).min())
    assert len(detect(face_image, detector, DetectOptions(min_size=1.3 * side))) == 0
    assert len(detect(face_image, detector, DetectOptions(max_size=0.7 * side))) == 0
    limits = DetectOptions(min_size=0.7 * side, max_size=1.3 * side)
    assert len(detect(face_image, detector, limits)) == 1


def test_what_does_not_count_is_kept_with_its_reason(detector, face_image, one_face):
    side = float((one_face.boxes[0, 2:] - one_face.boxes[0, :2]).min())

    def reasons(**values):
        faces = detect(face_image, detector, DetectOptions(**values))
        assert len(faces) == 0
        return [(one.source, one.reason) for one in faces.rejected]

    assert (0, "too small") in reasons(min_size=1.3 * side, max_size=1.5 * side)
    assert (0, "too large") in reasons(max_size=0.7 * side)
    assert (0, "low confidence") in reasons(confidence=1.0)
    box = detect(face_image, detector, DetectOptions(max_size=0.7 * side)).rejected[0].box
    assert torch.allclose(torch.tensor(box), one_face.boxes[0], atol=1e-3)


@pytest.mark.parametrize("height", [40, 41, 150])
def test_a_level_looked_at_in_bands_gives_what_it_gives_at_once(detector, monkeypatch, height):
    level = torch.rand(1, 3, height, 64) * 2 - 1
    whole = detector.network.pnet(level)
    monkeypatch.setattr(mtcnn, "_BAND_PIXELS", 64 * 9)
    told: list[int] = []
    bands = detector._look_in_bands(level, told.append)
    for ours, theirs in zip(bands, whole, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)
    assert len(told) > 3 and told[-1] == height


def test_a_faded_print_is_searched_with_contrast_and_kept_as_it_is(detector, face_image, one_face):
    faded = face_image * 0.12 + 0.55
    before = faded.clone()
    faces = detect(faded, detector)
    assert len(faces) == 1
    eyes = float((one_face.landmarks[0, 1] - one_face.landmarks[0, 0]).norm())
    assert float((faces.landmarks - one_face.landmarks).norm(dim=-1).mean()) < 0.05 * eyes
    assert torch.equal(faded, before)


def test_upright_and_upside_down_in_one_picture(detector, face_image):
    both = torch.cat([face_image, torch.rot90(face_image, 2, (-2, -1))], dim=-1)
    assert len(detect(both, detector)) == 1
    faces = detect(both, detector, DetectOptions(rotations=True))
    assert len(faces) == 2
    up = faces.landmarks[:, 3:, 1].mean(dim=1) > faces.landmarks[:, :2, 1].mean(dim=1)
    assert sorted(up.tolist()) == [False, True]


def test_face_cut_by_the_border(detector, face_image, one_face):
    middle = int(one_face.landmarks[0, 2, 0]) + 25
    faces = detect(face_image[..., :middle], detector, DetectOptions(confidence=0.5))
    assert bool((faces.boxes[:, 2] <= middle - 0.5).all())
    assert bool((faces.boxes[:, :2] >= -0.5).all())


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (11, 11), (12, 12), (16, 17), (20, 9000)])
def test_any_size_is_searched(size, detector):
    torch.manual_seed(0)
    options = DetectOptions(rotations=max(size) < 1000)  # a turned strip fills a large canvas
    faces = detect(torch.rand(1, 3, *size), detector, options)
    assert len(faces) == 0
    assert faces.image_sizes == (size,)


# --- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (torch.zeros(3, 8, 8), "shape"),
        (torch.zeros(1, 4, 8, 8), "shape"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "floating point"),
        (torch.zeros(1, 3, 0, 8), "is empty"),
        (torch.zeros(0, 3, 8, 8), "is empty"),
        (torch.full((1, 3, 8, 8), math.nan), "NaN"),
        (torch.full((1, 3, 8, 8), math.inf), "infinite"),
        (torch.full((1, 3, 8, 8), 255.0), "from 0 to 1"),
        (torch.full((1, 3, 8, 8), -1.0), "from 0 to 1"),
    ],
)
def test_bad_images_are_refused(image, text, detector):
    with pytest.raises(InputError, match=text):
        detect(image, detector)


def test_overshoot_is_clamped(detector, face_image):
    louder = detect((face_image * 1.2 - 0.1).clamp(-0.1, 1.1), detector)
    assert len(louder) == 1


@pytest.mark.parametrize(
    "values",
    [
        {"confidence": 1.5},
        {"confidence": math.nan},
        {"min_size": 0},
        {"max_size": -3},
        {"min_size": 50, "max_size": 20},
        {"long_side": 10},
        {"long_side": math.nan},
        {"confidence": "high"},
        {"confidence": None},
        {"min_size": "20"},
    ],
)
def test_bad_options_are_refused(values):
    with pytest.raises(InputError, match=next(iter(values))):
        DetectOptions(**values)


def test_without_a_cap_small_faces_of_a_large_picture_are_found(detector, face_image):
    """A face of about 25 px in a picture 2,400 px wide is lost at half the size."""
    small = nn.functional.interpolate(face_image, (112, 112), mode="bilinear", antialias=True)
    image = nn.functional.pad(small, (20, 2400 - 132, 20, 20), value=0.5)
    assert len(detect(image, detector, DetectOptions(long_side=640))) == 0
    assert len(detect(image, detector, DetectOptions(long_side=8192))) == 1


def test_unknown_detector():
    with pytest.raises(InputError, match="mtcnn"):
        load_detector("yolo")


# --- MTCNN's weights -----------------------------------------------------------------------------


def test_the_tensorflow_package_is_not_imported(detector):
    assert "mtcnn" not in sys.modules
    assert "tensorflow" not in sys.modules


def test_networks_are_reachable_and_frozen(detector):
    assert isinstance(detector.network, nn.Module)
    assert detector.device.type == "cpu"
    assert not any(p.requires_grad for p in detector.network.parameters())


def test_missing_package(monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", absent)
    with pytest.raises(MissingDependencyError, match=r'pip install "mtcnn==1.0.0"'):
        load_detector("mtcnn")


def test_changed_weights_are_never_unpickled(monkeypatch, tmp_path):
    path = tmp_path / "pnet.lz4"
    path.write_bytes(b"not the weights")
    monkeypatch.setattr(mtcnn, "_weights_path", lambda name: path)
    with pytest.raises(CheckpointError, match="SHA-256"):
        load_detector("mtcnn")


@pytest.mark.parametrize("side", [20.0, 24.0, 31.0, 48.0, 77.0, 150.0])
def test_crops_lie_where_their_boxes_do(side):
    """Of a picture whose values are its coordinates, crops at every scale are coordinates."""
    y, x = torch.meshgrid(torch.arange(200) + 0.5, torch.arange(300) + 0.5, indexing="ij")
    pixels = torch.stack([x, y, x + y])[None]
    corner = torch.tensor([33.3, 21.7])
    crop = mtcnn._Crops(pixels)(torch.cat([corner, corner + side])[None], 24)[0]
    steps = (torch.arange(24) + 0.5) * side / 24
    assert torch.allclose(crop[0], (corner[0] + steps).expand(24, 24), atol=0.05)
    assert torch.allclose(crop[1], (corner[1] + steps)[:, None].expand(24, 24), atol=0.05)


def test_crops_do_not_alias():
    """One-pixel stripes shrunk fourfold are gray, not other stripes."""
    stripes = (torch.arange(192) % 2).float().expand(1, 3, 192, 192).contiguous()
    crop = mtcnn._Crops(stripes)(torch.tensor([[40.0, 40, 136, 136]]), 24)
    assert float((crop - 0.5).abs().max()) < 0.05


# --- boxes and sanity ------------------------------------------------------------------------


def greedy(boxes: torch.Tensor, scores: torch.Tensor, limit: float) -> list[int]:
    """Suppression as it is usually written, one box after the other."""
    together = overlaps(boxes)
    kept: list[int] = []
    for i in scores.argsort(descending=True, stable=True).tolist():
        if all(float(together[i, j]) <= limit for j in kept):
            kept.append(i)
    return kept


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 60), st.integers(0, 10_000), st.floats(0.05, 0.95))
def test_suppression_is_the_greedy_one(count, seed, limit):
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, generator=generator) * 20
    boxes = torch.cat([corners, corners + torch.rand(count, 2, generator=generator) * 20], 1)
    scores = torch.rand(count, generator=generator)
    assert suppress(boxes, scores, limit).tolist() == greedy(boxes, scores, limit)


@pytest.mark.parametrize("turns", range(4))
def test_points_turn_with_the_image(turns):
    image = torch.arange(3 * 5.0).reshape(3, 5)
    turned = torch.rot90(image, turns, (0, 1))
    for y in range(turned.shape[0]):
        for x in range(turned.shape[1]):
            back = Turn(90 * turns, (3, 5)).points_back(torch.tensor([float(x), float(y)]))
            assert image[int(back[1]), int(back[0])] == turned[y, x]


def test_turned_boxes_stay_in_order():
    turned = Turn(90, (20, 10)).boxes_back(torch.tensor([[1.0, 2, 4, 8]]))
    assert bool((turned[:, 2:] > turned[:, :2]).all())


def test_squares_keep_the_center():
    assert square_boxes(torch.tensor([[0.0, 0, 10, 4]])).tolist() == [[0, -3, 10, 7]]


@settings(max_examples=60, deadline=None)
@given(
    st.floats(0, 2 * math.pi), st.floats(20, 500), st.floats(-1000, 1000), st.floats(-1000, 1000)
)
def test_a_face_is_plausible_in_any_turn_and_place(angle, size, x, y):
    cos, sin = math.cos(angle), math.sin(angle)
    points = (FRONTAL - 0.5) @ torch.tensor([[cos, sin], [-sin, cos]]) * size
    points += torch.tensor([x, y])
    box = torch.tensor([[x - size / 2, y - size / 2, x + size / 2, y + size / 2]])
    assert bool(plausible(box, points[None])[0])
    mirrored = points[[1, 0, 2, 4, 3]]
    assert not bool(plausible(box, mirrored[None])[0])


@pytest.mark.parametrize(
    "points",
    [
        [[0.3, 0.4], [0.3, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]],  # eyes in one place
        [[0.3, 0.8], [0.7, 0.8], [0.5, 0.6], [0.35, 0.4], [0.65, 0.4]],  # mouth above the eyes
        [[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.65, 0.8], [0.35, 0.8]],  # mouth crossed
        [[0.3, 0.4], [0.7, 0.4], [0.5, 0.1], [0.35, 0.8], [0.65, 0.8]],  # nose on the forehead
        [[0.3, 0.4], [1.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]],  # an eye outside
        [[0.5, 0.5], [0.5, 0.5], [0.5, 0.5], [0.5, 0.5], [0.5, 0.5]],
        [[math.nan, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]],
    ],
)
def test_what_is_no_face_is_not_plausible(points):
    box = torch.tensor([[0.0, 0, 100, 100]])
    assert not bool(plausible(box, torch.tensor(points)[None] * 100)[0])
    assert bool(plausible(box, FRONTAL[None] * 100)[0])


# --- RetinaFace ----------------------------------------------------------------------------------


SMALL_FILE = "detection_mobilenet0.25_Final.pth"


@pytest.fixture(scope="module")
def random_retinaface(tmp_path_factory, facexlib_networks):
    """A file of random weights of the small network, laid out as the published one: with
    `module.` prefixes; under a name of its own, of which no hash is known."""
    module = facexlib_networks("detection.retinaface")
    torch.manual_seed(0)
    network = module.RetinaFace(network_name="mobile0.25", device="cpu")
    # Random heads answer 0.5 everywhere; spread them, so that some anchors are faces.
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.startswith("ClassHead"):
                parameter.normal_(0, 1)
    path = tmp_path_factory.mktemp("retinaface") / "mine.pth"
    state = {f"module.{key}": value for key, value in network.state_dict().items()}
    torch.save(state, path)
    return path, network.eval()


def test_retinaface_decodes_as_facexlib_does(random_retinaface, monkeypatch):
    """Compared before suppression: random weights give many equal scores, in no firm order."""
    path, reference = random_retinaface
    monkeypatch.setattr(retinaface, "_OVERLAP", 1.0)
    detector = load_detector("retinaface-mobile0.25", weights_dir=path)
    image = torch.randint(0, 256, (3, 150, 203), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = reference.detect_faces(
            image.flip(0).permute(1, 2, 0).numpy(), conf_threshold=0.6, nms_threshold=1.0
        )
    boxes, scores, landmarks = detector(image / 255, 16.0, 0.6)
    assert len(boxes) == len(expected) > 0
    ours = torch.cat([boxes + 0.5, scores[:, None] * 100, landmarks.flatten(1) + 0.5], dim=1)
    theirs = torch.from_numpy(expected)
    theirs[:, 4] *= 100
    distances = torch.cdist(ours.double(), theirs.double())
    assert float(distances.amin(dim=0).max()) < 0.05
    assert float(distances.amin(dim=1).max()) < 0.05


def test_retinaface_serves_detect(random_retinaface):
    detector = load_detector("retinaface-mobile0.25", weights_dir=random_retinaface[0])
    assert detector.name == "retinaface-mobile0.25"
    faces = detect(torch.rand(2, 3, 90, 120), detector, DetectOptions(confidence=0.99))
    assert len(faces.image_sizes) == 2


@pytest.fixture(scope="module")
def published(shared, facexlib_networks):
    """The folder of facexlib's own file of the small network, and facexlib's network with it."""
    module = facexlib_networks("detection.retinaface")
    folder = shared / "facedetection"
    state = torch.load(folder / SMALL_FILE, map_location="cpu", weights_only=True)
    network = module.RetinaFace(network_name="mobile0.25", device="cpu")
    network.load_state_dict({key.removeprefix("module."): state[key] for key in state})
    return folder, network.eval()


@pytest.mark.parametrize(("name", "count"), [("solvay_1927.png", 29), ("18f_pif-group.jpg", 67)])
def test_the_published_retinaface_finds_what_facexlib_finds(name, count, published, shared):
    """facexlib counts pixels from their corners, this project from their centers."""
    folder, reference = published
    detector = load_detector("retinaface-mobile0.25", weights_dir=folder)
    image = read(shared / "photos" / name)
    pixels = (image[0] * 255).round().byte().flip(0).permute(1, 2, 0).numpy()
    with torch.no_grad():
        expected = torch.from_numpy(reference.detect_faces(pixels, conf_threshold=0.9))
    boxes, scores, landmarks = detector(image[0], 16.0, 0.9)
    assert len(boxes) == len(expected) == count
    torch.testing.assert_close(boxes + 0.5, expected[:, :4], rtol=0, atol=1e-3)
    torch.testing.assert_close(scores, expected[:, 4], rtol=0, atol=1e-5)
    torch.testing.assert_close(landmarks.flatten(1) + 0.5, expected[:, 5:], rtol=0, atol=1e-3)
    assert len(detect(image, detector)) == count


@pytest.mark.parametrize("angle", [30, 100, 225, 315])
def test_the_published_retinaface_in_every_turn(angle, published, face_image):
    detector = load_detector("retinaface-mobile0.25", weights_dir=published[0])
    upright = detect(face_image, detector).landmarks
    turn = Turn(angle, tuple(face_image.shape[-2:]))
    turned = turn.apply(face_image[0])[None]
    faces = detect(turned, detector, DetectOptions(rotations=True))
    assert len(faces) == 1
    eyes = float((upright[0, 1] - upright[0, 0]).norm())
    back = turn.points_back(faces.landmarks)
    assert float((back - upright).norm(dim=-1).mean()) < 0.1 * eyes


def test_the_published_retinaface_is_known_by_its_hash(shared, tmp_path):
    path = tmp_path / SMALL_FILE
    path.write_bytes((shared / "facedetection" / SMALL_FILE).read_bytes())
    entry = catalogue.show("RetinaFace-mobile0.25")
    known = check(entry, path)
    assert (known.state, entry.bytes) == ("ok", path.stat().st_size)
    assert not known.pin_unknown() and not (tmp_path / PINS).exists()


def test_missing_retinaface_says_file_folder_and_address(tmp_path):
    with pytest.raises(MissingWeightsError) as caught:
        load_detector("retinaface-resnet50", weights_dir=tmp_path)
    text = str(caught.value)
    assert "detection_Resnet50_Final.pth" in text
    assert str(tmp_path) in text
    assert "https://github.com/xinntao/facexlib/releases/download/v0.1.0/" in text


def test_default_folder_is_named_by_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(MissingWeightsError, match=tmp_path.name):
        load_detector("retinaface-mobile0.25")


def test_changed_resnet_weights_are_refused_before_reading(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "detection_Resnet50_Final.pth")
    with pytest.raises(CheckpointError, match="SHA-256"):
        load_detector("retinaface-resnet50", weights_dir=tmp_path)


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"PK\x03\x04 cut"])
def test_damaged_retinaface_files(content, tmp_path):
    (tmp_path / "mine.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"download (it again|the file itself) \(RetinaFace"):
        load_detector("retinaface-mobile0.25", weights_dir=tmp_path / "mine.pth")
    (tmp_path / SMALL_FILE).write_bytes(content)
    with pytest.raises(CheckpointError, match="SHA-256"):
        load_detector("retinaface-mobile0.25", weights_dir=tmp_path)


def test_a_hash_nobody_published_is_pinned_on_first_use(random_retinaface, tmp_path, monkeypatch):
    content = json.loads(catalogue._CATALOGUE.read_text(encoding="utf-8"))
    for facts in content["files"]:
        if facts["name"] == "RetinaFace-mobile0.25":
            facts |= {"bytes": None, "sha256": None, "sha256_source": None}
    (tmp_path / "catalogue.json").write_text(json.dumps(content))
    monkeypatch.setattr(catalogue, "_CATALOGUE", tmp_path / "catalogue.json")

    name = SMALL_FILE
    content = random_retinaface[0].read_bytes()
    (tmp_path / name).write_bytes(b"damaged")  # what cannot be used is not pinned
    with pytest.raises(CheckpointError):
        load_detector("retinaface-mobile0.25", weights_dir=tmp_path)
    (tmp_path / name).write_bytes(content)
    load_detector("retinaface-mobile0.25", weights_dir=tmp_path)
    pins = json.loads((tmp_path / "gpen-pins.json").read_text())
    assert pins == {name: hashlib.sha256(content).hexdigest()}
    (tmp_path / name).write_bytes(content + b"changed")
    with pytest.raises(CheckpointError, match="pinned in gpen-pins"):
        load_detector("retinaface-mobile0.25", weights_dir=tmp_path)


def test_other_networks_weights(facexlib_networks, tmp_path):
    facexlib_networks("detection.retinaface")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="does not hold RetinaFace"):
        load_detector("retinaface-mobile0.25", weights_dir=tmp_path / "other.pth")


def test_missing_torchvision_is_said(monkeypatch, tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "mine.pth")
    monkeypatch.setitem(sys.modules, "facexlib.detection.retinaface", None)
    with pytest.raises(MissingDependencyError, match="pip install facexlib torchvision"):
        load_detector("retinaface-mobile0.25", weights_dir=tmp_path / "mine.pth")


# --- drawing -------------------------------------------------------------------------------------


def test_drawing_changes_the_places_of_the_faces(one_face, face_image):
    before = face_image[0].clone()
    drawn = draw_faces(face_image[0], one_face)
    assert torch.equal(face_image[0], before)
    assert drawn.shape == before.shape
    changed = ((drawn - before).abs() > 0.02).any(dim=0)
    x, y = one_face.landmarks[0].round().long().unbind(1)
    assert bool(changed[y, x].all())
    assert float(changed.float().mean()) < 0.2


@pytest.mark.parametrize("size", [(1, 1), (9, 300), (3000, 40)])
def test_drawing_at_odd_sizes(size):
    height, width = size
    faces = Faces(
        boxes=torch.tensor([[-5.0, -5, width + 5, height + 5], [0.2, 0.2, 0.4, 0.4]]),
        scores=torch.tensor([1.0, 0.5]),
        landmarks=torch.zeros(2, 5, 2),
        source=torch.zeros(2, dtype=torch.int64),
        image_sizes=(size,),
    )
    assert draw_faces(torch.zeros(3, height, width), faces).shape == (3, height, width)


def test_no_faces_draw_nothing():
    image = torch.rand(3, 20, 30)
    assert torch.allclose(draw_faces(image, Faces.empty([(20, 30)])), image, atol=0.5 / 255 + 1e-6)
