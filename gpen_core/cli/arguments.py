"""Flags made from the option classes, so that a range, a default and a help text stand once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from ..options import Checked, Options, Spec, specs

# Options that a command line takes as text.
_AS_TEXT = {"keep", "exclude", "parts"}


def spellings(name: str, *more: str) -> list[str]:
    """Both spellings of a flag, `--model_path` and `--model-path`."""
    return [f"--{name}", *([f"--{name.replace('_', '-')}"] if "_" in name else []), *more]


def flag(name: str, help: str, *more: str, **keywords: Any) -> Any:
    """A flag that does not come from an option class."""
    return typer.Option(*spellings(name, *more), help=help, **keywords)


Overwrite = Annotated[bool, flag("overwrite", "Replace files that exist.")]
WeightsDir = Annotated[
    Path | None,
    flag("weights_dir", "Folder of the detector and parser files. Default: see gpen models where."),
]
AcceptLicense = Annotated[
    bool, flag("accept_license", "Accept the licenses of missing files and download them.")
]


def with_options(
    *groups: type[Checked], template: bool = False, leave_out: tuple[str, ...] = ()
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the flags of option classes; it receives them as one `options: Options`.

    Args:
        groups: the classes.
        template: the alignment template too.
        leave_out: fields without a flag here.
    """
    entries = [
        (name, default, spec, get_type_hints(group)[name])
        for group in groups
        for name, default, spec in specs(group)
        if name not in leave_out
    ]
    if template:
        (entry,) = [one for one in specs(Options) if one[0] == "template"]
        entries.append((*entry, get_type_hints(Options)["template"]))

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def run(**values: Any) -> Any:
            given = {name: values.pop(name) for name, *_ in entries}
            return command(**values, options=Options.of(**given))

        own = inspect.signature(command, eval_str=True).parameters
        made = [_parameter(*entry) for entry in entries]
        run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [*(one for one in own.values() if one.name != "options"), *made]
        )
        run.__annotations__ = {one.name: one.annotation for one in [*own.values(), *made]}
        del run.__annotations__["options"], run.__wrapped__
        return run

    return decorate


def _parameter(name: str, default: Any, spec: Spec, hint: Any) -> inspect.Parameter:
    kind = str if name in _AS_TEXT or (spec.choices and isinstance(default, str)) else hint
    if name == "template":
        kind = str | None
    text = spec.help
    if spec.choices:
        text += f" One of {', '.join(map(str, spec.choices))}."
    elif spec.limits:
        text += f" From {spec.limits}."
    if spec.unset:
        text += f" Default: {spec.unset}."
    value = ",".join(default) if isinstance(default, tuple) else default
    annotation: Any = Annotated[kind, flag(name, text, show_default=default is not None)]
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=value, annotation=annotation
    )
