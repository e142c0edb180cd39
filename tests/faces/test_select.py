"""Selection: orders, what is kept, and that nothing else changes."""

from __future__ import annotations

import logging

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gpen_core.errors import InputError
from gpen_core.faces.align import align
from gpen_core.faces.detect import detect
from gpen_core.faces.detector import load_detector
from gpen_core.faces.found import Faces
from gpen_core.faces.select import read_keep, sorted_indices
from gpen_core.faces.select import select as indices
from gpen_core.options import SORTS, SelectOptions


def make(boxes, scores=None, source=None, sizes=((100, 200),)) -> Faces:
    count = len(boxes)
    return Faces(
        boxes=torch.tensor(boxes, dtype=torch.float32).reshape(count, 4),
        scores=torch.tensor(scores or [0.9] * count, dtype=torch.float32),
        landmarks=torch.zeros(count, 5, 2),
        source=torch.tensor(source or [0] * count, dtype=torch.int64),
        image_sizes=tuple(sizes),
    )


def select(faces: Faces, sort: str = "area", keep: object = "all") -> Faces:
    """The faces kept; what `select` itself gives are their places."""
    return faces.take(indices(faces, SelectOptions(sort, keep)))


# A small face on the left, a large one on the right below, a middling one in the center.
THREE = make(
    [[10, 30, 20, 40], [150, 50, 190, 90], [90, 40, 110, 60]],
    scores=[0.95, 0.91, 0.99],
)


def order(faces: Faces, of: Faces = THREE) -> list[int]:
    """Which of the original faces these are."""
    return [of.boxes.tolist().index(box) for box in faces.boxes.tolist()]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("area", [1, 2, 0]),
        ("confidence", [2, 0, 1]),
        ("left-right", [0, 2, 1]),
        ("top-bottom", [0, 2, 1]),
        ("center", [2, 1, 0]),
        ("small-large", [0, 2, 1]),
        ("right-left", [1, 2, 0]),
        ("bottom-top", [1, 2, 0]),
        ("detected", [0, 1, 2]),
    ],
)
def test_orders(sort, expected):
    assert order(select(THREE, sort)) == expected


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        ("all", [0, 2, 1]),
        (" ALL ", [0, 2, 1]),
        ("largest", [1]),
        ("none", []),
        ("", []),
        ([], []),
        (0, []),
        (2, [0, 2]),
        (9, [0, 2, 1]),
        ("2", [1]),
        ("0,2", [0, 1]),
        ("2, 0", [1, 0]),
        ("1;1 1", [2]),
        ([2, 0], [1, 0]),
        ((1,), [2]),
        ("smallest", [0]),
        ("0-1", [0, 2]),
        ("2-0", [1, 2, 0]),
        ("-1", [1]),
        ("-1,-1,2", [1]),
        ("1-9", [2, 1]),
        ([-1], [1]),
    ],
)
def test_keep(keep, expected):
    assert order(select(THREE, "left-right", keep)) == expected


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        *(
            (
                text,
                "keep must be 'all', 'none', 'largest', 'smallest', or indices such as '0,2', "
                f"'0-3' or '-1' for the last, not {text!r} ({part!r} is not an index).",
            )
            for text, part in (
                ("first", "first"),
                ("0-", "0-"),
                ("1.5", "1.5"),
                ("0,x", "x"),
                ("--1", "--1"),
                ("1234567890", "1234567890"),
            )
        ),
        ("0-99999999", "keep has a range that is too long: '0-99999999'."),
        ("20000-9999", "keep has a range that is too long: '20000-9999'."),
        (-1, "keep, as a number of faces, must be 0 or more, not -1."),
        ([1.5], "keep must list whole numbers; 1.5 is not one."),
        ([0, True], "keep must list whole numbers; True is not one."),
        (True, "keep must be text, a number or a list of indices, not True."),
        (1.5, "keep must be text, a number or a list of indices, not float."),
        (None, "keep must be text, a number or a list of indices, not NoneType."),
        (b"0", "keep must be text, a number or a list of indices, not bytes."),
    ],
)
def test_unreadable_keep(keep, message):
    with pytest.raises(InputError) as caught:
        select(THREE, keep=keep)
    assert (str(caught.value), caught.value.option) == (message, "keep")


def test_ranges_as_long_as_a_list_may_be():
    assert read_keep("10000-0")(THREE.boxes, 0) == [2, 1, 0]
    assert read_keep("0-10000, 1")(THREE.boxes, 0) == [0, 1, 2]
    assert read_keep("2;1-0 0")(THREE.boxes, 0) == [2, 1, 0]


def test_unknown_sort():
    with pytest.raises(InputError, match=r"sort must be one of .*left-right"):
        select(THREE, "size")
    with pytest.raises(InputError) as caught:
        sorted_indices(THREE, "size")
    assert (
        str(caught.value) == f"Faces cannot be sorted by 'size'; choose among {', '.join(SORTS)}."
    )
    assert caught.value.option == "sort"


def test_the_center_is_that_of_the_pixels():
    """Of a picture of 200 x 100 px it lies at 99.5, 49.5: half a pixel decides."""
    middle = (99.5, 49.5)
    for axis in (0, 1):
        for sign in (-1, 1):
            near, far = list(middle), list(middle)
            near[axis] += 0.4 * sign
            far[axis] -= 0.6 * sign
            boxes = [[x - 5, y - 7, x + 5, y + 7] for x, y in (far, near)]
            assert sorted_indices(make(boxes), "center") == [1, 0], (axis, sign)


def test_equals_keep_their_order():
    twins = make([[0, 0, 10, 10], [50, 20, 60, 30], [0, 0, 10, 10]] * 20)
    for sort in ("area", "confidence", "small-large"):
        assert sorted_indices(twins, sort) == list(range(60))


def test_absent_indices_are_said_and_left_out(caplog):
    frames = make([[0, 0, 5, 5], [0, 0, 9, 9]], source=[1, 1], sizes=((9, 9), (9, 9)))
    with caplog.at_level(logging.WARNING):
        kept = select(frames, "area", "1,2,-3,-2")
    assert kept.boxes[:, 2].tolist() == [5, 9]
    assert [record.getMessage() for record in caplog.records] == [
        "Image 0 has 0 faces, numbered from 0; there is no face 1, 2, -3, -2.",
        "Image 1 has 2 faces, numbered from 0; there is no face 2, -3.",
    ]


def test_each_image_for_itself():
    faces = make(
        [[0, 0, 5, 5], [0, 0, 9, 9], [0, 0, 7, 7], [0, 0, 8, 8]],
        source=[2, 0, 2, 0],
        sizes=((10, 10), (10, 10), (10, 10)),
    )
    kept = select(faces, "area", 1)
    assert kept.source.tolist() == [0, 2]
    assert kept.boxes[:, 2].tolist() == [9, 7]
    assert kept.image_sizes == faces.image_sizes


def test_no_faces():
    empty = Faces.empty([(4, 4), (5, 5)])
    for keep in ("all", "largest", "0,2", 3):
        assert len(select(empty, "center", keep)) == 0


def test_empty_selection_keeps_the_images():
    kept = select(THREE, keep="")
    assert len(kept) == 0
    assert kept.image_sizes == THREE.image_sizes


@st.composite
def crowds(draw) -> Faces:
    count = draw(st.integers(0, 12))
    images = draw(st.integers(1, 3))
    whole = st.integers(0, 50)
    corners = [[draw(whole) for _ in range(4)] for _ in range(count)]
    boxes = [[x, y, x + w, y + h] for x, y, w, h in corners]
    scores = [draw(st.integers(0, 100)) / 100 for _ in range(count)]
    source = [draw(st.integers(0, images - 1)) for _ in range(count)]
    return make(boxes, scores, source, [(64, 64)] * images)


def rows(faces: Faces) -> list[tuple]:
    return [
        (int(s), *box, float(score))
        for s, box, score in zip(faces.source, faces.boxes.tolist(), faces.scores, strict=True)
    ]


@settings(max_examples=60, deadline=None)
@given(crowds(), st.sampled_from(sorted(SORTS)))
def test_all_is_a_permutation_and_selecting_again_changes_nothing(faces, sort):
    once = select(faces, sort)
    assert sorted(rows(once)) == sorted(rows(faces))
    assert rows(select(once, sort)) == rows(once)


@settings(max_examples=60, deadline=None)
@given(crowds(), st.sampled_from(sorted(SORTS)), st.integers(0, 5))
def test_first_n_are_the_indices_below_n(faces, sort, n):
    by_number = rows(select(faces, sort, n))
    assert by_number == rows(select(faces, sort, list(range(n))))
    assert by_number == rows(select(faces, sort, ",".join(map(str, range(n)))))


@settings(max_examples=60, deadline=None)
@given(crowds())
def test_area_falls_within_each_image(faces):
    kept = select(faces, "area")
    for image in range(len(faces.image_sizes)):
        boxes = kept.of_image(image).boxes
        areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        assert bool((areas[:-1] >= areas[1:]).all())


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=12))
def test_any_text_is_read_or_refused(text):
    try:
        kept = select(THREE, keep=text)
    except InputError as error:
        assert "\n" not in str(error).strip() or "\n" in text
    else:
        assert len(kept) <= len(THREE)


def test_sharp_faces_are_skipped_by_the_size_of_their_crops(portrait):
    image = torch.from_numpy(portrait.copy()).permute(2, 0, 1)[None].float() / 255
    found = detect(image, load_detector())
    for size, kept in ((512, [0]), (128, [])):
        faces = align(image, found, size)
        assert indices(faces, SelectOptions(skip_sharp=True)) == kept
        assert indices(faces, SelectOptions()) == [0]
    assert indices(found, SelectOptions(skip_sharp=True)) == [0], "not aligned: no size to compare"
