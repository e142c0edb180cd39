"""What is in front of a face: found, left out of every mask, told in report and preview."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from gpen_core.dataset.occluders import occlude
from gpen_core.errors import CheckpointError, MissingWeightsError
from gpen_core.faces.align import align
from gpen_core.faces.aligned import as_faces
from gpen_core.faces.detect import detect
from gpen_core.faces.detector import load_detector
from gpen_core.faces.draw import tint_covered
from gpen_core.faces.look import covered_share, looked_at
from gpen_core.faces.mask import crop_masks
from gpen_core.faces.mesh import load_mesh
from gpen_core.faces.occlusion import FILE, Occlusion, load_occlusion
from gpen_core.faces.paste import Surface
from gpen_core.faces.templates import template
from gpen_core.networks.occlusion import OcclusionNet
from gpen_core.options import MASKS, MaskOptions, Options
from gpen_core.run import Run, Tools
from gpen_core.weights import locate

SHA256 = "3133beb2d67fc893e117221ec297f66230504bd8e5acc32434c67a1445c69e67"


@pytest.fixture(scope="module")
def photo(portrait):
    return torch.from_numpy(portrait.copy()).permute(2, 0, 1)[None].float() / 255


@pytest.fixture(scope="module")
def faces(photo):
    """The portrait's face, 128 px."""
    return align(photo, detect(photo, load_detector()), 128)


def lower_half(crops):
    """Stands in for the network: something is in front of the lower half."""
    covered = torch.zeros(len(crops), 1, 128, 128)
    covered[:, :, 64:] = 1
    return covered


def test_the_file_is_the_released_one_and_small() -> None:
    path = locate.helper(FILE)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SHA256
    assert path.stat().st_size < 2 << 20
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    assert "MIT" in card and SHA256 in card


@pytest.mark.parametrize("kind", ["mask", "hand", "face", "microphone"])
def test_what_is_drawn_in_front_is_found(faces, kind) -> None:
    face, points = (faces.crops[0] + 1) / 2, template("gpen", 128).float()
    drawn = occlude(face, points, kind, 5, face.flip(-1))
    covered = load_occlusion()(drawn.picture[None] * 2 - 1) > 0.5
    true = drawn.covered[None] > 0.5
    assert true.float().mean() > 0.03
    assert (covered & true).sum() > 0.5 * (covered | true).sum()


def test_a_bare_face_is_left_alone(faces) -> None:
    looked = looked_at(faces, None, load_occlusion())
    assert max(covered_share(looked)) < 0.03


@pytest.mark.parametrize("kind", MASKS)
def test_every_mask_leaves_out_what_is_covered(faces, kind) -> None:
    looked = looked_at(faces, load_mesh(), lower_half)

    def everywhere_skin(pictures):
        return torch.ones(len(pictures), 64, 64, dtype=torch.int64)

    options = MaskOptions(mask=kind)
    before = crop_masks(looked.with_(covered=None), options, everywhere_skin)
    after = crop_masks(looked, options, everywhere_skin)
    torch.testing.assert_close(after[..., :63, :], before[..., :63, :])
    assert before[..., 66:, :].max() > 0.9 and not after[..., 66:, :].any()


def test_it_looks_at_the_faces_before_they_were_restored(faces) -> None:
    seen = []

    def remember(crops):
        seen.append(crops.clone())
        return lower_half(crops)

    restored = faces.with_(restored=torch.zeros(1, 3, 256, 256))
    looked_at(restored, None, remember)
    assert torch.equal(seen[0], faces.crops)


def test_a_run_pastes_nothing_over_it_and_reports_it(small_model, photo) -> None:
    options = Options.of(occlusion=True, keep_crops=True)
    result = Run(Tools(small_model, occlusion=lower_half), options).restored(Surface(photo))
    plain = Run(Tools(small_model)).restored(Surface(photo))
    [face] = [face for face in result.report.faces if face.restored]
    assert face.covered is not None and 0.5 < face.covered < 0.7
    assert [face.covered for face in plain.report.faces if face.restored] == [None]
    changed = [float((one.mask > 0).float().mean()) for one in (result, plain)]
    assert 0.3 * changed[1] < changed[0] < 0.7 * changed[1]
    assert (result.images == photo)[(result.mask == 0).expand_as(photo)].all()


def test_without_crops_nothing_is_kept_of_it(small_model, photo) -> None:
    run = Run(Tools(small_model, occlusion=lower_half), Options.of(occlusion=True))
    assert run.restored(Surface(photo)).faces.covered is None


def test_the_preview_tints_it_where_it_lies(photo, faces) -> None:
    looked = looked_at(faces, None, lower_half)
    picture = Image.new("RGB", (256, 256))
    tint_covered(picture, looked)
    x0, y0, x1, y1 = (faces.boxes[0] / 2).tolist()
    x, top, bottom = int((x0 + x1) / 2), int(y0 + 0.1 * (y1 - y0)), int(y1 - 0.1 * (y1 - y0))
    assert picture.getpixel((x, top)) == (0, 0, 0)
    assert picture.getpixel((x, bottom))[0] > 100
    assert picture.getpixel((0, 0)) == (0, 0, 0)


@pytest.mark.parametrize("size", [1, 2, 7])
def test_any_crop_is_looked_at(size) -> None:
    for value in (0.0, 0.5, 1.0):
        looked = looked_at(
            as_faces(torch.full((1, 3, size, size), value), "gpen"), None, load_occlusion()
        )
        assert looked.covered is not None and looked.covered.isfinite().all()
        assert crop_masks(looked).shape == (1, 1, size, size)


def test_no_face_is_nothing_to_look_at() -> None:
    looked = looked_at(as_faces(torch.rand(1, 3, 32, 32), "gpen").take([]), None, load_occlusion())
    assert covered_share(looked) == []
    assert crop_masks(looked).shape == (0, 1, 32, 32)


def test_memory_that_runs_out_is_said_and_tried_with_less(faces) -> None:
    events = []

    class Short:
        batch = 4

        def __call__(self, crops):
            if len(crops) > 1:
                raise MemoryError
            return lower_half(crops)

    from gpen_core.hooks import Hooks

    class Telling(Hooks):
        def event(self, sentence):
            events.append(sentence)

    looked = looked_at(faces.take([0, 0, 0]), None, Short(), Telling())
    assert looked.covered.shape[0] == 3 and "looking for occlusions" in events[0]


def test_other_files_are_refused(tmp_path, monkeypatch) -> None:
    path = Path(tmp_path, "other.safetensors")
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(CheckpointError, match="occlusion network"):
        load_occlusion(path=path)
    monkeypatch.setattr(locate, "WEIGHTS", tmp_path)
    with pytest.raises(MissingWeightsError, match="gpen-occlusion-128"):
        load_occlusion()


def test_it_can_be_moved() -> None:
    occlusion = Occlusion(OcclusionNet())
    faces = torch.rand(1, 3, 64, 64)
    assert torch.equal(occlusion.on(torch.device("cpu"))(faces), occlusion(faces))
