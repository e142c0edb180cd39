"""How the pictures of an archive are restored, in words that travel and can be compared."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ..batch.targets import Naming, named
from ..files import sha256
from ..options import DETECTORS, PRECISIONS, STEPS, Options, specs
from ..weights.locate import locate
from .named import Named

# They change no result, or only in the last of 24 bits.
_OF_NO_MATTER = frozenset(["batch_size"])


@dataclass(frozen=True)
class Recipe:
    """Everything that a worker has to know.

    Attributes:
        target: where results go.
        options: by their plain names, as `Options.of` takes them.
        model: a file, a name, or None for the embedded model.
        model_sha256: of its file; every worker must find the same.
        people: who is restored and who is not; None where people are not told apart.
        detector, device, precision, weights_dir: as `Tools.load`.
        suffix, format, quality: of the results.
        at_once: pictures whose faces share passes of the network.
        threads: of PyTorch in a worker.
        patience: seconds without a sign of life after which a worker is stopped.

    Example:
        >>> recipe = Recipe.of("out", Options.of(strength=0.5), format="png")
        >>> recipe.options["strength"], recipe.result_of("scans/one.jpg")
        (0.5, 'scans/one.png')
        >>> Recipe.of_text(recipe.text()) == recipe
        True
    """

    target: str
    options: dict[str, Any] = field(default_factory=dict)
    model: str | None = None
    model_sha256: str = ""
    people: Named | None = None
    detector: str = DETECTORS[0]
    device: str = "auto"
    precision: str = PRECISIONS[0]
    weights_dir: str | None = None
    suffix: str = ""
    format: str | None = None
    quality: int | None = None
    at_once: int = 1
    threads: int = 1
    patience: float = 900.0

    @classmethod
    def of(cls, target: str, options: Options, **rest: Any) -> Recipe:
        """The recipe for these options, with the hash of the model as it is here.

        Raises:
            MissingWeightsError: there is no such model.
            InputError: an unknown format, or a suffix that cannot be.
        """
        Naming(None, rest.get("suffix"), rest.get("format"))  # refuses what cannot be
        digest = sha256(locate(rest.get("model")))
        return cls(target, flat(options), model_sha256=digest, **rest)

    def text(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def of_text(cls, text: str) -> Recipe:
        """From what `text` gave."""
        values = json.loads(text)
        if values["people"] is not None:
            values["people"] = Named.of_values(values["people"])
        return cls(**values)

    def chosen(self) -> Options:
        """The options as the steps take them."""
        return Options.of(**self.options)

    def result_of(self, key: str) -> str:
        """The name of a result."""
        return str(named(PurePosixPath(key), self.suffix, Naming(format=self.format)))

    def choices(self) -> dict[str, Any]:
        """What decides how results look, by the names that a user knows."""
        own = {name: getattr(self, name) for name in ("detector", "precision", "format", "quality")}
        options = {k: v for k, v in self.options.items() if k not in _OF_NO_MATTER}
        if self.people is not None:
            own["people"] = self.people.stands_for
        return {**options, **own, "suffix": self.suffix, "model": self.model_sha256}

    @property
    def made_with(self) -> str:
        """16 hexadecimal digits that stand for `choices`."""
        text = json.dumps(self.choices(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def folder(self) -> Path | None:
        """That of the detector's and the parser's files."""
        return None if self.weights_dir is None else Path(self.weights_dir)


def flat(options: Options) -> dict[str, Any]:
    """Options by their plain names, as JSON holds them.

    >>> flat(Options.of(keep=[0, 2]))["keep"]
    [0, 2]
    """
    values = {
        name: getattr(getattr(options, step), name)
        for step, group in STEPS.items()
        for name, _, _ in specs(group)
    }
    values["template"] = options.template
    return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}
