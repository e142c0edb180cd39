"""Gate: how far a face is restored, so that it gains and stays the person it was.

Two questions, one before the network and one after it. How good is the face already? A good one
gains nothing, and a small network takes from it. Is the restored face still the person of the
picture? Where the picture is good enough to tell, less of the restoration is used until it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError
from ..hooks import Hooks
from ..options import GateOptions
from ..text import counted
from .embed import Embedder, origin_of, vectors_of
from .found import Faces
from .quality import quality_of
from .restore import blend

# Auto strength: none from the first quality on, in full up to the second.
_NOTHING_FROM, _FULL_TO = 0.90, 0.82
# Below this quality a face says too little of who it is for a comparison to mean anything.
_JUDGED_FROM = 0.5
# The strength that keeps the identity is found to a sixteenth; less than the last is none.
_HALVINGS, _LEAST = 4, 0.1


def planned_strengths(quality: Tensor, options: GateOptions, most: float) -> Tensor:
    """(N,) strengths 0..`most` by quality alone; all `most` unless `auto_strength` is on.

    Example:
        >>> options = GateOptions(auto_strength=True)
        >>> planned_strengths(torch.tensor([0.3, 0.86, 0.99]), options, 1.0)
        tensor([1.0000, 0.5000, 0.0000])
    """
    if not options.resolved.auto_strength:
        return torch.full_like(quality, most)
    shares = ((_NOTHING_FROM - quality) / (_NOTHING_FROM - _FULL_TO)).clamp(0, 1)
    return torch.where(shares < _LEAST, 0.0, most * shares)


def too_good(quality: Tensor, options: GateOptions) -> dict[int, str]:
    """Which faces are left alone for being good already, and why.

    Example:
        >>> too_good(torch.tensor([0.3, 0.95]), GateOptions(only_below=0.9))
        {1: 'already good (quality 0.95)'}
    """
    options = options.resolved
    least = 2.0 if options.only_below is None else options.only_below
    unhelped = planned_strengths(quality, options, 1.0) == 0
    good = (quality >= least) | unhelped
    return {face: f"already good (quality {float(quality[face]):.2f})" for face in _places(good)}


def with_quality(faces: Faces) -> Faces:
    """Aligned faces with their quality; that of a track is the median, so that nothing flickers.

    Example:
        >>> from gpen_core.faces.aligned import as_faces
        >>> with_quality(as_faces(torch.zeros(2, 3, 64, 64), "gpen")).quality.shape
        torch.Size([2])
    """
    quality = faces.quality
    if quality is None:
        assert faces.crops is not None
        quality = quality_of(faces.crops, faces.template)
    return faces.with_(quality=_by_track(quality, faces.tracks, lambda own: own.median()))


@dataclass(frozen=True)
class Gate:
    """What decides on the strength of each face.

    Attributes:
        options: see there.
        most: the strength asked for.
        embedder: tells whom a face shows, for `identity`.

    Example:
        >>> Gate(GateOptions()).open
        True
    """

    options: GateOptions
    most: float = 1.0
    embedder: Embedder | None = None

    @property
    def open(self) -> bool:
        """Whether every face gets the strength asked for."""
        options = self.options.resolved
        return not options.auto_strength and options.identity is None

    def passed(self, before: Tensor, faces: Faces, hooks: Hooks) -> Faces:
        """The faces with as much of their restoration as is good for them.

        Args:
            before: (N, 3, S, S) -1..1, what they were made from.
            faces: restored in full.
            hooks: told of what could not be judged.

        Returns:
            With `restored` mixed, and `quality`, `strengths` and, where it is looked at,
            `identity`. A strength of 0 leaves the face as it was.

        Raises:
            InputError: `identity` without an embedder.
        """
        restored = faces.restored
        assert faces.crops is not None and restored is not None
        faces = with_quality(faces)
        strengths = planned_strengths(_quality(faces), self.options, self.most)
        least = self.options.resolved.identity
        identity = None
        if least is not None and len(faces):
            strengths, identity = self._kept(before, faces, strengths, hooks)
        mixed = blend(before, restored, strengths)
        return faces.with_(restored=mixed, strengths=strengths, identity=identity)

    def _kept(
        self, before: Tensor, faces: Faces, strengths: Tensor, hooks: Hooks
    ) -> tuple[Tensor, Tensor]:
        """Strengths at which the faces stay who they were, and their similarity then."""
        if self.embedder is None:
            raise InputError("Keeping the identity needs a face embedder.", option="identity")
        _say_unmeasured(self.embedder, hooks)
        embedder, template, restored = self.embedder, faces.template, faces.restored
        assert restored is not None
        original = vectors_of(before, template, embedder, hooks)

        def similarity(some: Tensor, strengths: Tensor) -> Tensor:
            mixed = blend(before[some], restored[some], strengths)
            vectors = vectors_of(mixed, template, embedder, hooks)
            return (vectors * original[some]).sum(dim=1)

        quality = _quality(faces)
        least = torch.where(quality < _JUDGED_FROM, -1.0, quality * _share(self.options))
        say_unjudged(int((quality < _JUDGED_FROM).sum()), hooks)
        everyone = torch.arange(len(faces))
        identity = similarity(everyone, strengths)
        lost = everyone[identity < least]
        low, high = torch.zeros(len(lost)), strengths[lost]
        found = torch.ones(len(lost))  # a face is its own likeness
        for _ in range(_HALVINGS if len(lost) else 0):
            hooks.may_stop()
            middle = (low + high) / 2
            here = similarity(lost, middle)
            holds = here >= least[lost]
            low, found = torch.where(holds, middle, low), torch.where(holds, here, found)
            high = torch.where(holds, high, middle)
        nothing = low < _LEAST
        strengths, identity = strengths.clone(), identity.clone()
        strengths[lost] = torch.where(nothing, 0.0, low)
        identity[lost] = torch.where(nothing, 1.0, found)
        settled = _by_track(strengths, faces.tracks, lambda own: own.min())
        if not torch.equal(settled, strengths):
            strengths, identity = settled, similarity(everyone, settled)
        return strengths, identity


def lost_identity(planned: float, strength: float) -> str | None:
    """What the report says of a face restored less than planned, or not at all.

    Example:
        >>> lost_identity(1.0, 0.4375), lost_identity(1.0, 0.0), lost_identity(1.0, 1.0)
        ('identity not kept: strength lowered to 0.44', 'identity not kept', None)
    """
    if strength >= planned - 1e-6:
        return None
    lowered = f": strength lowered to {strength:.2f}" if strength else ""
    return f"identity not kept{lowered}"


def _by_track(values: Tensor, tracks: Tensor | None, one: Callable[[Tensor], Tensor]) -> Tensor:
    """(N,) values, those of each track replaced by one; as they are where nobody is followed."""
    if tracks is None:
        return values
    settled = values.clone()
    for number in tracks.unique():
        own = (tracks == number).to(values.device)
        settled[own] = one(values[own])
    return settled


def _share(options: GateOptions) -> float:
    share = options.resolved.identity
    assert share is not None
    return share


def _quality(faces: Faces) -> Tensor:
    assert faces.quality is not None
    return faces.quality.detach().cpu().float()


def _places(chosen: Tensor) -> list[int]:
    return chosen.nonzero().flatten().tolist()


def _say_unmeasured(embedder: Embedder, hooks: Hooks) -> None:
    origin = origin_of(embedder)
    if origin is not None:
        hooks.event(
            f"The identity is compared by {origin.file}; how alike a face has to stay was measured "
            f"with SFace."
        )


def is_judged(quality: float | None) -> bool:
    """Whether a face of this quality says enough of who it is to be compared.

    Example:
        >>> is_judged(0.7), is_judged(0.3), is_judged(None)
        (True, False, False)
    """
    return quality is not None and quality >= _JUDGED_FROM


def say_unjudged(count: int, hooks: Hooks) -> None:
    """Tell the hooks of how many faces the identity was not compared.

    Example:
        >>> say_unjudged(0, Hooks())
    """
    if count:
        hooks.event(
            f"{counted(count, 'face')} too damaged to tell whom they show; there the identity is "
            f"not compared."
        )
