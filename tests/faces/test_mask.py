"""Masks: soft, zero along the border, what they cover, and the face parser behind one of them."""

from __future__ import annotations

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
    mask = crop_masks(aligned(1, 512), MaskOptions())[0, 0]
    profile = mask[256]
    x = torch.arange(512.0)
    expected = torch.special.ndtr((x - 25.5) / (4 * 2**0.5))
    torch.testing.assert_close(profile[:256], expected[:256], rtol=0, atol=2e-3)
    assert float(profile[40]) > 0.98
    assert float(profile[:2].max()) == 0.0
    torch.testing.assert_close(mask, mask.T, rtol=0, atol=1e-5)


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
    assert seen[0] is faces.restored


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
    with pytest.raises(InputError, match="needs a face parser"):
        crop_masks(aligned(1, 64), MaskOptions(mask="parsing"))
    with pytest.raises(InputError, match="align the faces"):
        crop_masks(Faces.empty([(9, 9)]), MaskOptions())


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
