"""Gate: strengths by quality, and by whether the face stays who it was."""

from __future__ import annotations

import pytest
import torch

from gpen_core.errors import InputError
from gpen_core.faces.aligned import as_faces
from gpen_core.faces.gate import Gate, lost_identity, planned_strengths, too_good
from gpen_core.hooks import Recording
from gpen_core.options import CAREFUL, GateOptions

GOOD, BAD = 0.97, 0.6


def means(crops: torch.Tensor) -> torch.Tensor:
    """An embedder: red and green of a face, so that its identity is an angle."""
    return crops.mean(dim=(2, 3))[:, :2]


def flat(*colors: tuple[float, float]) -> torch.Tensor:
    """(N, 3, 16, 16) faces of one color, red and green given."""
    values = torch.tensor([[red, green, 0.0] for red, green in colors])
    return values[..., None, None].expand(-1, -1, 16, 16).clone()


def passed(options: GateOptions, before, after, quality, embedder=means, most=1.0):
    hooks = Recording()
    faces = as_faces((before + 1) / 2, "gpen").with_(restored=after, quality=torch.tensor(quality))
    return Gate(options, most, embedder).passed(before, faces, hooks), hooks


# --- by quality ----------------------------------------------------------------------------------


def test_strength_falls_with_quality_and_stays_below_what_is_asked_for():
    quality = torch.linspace(0, 1, 101)
    for most in (1.0, 0.4):
        strengths = planned_strengths(quality, GateOptions(auto_strength=True), most)
        assert strengths[0] == strengths.max() == torch.tensor(most) and strengths[-1] == 0
        assert bool((strengths.diff() <= 0).all())
    assert planned_strengths(quality, GateOptions(), 0.4).unique().tolist() == [pytest.approx(0.4)]


def test_good_faces_are_left_with_the_reason():
    quality = torch.tensor([BAD, 0.7, GOOD])
    assert too_good(quality, GateOptions()) == {}
    assert too_good(quality, GateOptions(only_below=0.7)) == {
        1: "already good (quality 0.70)",
        2: "already good (quality 0.97)",
    }
    assert list(too_good(quality, GateOptions(auto_strength=True))) == [2]
    assert list(too_good(quality, GateOptions(careful=True))) == [2]
    assert too_good(torch.zeros(0), GateOptions(careful=True)) == {}
    assert list(too_good(quality, GateOptions(only_below=0.0))) == [0, 1, 2]


def test_careful_is_its_parts_and_gives_way_to_what_is_given():
    careful = GateOptions(careful=True).resolved
    assert careful == GateOptions(auto_strength=True, **CAREFUL)
    own = GateOptions(careful=True, only_below=0.5, identity=0.2).resolved
    assert (own.only_below, own.identity, own.auto_strength) == (0.5, 0.2, True)
    assert GateOptions(only_below=0.5).resolved == GateOptions(only_below=0.5)


# --- by identity ---------------------------------------------------------------------------------


def test_a_face_that_stays_who_it_was_is_restored_in_full():
    before, after = flat((1, 0)), flat((1, 0.2))
    faces, hooks = passed(GateOptions(identity=0.9), before, after, [GOOD])
    assert faces.strengths.tolist() == [1.0]
    assert torch.equal(faces.restored, after)
    assert faces.identity.tolist() == pytest.approx([0.9806], abs=1e-3)
    assert hooks.events == []


def test_as_much_is_used_as_keeps_the_identity():
    """The cosine to (1, 0) of (1 - s, s) is 0.8 where s is 3/7."""
    before, after = flat((1, 0), (1, 0)), flat((0, 1), (1, 0.1))
    faces, _ = passed(GateOptions(identity=0.8), before, after, [1.0, 1.0])
    lowered, full = faces.strengths.tolist()
    assert 3 / 7 - 1 / 16 < lowered <= 3 / 7 and full == 1
    assert 0.8 <= float(faces.identity[0]) < 0.87
    mixed = torch.lerp(before[:1], after[:1], lowered)
    assert torch.allclose(faces.restored[:1], mixed)


def test_another_person_is_not_pasted_at_all():
    before, after = flat((1, 0)), flat((-1, 0.05))
    faces, _ = passed(GateOptions(identity=1.0), before, after, [1.0])
    assert faces.strengths.tolist() == [0.0]
    assert torch.equal(faces.restored, before)
    assert faces.identity.tolist() == [1.0]


def test_the_worse_a_picture_the_farther_its_face_may_move():
    before, after = flat((1, 0)), flat((0, 1))
    strengths = [
        passed(GateOptions(identity=0.9), before, after, [quality])[0].strengths.item()
        for quality in (1.0, 0.8, 0.6)
    ]
    assert strengths == sorted(strengths) and strengths[0] < strengths[2]


def test_where_nobody_can_tell_who_it_is_nothing_is_compared_and_that_is_said():
    before, after = flat((1, 0), (1, 0)), flat((0, 1), (0, 1))
    faces, hooks = passed(GateOptions(identity=0.9), before, after, [0.2, GOOD])
    assert faces.strengths[0] == 1 > faces.strengths[1]
    (said,) = hooks.events
    assert said.startswith("1 face too damaged to tell whom they show")


def test_quality_and_identity_together_and_the_strength_asked_for():
    before, after = flat((1, 0)), flat((0, 1))
    options = GateOptions(identity=0.9, auto_strength=True)
    faces, _ = passed(options, before, after, [BAD], most=0.2)
    assert faces.strengths.item() == pytest.approx(0.2)
    faces, _ = passed(options, before, after, [GOOD], most=1.0)
    assert faces.strengths.tolist() == [0.0]


def test_a_track_has_one_quality_and_one_strength():
    before = flat((1, 0), (1, 0), (1, 0), (1, 0))
    after = flat((0, 1), (1, 0), (1, 0.1), (1, 0))
    faces = as_faces((before + 1) / 2, "gpen").with_(
        restored=after,
        quality=torch.tensor([0.7, 0.8, 0.84, 0.6]),
        tracks=torch.tensor([4, 4, 4, 2]),
    )
    options = GateOptions(identity=0.9, auto_strength=True)
    done = Gate(options, 1.0, means).passed(before, faces, Recording())
    assert done.quality.tolist() == pytest.approx([0.8, 0.8, 0.8, 0.6])
    assert done.strengths[:3].unique().numel() == 1 and 0 < done.strengths[0] < 1
    assert done.strengths[3] == 1


def test_without_an_embedder_identity_is_refused():
    with pytest.raises(InputError) as caught:
        passed(GateOptions(identity=0.9), flat((1, 0)), flat((0, 1)), [1.0], embedder=None)
    assert caught.value.option == "identity"
    assert Gate(GateOptions(only_below=0.5)).open
    assert not Gate(GateOptions(careful=True)).open


def test_nobody_passes_and_unknown_quality_is_found():
    nobody = torch.zeros(0, 3, 16, 16)
    faces, _ = passed(GateOptions(careful=True), nobody, nobody, [])
    assert len(faces) == 0 and len(faces.strengths) == 0
    blurred = flat((0.5, 0.1))
    faces = as_faces((blurred + 1) / 2, "gpen").with_(restored=blurred)
    found = Gate(GateOptions(auto_strength=True)).passed(blurred, faces, Recording())
    assert found.quality.shape == (1,)


def test_what_is_said_of_a_lowered_strength():
    assert lost_identity(0.8, 0.8) is None
    assert lost_identity(0.8, 0.4) == "identity not kept: strength lowered to 0.40"
    assert lost_identity(0.8, 0.0) == "identity not kept"
