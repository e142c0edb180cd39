"""Judge: how good the faces of a film are and whom they show, decided once for each track.

A decision for each frame would flicker: a face that turns away is a worse face for a moment, and
nobody else for that.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..faces.embed import embed, person_threshold
from ..faces.found import Faces
from ..faces.gate import too_good
from ..faces.quality import find_quality
from ..faces.track import Track, match
from ..run import Run


@dataclass(frozen=True)
class Verdict:
    """What is decided on a track.

    Attributes:
        quality: the median of the frames looked at; None where nobody asked, or none was.
        person: similarity to the person looked for, of all its frames together.
        reason: why it is left alone, None where it is not.
    """

    quality: float | None = None
    person: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class _Look:
    """The faces of one frame."""

    landmarks: Tensor
    quality: Tensor
    vectors: Tensor | None


class Judge:
    """Keeps a few numbers of every face that the survey finds.

    Args:
        run: whose options and tools say what is asked.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._looks: dict[int, _Look] = {}

    @property
    def _asked(self) -> bool:
        gate = self._run.options.gate.resolved
        chosen = gate.only_below is not None or self._run.tools.wanted is not None
        return chosen or not self._run.gate.open

    def look(self, frame: int, images: Tensor, faces: Faces) -> None:
        """The faces of a frame (1, 3, H, W) 0..1."""
        if not self._asked or not len(faces):
            return
        run, vectors = self._run, None
        if run.tools.wanted is not None:
            vectors = embed(images, faces, run.embedder, run.hooks)
        quality = find_quality(images, faces, run.hooks)
        self._looks[frame] = _Look(faces.landmarks.cpu(), quality, vectors)

    def verdict(self, track: Track) -> Verdict:
        """On a track of the faces that were looked at."""
        quality, vectors = list[Tensor](), list[Tensor]()
        for frame in range(track.first, track.last + 1):
            look = self._looks.get(frame)
            if look is None:
                continue
            here = track.landmarks[frame - track.first][None]
            for _, face in match(here, look.landmarks):
                quality.append(look.quality[face])
                if look.vectors is not None:
                    vectors.append(look.vectors[face])
        if not quality:
            return Verdict()
        return self._decided(torch.stack(quality).median(), vectors)

    def _decided(self, quality: Tensor, vectors: list[Tensor]) -> Verdict:
        gate, wanted = self._run.options.gate, self._run.tools.wanted
        person, reason = None, too_good(quality[None], gate).get(0)
        if wanted is not None:
            vector = normalize(torch.stack(vectors).sum(0), dim=0)[None]
            likeness = wanted.similarities(vector)
            person = None if likeness is None else round(float(likeness[0]), 3)
            threshold = person_threshold(gate, self._run.embedder)
            reason = wanted.reasons(vector, threshold)[0] or reason
        return Verdict(round(float(quality), 3), person, reason)
