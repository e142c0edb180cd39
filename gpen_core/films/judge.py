"""Judge: how good the faces of a film are and whom they show, decided once for each track.

A decision for each frame would flicker: a face that turns away is a worse face for a moment, and
nobody else for that.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..faces.embed import embed, person_threshold
from ..faces.found import Faces
from ..faces.gate import planned_strengths, too_good
from ..faces.quality import find_quality
from ..faces.track import Track, match
from ..run import Run

# Frames of a track that are looked at more closely.
_SAMPLES = 3


@dataclass(frozen=True)
class Verdict:
    """What is decided on a track.

    Attributes:
        quality: the median of the frames looked at; None where nobody asked, or none was.
        person: similarity to the person looked for, of all its frames together.
        reason: why it is left alone, or restored less than asked for; None where it is not.
        strength: how far it is restored, where that is decided for each track.
        identity: similarity of the restored face to the face as it was, the lowest of the samples.
        covered: share of the face that something is in front of, the mean of the samples.
        samples: its frames of the best quality.

    Example:
        >>> Verdict(0.93, reason="already good (quality 0.93)").strength is None
        True
    """

    quality: float | None = None
    person: float | None = None
    reason: str | None = None
    strength: float | None = None
    identity: float | None = None
    covered: float | None = None
    samples: list[int] = field(default_factory=list)


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
        return chosen or self._run.options.mask.occlusion or not self._run.gate.open

    def look(self, frame: int, images: Tensor, faces: Faces) -> None:
        """The faces of a frame (1, 3, H, W) 0..1."""
        if not self._asked or not len(faces):
            return
        run, vectors = self._run, None
        if run.tools.embedder is not None:
            vectors = embed(images, faces, run.embedder, run.hooks)
        quality = find_quality(images, faces, run.hooks)
        self._looks[frame] = _Look(faces.landmarks.cpu(), quality, vectors)

    @property
    def vectors(self) -> dict[int, Tensor]:
        """Whom the faces of each frame show, (N, D), where there was an embedder to tell."""
        looks = self._looks.items()
        return {frame: look.vectors for frame, look in looks if look.vectors is not None}

    def verdict(self, track: Track) -> Verdict:
        """On a track of the faces that were looked at."""
        frames, quality, vectors = list[int](), list[Tensor](), list[Tensor]()
        for frame in range(track.first, track.last + 1):
            look = self._looks.get(frame)
            if look is None:
                continue
            here = track.landmarks[frame - track.first][None]
            for _, face in match(here, look.landmarks):
                frames.append(frame)
                quality.append(look.quality[face])
                if look.vectors is not None:
                    vectors.append(look.vectors[face])
        if not quality:
            return Verdict()
        seen = torch.stack(quality)
        best = seen.argsort(descending=True, stable=True)[:_SAMPLES].tolist()
        decided = self._decided(seen.median(), vectors)
        return replace(decided, samples=sorted(frames[place] for place in best))

    def _decided(self, quality: Tensor, vectors: list[Tensor]) -> Verdict:
        gate, wanted = self._run.options.gate, self._run.tools.wanted
        strength = None
        if not self._run.gate.open:
            planned = planned_strengths(quality[None], gate, self._run.gate.most)
            strength = round(float(planned), 4)
        person, reason = None, too_good(quality[None], gate).get(0)
        if wanted is not None:
            vector = normalize(torch.stack(vectors).sum(0), dim=0)[None]
            likeness = wanted.similarities(vector)
            person = None if likeness is None else round(float(likeness[0]), 3)
            threshold = person_threshold(gate, self._run.embedder)
            reason = wanted.reasons(vector, threshold)[0] or reason
        if reason is not None:
            strength = None
        return Verdict(round(float(quality), 3), person, reason, strength)
