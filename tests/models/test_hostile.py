"""Every kind of hostile file: one sentence, nothing run, and no more cost than the file's size."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fuzz"))

import hostile_files

from gpen_core.errors import CheckpointError, GPENError
from gpen_core.models.convert import convert, inspect
from gpen_core.models.load import load_model

pytestmark = pytest.mark.filterwarnings("ignore")


def all_files():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, (suffix, makers) in hostile_files.CLASSES.items():
            if suffix != ".onnx":
                for which, make in makers().items():
                    yield pytest.param(suffix, make, id=f"{name}: {which}")


@pytest.mark.parametrize(("suffix", "make"), list(all_files()))
def test_one_sentence_and_nothing_run(tmp_path, monkeypatch, suffix, make):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"m{suffix}"
    path.write_bytes(make())
    for use in (inspect, load_model, lambda path: convert(path, tmp_path / "x.safetensors")):
        with pytest.raises(GPENError) as caught:
            use(path)
        text = str(caught.value)
        assert text.isprintable() and len(text) < 1000 and str(path) in text
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("which", [name for name in hostile_files.ARCHIVES if "program" in name])
def test_a_program_is_called_so_before_anything_is_opened(tmp_path, which):
    path = tmp_path / "m.pth"
    path.write_bytes(hostile_files.ARCHIVES[which]())
    with pytest.raises(CheckpointError, match="TorchScript program, which is code"):
        load_model(path)


BOMBS = {
    **hostile_files.BOMBS,
    **hostile_files.TENSORS,
    **{k: v for k, v in hostile_files.ARCHIVES.items() if "MB" in k or "million" in k},
}


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("which", BOMBS)
def test_a_refusal_costs_little(which):
    """Bounds far above what is measured (docs/reliability.md), so that a busy machine passes."""
    seconds, peak, said = hostile_files.measure(BOMBS[which](), ".pth")
    assert not said.startswith(("FAILED", "loaded"))
    assert seconds < 20 and peak < 300 << 20


def test_a_license_that_repaints_the_terminal_is_shown_as_text(tmp_path):
    from safetensors.torch import save

    path = tmp_path / "m.safetensors"
    words = "\x1b]0;owned\x07\x1b[31mMIT\nformat        forged"
    path.write_bytes(save(hostile_files.first_version(), {"license": words}))
    lines = inspect(path).lines()
    assert all(line.isprintable() for line in lines)
    assert sum(line.startswith("format") for line in lines) == 1
    assert "\\x1b[31mMIT\\nformat" in "".join(lines)
