"""Rules of the house that a machine can check."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gpen_core

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = sorted((ROOT / "gpen_core").rglob("*.py"))


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_library_imports_itself_relatively_and_no_host(path):
    """Inside ComfyUI the library is a subpackage and has no top-level name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        roots = {name.partition(".")[0] for name in names}
        assert not roots & {"gpen_core", "comfy", "comfy_api", "folder_paths", "nodes"}, names


def test_every_public_name_exists():
    for name in gpen_core.__all__:
        assert getattr(gpen_core, name).__name__ == name


@pytest.mark.parametrize("room", ["dataset", "evaluation"])
def test_measuring_needs_nothing_of_training(room):
    """Faces and pairs are shared: training imports them, they do not import training."""
    for path in sorted((ROOT / "gpen_core" / room).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] != "training", path.name
    modules = "evaluation.faces, gpen_core.evaluation.compare, gpen_core.evaluation.report"
    code = (
        "import sys; sys.modules |= {'pydantic': None, 'yaml': None}; "
        f"import gpen_core.{modules}, gpen_core.dataset.pairs"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_help_does_not_wait_for_torch():
    code = "import sys, gpen_core.cli.app; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_embedded_model_is_small_and_licensed():
    [*files] = (ROOT / "weights").glob("gpen-lite-*.safetensors")
    assert files
    for path in files:
        assert path.stat().st_size < 25 << 20
        assert path.with_suffix(".md").exists(), "a model card lies beside it"
