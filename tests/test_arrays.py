"""One picture's whole way, as callers of the library see it."""

from __future__ import annotations

import logging
import sys

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import gpen_core
from gpen_core.errors import InputError
from gpen_core.hooks import Hooks
from gpen_core.options import Options


def batch_of(*pictures: np.ndarray) -> torch.Tensor:
    return torch.stack([torch.from_numpy(picture).float() / 255 for picture in pictures])


def test_the_fixed_names(portrait):
    model = gpen_core.load_model()
    assert isinstance(model.input_size, int)
    assert model.info.architecture == "gpen-v1"
    faces = gpen_core.detect_faces(portrait)
    assert faces.boxes.shape == (1, 4)
    assert faces.scores.shape == (1,)
    assert faces.landmarks.shape == (1, 5, 2)
    result = gpen_core.restore_image(portrait, model, strength=1.0)
    assert result.image.shape == portrait.shape
    assert result.image.dtype == np.uint8
    assert result.mask.shape == portrait.shape[:2]
    assert len(result.faces) == 1


def test_outside_the_mask_every_bit_is_the_input(portrait, small_model):
    before = portrait.copy()
    result = gpen_core.restore_image(portrait, small_model)
    outside = result.mask.numpy() == 0
    assert np.array_equal(result.image[outside], portrait[outside])
    assert 0.3 < outside.mean() < 0.95
    assert (result.image[result.mask.numpy() > 0.9] != portrait[result.mask.numpy() > 0.9]).any()
    assert np.array_equal(portrait, before), "the input must not be written to"


def test_float_batches_keep_their_layout_alpha_and_bits(portrait, no_face, small_model):
    alpha = torch.rand(2, 512, 512, 1)
    blank = np.asarray(Image.fromarray(no_face).resize((512, 512)))
    image = torch.cat([batch_of(portrait, blank), alpha], -1)
    result = gpen_core.restore_image(image, small_model)
    assert result.image.shape == image.shape
    assert torch.equal(result.image[..., 3:], alpha)
    assert torch.equal(result.image[1], image[1])
    assert not torch.equal(result.image[0], image[0])
    assert result.mask[1].max() == 0
    assert [face.image for face in result.report.faces] == [0]


def test_a_picture_alone_and_in_a_batch(portrait, small_model):
    turned = np.ascontiguousarray(portrait[:, ::-1])
    together = gpen_core.restore_image(batch_of(portrait, turned, portrait), small_model).image
    alone = gpen_core.restore_image(batch_of(turned), small_model).image
    assert torch.allclose(together[1], alone[0], atol=1e-5)
    assert torch.allclose(together[0], together[2], atol=1e-5)


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_groups_of_frames_do_not_change_the_result(portrait, small_model, frames, monkeypatch):
    image = batch_of(portrait, portrait[:, ::-1].copy(), portrait)
    whole = gpen_core.restore_image(image, small_model)
    monkeypatch.setattr("gpen_core.run.groups.__defaults__", (frames,))
    parts = gpen_core.restore_image(image, small_model)
    assert torch.allclose(parts.image, whole.image, atol=1e-5)
    assert parts.faces.source.tolist() == [0, 1, 2]


def test_no_face_is_said_and_changes_nothing(no_face, small_model, caplog):
    with caplog.at_level(logging.WARNING):
        result = gpen_core.restore_image(no_face, small_model)
    assert np.array_equal(result.image, no_face)
    assert result.mask.max() == 0
    assert "No face was found" in caplog.text


@pytest.mark.parametrize("keep", ["", [], "7"])
def test_an_empty_selection_changes_nothing(portrait, small_model, keep):
    result = gpen_core.restore_image(portrait, small_model, options=Options.of(keep=keep))
    assert np.array_equal(result.image, portrait)
    assert [face.reason for face in result.report.faces] == ["not selected"]


def test_gray_stays_gray(portrait, small_model):
    gray = np.repeat(portrait.mean(-1, keepdims=True).astype(np.uint8), 3, -1)
    restored = gpen_core.restore_image(gray, small_model).image
    assert (restored != gray).any()
    assert np.array_equal(restored[..., 0], restored[..., 1])
    assert np.array_equal(restored[..., 1], restored[..., 2])


def test_strength_0_is_nearly_the_input(portrait, small_model):
    restored = gpen_core.restore_image(portrait, small_model, strength=0).image
    # The 64-px crop of this model holds a third of the face's detail.
    assert np.abs(restored.astype(int) - portrait.astype(int)).mean() < 2


@pytest.mark.parametrize("upscale", [2, 4])
def test_upscaled_outside_the_mask_is_the_plain_enlargement(portrait, small_model, upscale):
    small = portrait[20:220, 120:320]
    options = Options.of(upscale=upscale)
    result = gpen_core.restore_image(batch_of(small), small_model, options=options)
    plain = torch.nn.functional.interpolate(
        batch_of(small).permute(0, 3, 1, 2), scale_factor=upscale, mode="bicubic"
    ).clamp(0, 1)
    outside = result.mask[0] == 0
    assert result.image.shape[1:3] == (200 * upscale, 200 * upscale)
    assert torch.equal(result.image[0][outside], plain[0].permute(1, 2, 0)[outside])
    assert len(result.faces) == 1


def test_detail_of_a_large_face_survives_upscaling(portrait):
    """A 256-px face pasted into a picture enlarged twice is not squeezed through the old size."""

    class Checkerboard:
        """Stands for a perfect restorer: paints detail finer than the input can hold."""

        input_size = output_size = 256
        device, precision = torch.device("cpu"), "fp32"
        info, task = gpen_core.load_model().info, "restore"

        def __call__(self, crops, seed=0):
            y, x = torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij")
            return ((x // 2 + y // 2) % 2 * 2.0 - 1).expand(len(crops), 3, -1, -1)

    options = Options.of(upscale=2)
    result = gpen_core.restore_image(portrait, Checkerboard(), options=options)
    inside = result.mask.numpy() > 0.99
    assert result.image[inside].astype(float).std() > 70


def test_a_user_mask_limits_the_change(portrait, small_model):
    mask = torch.zeros(512, 512)
    mask[:, 256:] = 1
    result = gpen_core.restore_image(portrait, small_model, user_mask=mask)
    assert np.array_equal(result.image[:, :256], portrait[:, :256])
    assert result.mask[:, 256:].max() > 0


def test_a_background_decides_the_size(portrait, small_model):
    large = np.asarray(Image.fromarray(portrait).resize((1536, 1536), Image.Resampling.LANCZOS))
    result = gpen_core.restore_image(portrait, small_model, background=large)
    assert result.image.shape == large.shape
    outside = result.mask.numpy() == 0
    assert np.array_equal(result.image[outside], large[outside])


def test_the_parsing_mask_needs_a_parser(portrait, small_model):
    with pytest.raises(InputError, match="parser"):
        gpen_core.restore_image(portrait, small_model, mask="parsing")


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), "uint8"),
        (np.zeros((4, 4), np.uint8), "shape|float"),
        (torch.full((1, 64, 64, 3), float("nan")), "NaN"),
        (torch.zeros(1, 0, 64, 3), "empty"),
        (torch.zeros(1, 64, 64, 3, dtype=torch.int32), "floating-point"),
    ],
)
def test_bad_images_are_refused(image, message, small_model):
    with pytest.raises(InputError, match=message):
        gpen_core.restore_image(image, small_model)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(16, 90), st.integers(16, 90), st.integers(0, 1000))
def test_any_size_from_16_px(small_model, height, width, seed):
    generator = np.random.default_rng(seed)
    picture = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
    options = Options.of(confidence=0.5)
    result = gpen_core.restore_image(picture, small_model, options=options)
    assert result.image.shape == picture.shape
    outside = result.mask.numpy() == 0
    assert np.array_equal(result.image[outside], picture[outside])
    assert 0 <= result.mask.min() <= result.mask.max() <= 1


def test_two_restorations_in_series(portrait, small_model):
    from gpen_core.faces.align import align
    from gpen_core.faces.restore import restore

    image = batch_of(portrait).permute(0, 3, 1, 2)
    faces = align(image, gpen_core.detect_faces(portrait), 64)
    once = restore(faces, small_model)
    twice = restore(once, small_model)
    expected = small_model(once.restored).clamp(-1, 1)
    assert torch.allclose(twice.restored, expected, atol=1e-5)
    assert torch.equal(twice.crops, faces.crops)


def test_crops_come_back_only_when_asked_for(portrait, small_model):
    assert gpen_core.restore_image(portrait, small_model).faces.restored is None
    kept = gpen_core.restore_image(portrait, small_model, options=Options(keep_crops=True)).faces
    assert kept.crops.shape == kept.restored.shape == (1, 3, 64, 64)


def test_faces_in_parts_give_the_same_picture(shared, small_model, monkeypatch):
    picture = np.asarray(Image.open(shared / "photos" / "18f_Estonia2.jpg").convert("RGB"))
    whole = gpen_core.restore_image(picture, small_model)
    monkeypatch.setattr("gpen_core.run.steps._PIXEL_MEMORY", 1)
    options = Options.of(batch_size=1)
    parts = gpen_core.restore_image(picture, small_model, options=options)
    assert np.abs(parts.image.astype(int) - whole.image.astype(int)).max() <= 1
    assert torch.equal(parts.faces.boxes, whole.faces.boxes)
    assert len(whole.faces) == 10


def test_arrays_as_people_have_them(portrait, small_model):
    """Turned views, read-only arrays, NumPy's numbers, names with commas."""
    turned = portrait[::-1, ::-1]
    result = gpen_core.restore_image(turned, small_model, rotations=True)
    assert result.report.restored == 1
    mask = np.zeros((20, 20), np.float64)
    assert gpen_core.restore_image(portrait, small_model, user_mask=mask).mask.max() == 0
    kept = gpen_core.restore_image(portrait, small_model, keep=np.int64(1))
    assert kept.report.restored == 1
    assert Options.of(exclude="hair, hat").mask.exclude == ("hair", "hat")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"user_mask": torch.ones(2, 5, 5)}, "2 masks were given for 1 pictures"),
        ({"background": torch.rand(2, 512, 512, 3)}, "2 backgrounds were given for 1 pictures"),
    ],
)
def test_too_many_companions_are_refused(portrait, small_model, values, message):
    with pytest.raises(InputError, match=message):
        gpen_core.restore_image(portrait, small_model, **values)


def test_a_picture_without_colors_dimension_is_named(portrait, small_model):
    with pytest.raises(InputError, match=r"shape \(H, W, 3\)"):
        gpen_core.restore_image(portrait[..., 0], small_model)


# --- where a host may stop -----------------------------------------------------------------------


class Stopped(Exception):
    pass


class Stopping(Hooks):
    """Notes who asks, and raises when asked for the n-th time."""

    def __init__(self, limit: int | None = None) -> None:
        self.limit, self.asked = limit, []

    def may_stop(self) -> None:
        caller = sys._getframe(1)
        while caller.f_code.co_name in ("may_stop", "progress", "__call__"):
            caller = caller.f_back
        self.asked.append(caller.f_code.co_name)
        if self.limit is not None and len(self.asked) > self.limit:
            raise Stopped

    def progress(self, stage: str, done: int, total: int) -> None:
        self.may_stop()


def test_a_host_may_stop_between_any_two_computations_over_a_whole_picture(portrait, small_model):
    """Each of them takes up to half a second on 48 megapixels."""
    hooks = Stopping()
    gpen_core.restore_image(batch_of(portrait), small_model, upscale=2, hooks=hooks)
    names = hooks.asked
    counted = {name: names.count(name) for name in names}
    assert counted["restore_batch"] == 1 and counted["detect"] == 1
    assert counted["_detect_one"] == 2 and counted["search"] == 2, "around the search and in it"
    assert counted["_stretch"] == 2, "before and after the canvas copies its background"
    assert counted["enlarge"] == 1 and counted["to_comfy"] == 1
    assert {"cut_out", "restore_crops", "add"} <= set(names)
    for limit in range(len(names)):
        with pytest.raises(Stopped):
            gpen_core.restore_image(
                batch_of(portrait), small_model, upscale=2, hooks=Stopping(limit)
            )
