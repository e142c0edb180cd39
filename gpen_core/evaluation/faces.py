"""Which faces are measured, and how they are cut out for a model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ..dataset.pairs import Placement, crop
from ..dataset.sources import Face, read_faces, split
from ..errors import InputError
from ..training.config import Data, read_config

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """Which faces of a folder.

    Attributes:
        folder: of aligned, square pictures, with a `manifest.csv` or without.
        template: how the faces lie in their pictures, "ffhq" or "gpen".
        rim: share of a picture's side outside the template; None as in training.
        holdout: only those that training would keep for validation.
        config: a training config whose rule decides who that is; None takes the defaults.
        sources: only those of these sources; none takes all.
        limit: at most so many, spread evenly over all; None takes all.
    """

    folder: Path
    template: str = "ffhq"
    rim: float | None = None
    holdout: bool = False
    config: Path | None = None
    sources: tuple[str, ...] = ()
    limit: int | None = None

    def faces(self) -> list[Face]:
        """The faces, in the order of the manifest or by name.

        Raises:
            InputError: the folder, the manifest or the config cannot be used, or no face is left.
        """
        faces = read_faces(self._data())
        if self.holdout:
            faces = split(faces, self._data())[1]
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

    def _data(self) -> Data:
        if self.config is None:
            # Without a held-out set licenses do not matter: nothing is trained.
            own = {"template": self.template, "rim": self.rim, "strict_only": self.holdout}
            data = Data.model_validate({"root": self.folder, **own})
        else:
            data = read_config(self.config).data.model_copy(update={"root": self.folder})
        return data.model_copy(update={"max_validation": 10**9})


def count_enlarged(faces: Sequence[Face], size: int) -> int:
    """How many pictures hold fewer pixels of the face than the model's, so that truth is blurred.

    Raises:
        InputError: a picture cannot be read.
    """
    enlarged = 0
    for face in faces:
        try:
            with Image.open(face.path) as image:
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
