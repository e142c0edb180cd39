"""Parsing: the parts that a face parser finds, by their names."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import InputError

PARSING_CLASSES = (
    "background",
    "skin",
    "nose",
    "glasses",
    "left_eye",
    "right_eye",
    "left_brow",
    "right_brow",
    "left_ear",
    "right_ear",
    "inner_mouth",
    "upper_lip",
    "lower_lip",
    "hair",
    "hat",
    "earring",
    "necklace",
    "neck",
    "cloth",
)
"""Classes of CelebAMask-HQ, in the order of ParseNet's output channels."""

PARSING_GROUPS: Mapping[str, tuple[str, ...]] = {
    "eyes": ("left_eye", "right_eye"),
    "brows": ("left_brow", "right_brow"),
    "ears": ("left_ear", "right_ear"),
    "lips": ("upper_lip", "lower_lip"),
    "mouth": ("inner_mouth", "upper_lip", "lower_lip"),
}


def class_indices(names: tuple[str, ...]) -> tuple[int, ...]:
    """Output channels of parsing classes or groups of them, ascending.

    Raises:
        InputError: a name that is neither.

    Example:
        >>> class_indices(("eyes", "nose"))
        (2, 4, 5)
    """
    indices = set()
    for name in names:
        for member in PARSING_GROUPS.get(name, (name,)):
            if member not in PARSING_CLASSES:
                known = ", ".join((*PARSING_CLASSES, *PARSING_GROUPS))
                raise InputError(
                    f"There is no face part {name!r}; choose among {known}.", option="exclude"
                )
            indices.add(PARSING_CLASSES.index(member))
    return tuple(sorted(indices))
