"""One frame of a film under work: its samples, and its faces cut out of them and pasted back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..faces.align import estimate_similarity
from ..faces.extent import Box, touched
from ..faces.found import Faces
from ..faces.paste import Surface
from ..faces.steady import Moment
from ..faces.templates import template as template_points
from ..faces.warp import region_of, shift_matrix, square
from ..run import Run
from .planes import Planes

# Pixels around a face's crop that are read too, for its interpolation.
_MARGIN = 8
# Pasting takes some twenty floats a pixel, so large faces are pasted in bands of so many pixels, as
# high as whole samples of chroma.
_BAND_PIXELS, _ALIGNED = 1 << 18, 4


@dataclass(frozen=True)
class Shot:
    """A frame, and of its picture no more than what its faces need.

    Attributes:
        index: of the frame in its film.
        planes: its samples.
        box: the part of the picture that its faces are cut out of, and where their coordinates
            begin; None without a face.
        moment: its faces, with their masks once they are restored.

    Example:
        >>> import av
        >>> frame = av.VideoFrame(64, 48, "yuv420p")
        >>> Shot(0, Planes(frame), None, Moment(Faces.empty([(48, 64)]))).faces.image_sizes
        ((48, 64),)
    """

    index: int
    planes: Planes
    box: Box | None
    moment: Moment

    @property
    def faces(self) -> Faces:
        """Its faces."""
        return self.moment.faces

    @classmethod
    def cut_out(cls, index: int, planes: Planes, faces: Faces, run: Run) -> Shot:
        """A frame with its faces aligned.

        Args:
            index: of the frame.
            planes: its samples.
            faces: found in it.
            run: whose model and template the crops are for.

        Example:
            >>> import av
            >>> from gpen_core.run import Tools
            >>> planes = Planes(av.VideoFrame(64, 48, "yuv420p"))
            >>> Shot.cut_out(0, planes, Faces.empty([(48, 64)]), Run(Tools())).box is None
            True
        """
        if not len(faces):
            return cls(index, planes, None, Moment(faces))
        box = _region(faces, planes.size, run)
        faces = run.align(planes.rgb(box), moved(faces, box))
        return cls(index, planes, box, Moment(faces))

    def paste(self, run: Run) -> None:
        """Put the restored faces into the samples, where their masks reach."""
        faces, masks = self.moment.faces, self.moment.masks
        if masks is None or self.box is None:
            return
        part = _aligned(touched(faces, masks), self.box)
        if part is None:
            return
        if run.options.paste.measures_around:
            height, width = faces.image_sizes[0]
            part = (0, 0, width, height)
        bands = _bands(part, whole=run.options.paste.measures_around)
        places = [within(self.box, band) for band in bands]
        for band, place, before in zip(bands, places, self._unchanged(places), strict=True):
            canvas = run.canvas(Surface(before))
            canvas.add(moved(faces, band), masks)
            self.planes.add(before, canvas.images, canvas.mask, place)

    def _unchanged(self, places: list[Box]) -> Iterator[Tensor]:
        """The picture at each place, read before the one above it is changed.

        At its edge a place sees the chroma of its neighbors.
        """
        pictures = map(self.planes.rgb, places)
        picture = next(pictures)
        for following in pictures:
            yield picture
            picture = following
        yield picture

    def with_(self, moment: Moment) -> Shot:
        """The same frame with other faces."""
        return replace(self, moment=moment)


def moved(faces: Faces, box: Box) -> Faces:
    """Faces of a picture as those of a part of it.

    Example:
        >>> moved(Faces.empty([(48, 64)]), (8, 8, 40, 24)).image_sizes
        ((16, 32),)
    """
    x0, y0, x1, y1 = box
    offset = torch.tensor([x0, y0], dtype=torch.float32)
    matrices = faces.matrices
    if matrices is not None:
        there = square(matrices) @ shift_matrix(x0, y0)
        matrices = there[:, :2].to(matrices)
    return faces.with_(
        boxes=faces.boxes - offset.repeat(2),
        landmarks=faces.landmarks - offset,
        matrices=matrices,
        image_sizes=((y1 - y0, x1 - x0),),
    )


def within(box: Box, part: Box) -> Box:
    """A part of a box, where it is in the picture.

    Example:
        >>> within((8, 6, 40, 30), (2, 1, 20, 10))
        (10, 7, 28, 16)
    """
    x, y = box[:2]
    return (part[0] + x, part[1] + y, part[2] + x, part[3] + y)


def _aligned(part: Box | None, box: Box) -> Box | None:
    """A part of a box that begins with a whole sample of chroma of the picture, if it can."""
    if part is None:
        return None
    x0, y0, x1, y1 = part
    return (x0, max(y0 - (box[1] + y0) % _ALIGNED, 0), x1, y1)


def _bands(part: Box, *, whole: bool) -> list[Box]:
    """A part of a picture in bands of full width, each of which can be pasted for itself."""
    x0, y0, x1, y1 = part
    rows = y1 - y0 if whole else max(_BAND_PIXELS // (x1 - x0) // _ALIGNED, 1) * _ALIGNED
    return [(x0, y, x1, min(y + rows, y1)) for y in range(y0, y1, rows)]


def _region(faces: Faces, size: tuple[int, int], run: Run) -> Box:
    """What the crops of some faces cover of a picture, with a margin."""
    side = run.model.input_size
    matrices = estimate_similarity(faces.landmarks, template_points(run.template, side))
    regions = [region_of(torch.linalg.inv(square(one)), (side, side)) for one in matrices]
    height, width = size
    x0 = max(int(min(one[0] for one in regions)) - _MARGIN, 0)
    y0 = max(int(min(one[1] for one in regions)) - _MARGIN, 0)
    x1 = min(int(max(one[2] for one in regions)) + _MARGIN + 1, width)
    y1 = min(int(max(one[3] for one in regions)) + _MARGIN + 1, height)
    if x1 <= x0 or y1 <= y0:  # outside of the picture
        return (0, 0, width, height)
    return (x0, y0, x1, y1)
