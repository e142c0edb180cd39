"""Drawn things in front of faces: what is told of them is where the picture changed."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from gpen_core.dataset.covered import CoveredSampler, Drawing
from gpen_core.dataset.degradation import Degradation
from gpen_core.dataset.occluders import KINDS, occlude
from gpen_core.dataset.placement import Jitter, Placement
from gpen_core.dataset.regions import centers, landmarks
from gpen_core.dataset.sources import Face
from gpen_core.errors import InputError
from gpen_core.faces.templates import template

POINTS = template("gpen", 96).float()


def face(value: float = 0.5) -> torch.Tensor:
    """(3, 96, 96), smooth and colored."""
    along = torch.linspace(0.8, 1, 96)
    return torch.stack([along * value, along * value * 0.8, along * value * 0.7])[:, None].expand(
        3, 96, 96
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_draws_the_same_and_another_another(kind) -> None:
    drawn = [occlude(face(), POINTS, kind, seed, face(0.9)) for seed in (3, 3, 4)]
    assert torch.equal(drawn[0].picture, drawn[1].picture)
    assert torch.equal(drawn[0].covered, drawn[1].covered)
    for one in drawn:
        assert one.picture.shape == (3, 96, 96) and one.covered.shape == (1, 96, 96)
        assert one.picture.min() >= 0 and one.picture.max() <= 1
    if kind != "none":
        assert not torch.equal(drawn[0].covered, drawn[2].covered)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_things_are_on_the_face_and_change_it_where_they_are(kind) -> None:
    areas = []
    for seed in range(6):
        drawn = occlude(face(), POINTS, kind, seed, 1 - face())
        covered = drawn.covered[0] > 0.9
        areas.append(float(covered.float().mean()))
        changed = (drawn.picture - face()).abs().amax(0)
        # A thing may have the color of the face; as a rule it has another.
        if covered.any():
            assert changed[covered].mean() > 0.02
    assert 0.004 < sum(areas) / len(areas) < 0.6


def test_light_and_shadow_are_nothing_in_front() -> None:
    drawn = [occlude(face(), POINTS, "none", seed, face()) for seed in range(12)]
    assert not any(one.covered.any() for one in drawn)
    changed = [not torch.allclose(one.picture.float(), face(), atol=1e-6) for one in drawn]
    assert any(changed) and not all(changed)


def test_a_gray_face_stays_gray() -> None:
    gray = face().mean(0, keepdim=True).expand(3, 96, 96)
    for seed in range(5):
        picture = occlude(gray, POINTS, "blob", seed, face()).picture
        assert torch.allclose(picture[0], picture[2], atol=1e-6)


def test_an_unknown_thing_is_refused() -> None:
    with pytest.raises(InputError, match="no occluder 'umbrella'"):
        occlude(face(), POINTS, "umbrella", 0, face())


def test_landmarks_move_with_the_crop() -> None:
    places = torch.cat(
        [Placement().row(), Placement(rotation=0.2, scale=1.1, shift=(0.02, -0.03)).row()]
    )
    points = landmarks(128, places)
    torch.testing.assert_close(points[0], template("gpen", 128).float())
    torch.testing.assert_close(points[:, :2], centers("eyes", 128, places))


@pytest.fixture
def faces(tmp_path) -> list[Face]:
    made = []
    for number in range(3):
        path = tmp_path / f"{number}.png"
        Image.effect_noise((320, 320), 40 + number).convert("RGB").save(path)
        made.append(Face(path, "studio"))
    return made


def test_a_step_draws_the_same_again_and_another_step_does_not(faces) -> None:
    drawing = Drawing([(1.0, Degradation(noise=(2, 8)))], batch_size=3, jitter=Jitter())
    first, again, other = (CoveredSampler(faces, drawing).batch(step) for step in (4, 4, 5))
    assert torch.equal(first.pictures, again.pictures) and first.kinds == again.kinds
    assert torch.equal(first.covered, again.covered)
    assert not torch.equal(first.pictures, other.pictures)
    mirrored = first.mirrored()
    assert torch.equal(mirrored.covered, first.covered.flip(-1))
    assert torch.equal(mirrored.pictures, first.pictures.flip(-1))


def test_skipped_faces_are_never_the_ones_behind(faces) -> None:
    skip = frozenset(f"{face.path.parent.name}/{face.path.name}" for face in faces[:2])
    sampler = CoveredSampler(faces, Drawing([(1.0, Degradation())], batch_size=8, skip=skip))
    chosen = torch.multinomial(sampler.bare, 50, replacement=True)
    assert chosen.unique().tolist() == [2]
