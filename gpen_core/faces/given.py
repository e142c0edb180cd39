"""Given: faces that somebody else has found, as ours; bare boxes get their landmarks here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import InputError
from ..hooks import Hooks
from ..images.fade import fades_of
from ..images.monochrome import tones_of
from ..options import DetectOptions
from .boxes import overlaps, short_sides, suppress
from .detect import detect
from .detector import Detector
from .found import Faces, Rejected
from .sanity import plausible

# The box vouches for the face; the detector only has to say where in it.
_CONFIDENCE = 0.5
# A box of a face is looked at with this much around it, since some end at chin and brows; one that
# is long and narrow is a person's, and has its face inside.
_AROUND_FACE, _AROUND_PERSON, _NARROW = 1.6, 1.1, 1.6
# What is cut out is searched at this long side, in pixels: small faces are enlarged.
_LONG_SIDE = 480
# Two boxes whose faces overlap by more are of one face.
_SAME_FACE = 0.4
_STEPS = 100  # of progress in one image

# Five points of longer lists. MediaPipe's mesh (468 or, with irises, 478): the corners of the eyes,
# the tip of the nose, the corners of the mouth. iBUG's 68: the same.
_MESH = ((33, 133), (362, 263), (1,), (61,), (291,))
_IBUG = (tuple(range(36, 42)), tuple(range(42, 48)), (30,), (48,), (54,))
# The mesh's nose lies below that of the detectors that the networks were trained with, by 6.5 to
# 8.6 % of the distance between the eyes (measured on 60 faces).
_NOSE_LOWER = 0.075


@dataclass(frozen=True)
class Given:
    """One face of an image, as somebody else has found it.

    Attributes:
        box: `x0, y0, x1, y1` in pixels of the image.
        score: 0..1.
        points: 5, 68, 468 or 478 landmarks (K, 2) in pixels of the image, or None.

    Example:
        >>> Given((10.0, 10.0, 50.0, 60.0)).score
        1.0
    """

    box: tuple[float, float, float, float]
    score: float = 1.0
    points: Tensor | None = None


def given_faces(
    images: Tensor,
    given: Sequence[Sequence[Given]],
    detector: Detector,
    options: DetectOptions | None = None,
    hooks: Hooks | None = None,
) -> Faces:
    """Faces of the boxes and landmarks that were given for a batch of images.

    Args:
        images: (B, 3, H, W) RGB 0..1.
        given: for each of the B images.
        detector: finds the landmarks in a box that comes without.
        options: their limits of size count; confidence does not, the boxes vouch for the faces.
        hooks: told about the stage "detect", and how many boxes hold no face.

    Returns:
        As `detect`: image after image, in the order given. What is not a face is in `rejected`.

    Raises:
        InputError: another number of images, a number of landmarks that is not known.

    Example:
        >>> from gpen_core.faces.detector import load_detector
        >>> eyes_nose_mouth = torch.tensor([[20.0, 20], [44, 20], [32, 34], [23, 46], [41, 46]])
        >>> face = Given((10.0, 5.0, 54.0, 60.0), points=eyes_nose_mouth)
        >>> len(given_faces(torch.rand(1, 3, 64, 64), [[face]], load_detector()))
        1
    """
    options, hooks = options or DetectOptions(), hooks or Hooks()
    if len(given) != len(images):
        raise InputError(f"Faces are given for {len(given)} pictures, not {len(images)}.")
    groups = []
    for index, image in enumerate(images):
        faces, count = [], len(given[index])
        for done, one in enumerate(given[index]):
            steps = _STEPS * index + round(_STEPS * done / count)
            hooks.progress("detect", steps, _STEPS * len(images))
            faces.append(_face(image, one, detector))
        hooks.progress("detect", _STEPS * (index + 1), _STEPS * len(images))
        groups.append(_checked(image, faces, options))
    found = Faces.concat(groups)
    empty = sum(one.reason == _NOBODY for one in found.rejected)
    if empty:
        total = sum(len(boxes) for boxes in given)
        hooks.event(f"No face was found in {empty} of {total} given box(es); they are left out.")
    return found


_NOBODY = "no face in the given box"


def five_points(points: Tensor) -> Tensor:
    """Eyes, nose and corners of the mouth (5, 2) of longer lists of landmarks.

    Args:
        points: (K, 2), K 5, 68 (iBUG), 468 or 478 (MediaPipe).

    Raises:
        InputError: another number of them.

    Example:
        >>> five_points(torch.rand(478, 2)).shape
        torch.Size([5, 2])
    """
    if len(points) == 5:
        return points.float()
    table = {68: _IBUG, 468: _MESH, 478: _MESH}.get(len(points))
    if table is None:
        raise InputError(f"A face has {len(points)} landmarks; 5, 68, 468 or 478 are known.")
    five = torch.stack([points[list(some)].float().mean(0) for some in table])
    if table is _MESH:
        left, right = five[0], five[1]
        down = five[3:].mean(0) - (left + right) / 2
        up = -down / down.norm().clamp(min=1e-6)
        five[2] += _NOSE_LOWER * float((right - left).norm()) * up
    return five


@dataclass(frozen=True)
class _Face:
    box: Tensor
    score: float
    landmarks: Tensor | None


def _face(image: Tensor, one: Given, detector: Detector) -> _Face:
    box = torch.tensor(one.box, dtype=torch.float32)
    if one.points is not None:
        return _Face(box, one.score, five_points(one.points))
    found = _look(image, box, detector)
    if found is None:
        return _Face(box, one.score, None)
    return _Face(found[0], one.score, found[1])


def _look(image: Tensor, box: Tensor, detector: Detector) -> tuple[Tensor, Tensor] | None:
    """Box (4,) and landmarks (5, 2) of the face that a box means, in pixels of the image."""
    left, top, right, bottom = _surroundings(box, (int(image.shape[-2]), int(image.shape[-1])))
    if right - left < 2 or bottom - top < 2:
        return None
    part = image[None, :, top:bottom, left:right].float()
    factor = _LONG_SIDE / max(right - left, bottom - top)
    size = [max(1, round(side * factor)) for side in (bottom - top, right - left)]
    part = functional.interpolate(part, size, mode="bilinear", antialias=True).clamp(0, 1)
    faces = detect(part, detector, DetectOptions(confidence=_CONFIDENCE))
    corner = torch.tensor([left, top], dtype=torch.float32)
    boxes = (faces.boxes.cpu() + 0.5) / factor - 0.5 + corner.repeat(2)
    landmarks = (faces.landmarks.cpu() + 0.5) / factor - 0.5 + corner
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = ((centers >= box[:2]) & (centers <= box[2:])).all(1)
    boxes, landmarks = boxes[inside], landmarks[inside]
    if len(boxes) == 0:
        return None
    # The one that fills the box best: its own face, or the largest of a person's box.
    best = int(overlaps(torch.cat([box[None], boxes]))[0, 1:].argmax())
    return boxes[best], landmarks[best]


def _surroundings(box: Tensor, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Whole-pixel part of an image of (height, width) around a box: left, top, right, bottom."""
    wide, tall = (box[2:] - box[:2]).tolist()
    narrow = max(wide, tall) > _NARROW * max(min(wide, tall), 1e-6)
    around = _AROUND_PERSON if narrow else _AROUND_FACE
    middle_x, middle_y = ((box[:2] + box[2:]) / 2).tolist()
    left, right = middle_x - around * wide / 2, middle_x + around * wide / 2
    top, bottom = middle_y - around * tall / 2, middle_y + around * tall / 2
    height, width = size
    return (
        min(max(round(left), 0), width),
        min(max(round(top), 0), height),
        max(min(round(right) + 1, width), 0),
        max(min(round(bottom) + 1, height), 0),
    )


def _checked(image: Tensor, faces: Sequence[_Face], options: DetectOptions) -> Faces:
    """The faces of one image, and why some are none."""
    size = (int(image.shape[-2]), int(image.shape[-1]))
    found = [face for face in faces if face.landmarks is not None]
    boxes = torch.stack([face.box for face in found]) if found else torch.zeros(0, 4)
    marks = [face.landmarks for face in found if face.landmarks is not None]
    landmarks = torch.stack(marks) if marks else torch.zeros(0, 5, 2)
    scores = torch.tensor([face.score for face in found], dtype=torch.float32)
    reasons = _reasons(boxes, scores, landmarks, options)
    rejected = [
        Rejected(0, tuple(face.box.tolist()), face.score, (), _NOBODY)
        for face in faces
        if face.landmarks is None
    ]
    for index, reason in enumerate(reasons):
        if reason is not None:
            points = tuple((x, y) for x, y in landmarks[index].tolist())
            box = tuple(boxes[index].tolist())
            rejected.append(Rejected(0, box, float(scores[index]), points, reason))
    good = torch.tensor([reason is None for reason in reasons], dtype=torch.bool)
    return Faces(
        boxes=boxes[good],
        scores=scores[good],
        landmarks=landmarks[good],
        source=torch.zeros(int(good.sum()), dtype=torch.int64),
        image_sizes=(size,),
        tones=tones_of(image[None]),
        fades=fades_of(image[None]),
        rejected=tuple(rejected),
    ).to(image.device)


def _reasons(
    boxes: Tensor, scores: Tensor, landmarks: Tensor, options: DetectOptions
) -> list[str | None]:
    """Why each does not count as a face; None where it does."""
    sides, sane = short_sides(boxes), plausible(boxes, landmarks)
    first = set(suppress(boxes, scores, _SAME_FACE).tolist())

    def reason(face: int) -> str | None:
        if not bool(sane[face]):
            return "implausible landmarks"
        if face not in first:
            return "the same face as another box"
        if float(sides[face]) < (options.min_size or 0):
            return "too small"
        if options.max_size is not None and float(sides[face]) > options.max_size:
            return "too large"
        return None

    return [reason(face) for face in range(len(boxes))]
