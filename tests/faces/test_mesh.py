"""Outlines of faces and their parts: where they are, the masks made of them, bad files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from gpen_core.errors import CheckpointError, InputError, MissingWeightsError
from gpen_core.faces.align import align
from gpen_core.faces.aligned import as_faces
from gpen_core.faces.detect import detect
from gpen_core.faces.detector import load_detector
from gpen_core.faces.look import looked_at
from gpen_core.faces.mask import crop_masks
from gpen_core.faces.mesh import OUTLINES, FaceMesher, distances, load_mesh
from gpen_core.faces.templates import template
from gpen_core.networks.face_mesh import FaceMesh
from gpen_core.options import PARTS, MaskOptions
from gpen_core.weights import locate

SHA256 = "01c7e311490a1bebfe02c5baf875855a5c96cc6f1250cfcb9652d827696900bb"


@pytest.fixture(scope="module")
def face(portrait_crop):
    """The portrait's face, 256 px, with its outlines."""
    return looked_at(portrait_crop, load_mesh())


@pytest.fixture(scope="module")
def portrait_crop(portrait):
    image = torch.from_numpy(portrait.copy()).permute(2, 0, 1)[None].float() / 255
    return align(image, detect(image, load_detector()), 256)


def test_the_file_is_the_converted_one() -> None:
    path = locate.helper("face-mesh-192.safetensors")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SHA256
    notice = path.with_suffix(".NOTICE").read_text(encoding="utf-8")
    assert "Apache License" in notice and "MediaPipe" in notice


def test_parts_lie_where_the_template_has_them(face) -> None:
    points, size = face.outlines[0], 256
    eyes = template("gpen", size)[:2].float()
    for outline, eye in zip(OUTLINES["eyes"], eyes, strict=True):
        assert (points[list(outline)].mean(0) * size - eye).norm() < 0.03 * size
    mouth = points[list(OUTLINES["mouth"][0])].mean(0) * size
    assert (mouth - template("gpen", size)[3:].mean(0)).norm() < 0.04 * size
    brows = points[list(OUTLINES["brows"][0])].mean(0) * size
    assert 0 < eyes[0, 1] - brows[1] < 0.15 * size


def test_distances_are_those_of_a_square() -> None:
    """Against the formula for a square, inside and outside."""
    points = torch.zeros(1, 468, 2)
    around = list(OUTLINES["mouth"][0])
    corners = torch.tensor([[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]])
    points[0, around] = corners.repeat_interleave(5, 0)
    found = distances(points, "mouth", 32)[0, 0]
    along = torch.arange(32.0)
    y, x = torch.meshgrid(along, along, indexing="ij")
    from_middle = torch.stack([(x - 15.5).abs(), (y - 15.5).abs()]) - 8
    outside = from_middle.clamp(min=0).square().sum(0).sqrt()
    inside = (-from_middle.amax(0)).clamp(min=0)
    torch.testing.assert_close(found, inside - outside, atol=1e-4, rtol=0)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_in_and_out_are_each_other_s_rest(face, part) -> None:
    whole = crop_masks(face, MaskOptions(mask="face"))
    only = crop_masks(face, MaskOptions(mask="face", parts=part))
    rest = crop_masks(face, MaskOptions(mask="face", parts=f"-{part}"))
    assert 0.002 < float(only.mean()) < 0.5 * float(whole.mean())
    assert float(only.max()) > 0.95
    torch.testing.assert_close(only + rest, whole)


def test_grow_and_feather_move_and_soften_the_outline(face) -> None:
    def area(**options):
        return float(crop_masks(face, MaskOptions(mask="face", **options)).mean())

    assert area(grow=-16) < area(grow=0) < area(grow=24)
    hard = crop_masks(face, MaskOptions(mask="face", feather=0))
    soft = crop_masks(face, MaskOptions(mask="face", feather=60))
    between = [((mask > 0.05) & (mask < 0.95)).float().mean() for mask in (hard, soft)]
    assert between[0] < 0.5 * between[1]


def test_several_parts_are_joined_and_others_left_out(face) -> None:
    def mask(parts):
        return crop_masks(face, MaskOptions(parts=parts, grow=0, feather=4))

    both = mask("eyes,mouth")
    torch.testing.assert_close(both, torch.maximum(mask("eyes"), mask("mouth")))
    torch.testing.assert_close(
        mask("eyes,-mouth"), mask("eyes") * mask("-mouth"), atol=0.02, rtol=0
    )


def test_faces_without_outlines_are_refused() -> None:
    faces = as_faces(torch.rand(1, 3, 64, 64), "gpen")
    for options in (MaskOptions(mask="face"), MaskOptions(parts="eyes")):
        with pytest.raises(InputError, match="outlines"):
            crop_masks(faces, options)


@pytest.mark.parametrize("parts", ["ears", "-", "eyes,-nose", "Eyes", "eyes,-eyes"])
def test_unknown_parts_are_refused(parts) -> None:
    with pytest.raises(InputError, match="part"):
        MaskOptions(parts=parts)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_any_crop_gets_finite_points_and_a_mask(size) -> None:
    for picture in (torch.zeros(1, 3, size, size), torch.full((2, 3, size, size), 0.5)):
        faces = looked_at(as_faces(picture, "gpen"), load_mesh())
        assert faces.outlines is not None and faces.outlines.isfinite().all()
        masks = crop_masks(faces, MaskOptions(mask="face", parts="-eyes"))
        assert masks.shape == (len(picture), 1, size, size) and masks.isfinite().all()


def test_no_face_is_no_outline() -> None:
    faces = as_faces(torch.rand(2, 3, 32, 32), "gpen").take([])
    looked = looked_at(faces, load_mesh())
    assert looked.outlines is not None and len(looked.outlines) == 0
    assert crop_masks(looked, MaskOptions(mask="face")).shape == (0, 1, 32, 32)


def test_many_faces_get_what_each_gets_alone(face) -> None:
    several = as_faces((face.crops.expand(20, -1, -1, -1) + 1) / 2, "gpen")
    outlines = looked_at(several, load_mesh()).outlines
    assert outlines is not None
    torch.testing.assert_close(outlines, face.outlines.expand(20, -1, -1), atol=1e-4, rtol=0)


def test_other_files_are_refused(tmp_path) -> None:
    path = Path(tmp_path, "other.safetensors")
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(CheckpointError, match="face mesh"):
        load_mesh(path=path)
    path.write_bytes(b"\x00" * 40)
    with pytest.raises(CheckpointError):
        load_mesh(path=path)


def test_a_project_without_the_file_says_so(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(locate, "WEIGHTS", tmp_path)
    with pytest.raises(MissingWeightsError, match="face-mesh-192"):
        load_mesh()


def test_it_can_be_moved() -> None:
    mesher = FaceMesher(FaceMesh())
    twin = mesher.on(torch.device("cpu"))
    faces = torch.rand(1, 3, 64, 64)
    assert torch.equal(twin(faces), mesher(faces))
