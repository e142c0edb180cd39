"""The tasks by their names."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import InputError
from .colorize import Colorize
from .inpaint import Inpaint
from .paint import Paint
from .task import Task

_TASKS: Mapping[str, Task] = {one.name: one for one in (Task(), Colorize(), Inpaint(), Paint())}


def task_named(name: str) -> Task:
    """The task of that name.

    Raises:
        InputError: there is none.

    Example:
        >>> task_named("colorize").keeps_light
        True
    """
    if name not in _TASKS:
        raise InputError(
            f"task must be one of {', '.join(_TASKS)}, not {name!r}.",
            option="task",
        )
    return _TASKS[name]
