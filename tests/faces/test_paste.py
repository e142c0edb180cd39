"""Pasting: no-op where nothing changed, bit-identical outside the mask, order and batch do not
matter, any output size."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gpen_core.errors import InputError
from gpen_core.faces.align import align
from gpen_core.faces.color import match_color
from gpen_core.faces.extent import box_of, touched
from gpen_core.faces.found import Faces
from gpen_core.faces.mask import crop_masks
from gpen_core.faces.paste import Canvas, Surface, _binomial, _nearness
from gpen_core.faces.templates import template
from gpen_core.faces.warp import shift_matrix
from gpen_core.hooks import Hooks
from gpen_core.options import MaskOptions, PasteOptions
from gpen_core.text import counted


def paste(images, faces, masks, options=None, hooks=None, **surface):
    """All faces at once."""
    canvas = Canvas(Surface(images, **surface), options, hooks)
    canvas.add(faces, masks)
    return canvas.images, canvas.mask


places = st.builds(
    dict,
    x=st.floats(-0.2, 1.2),
    y=st.floats(-0.2, 1.2),
    side=st.floats(0.15, 2.0),
    angle=st.floats(-math.pi, math.pi),
)


def faces_in(images: torch.Tensor, found: list[dict], size: int = 64) -> Faces:
    """Aligned faces: center and side of each crop relative to the picture."""
    height, width = images.shape[-2:]
    landmarks = []
    for place in found:
        scale = place["side"] * min(height, width) / 512
        cos, sin = math.cos(place["angle"]) * scale, math.sin(place["angle"]) * scale
        turn = torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)
        center = torch.tensor([place["x"] * width, place["y"] * height], dtype=torch.float64)
        landmarks.append((template("gpen", 512) - 256) @ turn.T + center)
    points = torch.stack(landmarks).float()
    faces = Faces(
        boxes=torch.cat([points.amin(1), points.amax(1)], 1),
        scores=torch.ones(len(found)),
        landmarks=points,
        source=torch.tensor([place.get("image", 0) for place in found]),
        image_sizes=((height, width),) * len(images),
    )
    return align(images, faces, size)


def smooth(height: int, width: int, count: int = 1) -> torch.Tensor:
    """(count, 3, H, W) 0..1 pictures of gentle waves."""
    y = torch.linspace(0, 1, height)[:, None]
    x = torch.linspace(0, 1, width)[None, :]
    waves = [torch.sin(2 * x + y + 0.7 * k) * torch.cos(y * (1 + 0.3 * k)) for k in range(3)]
    return (torch.stack(waves) * 0.4 + 0.5).expand(count, -1, -1, -1).contiguous()


def one_face(images: torch.Tensor, size: int = 64, **place: float) -> Faces:
    return faces_in(images, [{"x": 0.5, "y": 0.5, "side": 0.6, "angle": 0.3, **place}], size)


@settings(max_examples=60, deadline=None)
@given(height=st.integers(16, 160), width=st.integers(16, 160), place=places)
def test_there_and_back_changes_next_to_nothing(height, width, place) -> None:
    images = smooth(height, width)
    # A crop with as many pixels as its place, or it could not hold the picture.
    size = max(32, min(256, round(place["side"] * min(height, width))))
    faces = faces_in(images, [place], size)
    faces = faces.with_(restored=faces.crops)
    pasted, mask = paste(images, faces, crop_masks(faces))
    assert float((pasted - images).abs().mean()) < 1 / 255
    assert float((pasted - images).abs().max()) < 6 / 255
    assert float(mask.min()) >= 0 and float(mask.max()) <= 1


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(16, 90),
    width=st.integers(16, 90),
    found=st.lists(places, min_size=1, max_size=4),
    kind=st.sampled_from(["rectangle", "ellipse", "hull"]),
    upscale=st.sampled_from([1, 2, 4]),
)
def test_outside_the_mask_every_bit_is_the_inputs(height, width, found, kind, upscale) -> None:
    images = torch.rand(1, 3, height, width)
    before = images.clone()
    faces = faces_in(images, found)
    restored = 1 - 2 * torch.rand(len(found), 3, 64, 64)
    faces = faces.with_(restored=restored)
    masks = crop_masks(faces, MaskOptions(mask=kind))
    options = PasteOptions(upscale=upscale)
    pasted, mask = paste(images, faces, masks, options)
    nothing, _ = paste(images, Faces.empty([(height, width)]), masks[:0], options)
    assert pasted.shape == (1, 3, height * upscale, width * upscale)
    assert mask.shape == (1, 1, height * upscale, width * upscale)
    untouched = (mask == 0).expand_as(pasted)
    assert torch.equal(pasted[untouched], nothing[untouched])
    if upscale == 1:
        assert torch.equal(nothing, images)
    assert torch.equal(images, before)
    assert torch.equal(faces.restored, restored)
    assert float(pasted.min()) >= 0 and float(pasted.max()) <= 1
    assert float(mask.min()) >= 0 and float(mask.max()) <= 1


@settings(max_examples=25, deadline=None)
@given(found=st.lists(places, min_size=2, max_size=4), order=st.permutations(range(4)))
def test_the_order_of_overlapping_faces_does_not_matter(found, order) -> None:
    images = torch.rand(1, 3, 60, 80)
    faces = faces_in(images, found)
    assume(len(faces.matrices.unique(dim=0)) == len(found))
    colors = torch.linspace(-1, 1, len(found))
    faces = faces.with_(restored=faces.crops * 0 + colors[:, None, None, None])
    masks = crop_masks(faces)
    turned = [index for index in order if index < len(found)]
    first = paste(images, faces, masks)
    second = paste(images, faces.take(turned), masks[turned])
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_side_by_side_twins_tie_the_same_way_in_both_orders() -> None:
    images = torch.zeros(1, 3, 64, 96)
    found = [dict(x=x, y=0.5, side=0.7, angle=0.0) for x in (0.375, 0.625)]
    faces = faces_in(images, found)
    faces = faces.with_(restored=faces.crops * 0 + torch.tensor([-0.5, 0.5])[:, None, None, None])
    masks = crop_masks(faces)
    first, _ = paste(images, faces, masks)
    second, _ = paste(images, faces.take([1, 0]), masks)
    assert torch.equal(first, second)
    # Each half belongs to the face whose center is nearer.
    torch.testing.assert_close(first[0, 0, 32, 36:45], torch.full((9,), 0.25), atol=1e-3, rtol=0)
    torch.testing.assert_close(first[0, 0, 32, 51:60], torch.full((9,), 0.75), atol=1e-3, rtol=0)


def test_the_stronger_mask_wins_and_is_blended_with_the_background() -> None:
    images = torch.zeros(1, 3, 64, 64)
    faces = faces_in(images, [dict(x=0.5, y=0.5, side=0.8, angle=0.0)] * 2)
    faces = faces.with_(restored=torch.tensor([1.0, 0.0])[:, None, None, None].expand(2, 3, 64, 64))
    masks = crop_masks(faces).clone()
    masks[0] *= 0.25
    masks[1] *= 0.5
    pasted, mask = paste(images, faces, masks)
    assert float(mask[0, 0, 32, 32]) == pytest.approx(0.5, abs=1e-4)
    assert float(pasted[0, 0, 32, 32]) == pytest.approx(0.25, abs=1e-4)


def test_a_batch_gives_what_single_images_give() -> None:
    images = torch.rand(3, 3, 50, 70)
    found = [dict(x=0.4, y=0.5, side=0.7, angle=0.2, image=image) for image in (2, 0, 2)]
    found[2]["x"] = 0.7
    faces = faces_in(images, found)
    faces = faces.with_(restored=torch.rand_like(faces.crops) * 2 - 1)
    masks = crop_masks(faces)
    pasted, mask = paste(images, faces, masks)
    for image in range(3):
        members = torch.nonzero(faces.source == image).flatten()
        part = faces.take(members)
        part = part.with_(source=torch.zeros_like(part.source))
        alone, alone_mask = paste(images[image : image + 1], part, masks[members])
        assert torch.equal(alone[0], pasted[image])
        assert torch.equal(alone_mask[0], mask[image])
    assert torch.equal(pasted[1], images[1])


def test_faces_may_come_in_parts() -> None:
    images = torch.rand(1, 3, 50, 70)
    found = [dict(x=x, y=0.5, side=0.8, angle=x) for x in (0.3, 0.5, 0.7)]
    faces = faces_in(images, found)
    faces = faces.with_(restored=torch.rand_like(faces.crops) * 2 - 1)
    masks = crop_masks(faces)
    canvas = Canvas(Surface(images))
    for part in ([2], [0, 1]):
        canvas.add(faces.take(part), masks[part])
    pasted, mask = paste(images, faces, masks)
    assert torch.equal(canvas.images, pasted)
    assert torch.equal(canvas.mask, mask)


def test_a_face_outside_of_its_picture_changes_nothing() -> None:
    images = torch.rand(1, 3, 40, 40)
    faces = one_face(images, x=5.0)
    pasted, mask = paste(images, faces.with_(restored=faces.crops), crop_masks(faces))
    assert torch.equal(pasted, images)
    assert not mask.any()


def test_a_mask_up_to_the_border_ends_at_the_crop() -> None:
    """A user's own crop mask need not be zero along its border."""
    images = torch.zeros(1, 3, 64, 64)
    faces = one_face(images, size=32, side=0.5, angle=math.pi / 4)
    faces = faces.with_(restored=torch.ones(1, 3, 256, 256))
    _, mask = paste(images, faces, torch.ones(1, 1, 256, 256))
    assert float(mask[0, 0, 32, 32]) == pytest.approx(1, abs=1e-3)
    # The turned crop touches its box's sides in four points; the corners of the box are outside.
    assert not mask[0, 0, 11:15, 11:15].any()
    assert float(mask.sum()) == pytest.approx(32 * 32, rel=0.05)


def test_a_large_face_keeps_its_detail_in_a_large_output() -> None:
    """Fine stripes at 1024 px survive a 4 times enlargement; through 256 px they would be gray."""
    images = torch.full((1, 3, 256, 256), 0.5)
    faces = one_face(images, size=128, side=0.9, angle=0.0)
    stripes = ((torch.arange(1024) // 2) % 2).float() * 2 - 1
    faces = faces.with_(restored=stripes.expand(1, 3, 1024, 1024))
    large, _ = paste(images, faces, crop_masks(faces), PasteOptions(upscale=4))
    small, _ = paste(images, faces, crop_masks(faces))
    assert float(large[0, 0, 480:544, 480:544].std()) > 0.3
    # At the input's size the same stripes are finer than a pixel: antialiased, not a moiré.
    assert float(small[0, 0, 112:144, 112:144].std()) < 0.02


def test_a_background_gives_the_output_its_size() -> None:
    images = smooth(60, 80)
    faces = one_face(images, size=96)
    faces = faces.with_(restored=faces.crops)
    background = torch.nn.functional.interpolate(images, (150, 200), mode="bicubic")
    pasted, mask = paste(images, faces, crop_masks(faces), background=background)
    assert pasted.shape[-2:] == mask.shape[-2:] == (150, 200)
    assert float((pasted - background).abs().max()) < 4 / 255
    assert mask.any()
    with pytest.raises(InputError, match="their shapes differ"):
        paste(images, faces, crop_masks(faces), background=torch.rand(1, 3, 150, 150))
    with pytest.raises(
        InputError, match=r"The background has the shape \(2, 3, 150, 200\) for 1 image"
    ):
        paste(images, faces, crop_masks(faces), background=torch.rand(2, 3, 150, 200))


def test_a_users_mask_is_multiplied_in() -> None:
    images = torch.rand(1, 3, 64, 64)
    faces = one_face(images)
    faces = faces.with_(restored=-faces.crops)
    masks = crop_masks(faces)
    user = torch.ones(1, 1, 64, 64)
    user[..., :32] = 0
    pasted, mask = paste(images, faces, masks, user_mask=user)
    plain, plain_mask = paste(images, faces, masks)
    assert torch.equal(pasted[..., :32], images[..., :32])
    assert torch.equal(pasted[..., 32:], plain[..., 32:])
    assert torch.equal(mask, plain_mask * user)
    _, half_mask = paste(images, faces, masks, user_mask=user[..., ::2, ::2])
    assert torch.equal(half_mask[..., 40:], mask[..., 40:]) and half_mask[..., :24].max() == 0
    with pytest.raises(InputError, match="3 masks came with 1 image"):
        paste(images, faces, masks, user_mask=torch.ones(3, 1, 64, 64))


def test_small_face_filter_smooths_small_boxes_only() -> None:
    images = torch.rand(1, 3, 200, 200)
    faces = one_face(images, side=0.5)
    faces = faces.with_(restored=torch.rand_like(faces.crops) * 2 - 1)
    masks = crop_masks(faces)
    options = PasteOptions(small_face_filter=True)
    small, _ = paste(images, faces, masks, options)
    plain, _ = paste(images, faces, masks)
    middle = (0, slice(None), slice(85, 115), slice(85, 115))
    assert float(small[middle].std()) < 0.8 * float(plain[middle].std())
    wide = faces.with_(boxes=torch.tensor([[50.0, 50.0, 150.0, 150.0]]))
    large, _ = paste(images, wide, masks, options)
    assert torch.equal(large, plain)


def test_color_match_takes_out_a_tint_and_keeps_the_detail() -> None:
    images = smooth(128, 128)
    faces = one_face(images, size=128, side=0.9)
    detail = torch.rand(1, 1, 128, 128) * 0.2 - 0.1
    tint = torch.tensor([0.2, -0.1, 0.1])[None, :, None, None]
    restored = (faces.crops + tint + detail).clamp(-1, 1)
    masks = crop_masks(faces)

    def error(amount: float) -> float:
        matched = match_color(restored, faces.crops, masks, amount)
        return float((matched - faces.crops - detail)[..., 20:-20, 20:-20].abs().mean())

    assert error(1.0) < 0.15 * error(0.0)
    assert error(1.0) < error(0.5) < error(0.0)
    assert torch.equal(match_color(restored, faces.crops, masks, 0.0), restored)
    tinted = faces.with_(restored=restored)
    plain, _ = paste(images, tinted, masks)
    matched, _ = paste(images, tinted, masks, PasteOptions(color_match=1.0))
    assert (matched - images).abs().mean() < 0.5 * (plain - images).abs().mean()


def test_gray_stays_gray_to_the_bit() -> None:
    images = smooth(64, 64)[:, :1].expand(-1, 3, -1, -1).contiguous()
    faces = one_face(images)
    faces = faces.with_(restored=torch.rand(1, 1, 64, 64).expand(1, 3, 64, 64) * 2 - 1)
    for upscale in (1, 2):
        pasted, mask = paste(images, faces, crop_masks(faces), PasteOptions(upscale=upscale))
        assert mask.any()
        assert torch.equal(pasted[:, 0], pasted[:, 1])
        assert torch.equal(pasted[:, 0], pasted[:, 2])


def test_progress_counts_every_face() -> None:
    images = torch.rand(1, 3, 40, 40)
    faces = faces_in(
        images, [dict(x=0.5, y=0.5, side=0.5, angle=0.0), dict(x=9, y=9, side=1, angle=0)]
    )
    steps = []

    class Counting(Hooks):
        def progress(self, stage, done, total):
            steps.append((stage, done, total))

    restored = faces.with_(restored=faces.crops)
    paste(images, restored, crop_masks(faces), PasteOptions(upscale=2), hooks=Counting())
    assert steps == [("enlarge", 40, 40), ("paste", 1, 2), ("paste", 2, 2)]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_come_back_as_they_went_in(dtype) -> None:
    images = smooth(64, 64).to(dtype)
    faces = one_face(images)
    faces = faces.with_(restored=-faces.crops)
    pasted, mask = paste(images, faces, crop_masks(faces))
    assert pasted.dtype == dtype
    untouched = (mask == 0).expand_as(pasted)
    assert torch.equal(pasted[untouched], images[untouched])
    assert not torch.equal(pasted, images)


def refusal(images: torch.Tensor, faces: Faces, masks: torch.Tensor, **surface) -> InputError:
    with pytest.raises(InputError) as caught:
        paste(images, faces, masks, **surface)
    return caught.value


def test_wrong_input_is_refused() -> None:
    images = torch.rand(1, 3, 40, 40)
    aligned = one_face(images)
    faces = aligned.with_(restored=aligned.crops)
    masks = crop_masks(faces)
    message = "These faces are not restored yet; align and restore them first."
    for part in ("restored", "matrices", "crops"):
        assert str(refusal(images, faces.with_(**{part: None}), masks)) == message
    for shape in ((2, 1, 64, 64), (1, 2, 64, 64), (1, 64, 64), (1, 1, 64), (0, 1, 64, 64)):
        assert str(refusal(images, faces, torch.ones(shape))) == (
            f"1 faces came with masks of shape {shape}; give one mask per face, (1, 1, size, size)."
        )
    for last in (1, 4):
        other = faces.with_(source=torch.tensor([last]))
        assert str(refusal(images, other, masks)) == (
            f"A face belongs to image {last}, which is not among the 1 given; "
            "pass the images in which the faces were detected."
        )
    with pytest.raises(InputError, match="upscale must be one of 1, 2, 4, not 3"):
        PasteOptions(upscale=3)
    with pytest.raises(InputError, match="color_match must be from 0 to 1, not 2"):
        replace(PasteOptions(), color_match=2)


@pytest.mark.parametrize("shape", [(3, 40, 40), (1, 3, 40), (1, 4, 40, 40), (1, 3, 40, 40, 1)])
def test_images_of_another_shape_are_refused(shape) -> None:
    with pytest.raises(InputError) as caught:
        Canvas(Surface(torch.rand(shape)))
    assert str(caught.value) == f"Images must be (B, 3, H, W), not {shape}."


@pytest.mark.parametrize(
    "shape", [(2, 3, 80, 80), (1, 4, 80, 80), (3, 80, 80), (3, 3, 80), (0, 3, 80, 80)]
)
def test_another_number_or_kind_of_backgrounds_is_refused(shape) -> None:
    with pytest.raises(InputError) as caught:
        Canvas(Surface(torch.rand(3, 3, 40, 40), torch.rand(shape)))
    assert str(caught.value) == (
        f"The background has the shape {shape} for 3 images; "
        "give one RGB picture, or one for each image."
    )
    assert caught.value.option == "background"


def test_a_background_may_be_a_pixel_off_the_shape() -> None:
    """What an upscaler rounds; one more is another picture."""
    images = torch.rand(2, 3, 40, 60)
    for size in ((80, 120), (79, 120), (80, 119), (81, 120), (100, 151), (67, 100)):
        for count in (1, 2):
            canvas = Canvas(Surface(images, torch.rand(count, 3, *size)))
            assert canvas.images.shape == (2, 3, *size) and canvas.mask.shape == (2, 1, *size)
    for tall, wide in ((80, 122), (78, 120), (82, 120), (80, 118), (120, 80)):
        with pytest.raises(InputError) as caught:
            Canvas(Surface(images, torch.rand(1, 3, tall, wide)))
        assert str(caught.value) == (
            f"The background is {wide}x{tall} and the image 60x40: their shapes differ; "
            "use an enlarged version of the same picture."
        )
        assert caught.value.option == "background"


def test_a_background_takes_the_type_of_the_images() -> None:
    images = torch.rand(2, 3, 40, 60)
    background = torch.rand(1, 3, 80, 120, dtype=torch.float64)
    canvas = Canvas(Surface(images, background))
    assert canvas.images.dtype == torch.float32
    for image in canvas.images:
        assert torch.equal(image, background[0].float())


@pytest.mark.parametrize("shape", [(3, 1, 40, 40), (1, 3, 40, 40), (2, 40, 40), (2, 1, 40)])
def test_another_number_or_kind_of_user_masks_is_refused(shape) -> None:
    with pytest.raises(InputError) as caught:
        Canvas(Surface(torch.rand(2, 3, 40, 40), user_mask=torch.ones(shape)))
    assert str(caught.value) == (
        f"{counted(shape[0], 'mask')} came with 2 images; give one, or one for each image."
    )
    assert caught.value.option == "user_mask"


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float64])
def test_a_user_mask_of_any_type_is_taken_from_0_to_1(dtype) -> None:
    images = torch.rand(1, 3, 64, 64)
    faces = one_face(images)
    faces = faces.with_(restored=-faces.crops)
    user = torch.zeros(1, 1, 64, 64)
    user[..., 32:] = 1
    expected = paste(images, faces, crop_masks(faces), user_mask=user)
    given = user if dtype == torch.bool else user * 3 - (1 if dtype == torch.float64 else 0)
    found = paste(images, faces, crop_masks(faces), user_mask=given.to(dtype))
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float32 and torch.equal(one, other)


@pytest.mark.parametrize(("height", "width"), [(128, 64), (64, 128), (128, 128), (32, 32)])
def test_a_user_mask_of_another_size_is_antialiased_where_it_shrinks(height, width) -> None:
    """One-pixel stripes become a gray, whichever side shrinks; where none does, they stay."""
    stripes = (torch.arange(width) % 2).float().expand(1, 1, height, width)
    if height > width:
        stripes = (torch.arange(height) % 2).float()[:, None].expand(1, 1, height, width)
    images = torch.rand(1, 3, 64, 64)
    faces = one_face(images)
    faces = faces.with_(restored=-faces.crops)
    _, plain = paste(images, faces, crop_masks(faces))
    _, mask = paste(images, faces, crop_masks(faces), user_mask=stripes)
    share = mask[0, 0, 28:36, 28:36] / plain[0, 0, 28:36, 28:36]
    if height == 32:
        assert float(share.max()) > 0.7 and float(share.min()) < 0.3
    else:
        torch.testing.assert_close(share, torch.full((8, 8), 0.5), rtol=0, atol=0.02)


@pytest.mark.parametrize("amount", [16, 128])
def test_a_crop_mask_of_another_size_lies_over_the_face(amount) -> None:
    """The left half of a mask covers the left half of the face; stripes too fine are gray."""
    images = torch.zeros(1, 3, 64, 64)
    faces = one_face(images, size=32, side=0.5, angle=0.0)
    faces = faces.with_(restored=torch.ones(1, 3, 32, 32))
    half = torch.zeros(1, 1, amount, amount)
    half[..., : amount // 2] = 1
    _, mask = paste(images, faces, half)
    row = mask[0, 0, 32]
    assert float(row[20:28].min()) > 0.95 and float(row[36:48].max()) < 0.05
    stripes = (torch.arange(amount) % 2).float().expand(1, 1, amount, amount)
    _, mask = paste(images, faces, stripes)
    spread = float(mask[0, 0, 28:36, 28:36].std())
    assert spread < 0.02 if amount == 128 else spread > 0.2


def test_every_face_is_matched_with_its_own_crop() -> None:
    images = torch.rand(1, 3, 80, 160)
    found = [dict(x=x, y=0.5, side=0.8, angle=0.1) for x in (0.25, 0.75)]
    faces = faces_in(images, found)
    faces = faces.with_(
        crops=torch.stack([torch.full((3, 64, 64), value) for value in (-0.5, 0.5)]),
        restored=torch.zeros(2, 3, 64, 64),
    )
    options, masks = PasteOptions(color_match=1.0), crop_masks(faces)
    pasted, _ = paste(images, faces, masks, options)
    assert float(pasted[0, 0, 40, 40]) == pytest.approx(0.25, abs=0.01)
    assert float(pasted[0, 0, 40, 120]) == pytest.approx(0.75, abs=0.01)
    half, _ = paste(images, faces, masks, PasteOptions(color_match=0.5))
    assert float(half[0, 0, 40, 120]) == pytest.approx(0.625, abs=0.01)


def test_the_small_face_filter_is_the_binomial_of_its_docstring() -> None:
    images = torch.rand(2, 3, 9, 11, generator=torch.Generator().manual_seed(0))
    kernel = torch.tensor([1.0, 2.0, 1.0]) / 4
    kernel = (kernel[:, None] * kernel).expand(3, 1, 3, 3)
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1), mode="reflect")
    expected = torch.nn.functional.conv2d(padded, kernel, groups=3)
    torch.testing.assert_close(_binomial(images), expected, rtol=0, atol=1e-6)


def test_nearness_falls_with_the_distance_in_crop_pixels() -> None:
    """1 at the center, 1/2 half a crop's side away, whatever the scale and the turn."""
    for scale in (0.5, 2.0):
        turn = torch.tensor(
            [[0.0, -scale, 70.0], [scale, 0.0, 10.0], [0.0, 0.0, 1.0]], dtype=torch.float64
        )
        center = (70 - scale * 31.5, 10 + scale * 31.5)
        found = _nearness(turn, 64, torch.zeros(4, 90, 120))
        assert found.shape == (1, 90, 120)
        y, x = torch.meshgrid(torch.arange(90.0), torch.arange(120.0), indexing="ij")
        distance = ((x - center[0]) ** 2 + (y - center[1]) ** 2) / (32 * scale) ** 2
        torch.testing.assert_close(found[0], 1 / (1 + distance), rtol=1e-4, atol=1e-6)


def test_a_face_outside_of_its_picture_is_told_apart(caplog) -> None:
    caplog.set_level("DEBUG", "gpen_core")
    images = torch.rand(1, 3, 40, 40)
    places = [dict(x=0.5, y=0.5, side=0.5, angle=0.0), dict(x=9, y=9, side=1, angle=0)]
    faces = faces_in(images, places)
    paste(images, faces.with_(restored=faces.crops), crop_masks(faces))
    message = "Face 1 lies outside of its picture; nothing is pasted."
    assert [record.getMessage() for record in caplog.records] == [message]


@pytest.mark.parametrize(
    ("shift", "expected"),
    [
        ((0, 0), (0, 0, 11, 11)),
        ((3, 5), (2, 4, 14, 16)),
        ((3.2, 5), (2, 4, 14, 16)),
        ((-4, -9), (0, 0, 7, 2)),
        ((15, 18), (14, 17, 20, 20)),
        ((-11, 3), None),
        ((3, -11), None),
        ((21, 3), None),
        ((3, 21), None),
    ],
)
def test_the_box_of_a_face_is_cut_at_the_picture(shift, expected) -> None:
    """Of a face of 10 px; its outer pixels reach half a pixel beyond their centers."""
    assert box_of((20, 20), shift_matrix(*shift), (0, 0, 10, 10)) == expected


def test_the_weaker_face_leaves_no_trace_where_a_user_mask_takes_the_stronger_away() -> None:
    """Which face a pixel belongs to is settled before the user's mask."""
    images = torch.zeros(1, 3, 64, 64)
    faces = faces_in(images, [dict(x=0.5, y=0.5, side=0.8, angle=0.0)] * 2)
    faces = faces.with_(restored=torch.tensor([1.0, 0.0])[:, None, None, None].expand(2, 3, 64, 64))
    masks = crop_masks(faces).clone()
    masks[0] *= 0.25
    user = torch.zeros(1, 1, 64, 64)
    pasted, mask = paste(images, faces, masks, user_mask=user)
    assert torch.equal(pasted, images) and not mask.any()
    _, mask = paste(images, faces, masks, user_mask=user + 0.5)
    assert float(mask[0, 0, 32, 32]) == pytest.approx(0.5, abs=1e-3)


def test_a_small_mask_is_pasted_as_in_the_whole_crop() -> None:
    """Only the part of the picture that it reaches is worked on."""
    images = torch.rand(1, 3, 90, 120)
    faces = one_face(images, side=0.9)
    faces = faces.with_(restored=torch.rand_like(faces.crops) * 2 - 1)
    for size in (3, 30):
        masks = torch.zeros(1, 1, 64, 64)
        masks[..., 20 : 20 + size, 31 : 31 + size] = 1
        left, top, right, bottom = touched(faces, masks)
        pasted, mask = paste(images, faces, masks)
        # Elsewhere a mask so weak that it changes no bit makes the whole crop be worked on.
        whole, strength = paste(images, faces, masks.clamp(min=1e-30))
        assert float((pasted - whole).abs().max()) < 1e-4
        assert float((mask - strength).abs().max()) < 1e-4
        inside = torch.zeros(90, 120, dtype=torch.bool)
        inside[top:bottom, left:right] = True
        assert mask.any() and not mask[0, 0, ~inside].any()
        assert (right - left) * (bottom - top) < 90 * 120 / 2
