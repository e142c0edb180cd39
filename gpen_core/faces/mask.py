"""How much of each crop's pixel is pasted back: a soft shape that is zero at the crop's border."""

from __future__ import annotations

import functools
import math

import torch
from kornia.filters import gaussian_blur2d
from torch import Tensor
from torch.nn import functional

from ..errors import InputError
from ..hooks import Hooks
from ..images.layouts import fit_mask
from ..memory.allowance import Allowance, movable, moved
from ..options import MaskOptions, class_indices
from .found import Faces
from .mesh import distances
from .parse import Parser
from .templates import template as template_points

# The official pipeline: 26 px of a 512-px crop zeroed (the default of `border`), then two Gaussian
# blurs of sigma 4. Their sum has sigma 4 * sqrt(2), and the edge is soft over about four of them.
REFERENCE_SIZE = 512
OFFICIAL_FEATHER = 4 * 4 * math.sqrt(2)
_BLURS = 2

# Masks are smooth: above this size they are made small and enlarged.
_WORKING_SIZE = 512
_HULL_SIZE = 128
_HULL_DIRECTIONS = 64

# Parts of a face smaller than the blur: grown before it, or it would close over them.
_SMALL_PARTS = class_indices(("eyes", "brows", "mouth", "nose", "glasses", "earring"))


def crop_masks(
    faces: Faces,
    options: MaskOptions | None = None,
    parser: Parser | None = None,
    hooks: Hooks | None = None,
) -> Tensor:
    """The mask of every face, in the pixels of its restored crop.

    Args:
        faces: restored ones; where `restored` is None, the masks are of the aligned crops' size.
        options: see `MaskOptions`.
        parser: for "parsing": labels the restored faces.
        hooks: told of fall-backs.

    Returns:
        (N, 1, T, T) float32, 0..1, exactly 0 along the border, times the faces' `alpha` where they
        have one, and without what is `covered`. Rectangles and ellipses are one mask seen N times
        (`expand`): do not write to it.

    Raises:
        InputError: faces that are not aligned, "parsing" without a parser, or outlines that are
            asked for and that the faces do not have.

    Example:
        >>> from gpen_core.faces.aligned import as_faces
        >>> faces = as_faces(torch.rand(2, 3, 64, 64), "gpen")
        >>> masks = crop_masks(faces, MaskOptions(mask="ellipse"))
        >>> masks.shape, float(masks[0, 0, 0].max()), round(float(masks.max()), 2)
        (torch.Size([2, 1, 64, 64]), 0.0, 1.0)
    """
    options = options or MaskOptions()
    pictures = faces.crops if faces.restored is None else faces.restored
    if pictures is None:
        raise InputError("Masks need face crops; align the faces first.")
    size, device = int(pictures.shape[-1]), pictures.device
    if len(faces) == 0:
        return torch.zeros(0, 1, size, size, device=device)
    hooks = hooks or Hooks()
    labels = _labels(pictures, parser, hooks) if options.mask == "parsing" else None

    def draw(_: int, device: torch.device) -> Tensor:
        work = min(size, _WORKING_SIZE)
        masks = _shape(faces, labels, work, options)
        if options.parts:
            masks = masks * _chosen_parts(faces, work, options).to(masks.device)
        masks = masks.to(device)
        if size != work:
            masks = functional.interpolate(masks, (size, size), mode="bilinear")
        masks = masks.expand(len(pictures), 1, size, size)
        for part in (faces.alpha, None if faces.covered is None else 1 - faces.covered):
            if part is not None:
                share = part.to(device, torch.float32).clamp(0, 1)
                masks = masks * fit_mask(share, (size, size))
        return masks

    return Allowance("making masks", hooks.event, device=device)(draw)


def _labels(pictures: Tensor, parser: Parser | None, hooks: Hooks) -> Tensor:
    """(N, P, P) what the parser sees in faces (N, 3, T, T) -1..1."""
    if parser is None:
        raise InputError("The parsing mask needs a face parser; load one with `load_parser`.")
    parser_on = functools.cache(functools.partial(moved, parser))
    at_once = getattr(parser, "batch", len(pictures))
    allowance = Allowance("parsing faces", hooks.event, at_once=at_once, device=movable(parser))
    parts = allowance.over(len(pictures), lambda few, device: parser_on(device)(pictures[few]))
    return torch.cat([labels for _, labels in parts])


def _shape(faces: Faces, labels: Tensor | None, size: int, options: MaskOptions) -> Tensor:
    """(N or 1, 1, size, size) soft masks."""
    if labels is not None:
        return _soften(_parsed(labels, size, options), options)
    if options.mask == "ellipse":
        return _whole_ellipse(faces.template or "gpen", size, options)
    rectangle = _rectangle(size, options)
    if options.mask == "hull":
        return rectangle * _ramp(_hull(faces, size), options)
    if options.mask == "face":
        return rectangle * _outlined(faces, "face", size, options)
    return rectangle


# These two are the same for every face and every frame. Kept across inference mode and the rest.


@functools.lru_cache(maxsize=2)
@torch.inference_mode(mode=False)
def _rectangle(size: int, options: MaskOptions) -> Tensor:
    """(1, 1, size, size); do not write to it."""
    return _soften(torch.ones(1, 1, size, size), options)


@functools.lru_cache(maxsize=2)
@torch.inference_mode(mode=False)
def _whole_ellipse(template: str, size: int, options: MaskOptions) -> Tensor:
    """(1, 1, size, size); do not write to it."""
    return _rectangle(size, options) * _ramp(_ellipse(template, size), options)


def _chosen_parts(faces: Faces, size: int, options: MaskOptions) -> Tensor:
    """(N, 1, size, size) 0..1: the parts that alone are pasted, without those left out."""
    shape = torch.zeros(1) if options.included else torch.ones(1)
    for part in options.included:
        shape = torch.maximum(shape, _outlined(faces, part, size, options))
    for part in options.left_out:
        shape = shape * (1 - _outlined(faces, part, size, options))
    return shape


def _outlined(faces: Faces, part: str, size: int, options: MaskOptions) -> Tensor:
    """(N, 1, size, size) 0..1: a part of each face, grown and with a soft edge."""
    if faces.outlines is None:
        raise InputError("The face mask and parts need the faces' outlines; find them first.")
    work = min(size, _HULL_SIZE)
    inside = distances(faces.outlines, part, work) + options.grow * work / REFERENCE_SIZE
    if work != size:
        inside = functional.interpolate(inside, (size, size), mode="bilinear") * (size / work)
    return _ramp(inside, options)


def _ramp(distance: Tensor, options: MaskOptions) -> Tensor:
    """0..1 from the distance inside an edge, in pixels: smoothstep, as wide as the feather."""
    feather = OFFICIAL_FEATHER if options.feather is None else options.feather
    width = max(feather * distance.shape[-1] / REFERENCE_SIZE, 1.0)
    t = (distance / width + 0.5).clamp_(0, 1)
    return t * t * (3 - 2 * t)


def _soften(shape: Tensor, options: MaskOptions) -> Tensor:
    """Zero the border of (N, 1, S, S) and blur it twice, as far as the border is wide."""
    size = shape.shape[-1]
    sigma, radius = _blur_of(size, options)
    # The kernels end at 3 sigma: a border wider than both leaves the crop's edge exactly zero.
    border = max(round(options.border * size / REFERENCE_SIZE), _BLURS * radius + 1)
    border = min(border, (size - 1) // 2)
    inside = torch.zeros_like(shape)
    middle = slice(border, size - border)
    inside[..., middle, middle] = shape[..., middle, middle]
    for _ in range(_BLURS if radius else 0):
        inside = gaussian_blur2d(inside, 2 * radius + 1, (sigma, sigma), "constant")
    edge = torch.zeros_like(inside)
    edge[..., 1:-1, 1:-1] = inside[..., 1:-1, 1:-1].clamp(0, 1)
    return edge


def _blur_of(size: int, options: MaskOptions) -> tuple[float, int]:
    """Sigma and radius in pixels of one of the two blurs of a `size` crop."""
    feather = OFFICIAL_FEATHER if options.feather is None else options.feather
    sigma = feather * size / REFERENCE_SIZE / (4 * math.sqrt(_BLURS))
    return sigma, math.ceil(3 * sigma) if sigma > 0.1 else 0


def _parsed(labels: Tensor, size: int, options: MaskOptions) -> Tensor:
    """(N, P, P) labels to (N, 1, size, size) 0..1, 1 where the face is kept."""
    excluded = class_indices(options.exclude)
    left_out = _is_any(labels, [c for c in excluded if c not in _SMALL_PARTS])
    parts = _is_any(labels, [c for c in excluded if c in _SMALL_PARTS])
    _, grow = _blur_of(labels.shape[-1], options)
    if grow:
        parts = functional.max_pool2d(parts, 2 * grow + 1, stride=1, padding=grow)
    kept = 1 - torch.maximum(left_out, parts)
    if labels.shape[-1] == size:
        return kept
    return functional.interpolate(kept, (size, size), mode="bilinear", antialias=True)


def _is_any(labels: Tensor, classes: list[int]) -> Tensor:
    wanted = torch.tensor(classes, dtype=labels.dtype, device=labels.device)
    return torch.isin(labels, wanted)[:, None].float()


def _ellipse(template: str, size: int) -> Tensor:
    """(1, 1, size, size) pixels inside an ellipse from hairline to chin of the template's face."""
    points = template_points(template, size)
    eyes, mouth = points[:2].mean(0), points[3:].mean(0)
    between_eyes = float(points[1, 0] - points[0, 0])
    eyes_to_mouth = float(mouth[1] - eyes[1])
    top, bottom = eyes[1] - 1.1 * eyes_to_mouth, mouth[1] + 0.75 * eyes_to_mouth
    center = torch.stack([(eyes[0] + mouth[0]) / 2, (top + bottom) / 2])
    radii = torch.tensor([1.35 * between_eyes, float(bottom - top) / 2])
    x, y = ((_grid(size) - center) / radii).unbind(-1)
    distance = (1 - torch.hypot(x, y)) * float(radii.min())
    return distance[None, None].float()


def _hull(faces: Faces, size: int) -> Tensor:
    """(N, 1, size, size) pixels inside the landmarks' convex hull, grown to the face's outline.

    Two points of the forehead are added, 0.4 of the way from mouth to eyes above the eyes, and all
    is grown by 0.7 of that way.

    The distance to a convex set is its largest distance over all directions: with h(d) the
    furthest of the points along d, `max over d of x . d - h(d)`. No hull has to be built.
    """
    if faces.matrices is None or faces.crop_size is None:
        raise InputError("A hull mask needs face crops; align the faces first.")
    work = min(size, _HULL_SIZE)
    matrices = faces.matrices.detach().to("cpu", torch.float64)
    landmarks = faces.landmarks.detach().to("cpu", torch.float64)
    points = landmarks @ matrices[:, :, :2].mT + matrices[:, None, :, 2]
    points = ((points + 0.5) * (work / faces.crop_size) - 0.5).float()
    upwards = points[:, :2].mean(1, keepdim=True) - points[:, 3:].mean(1, keepdim=True)
    points = torch.cat([points, points[:, :2] + 0.4 * upwards], 1)
    angles = torch.arange(_HULL_DIRECTIONS) * (2 * math.pi / _HULL_DIRECTIONS)
    directions = torch.stack([angles.cos(), angles.sin()], -1)
    furthest = (points @ directions.T).amax(1)
    along = directions @ _grid(work).float().flatten(0, 1).T
    outside = torch.full((len(points), work * work), -math.inf)
    for step in range(_HULL_DIRECTIONS):
        torch.maximum(outside, along[step] - furthest[:, step, None], out=outside)
    grown = 0.7 * upwards.norm(dim=-1)
    inside = (grown - outside).view(-1, 1, work, work)
    if work == size:
        return inside
    return functional.interpolate(inside, (size, size), mode="bilinear") * (size / work)


def _grid(size: int) -> Tensor:
    """(size, size, 2) float64: x and y of every pixel."""
    along = torch.arange(size, dtype=torch.float64)
    y, x = torch.meshgrid(along, along, indexing="ij")
    return torch.stack([x, y], -1)
