"""Files of pictures that say who is restored, and who is left alone."""

from __future__ import annotations

from collections.abc import Sequence

from ..faces.person import Looker, Portrait, Wanted
from ..files import shown
from ..images.read import read_picture
from .inputs import find_inputs


def read_wanted(person: Sequence[str], others: Sequence[str], look: Looker) -> Wanted | None:
    """Who some pictures show.

    Args:
        person: files, folders or globs with pictures of the person looked for.
        others: the same of people who are left alone.
        look: finds out who a picture shows.

    Returns:
        None where no picture is named: everybody is restored.

    Raises:
        InputError: a picture cannot be read, or does not show one face.

    Example:
        >>> from gpen_core.faces.detector import load_detector
        >>> from gpen_core.hooks import Hooks
        >>> look = Looker(load_detector(), lambda crops: crops.mean(dim=(2, 3)), Hooks())
        >>> read_wanted([], [], look) is None
        True
    """
    if not person and not others:
        return None
    return Wanted.of(_portraits(person), _portraits(others), look)


def _portraits(names: Sequence[str]) -> list[Portrait]:
    sources = find_inputs(names).sources
    return [Portrait(shown(one.path), read_picture(one.path).pixels) for one in sources]
