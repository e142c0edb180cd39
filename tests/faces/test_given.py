"""Faces that somebody else has found: boxes get landmarks, meshes become five points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gpen_core.errors import InputError
from gpen_core.faces.detect import detect
from gpen_core.faces.detector import load_detector
from gpen_core.faces.given import Given, five_points, given_faces
from gpen_core.hooks import Recording
from gpen_core.options import DetectOptions

SAMPLES = Path(__file__).resolve().parents[2] / "docs" / "samples"


def picture(name: str) -> torch.Tensor:
    pixels = np.asarray(Image.open(SAMPLES / name).convert("RGB")).copy()
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


@pytest.fixture(scope="module")
def detector():
    return load_detector()


@pytest.fixture(scope="module")
def group(detector):
    """A group picture and its faces."""
    images = picture("solvay-1927.jpg")
    return images, detect(images, detector)


def boxes_of(faces) -> list[Given]:
    return [Given(tuple(box)) for box in faces.boxes.tolist()]


def test_every_box_of_a_group_gets_its_own_landmarks(group, detector):
    images, faces = group
    found = given_faces(images, [boxes_of(faces)], detector)
    assert len(found) >= len(faces) - 1
    for box, landmarks in zip(found.boxes, found.landmarks, strict=True):
        nearest = (faces.boxes - box).abs().sum(1).argmin()
        eyes = (faces.landmarks[nearest, 1] - faces.landmarks[nearest, 0]).norm()
        assert float((faces.landmarks[nearest] - landmarks).norm(dim=1).max()) < 0.35 * float(eyes)


@pytest.mark.parametrize("grown", [(0, 0, 0, 0), (-60, -20, 60, 330), (15, 25, -15, -10)])
def test_a_box_of_a_face_or_of_a_person_means_the_face_in_it(detector, grown):
    images = picture("astronaut-damaged.jpg")
    face = detect(images, detector).take([0])
    box = (face.boxes[0] + torch.tensor(grown)).tolist()
    found = given_faces(images, [[Given(tuple(box), 0.6)]], detector)
    assert len(found) == 1 and float(found.scores[0]) == pytest.approx(0.6)
    eyes = float((face.landmarks[0, 1] - face.landmarks[0, 0]).norm())
    assert float((found.landmarks - face.landmarks).norm(dim=-1).max()) < 0.2 * eyes


def test_a_box_without_a_face_is_left_out_with_a_sentence(detector):
    images, hooks = picture("astronaut-damaged.jpg"), Recording()
    empty = [Given((0.0, 400.0, 90.0, 500.0)), Given((3.0, 3.0, 3.0, 3.0)), Given((-9, -9, -5, -5))]
    found = given_faces(images, [empty], detector, hooks=hooks)
    assert len(found) == 0
    assert hooks.events == ["No face was found in 3 of 3 given box(es); they are left out."]
    assert {one.reason for one in found.rejected} == {"no face in the given box"}


def test_two_boxes_of_one_face_count_once_and_sizes_are_limited(detector):
    images = picture("astronaut-damaged.jpg")
    box = tuple(detect(images, detector).boxes[0].tolist())
    person = Given((box[0] - 60, box[1] - 20, box[2] + 60, box[3] + 200))
    found = given_faces(images, [[Given(box), person]], detector)
    assert len(found) == 1
    assert [one.reason for one in found.rejected] == ["the same face as another box"]
    found = given_faces(images, [[Given(box)]], detector, DetectOptions(min_size=400))
    assert len(found) == 0 and found.rejected[0].reason == "too small"


def test_landmarks_are_taken_as_they_are(detector):
    images = picture("astronaut-damaged.jpg")
    face = detect(images, detector).take([0])
    one = Given(tuple(face.boxes[0].tolist()), 0.7, face.landmarks[0])
    found = given_faces(images, [[one]], detector)
    assert torch.equal(found.landmarks, face.landmarks) and torch.equal(found.boxes, face.boxes)
    mirrored = Given(one.box, 0.7, face.landmarks[0][[1, 0, 2, 4, 3]])
    found = given_faces(images, [[mirrored]], detector)
    assert len(found) == 0 and found.rejected[0].reason == "implausible landmarks"


def test_a_mesh_becomes_five_points_with_the_nose_where_detectors_see_it():
    mesh = torch.zeros(478, 2)
    places = {33: (90, 100), 133: (110, 100), 362: (150, 100), 263: (170, 100), 1: (130, 140)}
    places |= {61: (110, 170), 291: (150, 170)}
    for index, point in places.items():
        mesh[index] = torch.tensor(point, dtype=torch.float32)
    # Eyes 60 px apart: the nose goes up by 4.5.
    expected = [[100, 100], [160, 100], [130, 135.5], [110, 170], [150, 170]]
    assert torch.allclose(five_points(mesh), torch.tensor(expected))
    assert torch.allclose(five_points(mesh[:468]), torch.tensor(expected))
    outline = torch.zeros(68, 2)
    outline[36:42] = torch.tensor([100.0, 100.0])
    outline[30] = torch.tensor([130.0, 140.0])
    assert five_points(outline)[[0, 2]].tolist() == [[100, 100], [130, 140]]


def test_an_unknown_number_of_landmarks_is_refused(detector):
    with pytest.raises(InputError, match="106 landmarks"):
        five_points(torch.zeros(106, 2))
    with pytest.raises(InputError, match="2 pictures, not 1"):
        given_faces(torch.zeros(1, 3, 64, 64), [[], []], detector)


def test_a_batch_keeps_each_pictures_faces(detector):
    image = picture("astronaut-damaged.jpg")
    box = tuple(detect(image, detector).boxes[0].tolist())
    found = given_faces(
        torch.cat([image, image, image]), [[Given(box)], [], [Given(box)]], detector
    )
    assert found.source.tolist() == [0, 2] and len(found.image_sizes) == 3
