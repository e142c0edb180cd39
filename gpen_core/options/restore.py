"""Restore: how the faces go through the network."""

from __future__ import annotations

from dataclasses import dataclass

from .spec import Checked, option


@dataclass(frozen=True)
class RestoreOptions(Checked):
    """How the faces go through the network.

    Example:
        >>> RestoreOptions(strength=0.7).batch_size
        4
    """

    strength: float = option(
        1.0,
        "How much of the restoration to use: 1 is the restored face, 0 the original.",
        low=0.0,
        high=1.0,
        step=0.05,
    )
    batch_size: int = option(
        4,
        "Faces restored at once; halved automatically when memory runs out.",
        low=1,
        high=64,
        step=1,
    )
    seed: int = option(
        0,
        "Seed of the noise in super-resolution models; other models ignore it.",
        low=0,
        high=0xFFFFFFFF,
        step=1,
    )
