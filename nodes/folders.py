"""Where model files are looked for, and how a saved workflow's file name becomes a path."""

from __future__ import annotations

import logging
from pathlib import Path

import folder_paths

from ..gpen_core.errors import InputError, MissingWeightsError

log = logging.getLogger(__name__)

MODEL_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")
EMBEDDED = Path(__file__).resolve().parents[1] / "weights"

_RESTORERS = ("gpen", "facerestore_models")
_DETECTORS = "facedetection_models"


def register() -> None:
    """Tell the host our folders. Entries that other packs made are appended to, never replaced."""
    models = Path(folder_paths.models_dir)
    folder_paths.add_model_folder_path("gpen", str(models / "gpen"))
    folder_paths.add_model_folder_path("gpen", str(EMBEDDED))
    folder_paths.add_model_folder_path("facerestore_models", str(models / "facerestore_models"))
    folder_paths.add_model_folder_path(_DETECTORS, str(models / "facedetection"))


def model_names() -> list[str]:
    """Files offered by the loader; the embedded models come first."""
    names = [name for key in _RESTORERS for name in folder_paths.get_filename_list(key)]
    names = [name for name in dict.fromkeys(names) if name.lower().endswith(MODEL_SUFFIXES)]
    return sorted(names, key=lambda name: (not (EMBEDDED / name).is_file(), name.lower()))


def model_path(name: str) -> Path:
    """The file that the loader's widget names.

    Raises:
        InputError: the name has another extension than a model file.
        MissingWeightsError: no folder holds it.
    """
    if not name.lower().endswith(MODEL_SUFFIXES):
        known = ", ".join(MODEL_SUFFIXES)
        raise InputError(f"{name!r} is not a model file ({known}).")
    for key in _RESTORERS:
        path = folder_paths.get_full_path(key, name)
        if path is not None:
            return Path(path)
    folder = Path(folder_paths.models_dir) / "gpen"
    raise MissingWeightsError(
        f"The model file {name!r} is not there; put it into {folder} (or choose another file), "
        f"then refresh the page."
    )


def detector_folder(file_name: str | None = None) -> Path:
    """The folder of detector and parser weights: the one that holds `file_name`, else the first."""
    folders = [Path(folder) for folder in folder_paths.get_folder_paths(_DETECTORS)]
    holding = [folder for folder in folders if file_name and (folder / file_name).is_file()]
    return (holding or folders)[0]
