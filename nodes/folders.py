"""Where model files are looked for, and how a saved workflow's file name becomes a path."""

from __future__ import annotations

import logging
from pathlib import Path

import folder_paths

from ..gpen_core.checkpoints.catalogue import Entry, list_entries
from ..gpen_core.errors import InputError, MissingWeightsError

log = logging.getLogger(__name__)

MODEL_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".onnx")
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
    """Files offered by the loader, the embedded models first, then what could be downloaded."""
    names = [name for key in _RESTORERS for name in folder_paths.get_filename_list(key)]
    names = [name for name in dict.fromkeys(names) if name.lower().endswith(MODEL_SUFFIXES)]
    names.sort(key=lambda name: (not (EMBEDDED / name).is_file(), name.lower()))
    return names + [entry.label for entry in downloadable() if entry.filename not in names]


def downloadable() -> list[Entry]:
    """The catalogue's restoration models that have an address."""
    return [
        entry
        for entry in list_entries()
        if entry.kind in ("gpen-pth", "gpen-onnx") and entry.urls and "GPEN-BFR" in entry.name
    ]


def download_of(name: str) -> Entry | None:
    """The entry that a label of the menu stands for; None for the name of a file."""
    return next((entry for entry in downloadable() if entry.label == name), None)


def download_folder() -> Path:
    """Where the loader puts what it downloads."""
    return Path(folder_paths.models_dir) / "gpen"


def model_path(name: str) -> Path:
    """The file that the loader's widget names.

    Raises:
        InputError: the name has another extension than a model file.
        MissingWeightsError: no folder holds it.
    """
    entry = download_of(name)
    if entry is not None:
        name = entry.filename
    if not name.lower().endswith(MODEL_SUFFIXES):
        known = ", ".join(MODEL_SUFFIXES)
        raise InputError(f"{name!r} is not a model file ({known}).")
    for key in _RESTORERS:
        path = folder_paths.get_full_path(key, name)
        if path is not None:
            return Path(path)
    raise MissingWeightsError(
        f"The model file {name!r} is not there; put it into {download_folder()} (or choose another "
        f"file), then refresh the page."
    )


def detector_folder(file_name: str | None = None) -> Path:
    """The folder of detector and parser weights: the one that holds `file_name`, else the first."""
    folders = [Path(folder) for folder in folder_paths.get_folder_paths(_DETECTORS)]
    holding = [folder for folder in folders if file_name and (folder / file_name).is_file()]
    return (holding or folders)[0]
