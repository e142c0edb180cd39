"""The files on which an earlier version failed, where they lie beside the repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpen_core.errors import CheckpointError
from gpen_core.models.convert import convert, inspect
from gpen_core.models.load import load_model

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"
pytestmark = pytest.mark.skipif(
    not CASES.is_dir(), reason="the files of ../shared/cases are not on this machine"
)
LOADED = {"dt_float8_e4m3fn.safetensors", "meta_escape.safetensors"}
REFUSED = {
    "bytearray_386_bytes.pth": "code and not weights",
    "const_bomb.onnx": "far beyond a face",
    "cycle.onnx": "in a circle",
    "ext_missing.onnx": r"nofile\.bin",
    "loop_forever.onnx": "loops or branches",
    "meta_inf.safetensors": "not a size in pixels",
    "nested_kernel.pth": "nested tensors",
    "own_mlp_bomb.onnx": "no convolution|n_mlp",
    "prefix1500.safetensors": "does not know",
    "quant_kernel.pth": "quantized",
    "stride0_w4096.pth": "repeats its values",
    "ts_CODE.pth": "TorchScript program",
    "v2_args_cyclic.pth": "holds itself",
    "v2_mapper01.safetensors": r"mapper\.01\.weight",
    "zero_width.safetensors": "no values",
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_bad_file_is_refused_in_one_sentence(tmp_path, name):
    if name.endswith(".onnx"):
        pytest.importorskip("onnx", reason="the extra gpen[onnx] is not installed")
        pytest.importorskip("onnxruntime", reason="the extra gpen[onnx] is not installed")
    for use in (inspect, load_model, lambda path: convert(path, tmp_path / "x.safetensors")):
        with pytest.raises(CheckpointError, match=REFUSED[name]) as caught:
            use(CASES / name)
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", sorted(LOADED))
def test_a_good_file_is_loaded_and_described(tmp_path, name):
    assert all(line.isprintable() for line in inspect(CASES / name).lines())
    assert load_model(CASES / name).output_size == 64
    convert(CASES / name, tmp_path / "x.safetensors")


def test_every_model_file_is_one_of_these():
    suffixes = (".pth", ".onnx", ".safetensors")
    assert {path.name for path in CASES.iterdir() if path.suffix in suffixes} == LOADED | set(
        REFUSED
    )
