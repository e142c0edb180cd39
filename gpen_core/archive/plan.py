"""What there is to do: what is missing, has failed, or was made of something else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..errors import InputError
from ..files import shown
from .listing import Item
from .recipe import Recipe
from .rows import Row, Task
from .store import Store

COLUMNS = ("key", "size", "version", "result", "result_size", "status", "made_with", "finished")
"""What of the manifest a plan needs."""


@dataclass(frozen=True)
class Wishes:
    """What may be done again.

    Attributes:
        retry_failed: what has failed before.
        overwrite: what was made with other options, and what is in the way.

    Example:
        >>> Wishes().overwrite
        False
    """

    retry_failed: bool = False
    overwrite: bool = False


@dataclass
class Plan:
    """What there is to do.

    Attributes:
        tasks: the pictures, in the order of the source.
        done: keys of those that are done.
        failed: keys of those that failed before and are not tried again.
        why: how many tasks there are of each kind: "new", "failed before", "source changed",
            "other options", "result missing".
        found: rows of results that are there, but not in the manifest.
    """

    tasks: list[Task] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    why: dict[str, int] = field(default_factory=dict)
    found: list[Row] = field(default_factory=list)

    def add(self, item: Item, result: str, why: str, *, replace: bool) -> None:
        self.tasks.append(Task(item.key, item.place, item.size, item.version, result, replace))
        self.why[why] = self.why.get(why, 0) + 1


def make_plan(
    items: Iterable[Item],
    recipe: Recipe,
    before: Mapping[str, Row],
    target: Store,
    wishes: Wishes | None = None,
) -> Plan:
    """Compare a source with what was done before.

    Args:
        items: the pictures of the source.
        recipe: how they are to be restored.
        before: the manifest's row of every picture.
        target: where results are.
        wishes: what may be done again.

    Raises:
        InputError: two results would share a name, something is in the way, or results were made
            with other options, and `overwrite` is not set.
    """
    wishes, plan = wishes or Wishes(), Plan()
    there = {entry.key: entry.size for entry in target.entries()}
    names: dict[str, str] = {}
    other, taken = 0, list[str]()
    for item in items:
        result = recipe.result_of(item.key)
        _claim(names, result, item.key)
        row = before.get(item.key)
        if row is None and result in there:
            row = target.receipt(result)
            if row is not None and row.key == item.key:
                plan.found.append(row)
            elif not wishes.overwrite:
                taken.append(result)
                continue
        # Somebody has worked on it since.
        changed = row is not None and there.get(result, row.result_size) != row.result_size
        if changed and not wishes.overwrite:
            taken.append(result)
            continue
        why = _why(item, row, recipe, there.get(result), wishes)
        if why == "other options" and not wishes.overwrite:
            other += 1
        elif why is None:
            assert row is not None
            (plan.done if row.done else plan.failed).append(item.key)
        else:
            plan.add(item, result, why, replace=result in there)
    _refuse(other, taken)
    return plan


def _why(
    item: Item, row: Row | None, recipe: Recipe, there: int | None, wishes: Wishes
) -> str | None:
    """Why a picture is to be done; None if it is not."""
    if row is None:
        return "new"
    if row.made_with != recipe.made_with:
        # What has no result mixes nothing.
        return "other options" if row.done and there is not None else "new"
    if (row.size, row.version) != (item.size, item.version):
        return "source changed"
    if not row.done:
        return "failed before" if wishes.retry_failed else None
    return None if there == row.result_size else "result missing"


def _claim(names: dict[str, str], result: str, key: str) -> None:
    """Refuse two results with one name, on systems that do not tell upper from lower case too."""
    first = names.setdefault(result.casefold(), key)
    if first != key:
        raise InputError(
            f"{shown(first)} and {shown(key)} would both become {shown(result)}; rename one."
        )


def _refuse(other: int, taken: list[str]) -> None:
    if taken:
        raise InputError(
            f"{len(taken)} of the results' names are taken by files that this archive did not "
            f"write, such as {shown(taken[0])}; give another target.",
            remedy="overwrite",
        )
    if other:
        raise InputError(
            f"{other} results were made with other options or another model; give the same again, "
            f"or another target.",
            remedy="overwrite",
        )
