"""Which faces are left alone, as the command line has it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image, ImageFilter

from gpen_core.cli.app import run as gpen
from gpen_core.errors import MissingDependencyError
from gpen_core.faces.embed import load_embedder


@pytest.fixture
def embedder():
    try:
        load_embedder()
    except MissingDependencyError as error:
        pytest.skip(str(error))


@pytest.fixture
def two(tmp_path, shared) -> str:
    """A good face on the left, and the same face damaged on the right."""
    good = Image.open(shared / "photos" / "astronaut_skimage.png").convert("RGB")
    bad = good.filter(ImageFilter.GaussianBlur(5))
    picture = Image.new("RGB", (2 * good.width, good.height))
    picture.paste(good, (0, 0))
    picture.paste(bad, (good.width, 0))
    picture.save(tmp_path / "two.png")
    return str(tmp_path / "two.png")


def run(two, tmp_path, model, *arguments):
    """What became of the left and the right face, and which half of the picture changed."""
    out, report = tmp_path / "out.png", tmp_path / "report.json"
    code = gpen(
        ["restore", two, "-o", str(out), "-m", str(model), "--report", str(report), *arguments]
    )
    assert code == 0
    before, after = np.asarray(Image.open(two)), np.asarray(Image.open(out))
    changed, middle = (before != after).any(-1), before.shape[1] // 2
    faces = json.loads(report.read_text())[0]["faces"]
    faces = sorted((face for face in faces if face["index"] is not None), key=lambda f: f["box"])
    return faces, [bool(changed[:, :middle].any()), bool(changed[:, middle:].any())]


def test_only_the_face_below_a_quality_is_restored(two, tmp_path, small_model_file, capsys):
    (left, right), halves = run(two, tmp_path, small_model_file, "--only-below", "0.8")
    assert left["quality"] > 0.9 > 0.8 > right["quality"]
    assert left["reason"] == f"already good (quality {left['quality']:.2f})"
    assert (left["restored"], right["restored"]) == (False, True)
    assert halves == [False, True]
    assert "1 of 2 faces restored" in capsys.readouterr().err


def test_quality_is_in_every_report(two, tmp_path, small_model_file):
    faces, halves = run(two, tmp_path, small_model_file)
    assert all(0 < face["quality"] < 1 and face["restored"] for face in faces)
    assert all(face["strength"] is face["identity"] is face["reason"] is None for face in faces)
    assert halves == [True, True]


def test_strength_by_quality(two, tmp_path, small_model_file):
    (left, right), halves = run(two, tmp_path, small_model_file, "--strength", "auto")
    assert left["reason"].startswith("already good") and left["strength"] is None
    assert right["strength"] == 1 and right["identity"] is None
    assert halves == [False, True]


def test_a_model_that_makes_somebody_else_is_not_used(
    embedder, two, tmp_path, small_model_file, capsys
):
    """This one makes noise of every face."""
    arguments = ("--identity", "0.9", "--overwrite")
    (left, _), halves = run(two, tmp_path, small_model_file, *arguments)
    assert left["reason"].startswith("identity not kept")
    assert left["strength"] < 0.8 and left["identity"] >= 0.9 * left["quality"] - 0.01
    if left["strength"] == 0:
        assert not left["restored"] and not halves[0]
    (left, _), _ = run(two, tmp_path, small_model_file, "--careful", "--overwrite")
    assert left["reason"].startswith("already good")


def test_a_strength_is_a_number_or_auto(two, small_model_file, capsys):
    for text in ("much", "", "-"):
        assert gpen(["restore", two, "-m", str(small_model_file), f"--strength={text}"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"--strength must be from 0 to 1, or auto, not {text!r}." in line
    assert gpen(["restore", "--help"]) == 0
    assert "auto: restore damaged faces in full" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("arguments", [["--careful"], ["--only_below", "0.8"]])
def test_ready_crops_are_not_looked_at(arguments, two, small_model_file, capsys):
    assert gpen(["restore", two, "--aligned", "-m", str(small_model_file), *arguments]) == 2
    assert f"{arguments[0]} and --aligned cannot be combined" in capsys.readouterr().err
