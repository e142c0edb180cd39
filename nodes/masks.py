"""The shape of what is pasted, as the widgets of two nodes say it."""

from __future__ import annotations

from dataclasses import dataclass

from ..gpen_core.faces.mask import MaskOptions
from ..gpen_core.faces.parse import Parser
from . import weights


@dataclass(frozen=True)
class Shape:
    """A mask's options, and the menu's entry behind its parser."""

    options: MaskOptions
    choice: str

    def parser(self) -> Parser | None:
        """The parser that the mask needs, fetched where its entry says so; most need none.

        Raises:
            GPENError: its weights are not there, or could not be fetched.
        """
        return weights.parser(self.choice)


def choose(mask_type: str, exclude: str = "", feather: float = 0.0) -> Shape:
    """What the widgets mean: 0 and an empty list leave the usual values.

    Raises:
        InputError: a value that the core refuses.
    """
    values: dict[str, object] = {"kind": weights.name_of(mask_type), "feather": feather or None}
    names = tuple(name.strip() for name in exclude.split(",") if name.strip())
    if names:
        values["exclude"] = names
    return Shape(MaskOptions(**values), mask_type)
