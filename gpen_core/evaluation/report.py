"""Figures as numbers to read and to keep: means, standard errors, gains."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from torch import Tensor

from ..dataset.degradation import PRESETS
from ..metrics.catalogue import METRICS
from ..models.model import Model
from .compare import MODEL, NOTHING, TRUTH, UNSHARP, Figures, Options

_DIGITS = 5
_WIDEST = 6  # metrics in a table


def report(figures: Figures, model: Model, options: Options) -> dict[str, Any]:
    """Everything as plain values for JSON; the same for the same faces, model and options.

    Example:
        >>> from pathlib import Path
        >>> import torch
        >>> from gpen_core.dataset.sources import Face
        >>> from gpen_core.models.load import load_model
        >>> values = {who: {"psnr": torch.tensor([20.0])} for who in (NOTHING, UNSHARP, MODEL)}
        >>> figures = Figures([Face(Path("one.png"), "studio")], {"mild": values}, [], [])
        >>> report(figures, load_model(), Options(("mild",)))["faces"]
        1
    """
    names = list(figures.values[options.presets[0]][NOTHING])
    return {
        "model": {
            "name": model.info.name,
            "architecture": model.info.architecture,
            "size": model.output_size,
            "precision": model.precision,
        },
        "faces": len(figures.faces),
        "sources": dict(sorted(Counter(face.source for face in figures.faces).items())),
        "seed": options.seed,
        "metrics": {name: METRICS[name].definition for name in names},
        "baselines": {
            NOTHING: "the damaged face, enlarged to the full size by bicubic interpolation",
            UNSHARP: "the same, plus its difference to itself blurred by a Gaussian of sigma 2",
        },
        "presets": {damage: _of_preset(figures, damage) for damage in options.presets},
        "events": figures.events,
    }


def _of_preset(figures: Figures, damage: str) -> dict[str, Any]:
    values = figures.values[damage]
    gains = {
        name: _gain(figures, values[MODEL][name], values[NOTHING][name], METRICS[name].higher)
        for name in values[MODEL]
    }
    means = {
        who: {name: mean_error(found) for name, found in of_who.items()}
        for who, of_who in values.items()
    }
    return {"recipe": asdict(PRESETS[damage]), "means": means, "gain": gains}


def mean_error(values: Tensor) -> dict[str, float]:
    """Mean and standard error of the mean; the error of a single value is 0."""
    error = values.std().item() / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return {"mean": round(values.mean().item(), _DIGITS), "error": round(error, _DIGITS)}


def _gain(figures: Figures, model: Tensor, nothing: Tensor, higher: bool) -> dict[str, Any]:
    """Model minus "do nothing", face by face: mean, error, in percent, who gains and who least."""
    difference = model - nothing
    better = difference if higher else -difference
    worst = int(better.argmin())
    return {
        **mean_error(difference),
        "percent": round(100 * (difference.mean() / nothing.mean().abs()).item(), 2),
        "better": round((better > 0).double().mean().item(), 4),
        "worst": round(difference[worst].item(), _DIGITS),
        "worst_face": f"{figures.faces[worst].source}: {figures.faces[worst].path.name}",
    }


def tables(content: dict[str, Any]) -> list[list[str]]:
    """The metrics in groups of those that stand side by side in one table.

    Example:
        >>> tables({"metrics": {"psnr": "...", "ssim": "..."}})
        [['psnr', 'ssim']]
    """
    names = list(content["metrics"])
    return [names[start : start + _WIDEST] for start in range(0, len(names), _WIDEST)]


def rows(
    content: dict[str, Any], damage: str, names: Sequence[str] | None = None
) -> list[list[str]]:
    """A table of one preset: a row for each contender, the gain, and the share of faces better.

    The first column is who, the others are the metrics `names`, all of them unless given.

    Example:
        >>> means = {NOTHING: {"psnr": {"mean": 20.0, "error": 0.5}}}
        >>> gain = {"mean": 1.5, "error": 0.1, "percent": 7.5, "better": 1.0}
        >>> content = {"presets": {"mild": {"means": means, "gain": {"psnr": gain}}}}
        >>> for row in rows(content, "mild", ["psnr"]):
        ...     print(row)
        ['do nothing', '20.00 ± 0.50']
        ['gain', '+1.50 ± 0.10']
        ['in percent', '+7.5 %']
        ['faces better', '100%']
    """
    names = list(names or content["metrics"])
    of_preset = content["presets"][damage]
    table = []
    for who in (NOTHING, UNSHARP, MODEL, TRUTH):
        means = of_preset["means"].get(who)
        if means is not None:
            table.append([who, *(_cell(means.get(name), name) for name in names)])
    gains = [of_preset["gain"][name] for name in names]
    cells = [_cell(gain, name, sign=True) for gain, name in zip(gains, names, strict=True)]
    table.append(["gain", *cells])
    table.append(["in percent", *(f"{gain['percent']:+.1f} %" for gain in gains)])
    table.append(["faces better", *(f"{gain['better']:.0%}" for gain in gains)])
    return table


def heads(names: Sequence[str]) -> list[str]:
    """The table's first row; an arrow says which way is better.

    Example:
        >>> heads(["psnr", "lpips"])
        ['', 'PSNR dB ↑', 'LPIPS ↓']
    """
    marks = {True: "↑", False: "↓"}
    metrics = (METRICS[name] for name in names)
    return ["", *(f"{metric.label} {marks[metric.higher]}" for metric in metrics)]


def _cell(found: dict[str, float] | None, name: str, sign: bool = False) -> str:
    if found is None:
        return ""
    digits = METRICS[name].digits
    mean = f"{found['mean']:+.{digits}f}" if sign else f"{found['mean']:.{digits}f}"
    return f"{mean} ± {found['error']:.{digits}f}"
