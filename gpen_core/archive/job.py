"""An archive: a source, a target, and everything between, done once and taken up again."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import filelock

from .. import __version__
from ..errors import InputError
from ..files import locked, make_folder, shown
from .engine import Crew, spread
from .folder import JOURNALS, Folder
from .listing import Listing, list_source
from .manifest import Manifest
from .plan import COLUMNS, Plan, Wishes, make_plan
from .recipe import Recipe
from .rows import Row, Task
from .store import FOLDER, Store, scheme_of
from .stores import open_store
from .summary import Summary

log = logging.getLogger(__name__)

SUMMARY = f"{FOLDER}/summary.json"
Engine = Callable[[Sequence[Task], Recipe, Crew], Iterator[list[Row]]]
"""Spreads tasks over a crew; `engine.spread`."""

# Rows wait no longer for their file than so many, or so many seconds.
_ROWS, _SECONDS = 5000, 60.0


@dataclass
class Archive:
    """A source and a target.

    Attributes:
        source: as `list_source` takes it.
        recipe: how, and to where.
        wishes: what may be done again.
        crew: by whom.
        engine: what spreads the work.

    Example:
        >>> import tempfile
        >>> from gpen_core.archive.recipe import Recipe
        >>> from gpen_core.options import Options
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, "scans").mkdir()
        ...     _ = Path(folder, "scans", "a.jpg").write_bytes(b"...")
        ...     recipe = Recipe.of(f"{folder}/restored", Options())
        ...     Archive(f"{folder}/scans", recipe).look().why
        {'new': 1}
    """

    source: str
    recipe: Recipe
    wishes: Wishes = field(default_factory=Wishes)
    crew: Crew = field(default_factory=Crew)
    engine: Engine = spread

    def __post_init__(self) -> None:
        self.target: Store = open_store(self.recipe.target)
        self.manifest = Manifest(self.target)
        self.listing = Listing()
        self.plan = Plan()
        self._old: list[str] = []
        _check_apart(self.source, self.recipe.target)

    def look(self) -> Plan:
        """What there is to do; nothing is written.

        Raises:
            InputError: the source cannot be read, or what `make_plan` refuses.
        """
        self.listing = list_source(self.source, films=isinstance(self.target, Folder))
        before = known_rows(self.manifest, COLUMNS)
        try:
            self.plan = make_plan(self.listing.items, self.recipe, before, self.target, self.wishes)
        except InputError as error:
            settings = self.manifest.settings()
            raise _with_differences(error, settings, self.recipe) from error
        return self.plan

    def run(self) -> Iterator[list[Row]]:
        """Do it; `look` first.

        Yields:
            Rows as they come; they are in the manifest at the latest when the last has come.

        Raises:
            InputError: another run works on this target.
            Refused: the networks cannot be loaded.
        """
        with self._alone():
            self._begin()
            finished = False
            try:
                if self.plan.tasks:
                    yield from self._rows()
                finished = True
            finally:
                self._end(finished)

    def _begin(self) -> None:
        self.manifest.add(self.plan.found)
        self._old = self._gathered()
        settings: dict[str, Any] = {"source": self.source, "program": __version__}
        settings["pictures"] = len(self.listing.items)
        settings |= {"made_with": self.recipe.made_with, "choices": self.recipe.choices()}
        if self.manifest.settings() != settings:
            self.manifest.write_settings(settings)

    def _gathered(self) -> list[str]:
        """The names of the journals there are; what only they say is put into the manifest."""
        if not isinstance(self.target, Folder):
            return []
        names = [entry.key for entry in self.target.entries(JOURNALS)]
        receipts, known = self.target.receipts(), self.manifest.rows(("key", "finished"))
        self.manifest.add(
            [
                row
                for row in receipts.values()
                if row.key not in known or known[row.key].finished < row.finished
            ]
        )
        return names

    def _rows(self) -> Iterator[list[Row]]:
        waiting, last = list[Row](), time.monotonic()
        try:
            for rows in self.engine(self.plan.tasks, self.recipe, self.crew):
                waiting += rows
                if len(waiting) >= _ROWS or time.monotonic() - last > _SECONDS:
                    self.manifest.add(waiting)
                    waiting, last = [], time.monotonic()
                yield rows
        finally:
            self.manifest.add(waiting)

    def _end(self, finished: bool) -> None:
        """One file instead of many; journals go when nobody writes to them any more."""
        there = self._gathered()
        self.manifest.compact()
        for name in there if finished else self._old:
            self.target.remove(name)

    def _alone(self) -> AbstractContextManager[None]:
        """One run at a time on a folder; on object storage every request is safe by itself."""
        if not isinstance(self.target, Folder):
            return nullcontext()
        folder = make_folder(self.target.root / FOLDER)
        return _held(folder / "run")

    def conclude(self) -> Summary:
        """After a run: a summary of the whole archive and a sheet, written beside the manifest."""
        rows = self.manifest.rows()
        here = [rows[item.key] for item in self.listing.items if item.key in rows]
        summary = Summary.of(here, len(self.listing.items))
        text = json.dumps(summary.facts(), indent=2, ensure_ascii=False) + "\n"
        self.target.put(SUMMARY, text.encode(), replace=True)
        if self.plan.tasks:
            from .sheet import SHEET, make_sheet

            self.target.put(SHEET, make_sheet(here, self.target), replace=True)
        return summary


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """`files.locked`, with a sentence where another run has it."""
    try:
        with locked(path, patience=0.1):
            yield
    except filelock.Timeout as error:
        raise InputError(
            f"{shown(path.parent)}: another run works on this archive; wait for it."
        ) from error


def known_rows(manifest: Manifest, columns: Sequence[str] | None = None) -> dict[str, Row]:
    """The manifest's rows, and those that stand in journals only.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     known_rows(Manifest(open_store(folder)))
        {}
    """
    rows = manifest.rows(columns)
    if isinstance(manifest.store, Folder):
        for row in manifest.store.receipts().values():
            before = rows.get(row.key)
            there = manifest.store.size_of(row.result) == row.result_size
            if there and (before is None or before.finished < row.finished):
                rows[row.key] = row
    return rows


def _check_apart(source: str, target: str) -> None:
    """Refuse a target within its source or the other way round: results would become sources."""
    if scheme_of(source) != scheme_of(target):
        return
    if scheme_of(source):
        one, other = source.rstrip("/") + "/", target.rstrip("/") + "/"
    else:
        one, other = (f"{Path(p).expanduser().resolve()}/" for p in (source, target))
    if one.startswith(other) or other.startswith(one):
        raise InputError(
            f"{shown(source)} and {shown(target)} lie in each other; give a target beside the "
            f"source."
        )


def _with_differences(
    error: InputError, settings: dict[str, object] | None, recipe: Recipe
) -> InputError:
    """An error about other options, with which those are."""
    before = (settings or {}).get("choices")
    if "other options" not in str(error) or not isinstance(before, dict):
        return error
    now = recipe.choices()
    changed = [
        f"{name} {before.get(name)} then, {now[name]} now"
        for name in now
        if before.get(name) != now[name]
    ]
    text = str(error).replace(
        "other options or another model", f"other options ({'; '.join(changed)})"
    )
    return InputError(text, remedy=error.remedy)
