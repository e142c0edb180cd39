"""A short run of `make fuzz`, the same every time."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fuzz"))

import model_files


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", model_files.KINDS)
def test_changed_files_are_refused_in_one_sentence_or_loaded(kind, monkeypatch):
    if kind == "onnx":
        pytest.importorskip("onnx", reason="the extra gpen[onnx] is not installed")
        pytest.importorskip("onnxruntime", reason="the extra gpen[onnx] is not installed")
    # A busy machine is slow, and no finding.
    monkeypatch.setattr(model_files, "SECONDS", 60.0)
    outcomes = model_files.plain(kind, seed=5, count=60, seconds=60)
    assert outcomes["loaded"] > 0 and outcomes["refused"] > 20
