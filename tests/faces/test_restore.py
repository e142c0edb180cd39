"""Restoring in batches: same result however it is cut, and every fall-back said."""

from __future__ import annotations

import logging
import math
from copy import copy
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from gpen_core.errors import GPENError, InputError
from gpen_core.faces.align import align
from gpen_core.faces.detect import detect
from gpen_core.faces.detector import load_detector
from gpen_core.faces.found import Faces
from gpen_core.faces.restore import restore, restore_crops
from gpen_core.hooks import Hooks, Recording
from gpen_core.images.fade import Fade
from gpen_core.images.layouts import fit, from_network, to_network
from gpen_core.images.monochrome import Tone
from gpen_core.memory.shortage import is_out_of_memory
from gpen_core.models.load import build_model
from gpen_core.models.model import Model
from gpen_core.networks import GPEN, GPENConfig
from gpen_core.options import Options, RestoreOptions
from gpen_core.run import Found, Run, Tools


def crops_of(count: int, size: int = 64) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


def faces_of(count: int) -> Faces:
    return Faces(
        boxes=torch.zeros(count, 4),
        scores=torch.ones(count),
        landmarks=torch.zeros(count, 5, 2),
        source=torch.zeros(count, dtype=torch.int64),
        image_sizes=((64, 64),),
        crops=crops_of(count),
    )


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 64])
def test_the_batch_size_does_not_change_the_result(small_model, batch):
    reference = restore(faces_of(5), small_model, RestoreOptions(batch_size=1)).restored
    restored = restore(faces_of(5), small_model, RestoreOptions(batch_size=batch)).restored
    assert torch.allclose(restored, reference, atol=1e-5)
    assert restored.std() > 0.05


def test_strength_blends_with_the_aligned_input(small_model):
    faces = faces_of(2)
    full = restore(faces, small_model).restored
    half = restore(faces, small_model, RestoreOptions(strength=0.5)).restored
    none = restore(faces, small_model, RestoreOptions(strength=0)).restored
    assert torch.allclose(none, faces.crops, atol=1e-6)
    assert torch.allclose(half, (full + faces.crops) / 2, atol=1e-5)


def test_crops_of_another_size_are_resized(small_model):
    """Through the images' range: what lies beyond -1..1 is clamped on the way."""
    large = crops_of(2, 128) * 1.5
    expected = torch.nn.functional.interpolate(
        large.clamp(-1, 1), (64, 64), mode="bicubic", antialias=True
    ).clamp(-1, 1)
    torch.testing.assert_close(fit(large, 64), expected, rtol=0, atol=1e-5)
    assert fit(large, 128) is large
    none = restore(faces_of(2).with_(crops=large), small_model, RestoreOptions(strength=0))
    torch.testing.assert_close(none.restored, expected, rtol=0, atol=1e-5)


def test_what_the_network_overshoots_is_clamped(small_model):
    """Ten times its output, one face: nothing beyond -1..1 comes back, at neither end."""

    class Loud(type(small_model.network)):
        def forward(self, x, generator=None):
            return super().forward(x, generator) * 10

    network = copy(small_model.network)
    network.__class__ = Loud
    plain = restore(faces_of(1), small_model).restored
    loud = restore(faces_of(1), replace(small_model, network=network)).restored
    torch.testing.assert_close(loud, (plain * 10).clamp(-1, 1), rtol=0, atol=1e-4)
    assert (float(loud.min()), float(loud.max())) == (-1, 1)


def test_a_second_restorer_improves_what_the_first_one_made(small_model):
    once = restore(faces_of(2), small_model)
    twice = restore(once, small_model)
    alone = restore(faces_of(2).with_(crops=once.restored), small_model)
    assert torch.equal(twice.restored, alone.restored)
    assert not torch.equal(twice.restored, once.restored)


def test_every_face_comes_back_in_its_own_tone(small_model):
    """A gray picture, one in colors, a sepia one, two faces of each, in one batch."""
    curve = torch.stack([torch.full((32,), 0.1), torch.full((32,), -0.1)])
    tones = (Tone(), None, Tone(curve))
    faces = faces_of(6).with_(
        source=torch.tensor([0, 1, 2, 0, 1, 2]), image_sizes=((64, 64),) * 3, tones=tones
    )
    plain = restore(faces.with_(tones=()), small_model).restored
    found = restore(faces, small_model, RestoreOptions(batch_size=6)).restored
    for index in range(6):
        tone = tones[index % 3]
        expected = plain[index]
        if tone is not None:
            expected = to_network(tone.apply(from_network(plain[index : index + 1])))[0]
        torch.testing.assert_close(found[index], expected, rtol=0, atol=1e-4)
    assert torch.equal(found[0, 0], found[0, 1]) and not torch.equal(plain[0, 0], plain[0, 1])


def test_no_face_is_no_work(small_model):
    restored = restore(faces_of(0), small_model).restored
    assert restored.shape == (0, 3, 64, 64)


def test_unaligned_faces_are_refused(small_model):
    for faces in (Faces.empty([(4, 4)]), faces_of(1).with_(crops=None)):
        with pytest.raises(InputError, match=r"^These faces have no crops; align them first\.$"):
            restore(faces, small_model)


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_strength_outside_0_to_1_is_refused(strength):
    with pytest.raises(InputError, match="strength"):
        RestoreOptions(strength=strength)


class Limited:
    """The real model on a device that holds only so many faces at once."""

    def __init__(self, model, faces: int, device: str = "cpu") -> None:
        self.model, self.faces, self.device = model, faces, torch.device(device)
        self.seen: list[int] = []
        self.precision = "fp32"
        self.task = "restore"

    input_size = output_size = 64

    def __call__(self, crops, seed=0):
        self.seen.append(len(crops))
        if len(crops) > self.faces:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.model(crops.cpu(), seed=seed)

    def on(self, device):
        return self.model.on(device)


def test_out_of_memory_halves_the_batch_and_says_so(small_model, caplog):
    limited, hooks = Limited(small_model, 2), Recording()
    reference = restore_crops(crops_of(7), small_model, RestoreOptions(), Hooks())
    with caplog.at_level(logging.WARNING):
        restored = restore_crops(crops_of(7), limited, RestoreOptions(batch_size=6), hooks)
    assert limited.seen == [6, 3, 1, 1, 1, 1, 1, 1, 1]
    assert torch.allclose(restored, reference, atol=1e-5)
    assert hooks.events == [
        "Out of memory while restoring faces, 6 at once; continuing with 3.",
        "Out of memory while restoring faces, 3 at once; continuing with 1.",
    ]
    assert "continuing with 3" in caplog.text


def test_of_two_faces_that_do_not_fit_one_is_tried(small_model):
    limited, hooks = Limited(small_model, 1), Recording()
    restore_crops(crops_of(2), limited, RestoreOptions(batch_size=2), hooks)
    assert limited.seen == [2, 1, 1]
    assert hooks.events == ["Out of memory while restoring faces, 2 at once; continuing with 1."]


def test_other_faults_pass_through(small_model):
    class Broken(Limited):
        def __call__(self, crops, seed=0):
            raise RuntimeError("shape mismatch")

    with pytest.raises(RuntimeError, match="shape mismatch"):
        restore_crops(crops_of(2), Broken(small_model, 1), RestoreOptions(), Hooks())


def test_a_single_face_that_does_not_fit_goes_to_the_cpu(small_model):
    limited, hooks = Limited(small_model, 0, "meta"), Recording()
    limited.model = small_model
    crops = crops_of(2)
    # `meta` stands for a full graphics card: nothing can be computed there.
    restored = restore_crops(crops, limited, RestoreOptions(batch_size=1), hooks)
    reference = restore_crops(crops, small_model, RestoreOptions(), Hooks())
    assert torch.allclose(restored, reference, atol=1e-5)
    assert hooks.events == ["Out of memory while restoring faces on meta; continuing on the CPU."]


def test_a_full_cpu_is_an_error(small_model):
    with pytest.raises(GPENError) as caught:
        restore_crops(crops_of(1), Limited(small_model, 0), RestoreOptions(), Hooks())
    message = "Not enough memory for restoring faces; use a smaller picture or model, or close "
    assert str(caught.value) == message + "other programs."
    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("x"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("CUDNN: Not Enough Memory resources"), True),
        (RuntimeError("shape mismatch"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_counts_as_out_of_memory(error, expected):
    assert is_out_of_memory(error) is expected


def test_fp16_overflow_is_redone_in_fp32_and_said(small_state):
    from gpen_core.models.load import load_model

    state = {name: value.clone() for name, value in small_state.items()}
    for index in (1, 2, 3):  # activations beyond the largest fp16 number, weights below it
        state[f"ecd{index}.0.1.weight"] *= 200
    model, hooks = load_model(state, precision="fp16"), Recording()
    restored = restore_crops(crops_of(2), model, RestoreOptions(), hooks)
    assert torch.isfinite(restored).all()
    assert "restored again in fp32" in hooks.events[0]


def with_one_bad_pixel(model: Model, value: float) -> Model:
    """The real network, which gets one value of one face wrong: what a slight overflow does."""

    class OneBadPixel(type(model.network)):
        def forward(self, x, generator=None):
            result = super().forward(x, generator).clone()
            result[-1, 2, 5, 7] = value
            return result

    network = copy(model.network)
    network.__class__ = OneBadPixel
    return replace(model, network=network)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_one_bad_value_of_one_face_is_enough(small_model, value):
    spoiled = with_one_bad_pixel(small_model, value)
    hooks = Recording()
    with pytest.raises(GPENError, match=r"^The network returned NaN or infinite values in fp32; "):
        restore_crops(crops_of(2), spoiled, RestoreOptions(), hooks)
    assert hooks.events == [], "there is no second attempt in fp32"


def test_one_bad_value_is_enough_after_the_second_attempt_too(small_model):
    """fp16 gives a NaN, and so does the same network in fp32: the fault is in its weights."""
    spoiled, hooks = with_one_bad_pixel(small_model.with_precision("fp16"), math.nan), Recording()
    with pytest.raises(GPENError, match="NaN or infinite values in fp32"):
        restore_crops(crops_of(2), spoiled, RestoreOptions(), hooks)
    assert hooks.events == ["fp16 overflowed; 2 faces restored again in fp32."]


def test_nan_in_fp32_is_an_error(small_state):
    from gpen_core.models.load import load_model

    model = load_model({name: value.clone() for name, value in small_state.items()})
    with torch.no_grad():
        next(iter(model.network.parameters())).fill_(float("nan"))
    with pytest.raises(GPENError, match="NaN"):
        restore_crops(crops_of(1), model, RestoreOptions(), Hooks())


def test_progress_counts_faces_and_may_stop_the_run(small_model):
    counts: list[tuple[str, int, int]] = []
    options = RestoreOptions(batch_size=2)

    class Stopped(Exception):
        pass

    class Counting(Hooks):
        def progress(self, stage, done, total):
            counts.append((stage, done, total))
            if len(counts) > 3:
                raise Stopped

    hooks = Counting()
    restore_crops(crops_of(5), small_model, options, hooks)
    assert counts == [("restore", 2, 5), ("restore", 4, 5), ("restore", 5, 5)]
    with pytest.raises(Stopped):
        restore_crops(crops_of(5), small_model, options, hooks)
    assert len(counts) == 4


def test_large_faces_go_through_a_cpu_one_by_one(monkeypatch):
    network = GPEN(GPENConfig.create(512, 1 / 32, 1))
    model = build_model(network.state_dict(), "narrow", torch.float32)
    passes = []

    class Preparing(Hooks):
        def prepare(self, model, faces):
            passes.append(faces)

    restored = restore_crops(crops_of(3, 512), model, RestoreOptions(batch_size=4), Preparing())
    assert restored.shape == (3, 3, 512, 512)
    assert passes == [1, 1, 1]
    monkeypatch.setattr("gpen_core.run.steps._PIXEL_MEMORY", 1)
    source = SimpleNamespace(found=Found(faces_of(3), [0, 1, 2]))
    together = Run(Tools(model), Options())._passes([source])
    assert [sum(len(faces) for _, faces in one) for one in together] == [1, 1, 1]


# --- faded pictures ------------------------------------------------------------------------------


def photo_of(portrait) -> torch.Tensor:
    return torch.from_numpy(portrait.copy()).permute(2, 0, 1)[None].float() / 255


def aligned_faces(image: torch.Tensor) -> Faces:
    faces = detect(image, load_detector())
    assert len(faces) == 1
    return align(image, faces, 64)


def test_a_faded_face_is_restored_as_a_fresh_one_and_faded_again(portrait, small_model):
    """So the network sees the same, however faded the print is."""
    image = photo_of(portrait)
    plain = aligned_faces(image)
    assert plain.fades == (None,)
    results = []
    for contrast, black in ((0.4, 0.3), (0.2, 0.5)):
        faded = aligned_faces(image * contrast + black)
        assert faded.fades[0] is not None
        # The same places, so that only the contrast differs.
        faded = align(image * contrast + black, faded.with_(landmarks=plain.landmarks), 64)
        restored = restore(faded, small_model).restored
        assert not torch.equal(restore(faded.with_(fades=()), small_model).restored, restored)
        results.append((((restored + 1) / 2) - black) / contrast)
        low, high = (black - 0.1 * contrast, black + 1.1 * contrast)
        assert low < float((restored.amin() + 1) / 2) < float((restored.amax() + 1) / 2) < high
    torch.testing.assert_close(*results, atol=0.01, rtol=0)


def test_strength_and_tone_of_a_faded_picture_are_those_of_the_print(portrait, small_model):
    image = photo_of(portrait).mean(1, keepdim=True).expand(-1, 3, -1, -1) * 0.3 + 0.5
    faces = aligned_faces(image)
    none = restore(faces, small_model, RestoreOptions(strength=0.0)).restored
    torch.testing.assert_close(none, faces.crops, atol=1e-5, rtol=0)
    gray = restore(faces, small_model).restored
    assert torch.equal(gray[:, 0], gray[:, 1]) and torch.equal(gray[:, 0], gray[:, 2])


def test_a_picture_with_contrast_goes_through_unchanged(portrait, small_model):
    faces = aligned_faces(photo_of(portrait))
    assert torch.equal(
        restore(faces, small_model).restored, restore(faces.with_(fades=()), small_model).restored
    )
    group = Faces.concat([faces, faces.with_(fades=(Fade(0.2, 0.5),))])
    assert group.fades == (None, Fade(0.2, 0.5))
    assert group.of_images(slice(1, 2)).fades_of_faces() == [Fade(0.2, 0.5)]
