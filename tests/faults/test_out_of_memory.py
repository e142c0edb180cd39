"""Memory that runs out: a short form of `make faults`, and the one mechanism by itself."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

import out_of_memory as faults
from tally import Tally

from gpen_core.cli.app import run as gpen
from gpen_core.errors import GPENError, InputError, OutOfMemory
from gpen_core.faces import detect as detecting
from gpen_core.faces.detect import detect
from gpen_core.faces.detector import load_detector
from gpen_core.faces.mask import crop_masks
from gpen_core.faces.parse import FaceParser
from gpen_core.hooks import Recording
from gpen_core.images import read
from gpen_core.images.layouts import enlarge
from gpen_core.memory.allowance import Allowance
from gpen_core.memory.shortage import is_out_of_memory
from gpen_core.models.device import copied
from gpen_core.options import MaskOptions

META = torch.device("meta")
"""Stands for a full graphics card."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return faults.Scene.make(tmp_path_factory.mktemp("scene"))


@pytest.fixture(scope="module")
def counts(scene, tmp_path_factory):
    """Operations of each stage."""
    seen = faults.Fault()
    with seen.watching():
        scene.outcomes(tmp_path_factory.mktemp("counted"))
    assert min(seen.counts.values()) > 5, seen.counts
    return seen.counts


@pytest.mark.parametrize("stage", faults.STAGES)
def test_a_shortage_in_any_stage_is_survived_or_said(scene, counts, stage):
    """The first and the last operation fail once, one in the middle for good."""
    last = counts[stage] - 1
    cases = ((0, "GPU", False), (last, "Python", False), (last // 2, "CPU", True))
    for number, error, lasting in cases:
        fault = faults.Fault(stage, number, faults.ERRORS[error], lasting)
        assert faults.operation_problems(scene, fault) == [], f"operation {number}"


def test_a_shortage_in_numpy_and_pillow_is_survived_or_said(scene):
    tally = Tally()
    faults.try_library(scene, tally, calls=1)
    assert set(tally.tried) == {f"library, {name}" for name in faults.LIBRARY}
    assert not tally.findings


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is enforced by Linux only")
def test_a_process_that_may_not_have_more_memory_says_so():
    tally = Tally()
    faults.try_limits(tally, (8, 64))
    assert not tally.findings


# --- the mechanism -------------------------------------------------------------------------------


def test_less_then_the_cpu_then_once_more_then_a_sentence():
    told, tried = [], []

    def never(count, device):
        tried.append((count, device.type))
        raise torch.OutOfMemoryError("full")

    with pytest.raises(OutOfMemory, match="Not enough memory for resting") as caught:
        Allowance("resting", told.append, at_once=5, device=META)(never)
    assert tried == [(5, "meta"), (2, "meta"), (1, "meta"), (1, "cpu"), (1, "cpu")]
    assert [text.partition("resting")[2] for text in told] == [
        ", 5 at once; continuing with 2.",
        ", 2 at once; continuing with 1.",
        " on meta; continuing on the CPU.",
        "; trying again with what could be freed.",
    ]
    assert isinstance(caught.value, GPENError) and is_out_of_memory(caught.value)


def test_what_was_too_much_is_not_tried_again():
    seen = []

    def at_most_two(chosen, device):
        seen.append(chosen)
        if chosen.stop - chosen.start > 2:
            raise MemoryError
        return chosen.start

    parts = list(Allowance("x", lambda _: None, at_once=4).over(7, at_most_two))
    assert [start for _, start in parts] == [0, 2, 4, 6]
    assert [one.stop - one.start for one in seen] == [4, 2, 2, 2, 1]


def test_other_errors_and_final_sentences_pass_at_once():
    for error in (
        InputError("out of memory, says the file"),
        RuntimeError("shape"),
        OutOfMemory("x"),
    ):
        calls = []

        def fail(count, device, error=error, calls=calls):
            calls.append(count)
            raise error

        with pytest.raises(type(error)):
            Allowance("x", at_once=8)(fail)
        assert calls == [8]


def test_what_failed_is_free_when_less_is_tried():
    """The error must not keep the tensors of the attempt alive."""
    import weakref

    alive = []

    def work(count, device):
        assert [ref() for ref in alive] == [None] * len(alive)
        block = torch.zeros(10)
        alive.append(weakref.ref(block))
        if count > 1:
            raise MemoryError
        return 1

    assert Allowance("x", lambda _: None, at_once=8)(work) == 1 and len(alive) == 4


# --- a full graphics card ------------------------------------------------------------------------


class Full:
    """A detector or parser on a device where nothing has room."""

    device, name, batch = META, "full", 2

    def __init__(self, inner) -> None:
        self.inner, self.network, self.seen = inner, inner.network, []

    def __call__(self, images, *arguments):
        self.seen.append(len(images))
        raise torch.OutOfMemoryError("CUDA out of memory")

    def on(self, device):
        assert device.type == "cpu"
        return self.inner


@pytest.fixture
def full_device(monkeypatch):
    """The first thing that detection does on `META` fails."""
    search = detecting.search

    def here_only(image, detector, *rest):
        if detector.device == META:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return search(image, detector, *rest)

    monkeypatch.setattr(detecting, "search", here_only)


def test_detection_leaves_a_full_device(portrait, full_device):
    images = torch.tensor(portrait).permute(2, 0, 1)[None].float() / 255
    inner, hooks = load_detector(), Recording()
    found = detect(images.repeat(2, 1, 1, 1), Full(inner), hooks=hooks)
    alone = detect(images, inner)
    assert torch.equal(found.boxes, alone.boxes.repeat(2, 1))
    assert hooks.events == ["Out of memory while detecting faces on meta; continuing on the CPU."]


def test_a_detector_that_cannot_move_ends_in_a_sentence(full_device):
    class Stuck:
        device, name, network = META, "stuck", None

        def __call__(self, *_):
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(OutOfMemory, match="detecting faces"):
        detect(torch.zeros(1, 3, 20, 20), Stuck(), hooks=Recording())


def test_parsing_halves_and_leaves_a_full_device():
    from gpen_core.faces.found import Faces

    network = torch.nn.Conv2d(3, 19, 1)
    parser, hooks = FaceParser(network, size=32), Recording()
    faces = Faces(
        boxes=torch.zeros(5, 4),
        scores=torch.ones(5),
        landmarks=torch.zeros(5, 5, 2),
        source=torch.zeros(5, dtype=torch.int64),
        image_sizes=((64, 64),),
        crops=torch.rand(5, 3, 64, 64) * 2 - 1,
    )
    options, full = MaskOptions(mask="parsing"), Full(parser)
    masks = crop_masks(faces, options, full, hooks)
    assert torch.equal(masks, crop_masks(faces, options, parser))
    assert full.seen == [2, 1] and len(hooks.events) == 2


def test_a_copy_elsewhere_leaves_the_network_alone():
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4)).eval()
    twin, image = copied(network, "cpu"), torch.rand(1, 3, 8, 8)
    assert torch.equal(twin(image), network(image))
    with torch.no_grad():
        for value in (*twin.parameters(), *twin.buffers()):
            value.zero_()
    assert float(network[0].weight.detach().abs().sum()) > 0 and network[1].running_var[0] == 1
    there = copied(network, "meta")
    assert {value.device for value in (*there.parameters(), *there.buffers())} == {META}


@pytest.mark.parametrize("name", ["mtcnn"])
def test_the_detectors_find_the_same_as_their_copies(name, portrait):
    images = torch.tensor(portrait).permute(2, 0, 1)[None].float() / 255
    detector = load_detector(name)
    assert torch.equal(
        detect(images, detector.on("cpu")).landmarks, detect(images, detector).landmarks
    )


def test_a_strip_that_does_not_fit_is_halved_to_the_same_pixels(monkeypatch):
    """Enlarging fails for strips of more than 10 rows."""
    images, hooks = torch.rand(1, 3, 40, 30), Recording()
    meant, interpolate = enlarge(images, 2), torch.nn.functional.interpolate

    def small_only(strip, **arguments):
        if strip.shape[-2] > 10 + 8:
            raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9")
        return interpolate(strip, **arguments)

    monkeypatch.setattr(torch.nn.functional, "interpolate", small_only)
    assert torch.equal(enlarge(images, 2, hooks), meant)
    assert "continuing with 10" not in hooks.events[0] and len(hooks.events) >= 2


# --- around it -----------------------------------------------------------------------------------


def test_a_file_is_not_called_damaged_when_memory_is_short(tmp_path, monkeypatch):
    """Pillow says it with an OSError, as it says that a file is damaged."""
    path = tmp_path / "a.webp"
    Image.new("RGB", (9, 9)).save(path)

    def short(*_):
        raise OSError("out of memory error when reading image file")

    monkeypatch.setattr(Image.Image, "load", short)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", short)
    with pytest.raises(OutOfMemory, match=r"reading .*a\.webp"):
        read.read_picture(path)


def test_samples_become_floats_row_by_row_to_the_same_bits(monkeypatch):
    from gpen_core.images.decoded import Decoded
    from gpen_core.images.picture import Metadata

    samples = np.random.default_rng(0).integers(0, 65536, (50, 7, 4)).astype(np.uint16)
    monkeypatch.setattr(read, "_ROWS", 8)
    picture = read.to_picture(Decoded(samples, Metadata(), 6))
    turned = torch.from_numpy(samples.astype(np.float32)).permute(2, 1, 0).flip(-1) / 65535
    assert torch.equal(picture.pixels, turned[:3]) and torch.equal(picture.alpha, turned[3:])


def test_any_command_says_that_memory_is_short(monkeypatch, capsys, tmp_path):
    def short(*_, **__):
        raise MemoryError

    monkeypatch.setattr("gpen_core.models.convert.inspect", short)
    path = tmp_path / "a.pth"
    path.write_bytes(b"1")
    assert gpen(["inspect", str(path)]) == 2
    text = capsys.readouterr().err
    assert "Not enough memory" in text and "Traceback" not in text


def test_the_log_says_it_too(caplog):
    with caplog.at_level(logging.WARNING), pytest.raises(OutOfMemory):
        Allowance("counting")(lambda *_: bytearray(1 << 62))
    assert "Out of memory while counting" in caplog.text
