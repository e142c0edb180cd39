"""Numbers on faces: readable, and never over a small face."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from gpen_core.faces.draw import Mark, color_of, draw_marks, marks_of
from gpen_core.faces.found import Faces

GROUND = (90, 110, 130)


def drawn(marks: list[Mark], size: tuple[int, int] = (1024, 768)) -> np.ndarray:
    picture = Image.new("RGB", size, GROUND)
    draw_marks(picture, marks)
    return np.asarray(picture).astype(int)


def crowd(count: int, side: int, seed: int = 0) -> list[Mark]:
    """Faces of a size in rows, none over another, each moved a little."""
    generator = np.random.default_rng(seed)
    step = 2.6 * side
    places = [(x, y) for y in np.arange(40, 700, step) for x in np.arange(40, 960, step)]
    marks = []
    for index, (x, y) in enumerate(places[:count]):
        x, y = x + generator.uniform(0, side / 2), y + generator.uniform(0, side / 2)
        marks.append(Mark((x, y, x + side, y + side), label=str(index), color=color_of(index)))
    return marks


@pytest.mark.parametrize(("count", "side"), [(1, 24), (40, 30), (150, 24), (60, 40)])
def test_nothing_covers_a_small_face(count, side):
    marks = crowd(count, side)
    picture = drawn(marks)
    for mark in marks:
        x0, y0, x1, y1 = (round(value) for value in mark.box)
        inside = picture[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1]
        assert (inside == GROUND).all(), mark.label


def test_landmarks_show_on_large_faces_only():
    points = [(120, 120), (160, 120), (140, 140), (125, 160), (155, 160)]
    large = drawn([Mark((100, 100, 180, 180), points, color=(255, 0, 0))])
    small = drawn([Mark((120, 120, 160, 160), [(130, 130)] * 5, color=(255, 0, 0))])
    assert all((large[y, x] == (255, 0, 0)).all() for x, y in points)
    assert (small[130, 130] == GROUND).all()


@pytest.mark.parametrize("side", [24, 100, 500])
def test_a_number_is_readable_where_the_picture_is_shown_300_px_wide(side):
    plain = drawn([Mark((200, 200, 200 + side, 200 + side), color=(0, 255, 0))])
    named = drawn([Mark((200, 200, 200 + side, 200 + side), label="0", color=(0, 255, 0))])
    rows = np.flatnonzero((plain != named).any(axis=(1, 2)))
    assert (rows[-1] - rows[0] + 1) * 300 / 1024 >= 9


def test_numbers_shrink_before_they_cover_each_other():
    marks = crowd(150, 24)
    picture = drawn(marks)
    # Every number's plate is whole: its color fills about the same area for each of them.
    areas = [int((picture == mark.color).all(axis=2).sum()) for mark in marks]
    assert min(areas) > 0.4 * sorted(areas)[len(areas) // 2]


def test_who_is_left_out_is_gray_and_below_the_others():
    box = (100.0, 100.0, 160.0, 160.0)
    picture = drawn([Mark(box, label="0", color=(255, 0, 0)), Mark(box, label="(1)")])
    assert (picture[130, 99] == (255, 0, 0)).all(), "the kept face's box is on top"
    gray = (picture == (150, 150, 150)).all(axis=2)
    assert gray.any(), "and the plate of the one left out beside it"


def test_marks_follow_the_picture_when_it_is_reduced():
    faces = Faces(
        boxes=torch.tensor([[0.0, 0.0, 99.0, 99.0], [200.0, 0.0, 299.0, 99.0]]),
        scores=torch.tensor([0.9, 0.8]),
        landmarks=torch.full((2, 5, 2), 49.5),
        source=torch.tensor([1, 0]),
        image_sizes=((400, 400), (400, 400)),
    )
    (mark,) = marks_of(faces, 1)
    small = mark.scaled(0.25)
    assert (small.label, small.more, small.color) == ("0", "  0.90", color_of(0))
    assert small.box == pytest.approx((-0.375, -0.375, 24.375, 24.375))
    assert list(small.landmarks[0]) == pytest.approx([12.0, 12.0])
