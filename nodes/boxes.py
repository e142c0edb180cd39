"""Boxes and landmarks of faces in the host's forms and in ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..gpen_core.errors import InputError
from ..gpen_core.faces.found import Faces
from ..gpen_core.faces.given import Given

Frames = list[list[Given]]


def to_mask(faces: Faces) -> Tensor:
    """MASK (B, H, W), 1 inside the boxes."""
    height, width = faces.image_sizes[0]
    masks = torch.zeros(len(faces.image_sizes), height, width)
    corners = faces.boxes.round().to(torch.int64).clamp(min=0).tolist()
    for source, (x0, y0, x1, y1) in zip(faces.source.tolist(), corners, strict=True):
        masks[source, y0 : y1 + 1, x0 : x1 + 1] = 1
    return masks


def to_bounding_boxes(faces: Faces) -> list[list[dict[str, Any]]]:
    """BOUNDING_BOX: for each picture a list of boxes, as the host's own detectors give them."""
    frames: list[list[dict[str, Any]]] = [[] for _ in faces.image_sizes]
    scores = faces.scores.tolist()
    for face, (x0, y0, x1, y1) in enumerate(faces.boxes.tolist()):
        box = {"x": x0, "y": y0, "width": x1 - x0, "height": y1 - y0}
        frames[int(faces.source[face])].append(box | {"label": "face", "score": scores[face]})
    return frames


def given_in(
    image: Tensor, bboxes: object = None, landmarks: object = None, segs: object = None
) -> Frames | None:
    """What other nodes have found in an IMAGE; None where nothing is connected.

    Args:
        image: IMAGE (B, H, W, C).
        bboxes: BOUNDING_BOX: one box or a list of boxes for all pictures, or a list for each.
        landmarks: the host's FACE_LANDMARKS.
        segs: SEGS of the Impact Pack, for all pictures.

    Raises:
        InputError: more than one of them, another form, or faces of other pictures.
    """
    given = {"bboxes": bboxes, "landmarks": landmarks, "segs": segs}
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise InputError(f"Connect {' or '.join(names)}, not both.")
    if bboxes is not None:
        return _fitted("bboxes", _of_boxes(bboxes), image)
    if landmarks is not None:
        return _fitted("landmarks", _of_landmarks(landmarks, image), image)
    if segs is not None:
        return _fitted("segs", [_of_segs(segs, image)], image)
    return None


def _fitted(name: str, frames: Frames, image: Tensor) -> Frames:
    """One list of faces for each picture; a single one serves all of them."""
    if len(frames) == 1:
        return frames * len(image)
    if len(frames) != len(image):
        raise InputError(
            f"{name} has faces of {len(frames)} pictures, but image has {len(image)}; connect the "
            f"same pictures to both."
        )
    return frames


def _of_boxes(value: object) -> Frames:
    if isinstance(value, Mapping):
        return [[_of_box(value)]]
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise _not_boxes(value)
    if any(isinstance(one, Mapping) for one in value):
        return [[_of_box(one) for one in value]]
    # No list at all is no face in any picture.
    return [[_of_box(one) for one in _listed(frame)] for frame in value] or [[]]


def _listed(frame: object) -> Sequence[object]:
    if frame is None:
        return ()
    if not isinstance(frame, Sequence) or isinstance(frame, str):
        raise _not_boxes(frame)
    return frame


def _of_box(box: object) -> Given:
    if not isinstance(box, Mapping):
        raise _not_boxes(box)
    try:
        x, y = float(box["x"]), float(box["y"])
        width, height = float(box["width"]), float(box["height"])
        score = float(box.get("score", 1.0))
    except (KeyError, TypeError, ValueError) as error:
        raise _not_boxes(box) from error
    return Given((x, y, x + width, y + height), score)


def _not_boxes(value: object) -> InputError:
    return InputError(
        f"bboxes must hold boxes with x, y, width and height, not {type(value).__name__}."
        if not isinstance(value, Mapping)
        else "bboxes holds a box without x, y, width and height as numbers."
    )


def _of_landmarks(value: object, image: Tensor) -> Frames:
    """FACE_LANDMARKS: `{"frames": [[{"bbox_xyxy", "landmarks_xy", "score"}]], "image_size"}`."""
    found: Any = value
    try:
        size = tuple(int(side) for side in found["image_size"])
        frames = [[_of_face(face) for face in frame] for frame in found["frames"]]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            "landmarks must come from a node such as Detect Face Landmarks (MediaPipe)."
        ) from error
    _check_size("landmarks", size, image)
    return frames


def _of_face(face: Mapping[str, Any]) -> Given:
    points = torch.as_tensor(face["landmarks_xy"], dtype=torch.float32).reshape(-1, 2)
    x0, y0, x1, y1 = (float(value) for value in face["bbox_xyxy"])
    return Given((x0, y0, x1, y1), float(face.get("score", 1.0)), points)


def _of_segs(value: object, image: Tensor) -> list[Given]:
    """SEGS: ((height, width), elements with `bbox` and `confidence`)."""
    found: Any = value
    try:
        sides, elements = found
        size = tuple(int(side) for side in sides)
        faces = []
        for element in elements:
            x0, y0, x1, y1 = (float(side) for side in element.bbox)
            score = torch.as_tensor(element.confidence, dtype=torch.float32).flatten()
            faces.append(Given((x0, y0, x1, y1), float(score[0]) if len(score) else 1.0))
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError("segs must come from a detector of the Impact Pack.") from error
    _check_size("segs", size, image)
    return faces


def _check_size(name: str, size: tuple[int, ...], image: Tensor) -> None:
    given = tuple(int(side) for side in image.shape[1:3])
    if size != given:
        raise InputError(
            f"{name} was found in a picture of {size[-1]}x{size[0]} px, but image has "
            f"{given[1]}x{given[0]} px; connect the same picture to both."
        )
