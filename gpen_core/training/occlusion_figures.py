"""How well the occlusion network sees things in front of held-out faces.

    python -m gpen_core.training.occlusion_figures CONFIG.yaml [FILE.safetensors] [DAMAGE ...]

prints a table of IoU by kind and damage, and how much of bare faces is taken for covered.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import torch
from torch import Tensor

from ..dataset.covered import SIDE, Behind, CoveredSampler, label
from ..dataset.degradation import Degradation, preset
from ..dataset.occluders import KINDS
from ..dataset.sources import read_faces, split
from ..errors import GPENError, InputError
from ..faces.aligned import as_faces
from ..faces.mask import crop_masks
from ..faces.occlusion import Occlusion, load_occlusion
from .occlusion import OcclusionConfig, names, read_config

log = logging.getLogger(__name__)

DAMAGES = ("none", "mild", "medium", "severe")
"""Presets of damage, of a crop of 128 px."""
_AT_ONCE = 32


def measure(occlusion: Occlusion, config: OcclusionConfig, damage: str) -> dict[str, float]:
    """IoU of each kind over every held-out face, and what is seen in front of bare ones.

    Args:
        occlusion: what is measured.
        config: of its run: which faces are held out, and which of them are listed for having
            something in front of them already; those are left out.
        damage: one of `DAMAGES`.

    Returns:
        By kind: pixels where the network and the truth agree, of those that either names, over all
        faces. "none": the share of a bare face (its ellipse) that is taken for covered, the mean
        over all faces.
    """
    selection = config.data.selection()
    held = split(read_faces(selection), selection)[1]
    # Of what is in front of a face already nobody has said where it lies.
    listed = names(config.skip)
    held = [face for face in held if label(face) not in listed]
    if not held:
        raise InputError(f"In {config.skip} every held-out face is listed; list fewer.")
    sampler = CoveredSampler(held, config.drawing(frozenset()))
    recipe = Degradation() if damage == "none" else preset(damage)
    found = {}
    for kind in KINDS:
        batch = sampler.each([kind], recipe, seed=KINDS.index(kind) * 10_000)
        seen = torch.cat([occlusion(part) for part in batch.pictures.split(_AT_ONCE)]) > 0.5
        found[kind] = _false_alarm(seen) if kind == "none" else _overlap(seen, batch)
    return found


def _false_alarm(seen: Tensor) -> float:
    plain = as_faces(torch.zeros(1, 3, SIDE, SIDE), "gpen")
    ellipse = crop_masks(plain)
    return float((seen * ellipse).sum() / ellipse.sum() / len(seen))


def _overlap(seen: Tensor, batch: Behind) -> float:
    true, counted = batch.covered > 0.5, batch.inside > 0.5
    both, either = (seen & true & counted).sum(), ((seen | true) & counted).sum()
    return float(both / either.clamp(min=1))


def table(rows: dict[str, dict[str, float]]) -> str:
    """A table of IoU by damage and kind, in Markdown.

    Example:
        >>> print(table({"mild": {"none": 0.004, "hand": 0.8}}))
        | damage | hand | bare faces |
        |---|---|---|
        | mild | 0.80 | 0.40 % |
    """
    kinds = [kind for kind in next(iter(rows.values())) if kind != "none"]
    lines = [f"| damage | {' | '.join(kinds)} | bare faces |", "|---" * (len(kinds) + 2) + "|"]
    for damage, found in rows.items():
        figures = " | ".join(f"{found[kind]:.2f}" for kind in kinds)
        lines.append(f"| {damage} | {figures} | {100 * found['none']:.2f} % |")
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """The command: a config, a file where it is not the project's own, damages if not all."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    files = [Path(one) for one in arguments[1:] if one not in DAMAGES]
    if not arguments or len(files) > 1:
        log.error("Give the path of a config, and of a file of weights where you have one.")
        return 2
    try:
        config = read_config(arguments[0])
        if config.threads:
            torch.set_num_threads(config.threads)
        occlusion = load_occlusion(path=files[0] if files else None)
        damages = [name for name in DAMAGES if name in arguments[1:]] or DAMAGES
        log.info("%s", table({name: measure(occlusion, config, name) for name in damages}))
    except GPENError as error:
        log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
