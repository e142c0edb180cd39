"""Which faces are measured, and how they are cut out for a model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..dataset.pairs import crop
from ..dataset.placement import Placement
from ..dataset.sources import Face, Selection, read_faces, split
from ..errors import InputError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """Which faces of a folder.

    Attributes:
        folder: of aligned, square pictures, with a `manifest.csv` or without.
        template: how the faces lie in their pictures, "ffhq" or "gpen".
        rim: share of a picture's side outside the template; None as in training.
        holdout: only those that training would keep for validation.
        rule: the selection of a training run, which then decides who that is, what lies how, and
            which licenses count, with `folder` for its root; None takes the defaults.
        sources: only those of these sources; none takes all.
        limit: at most so many, spread evenly over all; None takes all.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for number in range(3):
        ...         Image.new("RGB", (256, 256)).save(f"{folder}/{number}.png")
        ...     len(Choice(Path(folder), limit=2).faces())
        2
    """

    folder: Path
    template: str = "ffhq"
    rim: float | None = None
    holdout: bool = False
    rule: Selection | None = None
    sources: tuple[str, ...] = ()
    limit: int | None = None

    def faces(self) -> list[Face]:
        """The faces, in the order of the manifest or by name.

        Raises:
            InputError: the folder or the manifest cannot be used, or no face is left.
        """
        selection = self._selection()
        faces = read_faces(selection)
        if self.holdout:
            faces = split(faces, selection)[1]
        if self.sources:
            faces = self._of_sources(faces)
        if self.limit is not None and self.limit < 1:
            raise InputError(f"The limit of faces must be at least 1, not {self.limit}.")
        count = len(faces) if self.limit is None else min(self.limit, len(faces))
        return [faces[index * len(faces) // count] for index in range(count)]

    def _of_sources(self, faces: list[Face]) -> list[Face]:
        there = {face.source for face in faces}
        unknown = sorted(set(self.sources) - there)
        if unknown:
            raise InputError(
                f"{self.folder} has no face of the source {unknown[0]!r} to measure; "
                f"there are {', '.join(sorted(there))}."
            )
        return [face for face in faces if face.source in self.sources]

    def _selection(self) -> Selection:
        if self.rule is not None:
            return replace(self.rule, root=self.folder, max_validation=None)
        # Without a held-out set licenses do not matter: nothing is trained.
        return Selection(
            self.folder, self.template, self.rim, strict_only=self.holdout, max_validation=None
        )


def count_enlarged(faces: Sequence[Face], size: int) -> int:
    """How many pictures hold fewer pixels of the face than the model's, so that truth is blurred.

    Raises:
        InputError: a picture cannot be read.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = f"{folder}/face.png"
        ...     Image.new("RGB", (256, 256)).save(path)
        ...     count_enlarged([Face(path, "studio", rim=0)], 512)
        1
    """
    enlarged = 0
    for face in faces:
        try:
            with face.open() as image:
                side = image.width * (1 - 2 * face.rim)
        except OSError as error:
            raise InputError(f"The picture {face.path} cannot be read: {error}") from error
        enlarged += side < size
    return enlarged


def cut(faces: Sequence[Face], size: int) -> Tensor:
    """The truth: faces in the GPEN template (N, 3, S, S) 0..1, resized from their own size.

    The rim counts as the rest does, made up or not: it is damaged and restored like the face.

    Raises:
        InputError: a picture cannot be read, or is not square.
    """
    return torch.cat([crop(face, size, Placement())[0] for face in faces])
