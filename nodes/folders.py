"""Where model files are looked for, and how a saved workflow's file name becomes a path."""

from __future__ import annotations

import logging
from pathlib import Path

import folder_paths

from ..gpen_core.errors import InputError, MissingWeightsError
from ..gpen_core.weights.locate import HELPERS

log = logging.getLogger(__name__)

MODEL_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".onnx")
EMBEDDED = Path(__file__).resolve().parents[1] / "weights"

_RESTORERS = ("gpen", "facerestore_models")
_DETECTORS = "facedetection_models"
_EMBEDDERS = "insightface"
EMBEDDER_SUFFIXES = (".onnx", ".pth")


def register() -> None:
    """Tell the host our folders, and make those that files are put into.

    Entries that other packs made are appended to, never replaced.
    """
    models = Path(folder_paths.models_dir)
    folder_paths.add_model_folder_path("gpen", str(model_downloads()))
    folder_paths.add_model_folder_path("gpen", str(EMBEDDED))
    folder_paths.add_model_folder_path("facerestore_models", str(models / "facerestore_models"))
    folder_paths.add_model_folder_path(_DETECTORS, str(detector_downloads()))
    folder_paths.add_model_folder_path(_EMBEDDERS, str(models / "insightface"))
    for folder in (model_downloads(), detector_downloads()):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            log.warning("%s could not be made: %s.", folder, error)


def model_downloads() -> Path:
    """Where the loader puts what it downloads."""
    return Path(folder_paths.models_dir) / "gpen"


def detector_downloads() -> Path:
    """Where weights of detectors and of the parser go, as in other packs."""
    return Path(folder_paths.models_dir) / "facedetection"


def model_names() -> list[str]:
    """Model files in the loader's folders, the embedded models first."""
    names = [name for key in _RESTORERS for name in folder_paths.get_filename_list(key)]
    names = [name for name in dict.fromkeys(names) if name.lower().endswith(MODEL_SUFFIXES)]
    names = [name for name in names if name not in HELPERS]
    return sorted(names, key=lambda name: (not (EMBEDDED / name).is_file(), name.lower()))


def find_model(name: str) -> Path | None:
    """The first file of a name in the loader's folders, its safetensors twin preferred."""
    stem, dot, suffix = name.rpartition(".")
    twins = [f"{stem}.safetensors"] if dot and suffix.lower() in ("pth", "pt") else []
    found = (folder_paths.get_full_path(key, each) for key in _RESTORERS for each in [*twins, name])
    return next((Path(path) for path in found if path is not None), None)


def model_path(name: str, instead: str = "choose another file") -> Path:
    """The file that the loader's widget names.

    Args:
        name: as it stands in the menu, with its folder where it lies in one.
        instead: what else the user can do where the file is missing.

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
    raise MissingWeightsError(
        f"The model file {name!r} was not found. Put it into {model_downloads()} and refresh the "
        f"page, or {instead}."
    )


def embedder_names() -> list[str]:
    """Files that may be face recognition networks, in the folder that other packs use for them."""
    names = folder_paths.get_filename_list(_EMBEDDERS)
    return sorted((one for one in names if is_embedder(one)), key=str.lower)


def is_embedder(name: str) -> bool:
    """Whether a name has the extension of one."""
    return name.lower().endswith(EMBEDDER_SUFFIXES)


def embedder_path(name: str) -> Path:
    """The file of a face recognition network.

    Raises:
        MissingWeightsError: no folder holds it.
    """
    path = folder_paths.get_full_path(_EMBEDDERS, name)
    if path is None:
        folder = Path(folder_paths.models_dir) / "insightface"
        raise MissingWeightsError(
            f"The face recognition network {name!r} was not found. Put it into {folder} and "
            f"refresh the page, or choose another."
        )
    return Path(path)


def find_detector(name: str) -> Path | None:
    """The first file of a name among the weights of detectors and parsers."""
    folders = (Path(folder) for folder in folder_paths.get_folder_paths(_DETECTORS))
    return next((folder / name for folder in folders if (folder / name).is_file()), None)
