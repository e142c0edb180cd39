"""Samples: a few good frames of each track, looked at before the film is restored.

What depends on the restored face is decided on them, once for the whole track, so that nothing
flickers: how far it may be restored and still show the same person, and how much of it is covered.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..faces.found import Faces
from ..faces.gate import is_judged, lost_identity, planned_strengths, say_unjudged
from ..faces.look import covered_share
from ..faces.restore import blend
from ..hooks import Once
from ..run import Run
from .film import Film
from .judge import Verdict
from .planes import Planes
from .shot import Shot

if TYPE_CHECKING:
    from .survey import Survey


def with_samples(known: Survey, film: Film, run: Run) -> Survey:
    """The survey with what the samples of its kept tracks say.

    Args:
        known: with the frames to look at in its verdicts.
        film: they are read again, each by itself.
        run: restores them; its options say what is asked.

    Raises:
        InputError: the identity is to be kept, and the run has no embedder.
    """
    identity = run.options.gate.resolved.identity is not None
    if not (identity or run.options.mask.occlusion):
        return known
    verdicts = list(known.verdicts)
    run = Run(run.tools, run.options, Once(run.hooks))  # what holds of one track holds of all
    for number in known.kept:
        run.hooks.may_stop()
        verdict = verdicts[number]
        if not verdict.samples:
            continue
        faces = _faces(known, film, run, number)
        if run.options.mask.occlusion:
            shares = covered_share(run.look(faces))
            verdict = replace(verdict, covered=round(sum(shares) / len(shares), 3))
        if identity and is_judged(verdict.quality):
            verdict = _compared(verdict, faces, run)
        verdicts[number] = verdict
    if identity:
        unjudged = [number for number in known.kept if not is_judged(verdicts[number].quality)]
        say_unjudged(len(unjudged), run.hooks)
    kept = [number for number in known.kept if verdicts[number].strength != 0]
    return replace(known, verdicts=verdicts, kept=kept)


def _faces(known: Survey, film: Film, run: Run, number: int) -> Faces:
    """The face of one track, cut out of the frames to look at."""
    found = []
    for frame in known.verdicts[number].samples:
        (picture,) = film.frames_at([known.times[frame]])
        planes = Planes(picture)
        faces = known.faces_of(frame, planes.size)
        assert faces.tracks is not None
        own = faces.take((faces.tracks == number).nonzero().flatten().tolist())
        found.append(Shot.cut_out(frame, planes, own, run).faces)
    return Faces.concat(found)


def _compared(verdict: Verdict, faces: Faces, run: Run) -> Verdict:
    """With the strength at which the restored samples still show the same person."""
    restored = run.restore(faces)
    assert restored.strengths is not None and restored.identity is not None
    assert restored.quality is not None
    gate = run.gate
    planned = float(planned_strengths(restored.quality, gate.options, gate.most)[0])
    strength = float(restored.strengths.min())
    return replace(
        verdict,
        strength=round(strength, 4),
        identity=round(float(restored.identity.min()), 3),
        reason=lost_identity(planned, strength),
    )


def _share(cap: float | None, had: float) -> float:
    """How much of a restoration of the strength `had` may stay."""
    # Verdicts are rounded.
    return 1.0 if cap is None or cap > had - 1e-3 else cap / had


def held_back(before: Tensor, restored: Faces, verdicts: list[Verdict], most: float) -> Faces:
    """Restored faces of a frame, or of several, none farther than its track may be restored.

    Args:
        before: (N, 3, S, S) -1..1, what they were made from.
        restored: with their tracks.
        verdicts: by number of the track.
        most: the strength at which they were restored, unless each has one of its own.
    """
    if restored.restored is None or restored.tracks is None or not verdicts:
        return restored
    own = restored.strengths
    now = torch.full((len(restored),), most) if own is None else own.cpu()
    known = [verdicts[number].strength for number in restored.tracks.tolist()]
    pairs = zip(known, now.tolist(), strict=True)
    shares = torch.tensor([_share(cap, had) for cap, had in pairs])
    if bool((shares == 1).all()):
        return restored
    mixed = blend(before, restored.restored, shares)
    return restored.with_(restored=mixed, strengths=now * shares)
