"""A frame of a film as numbers: its planes of luma and chroma, or of R, G and B, from and to RGB.

The planes of a frame stay what they are. Pixels are read as RGB for the network, and of what comes
back only the *difference* is added to the planes: since Y'CbCr is a linear function of R'G'B', a
pixel that nothing changed keeps its value to the bit, whatever the format, the matrix, the range or
the transfer function (PQ and HLG are neither undone nor redone).

    Y = kr R + kg G + kb B,  Cb = (B - Y) / (2 (1 - kb)),  Cr = (R - Y) / (2 (1 - kr))

with the constants of ITU-T H.273, and the code values of limited range 219 (luma) and 224 (chroma)
steps wide.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import av
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError

Box = tuple[int, int, int, int]

# H.273's matrix coefficients, by their numbers: kr, kb.
_REC_601, _REC_709 = (0.299, 0.114), (0.2126, 0.0722)
_WEIGHTS = {1: _REC_709, 4: (0.30, 0.11), 5: _REC_601, 6: _REC_601, 7: (0.212, 0.087)}
_WEIGHTS |= {9: (0.2627, 0.0593), 10: (0.2627, 0.0593)}
_RGB, _UNSPECIFIED = 0, 2
# What players take for granted of films that do not say: high definition is BT.709.
_HIGH_DEFINITION = 720
_FULL_RANGE = 2
# Larger pictures are read in strips, so that little more than the picture itself is held.
_STRIP_PIXELS = 1 << 20
_REFUSED = (
    "Frames in the pixel format {} cannot be worked on; convert the film to another one first, "
    "such as yuv420p."
)


@dataclass(frozen=True)
class PlanarFormat:
    """How the samples of a frame lie in memory: each component in a plane of its own.

    Attributes:
        name: FFmpeg's.
        bits: of a sample.
        rgb: R, G and B; else luma and, unless `gray`, chroma.
        gray: luma alone.
        planes: which plane holds R, G, B, or Y, Cb, Cr.
        shifts: how many times the chroma is halved across and down.

    Example:
        >>> ten = PlanarFormat.of("yuv420p10le")
        >>> ten.bits, ten.planes, ten.shifts
        (10, (0, 1, 2), (1, 1))
        >>> PlanarFormat.of("nv12").name, PlanarFormat.of("bgr24").name
        ('yuv420p', 'gbrp')
    """

    name: str
    bits: int
    rgb: bool
    gray: bool
    planes: tuple[int, ...]
    shifts: tuple[int, int]

    @classmethod
    def of(cls, name: str) -> PlanarFormat:
        """The format of this name, or the planar one that holds the same samples.

        Raises:
            InputError: a format without such a one.
        """
        # Large and even, so that the chroma's share of it can be read off.
        known = av.VideoFormat(name, 64, 64)
        if known.is_bayer or name.startswith("xyz"):
            raise InputError(_REFUSED.format(name))
        if not _is_planar(known):
            known = av.VideoFormat(_planar_name(known), 64, 64)
        colors = [one for one in known.components if not one.is_alpha]
        shifts = (known.chroma_width(64), known.chroma_height(64)) if len(colors) > 1 else (64, 64)
        return cls(
            known.name,
            colors[0].bits,
            known.is_rgb,
            len(colors) == 1,
            tuple(one.plane for one in colors),
            ((64 // shifts[0]).bit_length() - 1, (64 // shifts[1]).bit_length() - 1),
        )

    @property
    def dtype(self) -> np.dtype:
        """Of a sample: 8 bits, or 16 little-endian with the value in the low ones."""
        return np.dtype("u1") if self.bits == 8 else np.dtype("<u2")


def _is_planar(known: av.VideoFormat) -> bool:
    parts = known.components
    apart = len({one.plane for one in parts}) == len(parts) and not known.has_palette
    integers = all(8 <= one.bits <= 16 for one in parts)
    return apart and integers and (parts[0].bits == 8 or not known.is_big_endian)


def _planar_name(known: av.VideoFormat) -> str:
    parts = known.components
    bits = max(max(one.bits for one in parts), 8)
    end = "" if bits == 8 else f"{bits}le"
    alpha = any(one.is_alpha for one in parts)
    if known.is_rgb or known.has_palette:
        name = f"gbr{'a' if alpha else ''}p{end}"
    elif len(parts) - alpha == 1:
        name = f"gbrap{end}" if alpha else f"gray{end}"
    else:
        across, down = 64 // known.chroma_width(64), 64 // known.chroma_height(64)
        kind = {(1, 1): "444", (2, 1): "422", (2, 2): "420", (4, 1): "411", (1, 2): "440"}
        name = f"yuv{'a' if alpha else ''}{kind.get((across, down), '?')}p{end}"
    try:
        return str(av.VideoFormat(name).name)
    except ValueError as error:
        raise InputError(_REFUSED.format(known.name)) from error


class Planes:
    """One frame of a film: its samples, read as RGB and changed where the picture was.

    Args:
        frame: as the decoder gives it; it is left as it is.

    Attributes:
        frame: in the planar format, the one to encode.

    Raises:
        InputError: a pixel format or a color matrix that cannot be worked on.

    Example:
        >>> frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 200, np.uint8), "rgb24")
        >>> planes = Planes(frame.reformat(format="yuv420p"))
        >>> before = planes.rgb()
        >>> before.shape, round(float(before.mean()) * 255)
        (torch.Size([1, 3, 48, 64]), 200)
        >>> planes.add(before, before * 0.5, torch.ones(1, 1, 48, 64))
        >>> round(float(planes.rgb().mean()) * 255)
        100
    """

    def __init__(self, frame: av.VideoFrame) -> None:
        self.format = PlanarFormat.of(frame.format.name)
        if frame.format.name == self.format.name:
            self.frame, self._shared = frame, True
        else:  # the same samples in another order
            self.frame, self._shared = converted(frame, self.format.name), False
        self._turns = round(frame.rotation / 90) % 4
        self._weights = (
            (0.0, 0.0)
            if self.format.rgb or self.format.gray
            else _weights(int(frame.colorspace), frame.height)
        )

    @property
    def size(self) -> tuple[int, int]:
        """(height, width), upright."""
        height, width = self.frame.height, self.frame.width
        return (width, height) if self._turns % 2 else (height, width)

    def rgb(self, box: Box | None = None) -> Tensor:
        """(1, 3, H, W) 0..1, upright, or a part of it; chroma is enlarged bilinearly.

        Args:
            box: `x0, y0, x1, y1` in whole pixels of the upright picture, ends excluded.
        """
        x0, y0, x1, y1 = stored = self._as_stored(box)
        rows = max(_STRIP_PIXELS // (x1 - x0), 1)
        if y1 - y0 <= rows:
            picture = self._strip(stored)
        else:
            picture = torch.empty(3, y1 - y0, x1 - x0)
            for top in range(y0, y1, rows):
                bottom = min(top + rows, y1)
                picture[:, top - y0 : bottom - y0] = self._strip((x0, top, x1, bottom))
        return _turned(picture[None], self._turns)

    def _strip(self, box: Box) -> Tensor:
        """(3, h, w) 0..1 of a box of the samples."""
        x0, y0, x1, y1 = box
        part = (slice(y0, y1), slice(x0, x1))
        if self.format.rgb or self.format.gray:
            samples = torch.stack([_floats(self._plane(one)[part]) for one in self.format.planes])
            picture = samples.sub_(self._black).div_(self._luma_steps).clamp_(0, 1)
            return picture.expand(3, -1, -1)
        luma = _floats(self._plane(self.format.planes[0])[part])
        return self._to_rgb(luma, self._chroma(box))

    def add(self, before: Tensor, after: Tensor, mask: Tensor, box: Box | None = None) -> None:
        """Change the samples by what a picture changed, where a mask is not 0.

        Args:
            before: (1, 3, H, W) 0..1, from `rgb`.
            after: the same size.
            mask: (1, 1, H, W), 0 where nothing may change.
            box: as `rgb` was given.
        """
        before, after, mask = (_turned(one, -self._turns)[0] for one in (before, after, mask))
        rows, columns = (mask[0].amax(dim) > 0 for dim in (1, 0))
        if not bool(rows.any()):
            return
        left, top, _, _ = self._as_stored(box)
        across, down = self.format.shifts
        # Whole samples of chroma of the frame; what lies outside of the box does not change.
        first, last = _span(rows, top, 1 << down, self.frame.height)
        start, stop = _span(columns, left, 1 << across, self.frame.width)
        part = (slice(None), slice(max(first, 0), last), slice(max(start, 0), stop))
        change = torch.sub(after[part].float(), before[part].float()).mul_(mask[part] > 0)
        sides = (max(-start, 0), max(stop - len(columns), 0))
        around = (*sides, max(-first, 0), max(last - len(rows), 0))
        self._own()
        self._add((top + first, left + start), F.pad(change, around) if any(around) else change)

    def _add(self, place: tuple[int, int], change: Tensor) -> None:
        """`change` (3, h, w) of RGB to the samples from this row and column on."""
        if self.format.rgb:
            for plane, one in zip(self.format.planes, change, strict=True):
                self._change(plane, place, one * self._luma_steps)
            return
        if self.format.gray:
            self._change(self.format.planes[0], place, change.mean(0) * self._luma_steps)
            return
        luma, *chroma = self._from_rgb(change)
        self._change(self.format.planes[0], place, luma)
        across, down = self.format.shifts
        reduced = _reduced(torch.stack(chroma), self.format.shifts)
        for plane, one in zip(self.format.planes[1:], reduced, strict=True):
            self._change(plane, (place[0] >> down, place[1] >> across), one)

    def _as_stored(self, box: Box | None) -> Box:
        """A box of the upright picture as one of the samples."""
        if box is None:
            return (0, 0, self.frame.width, self.frame.height)
        height, width = self.size
        for _ in range(self._turns):  # a quarter turn back, clockwise
            x0, y0, x1, y1 = box
            box = (height - y1, x0, height - y0, x1)
            height, width = width, height
        return box

    def _chroma(self, box: Box) -> Tensor:
        """(2, h, w) Cb and Cr less their middle, in steps, of the pixels in a box."""
        x0, y0, x1, y1 = box
        across, down = self.format.shifts
        # One sample more on every side, for the interpolation.
        top, left = max((y0 >> down) - 1, 0), max((x0 >> across) - 1, 0)
        bottom, right = (y1 >> down) + 2, (x1 >> across) + 2
        chroma = torch.stack(
            [_floats(self._plane(one)[top:bottom, left:right]) for one in self.format.planes[1:]]
        ).sub_(self._middle)
        if across or down:
            size = (chroma.shape[1] << down, chroma.shape[2] << across)
            chroma = F.interpolate(chroma[None], size, mode="bilinear", align_corners=False)[0]
        first, start = y0 - (top << down), x0 - (left << across)
        return chroma[:, first : first + y1 - y0, start : start + x1 - x0]

    # Y'CbCr

    def _to_rgb(self, luma: Tensor, chroma: Tensor) -> Tensor:
        """(3, h, w) 0..1 from samples (h, w) and (2, h, w) less those of gray; overwrites them."""
        luma = luma.sub_(self._black).div_(self._luma_steps)
        rgb = luma.new_empty(3, *luma.shape)
        for channel, (blue, red) in zip(rgb, self._chroma_to_rgb, strict=True):
            torch.add(luma, chroma[0], alpha=blue, out=channel)
            channel.add_(chroma[1], alpha=red)
        return rgb.clamp_(0, 1)

    @property
    def _chroma_to_rgb(self) -> list[list[float]]:
        """What a step of Cb and of Cr changes R, G and B by."""
        return torch.linalg.inv(self._matrix)[:, 1:].tolist()

    def _from_rgb(self, change: Tensor) -> Tensor:
        """(3, h, w) of luma, Cb and Cr, in steps, from a difference (3, h, w) of RGB."""
        return (self._matrix.float() @ change.flatten(1)).view_as(change)

    @cached_property
    def _matrix(self) -> Tensor:
        """(3, 3) float64: steps of luma, Cb and Cr made of a change of R, G and B from 0 to 1."""
        kr, kb = self._weights
        luma = torch.tensor([kr, 1 - kr - kb, kb], dtype=torch.float64)
        red, _, blue = torch.eye(3, dtype=torch.float64)
        chroma = [(blue - luma) / (2 * (1 - kb)), (red - luma) / (2 * (1 - kr))]
        steps = [self._luma_steps, self._chroma_steps, self._chroma_steps]
        return torch.stack([luma, *chroma]) * torch.tensor(steps)[:, None]

    @cached_property
    def _full(self) -> bool:
        """Code values from 0 to the largest; RGB and gray ones always are."""
        said = int(self.frame.color_range) == _FULL_RANGE
        return said or self.format.rgb or self.format.gray or self.format.name.startswith("yuvj")

    @property
    def _black(self) -> int:
        return 0 if self._full else 16 << (self.format.bits - 8)

    @property
    def _middle(self) -> int:
        return 1 << (self.format.bits - 1)

    @property
    def _luma_steps(self) -> int:
        return (1 << self.format.bits) - 1 if self._full else 219 << (self.format.bits - 8)

    @property
    def _chroma_steps(self) -> int:
        return (1 << self.format.bits) - 1 if self._full else 224 << (self.format.bits - 8)

    # Memory

    def _own(self) -> None:
        """Before the first change: the decoder may still need the frame as it was."""
        if self._shared:
            self.frame.make_writable()
            self._shared = False

    def _plane(self, index: int) -> np.ndarray:
        plane = self.frame.planes[index]
        rows = np.frombuffer(plane, self.format.dtype)  # type: ignore[call-overload]
        step = plane.line_size // self.format.dtype.itemsize
        return np.lib.stride_tricks.as_strided(
            rows, (plane.height, plane.width), (step * rows.itemsize, rows.itemsize)
        )

    def _change(self, plane: int, place: tuple[int, int], change: Tensor) -> None:
        top, left = place
        samples = self._plane(plane)[top : top + change.shape[0], left : left + change.shape[1]]
        height, width = samples.shape
        new = change[:height, :width].cpu().numpy()
        np.add(samples, new, out=new)
        np.rint(new, out=new)
        samples[...] = np.clip(new, 0, (1 << self.format.bits) - 1, out=new)


def _weights(matrix: int, height: int) -> tuple[float, float]:
    if matrix == _UNSPECIFIED:
        return _REC_709 if height >= _HIGH_DEFINITION else _REC_601
    if matrix not in _WEIGHTS:
        name = {_RGB: "RGB", 8: "YCgCo", 14: "ICtCp"}.get(matrix, str(matrix))
        raise InputError(
            f"Frames with the color matrix {name} cannot be worked on; "
            "convert the film to BT.709 or BT.2020 first."
        )
    return _WEIGHTS[matrix]


def converted(frame: av.VideoFrame, pixel_format: str) -> av.VideoFrame:
    """The frame in another pixel format, with its time.

    In one thread: with several, FFmpeg's conversion between some formats differs from run to run.

    Example:
        >>> converted(av.VideoFrame(64, 48, "yuv420p"), "gray").format.name
        'gray'
    """
    made = frame.reformat(format=pixel_format, threads=1)
    made.pts = frame.pts
    if frame.time_base is not None:
        made.time_base = frame.time_base
    return made


def _turned(picture: Tensor, quarters: int) -> Tensor:
    """(1, C, H, W) counterclockwise; the same tensor where there is nothing to turn."""
    return torch.rot90(picture, quarters, (2, 3)) if quarters else picture


def _floats(samples: np.ndarray) -> Tensor:
    return torch.from_numpy(samples.astype(np.float32))


def _span(marked: Tensor, offset: int, step: int, length: int) -> tuple[int, int]:
    """First and last + 1 of what is marked, in whole steps from `-offset` on, within the frame.

    Args:
        marked: (L,) bool.
        offset: of the first mark in the frame.
        step: pixels of a sample.
        length: of the frame.
    """
    places = torch.nonzero(marked)
    first = (offset + int(places[0])) // step * step - offset
    last = -(-(offset + int(places[-1]) + 1) // step) * step - offset
    return first, min(last, length - offset)


def _reduced(chroma: Tensor, shifts: tuple[int, int]) -> Tensor:
    """Means over the pixels of a chroma sample; the last ones of odd sizes have fewer."""
    across, down = shifts
    if not across and not down:
        return chroma
    return F.avg_pool2d(chroma[None], (1 << down, 1 << across), ceil_mode=True)[0]
