"""The one reader of pickles gives what PyTorch gives, for all that a model file may hold."""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from gpen_core.errors import CheckpointError
from gpen_core.models.load import load_model
from gpen_core.models.read import read_checkpoint, read_tensors
from gpen_core.networks.gpen import GPEN, GPENConfig
from gpen_core.text import first_line, printable, quoted

ROOT = Path(__file__).resolve().parents[2]
DTYPES = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32),
    *(torch.int16, torch.int8, torch.uint8, torch.bool, torch.complex64, torch.float8_e4m3fn),
    *(torch.float8_e5m2,),
]


def everything() -> dict:
    torch.manual_seed(1)
    base = torch.randn(6, 8)
    return {
        **{str(dtype): torch.randn(3, 5).to(dtype) for dtype in DTYPES},
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "slice": base[1:4, ::2],
        "transposed": base.t(),
        "same storage": base,
        "channels last": torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
        "parameter": torch.nn.Parameter(torch.randn(4)),
        "module": torch.nn.Sequential(torch.nn.BatchNorm2d(3)).state_dict(),
        "ordered": OrderedDict(a=1, b=[1, 2.5, None, True, "x", b"y", (1, 2), {3}]),
        "optimizer": {"state": {0: {"step": 3, "exp_avg": torch.randn(4)}}, "betas": (0.9, 0.99)},
        "args": argparse.Namespace(size=64, name="x"),
        "shape": torch.randn(3, 2).shape,
        "large": 1 << 60,
    }


def same(ours, theirs) -> bool:
    if isinstance(theirs, torch.Tensor):
        equal = (
            torch.equal(ours.float(), theirs.float())
            if not theirs.is_complex()
            else torch.equal(ours, theirs)
        )
        return ours.dtype == theirs.dtype and ours.stride() == theirs.stride() and equal
    if isinstance(theirs, dict):
        return list(ours) == list(theirs) and all(same(ours[key], theirs[key]) for key in theirs)
    if isinstance(theirs, argparse.Namespace):
        return vars(ours) == vars(theirs)
    return ours == theirs


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_what_pytorch_reads_is_read_the_same(tmp_path, legacy, protocol):
    path = tmp_path / "m.pt"
    content = everything()
    if legacy:  # PyTorch cannot write these in the old format
        content = {key: value for key, value in content.items() if "float8" not in key}
    torch.save(
        content,
        path,
        pickle_protocol=protocol,
        _use_new_zipfile_serialization=not legacy,
    )
    theirs = torch.load(path, map_location="cpu", weights_only=False)  # written just above
    assert same(read_tensors(path), theirs)
    assert same(read_checkpoint(path, mapped=True).content, theirs)


def test_tensors_of_one_storage_stay_so(tmp_path):
    torch.save(everything(), tmp_path / "m.pt")
    content = read_tensors(tmp_path / "m.pt")
    content["same storage"].zero_()
    assert not content["slice"].any() and not content["transposed"].any()


def test_what_is_read_can_be_written_to_and_the_file_stays(tmp_path):
    path = tmp_path / "m.pt"
    torch.save(everything(), path)
    before = path.read_bytes()
    for mapped in (False, True):
        read_checkpoint(path, mapped=mapped).content["same storage"].fill_(7)
    assert path.read_bytes() == before


def test_a_state_dict_keeps_the_versions_of_its_layers(tmp_path):
    torch.save(everything(), tmp_path / "m.pt")
    versions = read_tensors(tmp_path / "m.pt")["module"]._metadata
    assert versions["0"]["version"] == torch.nn.BatchNorm2d._version


def test_neither_unpickler_has_a_part_in_it(tmp_path):
    """Whatever version of PyTorch is installed, its unpickler and Python's are not called."""
    torch.save({"a": torch.zeros(2), "args": argparse.Namespace(a=1)}, tmp_path / "m.pt")
    code = (
        "import pickle, sys, torch, torch._weights_only_unpickler as w\n"
        "def refuse(*a, **k): raise SystemExit('called')\n"
        "pickle.Unpickler = pickle.load = pickle.loads = torch.load = torch.jit.load = refuse\n"
        "w.Unpickler = w.load = refuse\n"
        "from pathlib import Path\n"
        "from gpen_core.models.read import read_tensors\n"
        "print(read_tensors(Path(sys.argv[1]))['args'].a)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "m.pt")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "1", done.stderr


def test_every_reader_of_pickles_is_this_one():
    """No other room opens a pickle, but for MTCNN's wheel, whose hash is compared before."""
    names = ("torch.load(", "torch.jit.load", "pickle.load", "joblib.load", "allow_pickle=True")
    found = {
        path.relative_to(ROOT / "gpen_core").as_posix()
        for path in (ROOT / "gpen_core").rglob("*.py")
        if any(name in path.read_text(encoding="utf-8") for name in names)
    }
    assert found == {"faces/mtcnn.py"}


def test_a_file_of_a_big_endian_machine_is_called_so(tmp_path):
    import zipfile

    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(2)}, buffer)
    path = tmp_path / "m.pt"
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, b"big" if name.endswith("byteorder") else old.read(name))
    with pytest.raises(CheckpointError, match="big-endian"):
        read_tensors(path)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
@pytest.mark.parametrize("extension", ["safetensors", "pth"])
def test_float8_files_are_widened(tmp_path, dtype, extension):
    torch.manual_seed(0)
    state = GPEN(GPENConfig.create(64, 0.0625)).state_dict()
    # Within float8's range: beyond it PyTorch gives NaN or the largest number, by its version.
    narrow = {key: value.clamp(-400, 400).to(dtype) for key, value in state.items()}
    path = tmp_path / f"m.{extension}"
    if extension == "pth":
        torch.save(narrow, path)
    else:
        path.write_bytes(save(narrow))
    model = load_model(path)
    assert model.precision == "fp32" and model.info.stored.startswith("fp8")
    key = "generator.conv1.conv.weight"
    assert torch.equal(model.network.state_dict()[key], narrow[key].float())


def test_a_namespace_of_a_detectors_file_is_no_weight(tmp_path):
    """Detector weights that ask for code: the reader of models refuses them too."""
    from gpen_core.faces.weights import read

    class Bomb:
        def __reduce__(self):
            return np.savetxt, ("executed", [1])

    path = tmp_path / "own.pth"
    torch.save({"a": Bomb()}, path)
    with pytest.raises(CheckpointError, match=r"savetxt.*code and not weights"):
        read("parsing", path, "leave it out")
    assert not Path("executed").exists()


def test_text_is_made_fit_to_be_shown():
    assert printable("a\x1b[2J\nb\u202ec\ud800") == "a\\x1b[2J\\nb\\u202ec\\ud800"
    assert len(printable("x" * 10_000, 50)) == 50
    assert quoted("k") == "'k'" and quoted(3) == "3" and quoted(None) == "None"
    assert "very many" in printable(10**5000)
    assert printable([[]]) == "a list"
    assert first_line(ValueError("one.\ntwo\x07")) == "one"
    assert first_line(ValueError()) == "ValueError"
