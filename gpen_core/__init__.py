"""GPEN face restoration: networks, checkpoints, and the way from a photograph to a photograph.

>>> import gpen_core
>>> model = gpen_core.load_model()                       # the embedded model
>>> result = gpen_core.restore_image(picture, model)     # (H, W, 3) uint8
>>> result.image, result.mask, result.faces
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .arrays import Result, detect_faces, restore_image
    from .errors import CheckpointError, GPENError, InputError, MissingWeightsError
    from .models.load import load_model
    from .models.model import Model
    from .options import Options

__version__ = "0.1.0"

__all__ = [
    "CheckpointError",
    "GPENError",
    "InputError",
    "MissingWeightsError",
    "Model",
    "Options",
    "Result",
    "detect_faces",
    "load_model",
    "restore_image",
]

_ROOMS = {
    "errors": ("CheckpointError", "GPENError", "InputError", "MissingWeightsError"),
    "models.load": ("load_model",),
    "models.model": ("Model",),
    "options": ("Options",),
    "arrays": ("Result", "detect_faces", "restore_image"),
}


def __getattr__(name: str) -> Any:
    # Imported when asked for (PEP 562): PyTorch takes seconds, and `gpen --help` needs none of it.
    for room, names in _ROOMS.items():
        if name in names:
            return getattr(importlib.import_module(f".{room}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
