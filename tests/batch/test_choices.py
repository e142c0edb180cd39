"""Choices: a file of chosen faces comes back to the same faces of the same pictures."""

from __future__ import annotations

import json

import pytest
import torch

from gpen_core.batch.choices import KIND, NOT_CHOSEN, VERSION, Choices, Chosen
from gpen_core.errors import InputError
from gpen_core.faces.found import Faces
from gpen_core.files import sha256
from gpen_core.run import Found


def found(*boxes: tuple[float, ...], chosen: list[int] | None = None) -> Found:
    count = len(boxes)
    faces = Faces(
        boxes=torch.tensor(boxes, dtype=torch.float32).view(-1, 4),
        scores=torch.ones(count),
        landmarks=torch.zeros(count, 5, 2),
        source=torch.zeros(count, dtype=torch.int64),
        image_sizes=((200, 400),),
    )
    return Found(faces, list(range(count)) if chosen is None else chosen)


LEFT, MIDDLE, RIGHT = (0.0, 0, 40, 50), (100.0, 0, 140, 50), (200.0, 0, 240, 50)


def test_faces_are_known_by_where_they_are_not_by_their_number():
    """The search gave other numbers, and boxes a little off."""
    moved = tuple(value + 5 for value in RIGHT)
    result, missing = Chosen("one.jpg", "", (moved,)).applied(found(RIGHT, LEFT, MIDDLE))
    assert (result.chosen, missing) == ([0], 0)
    assert result.left == {1: NOT_CHOSEN, 2: NOT_CHOSEN}
    assert [line.reason for line in result.lines()] == [None, NOT_CHOSEN, NOT_CHOSEN]


def test_a_chosen_face_that_is_not_there_is_counted():
    far = (300.0, 100, 340, 150)
    result, missing = Chosen("one.jpg", "", (far, LEFT)).applied(found(LEFT, MIDDLE))
    assert (result.chosen, missing) == ([0], 1)
    nobody, missing = Chosen("one.jpg", "", (far, LEFT)).applied(found())
    assert (nobody.chosen, missing) == ([], 2)


def test_nothing_chosen_and_what_was_left_before_stays_left():
    result, missing = Chosen("one.jpg", "").applied(found(LEFT, MIDDLE))
    assert (result.chosen, missing) == ([], 0)
    before = Found(found(LEFT, MIDDLE).everyone, [1], {0: "already good (quality 0.99)"})
    result, _ = Chosen("one.jpg", "", (LEFT, MIDDLE)).applied(before)
    assert (result.chosen, result.left) == ([1], {0: "already good (quality 0.99)"})


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "one.jpg"
    path.write_bytes(b"picture")
    return path


def saved(tmp_path, content: object, name="choices.json"):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def listed(*pictures: object) -> dict:
    return {"kind": KIND, "version": VERSION, "pictures": list(pictures)}


def test_a_picture_is_known_by_its_name_and_content(tmp_path, picture):
    entries = [
        {"name": "one.jpg", "sha256": "0" * 64, "faces": [list(LEFT)]},
        {"name": "one.jpg", "sha256": sha256(picture), "faces": [list(RIGHT)]},
    ]
    choices = Choices.read(saved(tmp_path, listed(*entries)))
    assert choices.of(picture).boxes == (RIGHT,), "the one of the two with this content"
    picture.write_bytes(b"another picture")
    with pytest.raises(InputError) as caught:
        choices.of(picture)
    said = "one.jpg has changed since its faces were chosen; make the page again."
    assert (str(caught.value), caught.value.option) == (said, "choices")
    other = picture.with_name("two.jpg")
    with pytest.raises(InputError, match=r"^two.jpg is not in choices.json; make the page again"):
        choices.of(other)


BOX = [0, 0, 9, 9]
NAMED = {"name": "one.jpg", "sha256": "0"}
WRONG = {
    "text": ("no JSON", "it is no JSON"),
    "deep": ("[" * 100_000, "it is no JSON"),
    "a list": ([], "save it on the page"),
    "a report": ([{"input": "one.jpg"}], "save it on the page"),
    "another version": ({"kind": KIND, "version": 2}, "its version is 2, not 1"),
    "no pictures": ({"kind": KIND, "version": 1}, "it lists no pictures"),
    "a number for a picture": (listed(7), "a picture is no object"),
    "no name": (listed({"sha256": "0", "faces": []}), "lacks its name"),
    "faces as text": (listed({**NAMED, "faces": "all"}), "lacks its name, sha256 or faces"),
    "three numbers": (listed({**NAMED, "faces": [[0, 0, 9]]}), "not a box of four numbers"),
    "text in a box": (listed({**NAMED, "faces": [[0, 0, "9", 9]]}), "not a box of four numbers"),
    "truth in a box": (listed({**NAMED, "faces": [[True, 0, 9, 9]]}), "not a box of four numbers"),
    "not a number": (
        json.dumps(listed({**NAMED, "faces": [[float("nan"), 0, 9, 9]]})),
        "not a box of four numbers",
    ),
}


@pytest.mark.parametrize(("content", "said"), WRONG.values(), ids=WRONG)
def test_other_files_are_refused_in_one_sentence(content, said, tmp_path):
    path = saved(tmp_path, content)
    with pytest.raises(InputError) as caught:
        Choices.read(path)
    text = str(caught.value)
    assert said in text and text.startswith(str(path)) and "\n" not in text
    assert caught.value.option == "choices"


def test_files_that_are_not_there_or_no_text(tmp_path):
    with pytest.raises(InputError, match=r"absent.json cannot be read"):
        Choices.read(tmp_path / "absent.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="it is no JSON"):
        Choices.read(tmp_path / "bytes.json")


def test_an_editor_may_have_left_its_mark(tmp_path, picture):
    entry = {"name": "one.jpg", "sha256": sha256(picture), "faces": [BOX]}
    path = saved(tmp_path, "\ufeff" + json.dumps(listed(entry)))
    assert Choices.read(path).of(picture).boxes == ((0.0, 0.0, 9.0, 9.0),)
