"""`.onnx` files where a model is asked for: load_model, the pipeline, inspect, convert."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gpen_core.errors import CheckpointError
from gpen_core.models.convert import convert, inspect
from gpen_core.models.load import load_model
from gpen_core.networks.gpen import GPEN, GPENConfig

pytest.importorskip("onnx", reason="the extra gpen[onnx] is not installed")
pytest.importorskip("onnxruntime", reason="the extra gpen[onnx] is not installed")

from gpen_core.onnx.export import export


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> tuple[Path, Path]:
    """A small model as `.pth` and as `.onnx`."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    config = replace(GPENConfig.create(64, narrow=0.0625), style_dim=32)
    torch.save(GPEN(config).state_dict(), folder / "small.pth")
    export(load_model(folder / "small.pth"), folder / "small.onnx")
    return folder / "small.pth", folder / "small.onnx"


def test_an_onnx_file_loads_and_is_cached(files):
    torch_file, graph_file = files
    graph = load_model(graph_file)
    assert load_model(graph_file) is graph and graph.bytes >= graph_file.stat().st_size
    assert (graph.info.file_format, graph.input_size, graph.output_size) == ("onnx", 64, 64)
    x = torch.rand(2, 3, 64, 64) * 2 - 1
    torch.testing.assert_close(graph(x), load_model(torch_file)(x), atol=1e-4, rtol=1e-4)
    half = load_model(graph_file, precision="fp16")
    assert half.precision == "fp16" and half(x).dtype == torch.float32


def test_a_picture_is_restored_with_a_graph(files, portrait):
    from gpen_core.arrays import restore_image

    torch_file, graph_file = files
    ours = restore_image(portrait, load_model(torch_file))
    theirs = restore_image(portrait, load_model(graph_file))
    assert len(theirs.faces) == 1
    difference = np.abs(np.asarray(ours.image, np.float64) - np.asarray(theirs.image, np.float64))
    assert difference.max() <= (1 if theirs.image.dtype == np.uint8 else 1e-3)


def test_inspect_and_convert_read_graphs(files, tmp_path):
    torch_file, graph_file = files
    assert "onnx" in str(inspect(graph_file)) and "64 px" in str(inspect(graph_file))
    convert(graph_file, tmp_path / "back.safetensors")
    back, original = load_model(tmp_path / "back.safetensors"), load_model(torch_file)
    assert back.info.architecture == "gpen-v1" and "layout" not in back.info.metadata
    x = torch.rand(1, 3, 64, 64) * 2 - 1
    torch.testing.assert_close(back(x), original(x), atol=1e-5, rtol=1e-5)


def test_a_graph_is_not_exported_again(files, tmp_path):
    with pytest.raises(CheckpointError, match="only GPEN v1"):
        export(load_model(files[1]), tmp_path / "again.onnx")


def test_run_gpen_restores_with_a_graph(files, tmp_path):
    from gpen_core.cli.app import run_gpen

    photo = Path(__file__).resolve().parents[2] / "docs" / "samples" / "astronaut-damaged.jpg"
    command = ["--input", str(photo), "--size", "64", "--face_align", "--model_path"]
    for model in files:
        target = tmp_path / f"{model.suffix[1:]}.png"
        assert run_gpen([*command, str(model), "--output", str(target)]) == 0
    ours, theirs = (np.asarray(Image.open(path), np.int16) for path in sorted(tmp_path.iterdir()))
    before = np.asarray(Image.open(photo).convert("RGB"), np.int16)
    assert np.abs(ours - theirs).max() <= 1 and np.abs(ours - before).max() > 1
