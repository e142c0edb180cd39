"""Job: which files go where, and what is done with each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..options import FilmOptions
from .choices import Choices
from .companions import Companions
from .inputs import find_inputs
from .outcome import Outcome
from .source import Source
from .targets import COMPARE, Naming, check_apart, plan_outputs, sibling


@dataclass(frozen=True)
class Job:
    """Which files go where, and what is done with each.

    Attributes:
        tasks: (input, output) of every picture.
        skipped: files of the folders that are no inputs, with the reason.
        aligned: the inputs are ready face crops.
        check: look first whether they are.
        background: the pictures already enlarged, to paste into.
        user_mask: pictures whose black parts are left alone; for inpainting, white is filled.
        compare: write before | after beside each result.
        overwrite: replace files that exist.
        skip_existing: leave pictures whose result exists.
        quality: of JPEG, WebP and AVIF, 1 to 100; None: the usual.
        film: how films are written; None: they are refused.
        crops: by each result's file, what the files of its faces' crops are named after.
        choices: which faces of each picture are restored; None: all that are selected.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from gpen_core.images.picture import Picture
        >>> from gpen_core.images.write import write_picture
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_picture(Path(folder, "one.png"), Picture(torch.zeros(3, 48, 64)))
        ...     job = Job.plan([folder], Naming(Path(folder, "restored")))
        >>> [target.relative_to(folder).as_posix() for _, target in job.tasks]
        ['restored/one.png']
    """

    tasks: tuple[tuple[Path, Path], ...]
    skipped: tuple[tuple[Path, str], ...] = ()
    aligned: bool = False
    check: bool = True
    background: Companions | None = None
    user_mask: Companions | None = None
    compare: bool = False
    overwrite: bool = False
    skip_existing: bool = False
    quality: int | None = None
    film: FilmOptions | None = field(default_factory=FilmOptions)
    crops: Mapping[Path, Path] = field(default_factory=dict)
    choices: Choices | None = None

    @classmethod
    def plan(
        cls,
        inputs: Sequence[str],
        naming: Naming,
        *,
        recursive: bool = False,
        report: Path | None = None,
        save_crops: Path | None = None,
        **rest: Any,
    ) -> Job:
        """The job of files, folders and globs, checked as far as it can be before the work.

        Args:
            inputs: names of pictures, folders, or globs.
            naming: where results go.
            recursive: look into subfolders too.
            report: the file that will be written at the end.
            save_crops: the folder for the faces' crops, which mirrors the inputs' tree.
            rest: fields of `Job`.

        Raises:
            InputError: nothing to do, or a result that would take something else's place.
        """
        if not inputs:
            raise InputError("No input; give files, folders or globs.")
        found = find_inputs(inputs, recursive=recursive)
        many = len(found.sources) > 1 or any(Path(name).is_dir() for name in inputs)
        targets = plan_outputs(found.sources, naming, many=many)
        paths = [source.path for source in found.sources]
        tasks = tuple(zip(paths, targets, strict=True))
        crops = _crops(found.sources, targets, naming, save_crops)
        job = cls(tasks, tuple(found.skipped), crops=crops, **rest)
        job._check(paths, report)
        return job

    def _check(self, paths: list[Path], report: Path | None) -> None:
        written = [(target, f"the result of {source}") for source, target in self.tasks]
        if self.compare:
            written += [
                (sibling(target, COMPARE), f"the comparison of {source}")
                for source, target in self.tasks
            ]
        if report is not None:
            written.append((report, "the report"))
        check_apart(paths, written)
        if report is not None and report.exists() and not self.overwrite:
            raise InputError(f"{report} exists already; give another name.", remedy="overwrite")
        if self.background is not None:
            self.background.check(paths, shared=False)
        if self.user_mask is not None:
            self.user_mask.check(paths, shared=True)


def _crops(
    sources: Sequence[Source], targets: Sequence[Path], naming: Naming, folder: Path | None
) -> dict[Path, Path]:
    """By each result's file, what the files of its crops are named after."""
    if folder is None:
        return {}
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; give a folder.", option="save_crops")
    bases = plan_outputs(sources, Naming(folder, format=naming.format), many=True)
    # A result's own suffix counts: the name of a single file may ask for another format.
    return {
        target: base.with_suffix(target.suffix) for target, base in zip(targets, bases, strict=True)
    }


def plan_only(job: Job) -> Iterator[Outcome]:
    """What `restore_files` would do, without doing it.

    Example:
        >>> job = Job(((Path("one.jpg"), Path("one_restored.jpg")),))
        >>> [outcome.status for outcome in plan_only(job)]
        ['planned']
    """
    for source, target in job.tasks:
        status = "skipped" if job.skip_existing and target.exists() else "planned"
        yield Outcome(input=str(source), output=str(target), status=status)
