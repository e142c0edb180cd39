"""Which file a model's name means.

A path is taken as it is. A bare name is looked for in the folders the caller gives, then in the
project's `weights/`; a `.safetensors` twin of a `.pth` is preferred, because it loads faster and
cannot hold code. Without a name the embedded model is meant: the largest `gpen-lite-*` there.
"""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

from ..errors import InputError, MissingWeightsError

log = logging.getLogger(__name__)

WEIGHTS = Path(__file__).resolve().parents[2] / "weights"
EXTENSIONS = (".safetensors", ".pth", ".pt", ".onnx")
_EMBEDDED = re.compile(r"gpen-lite-(\d+)\.safetensors")


def locate(source: str | os.PathLike[str] | None, folders: tuple[Path, ...] = ()) -> Path:
    """The file that `source` names.

    Raises:
        MissingWeightsError: no such file; the text says where it was looked for.
        InputError: a bare name that leaves its folder.
    """
    if source is None:
        return embedded()
    path = Path(source).expanduser()
    if path.exists():
        return path
    if path.is_absolute() or path.parent != Path():
        raise MissingWeightsError(f"{path}: no such model file; check the path.")
    if str(source) in ("", ".", "..") or "\\" in str(source):
        raise InputError(f"{str(source)!r} is not a model's name.")
    searched = (*folders, WEIGHTS)
    for folder in searched:
        for candidate in _candidates(folder, path.name):
            if candidate.is_file():
                log.info("%s means %s.", source, candidate)
                return candidate
    places = ", ".join(str(folder) for folder in searched)
    raise MissingWeightsError(
        f"No model {str(source)!r}, neither as a path nor in {places}; give a file with "
        f"--model_path, or leave it out for the embedded model."
    )


def _candidates(folder: Path, name: str) -> list[Path]:
    stem = name
    for extension in EXTENSIONS:
        stem = stem.removesuffix(extension)
    if name == stem:
        return [folder / f"{stem}{extension}" for extension in EXTENSIONS]
    return [folder / f"{stem}.safetensors", folder / name]


def embedded() -> Path:
    """The embedded default model.

    Raises:
        MissingWeightsError: the project came without it; the text says how to get a model.
    """
    found = {
        int(match[1]): path
        for path in (WEIGHTS.iterdir() if WEIGHTS.is_dir() else ())
        if (match := _EMBEDDED.fullmatch(path.name))
    }
    if not found:
        raise MissingWeightsError(
            f"The embedded model gpen-lite-*.safetensors is not in {WEIGHTS}; get it with the "
            f"project's source, train one with 'gpen train', or give a GPEN file with --model_path."
        )
    return found[max(found)]
