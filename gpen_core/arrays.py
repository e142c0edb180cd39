"""One picture in an array, or a batch in ComfyUI's layout: restored, or only searched for faces."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .errors import InputError
from .faces.detect import detect
from .faces.detector import Detector, load_detector
from .faces.found import Faces
from .faces.look import without_pixels
from .faces.parse import Parser
from .faces.paste import Surface
from .hooks import Hooks
from .images.layouts import from_comfy, to_comfy
from .models.model import Model
from .options import DetectOptions, Options
from .report import Report
from .run import Run, Tools, groups

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """A restored picture or batch.

    Attributes:
        image: in the layout and type of the input, at the size asked for.
        mask: how much of each pixel was replaced, 0..1; (H', W') or (B, H', W').
        faces: the faces restored; with `Options.keep_crops` their crops too.
        report: what was found, how long it took, what fell back.

    Example:
        >>> from gpen_core import load_model
        >>> result = restore_image(np.zeros((48, 64, 3), np.uint8), load_model())
        >>> result.image.shape, tuple(result.mask.shape), result.report.found
        ((48, 64, 3), (48, 64), 0)
    """

    image: np.ndarray | Tensor
    mask: Tensor
    faces: Faces
    report: Report


@dataclass(frozen=True)
class Batch:
    """Frames in ComfyUI's layout, and what is pasted into.

    Attributes:
        image: (B, H, W, C) float 0..1, C 1, 3 or 4; alpha is kept.
        background: gives the enlarged picture (b or 1, 3, H', W') of a slice of the frames, or
            None; called once a group, so that few are held at once.
        mask: (B or 1, h, w) 0..1, multiplied into the masks.

    Raises:
        InputError: another number of masks.

    Example:
        >>> batch = Batch(torch.zeros(3, 48, 64, 3), mask=torch.ones(1, 48, 64))
        >>> batch.surface(slice(1, 3)).images.shape
        torch.Size([2, 3, 48, 64])
    """

    image: Tensor
    background: Callable[[slice], Tensor | None] = lambda chosen: None
    mask: Tensor | None = None

    def __post_init__(self) -> None:
        count = len(self.image)
        if self.mask is not None and len(self.mask) not in (1, count):
            raise InputError(
                f"{len(self.mask)} masks were given for {count} pictures; give 1 or {count}.",
                option="user_mask",
            )

    def surface(self, chosen: slice) -> Surface:
        """The frames `chosen` as the core has them."""
        images, _ = from_comfy(self.image[chosen])
        mask = self.mask
        if mask is not None:
            mask = (mask if len(mask) == 1 else mask[chosen])[:, None].float()
        return Surface(images.float(), self.background(chosen), mask)

    def pictures(self, images: Tensor, chosen: slice, hooks: Hooks | None = None) -> Tensor:
        """Results (b, 3, H', W') of the frames `chosen` in the layout and type of `image`."""
        alpha = self.image[chosen][..., 3:].permute(0, 3, 1, 2)
        return to_comfy(images, alpha if alpha.shape[1] else None, hooks).to(self.image.dtype)


class Assembled:
    """A batch that is filled group by group; allocated once, when the first group is known.

    Example:
        >>> frames = Assembled(2)
        >>> for index in range(2):
        ...     frames.put(slice(index, index + 1), torch.full((1, 4, 4, 3), float(index)))
        >>> frames.tensor.mean(dim=(1, 2, 3))
        tensor([0., 1.])
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._tensor: Tensor | None = None

    def put(self, chosen: slice, piece: Tensor) -> None:
        """Store the frames `chosen`, on the CPU."""
        if self._tensor is None:
            self._tensor = torch.empty(self._count, *piece.shape[1:], dtype=piece.dtype)
        self._tensor[chosen] = piece

    @property
    def tensor(self) -> Tensor:
        """All frames, once all are stored."""
        assert self._tensor is not None, "a batch has at least one frame"
        return self._tensor


def restore_batch(run: Run, batch: Batch, seen: Callable[[Faces], None] | None = None) -> Result:
    """The faces of every frame restored, a few frames at a time.

    Args:
        run: with `Options.keep_crops`, faces keep their crops.
        batch: the frames.
        seen: given the faces of each group of frames; whoever has seen them needs their crops no
            longer, and the result's faces have none.

    Raises:
        GPENError: as `Run.restored`.

    Example:
        >>> from gpen_core import load_model
        >>> run = Run(Tools(load_model()))
        >>> restore_batch(run, Batch(torch.zeros(2, 48, 64, 3))).image.shape
        torch.Size([2, 48, 64, 3])
    """
    count = len(batch.image)
    images, masks, faces, report = Assembled(count), Assembled(count), [], Report()
    for chosen in groups(count):
        run.hooks.may_stop()
        restored = run.restored(batch.surface(chosen), chosen.start)
        images.put(chosen, batch.pictures(restored.images, chosen, run.hooks))
        masks.put(chosen, restored.mask[:, 0])
        if seen is None:
            faces.append(restored.faces)
        else:
            seen(restored.faces)
            faces.append(without_pixels(restored.faces))
        report.add(restored.report)
    return Result(images.tensor, masks.tensor, Faces.concat(faces), report)


def detect_faces(
    image: np.ndarray | Tensor,
    detector: Detector | None = None,
    options: DetectOptions | None = None,
) -> Faces:
    """The faces of a picture: boxes (N, 4), scores (N,), landmarks (N, 5, 2), source (N,).

    Args:
        image: (H, W, 3) uint8, or (B, H, W, C) float 0..1 as ComfyUI has it.
        detector: from `faces.detector.load_detector`; the embedded one by default.
        options: confidence, sizes and the rest.

    Raises:
        InputError: another shape or type, NaN.

    Example:
        >>> detect_faces(np.zeros((48, 64, 3), np.uint8)).boxes.shape
        torch.Size([0, 4])
    """
    images, _ = from_comfy(_as_batch(image))
    return detect(images, detector or load_detector("mtcnn"), options or DetectOptions())


def restore_image(
    image: np.ndarray | Tensor,
    model: Model,
    options: Options | None = None,
    *,
    detector: Detector | None = None,
    parser: Parser | None = None,
    background: np.ndarray | Tensor | None = None,
    user_mask: np.ndarray | Tensor | None = None,
    hooks: Hooks | None = None,
    **values: object,
) -> Result:
    """Restore the faces of one picture, or of a batch in ComfyUI's layout.

    Args:
        image: (H, W, 3 or 4) uint8 array, or (B, H, W, C) float 0..1; alpha is kept.
        model: from `load_model`.
        options: everything that can be chosen; or give the values by name, see `Options.of`.
        detector, parser: loaded ones; by default the embedded detector, no parser.
        background: the picture already enlarged, in the layout of `image`.
        user_mask: (H, W) or (B, H, W) 0..1, multiplied into the masks.
        hooks: progress, interruption and memory hooks.

    Returns:
        `Result`; its image has the layout and type of the input. No face found: the input, bit
        for bit, and the report says so.

    Raises:
        GPENError: bad input, missing weights; what and where is in its text.

    Example:
        >>> from gpen_core import load_model
        >>> picture = np.zeros((64, 64, 3), np.uint8)
        >>> restore_image(picture, load_model(), strength=0.8).image.shape
        (64, 64, 3)
    """
    if options is not None and values:
        raise InputError(f"Pass either options or {min(values)}=..., not both.")
    run = Run(Tools(model, detector, parser), options or Options.of(**values), hooks)
    frames = _as_batch(image)
    enlarged = None if background is None else from_comfy(_as_batch(background))[0].float()
    if enlarged is not None and len(enlarged) not in (1, len(frames)):
        raise InputError(
            f"{len(enlarged)} backgrounds were given for {len(frames)} pictures; give 1 or "
            f"{len(frames)}.",
            option="background",
        )

    def part(chosen: slice) -> Tensor | None:
        return enlarged if enlarged is None or len(enlarged) == 1 else enlarged[chosen]

    mask = None
    if user_mask is not None:
        mask = torch.as_tensor(user_mask)
        mask = mask.reshape(-1, *mask.shape[-2:])
    result = restore_batch(run, Batch(frames, part, mask))
    if not result.report.found:
        log.warning("No face was found; the picture is unchanged.")
    if _is_single(image):
        assert isinstance(result.image, Tensor)
        array = (result.image[0] * 255).round().to(torch.uint8).cpu().numpy()
        return Result(array, result.mask[0], result.faces, result.report)
    return result


def _is_single(image: np.ndarray | Tensor) -> bool:
    """Whether this is one (H, W, C) uint8 picture rather than a float batch."""
    return image.ndim == 3


def _as_batch(image: np.ndarray | Tensor) -> Tensor:
    """(B, H, W, C) float 0..1 of either accepted layout."""
    # A copy: arrays that are read-only or run backwards are no tensors.
    tensor = torch.tensor(np.ascontiguousarray(image)) if isinstance(image, np.ndarray) else image
    if tensor.ndim not in (3, 4):
        raise InputError(
            f"A picture must have the shape (H, W, 3), or (B, H, W, C) as a batch, not "
            f"{tuple(tensor.shape)}."
        )
    if not _is_single(image):
        return tensor
    if tensor.dtype != torch.uint8:
        raise InputError(
            f"A single picture must be (H, W, 3) uint8, not {tensor.dtype}; "
            f"pass floating-point pictures as a batch (B, H, W, C) of 0..1."
        )
    return tensor[None].float() / 255
