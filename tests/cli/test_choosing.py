"""`gpen faces` makes a page, and `gpen restore` takes what was chosen on it."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from PIL import Image

from gpen_core.cli.app import run as gpen


@pytest.fixture
def folder(tmp_path, portrait, no_face):
    """Two people, nobody, and a torn file."""
    (tmp_path / "in").mkdir()
    both = np.concatenate([portrait, portrait[:, ::-1]], axis=1)
    Image.fromarray(both).save(tmp_path / "in" / "both.png")
    Image.fromarray(no_face).save(tmp_path / "in" / "nobody.png")
    return tmp_path / "in"


def on_the_page(path) -> dict:
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r"const content = (.*)", text)[1])


def test_from_the_page_to_the_picture(tmp_path, folder, small_model_file, capsys):
    page, choices, report = (tmp_path / name for name in ("p.html", "c.json", "r.json"))
    assert gpen(["faces", str(folder), "-o", str(page)]) == 0
    assert "2 faces: " in capsys.readouterr().out
    content = on_the_page(page)
    assert [len(one["faces"]) for one in content["pictures"]] == [2, 0]
    # As the page saves it with the left face ticked.
    faces = sorted(content["pictures"][0]["faces"])
    content["pictures"][0]["faces"] = faces[:1]
    choices.write_text(json.dumps(content))
    arguments = ["restore", str(folder), "-o", str(tmp_path / "out"), "-m", str(small_model_file)]
    arguments += ["--choices", str(choices), "--sort", "right-left"]
    assert gpen([*arguments, "--report", str(report)]) == 0
    first, second = json.loads(report.read_text())
    assert [face["reason"] for face in first["faces"] if face["index"] is not None] == [
        "not chosen",
        None,
    ]
    assert (first["status"], second["status"]) == ("restored", "unchanged")
    before = np.asarray(Image.open(folder / "both.png"))
    changed = (before != np.asarray(Image.open(tmp_path / "out" / "both.png"))).any(-1)
    assert changed[:, :512].any() and not changed[:, 512:].any()
    # Another picture under the old name fails, and the others go on.
    Image.fromarray(before[::-1]).save(folder / "both.png")
    assert gpen([*arguments, "--overwrite"]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "both.png has changed since its faces were chosen; make the page again." in said


def test_a_torn_picture_is_on_the_page_with_the_reason(tmp_path, folder, capsys):
    (folder / "torn.png").write_bytes(b"\x89PNG")
    page = tmp_path / "page.html"
    assert gpen(["faces", str(folder), "-o", str(page)]) == 1
    assert "Failed: " in capsys.readouterr().err
    assert page.read_text(encoding="utf-8").count("<p class=error>") == 1
    assert gpen(["faces", str(folder / "torn.png"), "-o", str(page), "--overwrite"]) == 2
    assert gpen(["faces", str(folder / "both.png"), "-o", str(page)]) == 2
    assert "exists" in capsys.readouterr().err


WRONG = {
    "several without a page": (["faces", "FOLDER"], "Several pictures need a page"),
    "a model without a page": (
        ["faces", "PICTURE", "-m", "gpen-lite-256"],
        "--model_path is for a page; give --output NAME.html.",
    ),
    "no choices": (["restore", "PICTURE", "--choices", "absent.json"], "--choices: "),
    "another file": (["restore", "PICTURE", "--choices", "PICTURE"], "is no file of choices"),
    "ready crops": (
        ["restore", "PICTURE", "--aligned", "--choices", "x.json"],
        "--choices and --aligned cannot be combined",
    ),
}


@pytest.mark.parametrize(("arguments", "said"), WRONG.values(), ids=WRONG)
def test_mistakes_are_one_sentence(arguments, said, folder, capsys):
    names = {"FOLDER": str(folder), "PICTURE": str(folder / "both.png")}
    assert gpen([names.get(one, one) for one in arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
