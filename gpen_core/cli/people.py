"""Whom a command is to restore, from the pictures given with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from .console import say

if TYPE_CHECKING:
    from ..options import Options
    from ..run import Tools


@dataclass(frozen=True)
class People:
    """Who is to be restored, and who is not.

    Attributes:
        person: names of pictures of the person who alone is restored.
        not_person: the same of people who are left alone.
        embedder: file of the network that tells them apart; None: SFace.
    """

    person: Sequence[str] = ()
    not_person: Sequence[str] = ()
    embedder: Path | None = None

    def __bool__(self) -> bool:
        """Whether somebody is named."""
        return bool(self.person or self.not_person)

    def are_told_apart(self, options: Options) -> bool:
        """Whether an embedder is needed: for them, or to keep the identity."""
        return bool(self) or options.gate.resolved.identity is not None


def with_people(tools: Tools, options: Options, people: People, device: str = "cpu") -> Tools:
    """The tools with who is looked for, and what tells people apart, where that is asked for.

    Args:
        tools: with a detector where people are told apart.
        options: `identity` needs to tell people apart too.
        people: pictures of them.
        device: where the network runs.

    Raises:
        MissingDependencyError: the weights are not here; the text says how to get them.
        CheckpointError: the file of the network is none.
        InputError: a picture cannot be read, or does not show one face; or a network without use,
            or without a threshold.
    """
    if options.gate.person_threshold is not None and not people:
        raise InputError("--person_threshold has no effect without --person or --not_person.")
    if not people.are_told_apart(options):
        if people.embedder is not None:
            raise InputError(
                "--embedder has no effect without --person, --not_person, --identity or --careful."
            )
        return tools
    from ..batch.people import read_wanted
    from ..faces.embed import load_embedder, person_threshold
    from ..faces.person import Looker
    from ..hooks import Hooks
    from ..models.device import resolve_device

    embedder = load_embedder(people.embedder, resolve_device(device))
    if people:
        person_threshold(options.gate, embedder)  # refuses a network whose own is not known
    if embedder.origin is not None:
        say(f"Faces are told apart by {embedder.origin}.")
    assert tools.detector is not None  # loaded with the others
    look = Looker(tools.detector, embedder, Hooks())
    wanted = read_wanted(people.person, people.not_person, look)
    return replace(tools, embedder=embedder, wanted=wanted)
