"""Find the weights inside a checkpoint: wrappers, prefixes, the best of several networks."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ..errors import CheckpointError
from ..text import first_line, printable, quoted

# Averaged weights come first: they are what a training run is judged by.
WRAPPERS = ("g_ema", "params_ema", "ema", "g", "net_g", "params", "state_dict", "model", "netG")
_PREFIXES = ("module.", "_orig_mod.", "net_g.", "model.")
V2_PARTS = ("encoder", "mapper", "generator")
_MAX_DEPTH = 4
_MAX_PREFIXES = 8
_MAX_ARGUMENTS = 1000


@dataclass(frozen=True)
class Weights:
    """A flat state dict and where in the file it was.

    Attributes:
        state: key to tensor; the parts of a v2.0 file carry their part's name as a prefix.
        wrapper: the keys that led to it, e.g. "g_ema"; empty for a bare state dict.
        args: a v2.0 file's arguments as plain data.
    """

    state: dict[str, Tensor]
    wrapper: str = ""
    args: dict[str, Any] = field(default_factory=dict)


def unwrap(content: Any, metadata: Mapping[str, str] | None = None) -> Weights:
    """The weights of a checkpoint's top-level object, by reference: no tensor is copied.

    Args:
        content: what was read.
        metadata: of a safetensors file; a converted v2.0 file keeps its arguments there.

    Raises:
        CheckpointError: it holds no weights; the text begins with "it", for the caller to say
            which file.
    """
    path: list[str] = []
    args = _stated_args(metadata or {})
    for _ in range(_MAX_DEPTH):
        if not isinstance(content, Mapping):
            raise CheckpointError(
                f"it holds a {type(content).__name__} where a dictionary of weights was "
                f"expected; it is not a checkpoint."
            )
        if all(isinstance(content.get(part), Mapping) for part in V2_PARTS):
            return Weights(_flatten(content), ".".join(path), _plain(content.get("args")))
        tensors = _tensors(content)
        inner = next((key for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if tensors and (inner is None or len(tensors) > len(content) // 2):
            return Weights(_without_prefix(tensors), ".".join(path), args)
        if inner is None:
            break
        path.append(inner)
        content = content[inner]
    if "d" in content:
        raise CheckpointError(
            "it holds a discriminator only, which is of use in training; use the generator's file."
        )
    found = ", ".join(quoted(key, 60) for key in list(content)[:6]) or "nothing"
    raise CheckpointError(f"it holds no weights; its top level has {found}.")


def _stated_args(metadata: Mapping[str, str]) -> dict[str, Any]:
    try:
        args = json.loads(metadata.get("args", "{}"))
    except (ValueError, RecursionError) as error:
        # Of nesting and of long numbers, Python says what a programmer may do.
        what = first_line(error) if isinstance(error, json.JSONDecodeError) else "beyond reason"
        raise CheckpointError(
            f"its metadata 'args' is not JSON ({what}); convert the original file again."
        ) from error
    return _plain(args)


def _tensors(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights among the content of a state dict; keys that are no text name none."""
    return {
        key: value
        for key, value in content.items()
        if isinstance(key, str) and isinstance(value, Tensor)
    }


def _flatten(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """A v2.0 file's parts as one state dict."""
    return {
        f"{part}.{key}": value
        for part in V2_PARTS
        for key, value in _without_prefix(_tensors(content[part])).items()
    }


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict without what wrappers such as DataParallel put before every key."""
    for _ in range(_MAX_PREFIXES):
        common = (prefix for prefix in _PREFIXES if all(key.startswith(prefix) for key in state))
        prefix = next(common, "") if state else ""
        if not prefix:
            break
        state = {key[len(prefix) :]: value for key, value in state.items()}
    return state


def _plain(args: Any) -> dict[str, Any]:
    """Arguments as plain data: of anything else only the type is kept."""
    values = vars(args) if isinstance(args, argparse.Namespace) else args
    if not isinstance(values, Mapping):
        return {}
    if len(values) > _MAX_ARGUMENTS:
        raise CheckpointError(f"it states {len(values)} arguments, more than any model has.")
    return {str(key): _value(value) for key, value in values.items() if isinstance(key, str)}


def _value(value: Any) -> Any:
    if isinstance(value, str | int | float | None):
        return value
    if isinstance(value, list | tuple) and len(value) <= _MAX_ARGUMENTS:
        return [one if isinstance(one, str | int | float) else printable(one) for one in value]
    return printable(value)
