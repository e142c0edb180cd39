"""The fast network against the textbook one: same picture, any size, batch, device and type."""

from __future__ import annotations

import copy
import importlib.util
import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from gpen_core.errors import InputError
from gpen_core.models.load import load_model
from gpen_core.networks import GPEN, GPENConfig
from gpen_core.networks.fast import columns, strips, transposed, winograd, workspace
from gpen_core.networks.fast import network as fast_module
from gpen_core.networks.fast.graphs import Graphed
from gpen_core.networks.fast.network import FastGPEN, plain, prepare
from gpen_core.networks.fast.workspace import Workspace

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = Path(__file__).parent / "golden"


def load_textbook():
    path = ROOT / "benchmarks" / "textbook.py"
    spec = importlib.util.spec_from_file_location("textbook", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Textbook


Textbook = load_textbook()
SMALL = GPENConfig.create(64, narrow=1 / 32, channel_multiplier=1)
STRIPS = GPENConfig.create(256, narrow=1 / 32, channel_multiplier=1)
SR = GPENConfig.create(256, narrow=1 / 32, channel_multiplier=1, in_size=64)
SR_STRIPS = GPENConfig.create(256, narrow=1 / 32, channel_multiplier=1, in_size=128)
CONFIGS = {"64": SMALL, "256": STRIPS, "64 to 256": SR, "128 to 256": SR_STRIPS}


def network(config: GPENConfig) -> GPEN:
    """Random weights with every part of the network at work."""
    torch.manual_seed(config.out_size)
    net = GPEN(config).eval()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith("noise.weight"):
                parameter.fill_(0.3)
            elif name.endswith("bias") and "modulation" not in name:
                parameter.normal_(std=0.1)
    return net


def faces(config: GPENConfig, batch: int = 1, seed: int = 0) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.rand(batch, 3, config.in_size, config.in_size, generator=random) * 2 - 1


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference relative to the largest value."""
    return float((found.float() - expected).abs().max() / expected.abs().max())


@pytest.fixture
def everything_fast(monkeypatch):
    """Small networks through what only large ones use: Winograd, and strips of few rows."""
    monkeypatch.setattr(fast_module, "WINOGRAD_SIDE", 8)
    monkeypatch.setattr(fast_module, "WINOGRAD_CHANNELS", 1)
    monkeypatch.setattr(strips, "STRIP_BYTES", 1 << 16)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@torch.inference_mode()
def test_fast_equals_textbook(config, batch):
    net, x = network(config), faces(config, batch)
    expected = Textbook(net.state_dict())(x)
    assert expected.shape == (batch, 3, config.out_size, config.out_size)
    assert error(prepare(net)(x), expected) < 1e-5


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@torch.inference_mode()
def test_winograd_and_small_strips_equal_textbook(config, batch, everything_fast):
    net, x = network(config), faces(config, batch)
    fast = prepare(net)
    assert error(fast(x), Textbook(net.state_dict())(x)) < 2e-5
    assert any("winograd" in name for name in fast.prepared.names())


@pytest.mark.parametrize("way", ["direct", "columns", "winograd"])
@pytest.mark.parametrize("threads", [1, 2, 3, 5])
@torch.inference_mode()
def test_bands_of_any_number_of_threads_equal_textbook(threads, way, set_threads, monkeypatch):
    monkeypatch.setattr(strips, "STRIP_BYTES", 1 << 16)
    if way == "columns":
        monkeypatch.setattr(fast_module, "LARGE", 1)
        monkeypatch.setattr(fast_module, "TRANSPOSED_CHANNELS", 1)
        monkeypatch.setattr(fast_module, "COLUMNS_CHANNELS", 1)
    if way == "winograd":
        monkeypatch.setattr(fast_module, "WINOGRAD_CHANNELS", 1)
    shared = []
    bands = strips.bands
    monkeypatch.setattr(strips, "bands", lambda *given: shared.append(bands(*given)) or shared[-1])
    net, x = network(STRIPS), faces(STRIPS, 2)
    expected = Textbook(net.state_dict())(x)
    set_threads(threads)
    assert error(prepare(net)(x), expected) < 1e-5
    assert torch.get_num_threads() == threads
    assert max(map(len, shared)) == threads


@pytest.mark.parametrize("config", [STRIPS, SR_STRIPS], ids=["256", "128 to 256"])
@torch.inference_mode()
def test_strips_down_the_columns_equal_textbook(config, monkeypatch):
    monkeypatch.setattr(fast_module, "COLUMNS_CHANNELS", 1)
    monkeypatch.setattr(strips, "STRIP_BYTES", 1 << 16)
    calls = []
    convolve = columns.convolve
    monkeypatch.setattr(
        columns, "convolve", lambda *given: calls.append(given[0].shape) or convolve(*given)
    )
    net, x = network(config), faces(config, 2)
    assert error(prepare(net)(x), Textbook(net.state_dict())(x)) < 1e-5
    assert len(calls) > 2


@pytest.mark.parametrize("height_bytes", [1, 1 << 15, 1 << 30], ids=["8 rows", "some", "one strip"])
@torch.inference_mode()
def test_transposed_columns_equal_textbook(height_bytes, monkeypatch):
    monkeypatch.setattr(fast_module, "LARGE", 256)
    monkeypatch.setattr(fast_module, "TRANSPOSED_CHANNELS", 1)
    monkeypatch.setattr(strips, "STRIP_BYTES", height_bytes)
    net, x = network(STRIPS), faces(STRIPS, 2)
    fast = prepare(net)
    assert error(fast(x), Textbook(net.state_dict())(x)) < 1e-5
    assert any("columns" in name for name in fast.prepared.names())


@pytest.mark.parametrize("height_bytes", [1, 1 << 15, 1 << 30], ids=["8 rows", "some", "one strip"])
@torch.inference_mode()
def test_the_height_of_a_strip_does_not_matter(height_bytes, monkeypatch):
    net, x = network(STRIPS), faces(STRIPS)
    monkeypatch.setattr(strips, "STRIP_BYTES", height_bytes)
    assert error(prepare(net)(x), Textbook(net.state_dict())(x)) < 1e-5


@torch.inference_mode()
def test_bf16_is_near(everything_fast):
    net, x = network(STRIPS), faces(STRIPS)
    expected = Textbook(net.state_dict())(x)
    found = prepare(net, dtype=torch.bfloat16)(x.bfloat16())
    assert found.dtype == torch.bfloat16
    assert (found.float() - expected).abs().mean() / expected.abs().mean() < 0.02


@torch.inference_mode()
def test_half_precision_survives_styles_that_would_overflow():
    net = network(SMALL)
    for module in net.generator.modules():
        if hasattr(module, "modulation") and module.demodulate:
            module.modulation.weight.mul_(2e3)
            module.modulation.bias.mul_(2e3)
    x = faces(SMALL)
    expected = Textbook(net.state_dict())(x)
    fast = prepare(net, dtype=torch.float16)
    assert torch.isfinite(fast(x.half())).all()
    assert (fast(x.half()).float() - expected).abs().mean() / expected.abs().mean() < 0.02


@torch.inference_mode()
def test_a_face_alone_equals_the_face_in_a_batch(everything_fast):
    fast, x = prepare(network(STRIPS)), faces(STRIPS, 3)
    batch = fast(x)
    for index in range(3):
        assert error(fast(x[index : index + 1]), batch[index : index + 1]) < 1e-5


def test_the_state_dict_is_the_official_one_and_shared():
    net = network(STRIPS)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    fast = prepare(net)
    fast(faces(STRIPS))
    after = fast.state_dict()
    assert list(after) == list(before)
    for key, value in before.items():
        assert torch.equal(after[key], value)
        assert after[key].data_ptr() == net.state_dict()[key].data_ptr()
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_safetensors_round_trip(tmp_path):
    from safetensors.torch import load_file, save_file

    fast, x = prepare(network(STRIPS)), faces(STRIPS)
    expected = fast(x)
    save_file(fast.state_dict(), tmp_path / "model.safetensors")
    again = FastGPEN(STRIPS)
    again.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert torch.equal(again.eval()(x), expected)


def test_preparing_for_another_type_leaves_the_network():
    net = network(SMALL)
    fast = prepare(net, dtype=torch.bfloat16)
    assert next(fast.parameters()).dtype == torch.bfloat16
    assert next(net.parameters()).dtype == torch.float32


def test_casting_there_and_back_forgets_what_was_derived():
    net, x = network(SMALL), faces(SMALL)
    fast = copy.deepcopy(prepare(net))
    exact = fast(x)
    fast.to(torch.bfloat16)
    assert len(fast.prepared) == 0
    coarse = fast(x.bfloat16()).float()
    rounded = fast.to(torch.float32)(x)
    assert not torch.equal(rounded, exact)
    assert error(rounded, Textbook(fast.state_dict())(x)) < 1e-5
    assert (coarse - exact).abs().mean() / exact.abs().mean() < 0.05


def patch_in_place(net):
    for parameter in net.parameters():
        parameter.mul_(1.25)


def patch_by_replacing(net):
    for module in net.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            setattr(module, name, torch.nn.Parameter(parameter * 1.25, requires_grad=False))


@pytest.mark.parametrize("patch", [patch_in_place, patch_by_replacing])
@torch.no_grad()
def test_patched_weights_are_noticed(patch, everything_fast):
    fast, x = copy.deepcopy(prepare(network(STRIPS))), faces(STRIPS)
    before = fast(x)
    patch(fast)
    after = fast(x)
    assert not torch.allclose(before, after, atol=1e-3)
    assert error(after, Textbook(fast.state_dict())(x)) < 2e-5


@torch.no_grad()
def test_moving_as_a_host_does_it():
    """To `meta` and back by assignment, as a host that unloads and reloads a model."""
    net, x = network(SMALL), faces(SMALL)
    fast = prepare(net)
    expected = fast(x)
    kept = {key: value.clone() for key, value in fast.state_dict().items()}
    fast.to("meta")
    fast.load_state_dict(kept, assign=True)
    assert torch.equal(fast(x), expected)


def test_weights_made_in_inference_mode_work():
    with torch.inference_mode():
        net, x = network(SMALL), faces(SMALL)
        fast = prepare(net)
        assert error(fast(x), Textbook(net.state_dict())(x)) < 1e-5
    assert error(fast(x), Textbook(net.state_dict())(x)) < 1e-5


def test_derived_constants_are_made_once():
    fast, x = prepare(network(STRIPS)), faces(STRIPS)
    fast(x)
    kept = {name: id(fast.prepared.get_unchecked(name)) for name in fast.prepared.names()}
    fast(x)
    assert kept == {name: id(fast.prepared.get_unchecked(name)) for name in fast.prepared.names()}


def test_a_result_outlives_the_workspace_it_was_made_in():
    fast, net = prepare(network(STRIPS)), network(STRIPS)
    pictures = [faces(STRIPS), faces(STRIPS, 3)[1:], faces(STRIPS).flip(3)]
    with torch.inference_mode():
        results = [fast(pictures[0])]
    results += [fast(x) for x in pictures[1:]]
    textbook = Textbook(net.state_dict())
    for x, result in zip(pictures, results, strict=True):
        assert error(result, textbook(x)) < 1e-5


def test_large_buffers_are_kept_and_given_back():
    fast, x = prepare(network(STRIPS)), faces(STRIPS)
    assert fast.lanes.nbytes == 0
    fast(x)
    held = fast.lanes.nbytes
    assert held > x.nbytes
    fast(x)
    assert fast.lanes.nbytes == held
    assert copy.deepcopy(fast).lanes.nbytes == 0
    fast.to("cpu")
    assert fast.lanes.nbytes == 0


def test_what_is_too_large_to_keep_is_not_kept(monkeypatch):
    fast, x = prepare(network(STRIPS)), faces(STRIPS, 2)
    kept = fast(x)
    assert fast.lanes.nbytes > 0
    monkeypatch.setattr(workspace, "KEPT_BYTES", 0)
    fast.to("cpu")
    assert torch.equal(fast(x), kept)
    assert fast.lanes.nbytes == 0


def test_threads_do_not_share_a_workspace():
    fast = prepare(network(STRIPS))
    pictures = [faces(STRIPS), faces(STRIPS).flip(2)]
    alone = [fast(x) for x in pictures]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(4):
            together = list(pool.map(fast, pictures))
            assert all(map(torch.equal, together, alone))


def test_the_noise_of_super_resolution_follows_its_generator():
    fast, net, x = prepare(network(SR_STRIPS)), network(SR_STRIPS), faces(SR_STRIPS)
    other = fast(x, torch.Generator().manual_seed(7))
    assert not torch.allclose(fast(x), other)
    with torch.inference_mode():
        expected = Textbook(net.state_dict())(x, torch.Generator().manual_seed(7))
    assert error(other, expected) < 1e-5


@torch.no_grad()
def test_odd_kernels_in_a_checkpoint_are_honoured():
    fast, x = copy.deepcopy(prepare(network(STRIPS))), faces(STRIPS)
    for name, buffer in fast.named_buffers():
        if name.endswith("kernel"):
            buffer += torch.linspace(-0.02, 0.03, 16).view(4, 4)
    assert error(fast(x), Textbook(fast.state_dict())(x)) < 1e-5


def test_a_wrong_input_is_named():
    with pytest.raises(InputError, match=r"takes \(N, 3, 64, 64\)"):
        prepare(network(SMALL))(torch.zeros(1, 3, 32, 32))


def test_plain_gives_gradients_to_the_same_weights():
    fast = prepare(network(SMALL))
    assert not fast(faces(SMALL)).requires_grad
    net = plain(fast).requires_grad_(True)
    assert type(net) is GPEN
    net(faces(SMALL)).square().mean().backward()
    assert net.ecd0.get_submodule("0.0").weight.grad is not None
    assert net.state_dict()["ecd0.0.0.weight"].data_ptr() == (
        fast.state_dict()["ecd0.0.0.weight"].data_ptr()
    )


def test_loaded_models_are_fast(small_state):
    assert isinstance(load_model(small_state).network, FastGPEN)


@settings(max_examples=20, deadline=None)
@given(
    n=st.integers(1, 3),
    rows=st.integers(1, 5),
    columns=st.integers(1, 5),
    c=st.integers(1, 9),
    k=st.integers(1, 9),
    chunk=st.sampled_from([1, 1 << 14, 1 << 30]),
)
def test_winograd_is_the_convolution(n, rows, columns, c, k, chunk):
    random = torch.Generator().manual_seed(n + 10 * rows + 100 * columns + 1000 * c)

    def draw(*shape):
        return torch.randn(shape, generator=random, dtype=torch.float64)

    x, weight, style, gain, bias = (
        draw(n, c, 4 * rows + 2, 4 * columns + 2),
        draw(k, c, 3, 3),
        draw(n, c),
        draw(n, k),
        draw(k),
    )
    expected = F.conv2d(x * style[:, :, None, None], weight) * gain[:, :, None, None]
    expected = (expected + bias.view(1, -1, 1, 1)).permute(0, 2, 3, 1)
    found = torch.empty_like(expected, memory_format=torch.contiguous_format)
    old, winograd.CHUNK_BYTES = winograd.CHUNK_BYTES, chunk
    try:
        winograd.convolve(
            x.permute(0, 2, 3, 1).contiguous(),
            winograd.transform_weight(weight),
            style,
            gain,
            bias,
            found,
            Workspace(),
        )
    finally:
        winograd.CHUNK_BYTES = old
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9)


def test_graphs_refuse_the_cpu():
    with pytest.raises(InputError, match="CUDA graphs need a CUDA device, not cpu"):
        Graphed(prepare(network(SMALL)))(faces(SMALL))


@torch.no_grad()
def test_a_graph_is_for_one_shape_and_these_weights():
    graphed = Graphed(copy.deepcopy(prepare(network(SMALL))))
    key = graphed.key(faces(SMALL))
    assert graphed.key(faces(SMALL, seed=1)) == key
    assert graphed.key(faces(SMALL, 2)) != key
    assert graphed.key(faces(SMALL).half()) != key
    graphed.network.generator.conv1.noise.weight.add_(1)
    assert graphed.key(faces(SMALL)) != key


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("batch", [1, 3])
@torch.inference_mode()
def test_cuda_equals_textbook(dtype, batch):
    net, x = network(STRIPS), faces(STRIPS, batch)
    expected = Textbook(net.state_dict())(x)
    fast = prepare(net, "cuda", dtype)
    limit = 1e-3 if dtype == torch.float32 else 0.05
    for run in (fast, Graphed(fast)):
        for _ in range(2):
            assert error(run(x.to("cuda", dtype)).cpu(), expected) < limit


@torch.inference_mode()
def test_batches_of_whole_pictures_equal_textbook(monkeypatch):
    """The way of a GPU, on the CPU: no strips, channels-last weights, the batch at once."""
    monkeypatch.setattr(fast_module, "STRIP_SIDE", 1 << 20)
    monkeypatch.setattr(fast_module, "WINOGRAD_SIDE", 1 << 20)
    net, x = network(STRIPS), faces(STRIPS, 2)
    assert error(prepare(net)(x), Textbook(net.state_dict())(x)) < 1e-5


def test_other_devices_run_the_plain_network():
    fast = prepare(network(SMALL)).to("meta")
    assert fast(faces(SMALL).to("meta")).shape == (1, 3, 64, 64)
    assert len(fast.prepared) == 0


FULL = ["gpen_256", "gpen_512", "gpen_1024", "gpen_2048", "gpen_sr_256_1024"]


@pytest.mark.full
@pytest.mark.parametrize(("name", "batch"), [*((name, 1) for name in FULL), ("gpen_256", 3)])
@torch.inference_mode()
def test_full_size_equals_textbook(name, batch):
    if not GOLDEN.is_dir():
        pytest.skip("the golden data (shared/golden beside the project) is absent")
    keys = json.loads((GOLDEN / f"{name}.keys.json").read_text())
    with torch.device("meta"):
        state = {key: torch.empty(shape) for key, shape in keys.items()}
    net = network(GPENConfig.from_state_dict(state))
    x = faces(net.config, batch)
    assert error(prepare(net)(x), Textbook(net.state_dict())(x)) < 1e-4


@pytest.mark.parametrize(("height", "width", "channels", "filters"), [(8, 9, 3, 5), (32, 70, 8, 4)])
def test_convolving_down_the_columns_is_the_direct_convolution(
    height: int, width: int, channels: int, filters: int
) -> None:
    generator = torch.Generator().manual_seed(height)
    padded = torch.randn(1, height + 2, width + 2, channels, generator=generator).permute(
        0, 3, 1, 2
    )
    weight = torch.randn(filters, channels, 3, 3, generator=generator)
    bias = torch.randn(filters, generator=generator)
    ours = columns.convolve(padded, columns.transform_weight(weight, bias), Workspace())
    exact = F.conv2d(padded.double(), weight.double(), bias.double())
    assert ours.shape == exact.shape
    assert (ours - exact).abs().max() < 1e-5 * exact.abs().max()


@given(
    low=st.integers(1, 6).map(lambda tiles: 4 * tiles),
    height=st.sampled_from([4, 8, 16, 64]),
    width=st.integers(1, 9),
    channels=st.integers(1, 8),
    filters=st.integers(1, 8),
    bands=st.integers(1, 3),
)
@settings(deadline=None, max_examples=60)
def test_upsampled_rows_equal_the_direct_convolution(low, height, width, channels, filters, bands):
    """Asked for as a level asks, band by band: a row more above, two more below."""
    generator = torch.Generator().manual_seed(low * width)
    x = torch.randn(1, low, width, channels, generator=generator).permute(0, 3, 1, 2)
    padded = F.pad(x, (0, 0, 1, 1)).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(channels, filters, 3, 3, generator=generator)
    blur = transposed.Blur(
        torch.randn(filters, 1, 4, 4, generator=generator),
        torch.randn(filters, generator=generator),
    )
    exact = F.conv_transpose2d(x.double(), weight.double(), stride=2)
    exact = F.conv2d(exact, blur.kernel.double(), blur.bias.double(), padding=1, groups=filters)
    columns_weight = transposed.transform_weight(weight)
    side, rows = 2 * low, 8 * math.ceil(low / 4 / bands)
    for top in range(0, side, rows):
        ways = (
            transposed.Direct(padded, weight, blur, top),
            transposed.Columns(padded, columns_weight, blur, top, height + 3, Workspace()),
        )
        for first in range(top, min(top + rows, side), height):
            start = max(first - 1, 0) if first == top else first + 2
            last = min(min(first + height, top + rows) + 2, side)
            if start >= last:
                continue
            expected = exact[:, :, start:last]
            for way in ways:
                found = way.rows(start, last)
                assert found.shape == expected.shape
                assert (found - expected).abs().max() < 1e-5 * exact.abs().max()
