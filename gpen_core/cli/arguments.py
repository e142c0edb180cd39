"""Flags made from the option classes, so that a range, a default and a help text stand once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from ..errors import InputError
from ..options import (
    DETECTORS,
    PRECISIONS,
    Checked,
    DetectOptions,
    GateOptions,
    MaskOptions,
    ModelOptions,
    Options,
    PasteOptions,
    RestoreOptions,
    SelectOptions,
    Spec,
    default_of,
    spec_of,
    specs,
)

# Options that a command line takes as text.
_AS_TEXT = {"keep", "exclude", "parts", "strength"}
_AUTO = "auto"  # as a strength


def spellings(name: str, *more: str) -> list[str]:
    """Both spellings of a flag, `--model_path` and `--model-path`."""
    return [f"--{name}", *([f"--{name.replace('_', '-')}"] if "_" in name else []), *more]


def flag(name: str, help: str, *more: str, **keywords: Any) -> Any:
    """A flag that does not come from an option class."""
    return typer.Option(*spellings(name, *more), help=help, **keywords)


OF_PICTURES = (
    ModelOptions,
    DetectOptions,
    SelectOptions,
    RestoreOptions,
    MaskOptions,
    PasteOptions,
)
"""The option classes of commands that find faces in pictures and put them back."""

ModelPath = Annotated[
    str | None, flag("model_path", "Model file or name. Default: the embedded model.", "-m")
]
DetectorName = Annotated[str, flag("detector", f"Face detector. One of {', '.join(DETECTORS)}.")]
Precision = Annotated[
    str, flag("precision", f"Precision of the model. One of {', '.join(PRECISIONS)}.")
]
Device = Annotated[str, flag("device", "Where the networks run: auto, cpu, cuda, cuda:1 or mps.")]
Format = Annotated[
    str | None,
    flag("format", "File format of the results, such as png. Default: that of the input."),
]
Overwrite = Annotated[bool, flag("overwrite", "Replace files that exist.")]
WeightsDir = Annotated[
    Path | None,
    flag("weights_dir", "Folder of the detector and parser files. Default: see gpen models where."),
]
AcceptLicense = Annotated[
    bool, flag("accept_license", "Accept the licenses of missing files and download them.")
]

Person = Annotated[
    list[str] | None,
    flag(
        "person",
        "Picture of a person, who alone is restored; several pictures, or a folder of them, are "
        "averaged.",
        show_default=False,
    ),
]
NotPerson = Annotated[
    list[str] | None,
    flag(
        "not_person",
        "Picture of somebody who is left alone; may be given several times, for several people.",
        show_default=False,
    ),
]

EmbedderFile = Annotated[
    Path | None,
    flag(
        "embedder",
        "File of another face recognition network that tells people apart: an ArcFace as an ONNX "
        "graph, or model_ir_se50.pth; --person_threshold has to be given too. Default: SFace.",
        show_default=False,
    ),
]


def with_options(
    *groups: type[Checked],
    template: bool = False,
    leave_out: tuple[str, ...] = (),
    changed: Mapping[str, Any] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the flags of option classes; it receives them as one `options: Options`.

    Args:
        groups: the classes.
        template: the alignment template too.
        leave_out: fields without a flag here.
        changed: defaults that are others here.
    """
    own_defaults = changed or {}
    entries = [
        (name, own_defaults.get(name, default), spec, get_type_hints(group)[name])
        for group in groups
        for name, default, spec in specs(group)
        if name not in leave_out and name != "auto_strength"  # --strength auto
    ]
    if template:
        (entry,) = [one for one in specs(Options) if one[0] == "template"]
        entries.append((*entry, get_type_hints(Options)["template"]))

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def run(**values: Any) -> Any:
            given = {name: values.pop(name) for name, *_ in entries}
            if "strength" in given:
                given |= _strength(given["strength"])
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


def with_fields(
    fields_of: type, into: str, leave_out: tuple[str, ...] = ()
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the arguments that a dataclass has as annotated fields.

    Args:
        fields_of: the dataclass; the command receives one of it.
        into: the command's parameter for it.
        leave_out: fields without an argument here.
    """
    hints = get_type_hints(fields_of, include_extras=True)
    made = [
        inspect.Parameter(
            one.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=one.default,
            annotation=hints[one.name],
        )
        for one in fields(fields_of)
        if one.name not in leave_out
    ]

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def run(**values: Any) -> Any:
            given = {one.name: values.pop(one.name) for one in made}
            return command(**values, **{into: fields_of(**given)})

        own = inspect.signature(command, eval_str=True).parameters
        others = [
            one.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for one in own.values()
            if one.name != into
        ]
        run.__signature__ = inspect.Signature([*made, *others])  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in [*made, *others]}
        del run.__wrapped__
        return run

    return decorate


def _strength(text: str) -> dict[str, Any]:
    """The options that a strength means: a number, or "auto"."""
    if text == _AUTO:
        return {"strength": None, "auto_strength": True}
    try:
        return {"strength": float(text)}
    except ValueError as error:
        limits = spec_of(RestoreOptions, "strength").limits
        raise InputError(
            f"strength must be from {limits}, or {_AUTO}, not {text!r}.", option="strength"
        ) from error


def _parameter(name: str, default: Any, spec: Spec, hint: Any) -> inspect.Parameter:
    kind = str if name in _AS_TEXT or (spec.choices and isinstance(default, str)) else hint
    if name in ("template", "task"):
        kind = str | None
    text = spec.help
    if spec.choices:
        text += f" One of {', '.join(map(str, spec.choices))}."
    elif spec.limits:
        text += f" From {spec.limits}."
    if name == "strength":
        text += f" {_AUTO}: {_lowered(spec_of(GateOptions, 'auto_strength').help)}"
    if spec.unset:
        text += f" Default: {spec.unset}."
    value = ",".join(default) if isinstance(default, tuple) else default
    if name == "strength":
        value = f"{default:g}"
    annotation: Any = Annotated[kind, flag(name, text, show_default=default is not None)]
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=value, annotation=annotation
    )


def _lowered(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]


def refuse_without_effect(options: Options) -> None:
    """Refuse flags that would change nothing.

    Raises:
        InputError: names the flag that is missing.
    """
    excludes = options.mask.exclude != default_of(MaskOptions, "exclude")
    if excludes and options.mask.mask != "parsing":
        raise InputError("--exclude only works with the parsing mask; add --mask parsing.")
    grows = options.mask.grow != default_of(MaskOptions, "grow")
    if grows and not options.mask.needs_mesh:
        raise InputError("--grow only works with --mask face or --parts; add one of them.")
