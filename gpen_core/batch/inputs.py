"""Which pictures files, folders and globs mean."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

from ..errors import InputError
from ..images.files import READABLE


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
