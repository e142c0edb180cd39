"""Put restored faces back into their picture, and touch nothing else.

Every face is worked on inside its own box of the output, straight from the restored crop's pixels
to the output's, so a 2048-px face keeps what the output can show. Time is linear in the faces and
memory does not grow with them.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import InputError
from .color import match_color
from .found import Faces
from .warp import region_of, resize_matrix, shift_matrix, square, warp

log = logging.getLogger(__name__)

UPSCALES = (1, 2, 4)

# The official pipeline smooths faces whose box is narrower than this, in input pixels.
_SMALL_FACE = 100.0

# Between masks of the same strength the pixel goes to the face whose center is nearer; the weight
# is below what an 8-bit picture shows and above the masks' rounding errors.
_CENTER_WEIGHT = 1e-4


@dataclass(frozen=True)
class PasteOptions:
    """How faces are put back.

    Attributes:
        upscale: 1, 2 or 4: the output's size over the input's. A background that is given decides
            instead.
        small_face_filter: smooth faces whose box is under 100 px on its short side with a 3x3
            binomial filter, as the official pipeline does.
        color_match: 0..1, how far the face takes on its picture's low-frequency color.

    Raises:
        InputError: a value out of its range.
    """

    upscale: int = 1
    small_face_filter: bool = False
    color_match: float = 0.0

    def __post_init__(self) -> None:
        if self.upscale not in UPSCALES:
            raise InputError(
                f"The picture cannot be enlarged {self.upscale} times; give 1, 2 or 4."
            )
        if not 0 <= self.color_match <= 1:
            raise InputError(f"The color match is {self.color_match}; give 0 to 1.")


def paste(
    images: Tensor,
    faces: Faces,
    masks: Tensor,
    options: PasteOptions | None = None,
    background: Tensor | None = None,
    user_mask: Tensor | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """Put restored faces into their images.

    Where faces overlap, the stronger mask wins, and between equals the face whose center is nearer;
    so the result does not depend on the faces' order (unless two share one matrix).

    Args:
        images: (B, 3, H, W) float RGB 0..1, those the faces were aligned from; not written to.
        faces: restored, with `matrices` and `crops`.
        masks: (N, 1, M, M) 0..1, of `restored`'s size or any other.
        options: see `PasteOptions`.
        background: (B or 1, 3, H', W') 0..1, the images enlarged by other means; H'/H and W'/W are
            the scale. Without it they are enlarged bicubically by `options.upscale`.
        user_mask: (B or 1, 1, H, W) 0..1, multiplied into the masks.
        progress: called with (faces pasted, faces in all) after each.

    Returns:
        Images (B, 3, H', W') and the final mask (B, 1, H', W'), 0..1. Where the mask is 0, the
        image is bit-identical to the background (with `upscale` 1 and none given: to the input).

    Raises:
        InputError: faces that are not restored; masks, background or user mask of another shape.
    """
    canvas = Canvas(images, options, background, user_mask)
    canvas.add(faces, masks, progress)
    return canvas.images, canvas.mask


class Canvas:
    """A batch of pictures under work: lets restored faces come in parts, so that not all of them
    have to be held at once. Arguments and errors are those of `paste`.

    Attributes:
        images: (B, 3, H', W') the pictures with the faces pasted so far.
        mask: (B, 1, H', W') how much of each pixel was replaced.
    """

    def __init__(
        self,
        images: Tensor,
        options: PasteOptions | None = None,
        background: Tensor | None = None,
        user_mask: Tensor | None = None,
    ) -> None:
        self.options = options or PasteOptions()
        self._input_size = (int(images.shape[-2]), int(images.shape[-1]))
        self._background = _background_of(images, self.options.upscale, background)
        self.images = self._background.clone()
        height, width = self.images.shape[-2:]
        self._scale = (width / self._input_size[1], height / self._input_size[0])
        self._user_mask = _user_mask_of(user_mask, images, (height, width))
        self.mask = torch.zeros(len(images), 1, height, width, device=images.device)
        self._strength = torch.zeros_like(self.mask)

    def add(
        self, faces: Faces, masks: Tensor, progress: Callable[[int, int], None] | None = None
    ) -> None:
        """Paste faces; see `paste`."""
        if len(faces) == 0:
            return
        self._check(faces, masks)
        # A fixed order, so that even exact ties fall the same way for every order given.
        assert faces.matrices is not None
        matrices = faces.matrices.flatten(1).tolist()
        keys = [(source, *m) for source, m in zip(faces.source.tolist(), matrices, strict=True)]
        for done, face in enumerate(sorted(range(len(faces)), key=keys.__getitem__), start=1):
            self._place(faces, face, masks[face : face + 1])
            if progress is not None:
                progress(done, len(faces))

    def _check(self, faces: Faces, masks: Tensor) -> None:
        if faces.restored is None or faces.matrices is None or faces.crops is None:
            raise InputError("Only restored faces can be pasted: align and restore them first.")
        if len(masks) != len(faces) or masks.ndim != 4 or masks.shape[1] != 1:
            raise InputError(
                f"{len(faces)} faces came with masks of shape {tuple(masks.shape)}; "
                f"give one mask per face, ({len(faces)}, 1, size, size)."
            )
        last = int(faces.source.max())
        if last >= len(self.images):
            raise InputError(
                f"A face belongs to image {last}, but the batch has {len(self.images)} image(s); "
                f"give the images in which the faces were detected."
            )

    def _place(self, faces: Faces, face: int, mask: Tensor) -> None:
        """Paste one face."""
        assert faces.restored is not None
        size = int(faces.restored.shape[-1])
        to_output = self._restored_to_output(faces, face)
        box = self._box(to_output, size)
        if box is None:
            log.debug("Face %d lies outside of its picture; nothing is pasted.", face)
            return
        x0, y0, x1, y1 = box
        to_box = shift_matrix(-x0, -y0) @ to_output
        layers = self._layers(faces, face, mask)
        patch = warp(layers, to_box, (y1 - y0, x1 - x0), border="replicate")
        patch = patch.to(self.images.device)
        picture, strength = ((patch[:3] + 1) / 2).clamp_(0, 1), patch[3:].clamp(0, 1)
        nearness = _nearness(to_box, size, patch)
        self._blend(int(faces.source[face]), box, picture, strength, nearness)

    def _blend(
        self, image: int, box: tuple[int, int, int, int], face: Tensor, mask: Tensor, near: Tensor
    ) -> None:
        """Write a patch where its mask is stronger than those of the faces before it."""
        x0, y0, x1, y1 = box
        part = (image, slice(None), slice(y0, y1), slice(x0, x1))
        strength = mask + _CENTER_WEIGHT * near
        wins = (mask > 0) & (strength > self._strength[part])
        self._strength[part] = torch.where(wins, strength, self._strength[part])
        if self._user_mask is not None:
            mask = mask * self._user_mask[image % len(self._user_mask)][:, y0:y1, x0:x1]
        self.mask[part] = torch.where(wins, mask, self.mask[part])
        # Blended with the background and not with what an earlier face left there.
        background = self._background[part]
        blended = torch.lerp(background.float(), face, mask).to(background.dtype)
        blended = torch.where(mask > 0, blended, background)
        self.images[part] = torch.where(wins, blended, self.images[part])

    def _restored_to_output(self, faces: Faces, face: int) -> Tensor:
        """(3, 3) from the restored crop's pixels over the aligned crop and the input's pixels."""
        assert faces.matrices is not None and faces.restored is not None
        assert faces.crop_size is not None
        smaller = faces.crop_size / faces.restored.shape[-1]
        to_input = torch.linalg.inv(square(faces.matrices[face])) @ resize_matrix(smaller, smaller)
        return resize_matrix(*self._scale) @ to_input

    def _box(self, to_output: Tensor, restored_size: int) -> tuple[int, int, int, int] | None:
        """The face's whole-pixel box `x0, y0, x1, y1` in the output, None where it is empty."""
        height, width = self.images.shape[-2:]
        left, top, right, bottom = region_of(to_output, (restored_size, restored_size))
        x0, y0 = max(math.floor(left), 0), max(math.floor(top), 0)
        x1, y1 = min(math.ceil(right) + 1, width), min(math.ceil(bottom) + 1, height)
        return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None

    def _layers(self, faces: Faces, face: int, mask: Tensor) -> Tensor:
        """(4, T, T): the face -1..1 and its mask 0..1, ready to be warped together."""
        assert faces.restored is not None and faces.crops is not None
        restored = faces.restored[face : face + 1].float()
        size = restored.shape[-1]
        mask = mask.to(restored.device, torch.float32)
        if self.options.color_match > 0:
            crops = faces.crops[face : face + 1].to(restored.device)
            restored = match_color(restored, crops, mask, self.options.color_match)
        x0, y0, x1, y1 = faces.boxes[face].tolist()
        if self.options.small_face_filter and min(x1 - x0, y1 - y0) < _SMALL_FACE:
            restored = _binomial(restored)
        if mask.shape[-1] != size:
            shrinks = mask.shape[-1] > size
            mask = functional.interpolate(mask, (size, size), mode="bilinear", antialias=shrinks)
        layers = torch.cat([restored, mask], 1)[0]
        # The warp replicates the edge: only a mask that ends inside its crop ends at all.
        layers[3, (0, -1), :] = 0
        layers[3, :, (0, -1)] = 0
        return layers


def _background_of(images: Tensor, upscale: int, background: Tensor | None) -> Tensor:
    """What the faces are pasted into: (B, 3, H', W') on the images' device."""
    if images.ndim != 4 or images.shape[1] != 3:
        raise InputError(f"Images must be (B, 3, H, W), not {tuple(images.shape)}.")
    if background is None:
        if upscale == 1:
            return images
        enlarged = functional.interpolate(images, scale_factor=upscale, mode="bicubic")
        return enlarged.clamp_(0, 1)
    height, width = images.shape[-2:]
    if background.ndim != 4 or background.shape[1] != 3 or len(background) not in (1, len(images)):
        raise InputError(
            f"The background is {tuple(background.shape)}; give one picture, or one for each of "
            f"the {len(images)} images, as (B, 3, H, W)."
        )
    tall, wide = background.shape[-2:]
    if abs(wide - tall * width / height) > 1 and abs(tall - wide * height / width) > 1:
        raise InputError(
            f"The background is {wide}x{tall} and the image {width}x{height}: their shapes differ; "
            f"give the same picture, enlarged."
        )
    return background.to(images.device, images.dtype).expand(len(images), -1, -1, -1)


def _user_mask_of(mask: Tensor | None, images: Tensor, size: tuple[int, int]) -> Tensor | None:
    """The user's mask at the output's size: (B or 1, 1, H', W')."""
    if mask is None:
        return None
    fits = mask.ndim == 4 and mask.shape[1] == 1 and len(mask) in (1, len(images))
    if not fits or mask.shape[-2:] != images.shape[-2:]:
        height, width = images.shape[-2:]
        raise InputError(
            f"The mask is {tuple(mask.shape)}; give one mask, or one per image, of the image's "
            f"size: ({len(images)} or 1, 1, {height}, {width})."
        )
    mask = mask.to(images.device, torch.float32).clamp(0, 1)
    if size == tuple(mask.shape[-2:]):
        return mask
    return functional.interpolate(mask, size, mode="bilinear", antialias=size < mask.shape[-2:])


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
