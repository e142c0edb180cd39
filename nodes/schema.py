"""Schemas that every supported host accepts: newer fields are used where the host has them."""

from __future__ import annotations

from dataclasses import fields
from typing import TypeVar

from comfy_api.latest import io

CATEGORY = "GPEN"
_KNOWN = {field.name for field in fields(io.Schema)}

Widget = TypeVar("Widget", bound=io.Input)


def schema(**values: object) -> io.Schema:
    """`io.Schema` of the fields this host knows; the others only add comfort and are left out."""
    values = {"category": CATEGORY, **values}
    return io.Schema(**{name: value for name, value in values.items() if name in _KNOWN})


def advanced(widget: Widget) -> Widget:
    """The widget, folded away until it is asked for, on hosts that fold."""
    widget.extra_dict["advanced"] = True
    return widget


def later(widget: Widget) -> Widget:
    """The widget of an option that came after the first release.

    Optional, so that graphs saved without it are still taken, and below the older widgets, whose
    places in a saved workflow stay the same.
    """
    widget.optional = True
    return widget
