"""The five steps in a row: detect, align, restore, mask, paste.

The command line, the one-node version and the tests call `restore_images`; `detect_faces` and
`restore_image` are the same for people who hold one picture in an array.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from .errors import InputError
from .faces.align import align
from .faces.color import keep_gray
from .faces.detect import DetectOptions, Detector, detect, load_detector
from .faces.found import Faces
from .faces.mask import MaskOptions, crop_masks
from .faces.parse import Parser
from .faces.paste import Canvas, PasteOptions
from .faces.restore import Monitor, RestoreOptions, at_once, restore
from .faces.select import select
from .images.layouts import from_comfy, is_gray, to_comfy
from .models.model import Model

log = logging.getLogger(__name__)

# Aligned and restored crops held at once, bytes; ten faces of 512 px.
_PIXEL_MEMORY = 64 << 20


@dataclass(frozen=True)
class Options:
    """Everything that can be chosen about a restoration; the defaults suit a photograph.

    Attributes:
        detect: how faces are found.
        sort, keep: which faces are restored, see `faces.select.select`.
        template: alignment template; None takes the model's own.
        restore: strength, face batch, seed.
        mask: shape of the pasted region.
        paste: upscaling, small-face filter, color match.
        frames_at_once: images of a batch that are worked on together; bounds the memory.
        keep_crops: hand back the aligned and restored crops in `Result.faces`; off, the memory
            does not grow with the number of faces.
    """

    detect: DetectOptions = field(default_factory=DetectOptions)
    sort: str = "area"
    keep: str | int | list[int] = "all"
    template: str | None = None
    restore: RestoreOptions = field(default_factory=RestoreOptions)
    mask: MaskOptions = field(default_factory=MaskOptions)
    paste: PasteOptions = field(default_factory=PasteOptions)
    frames_at_once: int = 8
    keep_crops: bool = False


@dataclass(frozen=True)
class Face:
    """What the report says of one face found; pixels of the input image."""

    image: int
    box: list[float]
    score: float
    landmarks: list[list[float]]
    restored: bool
    reason: str | None = None


@dataclass
class Report:
    """What happened: the faces found, seconds per stage, and every fall-back."""

    faces: list[Face] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of a block to `seconds[name]`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


@dataclass(frozen=True)
class Result:
    """A restored picture or batch.

    Attributes:
        image: in the layout and type of the input, at the size asked for.
        mask: how much of each pixel was replaced, 0..1; (H', W') or (B, H', W').
        faces: the faces restored; with `Options.keep_crops` their crops too.
        report: what was found, how long it took, what fell back.
    """

    image: np.ndarray | Tensor
    mask: Tensor
    faces: Faces
    report: Report


def restore_images(
    images: Tensor,
    model: Model,
    options: Options | None = None,
    *,
    detector: Detector | None = None,
    parser: Parser | None = None,
    background: Tensor | None = None,
    user_mask: Tensor | None = None,
    monitor: Monitor | None = None,
    found: Callable[[int], None] = lambda faces: None,
) -> tuple[Tensor, Tensor, Faces, Report]:
    """Restore every chosen face of (B, 3, H, W) 0..1 images.

    Args:
        images: RGB, 0..1; never written to.
        model: from `load_model`.
        options: see `Options`.
        detector, parser: loaded ones; by default the embedded detector, no parser.
        background: (B, 3, H', W') 0..1, the picture already enlarged, to paste into.
        user_mask: (B or 1, 1, H, W) 0..1, multiplied into the masks.
        monitor: progress, interruption and memory hooks.
        found: called with the number of faces to restore, once per group of images.

    Returns:
        Images (B, 3, H', W'), mask (B, 1, H', W'), the faces restored, the report. Images without
        a face, or with none chosen, come back bit for bit (resized where `upscale` asks for it).

    Raises:
        GPENError: bad input, missing weights; what and where is in its text.
    """
    options, monitor = options or Options(), monitor or Monitor()
    if parser is None and options.mask.kind == "parsing":
        raise InputError("The parsing mask needs a face parser; load one, or use another mask.")
    detector = detector or load_detector("mtcnn", device=str(model.device))
    report = Report(events=monitor.events)
    step = options.frames_at_once
    pieces = []
    for start in range(0, len(images), step):
        chosen = slice(start, start + step)
        piece = _restore_group(
            images[chosen],
            model,
            options,
            detector,
            parser,
            _part(background, chosen),
            _part(user_mask, chosen),
            monitor,
            found,
            report,
            start,
        )
        pieces.append(piece)
    outputs = torch.cat([piece[0] for piece in pieces])
    masks = torch.cat([piece[1] for piece in pieces])
    return outputs, masks, Faces.concat([piece[2] for piece in pieces]), report


def _part(images: Tensor | None, chosen: slice) -> Tensor | None:
    """The images of a group; one image serves every group."""
    return images if images is None or len(images) == 1 else images[chosen]


def _restore_group(
    images: Tensor,
    model: Model,
    options: Options,
    detector: Detector,
    parser: Parser | None,
    background: Tensor | None,
    user_mask: Tensor | None,
    monitor: Monitor,
    found: Callable[[int], None],
    report: Report,
    offset: int,
) -> tuple[Tensor, Tensor, Faces]:
    """One group of images through the five steps; reads like the recipe."""
    with report.stage("detect"):
        everyone = detect(images, detector, options.detect)
        faces = select(everyone, options.sort, options.keep)
    found(len(faces))
    report.faces += _describe(everyone, faces, offset)
    with report.stage("paste"):
        canvas = Canvas(images, options.paste, background, user_mask)
    template = options.template or model.info.template
    parts = [faces.take([])]
    for part in _parts(faces, model, options):
        with report.stage("align"):
            part = align(images, part, model.input_size, template)
        with report.stage("restore"):
            part = restore(part, model, options.restore, monitor)
            part = _keep_gray_images_gray(images, part)
        with report.stage("mask"):
            masks = crop_masks(part, options.mask, parser)
        with report.stage("paste"):
            canvas.add(part, masks)
        parts.append(part if options.keep_crops else part.with_(crops=None, restored=None))
    # The parts belong to the same images, not to consecutive ones.
    merged = Faces.merge(parts)
    return canvas.images, canvas.mask, merged


def _parts(faces: Faces, model: Model, options: Options) -> Iterator[Faces]:
    """The faces in parts of whole batches whose pixels fit a fixed memory, or of one batch."""
    pixels = 3 * 4 * (model.input_size**2 + model.output_size**2)
    batch = at_once(model, options.restore)
    step = max(1, _PIXEL_MEMORY // pixels // batch) * batch
    for start in range(0, len(faces), step):
        yield faces.take(range(start, min(start + step, len(faces))))


def _keep_gray_images_gray(images: Tensor, faces: Faces) -> Faces:
    """A gray photograph stays gray: the network's tint is taken out of its faces."""
    gray = torch.tensor([is_gray(image[None]) for image in images])
    if faces.restored is None or len(faces) == 0 or not bool(gray.any()):
        return faces
    chosen = gray[faces.source.cpu()].to(faces.restored.device)
    restored = torch.where(chosen[:, None, None, None], keep_gray(faces.restored), faces.restored)
    return faces.with_(restored=restored)


def _describe(everyone: Faces, chosen: Faces, offset: int) -> list[Face]:
    """The report's lines: every face found, and why some are not restored."""
    kept = {_identity(chosen, i) for i in range(len(chosen))}
    lines = []
    for i in range(len(everyone)):
        restored = _identity(everyone, i) in kept
        lines.append(
            Face(
                image=int(everyone.source[i]) + offset,
                box=[round(v, 2) for v in everyone.boxes[i].tolist()],
                score=round(float(everyone.scores[i]), 4),
                landmarks=[[round(v, 2) for v in p] for p in everyone.landmarks[i].tolist()],
                restored=restored,
                reason=None if restored else "not selected",
            )
        )
    return lines


def _identity(faces: Faces, i: int) -> tuple[float, ...]:
    return (
        float(faces.source[i]),
        *faces.boxes[i].tolist(),
        *faces.landmarks[i].flatten().tolist(),
    )


# --- one picture in an array ---------------------------------------------------------------------


def detect_faces(
    image: np.ndarray | Tensor,
    detector: Detector | None = None,
    options: DetectOptions | None = None,
) -> Faces:
    """The faces of a picture: boxes (N, 4), scores (N,), landmarks (N, 5, 2), source (N,).

    Args:
        image: (H, W, 3) uint8, or (B, H, W, C) float 0..1 as ComfyUI has it.
        detector: from `faces.detect.load_detector`; the embedded one by default.
        options: confidence, sizes and the rest.

    Raises:
        InputError: another shape or type, NaN.
    """
    images, _ = _images_of(image)
    return detect(images, detector or load_detector("mtcnn"), options or DetectOptions())


def restore_image(
    image: np.ndarray | Tensor,
    model: Model,
    *,
    strength: float | None = None,
    options: Options | None = None,
    detector: Detector | None = None,
    parser: Parser | None = None,
    background: np.ndarray | Tensor | None = None,
    user_mask: Tensor | None = None,
    monitor: Monitor | None = None,
) -> Result:
    """Restore the faces of one picture, or of a batch in ComfyUI's layout.

    Args:
        image: (H, W, 3 or 4) uint8 array, or (B, H, W, C) float 0..1; alpha is kept.
        model: from `load_model`.
        strength: 0..1, short for `options.restore.strength`.
        background: the picture already enlarged, in the layout of `image`.
        user_mask: (H, W) or (B, H, W) 0..1, multiplied into the masks.
        options, detector, parser, monitor: see `restore_images`.

    Returns:
        `Result`; its image has the layout and type of the input. No face found: the input, bit
        for bit, and the report says so.

    Raises:
        GPENError: bad input, missing weights; what and where is in its text.
    """
    options = options or Options()
    if strength is not None:
        options = replace(options, restore=replace(options.restore, strength=strength))
    images, alpha = _images_of(image)
    mask = None if user_mask is None else user_mask.reshape(-1, 1, *user_mask.shape[-2:])
    outputs, pasted, faces, report = restore_images(
        images,
        model,
        options,
        detector=detector,
        parser=parser,
        background=None if background is None else _images_of(background)[0],
        user_mask=mask,
        monitor=monitor,
    )
    if not report.faces:
        log.warning("No face was found; the picture is returned unchanged.")
    if _is_array(image):
        array = (to_comfy(outputs, alpha)[0] * 255).round().to(torch.uint8).cpu().numpy()
        return Result(array, pasted[0, 0], faces, report)
    return Result(to_comfy(outputs, alpha), pasted[:, 0], faces, report)


def _is_array(image: np.ndarray | Tensor) -> bool:
    """Whether this is one (H, W, C) uint8 picture rather than a float batch."""
    return image.ndim == 3


def _images_of(image: np.ndarray | Tensor) -> tuple[Tensor, Tensor | None]:
    """(B, 3, H, W) 0..1 and alpha of either accepted layout."""
    tensor = torch.tensor(image) if isinstance(image, np.ndarray) else image
    if _is_array(image):
        if tensor.dtype != torch.uint8:
            raise InputError(
                f"A single picture must be (H, W, 3) uint8, not {tensor.dtype}; "
                f"floating-point pictures come as (B, H, W, C), 0..1."
            )
        tensor = tensor[None].float() / 255
    return from_comfy(tensor)
