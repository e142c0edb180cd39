"""From tasks to results, in the process that has the networks."""

from __future__ import annotations

import hashlib
import logging
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from ..batch.steps import reason, status_of
from ..errors import InputError
from ..faces.paste import Surface
from ..files import sha256
from ..films.formats import is_film, require_reader
from ..hooks import Hooks, Recording
from ..images.picture import Picture
from ..images.read import decode
from ..images.write import check_format, check_size, encode_checked
from ..memory.process import return_freed_memory
from ..report import Report
from ..run import Restored, Run, Tools
from .folder import FILMS, Folder
from .recipe import Recipe
from .rows import Row, Task
from .store import Store, Taken
from .stores import Reader, open_store

log = logging.getLogger(__name__)

# Decoded pixels of the pictures that are worked on together; a larger one is alone.
_PIXELS = 16 << 20


@dataclass
class _Opened:
    """A picture that was read."""

    number: int
    task: Task
    picture: Picture
    sha256: str
    events: list[str]
    seconds: float


class Maker:
    """Reads, restores and writes; what goes wrong with one picture stops no other.

    Args:
        recipe: how.
        writer: names this process among those that write.
        hooks: of the run.

    Raises:
        GPENError: the networks cannot be loaded, or the model is another one here.
    """

    def __init__(self, recipe: Recipe, writer: str = "", hooks: Hooks | None = None) -> None:
        self.recipe = recipe
        options = recipe.chosen()
        needed = (recipe.detector, options.mask.mask)
        tools = Tools.load(recipe.model, recipe.device, recipe.precision, needed, recipe.folder)
        assert tools.model is not None
        path, device = tools.model.info.path, tools.model.device
        if recipe.people is not None:
            tools = recipe.people.given_to(tools, device)
        if path is not None and sha256(path) != recipe.model_sha256:
            raise InputError(
                f"{path} on {platform.node()} is not the model that this job began with; put the "
                f"same file on every machine."
            )
        self.run, self.read = Run(tools, options, hooks), Reader()
        self.run.check_task()
        self.target: Store = open_store(recipe.target, writer)
        self._done = 0

    def __call__(
        self, tasks: Sequence[Task], begin: Callable[[list[int]], None] = lambda numbers: None
    ) -> Iterator[tuple[int, Row]]:
        """Every task's number among these, with what became of it.

        Args:
            tasks: the pictures.
            begin: told the numbers of those that are worked on next.
        """
        group: list[_Opened] = []
        for number, task in enumerate(tasks):
            if is_film(PurePosixPath(task.key)):
                begin([*(one.number for one in group), number])
                yield number, self._there(task) or self._film(task)
                continue
            begin([*(one.number for one in group), number])
            there = self._there(task)
            opened = there or self._opened(number, task)
            if isinstance(opened, Row):
                yield number, opened
                continue
            if group and _pixels(group) + _pixels([opened]) > _PIXELS:
                yield from self._finished(group)
                group = []
                begin([number])
            group.append(opened)
            if len(group) >= self.recipe.at_once:
                yield from self._finished(group)
                group = []
        if group:
            yield from self._finished(group)

    def trial(self, task: Task) -> tuple[Row, int]:
        """A picture restored and encoded, but not written: what it takes."""
        opened = self._opened(0, task)
        if isinstance(opened, Row):
            return opened, 0
        try:
            row, data = self._made(opened, self._restored([opened])[0])
        except Exception as error:
            log.debug("%s", task.place, exc_info=True)
            return self._failure(task, error), 0
        return row, len(data)

    def _there(self, task: Task) -> Row | None:
        """The row of a result that an earlier try has written, which nobody has counted yet."""
        try:
            if self.target.size_of(task.result) is None:
                return None
            row = self.target.receipt(task.result)
        except InputError as error:
            return self._failure(task, error)
        return row if row is not None and row.belongs_to(task, self.recipe.made_with) else None

    def _opened(self, number: int, task: Task) -> _Opened | Row:
        start, told = time.perf_counter(), Recording(self.run.hooks)
        name = PurePosixPath(task.key)
        try:
            check_format(PurePosixPath(task.result))
            data = self.read(task.place)
            picture = decode(data, name, told.event)
            factor = self.run.options.paste.upscale
            check_size(task.result, *(factor * side for side in picture.size))
        except Exception as error:
            log.debug("%s", task.place, exc_info=True)
            return self._failure(task, error, time.perf_counter() - start)
        digest = hashlib.sha256(data).hexdigest()
        return _Opened(number, task, picture, digest, told.events, time.perf_counter() - start)

    def _finished(self, group: list[_Opened]) -> Iterator[tuple[int, Row]]:
        for one, result in zip(group, self._restored(group), strict=True):
            yield one.number, self._written(one, result)
            self._done += 1
            return_freed_memory(self._done)

    def _restored(self, group: list[_Opened]) -> list[Restored | Exception]:
        """Together; each for itself where that fails."""
        try:
            return list(self.run.together([Surface(one.picture.pixels[None]) for one in group]))
        except Exception as error:
            log.debug("A group of %d pictures failed.", len(group), exc_info=True)
            if len(group) == 1:
                return [error]
        return [self._restored([one])[0] for one in group]

    def _written(self, one: _Opened, result: Restored | Exception) -> Row:
        start = time.perf_counter()
        try:
            row, data = self._made(one, result)
            seconds = row.seconds + time.perf_counter() - start
            row = replace(row, seconds=round(seconds, 4), finished=round(time.time(), 3))
            self._put(one.task, data, row)
        except Exception as error:
            log.debug("%s", one.task.place, exc_info=True)
            return self._failure(one.task, error, one.seconds + time.perf_counter() - start)
        return row

    def _made(self, one: _Opened, result: Restored | Exception) -> tuple[Row, bytes]:
        """The row and the bytes of a result.

        Raises:
            Exception: what came in place of a result, or what encoding raised.
        """
        if isinstance(result, Exception):
            raise result
        told = Recording(self.run.hooks)
        told.events += [*one.events, *result.report.events]
        picture = one.picture.with_pixels(result.images[0].cpu())
        data = encode_checked(
            PurePosixPath(one.task.result), picture, self.recipe.quality, told.event
        )
        row = replace(
            self._row(one.task),
            sha256=one.sha256,
            result_size=len(data),
            result_sha256=hashlib.sha256(data).hexdigest(),
            status=status_of(result.report, PurePosixPath(one.task.key)),
            seconds=one.seconds + sum(result.report.seconds.values()),
            events=told.events,
            **_faces(result.report),
        )
        return row, data

    def _film(self, task: Task) -> Row:
        """A film; where one was begun and its process killed, it goes on."""
        start = time.perf_counter()
        try:
            row = self._restored_film(task, start)
        except Exception as error:
            log.debug("%s", task.place, exc_info=True)
            return self._failure(task, error, time.perf_counter() - start)
        return row

    def _restored_film(self, task: Task, start: float) -> Row:
        require_reader()
        from ..films.restore import restore_film

        assert isinstance(self.target, Folder)  # else the listing has no films
        made = self.target.root / FILMS / task.result
        made.parent.mkdir(parents=True, exist_ok=True)
        report = restore_film(Path(task.place), made, self.run)
        tracks = report.survey.tracks
        kept = [one for one in tracks if one.number in report.survey.kept]
        row = replace(
            self._row(task),
            sha256=sha256(Path(task.place)),
            result_size=made.stat().st_size,
            result_sha256=sha256(made),
            status="restored" if report.touched else "unchanged",
            found=len(tracks),
            restored=len(kept),
            lowest=min((round(one.score, 4) for one in kept), default=None),
            seconds=round(time.perf_counter() - start, 4),
            events=report.events,
        )
        self.target.take(task.result, made, row, replace=task.replace)
        return row

    def _put(self, task: Task, data: bytes, row: Row) -> None:
        try:
            self.target.put(task.result, data, row, replace=task.replace)
        except Taken:
            # By whom? The same bytes are this result, from a worker that was thought dead.
            if self.target.read(task.result) != data:
                raise

    def _failure(self, task: Task, error: Exception, seconds: float = 0.0) -> Row:
        text = reason(error, PurePosixPath(task.key))
        return replace(self._row(task), status="failed", error=text, seconds=round(seconds, 4))

    def _row(self, task: Task) -> Row:
        return Row.about(task, self.recipe.made_with, self.recipe.model_sha256)


def _pixels(group: list[_Opened]) -> int:
    return sum(one.picture.size[0] * one.picture.size[1] for one in group)


def _faces(report: Report) -> dict[str, Any]:
    """What a row says of the faces."""
    restored = [face for face in report.faces if face.restored]
    counts: dict[str, Any] = {"found": report.found, "restored": len(restored)}
    if restored:
        worst = min(restored, key=lambda face: face.score)
        counts |= {"lowest": worst.score, "box": worst.box}
    return counts
