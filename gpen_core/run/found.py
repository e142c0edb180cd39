"""What a run finds and makes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

from ..faces.found import Faces
from ..report import NOT_SELECTED, Face, Report


@dataclass(frozen=True)
class Found:
    """The faces of some images, in order, and which of them are to be restored.

    Attributes:
        everyone: sorted; a face's place among those of its image is its index.
        chosen: indices into `everyone`.
        left: why those are left that would be chosen otherwise, by their indices.
        scales: of everyone, see `faces.sharp.pixel_scales`; None without a model.

    Example:
        >>> len(Found(Faces.empty([(48, 64)]), []).faces)
        0
    """

    everyone: Faces
    chosen: list[int]
    left: Mapping[int, str] = field(default_factory=dict)
    scales: Tensor | None = None

    @cached_property
    def faces(self) -> Faces:
        """The chosen ones."""
        return self.everyone.take(self.chosen)

    @property
    def indices(self) -> tuple[int, ...]:
        """The number of each chosen face among those of its image."""
        sources = self.everyone.source.tolist()
        return tuple(sources[:face].count(sources[face]) for face in self.chosen)

    def lines(self, first: int = 0) -> list[Face]:
        """The report's lines: every face found, and why some are not restored.

        Args:
            first: index of the first of these images in the whole batch.
        """
        reasons = {**dict.fromkeys(self.chosen), **self.left}
        likeness, quality = self.everyone.person, self.everyone.quality
        count = dict[int, int]()
        lines = []
        for i, image in enumerate(self.everyone.source.tolist()):
            count[image] = count.get(image, -1) + 1
            lines.append(
                Face(
                    image=image + first,
                    index=count[image],
                    box=_rounded(self.everyone.boxes[i].tolist()),
                    score=round(float(self.everyone.scores[i]), 4),
                    landmarks=[_rounded(point) for point in self.everyone.landmarks[i].tolist()],
                    restored=i in reasons and reasons[i] is None,
                    reason=reasons.get(i, NOT_SELECTED),
                    scale=None if self.scales is None else round(float(self.scales[i]), 3),
                    person=None if likeness is None else round(float(likeness[i]), 3),
                    quality=None if quality is None else round(float(quality[i]), 3),
                )
            )
        return lines + [
            Face(
                image=one.source + first,
                index=None,
                box=_rounded(one.box),
                score=round(one.score, 4),
                landmarks=[_rounded(point) for point in one.landmarks],
                restored=False,
                reason=one.reason,
            )
            for one in self.everyone.rejected
        ]


@dataclass(frozen=True)
class Restored:
    """What became of one group of images.

    Attributes:
        images: (B, 3, H', W') 0..1.
        mask: (B, 1, H', W') 0..1, how much of each pixel was replaced.
        faces: those restored; with `Options.keep_crops` their crops too.
        report: what was found, how long it took, what fell back.
        indices: the numbers of `faces` in the report, each in its own image.

    Example:
        >>> import torch
        >>> from gpen_core.models.load import load_model
        >>> from gpen_core.faces.paste import Surface
        >>> from gpen_core.run import Run, Tools
        >>> result = Run(Tools(load_model())).restored(Surface(torch.zeros(1, 3, 48, 64)))
        >>> result.images.shape, result.mask.shape, result.report.found
        (torch.Size([1, 3, 48, 64]), torch.Size([1, 1, 48, 64]), 0)
    """

    images: Tensor
    mask: Tensor
    faces: Faces
    report: Report
    indices: tuple[int, ...] = ()


def changed(faces: Faces) -> Faces:
    """Those of the restored faces that are not left as they were.

    Example:
        >>> len(changed(Faces.empty([(48, 64)])))
        0
    """
    return faces.take(places_changed(faces))


def places_changed(faces: Faces) -> list[int]:
    """Indices of the same.

    Example:
        >>> import torch
        >>> faces = Faces.empty([(48, 64)]).with_(strengths=torch.tensor([0.0, 0.5]))
        >>> places_changed(faces)
        [1]
    """
    if faces.strengths is None:
        return list(range(len(faces)))
    return faces.strengths.nonzero().flatten().tolist()


def _rounded(values: Iterable[float]) -> list[float]:
    return [round(value, 2) for value in values]
