"""Model: what the network is for and what it computes in."""

from __future__ import annotations

from dataclasses import dataclass

from .spec import Checked, option

TASKS = ("restore", "colorize", "inpaint", "paint")
PRECISIONS = ("auto", "fp32", "fp16", "bf16")


@dataclass(frozen=True)
class ModelOptions(Checked):
    """What the model is for.

    Example:
        >>> ModelOptions(task="colorize").task
        'colorize'
    """

    task: str | None = option(
        None,
        "What the model is for, where its file does not say so.",
        choices=TASKS,
        unset="what the file says or its name suggests, else restore",
    )
