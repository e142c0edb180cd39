"""Named: who is restored and who is not, as it travels to workers."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..faces.embed import Embedder, load_embedder, origin_of
from ..faces.person import Wanted
from ..run import Tools


@dataclass(frozen=True)
class Named:
    """What tells people apart, and who they are, as plain numbers.

    Attributes:
        person: vector of the person looked for; empty: anybody.
        others: vectors of people who are left alone.
        file: of the network that made them; None: SFace's own.
        sha256: of that file where it is not SFace; every worker must find the same.

    Example:
        >>> Named.of(Wanted(person=torch.tensor([0.6, 0.8])), None, None).wanted().others is None
        True
    """

    person: tuple[float, ...] = ()
    others: tuple[tuple[float, ...], ...] = ()
    file: str | None = None
    sha256: str = ""

    @classmethod
    def of(
        cls, wanted: Wanted | None, embedder: Embedder | None, file: Path | None
    ) -> Named | None:
        """What a worker has to know of these; None where people are not told apart."""
        if wanted is None and embedder is None:
            return None
        wanted = wanted or Wanted()
        return cls(
            () if wanted.person is None else _plain(wanted.person),
            () if wanted.others is None else tuple(map(_plain, wanted.others)),
            None if file is None else str(file.absolute()),
            _hash_of(embedder),
        )

    @classmethod
    def of_values(cls, values: dict[str, Any]) -> Named:
        """From what `dataclasses.asdict` and JSON made of it."""
        others = tuple(tuple(one) for one in values["others"])
        return cls(**{**values, "person": tuple(values["person"]), "others": others})

    def wanted(self) -> Wanted | None:
        """Who is restored and who is not; None: everybody is."""
        if not self.person and not self.others:
            return None
        return Wanted(
            torch.tensor(self.person) if self.person else None,
            torch.tensor(self.others) if self.others else None,
        )

    def given_to(self, tools: Tools, device: torch.device | str) -> Tools:
        """The tools with what tells people apart.

        Raises:
            MissingDependencyError: SFace's weights are not here.
            CheckpointError: the file is none of a recognition network.
            InputError: it is not the one that this job began with.
        """
        embedder = load_embedder(self.file, device)
        if _hash_of(embedder) != self.sha256:
            raise InputError(
                f"{self.file} is not the recognition network that this job began with; put the "
                f"same file on every machine."
            )
        return replace(tools, embedder=embedder, wanted=self.wanted())

    @property
    def stands_for(self) -> str:
        """In words, with 8 hexadecimal digits that tell other people apart.

        Example:
            >>> Named(person=(0.6, 0.8)).stands_for.partition(" (")[0]
            'a person looked for, 0 left alone'
        """
        facts = {**asdict(self), "file": None}
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]
        looked_for = "a person looked for" if self.person else "nobody looked for"
        return f"{looked_for}, {len(self.others)} left alone ({digest})"


def _hash_of(embedder: Embedder | None) -> str:
    """Of a network that is not SFace."""
    origin = origin_of(embedder)
    return "" if origin is None else origin.sha256


def _plain(vector: Tensor) -> tuple[float, ...]:
    return tuple(round(value, 6) for value in vector.tolist())
