"""Restore Faces."""

from __future__ import annotations

from comfy_api.latest import io
from torch import Tensor

from ..gpen_core.errors import InputError
from ..gpen_core.faces.color import keep_gray
from ..gpen_core.faces.found import Faces
from ..gpen_core.faces.restore import RestoreOptions, restore
from ..gpen_core.images.layouts import is_gray
from . import crops as crop_pictures
from . import host, widgets
from .say import warn
from .schema import schema
from .types import GPENFaces


class RestoreFaces(io.ComfyNode):
    """Aligned crops through the network."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="GPEN_RestoreFaces",
            display_name="Restore Faces",
            description="Restores aligned faces. Connect the faces of Detect and Align Faces, or "
            "ready crops, or both: then the crops, edited elsewhere, are what is restored.",
            search_aliases=["gpen", "face restore", "deblur face", "enhance face"],
            inputs=[
                widgets.gpen_model(),
                widgets.strength(),
                widgets.batch_size(),
                widgets.seed(),
                GPENFaces.Input(id="faces", optional=True, tooltip="From Detect and Align Faces."),
                io.Image.Input(
                    id="crops",
                    optional=True,
                    tooltip="Square pictures of one centerd face each.",
                ),
            ],
            outputs=[
                GPENFaces.Output(id="restored", display_name="GPEN_FACES"),
                io.Image.Output(
                    id="restored_crops", display_name="crops", tooltip="The restored faces."
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        gpen_model: host.HostModel,
        strength: float,
        batch_size: int,
        seed: int,
        faces: Faces | None = None,
        crops: Tensor | None = None,
    ) -> io.NodeOutput:
        chosen = _faces_to_restore(faces, crops, gpen_model)
        options = RestoreOptions(strength=strength, batch_size=batch_size, seed=seed)
        monitor = host.monitor(gpen_model, host.Progress(len(chosen)))
        restored = _keep_gray(restore(chosen, gpen_model.model, options, monitor))
        if len(chosen) == 0:
            warn(cls, "There is no face to restore.")
        for event in monitor.events:
            warn(cls, event)
        return io.NodeOutput(restored, crop_pictures.to_image(restored.restored))


def _keep_gray(faces: Faces) -> Faces:
    """Faces of gray photographs without the tint that networks give them."""
    for index in range(len(faces)):
        if is_gray(faces.crops[index : index + 1]):
            faces.restored[index] = keep_gray(faces.restored[index : index + 1])[0]
    return faces


def _faces_to_restore(faces: Faces | None, crops: Tensor | None, model: host.HostModel) -> Faces:
    """What the connected inputs mean together."""
    if faces is None and crops is None:
        raise InputError("Nothing to restore is connected; connect faces, or crops, or both.")
    if faces is None:
        return crop_pictures.as_faces(crops, model.model.info.template)
    return faces if crops is None else crop_pictures.replaced(faces, crops)
