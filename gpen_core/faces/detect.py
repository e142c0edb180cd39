"""Detect: images in, the faces found in them out, whichever detector looks."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import InputError
from .boxes import short_sides, turn_boxes, turn_points
from .found import Faces
from .sanity import plausible

log = logging.getLogger(__name__)

DETECTORS = ("mtcnn", "retinaface-resnet50", "retinaface-mobile0.25")

# A bicubic enlargement overshoots 0..1 a little; -1..1 and 0..255 are beyond this.
_OVERSHOOT = 0.5


class Detector(Protocol):
    """Anything that finds faces in one image."""

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
        self, image: Tensor, min_size: float = 20.0, confidence: float = 0.9
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Faces of one image (3, H, W), RGB 0..1, H and W at least 1.

        `min_size` (pixels, smallest face worth looking for) and `confidence` (0..1) save work;
        both are checked again by `detect`.

        Returns:
            Boxes (K, 4), scores (K,) 0..1 and landmarks (K, 5, 2), in pixels of this image with
            centers at integers, float32, on any device.
        """


@dataclass(frozen=True)
class DetectOptions:
    """What counts as a face, and how hard to look.

    Attributes:
        confidence: least score, 0..1.
        min_size: least short side of the box, pixels of the image; None is 16 px of the image at
            the size it is searched at.
        max_size: largest short side, pixels of the image; None is no limit.
        long_side: images with a longer side are searched at this one, pixels; raise it, or give
            None for no cap, to find small faces in very large pictures. The work grows with its
            square.
        rotations: search images without an upright face again in quarter turns; the best turn's
            faces are kept, their landmarks in the order of the upright face, so that aligning
            turns them up.
        sanity: drop faces whose landmarks cannot be a face's, see `sanity.plausible`.
        progress: called with 1 after every image; raising from it stops the search.
    """

    confidence: float = 0.9
    min_size: float | None = None
    max_size: float | None = None
    long_side: int | None = 1280
    rotations: bool = False
    sanity: bool = True
    progress: Callable[[int], None] = field(default=lambda images: None, compare=False)

    def __post_init__(self) -> None:
        for name in ("confidence", "min_size", "max_size", "long_side"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, (int, float)):
                raise InputError(f"{name} must be a number, not {value!r}.")
        if self.confidence is None or not 0 <= self.confidence <= 1:
            raise InputError(f"confidence must be from 0 to 1, not {self.confidence}.")
        for name in ("min_size", "max_size"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"{name} must be above 0 pixels, not {value}.")
        if self.min_size and self.max_size and self.min_size > self.max_size:
            raise InputError(
                f"min_size ({self.min_size}) is above max_size ({self.max_size}); swap them."
            )
        if self.long_side is not None and not self.long_side >= 64:
            raise InputError(f"long_side must be at least 64 pixels, not {self.long_side}.")


# Of the image as it is searched. Below it the detectors guess, and a face restored from less has
# nothing to do with the person.
_MIN_SIZE = 16.0


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
    """
    if name == "mtcnn":
        from .mtcnn import load_mtcnn

        return load_mtcnn(device)
    if name in DETECTORS:
        from .retinaface import load_retinaface

        return load_retinaface(name.removeprefix("retinaface-"), device, weights_dir)
    raise InputError(f"There is no face detector {name!r}; choose among {', '.join(DETECTORS)}.")


def detect(images: Tensor, detector: Detector, options: DetectOptions | None = None) -> Faces:
    """The faces of a batch of images, image after image, best first.

    Args:
        images: (B, 3, H, W) RGB 0..1; a slight overshoot is clamped.
        detector: from `load_detector`, or any other `Detector`.
        options: see `DetectOptions`.

    Returns:
        Boxes inside the image; landmarks may lie outside, where a face is cut off. On the device
        of `images`.

    Raises:
        InputError: another shape or type, NaN, values that are not 0..1.
    """
    options = options or DetectOptions()
    _check(images)
    groups = []
    for image in images:
        groups.append(_detect_one(image, detector, options).to(images.device))
        options.progress(1)
    return Faces.concat(groups)


def _check(images: Tensor) -> None:
    if images.ndim != 4 or images.shape[1] != 3:
        raise InputError(
            f"Faces are searched in RGB images (B, 3, H, W), not in a tensor of shape "
            f"{tuple(images.shape)}."
        )
    if not images.is_floating_point():
        raise InputError(f"Images must be floating point, 0..1, not {images.dtype}.")
    if images.numel() == 0:
        raise InputError(f"The image batch of shape {tuple(images.shape)} holds no pixel.")
    low, high = (float(value) for value in images.aminmax())
    # A NaN anywhere makes both of them NaN.
    if not (low - low == 0 and high - high == 0):
        raise InputError("The image holds NaN or infinite values; repair what made it.")
    if low < -_OVERSHOOT or high > 1 + _OVERSHOOT:
        raise InputError(
            f"The image's values go from {low:g} to {high:g}; faces are searched in 0..1."
        )


def _detect_one(image: Tensor, detector: Detector, options: DetectOptions) -> Faces:
    """One image (3, H, W), in the turn that shows faces."""
    faces = _search(image, detector, options, turns=0)
    if len(faces) or not options.rotations:
        return faces
    turned = [_search(image, detector, options, turns) for turns in (1, 3, 2)]
    best = max(turned, key=lambda found: float(found.scores.sum()))
    if len(best):
        log.info("Faces were found only after turning the image.")
    return best


def _search(image: Tensor, detector: Detector, options: DetectOptions, turns: int) -> Faces:
    """One image turned by quarter turns counter-clockwise; the faces in the image's own pixels."""
    height, width = image.shape[-2:]
    searched = _shrink(image.to(detector.device, torch.float32).clamp(0, 1), options.long_side)
    ratio = torch.tensor([width / searched.shape[-1], height / searched.shape[-2]])
    least = options.min_size or _MIN_SIZE * float(ratio.max())
    turned = torch.rot90(searched, turns, (-2, -1))
    found = detector(turned, least / float(ratio.max()), options.confidence)
    boxes, scores, landmarks = (value.float().cpu() for value in found)

    good = scores >= options.confidence
    if options.sanity:
        sane = plausible(boxes, landmarks)
        if bool((good & ~sane).any()):
            log.info("%d dropped: not a face's landmarks.", int((good & ~sane).sum()))
        good &= sane
    size = (searched.shape[-2], searched.shape[-1])
    boxes, landmarks = turn_boxes(boxes, turns, size), turn_points(landmarks, turns, size)
    # Pixel centers lie at integers: half a pixel is added before scaling and taken off after.
    landmarks = (landmarks + 0.5) * ratio - 0.5
    boxes = (boxes + 0.5) * ratio.repeat(2) - 0.5
    # The largest that a border allows: pixel i covers i - 1/2 to i + 1/2.
    limit = torch.tensor([width, height, width, height]) - 0.5
    boxes = boxes.clamp(min=-0.5).minimum(limit)
    sides = short_sides(boxes)
    good &= (sides >= least) & (sides <= (options.max_size or math.inf))
    return Faces(
        boxes=boxes[good],
        scores=scores[good],
        landmarks=landmarks[good],
        source=torch.zeros(int(good.sum()), dtype=torch.int64),
        image_sizes=((height, width),),
    )


def _shrink(image: Tensor, long_side: int | None) -> Tensor:
    """(3, H, W) with its longer side at most `long_side`, antialiased."""
    longer = max(image.shape[-2:])
    if long_side is None or longer <= long_side:
        return image
    size = [max(1, round(side * long_side / longer)) for side in image.shape[-2:]]
    return functional.interpolate(image[None], size, mode="bilinear", antialias=True)[0]
