"""The documents show what `gpen inspect` says; made anew here, it must be the same."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_the_documents_show_what_inspect_says_of_every_kind_of_file():
    for name in ("onnx", "onnxruntime"):
        pytest.importorskip(name, reason="the extra gpen[onnx] is not installed")
    spec = importlib.util.spec_from_file_location(
        "inspect_examples", Path(__file__).with_name("inspect_examples.py")
    )
    examples = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(examples)
    text = (ROOT / "docs" / "checkpoint-formats.md").read_text(encoding="utf-8")
    shown = text.partition("<!-- inspect_examples -->")[2].partition("<!-- end -->")[0].strip()
    assert shown == examples.main()
