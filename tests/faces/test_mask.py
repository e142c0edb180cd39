"""Masks: soft, zero along the border, what they cover, and the face parser behind one of them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from gpen_core.errors import CheckpointError, InputError, MissingWeightsError
from gpen_core.faces.found import Faces
from gpen_core.faces.mask import crop_masks
from gpen_core.faces.parse import FaceParser, load_parser
from gpen_core.faces.templates import template
from gpen_core.options import PARSING_CLASSES as CLASSES
from gpen_core.options import MaskOptions, class_indices
from gpen_core.weights import catalogue

KINDS = ("rectangle", "ellipse", "hull", "parsing")


def aligned(count: int, size: int, restored: int | None = None, name: str = "gpen") -> Faces:
    """Faces whose image is their own crop."""
    landmarks = template(name, size).float().expand(count, 5, 2)
    return Faces(
        boxes=torch.tensor([[0.0, 0.0, size, size]]).expand(count, 4),
        scores=torch.ones(count),
        landmarks=landmarks,
        source=torch.zeros(count, dtype=torch.int64),
        image_sizes=((size, size),),
        template=name,
        matrices=torch.eye(3)[:2].expand(count, 2, 3),
        crops=torch.zeros(count, 3, size, size),
        restored=None if restored is None else torch.zeros(count, 3, restored, restored),
    )


class Painted(nn.Module):
    """Stands in for ParseNet: logits of a fixed 64x64 label map, after its (logits, image)."""

    def __init__(self) -> None:
        super().__init__()
        labels = torch.zeros(64, 64, dtype=torch.int64)
        labels[8:56, 12:52] = CLASSES.index("skin")
        labels[8:16, 12:52] = CLASSES.index("hat")
        labels[28:31, 22:28] = CLASSES.index("left_eye")
        labels[50:56, 12:52] = CLASSES.index("cloth")
        self.labels = labels

    def forward(self, faces):
        logits = nn.functional.one_hot(self.labels, len(CLASSES)).permute(2, 0, 1).float()
        return logits.expand(len(faces), -1, -1, -1), faces


def parser() -> FaceParser:
    return FaceParser(Painted(), size=64)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [32, 64, 256, 640])
@pytest.mark.parametrize("feather", [None, 0.0, 8.0, 128.0])
def test_masks_are_soft_and_end_inside_the_crop(kind, size, feather) -> None:
    options = MaskOptions(mask=kind, feather=feather)
    masks = crop_masks(aligned(2, size), options, parser())
    assert masks.shape == (2, 1, size, size)
    assert masks.dtype == torch.float32
    assert float(masks.min()) == 0.0 and float(masks.max()) <= 1.0
    for edge in (masks[..., 0, :], masks[..., -1, :], masks[..., 0], masks[..., -1]):
        assert not edge.any()
    middle = masks[..., size // 2 - 1 : size // 2 + 1, size // 2 - 1 : size // 2 + 1]
    assert float(middle.min()) > 0.6
    assert torch.equal(masks[0], masks[1])


def test_rectangle_is_the_official_one() -> None:
    """26 px zeroed, Gaussian sigma 4 twice: the same as one Gaussian of 4 * sqrt(2)."""
    mask = crop_masks(aligned(1, 512), MaskOptions(mask="rectangle"))[0, 0]
    profile = mask[256]
    x = torch.arange(512.0)
    expected = torch.special.ndtr((x - 25.5) / (4 * 2**0.5))
    torch.testing.assert_close(profile[:256], expected[:256], rtol=0, atol=2e-3)
    assert float(profile[40]) > 0.98
    assert float(profile[:2].max()) == 0.0
    torch.testing.assert_close(mask, mask.T, rtol=0, atol=1e-5)


def crossings(mask: torch.Tensor, level: float = 0.5) -> tuple[float, float]:
    """Where a row rises through a level and falls through it again, in pixels, linear between."""
    above = torch.nonzero(mask >= level).flatten()
    first, last = int(above[0]), int(above[-1])
    rise = first - (mask[first] - level) / (mask[first] - mask[first - 1])
    fall = last + (mask[last] - level) / (mask[last] - mask[last + 1])
    return float(rise), float(fall)


@pytest.mark.parametrize("border", [26.0, 60.0, 128.0])
@pytest.mark.parametrize("size", [512, 256])
def test_the_border_is_as_wide_as_asked_for(border, size) -> None:
    """A blurred step is at one half where the step was: at the border's inner edge."""
    mask = crop_masks(aligned(1, size), MaskOptions(mask="rectangle", border=border, feather=16))[
        0, 0
    ]
    width = border * size / 512
    rise, fall = crossings(mask[size // 2])
    assert rise == pytest.approx(width - 0.5, abs=0.3)
    assert fall == pytest.approx(size - 0.5 - width, abs=0.3)
    assert crossings(mask[:, size // 2]) == pytest.approx((rise, fall), abs=1e-3)


def test_a_border_narrower_than_the_blur_gives_way_to_it() -> None:
    """Otherwise the crop's edge would not be zero: 2 blurs of 3 sigma, 17 px each."""
    for border in (0.0, 10.0, 26.0):
        mask = crop_masks(
            aligned(1, 512), MaskOptions(mask="rectangle", border=border, feather=32)
        )[0, 0]
        rise, _ = crossings(mask[256])
        assert rise == pytest.approx(2 * 17 + 1 - 0.5, abs=0.3)


@pytest.mark.parametrize("feather", [8.0, 24.0, 48.0])
def test_a_feather_is_the_width_of_the_edge(feather) -> None:
    """Four standard deviations: from 2.3 % to 97.7 %."""
    mask = crop_masks(aligned(1, 512), MaskOptions(mask="rectangle", border=128, feather=feather))[
        0, 0, 256
    ]
    low, high = torch.special.ndtr(torch.tensor([-2.0, 2.0])).tolist()
    assert crossings(mask, high)[0] - crossings(mask, low)[0] == pytest.approx(feather, rel=0.05)


@pytest.mark.parametrize("kind", ["ellipse", "hull"])
@pytest.mark.parametrize("feather", [8.0, 40.0])
def test_the_feather_of_a_face_shape_is_a_smoothstep(kind, feather) -> None:
    """As wide as the feather from nothing to all, and 5/32 at a quarter of it."""
    mask = crop_masks(aligned(1, 512), MaskOptions(mask=kind, border=0, feather=feather))[0, 0]
    row = mask[260]
    quarter = crossings(row, 0.5)[0] - crossings(row, 5 / 32)[0]
    assert quarter == pytest.approx(feather / 4, rel=0.1, abs=0.3)
    three = crossings(row, 27 / 32)[0] - crossings(row, 0.5)[0]
    assert three == pytest.approx(feather / 4, rel=0.1, abs=0.3)


@pytest.mark.parametrize("name", ["gpen", "ffhq"])
def test_the_ellipse_goes_from_hairline_to_chin(name) -> None:
    mask = crop_masks(aligned(1, 512, name=name), MaskOptions(mask="ellipse", feather=4))[0, 0]
    points = template(name, 512)
    eyes, mouth = points[:2].mean(0), points[3:].mean(0)
    down = float(mouth[1] - eyes[1])
    x = float(eyes[0] + mouth[0]) / 2
    top, bottom = crossings(mask[:, round(x)])
    assert top == pytest.approx(float(eyes[1]) - 1.1 * down, abs=1)
    assert bottom == pytest.approx(float(mouth[1]) + 0.75 * down, abs=1)
    left, right = crossings(mask[round((top + bottom) / 2)])
    wide = 1.35 * float(points[1, 0] - points[0, 0])
    assert (left, right) == pytest.approx((x - wide, x + wide), abs=1)


def test_the_hull_lies_around_the_landmarks() -> None:
    """0.7 of the way from mouth to eyes below the mouth, 0.4 more above the eyes."""
    points = template("gpen", 512)
    down = points[3:].mean(0)[1] - points[:2].mean(0)[1]
    for size in (512, 128):
        mask = crop_masks(aligned(1, size), MaskOptions(mask="hull", feather=4))[0, 0]
        mouth = points[3] * (size / 512)
        _, bottom = crossings(mask[:, round(float(points[3:].mean(0)[0]) * size / 512)])
        grown = 0.7 * float(down) * size / 512
        assert bottom == pytest.approx(float(mouth[1]) + grown, abs=3 * size / 512 + 0.5)
        top, _ = crossings(mask[:, round(float(points[:2].mean(0)[0]) * size / 512)])
        above = float(points[:2, 1].mean() - 1.1 * down) * size / 512
        assert top == pytest.approx(above, abs=3 * size / 512 + 0.5)


@pytest.mark.parametrize("kind", ["rectangle", "hull"])
def test_a_mask_lies_over_its_crop_however_large_the_restored_face(kind) -> None:
    """Its center of weight, as a share of the side: no half pixel is lost on the way."""
    centers = []
    for size in (64, 128, 256, 512, 1024):
        faces = aligned(1, 64, restored=size)
        mask = crop_masks(faces, MaskOptions(mask=kind))[0, 0].double()
        along = (torch.arange(size, dtype=torch.float64) + 0.5) / size
        centers.append([float((mask.sum(axis) * along).sum() / mask.sum()) for axis in (0, 1)])
    for center in centers[:-1]:
        assert center == pytest.approx(centers[-1], abs=0.002)


def test_a_feather_is_in_pixels_of_a_512_crop_whatever_the_model() -> None:
    options = MaskOptions(feather=40)
    small = crop_masks(aligned(1, 256), options)
    large = crop_masks(aligned(1, 256, restored=1024), options)
    assert large.shape[-1] == 1024
    shrunk = nn.functional.interpolate(large, (256, 256), mode="bilinear", antialias=True)
    assert float((small - shrunk).abs().max()) < 0.06


@pytest.mark.parametrize("kind", KINDS)
def test_a_wider_feather_is_a_softer_edge(kind) -> None:
    def soft(feather: float) -> int:
        mask = crop_masks(aligned(1, 256), MaskOptions(mask=kind, feather=feather), parser())
        return int(((mask > 0.05) & (mask < 0.95)).sum())

    assert soft(4) < soft(20) < soft(60)


@pytest.mark.parametrize("name", ["gpen", "ffhq"])
@pytest.mark.parametrize("kind", ["ellipse", "hull"])
def test_face_shapes_cover_the_features_and_not_the_corners(kind, name) -> None:
    mask = crop_masks(aligned(1, 512, name=name), MaskOptions(mask=kind))[0, 0]
    for x, y in template(name, 512).round().int().tolist():
        assert mask[y, x] > 0.999
    corners = mask[[40, 40, -40, -40], [40, -40, 40, -40]]
    assert not corners.any()
    assert 0.15 < float(mask.mean()) < 0.6


def test_a_hull_follows_its_own_face() -> None:
    faces = aligned(2, 256)
    landmarks = faces.landmarks.clone()
    landmarks[1] += torch.tensor([20.0, 0.0])
    masks = crop_masks(faces.with_(landmarks=landmarks), MaskOptions(mask="hull"))
    torch.testing.assert_close(masks[1, 0, :, 60:200], masks[0, 0, :, 40:180], atol=0.02, rtol=0)


def test_parsing_leaves_the_official_classes_out() -> None:
    mask = crop_masks(aligned(1, 512), MaskOptions(mask="parsing"), parser())[0, 0]
    assert mask[256, 256] > 0.99
    assert mask[80, 256] < 0.01  # hat
    assert mask[430, 256] < 0.01  # cloth
    assert mask[256, 50] < 0.01  # background
    assert mask[236, 200] > 0.99  # eye


def test_an_excluded_eye_stays_untouched_for_all_the_blur() -> None:
    options = MaskOptions(mask="parsing", exclude=("background", "hat", "cloth", "eyes"))
    mask = crop_masks(aligned(1, 512), options, parser())[0, 0]
    assert float(mask[228:244, 184:216].max()) < 0.02
    assert mask[300, 256] > 0.99


def test_restored_faces_decide_the_size_and_are_what_is_parsed() -> None:
    seen = []

    def remember(faces):
        seen.append(faces)
        return torch.ones(len(faces), 64, 64, dtype=torch.int64)

    faces = aligned(1, 64, restored=128)
    masks = crop_masks(faces, MaskOptions(mask="parsing"), remember)
    assert masks.shape == (1, 1, 128, 128)
    assert torch.equal(seen[0], faces.restored)


def test_no_faces() -> None:
    assert crop_masks(aligned(0, 64), MaskOptions()).shape == (0, 1, 64, 64)
    assert parser()(torch.zeros(0, 3, 64, 64)).shape == (0, 64, 64)


def test_wrong_options_say_what_would_be_right() -> None:
    with pytest.raises(InputError, match="rectangle, ellipse, hull, parsing"):
        MaskOptions(mask="square")
    with pytest.raises(InputError, match="feather must be from 0 to 128, not -1"):
        MaskOptions(feather=-1)
    with pytest.raises(InputError, match="no face part 'beard'"):
        MaskOptions(exclude=("beard",))
    with pytest.raises(InputError) as caught:
        crop_masks(aligned(1, 64), MaskOptions(mask="parsing"))
    message = "The parsing mask needs a face parser; load one with `load_parser`."
    assert str(caught.value) == message
    with pytest.raises(InputError) as caught:
        crop_masks(Faces.empty([(9, 9)]), MaskOptions())
    assert str(caught.value) == "Masks need face crops; align the faces first."
    restored = aligned(1, 64, restored=64)
    for part in ("matrices", "crops"):
        with pytest.raises(InputError) as caught:
            crop_masks(restored.with_(**{part: None}), MaskOptions(mask="hull"))
        assert str(caught.value) == "A hull mask needs face crops; align the faces first."


@pytest.mark.parametrize("kind", ["ellipse", "hull"])
def test_without_a_feather_the_edge_is_one_pixel_wide(kind) -> None:
    """A smoothstep across one pixel: of two that it lies between, no third one is soft."""
    mask = crop_masks(aligned(1, 512), MaskOptions(mask=kind, border=0, feather=0))[0, 0]
    rows = mask[200:300]
    soft = ((rows > 0.001) & (rows < 0.999)).sum(1)
    assert int(soft.max()) <= 4 and float(rows.sum(1).min()) > 100


@pytest.mark.parametrize("feather", [0.0, 22.6])
@pytest.mark.parametrize("size", [64, 512, 640])
def test_parts_of_the_parsed_face_lie_where_the_labels_do(size, feather) -> None:
    """The hat is the upper sixth of the face; its edge is at one half, blurred or not."""
    excluded = ("background", "hat")
    options = MaskOptions(mask="parsing", feather=feather, border=0, exclude=excluded)
    mask = crop_masks(aligned(1, 64, restored=size), options, parser())[0, 0]
    column = mask[:, size // 2]
    rise, _ = crossings(column)
    assert rise == pytest.approx(16 * size / 64 - 0.5, abs=0.6 * size / 64)
    outside = MaskOptions(mask="parsing", feather=feather, border=0, exclude=("background",))
    kept = crop_masks(aligned(1, 64, restored=size), outside, parser())[0, 0]
    left, right = crossings(kept[size // 2])
    assert left == pytest.approx(12 * size / 64 - 0.5, abs=0.6 * size / 64)
    assert right == pytest.approx(52 * size / 64 - 0.5, abs=0.6 * size / 64)


def test_small_parts_are_grown_by_the_blur_and_large_ones_are_not() -> None:
    """An eye of 6 x 3 labels at a feather of 64 (a blur of 4 labels): untouched as a whole."""
    options = MaskOptions(mask="parsing", feather=64, border=0, exclude=("eyes",))
    mask = crop_masks(aligned(1, 64), options, parser())[0, 0]
    assert float(mask[28:31, 22:28].max()) < 0.05
    glasses = MaskOptions(mask="parsing", feather=64, border=0, exclude=("left_eye",))
    assert torch.equal(crop_masks(aligned(1, 64), glasses, parser())[0, 0], mask)
    excluded = ("background", "hat")
    large = MaskOptions(mask="parsing", feather=64, border=0, exclude=excluded)
    column = crop_masks(aligned(1, 64), large, parser())[0, 0, :, 32]
    assert crossings(column)[0] == pytest.approx(15.5, abs=0.6)


def test_class_names() -> None:
    assert len(CLASSES) == 19
    assert class_indices(("background", "hat", "cloth")) == (0, 14, 18)
    assert class_indices(("mouth", "lower_lip")) == (10, 11, 12)


PARSENET = catalogue.show("ParseNet")


def test_missing_parser_weights_name_file_folder_and_address(tmp_path) -> None:
    with pytest.raises(MissingWeightsError) as error:
        load_parser(tmp_path)
    for part in (PARSENET.filename, str(tmp_path), *PARSENET.urls, "gpen models download ParseNet"):
        assert part in str(error.value)


def test_a_wrong_hash_is_refused_before_reading(tmp_path) -> None:
    (tmp_path / PARSENET.filename).write_bytes(b"<html>not found</html>")
    with pytest.raises(CheckpointError, match="SHA-256"):
        load_parser(tmp_path)


def test_parsenet_with_random_weights(tmp_path, facexlib_networks) -> None:
    """The real network, its loading and its labels; the official weights are not at hand."""
    ParseNet = facexlib_networks("parsing.parsenet").ParseNet
    torch.manual_seed(0)
    network = ParseNet(in_size=512, out_size=512, parsing_ch=19).eval()
    path = tmp_path / PARSENET.filename
    torch.save(network.state_dict(), path)
    with pytest.raises(CheckpointError, match="SHA-256"):
        load_parser(tmp_path)
    path = path.rename(tmp_path / "mine.pth")
    loaded = load_parser(path)
    assert loaded.size == 512
    faces = torch.rand(3, 3, 96, 96) * 2 - 1
    # The network is convolutional; a small input keeps the test quick.
    small = FaceParser(loaded.network, size=64, batch=2)
    with torch.no_grad():
        shrunk = nn.functional.interpolate(faces, (64, 64), mode="bilinear", antialias=True)
        expected = network(shrunk)[0].argmax(1)
    assert torch.equal(small(faces), expected)
    torch.save({"conv.weight": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="does not hold ParseNet's weights"):
        load_parser(path)


@pytest.mark.parametrize(("crop", "size"), [(64, 64), (64, 128), (96, 192), (128, 512)])
def test_the_hull_is_every_pixel_near_enough_to_the_landmarks(crop, size) -> None:
    """Against the distance to the polygon in 720 directions, at the restored face's own pixels,
    for landmarks of a picture that is turned, scaled and shifted to the crop."""
    points = template("gpen", crop).clone()
    points[2] += crop * torch.tensor([0.02, -0.03], dtype=torch.float64)
    matrix = torch.tensor([[0.3, -0.4, 17.0], [0.4, 0.3, -9.0]], dtype=torch.float64)
    inverse = torch.linalg.inv(matrix[:, :2])
    faces = aligned(1, crop, restored=size).with_(
        landmarks=((points - matrix[:, 2]) @ inverse.T)[None].float(), matrices=matrix[None].float()
    )
    feather = 40.0
    found = crop_masks(faces, MaskOptions(mask="hull", feather=feather, border=0))[0, 0]

    points = (points + 0.5) * (size / crop) - 0.5
    up = points[:2].mean(0) - points[3:].mean(0)
    outline = torch.cat([points, points[:2] + 0.4 * up])
    angles = torch.arange(720) * (math.pi / 360)
    directions = torch.stack([angles.cos(), angles.sin()]).double()
    along = torch.arange(size, dtype=torch.float64)
    y, x = torch.meshgrid(along, along, indexing="ij")
    pixels = torch.stack([x, y], -1).flatten(0, 1)
    distance = (pixels @ directions - (outline @ directions).amax(0)).amax(1).view(size, size)
    t = ((0.7 * up.norm() - distance) / (feather * size / 512) + 0.5).clamp(0, 1)
    expected = (t * t * (3 - 2 * t)).float()
    middle = slice(size // 5, -size // 5)  # further out the crop's own edge is soft
    # 64 directions, as the mask has, leave up to 2.4 px of 512 between them: 0.09 of this edge.
    torch.testing.assert_close(found[middle, middle], expected[middle, middle], rtol=0, atol=0.11)


def test_a_hull_needs_aligned_faces() -> None:
    faces = aligned(1, 64).with_(matrices=None)
    with pytest.raises(InputError, match=r"^A hull mask needs .*align the faces"):
        crop_masks(faces, MaskOptions(mask="hull"))


def test_labels_are_shrunk_without_steps() -> None:
    """One column of four becomes an even quarter; read at single places it would be a half."""
    labels = torch.zeros(1, 256, 256, dtype=torch.int64)
    labels[..., ::4] = CLASSES.index("skin")
    options = MaskOptions(mask="parsing", feather=0, border=0)
    mask = crop_masks(aligned(1, 32), options, lambda faces: labels)[0, 0]
    torch.testing.assert_close(mask[4:-4, 4:-4], torch.full((24, 24), 0.25), rtol=0, atol=0.05)
