"""Whom a command is to restore, from the pictures given with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..run import Tools


def with_people(
    tools: Tools, person: Sequence[str], not_person: Sequence[str], device: str
) -> Tools:
    """The tools with who is looked for, and what tells them apart; as they are without a picture.

    Raises:
        MissingDependencyError: the weights are not here; the text says how to get them.
        InputError: a picture cannot be read, or does not show one face.
    """
    if not person and not not_person:
        return tools
    from ..batch.people import read_wanted
    from ..faces.embed import load_embedder
    from ..faces.person import Looker
    from ..hooks import Hooks
    from ..models.device import resolve_device

    embedder = load_embedder(device=resolve_device(device))
    assert tools.detector is not None  # loaded with the others
    wanted = read_wanted(person, not_person, Looker(tools.detector, embedder, Hooks()))
    return replace(tools, embedder=embedder, wanted=wanted)
