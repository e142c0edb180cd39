"""Which file a model's name means.

A path is taken as it is. A bare name is looked for in the folders the caller gives, then in the
folder named by GPEN_WEIGHTS, then in the project's `weights/`; a `.safetensors` twin of a `.pth` is
preferred, because it loads faster and cannot hold code. Without a name the embedded model is meant:
the largest `gpen-lite-*`, in `weights/` beside the source or, where the library was installed as a
package, among the data files that came with it.
"""

from __future__ import annotations

import logging
import os
import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from ..errors import InputError, MissingWeightsError
from ..options import TASKS

log = logging.getLogger(__name__)

WEIGHTS = Path(__file__).resolve().parents[2] / "weights"
FOLDER_VARIABLE = "GPEN_WEIGHTS"
EXTENSIONS = (".safetensors", ".pth", ".pt", ".ckpt", ".pth.tar", ".onnx")
HELPERS = ("gpen-occlusion-128.safetensors", "face-mesh-192.safetensors")
"""Files in `weights/` that are no restorers: what the masks look at faces with."""
_EMBEDDED = re.compile(r"gpen-lite-(?:([a-z]+)-)?(\d+)\.safetensors")
_DISTRIBUTION = "gpen"


def locate(source: str | os.PathLike[str] | None, folders: tuple[Path, ...] = ()) -> Path:
    """The file that `source` names; None means the embedded model.

    Raises:
        MissingWeightsError: no such file; the text says where it was looked for.
        InputError: not the name of a file.

    Example:
        >>> locate(None).suffix
        '.safetensors'
    """
    if source is None:
        return embedded()
    path = _as_path(source)
    if path.is_file():
        return path
    if not path.is_absolute() and path.parent == Path() and path.name:
        found = search(path.name, searched_folders(folders))
        if found:
            log.info("%s means %s.", source, found)
            return found
    if path.exists():  # a folder: the reader says so
        return path
    if path.is_absolute() or path.parent != Path():
        raise MissingWeightsError(f"{path}: no such model file; check the path.")
    places = ", ".join(str(folder) for folder in searched_folders(folders))
    raise MissingWeightsError(
        f"No model {str(source)!r}, neither as a path nor in {places}; give the path of "
        f"a file, or none for the embedded model.",
        remedy="model",
    )


def searched_folders(folders: tuple[Path, ...] = ()) -> tuple[Path, ...]:
    """Where a bare name is looked for: the caller's folders, GPEN_WEIGHTS, `weights/`.

    Example:
        >>> searched_folders((Path("mine"),))[0].name
        'mine'
    """
    named = os.environ.get(FOLDER_VARIABLE)
    extra = (Path(named).expanduser(),) if named else ()
    return tuple(dict.fromkeys((*folders, *extra, WEIGHTS)))


def search(name: str, folders: tuple[Path, ...], twins: bool = True) -> Path | None:
    """The first file that stands for a bare name, None where there is none.

    Args:
        name: of a file, or its beginning; it cannot leave the folders.
        folders: in the order they are looked into.
        twins: take `NAME.safetensors` for `NAME.pth`.
    """
    if name == ".." or "\\" in name or "/" in name:
        return None
    candidates = (
        path
        for folder in folders
        for path in (_candidates(folder, name) if twins else [folder / name])
    )
    return next((path for path in candidates if path.is_file()), None)


def download_folder() -> Path:
    """Where downloads go: the folder in GPEN_WEIGHTS, else `weights/`.

    Example:
        >>> download_folder() == searched_folders()[0]
        True
    """
    return searched_folders()[0]


def task_of_ours(name: str) -> str | None:
    """The task of an embedded model by its file's name, None for any other file.

    Example:
        >>> task_of_ours("gpen-lite-colorize-256.safetensors"), task_of_ours("my.pth")
        ('colorize', None)
    """
    match = _EMBEDDED.fullmatch(name)
    return None if match is None else match[1] or TASKS[0]


def embedded(task: str = TASKS[0]) -> Path:
    """The embedded default model for a task.

    Raises:
        MissingWeightsError: the project came without one; the text says how to get a model.

    Example:
        >>> embedded().name.startswith("gpen-lite-")
        True
    """
    matches = {path: _EMBEDDED.fullmatch(path.name) for path in _shipped_files()}
    found = {
        int(match[2]): path
        for path, match in matches.items()
        if match and (match[1] or TASKS[0]) == task
    }
    if not found and task != TASKS[0]:
        raise MissingWeightsError(
            f"No embedded model can {task}; name one that does, such as those that "
            f"'gpen models list' shows.",
            remedy="model",
        )
    if not found:
        raise MissingWeightsError(
            f"The embedded model gpen-lite-*.safetensors is not in {WEIGHTS}; get it with the "
            f"project's source, train one with 'gpen train', or give the path of a GPEN file.",
            remedy="model",
        )
    return found[max(found)]


def helper(name: str) -> Path:
    """A file that came with the project, one of `HELPERS`.

    Raises:
        MissingWeightsError: the project came without it.

    Example:
        >>> helper("face-mesh-192.safetensors").suffix
        '.safetensors'
    """
    assert name in HELPERS, name
    for path in _shipped_files():
        if path.name == name and path.is_file():
            return path
    raise MissingWeightsError(
        f"{name}, which comes with the project, is not in {WEIGHTS}; get it with the project's "
        f"source, or install the package again."
    )


def _as_path(source: object) -> Path:
    if not isinstance(source, str | os.PathLike):
        raise InputError(
            f"A model is named by a path, a state dict or None, not by a {type(source).__name__}."
        )
    text = os.fspath(source)
    if not isinstance(text, str) or not text or "\0" in text:
        raise InputError(f"{text!r} is not a model's name; give the path of a file.")
    return Path(text).expanduser()


def _candidates(folder: Path, name: str) -> list[Path]:
    extension = next((end for end in EXTENSIONS if name.lower().endswith(end)), "")
    if not extension:
        return [folder / f"{name}{end}" for end in EXTENSIONS]
    if extension == ".onnx":
        return [folder / name]
    return [folder / f"{name[: -len(extension)]}.safetensors", folder / name]


def _shipped_files() -> list[Path]:
    """What lies in `weights/`, or the data files of the installed package, wherever they are."""
    if WEIGHTS.is_dir():
        return list(WEIGHTS.iterdir())
    try:
        files = distribution(_DISTRIBUTION).files or []
    except PackageNotFoundError:
        return []
    return [
        Path(file.locate()).resolve()
        for file in files
        if file.name in HELPERS or _EMBEDDED.fullmatch(file.name)
    ]
