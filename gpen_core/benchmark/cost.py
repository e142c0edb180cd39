"""How much arithmetic a GPEN does in the direct form: the yardstick of every GFLOP/s here.

Convolutions only, 2 operations per multiply-add. An implementation that gets along with fewer
operations shows as more GFLOP/s, possibly above the machine's peak.
"""

from __future__ import annotations

from ..networks.gpen import GPENConfig


def groups(config: GPENConfig) -> dict[str, float]:
    """Operations per face of each part: `encoder R` (giving R x R) and `generator R`."""
    cost = {}
    for side in reversed(config.resolutions):
        if side > config.in_size:
            continue
        width = config.width(side)
        if side == config.in_size:
            cost[f"encoder {side}"] = 2.0 * 3 * width * side * side
        else:
            cost[f"encoder {side}"] = 2.0 * 9 * config.width(2 * side) * width * side * side
    for side in config.resolutions:
        width = config.width(side)
        pixels = side * side
        if side == 4:
            own = 9 * width * width * pixels
        else:
            own = 9 * 2 * config.width(side // 2) * width * pixels // 4 + 9 * 2 * width**2 * pixels
        cost[f"generator {side}"] = 2.0 * (own + 2 * width * 3 * pixels)
    return cost


def total(config: GPENConfig) -> float:
    """Operations per face."""
    return sum(groups(config).values())
