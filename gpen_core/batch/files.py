"""Many files: which pictures an input means, where each result goes, what happened to each."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..errors import InputError
from ..images.files import READABLE
from ..run import Face


@dataclass
class Outcome:
    """What became of one input file; one entry of `--report`."""

    input: str
    output: str | None = None
    status: str = "restored"
    error: str | None = None
    size: list[int] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    faces: list[Face] = field(default_factory=list)
    events: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """Plain data for JSON."""
        return asdict(self)


def find_inputs(patterns: Iterable[str]) -> list[Path]:
    """The picture files that files, folders (not their subfolders) and globs name, in order.

    Raises:
        InputError: a name matches nothing, or a folder holds no picture.
    """
    found: list[Path] = []
    for pattern in patterns:
        path = Path(pattern).expanduser()
        if path.is_dir():
            matches = sorted(p for p in path.iterdir() if _is_picture(p))
            if not matches:
                raise InputError(f"{path}: no picture in this folder ({', '.join(READABLE)}).")
        elif path.exists():
            matches = [path]
        else:
            matches = sorted(Path(p) for p in glob.glob(str(path), recursive=True))  # noqa: PTH207
            matches = [p for p in matches if p.is_file()]
            if not matches:
                raise InputError(f"{pattern}: no such file, folder or match; check the path.")
        found += matches
    return list(dict.fromkeys(found))


def _is_picture(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in READABLE and not path.name.startswith(".")


def plan_outputs(inputs: list[Path], output: Path | None, many: bool) -> list[Path]:
    """Where each result goes.

    Without `output`: beside the input as `NAME_restored.EXT`. A single input goes to the file or
    into the folder that `output` names; several go into a folder.

    Raises:
        InputError: several inputs but `output` is a file, or two results would share a name.
    """
    if output is None:
        targets = [path.with_name(f"{path.stem}_restored{path.suffix}") for path in inputs]
    elif many or output.is_dir() or not output.suffix:
        if output.exists() and not output.is_dir():
            raise InputError(f"{output} is a file; give a folder for several pictures.")
        if many and output.suffix.lower() in READABLE and not output.is_dir():
            raise InputError(
                f"{output} names one file but there are several inputs; give a folder."
            )
        targets = [output / path.name for path in inputs]
    else:
        targets = [output]
    seen: dict[Path, Path] = {}
    for source, target in zip(inputs, targets, strict=True):
        if target in seen:
            raise InputError(f"{source} and {seen[target]} would both be written to {target}.")
        seen[target] = source
    return targets


def sibling(path: Path, label: str) -> Path:
    """`folder/name.ext` -> `folder/name_label.ext`."""
    return path.with_name(f"{path.stem}_{label}{path.suffix}")
