"""Put restored faces back into their picture, and touch nothing else.

Every face is worked on inside its own box of the output, straight from the restored crop's pixels
to the output's, so a 2048-px face keeps what the output can show. Time is linear in the faces and
memory does not grow with them.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import InputError
from ..hooks import Hooks
from ..images.layouts import enlarge, fit_mask
from ..images.monochrome import luma, with_light
from ..memory.allowance import Allowance
from ..options import PasteOptions
from ..text import counted
from .color import match_color
from .extent import Box, box_of, restored_to_output, seen, whole_crop
from .found import Faces
from .grain import Surroundings, with_grain
from .seam import with_sharpness
from .warp import shift_matrix, warp

log = logging.getLogger(__name__)

# The official pipeline smooths faces whose box is narrower than this, in input pixels.
_SMALL_FACE = 100.0

# Grain is measured this far around the face, as a share of its box, and at least so many pixels.
_AROUND, _LEAST_AROUND = 0.25, 24

# Between masks of the same strength the pixel goes to the face whose center is nearer; the weight
# is below what an 8-bit picture shows and above the masks' rounding errors.
_CENTER_WEIGHT = 1e-4


@dataclass(frozen=True)
class Surface:
    """What faces are pasted into.

    Attributes:
        images: (B, 3, H, W) float RGB 0..1, those the faces were aligned from; not written to.
        background: (B or 1, 3, H', W') 0..1, the images enlarged by other means; H'/H and W'/W
            are the scale. None: the images, enlarged bicubically by `PasteOptions.upscale`.
        user_mask: (B or 1, 1, h, w) 0..1, multiplied into the masks; resized to the images.

    Example:
        >>> Surface(torch.rand(2, 3, 48, 64), user_mask=torch.ones(1, 1, 48, 64)).background is None
        True
    """

    images: Tensor
    background: Tensor | None = None
    user_mask: Tensor | None = None

    def to(self, device: torch.device) -> Surface:
        """The same on another device; itself where it is there already."""
        if self.images.device == device:
            return self
        others = (self.background, self.user_mask)
        return Surface(
            self.images.to(device), *(None if one is None else one.to(device) for one in others)
        )


class Canvas:
    """A batch of pictures under work: restored faces come in parts, so that not all of them have
    to be held at once.

    Where faces overlap, the stronger mask wins, and between equals the face whose center is nearer;
    so the result does not depend on the faces' order (unless two share one matrix). Where the mask
    is 0, the images are the background's (without one and not enlarged: the input's), bit for bit.

    Attributes:
        images: (B, 3, H', W') the pictures with the faces pasted so far.
        mask: (B, 1, H', W') how much of each pixel was replaced.

    Args:
        surface: what is pasted into.
        options: see `PasteOptions`.
        hooks: told about the stage "paste".
        only_colors: paste the colors of the faces alone; brightness (BT.601 luma) stays that of
            what is pasted into.

    Raises:
        InputError: a background that is not the images enlarged, or other numbers of them.

    Example:
        >>> from gpen_core.faces.aligned import as_faces
        >>> picture = torch.zeros(1, 3, 64, 64)
        >>> faces = as_faces(picture, "gpen").with_(restored=torch.ones(1, 3, 128, 128))
        >>> canvas = Canvas(Surface(picture))
        >>> canvas.add(faces, torch.ones(1, 1, 128, 128))
        >>> canvas.images.shape, round(float(canvas.images[0, 0, 32, 32]), 3)
        (torch.Size([1, 3, 64, 64]), 1.0)
    """

    def __init__(
        self,
        surface: Surface,
        options: PasteOptions | None = None,
        hooks: Hooks | None = None,
        *,
        only_colors: bool = False,
    ) -> None:
        self._only_colors = only_colors
        self.options = options or PasteOptions()
        self._hooks = hooks or Hooks()
        images = surface.images
        self._input_size = (int(images.shape[-2]), int(images.shape[-1]))
        room = Allowance("making the result's picture", self._hooks.event, device=images.device)
        room(lambda _, device: self._stretch(surface.to(device)))
        height, width = self.images.shape[-2:]
        self._scale = (width / self._input_size[1], height / self._input_size[0])

    def _stretch(self, surface: Surface) -> None:
        """Make what is painted on."""
        self._background = _background_of(surface, self.options.upscale, self._hooks)
        self._hooks.may_stop()
        self.images = self._background.clone()
        self._hooks.may_stop()
        size = (int(self.images.shape[-2]), int(self.images.shape[-1]))
        self._user_mask = _user_mask_of(surface, size)
        self.mask = self.images.new_zeros(len(self.images), 1, *size, dtype=torch.float32)
        self._strength = torch.zeros_like(self.mask)
        self._pasted: list[list[Box]] = [[] for _ in self.images]

    def add(self, faces: Faces, masks: Tensor) -> None:
        """Paste faces.

        Args:
            faces: restored, with `matrices` and `crops`.
            masks: (N, 1, M, M) 0..1, of `restored`'s size or any other.

        Raises:
            InputError: faces that are not restored, masks of another shape.
        """
        if len(faces) == 0:
            return
        self._check(faces, masks)
        # A fixed order, so that even exact ties fall the same way for every order given.
        assert faces.matrices is not None and faces.restored is not None
        matrices = faces.matrices.flatten(1).tolist()
        keys = [(source, *m) for source, m in zip(faces.source.tolist(), matrices, strict=True)]
        order = sorted(range(len(faces)), key=keys.__getitem__)
        allowance = Allowance("pasting faces", self._hooks.event, device=faces.restored.device)

        def place(chosen: slice, device: torch.device) -> None:
            self._place(faces, order[chosen.start], masks, device)

        for chosen, _ in allowance.over(len(order), place):
            self._hooks.progress("paste", chosen.stop, len(faces))

    def _check(self, faces: Faces, masks: Tensor) -> None:
        if faces.restored is None or faces.matrices is None or faces.crops is None:
            raise InputError("These faces are not restored yet; align and restore them first.")
        if len(masks) != len(faces) or masks.ndim != 4 or masks.shape[1] != 1:
            raise InputError(
                f"{len(faces)} faces came with masks of shape {tuple(masks.shape)}; "
                f"give one mask per face, ({len(faces)}, 1, size, size)."
            )
        last = int(faces.source.max())
        if last >= len(self.images):
            raise InputError(
                f"A face belongs to image {last}, which is not among the {len(self.images)} given; "
                f"pass the images in which the faces were detected."
            )

    def _place(self, faces: Faces, face: int, masks: Tensor, device: torch.device) -> None:
        """Paste one face, warped on `device`; the second time it changes nothing."""
        to_output = restored_to_output(faces, face, self._scale)
        size = (int(self.images.shape[-2]), int(self.images.shape[-1]))
        whole = box_of(size, to_output, whole_crop(faces))
        if whole is None:
            log.debug("Face %d lies outside of its picture; nothing is pasted.", face)
            return
        layers = self._layers(faces, face, masks, device)
        # Grain and sharpness are measured on all of a face.
        box = (
            whole
            if self.options.measures_around
            else box_of(size, to_output, seen(layers, to_output))
        )
        if box is None:
            return
        x0, y0, x1, y1 = box
        to_box = shift_matrix(-x0, -y0) @ to_output
        patch = warp(layers, to_box, (y1 - y0, x1 - x0), border="replicate")
        patch = patch.to(self.images.device)
        picture, strength = patch[:3].add_(1).div_(2).clamp_(0, 1), patch[3:].clamp_(0, 1)
        if self.options.measures_around:
            around = self._surroundings(box, faces.take([face]))
            picture = self._like_around(picture, strength, around)
        if self._only_colors:
            under = self._background[int(faces.source[face]), :, y0:y1, x0:x1].float()
            picture = with_light(picture[None], luma(under[None]).clamp(0, 1))[0]
        nearness = _nearness(to_box, int(layers.shape[-1]), patch)
        self._blend(int(faces.source[face]), box, picture, strength, nearness)

    def _surroundings(self, box: Box, face: Faces) -> Surroundings:
        """What lies around the box of one face in the output."""
        height, width = self.images.shape[-2:]
        x0, y0, x1, y1 = box
        margin = max(round(_AROUND * max(x1 - x0, y1 - y0)), _LEAST_AROUND)
        left, top = max(x0 - margin, 0), max(y0 - margin, 0)
        right, bottom = min(x1 + margin, width), min(y1 + margin, height)
        return Surroundings(
            self._background[int(face.source[0]), :, top:bottom, left:right],
            (x0 - left, y0 - top, x1 - left, y1 - top),
            max(self._scale),
            face.tones_of_faces()[0],
        )

    def _like_around(self, picture: Tensor, mask: Tensor, around: Surroundings) -> Tensor:
        """A face's patch of the output with the softness and the grain of what lies around it."""
        for amount, change, what in (
            (self.options.sharpness_match, with_sharpness, "was not made softer"),
            (self.options.grain, with_grain, "got no grain"),
        ):
            changed = change(picture, mask, around, amount) if amount > 0 else picture
            if changed is None:
                self._hooks.event(
                    f"A face {what}: what lies around it is too small or too dark to measure it."
                )
            else:
                picture = changed
        return picture

    def _blend(self, image: int, box: Box, face: Tensor, mask: Tensor, near: Tensor) -> None:
        """Write a patch where its mask is stronger than those of the faces before it.

        All is computed before anything is written, so that a shortage of memory leaves no half.
        """
        x0, y0, x1, y1 = box
        part = (image, slice(None), slice(y0, y1), slice(x0, x1))
        there = mask > 0
        strength = near.mul_(_CENTER_WEIGHT).add_(mask).mul_(there)
        if self._user_mask is not None:
            mask = mask * self._user_mask[image % len(self._user_mask)][:, y0:y1, x0:x1]
        # Blended with the background and not with what an earlier face left there; where the mask
        # is 0 it gives the background, bit for bit.
        background = self._background[part]
        blended = torch.lerp(background.float(), face, mask).to(background.dtype)
        if any(_meet(box, other) for other in self._pasted[image]):
            wins = there & (strength > self._strength[part])
            strength = torch.where(wins, strength, self._strength[part])
            mask = torch.where(wins, mask, self.mask[part])
            blended = torch.where(wins, blended, self.images[part])
        self._pasted[image].append(box)
        self.images[part] = blended
        self.mask[part] = mask
        self._strength[part] = strength  # last: it decides who wins the next time

    def _layers(self, faces: Faces, face: int, masks: Tensor, device: torch.device) -> Tensor:
        """(4, T, T): the face -1..1 and its mask 0..1, ready to be warped together."""
        assert faces.restored is not None and faces.crops is not None
        restored = faces.restored[face : face + 1].to(device, torch.float32)
        size = restored.shape[-1]
        mask = masks[face : face + 1].to(device, torch.float32)
        if self.options.color_match > 0:
            crops = faces.crops[face : face + 1].to(device)
            restored = match_color(restored, crops, mask, self.options.color_match)
        x0, y0, x1, y1 = faces.boxes[face].tolist()
        if self.options.small_face_filter and min(x1 - x0, y1 - y0) < _SMALL_FACE:
            restored = _binomial(restored)
        layers = torch.cat([restored, fit_mask(mask, (size, size))], 1)[0]
        # The warp replicates the edge: only a mask that ends inside its crop ends at all.
        layers[3, (0, -1), :] = 0
        layers[3, :, (0, -1)] = 0
        return layers


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _background_of(surface: Surface, upscale: int, hooks: Hooks) -> Tensor:
    """What the faces are pasted into: (B, 3, H', W') on the images' device."""
    images, background = surface.images, surface.background
    if images.ndim != 4 or images.shape[1] != 3:
        raise InputError(f"Images must be (B, 3, H, W), not {tuple(images.shape)}.")
    if background is None:
        return enlarge(images, upscale, hooks)
    height, width = images.shape[-2:]
    if background.ndim != 4 or background.shape[1] != 3 or len(background) not in (1, len(images)):
        raise InputError(
            f"The background has the shape {tuple(background.shape)} for "
            f"{counted(len(images), 'image')}; give one RGB picture, or one for each image.",
            option="background",
        )
    tall, wide = background.shape[-2:]
    if abs(wide - tall * width / height) > 1 and abs(tall - wide * height / width) > 1:
        raise InputError(
            f"The background is {wide}x{tall} and the image {width}x{height}: their shapes differ; "
            f"use an enlarged version of the same picture.",
            option="background",
        )
    return background.to(images.device, images.dtype).expand(len(images), -1, -1, -1)


def _user_mask_of(surface: Surface, size: tuple[int, int]) -> Tensor | None:
    """The user's mask at the output's size: (B or 1, 1, H', W')."""
    mask, images = surface.user_mask, surface.images
    if mask is None:
        return None
    if mask.ndim != 4 or mask.shape[1] != 1 or len(mask) not in (1, len(images)):
        raise InputError(
            f"{counted(len(mask), 'mask')} came with {counted(len(images), 'image')}; give one, "
            f"or one for each image.",
            option="user_mask",
        )
    return fit_mask(mask.to(images.device, torch.float32).clamp(0, 1), size)


def _binomial(images: Tensor) -> Tensor:
    """3x3 binomial smoothing, [1 2 1] / 4 both ways; fifteen times as fast as a convolution."""
    padded = functional.pad(images, (1, 1, 1, 1), mode="reflect")
    across = padded[..., 1:-1] * 0.5 + (padded[..., :-2] + padded[..., 2:]) * 0.25
    return across[..., 1:-1, :] * 0.5 + (across[..., :-2, :] + across[..., 2:, :]) * 0.25


def _nearness(to_region: Tensor, size: int, patch: Tensor) -> Tensor:
    """(1, h, w) 0..1: 1 at the face's center, falling with the distance in crop pixels."""
    middle = (size - 1) / 2
    center = to_region @ torch.tensor([middle, middle, 1.0], dtype=torch.float64)
    scale = math.sqrt(abs(float(torch.linalg.det(to_region[:2, :2])))) * size / 2
    height, width = patch.shape[-2:]
    y = (torch.arange(height, device=patch.device) - float(center[1])) / scale
    x = (torch.arange(width, device=patch.device) - float(center[0])) / scale
    return 1 / (1 + y[None, :, None] ** 2 + x[None, None, :] ** 2)
