"""Who is restored, as the command line has it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from gpen_core.cli.app import run as gpen
from gpen_core.errors import MissingDependencyError
from gpen_core.faces.embed import load_embedder


@pytest.fixture(scope="module", autouse=True)
def weights():
    try:
        load_embedder()
    except MissingDependencyError as error:
        pytest.skip(str(error))


@pytest.fixture
def couple(tmp_path, portrait, shared) -> str:
    """Two people side by side: the portrait's, and an old portrait's."""
    other = Image.open(shared / "photos" / "Reed_007784_c63.jpg").convert("RGB")
    picture = Image.new("RGB", (1024, 512))
    picture.paste(Image.fromarray(portrait), (0, 0))
    picture.paste(other.resize((512, round(512 * other.height / other.width))), (512, 0))
    picture.save(tmp_path / "couple.png")
    return str(tmp_path / "couple.png")


@pytest.fixture
def her(tmp_path, portrait) -> str:
    """The same woman, mirrored and smaller."""
    Image.fromarray(portrait[:, ::-1]).resize((300, 300)).save(tmp_path / "her.jpg")
    return str(tmp_path / "her.jpg")


def faces_of(report) -> list[dict]:
    faces = json.loads(report.read_text())[0]["faces"]
    return sorted((face for face in faces if face["index"] is not None), key=lambda f: f["box"])


@pytest.mark.parametrize("flag", ["--person", "--not-person"])
def test_only_the_person_or_everybody_else(flag, tmp_path, couple, her, small_model_file):
    report, out = tmp_path / "report.json", tmp_path / "out.png"
    arguments = ["restore", couple, "-o", str(out), "-m", str(small_model_file)]
    assert gpen([*arguments, flag, her, "--report", str(report)]) == 0
    mine, his = faces_of(report)
    before, after = np.asarray(Image.open(couple)), np.asarray(Image.open(out))
    changed = (before != after).any(-1)
    halves = [changed[:, :512].any(), changed[:, 512:].any()]
    if flag == "--person":
        assert (mine["restored"], his["restored"]) == (True, False)
        assert his["reason"] == "not this person"
        assert mine["person"] > 0.6 > 0.3 > his["person"]
        assert halves == [True, False]
    else:
        assert (mine["restored"], his["restored"]) == (False, True)
        assert mine["reason"] == "a person to leave alone" and mine["person"] is None
        assert halves == [False, True]


def test_a_picture_without_a_face_goes_through(tmp_path, no_face, her, small_model_file):
    Image.fromarray(no_face).save(tmp_path / "nobody.png")
    arguments = ["restore", str(tmp_path / "nobody.png"), "-m", str(small_model_file)]
    assert gpen([*arguments, "--person", her, "--not-person", her]) == 0
    assert np.array_equal(np.asarray(Image.open(tmp_path / "nobody_restored.png")), no_face)


def test_nobody_of_a_picture_is_them(tmp_path, couple, small_model_file, shared, capsys):
    stranger = str(shared / "photos" / "DeBolt_002456_c44.jpg")
    out = tmp_path / "out.png"
    arguments = ["restore", couple, "-o", str(out), "-m", str(small_model_file)]
    assert gpen([*arguments, "--person", stranger]) == 0
    assert np.array_equal(np.asarray(Image.open(couple)), np.asarray(Image.open(out)))
    assert "no face restored, picture unchanged" in " ".join(capsys.readouterr().err.split())


WRONG = {
    "no such picture": (["--person", "absent.jpg"], "absent.jpg: nothing of this name was found"),
    "nobody in it": (["--person", "EMPTY"], "Error: --person: "),
    "several in it": (["--not_person", "COUPLE"], "shows 2 faces; cut out the one that is meant."),
    "no picture": (["--person", "TEXT"], "notes.jpg"),
    "threshold alone": (
        ["--person_threshold", "0.5"],
        "--person_threshold has no effect without --person or --not_person.",
    ),
    "threshold": (
        ["--person", "COUPLE", "--person_threshold", "2"],
        "--person_threshold must be from 0 to 1, not 2",
    ),
    "ready crops": (
        ["--person", "COUPLE", "--aligned"],
        "--person and --aligned cannot be combined",
    ),
}


@pytest.mark.parametrize(("arguments", "said"), WRONG.values(), ids=WRONG)
def test_mistakes_are_one_sentence(
    arguments, said, tmp_path, couple, no_face, small_model_file, capsys
):
    (tmp_path / "notes.jpg").write_text("no picture")
    Image.fromarray(no_face).save(tmp_path / "empty.png")
    files = {"EMPTY": "empty.png", "COUPLE": "couple.png", "TEXT": "notes.jpg"}
    arguments = [str(tmp_path / files[one]) if one in files else one for one in arguments]
    assert gpen(["restore", couple, "-m", str(small_model_file), *arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and said in lines[0], lines
    assert not (tmp_path / "couple_restored.png").exists()
