"""Detect: images in, the faces found in them out, whichever detector looks."""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..errors import InputError
from ..hooks import Hooks
from ..images.fade import fades_of
from ..images.monochrome import tones_of
from ..memory.allowance import Allowance, movable, moved
from ..options import DetectOptions
from .boxes import short_sides
from .detector import Detector
from .found import Faces, Rejected
from .sanity import plausible
from .search import SMALLEST, Finds, reduction, search

log = logging.getLogger(__name__)

# A bicubic enlargement overshoots 0..1 a little; -1..1 and 0..255 are beyond this.
_OVERSHOOT = 0.5
_STEPS = 100  # of progress in one search
# It is worth saying that faces of this many pixels are not looked for.
_LARGE = 80


def detect(
    images: Tensor,
    detector: Detector,
    options: DetectOptions | None = None,
    hooks: Hooks | None = None,
) -> Faces:
    """The faces of a batch of images, image after image, best first.

    Args:
        images: (B, 3, H, W) RGB 0..1; a slight overshoot is clamped.
        detector: from `detector.load_detector`, or any other `Detector`.
        options: see `DetectOptions`.
        hooks: told about the stage "detect".

    Returns:
        Boxes inside the image; landmarks may lie outside, where a face is cut off. On the device
        of `images`, with the images' tones, and what was found but does not count in `rejected`.

    Raises:
        InputError: another shape or type, NaN, values that are not 0..1.

    Example:
        >>> from gpen_core.faces.detector import load_detector
        >>> pictures = torch.zeros(2, 3, 48, 64)
        >>> faces = detect(pictures, load_detector(), DetectOptions(confidence=0.8))
        >>> len(faces), faces.image_sizes
        (0, ((48, 64), (48, 64)))
    """
    options, hooks = options or DetectOptions(), hooks or Hooks()
    hooks.may_stop()
    _check(images)
    detector_on = functools.cache(functools.partial(moved, detector))

    def one(chosen: slice, device: torch.device) -> Faces:
        progress = _Progress(hooks, chosen.start, len(images))
        found = _detect_one(images[chosen.start], detector_on(device), options, progress)
        return found.to(images.device)

    allowance = Allowance("detecting faces", hooks.event, device=movable(detector))
    return Faces.concat([found for _, found in allowance.over(len(images), one)])


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
    # A host's picture has its channels last; read as it lies, it is read thirty times as fast.
    dense = images.movedim(1, -1)
    low, high = (float(value) for value in (dense if dense.is_contiguous() else images).aminmax())
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

    def __call__(self, done: int, total: int) -> None:
        within = _STEPS * done / max(total, 1)
        self.hooks.progress("detect", round(_STEPS * self.image + within), _STEPS * self.images)


def _detect_one(
    image: Tensor, detector: Detector, options: DetectOptions, progress: _Progress
) -> Faces:
    """One image (3, H, W)."""
    progress.hooks.may_stop()
    size = (int(image.shape[-2]), int(image.shape[-1]))
    [fade] = fades = fades_of(image[None])
    finds = _in_image(search(image, detector, options, progress, fade), size)
    progress.hooks.may_stop()
    least = options.min_size or SMALLEST * reduction(size, options)
    if least > _LARGE and not options.min_size:
        progress.hooks.event(
            f"The picture is reduced for the search, and faces under {least:.0f} px are not found; "
            f"raise long_side to find them."
        )
    reasons = _reasons(finds, options, least)
    good = torch.tensor([reason is None for reason in reasons], dtype=torch.bool)
    return Faces(
        boxes=finds.boxes[good],
        scores=finds.scores[good],
        landmarks=finds.landmarks[good],
        source=torch.zeros(int(good.sum()), dtype=torch.int64),
        image_sizes=(size,),
        tones=tones_of(image[None]),
        fades=fades,
        rejected=_rejected(finds, reasons),
    )


def _in_image(finds: Finds, size: tuple[int, int]) -> Finds:
    """With boxes that end at the borders of the image, (height, width)."""
    height, width = size
    # The largest that a border allows: pixel i covers i - 1/2 to i + 1/2.
    limit = torch.tensor([width, height, width, height]) - 0.5
    return replace(finds, boxes=finds.boxes.clamp(min=-0.5).minimum(limit))


def _reasons(finds: Finds, options: DetectOptions, least: float) -> list[str | None]:
    """Why each find does not count as a face; None where it does."""
    sides, sane = short_sides(finds.boxes), plausible(finds.boxes, finds.landmarks)

    def reason(face: int) -> str | None:
        if float(finds.scores[face]) < options.confidence:
            return "low confidence"
        if not bool(sane[face]):
            return "implausible landmarks"
        if float(sides[face]) < least:
            return "too small"
        if options.max_size is not None and float(sides[face]) > options.max_size:
            return "too large"
        return None

    return [reason(face) for face in range(len(finds.boxes))]


def _rejected(finds: Finds, reasons: list[str | None]) -> tuple[Rejected, ...]:
    return tuple(
        Rejected(
            source=0,
            box=tuple(finds.boxes[face].tolist()),
            score=float(finds.scores[face]),
            landmarks=tuple((x, y) for x, y in finds.landmarks[face].tolist()),
            reason=reason,
        )
        for face, reason in enumerate(reasons)
        if reason is not None
    )
