"""The figures of docs/choosing.md: quality, the gates, and who is taken for whom.

    python benchmarks/choosing.py FACES quality      # how well quality tells damage
    python benchmarks/choosing.py FACES gates        # how many become less like themselves
    python benchmarks/choosing.py FACES people       # false accepts and rejects

FACES is a folder of aligned faces with a manifest.csv. Minutes each. Needs the weights of SFace,
and dlib's, which judge and decide nothing (docs/evaluation.md).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from gpen_core.dataset.degradation import degrade
from gpen_core.dataset.sources import Face, Selection, read_faces, split
from gpen_core.evaluation.faces import cut
from gpen_core.faces.aligned import as_faces
from gpen_core.faces.embed import load_embedder
from gpen_core.faces.found import Faces
from gpen_core.faces.quality import quality_of
from gpen_core.hooks import Hooks
from gpen_core.images.layouts import to_network
from gpen_core.models.load import load_model
from gpen_core.options import Options
from gpen_core.perception.judges import Embedding, Landmarks
from gpen_core.run import Run, Tools

DAMAGES = ("mild", "medium", "severe", "old-photo", "reposted", "old-print")
PRESETS = DAMAGES[:3]
THRESHOLDS = (0.30, 0.33, 0.36, 0.40, 0.45, 0.50)
GATES = {
    "strength 1": {},
    "strength auto": {"auto_strength": True},
    "identity 0.9": {"identity": 0.9},
    "careful": {"careful": True},
}


class Quiet(Hooks):
    """Says nothing."""

    def event(self, sentence: str) -> None:
        return


def held_out(folder: Path, most: int | None = None) -> list[Face]:
    """Faces that no training saw, spread evenly."""
    selection = Selection(folder, strict_only=True, max_validation=None)
    faces = split(read_faces(selection), selection)[1]
    count = min(most or len(faces), len(faces))
    return [faces[index * len(faces) // count] for index in range(count)]


def above(better: Tensor, worse: Tensor) -> float:
    """How often one of the better has the higher value: the area under the ROC curve."""
    pairs = better[:, None] - worse[None]
    return float(((pairs > 0).float() + 0.5 * (pairs == 0).float()).mean())


@torch.inference_mode()
def quality(folder: Path) -> None:
    """Of held-out faces, good and damaged, by source and by damage."""
    faces = held_out(folder)
    found: dict[str, list[float]] = {name: [] for name in ("good", *DAMAGES)}
    for index, face in enumerate(faces):
        truth = cut([face], 256)
        damaged = [degrade(truth, name, seed=index) for name in DAMAGES]
        values = quality_of(to_network(torch.cat([truth, *damaged]))).tolist()
        for name, value in zip(found, values, strict=True):
            found[name].append(value)
    table = {name: torch.tensor(values) for name, values in found.items()}
    sources = sorted({face.source for face in faces})
    print(f"{len(faces)} faces; median (5 % to 95 %), and AUC against good faces by source")
    for name, values in table.items():
        low, middle, high = values.quantile(torch.tensor([0.05, 0.5, 0.95])).tolist()
        row = [f"{above(table['good'], values):.3f}"]
        for source in sources:
            own = torch.tensor([face.source == source for face in faces])
            row.append(f"{source} {above(table['good'][own], values[own]):.3f}")
        print(f"{name:10s} {middle:.2f} ({low:.2f} to {high:.2f})  {', '.join(row)}")
    print(f"mild above medium: {above(table['mild'], table['medium']):.3f}")


class Judge:
    """Distances of dlib's embedding from the truth; no part of any gate."""

    def __init__(self) -> None:
        self._marks, self._net = Landmarks(), Embedding()

    def vectors(self, pictures: Tensor) -> Tensor:
        crops = to_network(pictures)
        return self._net(crops, self._marks(crops))


@torch.inference_mode()
def gates(folder: Path) -> None:
    """60 held-out faces: how many a restoration makes less like themselves, with each gate."""
    model, judge, embedder = load_model(), Judge(), load_embedder()
    tools = Tools(model, embedder=embedder)
    runs = {name: Run(tools, Options.of(**values), Quiet()) for name, values in GATES.items()}
    faces = held_out(folder, 60)
    gains = {preset: {name: [] for name in runs} for preset in PRESETS}
    strengths = {preset: {name: [] for name in runs} for preset in PRESETS}
    for index, face in enumerate(faces):
        truth = cut([face], 256)
        goal = judge.vectors(truth)
        for preset in PRESETS:
            damaged = degrade(truth, preset, seed=index)
            full = runs["strength 1"].restore(as_faces(damaged, "gpen"))
            before = float((judge.vectors(damaged) - goal).norm())
            known = {0.0: before}
            for name, run in runs.items():
                done = gated(run, full)
                strength = 0.0 if done is None else float(done.strengths[0])
                if done is not None and strength not in known:
                    picture = done.restored / 2 + 0.5
                    known[strength] = float((judge.vectors(picture) - goal).norm())
                gains[preset][name].append(before - known[strength])
                strengths[preset][name].append(strength)
    for preset in PRESETS:
        for name in runs:
            gain, used = torch.tensor(gains[preset][name]), torch.tensor(strengths[preset][name])
            print(
                f"{preset:7s} {name:14s} less alike {int((gain < -1e-4).sum()):2d} of {len(gain)}, "
                f"mean gain {float(gain.mean()):+.4f}, left alone {int((used == 0).sum())}"
            )


def gated(run: Run, full: Faces) -> Faces | None:
    """A restored face as a run leaves it; None where it leaves it alone."""
    faces = run.spare(full)
    if not len(faces):
        return None
    if run.gate.open:
        return faces.with_(strengths=torch.ones(1))
    return run.gate.passed(faces.crops, faces, run.hooks)


@torch.inference_mode()
def people(folder: Path) -> None:
    """Official portraits of the same people in two collections, one of them damaged.

    Nobody wrote down who is who: two pictures are taken for one person where dlib's network finds
    them closer than 0.5, and left out up to 0.6 and where they are the same photograph.
    """
    every = read_faces(Selection(folder, strict_only=False))
    references = [face for face in every if face.source == "congress"]
    probes = [face for face in every if face.source == "voteview_modern"]
    embedder, judge = load_embedder(), Judge()
    known, seen = vectors(references, embedder), vectors(probes, embedder)
    pairs = []
    for place, (likeness, best) in enumerate(zip(*(seen @ known.T).max(1), strict=True)):
        if not 0.25 < float(likeness) < 0.95:
            continue
        one, other = cut([probes[place]], 256), cut([references[int(best)]], 256)
        if float((judge.vectors(one) - judge.vectors(other)).norm()) < 0.5:
            pairs.append((place, int(best)))
    print(f"{len(pairs)} people, against {len(references)} portraits")
    own = torch.zeros(len(pairs), len(references), dtype=torch.bool)
    own[range(len(pairs)), [reference for _, reference in pairs]] = True
    for name in ("good", *PRESETS):
        parts = [probed(probes[place], name, place, embedder) for place, _ in pairs]
        cosines = torch.cat(parts) @ known.T
        for threshold in THRESHOLDS:
            rejected = float((cosines[own] < threshold).float().mean())
            accepted = float((cosines[~own] >= threshold).float().mean())
            print(f"{name:7s} {threshold:.2f}: rejects {rejected:.1%}, accepts {accepted:.2%}")


def probed(face: Face, damage: str, seed: int, embedder: object) -> Tensor:
    truth = cut([face], 256)
    picture = truth if damage == "good" else degrade(truth, damage, seed=seed)
    return unit(embedder, to_network(picture))


def vectors(faces: Sequence[Face], embedder: object) -> Tensor:
    parts = [
        unit(embedder, to_network(cut(faces[start : start + 16], 256)))
        for start in range(0, len(faces), 16)
    ]
    return torch.cat(parts)


def unit(embedder: object, crops: Tensor) -> Tensor:
    return torch.nn.functional.normalize(embedder(crops), dim=1)  # type: ignore[operator]


if __name__ == "__main__":
    {"quality": quality, "gates": gates, "people": people}[sys.argv[2]](Path(sys.argv[1]))
