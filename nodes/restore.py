"""Restore Faces."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..gpen_core.errors import InputError
from ..gpen_core.faces.found import Faces
from ..gpen_core.run import Run, Tools, changed
from ..gpen_core.text import counted
from . import crops as crop_pictures
from . import host, preview, weights, widgets
from .say import say, warn
from .schema import later, schema
from .types import GPENFaces


class RestoreFaces(io.ComfyNode):
    """Aligned crops through the network."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="GPEN_RestoreFaces",
            display_name="Restore Faces",
            description="Restores aligned faces from Detect and Align Faces, or ready face crops. "
            "If both are connected, the crops replace those of the faces.",
            has_intermediate_output=True,
            search_aliases=["gpen", "face restore", "deblur face", "enhance face"],
            inputs=[
                widgets.gpen_model(),
                widgets.strength(),
                widgets.batch_size(),
                widgets.seed(),
                later(widgets.careful()),
                later(widgets.only_below()),
                later(widgets.auto_strength()),
                later(widgets.identity()),
                GPENFaces.Input(id="faces", optional=True, tooltip="From Detect and Align Faces."),
                io.Image.Input(
                    id="crops",
                    optional=True,
                    tooltip="Square pictures of one centered face each. Where they are "
                    "transparent, nothing is pasted.",
                ),
                later(widgets.steadiness_of_tracked()),
            ],
            outputs=[
                GPENFaces.Output(id="restored", display_name="GPEN_FACES"),
                io.Image.Output(
                    id="restored_crops", display_name="crops", tooltip="The restored faces."
                ),
                widgets.crop_masks(),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        gpen_model: host.HostModel,
        faces: Faces | None = None,
        crops: Tensor | None = None,
        **values: Any,
    ) -> io.NodeOutput:
        given = _faces_to_restore(faces, crops, gpen_model)
        options = widgets.read(**values)
        hooks = host.HostHooks(cls, stages=("restore",), model=gpen_model)
        tools = Tools(gpen_model.model, embedder=weights.embedder(options))
        run = Run(tools, options, hooks)
        chosen = run.spare(given)
        hooks.found(len(chosen))
        run.say_softer(chosen)
        restored = changed(run.restore(chosen))
        if restored.tracks is not None:
            restored = run.hold_still(restored)
        text = _told(cls, len(restored), len(given) - len(restored), hooks)
        return io.NodeOutput(
            restored,
            crop_pictures.to_image(restored.restored),
            crop_pictures.masks_of(restored),
            ui=preview.shown(text),
        )


def _told(cls: type[io.ComfyNode], restored: int, left: int, hooks: host.HostHooks) -> str:
    said = [f"{counted(restored, 'face')} restored."]
    if left:
        alone = f"{counted(left, 'face')} left alone"
        said.append(f"{alone}: already good, or no longer the same person.")
    if restored:
        return say(cls, " ".join([*said, *hooks.events]))
    return warn(cls, " ".join(said[1:]) or "No face to restore.")


def _faces_to_restore(faces: Faces | None, crops: Tensor | None, model: host.HostModel) -> Faces:
    """What the connected inputs mean together."""
    if crops is not None:
        if faces is None:
            return crop_pictures.as_faces(crops, model.model.info.template)
        return crop_pictures.replaced(faces, crops)
    if faces is None:
        raise InputError("Nothing to restore: connect faces, crops, or both.")
    return faces
