"""Spec: range, choices, default and help of an option, and the check of its values."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import Field, dataclass, field, fields
from typing import Any

from ..errors import InputError


@dataclass(frozen=True)
class Spec:
    """What is known of one option.

    Attributes:
        help: one line, ending in a full stop.
        low, high: range of a number, both ends included.
        step: a sensible step for a slider.
        choices: the values allowed, if they are few.
        unset: what None means, for options that may be left open.

    Example:
        >>> Spec("A share.", low=0, high=1).check("share", 2)
        Traceback (most recent call last):
        gpen_core.errors.InputError: share must be from 0 to 1, not 2.
    """

    help: str
    low: float | None = None
    high: float | None = None
    step: float | None = None
    choices: tuple[Any, ...] = ()
    unset: str = ""

    @property
    def limits(self) -> str:
        """The range in words, `0.1 to 1`; empty where there is none."""
        if self.low is None or self.high is None:
            return ""
        return f"{self.low:.10g} to {self.high:.10g}"  # all digits of a seed

    def check(self, name: str, value: Any) -> None:
        """Refuse a value outside the range or the choices.

        Raises:
            InputError: names the option, the value and what is allowed.
        """
        if value is None and self.unset:
            return
        if self.choices:
            if value not in self.choices or isinstance(value, bool):
                allowed = ", ".join(str(choice) for choice in self.choices)
                raise InputError(f"{name} must be one of {allowed}, not {value!r}.", option=name)
        elif self.low is not None and self.high is not None:
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not self.low <= value <= self.high or not math.isfinite(value):
                raise InputError(
                    f"{name} must be from {self.limits}, not {value!r}.",
                    option=name,
                )


def option(default: Any, help: str, **spec: Any) -> Any:
    """A dataclass field with its `Spec`."""
    return field(default=default, metadata={"spec": Spec(help, **spec)})


def spec_of(options: type | object, name: str) -> Spec:
    """The spec of one field of an option class.

    Example:
        >>> from gpen_core.options import RestoreOptions
        >>> spec_of(RestoreOptions, "strength").high
        1.0
    """
    return next(one for one in _option_fields(options) if one.name == name).metadata["spec"]


def default_of(options: type | object, name: str) -> Any:
    """The default of one field of an option class.

    Example:
        >>> from gpen_core.options import DetectOptions
        >>> default_of(DetectOptions, "confidence")
        0.9
    """
    return next(one for one in _option_fields(options) if one.name == name).default


def specs(options: type | object) -> Iterator[tuple[str, Any, Spec]]:
    """(name, default, spec) of every field of an option class.

    Example:
        >>> from gpen_core.options import RestoreOptions
        >>> [name for name, default, spec in specs(RestoreOptions)]
        ['strength', 'batch_size', 'seed']
    """
    return ((one.name, one.default, one.metadata["spec"]) for one in _option_fields(options))


def _option_fields(options: type | object) -> list[Field[Any]]:
    return [one for one in fields(options) if "spec" in one.metadata]  # type: ignore[arg-type]


@dataclass(frozen=True)
class Checked:
    """Base of option classes: every field is checked against its spec when it is made.

    Example:
        >>> @dataclass(frozen=True)
        ... class Sharpening(Checked):
        ...     amount: float = option(0.5, "How much.", low=0, high=2)
        >>> Sharpening(amount=3)
        Traceback (most recent call last):
        gpen_core.errors.InputError: amount must be from 0 to 2, not 3.
    """

    def __post_init__(self) -> None:
        for name, _, spec in specs(self):
            spec.check(name, getattr(self, name))
