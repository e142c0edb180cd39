"""Where each result goes."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError
from ..images.files import READABLE


def plan_outputs(inputs: list[Path], output: Path | None, many: bool) -> list[Path]:
    """Where each result goes.

    Without `output`: beside the input as `NAME_restored.EXT`. A single input goes to the file or
    into the folder that `output` names; several go into a folder.

    Raises:
        InputError: several inputs but `output` is a file, or two results would share a name.
    """
    if output is None:
        targets = [sibling(path, "restored") for path in inputs]
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
    """`folder/name.ext` -> `folder/name_label.ext`.

    Example:
        >>> sibling(Path("scans/one.jpg"), "restored").name
        'one_restored.jpg'
    """
    return path.with_name(f"{path.stem}_{label}{path.suffix}")
