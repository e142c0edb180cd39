"""Faces followed from frame to frame: who is who, where between, and without a tremor."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gpen_core.faces.found import Faces
from gpen_core.faces.smooth import one_euro, smooth_landmarks
from gpen_core.faces.templates import template
from gpen_core.faces.track import followed, match, tracks
from gpen_core.options import TrackOptions

SHAPE = template("gpen", 128).float()
EYES = float((SHAPE[1] - SHAPE[0]).norm())
PLAIN = TrackOptions(smoothing=0, shortest=1)


def points(x, y, size=1.0, turn=0.0):
    """Landmarks of a face whose middle is at (x, y)."""
    cos, sin = math.cos(turn) * size, math.sin(turn) * size
    turned = (SHAPE - SHAPE.mean(0)) @ torch.tensor([[cos, sin], [-sin, cos]])
    return turned + torch.tensor([x, y])


def faces(*landmarks):
    if not landmarks:
        return Faces.empty([(480, 640)])
    stacked = torch.stack(landmarks)
    boxes = torch.cat([stacked.amin(1) - 20, stacked.amax(1) + 20], 1)
    count = len(landmarks)
    source = torch.zeros(count, dtype=torch.int64)
    return Faces(boxes, torch.full((count,), 0.99), stacked, source, ((480, 640),))


def ways(found):
    return [(one.first, one.last) for one in found]


def test_two_that_pass_each_other_keep_their_numbers():
    seen = {i: faces(points(100 + 4 * i, 200), points(500 - 4 * i, 330)) for i in range(100)}
    seen = {i: one.take([i % 2, 1 - i % 2]) for i, one in seen.items()}
    left, right = tracks(seen, [], 25.0, PLAIN)
    assert ways([left, right]) == [(0, 99), (0, 99)]
    assert left.landmarks.mean((1, 2)).diff().sign().unique().tolist() == [1.0]
    assert float(left.landmarks[99].mean(0)[0]) == pytest.approx(496, abs=0.1)


@pytest.mark.parametrize("cross", [False, True])
def test_who_they_are_tells_whether_two_crossed_or_turned_back(cross):
    """Found every fifth frame, they come as near as they can and are far apart the next time."""
    people = torch.eye(8)[:2] * 0.9 + 0.1
    people = people / people.norm(dim=1, keepdim=True)
    seen, vectors = {}, {}
    for i, x in enumerate((130, 160, 190, 190, 160, 130)):
        pair = [points(x, 200), points(400 - x, 200)]
        crossed = cross and i >= 3
        seen[5 * i] = faces(*(pair[::-1] if crossed else pair)).take([1, 0] if i % 2 else [0, 1])
        vectors[5 * i] = people.flip(0) if i % 2 else people
    one, other = tracks(seen, [], 25.0, PLAIN, vectors)
    assert ways([one, other]) == [(0, 25), (0, 25)]
    end = 270 if cross else 130
    assert float(one.landmarks[-1].mean(0)[0]) == pytest.approx(end, abs=0.1)
    assert float(other.landmarks[-1].mean(0)[0]) == pytest.approx(400 - end, abs=0.1)


def test_between_two_frames_looked_at_a_face_moves_straight():
    (one,) = tracks({0: faces(points(100, 100)), 5: faces(points(120, 90))}, [], 25.0, PLAIN)
    assert torch.allclose(one.landmarks[2], points(108, 96), atol=1e-4)
    assert one.seen == 2 and len(one.scores) == 6


@pytest.mark.parametrize("gap, expected", [(12, [(0, 19)]), (3, [(0, 4), (15, 19)])])
def test_a_gap_is_closed_or_ends_a_track(gap, expected):
    seen = {i: faces() if 5 <= i < 15 else faces(points(200 + i, 200)) for i in range(20)}
    found = tracks(seen, [], 25.0, TrackOptions(smoothing=0, shortest=1, gap=gap))
    assert ways(found) == expected


def test_a_cut_ends_every_track():
    seen = {i: faces(points(200, 200)) for i in range(20)}
    assert ways(tracks(seen, [8], 25.0, PLAIN)) == [(0, 7), (8, 19)]


def test_what_flickers_up_is_left_out():
    seen = {i: faces(points(200, 200), *([points(500, 100)] if i == 7 else [])) for i in range(20)}
    assert ways(tracks(seen, [], 25.0, TrackOptions(smoothing=0, shortest=2))) == [(0, 19)]
    assert len(tracks(seen, [], 25.0, PLAIN)) == 2


def test_a_face_of_another_size_or_place_is_another():
    here = points(200, 200)[None]
    assert match(here, points(200, 200, size=2)[None]) == []
    assert match(here, points(200 + 1.2 * EYES, 200)[None]) == []
    assert match(here, points(200 + 0.5 * EYES, 200, size=1.2)[None]) == [(0, 0)]
    assert match(here, points(200 + 1.2 * EYES, 200)[None], frames=6) == [(0, 0)]


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(4)), st.floats(-8, 8), st.floats(-8, 8))
def test_the_order_in_which_faces_are_found_does_not_matter(order, dx, dy):
    before = torch.stack([points(100 + 130 * i, 200) for i in range(4)])
    after = (before + torch.tensor([dx, dy]))[list(order)]
    assert sorted(match(before, after)) == sorted((one, j) for j, one in enumerate(order))


# --- smoothing -----------------------------------------------------------------------------------


def trembling(count, way, noise=0.02):
    generator = torch.Generator().manual_seed(0)
    truth = torch.stack([points(*way(i / 25)) for i in range(count)])
    return truth, truth + noise * EYES * torch.randn(truth.shape, generator=generator)


def error(one, truth):
    return float((one - truth).norm(dim=-1).mean()) / EYES


def tremor(one, truth):
    return float((one - truth).diff(dim=0).norm(dim=-1).mean()) / EYES


def test_a_face_at_rest_trembles_a_third_as_much():
    truth, found = trembling(100, lambda t: (300, 200, 1.0, 0.1))
    smooth = smooth_landmarks(found, 25.0)
    assert tremor(smooth, truth) < tremor(found, truth) * 0.35
    assert error(smooth, truth) < error(found, truth) * 0.6


@pytest.mark.parametrize(
    "way, share",
    [
        (lambda t: (200 + 150 * t, 200, 1.0, 0.0), 0.5),
        (lambda t: (300 + 120 * math.sin(4 * t), 200, 1.0, 0.0), 0.75),
        (lambda t: (300, 200, 1 + 0.3 * math.sin(2 * t), 0.5 * math.sin(3 * t)), 0.5),
    ],
    ids=["pan", "shake", "zoom and turn"],
)
def test_a_face_in_motion_is_not_left_behind(way, share):
    truth, found = trembling(100, way)
    smooth = smooth_landmarks(found, 25.0)
    assert tremor(smooth, truth) < tremor(found, truth) * share
    assert error(smooth, truth) < error(found, truth) * 1.05


def test_a_full_turn_has_no_seam():
    truth, found = trembling(100, lambda t: (300, 200, 1.0, 2 * math.pi * t / 3), noise=0.005)
    assert error(smooth_landmarks(found, 25.0), truth) < 0.02


@pytest.mark.parametrize("amount", [0, 0.5, 1])
def test_the_amount_leads_from_found_to_smoothed(amount):
    _, found = trembling(20, lambda t: (300, 200, 1.0, 0.0))
    smooth = smooth_landmarks(found, 25.0)
    expected = torch.lerp(found, smooth, amount)
    assert torch.allclose(smooth_landmarks(found, 25.0, amount), expected, atol=1e-3)


def test_the_filter_is_the_papers():
    """Casiez 2012: alpha = 1 / (1 + te^-1 / (2 pi fc)), fc = fc_min + beta |dx|, one way."""
    from gpen_core.faces import smooth

    values, rate, cutoff, slope = [0.0, 1.0, 1.5, 1.2], 50.0, 1.0, 0.5

    def share(fc):
        return 1 / (1 + rate / (2 * math.pi * fc))

    expected, speed = [0.0], 0.0
    for before, now in itertools.pairwise(values):
        speed += share(1.0) * ((now - before) * rate - speed)
        alpha = share(cutoff + slope * abs(speed))
        expected.append(expected[-1] + alpha * (now - expected[-1]))
    found = smooth._one_way(torch.tensor(values)[:, None], rate, cutoff, slope)
    assert found[:, 0].tolist() == pytest.approx(expected)
    assert torch.equal(one_euro(torch.ones(5, 2), rate, cutoff, slope), torch.ones(5, 2))


def test_a_batch_followed_has_no_gaps_and_knows_its_tracks():
    batch = Faces.concat(
        [faces() if i in (3, 4) else faces(points(100 + 4.0 * i, 90)) for i in range(8)]
    )
    seen = {i: batch.of_images(slice(i, i + 1)) for i in range(8)}
    (way,) = tracks(seen, [], 25.0, PLAIN)
    filled = followed(batch, [way])
    assert filled.source.tolist() == list(range(8))
    assert filled.tracks.tolist() == [0] * 8
    middles = filled.landmarks[:, :, 0].mean(1).tolist()
    assert middles == pytest.approx([100 + 4.0 * i for i in range(8)], abs=1e-2)
    nobody = followed(batch, [])
    assert len(nobody) == 0 and nobody.image_sizes == batch.image_sizes
    assert nobody.tracks is not None


def test_what_is_known_of_single_faces_is_not_said_of_those_between():
    """A figure for each face found would be a figure too few for each face followed."""
    found = [faces(points(300, 200)).with_(quality=torch.tensor([0.9])), faces(), faces()]
    batch = Faces.concat([*found[:2], found[0]])
    (way,) = tracks({i: batch.of_images(slice(i, i + 1)) for i in range(3)}, [], 25.0, PLAIN)
    filled = followed(batch, [way])
    assert len(filled) == 3 and filled.quality is None
    assert len(filled.take([2])) == 1
