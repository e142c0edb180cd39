"""Command lines put together at random; `tests/fuzz/command_lines.py` tries thousands."""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path

from gpen_core.cli.app import run as gpen

FUZZ = Path(__file__).resolve().parents[1] / "fuzz" / "command_lines.py"


def test_no_line_ends_in_a_traceback_or_harms_an_input():
    spec = importlib.util.spec_from_file_location("command_lines", FUZZ)
    fuzz = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fuzz)
    codes = set()
    for words, wrong, code in itertools.islice(fuzz.findings(seed=7), 60):
        assert wrong is None, words
        codes.add(code)
    assert codes == {0, 1, 2}


def test_what_the_file_system_refuses_is_one_line(tmp_path, capsys, portrait, small_model_file):
    from PIL import Image

    Image.fromarray(portrait).resize((64, 64)).save(tmp_path / "a.png")
    command = ["restore", str(tmp_path / "a.png"), "--model_path", str(small_model_file)]
    for flag in ("--save_crops", "--background", "--user_mask", "--report", "--output"):
        assert gpen([*command, flag, "0" * 300]) in (1, 2), flag
        said = capsys.readouterr().err
        assert "Traceback" not in said and "too long" in said.replace("\n", " "), (flag, said)


def test_names_cannot_color_the_terminal(tmp_path, capsys):
    assert gpen(["restore", str(tmp_path / "a\x1b[31m.png")]) == 2
    said = capsys.readouterr().err
    assert "\x1b[31m" not in said and "\\x1b[31m" in said
