"""The loop: damage, restore, measure, a few faces at a time."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..dataset.degradation import degrade, preset
from ..dataset.effects import gaussian_blur
from ..dataset.posing import LEARNED, posed
from ..dataset.sources import Face
from ..errors import InputError
from ..faces.restore import Look, restore_crops
from ..hooks import Hooks, Recording
from ..images.layouts import from_network, to_network
from ..metrics.catalogue import METRICS, Measure
from ..models.model import Model
from ..options import RestoreOptions
from .faces import cut

log = logging.getLogger(__name__)

NOTHING, UNSHARP, MODEL, TRUTH = "do nothing", "bicubic + unsharp", "model", "truth"
_UNSHARP_SIGMA, _UNSHARP_AMOUNT = 2.0, 1.0


@dataclass(frozen=True)
class Options:
    """How the faces are damaged and restored.

    Attributes:
        presets: names of `degradation.PRESETS`.
        seed: of the damage; face i is damaged with `seed + i`.
        batch_size: faces at a time, at least 1.
        shown: how many faces are kept as pictures, spread evenly.

    Example:
        >>> Options(presets=("mild", "severe"), shown=8).batch_size
        4
    """

    presets: tuple[str, ...] = ("medium",)
    seed: int = 0
    batch_size: int = 4
    shown: int = 0

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise InputError(f"The batch must hold at least 1 face, not {self.batch_size}.")
        for name in self.presets:
            preset(name)


@dataclass
class Shown:
    """One face as pictures (3, S, S) 0..1: the truth, and per preset (degraded, restored)."""

    face: Face
    truth: Tensor
    pairs: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)


@dataclass
class Figures:
    """What was measured.

    Attributes:
        faces: in the order of the figures.
        values: preset -> who -> metric -> (N,) float64; who is `NOTHING`, `UNSHARP`, `MODEL` or
            `TRUTH`, the last one only for metrics that need no truth.
        shown: faces kept as pictures.
        events: fall-backs of the restorer, one sentence each.

    Example:
        >>> values = {who: {"psnr": torch.tensor([20.0])} for who in (NOTHING, UNSHARP, MODEL)}
        >>> figures = Figures([Face("one.png", "studio")], {"mild": values}, [], [])
        >>> figures.values["mild"]["model"]["psnr"]
        tensor([20.])
    """

    faces: list[Face]
    values: dict[str, dict[str, dict[str, Tensor]]]
    shown: list[Shown]
    events: list[str]


@torch.inference_mode()
def compare(
    model: Model,
    faces: Sequence[Face],
    measures: dict[str, Measure],
    options: Options,
    progress: Callable[[int], None] = lambda faces: None,
) -> Figures:
    """Measure a model against doing nothing and against sharpening, on the model's device.

    Args:
        model: of any size; damage and figures are of its output size.
        faces: what to measure.
        measures: of `metrics.catalogue.find_metrics`, on the same device.
        options: see there.
        progress: called with the number of faces just done with all presets.

    Raises:
        InputError: a picture cannot be used.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> from gpen_core.models.load import load_model
        >>> from gpen_core.metrics.catalogue import find_metrics
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = f"{folder}/face.png"
        ...     Image.new("RGB", (320, 320)).save(path)
        ...     measures = find_metrics(["psnr"], 256).measures
        ...     figures = compare(load_model(), [Face(path, "studio")], measures, Options())
        >>> list(figures.values["medium"])
        ['do nothing', 'bicubic + unsharp', 'model']
    """
    if model.info.template != "gpen":
        log.warning(
            "%s was made for faces in the template %r, but is measured in the GPEN template.",
            model.info.name,
            model.info.template,
        )
    parts: dict[tuple[str, str, str], list[Tensor]] = defaultdict(list)
    count = min(options.shown, len(faces))
    chosen = {index * len(faces) // count for index in range(count)}
    shown: list[Shown] = []
    hooks = Recording()
    for start in range(0, len(faces), options.batch_size):
        group = faces[start : start + options.batch_size]
        truth = cut(group, model.output_size).to(model.device)
        kept = [index for index in range(len(group)) if start + index in chosen]
        shown += [Shown(group[index], truth[index].cpu()) for index in kept]
        known = {name: measure.prepare(to_network(truth)) for name, measure in measures.items()}
        own = {name: m for name, m in measures.items() if METRICS[name].of_truth}
        of_truth = {name: m.of(to_network(truth), known[name]) for name, m in own.items()}
        for damage in options.presets:
            damaged = degrade(truth, damage, options.seed + start)
            damaged, looks = as_posed(model, damaged, options.seed + start)
            answers = _answers(damaged, model, options, Seen(looks, hooks))
            for who, answer in answers.items():
                for name, measure in measures.items():
                    parts[damage, who, name].append(measure.of(answer, known[name]).cpu())
            for name, found in of_truth.items():
                parts[damage, TRUTH, name].append(found.cpu())
            for picture, index in zip(shown[len(shown) - len(kept) :], kept, strict=True):
                restored = from_network(answers[MODEL][index])
                picture.pairs[damage] = (damaged[index].cpu(), restored.cpu())
        progress(len(group))
    return Figures(list(faces), _nested(parts), shown, list(dict.fromkeys(hooks.events)))


@dataclass(frozen=True)
class Seen:
    """What the restorer is told of the faces, and whom it tells.

    Attributes:
        looks: of each face.
        hooks: told of fall-backs.
    """

    looks: list[Look]
    hooks: Hooks


def as_posed(model: Model, damaged: Tensor, seed: int) -> tuple[Tensor, list[Look]]:
    """Damaged faces (N, 3, S, S) 0..1 as the model's task poses them, and their holes.

    Raises:
        InputError: a task that faces alone do not pose.
    """
    if model.task not in LEARNED:
        raise InputError(
            f"{model.info.name} is a model to {model.task}, which cannot be measured on faces "
            f"alone."
        )
    seeds = range(seed, seed + len(damaged))
    posed_faces, _, holes = posed(model.task, damaged, damaged, seeds)
    return posed_faces, [Look(hole=hole) for hole in holes]


def _answers(damaged: Tensor, model: Model, options: Options, seen: Seen) -> dict[str, Tensor]:
    """What each contender makes of damaged faces (N, 3, S, S) 0..1: the same shape, -1..1."""
    crops = to_network(damaged)
    restoring = RestoreOptions(batch_size=options.batch_size, seed=options.seed)
    return {
        NOTHING: crops,
        UNSHARP: to_network(unsharp(damaged)),
        MODEL: restore_crops(crops, model, restoring, seen.hooks, seen.looks),
    }


def unsharp(images: Tensor) -> Tensor:
    """(N, 3, H, W) 0..1 plus its difference to itself blurred (sigma 2), clamped to 0..1."""
    detail = images - gaussian_blur(images, _UNSHARP_SIGMA)
    return (images + _UNSHARP_AMOUNT * detail).clamp(0, 1)


def _nested(
    parts: dict[tuple[str, str, str], list[Tensor]],
) -> dict[str, dict[str, dict[str, Tensor]]]:
    values: dict[str, dict[str, dict[str, Tensor]]] = {}
    for (damage, who, name), found in parts.items():
        of_preset = values.setdefault(damage, {})
        of_preset.setdefault(who, {})[name] = torch.cat(found).double()
    return values
