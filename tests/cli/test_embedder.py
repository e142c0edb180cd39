"""A user's own face recognition network: given, refused, told in the report."""

from __future__ import annotations

import hashlib
import json

import pytest
from PIL import Image

from gpen_core.cli.app import run as gpen


@pytest.fixture
def picture(tmp_path, portrait) -> str:
    Image.fromarray(portrait).save(tmp_path / "her.png")
    return str(tmp_path / "her.png")


@pytest.fixture
def arcface(tmp_path, recognition_graph):
    return recognition_graph(tmp_path / "arcface.onnx")


def restore(picture, tmp_path, model, *arguments) -> int:
    out = ["-o", str(tmp_path / "out.png"), "--report", str(tmp_path / "report.json")]
    return gpen(["restore", picture, "-m", str(model), *out, *map(str, arguments)])


def said(capsys) -> str:
    return " ".join(capsys.readouterr().err.split())


def test_it_tells_people_apart_and_its_hash_is_in_the_report(
    picture, arcface, tmp_path, small_model_file, capsys
):
    people = ("--person", picture, "--embedder", arcface, "--person_threshold", "0.99")
    assert restore(picture, tmp_path, small_model_file, *people) == 0
    digest = hashlib.sha256(arcface.read_bytes()).hexdigest()
    assert f"told apart by arcface.onnx (SHA-256 {digest})" in said(capsys)
    [outcome] = json.loads((tmp_path / "report.json").read_text())
    assert outcome["embedder"] == {"file": "arcface.onnx", "sha256": digest}
    [face] = [face for face in outcome["faces"] if face["index"] is not None]
    assert face["restored"] and face["person"] > 0.99
    others = ["--not_person", *people[1:], "--overwrite"]
    assert restore(picture, tmp_path, small_model_file, *others) == 0
    [outcome] = json.loads((tmp_path / "report.json").read_text())
    assert outcome["status"] == "unchanged"


def test_the_page_takes_it_too(picture, arcface, tmp_path, capsys):
    page = ["faces", picture, "-o", str(tmp_path / "faces.html"), "--person", picture]
    assert gpen([*page, "--embedder", str(arcface)]) == 2
    assert "--person_threshold has to be given with arcface.onnx" in said(capsys)
    assert gpen([*page, "--embedder", str(arcface), "--person_threshold", "0.9"]) == 0


def test_its_threshold_is_asked_for(picture, arcface, tmp_path, small_model_file, capsys):
    people = ("--person", picture, "--embedder", arcface)
    assert restore(picture, tmp_path, small_model_file, *people) == 2
    expected = "--person_threshold has to be given with arcface.onnx: 0.36 is measured for SFace"
    assert expected in said(capsys)
    assert not (tmp_path / "out.png").exists()


def test_the_identity_is_compared_by_it_and_that_is_said(
    picture, arcface, tmp_path, small_model_file
):
    given = ("--embedder", arcface, "--identity", "0.9")
    assert restore(picture, tmp_path, small_model_file, *given) == 0
    [outcome] = json.loads((tmp_path / "report.json").read_text())
    assert any("arcface.onnx" in event and "SFace" in event for event in outcome["events"])


WRONG = {
    "nobody": (["--embedder", "GRAPH"], "--embedder has no effect without --person"),
    "missing": (["--person", "HER", "--embedder", "no.onnx"], "no.onnx is missing"),
    "another": (["--person", "HER", "--embedder", "MODEL"], "another network"),
    "picture": (["--person", "HER", "--embedder", "HER"], "her.png"),
}


@pytest.mark.parametrize(("arguments", "expected"), WRONG.values(), ids=WRONG)
def test_mistakes_are_one_sentence(
    arguments, expected, picture, arcface, tmp_path, small_model_file, capsys
):
    files = {"GRAPH": arcface, "HER": picture, "MODEL": small_model_file}
    arguments = [files.get(one, one) for one in arguments]
    assert restore(picture, tmp_path, small_model_file, *arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and expected in lines[0], lines
