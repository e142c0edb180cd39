"""The fast network against the textbook one: same picture, any size, batch, device and type."""

from __future__ import annotations

import copy
import importlib.util
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from gpen_core.benchmark.contenders import Task, build
from gpen_core.errors import InputError
from gpen_core.models.load import load_model
from gpen_core.networks import GPEN, GPENConfig
from gpen_core.networks.fast import generator_level
from gpen_core.networks.fast.cuda_graphs import CudaGraphs
from gpen_core.networks.fast.network import FastGPEN, prepare
from gpen_core.networks.fast.tuning import Tuning
from gpen_core.networks.fast.winograd_1d import Winograd1dConvolution
from gpen_core.networks.fast.winograd_2d import Winograd2dConvolution

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).resolve().parents[1] / "golden"


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


# Small networks through what only large ones use.
LOW_STRIPS = Tuning(strip_bytes=1 << 16)
WINOGRAD_1D = Tuning(strip_bytes=1 << 16, winograd_1d_channels=1, stored_weight_bytes=0)
WINOGRAD_2D = Tuning(strip_bytes=1 << 16, winograd_2d_side=8, winograd_2d_channels=1)
WAYS = {"direct": LOW_STRIPS, "winograd 1d": WINOGRAD_1D, "winograd 2d": WINOGRAD_2D}
CONVOLUTIONS = {
    "direct": generator_level.DirectConvolution,
    "winograd 1d": Winograd1dConvolution,
    "winograd 2d": Winograd2dConvolution,
}


@pytest.fixture
def convolutions(monkeypatch):
    """The kinds of the convolutions that levels in strips have had."""
    kinds = []
    run = generator_level.GeneratorLevel.run

    def spy(self, *given):
        kinds.append(type(self.convolution))
        return run(self, *given)

    monkeypatch.setattr(generator_level.GeneratorLevel, "run", spy)
    return kinds


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@torch.inference_mode()
def test_fast_equals_textbook(config, batch):
    net, x = network(config), faces(config, batch)
    expected = Textbook(net.state_dict())(x)
    assert expected.shape == (batch, 3, config.out_size, config.out_size)
    assert error(prepare(net)(x), expected) < 1e-5


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@torch.inference_mode()
def test_every_way_equals_textbook_and_uses_no_buffer_too_late(config, way, convolutions):
    net, x = network(config), faces(config, 2)
    fast = prepare(net, tuning=WAYS[way], poison=True)
    expected = Textbook(net.state_dict())(x)
    for _ in range(2):  # what the first pass leaves behind is NaN
        assert error(fast(x), expected) < 1e-5
    assert set(convolutions) == ({CONVOLUTIONS[way]} if config.out_size > 64 else set())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("threads", [1, 2, 3, 5])
@torch.inference_mode()
def test_bands_of_any_number_of_threads_equal_textbook(threads, way, set_threads, monkeypatch):
    shared = []
    bands = generator_level.bands
    monkeypatch.setattr(
        generator_level, "bands", lambda *given: shared.append(bands(*given)) or shared[-1]
    )
    net, x = network(STRIPS), faces(STRIPS, 2)
    expected = Textbook(net.state_dict())(x)
    set_threads(threads)
    assert error(prepare(net, tuning=WAYS[way], poison=True)(x), expected) < 1e-5
    assert torch.get_num_threads() == threads
    assert max(map(len, shared)) == threads


@pytest.mark.parametrize("strip_bytes", [1, 1 << 15, 1 << 30], ids=["8 rows", "some", "one strip"])
@pytest.mark.parametrize("winograd_strips", [1, 2])
@torch.inference_mode()
def test_the_height_of_a_strip_does_not_matter(strip_bytes, winograd_strips):
    net, x = network(STRIPS), faces(STRIPS)
    tuning = Tuning(
        strip_bytes=strip_bytes, winograd_strips=winograd_strips, winograd_1d_channels=16
    )
    assert error(prepare(net, tuning=tuning)(x), Textbook(net.state_dict())(x)) < 1e-5


@torch.inference_mode()
def test_a_buffer_used_too_late_gives_nan_where_buffers_are_poisoned(monkeypatch):
    """The next activations into the buffer that the last ones are read from, a real mistake."""
    net, x = network(STRIPS), faces(STRIPS)
    tuning = Tuning(strip_side=16)  # only in strips a level writes while it still reads
    monkeypatch.setattr("gpen_core.networks.fast.workspace.Workspace.other", lambda *_: "even")
    fast = prepare(net, tuning=tuning)
    fast(x)  # the buffer grows from resolution to resolution; from the second pass on it is one
    late = fast(x)
    assert torch.isfinite(late).all()
    assert error(late, Textbook(net.state_dict())(x)) > 1e-3
    assert torch.isnan(prepare(net, tuning=tuning, poison=True)(x)).any()


@torch.inference_mode()
def test_a_result_left_in_the_workspace_is_nan_where_buffers_are_poisoned(monkeypatch):
    net, x = network(SMALL), faces(SMALL)
    fast = prepare(net, poison=True)

    def keep(self, style, pairs):
        result = generate(self, style, pairs)
        return self.workspace.take("result", tuple(result.shape), result).copy_(result)

    generate = FastGPEN._generate
    assert torch.isfinite(fast(x)).all()
    monkeypatch.setattr(FastGPEN, "_generate", keep)
    assert torch.isnan(fast(x)).all()


@torch.inference_mode()
def test_bf16_is_near():
    net, x = network(STRIPS), faces(STRIPS)
    expected = Textbook(net.state_dict())(x)
    found = prepare(net, dtype=torch.bfloat16, tuning=WINOGRAD_2D)(x.bfloat16())
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
def test_a_face_alone_equals_the_face_in_a_batch():
    fast, x = prepare(network(STRIPS), tuning=WINOGRAD_2D), faces(STRIPS, 3)
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
    assert len(fast.operations.constants) == 0
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
def test_patched_weights_are_noticed(patch):
    fast, x = copy.deepcopy(prepare(network(STRIPS), tuning=WINOGRAD_2D)), faces(STRIPS)
    before = fast(x)
    patch(fast)
    after = fast(x)
    assert not torch.allclose(before, after, atol=1e-3)
    assert error(after, Textbook(fast.state_dict())(x)) < 2e-5
    assert "winograd 2d" in fast.operations.constants.kinds()


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


def test_derived_constants_are_made_once(monkeypatch):
    fast, x = prepare(network(STRIPS), tuning=WINOGRAD_2D), faces(STRIPS)
    made = []
    get = fast.operations.constants.get

    def spy(owner, kind, sources, make):
        return get(owner, kind, sources, lambda: made.append(kind) or make())

    monkeypatch.setattr(fast.operations.constants, "get", spy)
    fast(x)
    assert len(made) == len(fast.operations.constants)
    assert {"energy", "biases", "blur", "row", "first", "winograd 2d"} <= set(made)
    made.clear()
    fast(x)
    assert made == []


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


def test_what_is_too_large_to_keep_is_not_kept():
    net, x = network(STRIPS), faces(STRIPS, 2)
    fast, forgetful = prepare(net), prepare(net, tuning=Tuning(kept_bytes=0))
    assert torch.equal(fast(x), forgetful(x))
    assert fast.lanes.nbytes > 0
    assert forgetful.lanes.nbytes == 0


def test_weights_are_stored_as_they_are_used_up_to_a_size():
    net, x = network(STRIPS), faces(STRIPS)
    reordered, stored = prepare(net, tuning=WINOGRAD_1D), prepare(net, tuning=LOW_STRIPS)
    assert error(reordered(x), stored(x)) < 1e-5
    assert "transposed" not in reordered.operations.constants.kinds()
    assert "transposed" in stored.operations.constants.kinds()


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


def test_the_fast_form_gives_no_gradients():
    assert not prepare(network(SMALL))(faces(SMALL)).requires_grad


def test_loaded_models_are_fast(small_state):
    assert isinstance(load_model(small_state).network, FastGPEN)


@torch.inference_mode()
def test_where_no_graph_can_be_recorded_the_pass_runs_as_it_is_and_the_log_says_so(caplog):
    """On a CPU recording fails, as it may on a GPU."""
    net, x, graphs = prepare(network(SMALL)), faces(SMALL), CudaGraphs(most=2)
    weights = tuple(net.state_dict().values())
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert torch.equal(graphs.run(net, x, weights), net(x))
    assert [record.message[:49] for record in caplog.records] == [
        "No CUDA graph for pictures (1, 3, 64, 64), which "
    ]
    assert len(graphs) == 0


@torch.no_grad()
def test_a_graph_is_for_one_shape_and_these_weights(caplog):
    net, graphs = copy.deepcopy(prepare(network(SMALL))), CudaGraphs(most=2)

    def recordings(x):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            graphs.run(net, x, tuple(net.state_dict().values()))
        return len(caplog.records)

    assert recordings(faces(SMALL)) == 1
    assert recordings(faces(SMALL, seed=1)) == 0
    assert recordings(faces(SMALL, 2)) == 1
    assert recordings(faces(SMALL)) == 0
    assert recordings(faces(SMALL, 3)) == 1  # now there is no room for that of two faces
    assert recordings(faces(SMALL)) == 0
    assert recordings(faces(SMALL, 2)) == 1
    net.generator.conv1.noise.weight.add_(1)
    assert recordings(faces(SMALL, 2)) == 1


def test_the_benchmark_measures_graphs_on_cuda_only():
    with pytest.raises(InputError, match="'cuda-graphs' needs a CUDA device, not cpu"):
        build("cuda-graphs", Task(64), network(SMALL).state_dict())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("graphs", [0, 2])
@torch.inference_mode()
def test_cuda_equals_textbook(dtype, batch, graphs):
    net, x = network(STRIPS), faces(STRIPS, batch)
    expected = Textbook(net.state_dict())(x)
    fast = prepare(net, "cuda", dtype, tuning=Tuning(cuda_graphs=graphs))
    limit = 1e-3 if dtype == torch.float32 else 0.05
    for _ in range(2):
        assert error(fast(x.to("cuda", dtype)).cpu(), expected) < limit
    assert len(fast.graphs) == (1 if graphs else 0)


@torch.inference_mode()
def test_batches_of_whole_pictures_equal_textbook():
    """The way of a GPU, on the CPU: no strips, the batch at once."""
    net, x = network(STRIPS), faces(STRIPS, 2)
    fast = prepare(net, tuning=Tuning(strip_side=1 << 20), poison=True)
    assert error(fast(x), Textbook(net.state_dict())(x)) < 1e-5


def test_other_devices_run_the_plain_network():
    fast = prepare(network(SMALL)).to("meta")
    assert fast(faces(SMALL).to("meta")).shape == (1, 3, 64, 64)
    assert len(fast.operations.constants) == 0


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
