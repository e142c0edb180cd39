"""The run: one loop for every caller, what it tells on the way, and frames kept apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import gpen_core
from gpen_core.errors import InputError
from gpen_core.faces.align import align
from gpen_core.faces.aligned import as_faces, check_aligned
from gpen_core.faces.detect import detect
from gpen_core.faces.detector import load_detector
from gpen_core.faces.paste import Surface
from gpen_core.faces.sharp import REASON as SHARPER
from gpen_core.faces.sharp import pixel_scales
from gpen_core.faces.templates import template
from gpen_core.hooks import Hooks
from gpen_core.options import Options
from gpen_core.run import Run, Tools, groups, split


@pytest.fixture(scope="module")
def photo(portrait) -> torch.Tensor:
    """(1, 3, 512, 512) 0..1 with one face."""
    return torch.from_numpy(portrait.copy()).permute(2, 0, 1)[None].float() / 255


@pytest.fixture
def small_photo(photo) -> torch.Tensor:
    """The same, 256 px."""
    return torch.nn.functional.interpolate(photo, (256, 256), mode="area")


class Told(Hooks):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.prepared: list[int] = []
        self.announced: list[int] = []
        self.steps: list[tuple[str, int, int]] = []

    def prepare(self, model, faces):
        self.prepared.append(faces)

    def found(self, faces):
        self.announced.append(faces)

    def progress(self, stage, done, total):
        self.steps.append((stage, done, total))


def test_results_come_one_at_a_time_in_order(small_photo, small_model):
    """A source is asked for when its turn comes, so that a film never lies in memory."""
    asked = []

    def sources():
        for index in range(3):
            asked.append(index)
            yield Surface(small_photo if index != 1 else torch.zeros_like(small_photo))

    results = Run(Tools(small_model))(sources())
    assert asked == []
    first = next(results)
    assert asked == [0]
    found = [first, *results]
    assert [one.report.restored for one in found] == [1, 0, 1]
    assert [[face.image for face in one.report.faces] for one in found] == [[0], [], [2]]


def test_hooks_hear_of_every_stage(small_photo, small_model):
    told = Told()
    Run(Tools(small_model), Options.of(upscale=2), told).restored(Surface(small_photo))
    assert told.prepared == [1] and told.announced == [1]
    stages = [stage for stage, _, _ in told.steps]
    assert list(dict.fromkeys(stages)) == ["detect", "enlarge", "align", "restore", "paste"]
    for stage in set(stages):
        steps = [(done, total) for name, done, total in told.steps if name == stage]
        assert steps == sorted(steps) and steps[-1][0] == steps[-1][1], stage


@pytest.mark.parametrize("stage", ["detect", "enlarge", "align", "restore", "paste"])
def test_raising_in_any_stage_stops_the_run(small_photo, small_model, stage):
    class Stop(Exception):
        pass

    class Stopping(Hooks):
        def progress(self, name, done, total):
            if name == stage:
                raise Stop

    run = Run(Tools(small_model), Options.of(upscale=2), Stopping())
    with pytest.raises(Stop):
        run.restored(Surface(small_photo))


def test_the_report_counts_frames_through_the_whole_batch(small_photo, small_model):
    blank = torch.zeros_like(small_photo)
    batch = torch.cat([blank, blank, blank, blank, blank, small_photo])
    result = gpen_core.restore_image(batch.permute(0, 2, 3, 1), small_model)
    assert [face.image for face in result.report.faces] == [5]
    assert result.faces.source.tolist() == [5]
    none = gpen_core.restore_image(batch.permute(0, 2, 3, 1), small_model, max_size=40)
    assert [(face.image, face.reason) for face in none.report.faces] == [(5, "too large")]


def test_each_frame_has_its_own_mask_and_background(small_photo, small_model):
    frames = small_photo.expand(6, -1, -1, -1).contiguous()
    masks = torch.zeros(6, 256, 256)
    masks[5] = 1
    backgrounds = torch.rand(6, 512, 512, 3, generator=torch.Generator().manual_seed(0))
    image = frames.permute(0, 2, 3, 1)
    masked = gpen_core.restore_image(image, small_model, user_mask=masks)
    assert masked.mask[:5].max() == 0 and masked.mask[5].max() > 0.9
    assert torch.equal(masked.image[:5], image[:5])
    pasted = gpen_core.restore_image(image, small_model, background=backgrounds)
    for index in range(6):
        outside = pasted.mask[index] == 0
        assert torch.equal(pasted.image[index][outside], backgrounds[index][outside])


def test_alpha_is_enlarged_and_stays_what_it_was(small_photo, small_model):
    alpha = torch.linspace(0, 1, 256).expand(1, 256, 256)[..., None]
    image = torch.cat([small_photo.permute(0, 2, 3, 1), alpha], -1)
    result = gpen_core.restore_image(image, small_model, upscale=2)
    assert result.image.shape == (1, 512, 512, 4)
    assert 0.4 < float(result.image[..., 3].mean()) < 0.6
    assert float(result.image[0, 0, 0, 3]) < 0.05 and float(result.image[0, 0, -1, 3]) > 0.95


def test_groups_and_split_cover_every_frame_once():
    assert [list(range(*part.indices(9))) for part in groups(9)] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8],
    ]
    images, mask = torch.rand(5, 3, 4, 4), torch.rand(5, 1, 4, 4)
    parts = list(split(Surface(images, images[:1], mask), 2))
    assert torch.equal(torch.cat([part.images for part in parts]), images)
    assert torch.equal(torch.cat([part.user_mask for part in parts]), mask)
    assert all(torch.equal(part.background, images[:1]) for part in parts)


def test_a_step_whose_network_is_missing_says_so(small_photo):
    run = Run(Tools())
    assert len(run.find(small_photo).faces) == 1
    with pytest.raises(InputError, match="no model"):
        run.restored(Surface(small_photo))


class Exact:
    """Finds one face a tenth of the crop below the place of the ffhq template: just near enough."""

    name, device, network = "exact", torch.device("cpu"), None

    def __call__(self, image, min_size, confidence, progress):
        landmarks = template("ffhq", 256)[None].float() + torch.tensor([0.0, 0.0999 * 256])
        low, high = landmarks.amin(1) - 40, landmarks.amax(1) + 40
        return torch.cat([low, high], 1), torch.ones(1), landmarks


def test_ready_crops_are_checked_against_their_own_template(photo, small_model):
    """The templates differ by 2.5 % of the crop: an exact detector tells them apart."""
    detector = load_detector()
    crop = (align(photo, detect(photo, detector), 256, "ffhq").crops + 1) / 2
    check_aligned(crop, detector, "ffhq")
    with pytest.raises(InputError, match="not centered as the ffhq template"):
        check_aligned(crop.roll(40, dims=-1), detector, "ffhq")

    check_aligned(crop, Exact(), "ffhq")
    with pytest.raises(InputError, match="not centered as the gpen template"):
        check_aligned(crop, Exact(), "gpen")
    tools = Tools(small_model, Exact())
    assert Run(tools, Options.of(template="ffhq")).crops(crop).faces.template == "ffhq"
    with pytest.raises(InputError, match="not centered as the gpen template"):
        Run(tools, Options.of(template="gpen")).crops(crop)


def test_ready_crops_and_aligned_faces_are_restored_alike(photo, small_model):
    run = Run(Tools(small_model))
    faces = run.restore(run.align(photo, run.find(photo).faces))
    crops = (faces.crops + 1) / 2
    ready = run.crops(crops, check=False)
    torch.testing.assert_close(ready.images * 2 - 1, faces.restored, atol=1e-5, rtol=0)
    assert as_faces(crops, "gpen").landmarks.shape == (1, 5, 2)
    with pytest.raises(InputError, match="square") as caught:
        as_faces(torch.zeros(1, 3, 10, 12), "gpen")
    assert caught.value.remedy == "align"


def test_the_small_face_filter_looks_at_the_short_side(photo, small_model):
    """A box of 80 x 120 px is small, whichever way it stands."""
    plain = Run(Tools(small_model))
    filtered = Run(Tools(small_model), Options.of(small_face_filter=True))
    faces = plain.restore(plain.align(photo, plain.find(photo).faces))
    for sides, is_small in (((80, 120), True), ((120, 80), True), ((110, 120), False)):
        boxed = faces.with_(boxes=torch.tensor([[0.0, 0.0, *sides]]))
        images = []
        for run in (filtered, plain):
            canvas = run.canvas(Surface(photo))
            canvas.add(boxed, run.masks(boxed))
            images.append(canvas.images)
        assert torch.equal(*images) is not is_small, sides


@pytest.mark.parametrize(
    "values", [{}, {"mask": "ellipse", "color_match": 0.5, "upscale": 2, "strength": 0.7}]
)
def test_library_and_command_line_give_the_same_bits(tmp_path, kinds, small_model_file, values):
    """In color, gray, brown, with alpha, and of many faces."""
    from gpen_core.cli.app import run as gpen

    flags = [text for name, value in values.items() for text in (f"--{name}", str(value))]
    places = ["restore", str(kinds), "-o", str(tmp_path), "-m", str(small_model_file)]
    assert gpen([*places, *flags]) == 0
    model, sources = gpen_core.load_model(small_model_file), sorted(kinds.iterdir())
    assert len(sources) == 5
    for source in sources:
        image, written = Image.open(source), Image.open(tmp_path / source.name)
        assert written.mode == image.mode, "gray stays gray, alpha stays"
        mode = "RGBA" if image.mode == "RGBA" else "RGB"
        result = gpen_core.restore_image(np.asarray(image.convert(mode)), model, **values)
        assert np.array_equal(np.asarray(written.convert(mode)), result.image), source.name
        assert result.report.restored == (3 if source.stem == "several" else 1)


def drawn_at(photo, model, ratio: float) -> tuple[torch.Tensor, float]:
    """The photograph, its face drawn with `ratio` times the pixels that the model makes."""
    faces = Run(Tools(model)).find(photo).faces
    now = float(pixel_scales(faces, model.output_size, "gpen"))
    side = round(512 * ratio / now)
    return torch.nn.functional.interpolate(photo, (side, side), mode="bicubic", antialias=True)


@pytest.mark.parametrize("ratio", [0.7, 0.95, 1.3, 1.76])
def test_a_face_with_more_pixels_than_the_model_is_named_and_left_on_request(
    photo, small_model, ratio
):
    """As a face drawn at 900 px into a crop of 512."""
    image = drawn_at(photo, small_model, ratio).clamp(0, 1)
    plain = Run(Tools(small_model)).restored(Surface(image))
    [face] = (one for one in plain.report.faces if one.index is not None)
    assert face.restored and face.scale == pytest.approx(ratio, rel=0.05)
    told = [event for event in plain.report.events if "more pixels than the 64 px" in event]
    assert len(told) == (ratio > 1)
    skipping = Run(Tools(small_model), Options.of(skip_sharp=True)).restored(Surface(image))
    [face] = (one for one in skipping.report.faces if one.index is not None)
    assert (face.restored, face.reason) == ((False, SHARPER) if ratio > 1 else (True, None))
    assert torch.equal(skipping.images, image if ratio > 1 else plain.images)
    assert (told == []) or not skipping.report.events


def test_the_scale_is_that_of_what_the_model_makes_not_of_what_it_takes(photo):
    """A model from 64 to 128 px makes as many pixels as one of 128."""
    from gpen_core.models.load import load_model
    from gpen_core.networks import GPEN, GPENConfig

    model = load_model(GPEN(GPENConfig.create(128, narrow=0.0625, in_size=64)).state_dict())
    run = Run(Tools(model), Options.of(skip_sharp=True))
    faces = run.align(photo, run.find(photo).everyone)
    across = 64 / float(faces.matrices[0, :, 0].norm())
    found = run.find(photo)
    assert found.lines()[0].scale == pytest.approx(across / 128, rel=1e-3)
    assert found.left == {0: SHARPER} and found.chosen == []
    assert Run(Tools(), Options.of(skip_sharp=True)).find(photo).chosen == [0], "no model to beat"
