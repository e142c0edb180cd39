"""What a graph of our own export says about itself in its metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ..networks.gpen import GPENConfig

LAYOUT = "gpen-onnx-1"
"""Value of the metadata entry "layout"; another value is another layout."""


def is_own(metadata: Mapping[str, str]) -> bool:
    """Whether a graph says that this project wrote it.

    Example:
        >>> is_own({"layout": "gpen-onnx-1"}), is_own({})
        (True, False)
    """
    return metadata.get("layout") == LAYOUT


def own_config(metadata: Mapping[str, str]) -> GPENConfig:
    """The network that the metadata describe.

    Raises:
        ValueError: they describe none; InputError is one of these.

    Example:
        >>> own_config({"config": "{}"})
        Traceback (most recent call last):
        ValueError: its config is not that of a GPEN
    """
    try:
        stored = json.loads(metadata.get("config", ""))
    except (ValueError, RecursionError) as error:
        raise ValueError("its config is not JSON") from error
    names = {"in_size", "out_size", "channels", "style_dim", "n_mlp"}
    if not isinstance(stored, dict) or set(stored) != names:
        raise ValueError("its config is not that of a GPEN")
    channels = stored.pop("channels")
    rows = channels if isinstance(channels, list) and len(channels) <= 16 else [[]]
    if any(not isinstance(row, list) or len(row) != 2 for row in rows):
        raise ValueError("its channels are not pairs")
    numbers = [*stored.values(), *(number for row in rows for number in row)]
    if any(type(number) is not int for number in numbers):
        raise ValueError("its config holds something else than whole numbers")
    return GPENConfig(channels=tuple((size, width) for size, width in rows), **stored)
