"""How the learning rate goes."""

from __future__ import annotations

import math

from .config import Adam


def learning_rate(step: int, steps: int, options: Adam) -> float:
    """Linear warm-up, then `lr`; from `decay_from` of the run half a cosine, or a step, down.

    The end of either is `final_lr`.
    """
    if step < options.warmup:
        return options.lr * (step + 1) / options.warmup
    begin = options.decay_from * steps
    if step <= begin:
        return options.lr
    if options.decay == "step":
        return options.final_lr
    done = (step - begin) / max(1, steps - begin)
    return options.final_lr + (options.lr - options.final_lr) * (1 + math.cos(math.pi * done)) / 2
