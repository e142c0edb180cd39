"""Graphs that would take memory or time without end are refused before anything runs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

onnx = pytest.importorskip("onnx", reason="the extra gpen[onnx] is not installed")
pytest.importorskip("onnxruntime", reason="the extra gpen[onnx] is not installed")

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fuzz"))

import hostile_files
import numpy as np
from hostile_files import constant, external, graph, node

from gpen_core.errors import CheckpointError, GPENError
from gpen_core.models.convert import convert, inspect
from gpen_core.models.load import load_model
from gpen_core.models.onnx_file import describe_onnx
from gpen_core.onnx.check import check_graph

WEIGHT = constant("w", [0.1] * 81, 1, (3, 3, 3, 3))
CONV = ("Conv", "input w", "output")


@pytest.mark.parametrize("which", hostile_files.GRAPHS)
def test_one_sentence(tmp_path, which, capfd):
    path = tmp_path / "m.onnx"
    path.write_bytes(hostile_files.GRAPHS[which]())
    refused = 0
    for use in (inspect, load_model, lambda path: convert(path, tmp_path / "x.safetensors")):
        try:
            use(path)
        except GPENError as error:
            refused += 1
            assert str(error).isprintable() and len(str(error)) < 1000 and str(path) in str(error)
    # A long graph of real work can be run, but is no GPEN's weights.
    assert refused == 3 or which in RUNS
    assert capfd.readouterr() == ("", "")
    assert not (tmp_path / "x.safetensors").exists()


RUNS = ("sixty diamonds",)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("which", [name for name in hostile_files.GRAPHS if "GB" in name])
def test_a_refusal_costs_little(which):
    seconds, peak, said = hostile_files.measure(hostile_files.GRAPHS[which](), ".onnx")
    assert not said.startswith(("FAILED", "loaded"))
    assert seconds < 20 and peak < 300 << 20


def test_data_in_another_file_are_read_where_they_are_whole(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(external("w.bin"))
    with pytest.raises(CheckpointError, match=r"'w\.bin', which is not beside it"):
        describe_onnx(path)
    (tmp_path / "w.bin").write_bytes(np.full(80, 0.1, np.float32).tobytes())
    with pytest.raises(CheckpointError, match="less data"):
        describe_onnx(path)
    (tmp_path / "w.bin").write_bytes(np.full(81, 0.1, np.float32).tobytes())
    info, network = describe_onnx(path)
    assert info.output_size == 64 and network.unseen_bytes == path.stat().st_size + 324


def test_a_link_does_not_lead_out_of_the_folder(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(324))
    (tmp_path / "a" / "w.bin").symlink_to(tmp_path / "secret.bin")
    path = tmp_path / "a" / "m.onnx"
    path.write_bytes(external("w.bin"))
    with pytest.raises(CheckpointError, match="outside its own folder"):
        describe_onnx(path)


def test_sizes_that_are_computed_are_worked_out(tmp_path):
    """A padding as exporters write it: a dozen nodes that depend on nothing or on shapes only."""
    nodes = [
        node("Constant", "", "zero", value_ints=[0]),
        node("ConstantOfShape", "four", "z", value=constant("v", [0])),
        node("Concat", "z pads", "all", axis=0),
        node("Reshape", "all two", "r"),
        node("Slice", "r end begin zero minus", "back"),
        node("Transpose", "back", "t", perm=[1, 0]),
        node("Reshape", "t one", "flat"),
        node("Cast", "flat", "p", to=7),
        node("Shape", "input", "s"),
        node("Gather", "s zero", "n", axis=0),
        node("Concat", "n rest", "kept", axis=0),
        node("Pad", "input zeros", "padded"),
        node("Reshape", "padded kept", "x"),
        node("Conv", "x w", "output", pads=[1] * 4),
    ]
    kept = [
        *(constant("four", [4]), constant("pads", [1, 1, 1, 1]), constant("two", [-1, 2])),
        *(constant("end", [-1]), constant("begin", [-100]), constant("minus", [-1])),
        *(constant("one", [-1]), constant("rest", [3, 64, 64]), constant("zeros", [0] * 8), WEIGHT),
    ]
    path = tmp_path / "m.onnx"
    path.write_bytes(graph(nodes, kept))
    checked = check_graph(path, onnx)
    assert (checked.in_size, checked.out_size) == (64, 64)


def test_what_a_graph_says_of_its_output_is_not_believed(tmp_path):
    nodes = [node("Conv", "input w", "c", strides=[2, 2]), node("Identity", "c", "output")]
    path = tmp_path / "m.onnx"
    path.write_bytes(graph(nodes, [WEIGHT]))
    with pytest.raises(CheckpointError, match=r"its output 'output' as \[1, 3, 31, 31\]"):
        load_model(path)


def test_a_graph_without_weights_is_no_model(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(graph([node("Abs", "input", "output")]))
    with pytest.raises(CheckpointError, match="no convolution and no matrix product"):
        load_model(path)
