"""Mask: the shape that is pasted."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import InputError
from .parsing import class_indices
from .spec import Checked, option

MASKS = ("rectangle", "ellipse", "hull", "parsing", "face")
PARTS = ("eyes", "brows", "mouth")
"""Parts of a face that its mesh knows, in or out of a mask."""


@dataclass(frozen=True)
class MaskOptions(Checked):
    """The shape that is pasted back.

    Lengths are pixels of a 512-px crop and scale with the crop, so that one setting looks the same
    with every model.

    Example:
        >>> MaskOptions(mask="parsing", exclude="hair, glasses").exclude
        ('hair', 'glasses')
    """

    mask: str = option(
        "ellipse",
        "Shape of the pasted region: the whole crop, an ellipse around the face, the outline of "
        "its landmarks, the parts that a face parser finds, or the face's own outline.",
        choices=MASKS,
    )
    feather: float | None = option(
        None,
        "Width of the soft edge, in pixels of a 512-px crop.",
        low=0.0,
        high=128.0,
        step=1.0,
        unset="22.6, as in the official pipeline",
    )
    border: float = option(
        26.0,
        "Width of the crop's edge that is never pasted, in pixels of a 512-px crop.",
        low=0.0,
        high=128.0,
        step=1.0,
    )
    exclude: tuple[str, ...] = option(
        ("background", "hat", "cloth"),
        "Parts that the parsing mask leaves out, separated by commas: eyes, mouth, glasses, hair "
        "and so on.",
    )
    parts: tuple[str, ...] = option(
        (),
        "Paste only these parts of the face, of eyes, brows and mouth, separated by commas; with a "
        "minus, as in -mouth, all but these.",
    )
    grow: float = option(
        8.0,
        "Move the outline of the face mask and of the parts outward so far, in pixels of a 512-px "
        "crop; below 0 inward.",
        low=-64.0,
        high=128.0,
        step=1.0,
    )
    occlusion: bool = option(
        False,
        "Leave alone what is in front of a face: hands, hair, microphones, glasses, text and so "
        "on.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("exclude", "parts"):
            names = getattr(self, name)
            # From JSON they come as a list.
            names = comma_separated(names) if isinstance(names, str) else tuple(names)
            object.__setattr__(self, name, names)
        class_indices(self.exclude)
        for part in self.parts:
            if part.removeprefix("-") not in PARTS:
                raise InputError(
                    f"There is no part {part!r} to paste; choose among {', '.join(PARTS)}, each "
                    f"with a minus to leave it out.",
                    option="parts",
                )
        both = sorted(set(self.included) & set(self.left_out))
        if both:
            raise InputError(
                f"parts names {both[0]} with and without a minus; give one of them.", option="parts"
            )

    @property
    def included(self) -> tuple[str, ...]:
        """The parts that alone are pasted; none means all of the mask."""
        return tuple(part for part in self.parts if not part.startswith("-"))

    @property
    def left_out(self) -> tuple[str, ...]:
        """The parts that are not pasted."""
        return tuple(part[1:] for part in self.parts if part.startswith("-"))

    @property
    def needs_mesh(self) -> bool:
        """Whether the faces' own outlines are needed."""
        return self.mask == "face" or bool(self.parts)


def comma_separated(text: str) -> tuple[str, ...]:
    """The names in a text.

    Example:
        >>> comma_separated("eyes, mouth,")
        ('eyes', 'mouth')
    """
    return tuple(name.strip() for name in text.split(",") if name.strip())
