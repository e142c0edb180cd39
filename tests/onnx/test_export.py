"""ONNX out and in: our export, the textbook's, the backend, and the way back to PyTorch."""

from __future__ import annotations

import importlib.util
import logging
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gpen_core.errors import CheckpointError, InputError, MissingDependencyError
from gpen_core.models.load import load_model
from gpen_core.models.model import Model
from gpen_core.networks.gpen import GPEN, GPENConfig
from gpen_core.onnx.folding import fold, unfold

ROOT = Path(__file__).resolve().parents[2]
onnx = pytest.importorskip("onnx", reason="the extra gpen[onnx] is not installed")
runtime = pytest.importorskip("onnxruntime", reason="the extra gpen[onnx] is not installed")

from gpen_core.models.onnx_file import describe_onnx
from gpen_core.onnx import export as exports
from gpen_core.onnx.backend import (
    OnnxConfig,
    OnnxNetwork,
    choose_providers,
)
from gpen_core.onnx.export import export
from gpen_core.onnx.weights import read_onnx_weights


def random_state(
    size: int, in_size: int | None = None, style_dim: int = 32
) -> dict[str, torch.Tensor]:
    """Every parameter random, so that none can be mistaken for another or be without effect."""
    generator = torch.Generator().manual_seed(1)
    config = GPENConfig.create(size, narrow=0.0625, in_size=in_size)
    network = GPEN(replace(config, style_dim=style_dim))
    for name, parameter in network.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if name.endswith("modulation.bias"):
            noise = 1 + 0.1 * noise
        elif name.startswith("generator.style."):
            noise = noise * (10 if name.endswith("bias") else 100)
        elif name.endswith(("bias", "noise.weight")):
            noise = 0.3 * noise
        parameter.data.copy_(noise)
    return network.state_dict()


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return random_state(64)


@pytest.fixture(scope="module")
def model(state) -> Model:
    return load_model(state)


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory) -> Path:
    return export(model, tmp_path_factory.mktemp("onnx") / "small.onnx").path


@pytest.fixture(scope="module")
def crops() -> torch.Tensor:
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(2)) * 2 - 1


@pytest.fixture(scope="module")
def full_state() -> dict[str, torch.Tensor]:
    """With a latent as long as that of every published file."""
    return random_state(64, style_dim=512)


@pytest.fixture(scope="module")
def textbook_file(full_state, tmp_path_factory) -> Path:
    """What other programs' users have: the plain formulation, exported by PyTorch."""
    pytest.importorskip("onnxscript", reason="PyTorch's own exporter needs onnxscript")
    place = importlib.util.spec_from_file_location("textbook", ROOT / "benchmarks" / "textbook.py")
    textbook = importlib.util.module_from_spec(place)
    place.loader.exec_module(textbook)
    path = tmp_path_factory.mktemp("onnx") / "textbook.onnx"
    names = {"input_names": ["input"], "output_names": ["output"], "verbose": False}
    blank = (torch.zeros(1, 3, 64, 64),)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = textbook.Textbook(full_state).eval()
        torch.onnx.export(network, blank, str(path), dynamo=True, external_data=False, **names)
    return path


@pytest.fixture(scope="module")
def folded_file(textbook_file) -> Path:
    """The same after a simplifier: constants multiplied out, their names lost."""
    path = textbook_file.with_name("folded.onnx")
    options = runtime.SessionOptions()
    options.optimized_model_filepath = str(path)
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    runtime.InferenceSession(str(textbook_file), options, providers=["CPUExecutionProvider"])
    return path


def network_of(path: Path) -> OnnxNetwork:
    return describe_onnx(path)[1]


# --- export --------------------------------------------------------------------------------------


def test_folding_is_undone_exactly_enough(state):
    config = GPENConfig.from_state_dict(state)
    back = unfold(fold(state, config), config)
    assert list(back) == list(state)
    for key, value in state.items():
        torch.testing.assert_close(back[key], value, rtol=1e-6, atol=1e-7)


def test_the_export_gives_what_pytorch_gives(model, exported, crops):
    expected = model(crops)
    torch.testing.assert_close(network_of(exported)(crops), expected, atol=2e-5, rtol=1e-5)
    graph = onnx.load(str(exported)).graph
    shapes = [
        [d.dim_param or d.dim_value for d in p.type.tensor_type.shape.dim]
        for p in (*graph.input, *graph.output)
    ]
    assert [p.name for p in (*graph.input, *graph.output)] == ["input", "output"]
    assert shapes == [["batch", 3, 64, 64]] * 2


def test_the_exported_convolutions_have_constant_weights(exported):
    graph = onnx.load(str(exported)).graph
    constants = {tensor.name for tensor in graph.initializer}
    convolutions = [node for node in graph.node if "Conv" in node.op_type]
    assert len(convolutions) > 20
    assert all(node.input[1] in constants for node in convolutions)
    # One product makes all styles: 1 final linear, 8 of the mapping, 1 for every layer together.
    assert sum(node.op_type == "Gemm" for node in graph.node) == 10


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_super_resolution_model_carries_the_noise_of_seed_0(tmp_path, precision):
    model = load_model(random_state(128, in_size=64))
    done = export(model, tmp_path / "sr.onnx", precision)
    assert done.difference < (1e-4 if precision == "fp32" else 2e-2)
    info, network = describe_onnx(done.path)
    assert (info.input_size, info.output_size, info.stored) == (64, 128, precision)
    x = torch.zeros(2, 3, 64, 64)
    assert network(x).shape == (2, 3, 128, 128)


def test_half_precision_halves_the_convolutions(model, exported, tmp_path, crops):
    done = export(model, tmp_path / "half.onnx", "fp16")
    # The styles stay in single precision, and in so small a network they are most of it.
    assert done.bytes < exported.stat().st_size
    error = (network_of(done.path)(crops) - model(crops)).abs()
    assert 0 < error.max() < 2e-2 * model(crops).abs().max()


def test_a_fixed_batch_is_run_as_often_as_it_takes(model, tmp_path, crops):
    path = export(model, tmp_path / "two.onnx", batch=2).path
    network = network_of(path)
    assert network.ports.batch == 2
    torch.testing.assert_close(network(crops), model(crops), atol=2e-5, rtol=1e-5)
    assert network(crops[:0]).shape == (0, 3, 64, 64)


def test_exports_that_cannot_be_are_refused(model, exported, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="exists already"):
        export(model, exported)
    with pytest.raises(InputError, match=r"must be named \.onnx"):
        export(model, tmp_path / "x.pth")
    with pytest.raises(InputError, match="fp32 or fp16"):
        export(model, tmp_path / "x.onnx", "int8")
    with pytest.raises(InputError, match="batch must be 1 or more"):
        export(model, tmp_path / "x.onnx", batch=0)
    other = replace(model, info=replace(model.info, architecture="gpen-v2"))
    with pytest.raises(CheckpointError, match="only GPEN v1"):
        export(other, tmp_path / "x.onnx")
    monkeypatch.setitem(exports.TOLERANCES, "fp32", 0.0)
    with pytest.raises(CheckpointError, match="was not written"):
        export(model, tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []


# --- the backend ---------------------------------------------------------------------------------


def test_a_graph_behaves_like_a_model(exported, model, crops):
    info, network = describe_onnx(exported)
    graph = Model(network, info)
    assert (graph.input_size, graph.output_size) == (64, 64)
    assert (graph.device, graph.precision, graph.info.template) == (
        torch.device("cpu"),
        "fp32",
        "gpen",
    )
    torch.testing.assert_close(graph(crops), model(crops), atol=2e-5, rtol=1e-5)
    half = graph.with_precision("fp16")
    assert half is not graph and half.precision == "fp16" and graph.precision == "fp32"
    torch.testing.assert_close(half(crops), model(crops), atol=2e-2, rtol=2e-2)
    with pytest.raises(InputError, match="64"):
        graph(crops[..., :32])
    assert "onnx" in str(info) and "64 px" in str(info)


def test_a_session_is_made_once(exported, crops, caplog):
    caplog.set_level(logging.INFO)
    network = network_of(exported)
    first = network.session()
    network(crops)
    assert network.session() is first
    assert caplog.text.count("runs on CPUExecutionProvider") == 1


def graph_file(path: Path, inputs, outputs, node) -> Path:
    from onnx import TensorProto, helper

    def ports(shapes):
        return [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()]

    graph = helper.make_graph([node], "g", ports(inputs), ports(outputs))
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(path))
    return path


PICTURE = [1, 3, 64, 64]


@pytest.mark.parametrize(
    ("inputs", "outputs", "says"),
    [
        ({"x": PICTURE, "weight": PICTURE}, {"y": PICTURE}, "the inputs 'x' .*, 'weight'"),
        ({"x": [1, 3, 64, 32]}, {"y": [1, 3, 64, 32]}, r"\[1, 3, 64, 32\]"),
        ({"x": [1, 1, 64, 64]}, {"y": [1, 1, 64, 64]}, r"\[1, 1, 64, 64\]"),
        ({"x": [1, 3, 32, 32]}, {"y": [1, 3, 32, 32]}, "64 to 2048"),
        ({"x": [1, 512]}, {"y": [1, 512]}, r"\[1, 512\]"),
    ],
)
def test_other_graphs_are_refused(tmp_path, inputs, outputs, says):
    kind = "Add" if len(inputs) == 2 else "Abs"
    node = onnx.helper.make_node(kind, list(inputs), list(outputs))
    path = graph_file(tmp_path / "other.onnx", inputs, outputs, node)
    with pytest.raises(CheckpointError, match=f"not a GPEN graph.*{says}"):
        describe_onnx(path)


def test_a_graph_that_gives_no_picture_is_refused(tmp_path):
    node = onnx.helper.make_node("Flatten", ["x"], ["y"])
    path = graph_file(tmp_path / "flat.onnx", {"x": PICTURE}, {"y": [1, 12288]}, node)
    with pytest.raises(CheckpointError, match="its output 'y'"):
        describe_onnx(path)


@pytest.mark.parametrize("keep", [0, 10, 5000])
def test_a_damaged_file_is_refused(exported, tmp_path, keep):
    path = tmp_path / "cut.onnx"
    path.write_bytes(exported.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"cut\.onnx"):
        describe_onnx(path)
    with pytest.raises(CheckpointError, match=r"cut\.onnx"):
        read_onnx_weights(path)


# --- providers -----------------------------------------------------------------------------------

GPU_BUILD = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]


def test_the_provider_follows_the_device(monkeypatch):
    monkeypatch.delenv("GPEN_ONNX_PROVIDERS", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "tensorrt" or None)
    cuda = choose_providers(torch.device("cuda:1"), GPU_BUILD)
    assert [p[0] for p in cuda[:2]] == GPU_BUILD[:2] and cuda[0][1] == {"device_id": 1}
    assert cuda[2] == "CPUExecutionProvider"
    assert choose_providers(torch.device("cpu"), GPU_BUILD) == ["CPUExecutionProvider"]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    without = choose_providers(torch.device("cuda:0"), GPU_BUILD)
    assert without[0][0] == "CUDAExecutionProvider"


def test_the_cpu_is_never_taken_silently(monkeypatch, caplog):
    monkeypatch.delenv("GPEN_ONNX_PROVIDERS", raising=False)
    chosen = choose_providers(torch.device("cuda:0"), ["CPUExecutionProvider"])
    assert chosen == ["CPUExecutionProvider"]
    assert "the CPU is used" in caplog.text and "onnxruntime-gpu" in caplog.text
    caplog.clear()
    choose_providers(torch.device("cpu"), ["DmlExecutionProvider", "CPUExecutionProvider"])
    assert "GPEN_ONNX_PROVIDERS=Dml" in caplog.text


def test_a_provider_can_be_named(monkeypatch):
    available = ["DmlExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setenv("GPEN_ONNX_PROVIDERS", "dml")
    assert choose_providers(torch.device("cpu"), available) == available
    monkeypatch.setenv("GPEN_ONNX_PROVIDERS", "ROCM")
    with pytest.raises(InputError, match="ROCM"):
        choose_providers(torch.device("cpu"), available)


def test_an_absent_package_gives_a_hint(exported, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'gpen\[onnx\]'"):
        OnnxNetwork(OnnxConfig(exported))(torch.zeros(1, 3, 64, 64))


# --- back to PyTorch -----------------------------------------------------------------------------


def test_our_export_turns_back_into_its_weights(exported, state):
    back, metadata = read_onnx_weights(exported)
    assert list(back) == list(state) and metadata["template"] == "gpen"
    for key, value in state.items():
        torch.testing.assert_close(back[key], value, rtol=1e-5, atol=1e-6)


def test_a_half_precision_export_turns_back_too(model, state, tmp_path):
    back, _ = read_onnx_weights(export(model, tmp_path / "half.onnx", "fp16").path)
    key = "generator.convs.0.conv.weight"
    torch.testing.assert_close(back[key], state[key], rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["textbook_file", "folded_file"])
def test_the_textbook_export_runs_and_turns_back(kind, full_state, crops, request):
    path = request.getfixturevalue(kind)
    if onnx.load(str(path), load_external_data=False).functions:
        with pytest.raises(CheckpointError, match="functions of its own"):
            describe_onnx(path)
        pytest.skip("this PyTorch exports functions of the graph's own, which are refused")
    info, network = describe_onnx(path)
    assert (info.input_size, info.output_size, network.ports.batch) == (64, 64, 1)
    expected = load_model(full_state)(crops)
    torch.testing.assert_close(network(crops), expected, atol=1e-4, rtol=1e-4)
    back, _ = read_onnx_weights(path)
    assert list(back) == list(full_state)
    for key, value in full_state.items():
        torch.testing.assert_close(back[key], value, rtol=1e-5, atol=1e-6)


def test_weights_that_the_graph_transposes_itself_are_found(folded_file, full_state, tmp_path):
    """PyTorch 2.5 keeps a linear layer's weight as it is, with a node that transposes it."""
    graph = onnx.load(str(folded_file))
    stored = {tensor.name: tensor for tensor in graph.graph.initializer}
    linear = [
        node
        for node in graph.graph.node
        if node.op_type in ("Gemm", "MatMul", "FusedGemm", "FusedMatMul")
        and node.input[1] in stored
    ]
    for node in linear:
        name = node.input[1]
        turned = onnx.numpy_helper.to_array(stored[name]).T.copy()
        stored[name].CopyFrom(onnx.numpy_helper.from_array(turned, name))
        node.input[1] = f"{name} as (in, out)"
        turn = onnx.helper.make_node("Transpose", [name], [node.input[1]], perm=[1, 0])
        graph.graph.node.insert(0, turn)
    assert len(linear) > 8
    path = tmp_path / "transposes.onnx"
    onnx.save(graph, str(path))
    back, _ = read_onnx_weights(path)
    for key, value in full_state.items():
        torch.testing.assert_close(back[key], value, rtol=1e-5, atol=1e-6)


def test_equal_constants_that_an_exporter_merged_are_found(folded_file, full_state, tmp_path):
    graph = onnx.load(str(folded_file))
    biases = [t for t in graph.graph.initializer if list(t.dims) == [1, 512]]
    kept = biases[0]
    values = onnx.numpy_helper.to_array(kept)
    for lost in biases[1:]:
        for node in graph.graph.node:
            node.input[:] = [kept.name if name == lost.name else name for name in node.input]
        graph.graph.initializer.remove(lost)
    onnx.save(graph, str(tmp_path / "merged.onnx"))
    back, _ = read_onnx_weights(tmp_path / "merged.onnx")
    merged = [back[f"generator.style.{i}.bias"] for i in range(1, 9)]
    assert len(biases) > 7 and np.allclose(values[0], back["final_linear.0.bias"])
    assert all(torch.equal(merged[0], other) for other in merged[1:])


def test_the_simplified_export_has_lost_the_names(folded_file):
    names = {tensor.name for tensor in onnx.load(str(folded_file)).graph.initializer}
    assert not any("ecd1" in name and "weight" in name for name in names)


def test_a_graph_that_computes_something_else_is_not_taken_for_gpen(folded_file, tmp_path):
    graph = onnx.load(str(folded_file))
    for node in graph.graph.node:
        if node.op_type == "LeakyRelu":
            node.attribute[0].f = 0.3
    path = tmp_path / "other.onnx"
    onnx.save(graph, str(path))
    with pytest.raises(CheckpointError, match="do not give what the graph gives"):
        read_onnx_weights(path)


def test_a_graph_without_gpens_constants_is_refused(folded_file, textbook_file, tmp_path):
    node = onnx.helper.make_node("Abs", ["x"], ["y"])
    path = graph_file(tmp_path / "abs.onnx", {"x": PICTURE}, {"y": PICTURE}, node)
    with pytest.raises(CheckpointError, match="no modulated convolutions"):
        read_onnx_weights(path)
    graph = onnx.load(str(folded_file))
    lost = next(t for t in graph.graph.initializer if list(t.dims) == [32, 32, 3, 3])
    lost.CopyFrom(onnx.numpy_helper.from_array(np.zeros((32, 32, 1, 1), np.float32), lost.name))
    del graph.graph.value_info[:]  # shapes of before the change
    onnx.save(graph, str(path))
    # PyTorch's older exports, with functions, state every shape: the change contradicts those.
    stated = bool(onnx.load(str(textbook_file), load_external_data=False).functions)
    reason = "contradicts itself" if stated else "no constant left for 'ecd"
    with pytest.raises(CheckpointError, match=reason):
        read_onnx_weights(path)


def test_the_command_writes_and_says_so(state, tmp_path):
    import typer
    from typer.testing import CliRunner

    from gpen_core.cli.export import export as command

    app = typer.Typer()
    app.command()(command)
    torch.save(state, tmp_path / "m.pth")
    target = tmp_path / "m.onnx"
    done = CliRunner().invoke(app, [str(tmp_path / "m.pth"), str(target), "--batch", "1"])
    assert done.exit_code == 0 and "Largest difference" in done.output
    assert describe_onnx(target)[1].ports.batch == 1
    wrong = CliRunner().invoke(app, ["m.pth", str(target), "--batch", "many"])
    assert isinstance(wrong.exception, InputError)
