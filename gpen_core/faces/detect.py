"""Detect: images in, the faces found in them out, whichever detector looks."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import InputError
from ..hooks import Hooks
from ..images.monochrome import luma, tones_of
from ..options import DETECTORS, DetectOptions
from .boxes import short_sides, suppress
from .found import Faces, Rejected
from .sanity import plausible
from .turn import Turn

log = logging.getLogger(__name__)

# A bicubic enlargement overshoots 0..1 a little; -1..1 and 0..255 are beyond this.
_OVERSHOOT = 0.5
# Of the image as it is searched. Below it the detectors guess, and a face restored from less has
# nothing to do with the person.
_MIN_SIZE = 16.0
# What is looked at more closely and, below the confidence asked for, named in the report.
_CANDIDATE = 0.5
_TURNS = (0, 90, 180, 270)
# Two finds in different turns that overlap by more are one face.
_SAME_FACE = 0.4
# Faded prints are stretched to the range of their 1st to 99th percentile before the search; a
# photograph with more contrast than this is searched as it is.
_FADED, _PERCENTILES = 0.5, (0.01, 0.99)
_STEPS = 100  # of progress in one search

Progress = Callable[[int, int], None]
"""Told (done, total) steps of one search; raising from it stops the search."""


class Detector(Protocol):
    """Anything that finds faces in one image.

    Example:
        >>> detector = load_detector()
        >>> boxes, scores, landmarks = detector(torch.zeros(3, 48, 64), 16.0, 0.9, lambda *_: None)
        >>> boxes.shape, scores.shape, landmarks.shape
        (torch.Size([0, 4]), torch.Size([0]), torch.Size([0, 5, 2]))
    """

    @property
    def name(self) -> str:
        """What `load_detector` calls it."""

    @property
    def network(self) -> nn.Module:
        """Its weights; a host may move them, the detector runs where they lie."""

    @property
    def device(self) -> torch.device:
        """Where the network lies."""

    def __call__(
        self, image: Tensor, min_size: float, confidence: float, progress: Progress
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Faces of one image (3, H, W), RGB 0..1, H and W at least 1.

        `min_size` (pixels, smallest face worth looking for) and `confidence` (0..1) save work;
        both are checked again by `detect`. `progress` is called every second or so.

        Returns:
            Boxes (K, 4), scores (K,) 0..1 and landmarks (K, 5, 2), in pixels of this image with
            centers at integers, float32, on any device.
        """


def load_detector(
    name: str = "mtcnn",
    device: torch.device | str = "cpu",
    weights_dir: Path | str | None = None,
) -> Detector:
    """A face detector, ready to be called; keep it, it is loaded anew each time.

    Args:
        name: one of `DETECTORS`.
        device: where its network goes.
        weights_dir: folder (or file) of RetinaFace's weights, see `weights.read`; MTCNN needs
            none.

    Raises:
        InputError: no such detector.
        MissingWeightsError, MissingDependencyError, CheckpointError: what is missing or wrong,
            and where to get it.

    Example:
        >>> load_detector("mtcnn").name
        'mtcnn'
    """
    if name == "mtcnn":
        from .mtcnn import load_mtcnn

        return load_mtcnn(device)
    if name in DETECTORS:
        from .retinaface import load_retinaface

        return load_retinaface(name.removeprefix("retinaface-"), device, weights_dir)
    raise InputError(f"There is no face detector {name!r}; choose among {', '.join(DETECTORS)}.")


def detect(
    images: Tensor,
    detector: Detector,
    options: DetectOptions | None = None,
    hooks: Hooks | None = None,
) -> Faces:
    """The faces of a batch of images, image after image, best first.

    Args:
        images: (B, 3, H, W) RGB 0..1; a slight overshoot is clamped.
        detector: from `load_detector`, or any other `Detector`.
        options: see `DetectOptions`.
        hooks: told about the stage "detect".

    Returns:
        Boxes inside the image; landmarks may lie outside, where a face is cut off. On the device
        of `images`, with the images' tones, and what was found but does not count in `rejected`.

    Raises:
        InputError: another shape or type, NaN, values that are not 0..1.

    Example:
        >>> pictures = torch.zeros(2, 3, 48, 64)
        >>> faces = detect(pictures, load_detector(), DetectOptions(confidence=0.8))
        >>> len(faces), faces.image_sizes
        (0, ((48, 64), (48, 64)))
    """
    options, hooks = options or DetectOptions(), hooks or Hooks()
    _check(images)
    groups = []
    for index, image in enumerate(images):
        progress = _Progress(hooks, index, len(images))
        groups.append(_detect_one(image, detector, options, progress).to(images.device))
    return Faces.concat(groups)


def _check(images: Tensor) -> None:
    if images.ndim != 4 or images.shape[1] != 3:
        raise InputError(
            f"Face detection needs RGB images (B, 3, H, W), not a tensor of shape "
            f"{tuple(images.shape)}."
        )
    if not images.is_floating_point():
        raise InputError(f"Images must be floating point, 0..1, not {images.dtype}.")
    if images.numel() == 0:
        raise InputError(f"The image batch of shape {tuple(images.shape)} is empty.")
    low, high = (float(value) for value in images.aminmax())
    # A NaN anywhere makes both of them NaN.
    if not (low - low == 0 and high - high == 0):
        raise InputError("The image contains NaN or infinite values; check where it comes from.")
    if low < -_OVERSHOOT or high > 1 + _OVERSHOOT:
        raise InputError(
            f"The image's values range from {low:g} to {high:g}; they must be from 0 to 1."
        )


@dataclass(frozen=True)
class _Progress:
    """Steps of one image among several, as steps of the whole."""

    hooks: Hooks
    image: int
    images: int
    turn: int = 0
    turns: int = 1

    def of_turn(self, turn: int, turns: int) -> _Progress:
        return _Progress(self.hooks, self.image, self.images, turn, turns)

    def __call__(self, done: int, total: int) -> None:
        within = _STEPS * (self.turn + done / max(total, 1)) / self.turns
        self.hooks.progress("detect", round(_STEPS * self.image + within), _STEPS * self.images)


def _detect_one(
    image: Tensor, detector: Detector, options: DetectOptions, progress: _Progress
) -> Faces:
    """One image (3, H, W)."""
    tones = tones_of(image[None])
    searched = _shrink(image.to(detector.device, torch.float32).clamp(0, 1), options.long_side)
    searched = _stretch(searched)
    size = (int(image.shape[-2]), int(image.shape[-1]))
    seen = (int(searched.shape[-2]), int(searched.shape[-1]))
    ratio = max(size[0] / seen[0], size[1] / seen[1])
    limits = ((options.min_size or 0) / ratio or _MIN_SIZE, min(options.confidence, _CANDIDATE))
    angles = _TURNS if options.rotations else (0,)
    found = []
    for index, angle in enumerate(angles):
        # Told before the search too: that is where a host may stop.
        told = progress.of_turn(index, len(angles))
        told(0, 1)
        found.append(_search(searched, detector, limits, Turn(angle, seen), told))
        told(1, 1)
    boxes, scores, landmarks = (torch.cat(part) for part in zip(*found, strict=True))
    if len(angles) > 1:
        # Equal scores fall to the smaller turn, which comes first.
        best = suppress(boxes, scores, _SAME_FACE)
        boxes, scores, landmarks = boxes[best], scores[best], landmarks[best]
    boxes, landmarks = _in_image(boxes, landmarks, seen, size)
    least = options.min_size or _MIN_SIZE * ratio
    reasons = _reasons(boxes, scores, landmarks, options, least)
    good = torch.tensor([reason is None for reason in reasons], dtype=torch.bool)
    return Faces(
        boxes=boxes[good],
        scores=scores[good],
        landmarks=landmarks[good],
        source=torch.zeros(int(good.sum()), dtype=torch.int64),
        image_sizes=(size,),
        tones=tones,
        rejected=_rejected(boxes, scores, landmarks, reasons),
    )


def _search(
    searched: Tensor,
    detector: Detector,
    limits: tuple[float, float],
    turn: Turn,
    progress: Progress,
) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes, scores and landmarks of one turn, in pixels of the searched image, on the CPU.

    `limits` are the smallest face and the least confidence that are looked for.
    """
    boxes, scores, landmarks = detector(turn.apply(searched), *limits, progress)
    boxes, landmarks = boxes.float().cpu(), landmarks.float().cpu()
    return turn.boxes_back(boxes), scores.float().cpu(), turn.points_back(landmarks)


def _in_image(
    boxes: Tensor, landmarks: Tensor, seen: tuple[int, int], size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """From pixels of the searched image, (height, width) `seen`, to those of the image."""
    (tall, wide), (height, width) = seen, size
    ratio = torch.tensor([width / wide, height / tall])
    # Pixel centers lie at integers: half a pixel is added before scaling and taken off after.
    landmarks = (landmarks + 0.5) * ratio - 0.5
    boxes = (boxes + 0.5) * ratio.repeat(2) - 0.5
    # The largest that a border allows: pixel i covers i - 1/2 to i + 1/2.
    limit = torch.tensor([width, height, width, height]) - 0.5
    return boxes.clamp(min=-0.5).minimum(limit), landmarks


def _reasons(
    boxes: Tensor, scores: Tensor, landmarks: Tensor, options: DetectOptions, least: float
) -> list[str | None]:
    """Why each find does not count as a face; None where it does."""
    sides, sane = short_sides(boxes), plausible(boxes, landmarks)

    def reason(face: int) -> str | None:
        if float(scores[face]) < options.confidence:
            return "low confidence"
        if not bool(sane[face]):
            return "implausible landmarks"
        if float(sides[face]) < least:
            return "too small"
        if options.max_size is not None and float(sides[face]) > options.max_size:
            return "too large"
        return None

    return [reason(face) for face in range(len(boxes))]


def _rejected(
    boxes: Tensor, scores: Tensor, landmarks: Tensor, reasons: list[str | None]
) -> tuple[Rejected, ...]:
    return tuple(
        Rejected(
            source=0,
            box=tuple(boxes[face].tolist()),
            score=float(scores[face]),
            landmarks=tuple((x, y) for x, y in landmarks[face].tolist()),
            reason=reason,
        )
        for face, reason in enumerate(reasons)
        if reason is not None
    )


def _shrink(image: Tensor, long_side: int) -> Tensor:
    """(3, H, W) with its longer side at most `long_side`, antialiased."""
    longer = max(image.shape[-2:])
    if longer <= long_side:
        return image
    size = [max(1, round(side * long_side / longer)) for side in image.shape[-2:]]
    return functional.interpolate(image[None], size, mode="bilinear", antialias=True)[0]


def _stretch(image: Tensor) -> Tensor:
    """A faded picture with the contrast of a fresh one; any other one as it is."""
    light = luma(image[None]).flatten()
    ranks = [max(1, round(share * len(light))) for share in _PERCENTILES]
    low, high = (float(light.kthvalue(rank).values) for rank in ranks)
    if high - low >= _FADED or high <= low:
        return image
    log.debug("Faded picture (%.2f to %.2f): searched with more contrast.", low, high)
    return ((image - low) / (high - low)).clamp(0, 1)
