"""Whom a command is to restore, from the pictures given with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..options import Options
    from ..run import Tools


def with_people(
    tools: Tools, options: Options, pictures: tuple[Sequence[str], Sequence[str]], device: str
) -> Tools:
    """The tools with who is looked for, and what tells people apart, where that is asked for.

    Args:
        tools: with a detector.
        options: `identity` needs to tell people apart too.
        pictures: names of pictures of the person, and of people who are left alone.
        device: where the network runs.

    Raises:
        MissingDependencyError: the weights are not here; the text says how to get them.
        InputError: a picture cannot be read, or does not show one face.
    """
    person, not_person = pictures
    if not person and not not_person and options.gate.resolved.identity is None:
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
