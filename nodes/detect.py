"""Detect and Align Faces."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from comfy_api.latest import io, ui
from torch import Tensor

from ..gpen_core.faces.draw import draw_faces
from ..gpen_core.faces.found import Faces
from ..gpen_core.images.layouts import from_comfy, to_comfy
from ..gpen_core.run import Run, Tools
from . import crops, host, weights, widgets
from .say import say, warn
from .schema import advanced, schema
from .types import GPENFaces, GPENModel

_PREVIEWED_FRAMES = 4


class DetectFaces(io.ComfyNode):
    """Pictures to faces: boxes, landmarks and aligned crops."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="GPEN_DetectFaces",
            display_name="Detect and Align Faces",
            description="Finds the faces in a picture, or in every frame of a batch, and cuts "
            "them out upright and centered. The preview numbers them.",
            search_aliases=["face detection", "face crop", "retinaface", "mtcnn", "align faces"],
            has_intermediate_output=True,
            inputs=[
                widgets.image(),
                widgets.detector(),
                widgets.confidence(),
                widgets.min_size(),
                widgets.max_size(),
                widgets.sort(),
                widgets.keep(),
                widgets.template(),
                advanced(
                    io.Int.Input(
                        id="crop_size",
                        default=512,
                        min=64,
                        max=2048,
                        step=64,
                        tooltip="Side of the crops in pixels, if no model is connected.",
                    )
                ),
                widgets.rotations(),
                GPENModel.Input(
                    id="gpen_model",
                    optional=True,
                    tooltip="The model that will restore the crops. Sets their size and template.",
                ),
            ],
            outputs=[
                GPENFaces.Output(id="faces", display_name="GPEN_FACES"),
                io.Image.Output(
                    id="crops",
                    display_name="crops",
                    tooltip="The aligned faces as a batch; one black picture if no face is found.",
                ),
                io.Mask.Output(
                    id="boxes", display_name="boxes", tooltip="White inside the face boxes."
                ),
                io.Int.Output(id="count", display_name="count", tooltip="Number of faces kept."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, detector: str | None) -> bool | str:
        return weights.problem("detector", detector, widgets.DETECTORS) or True

    @classmethod
    def execute(
        cls,
        image: Tensor,
        detector: str,
        crop_size: int,
        gpen_model: host.HostModel | None = None,
        **values: Any,
    ) -> io.NodeOutput:
        options = widgets.read(**values)
        images, _ = from_comfy(image)
        hooks = host.HostHooks(cls, len(images), stages=("detect",))
        tools = Tools(detector=weights.detector(detector))
        if gpen_model is not None:
            tools = replace(tools, model=gpen_model.model)
            crop_size = gpen_model.model.input_size
        run = Run(tools, options, hooks)
        found = run.find(images)
        faces = run.align(images, found.faces, crop_size)
        _tell(cls, len(faces), len(found.everyone), len(images))
        return io.NodeOutput(
            faces,
            crops.to_image(faces.crops),
            box_masks(faces),
            len(faces),
            ui=ui.PreviewImage(preview(images, faces), cls=cls),
        )


def _tell(cls: type[io.ComfyNode], kept: int, found: int, pictures: int) -> None:
    if kept:
        say(cls, f"{kept} face(s) in {pictures} picture(s).")
    elif found:
        warn(cls, f"{found} face(s) found, but none of them is kept; change keep.")
    else:
        warn(cls, "No face was found. Lower confidence or turn on rotations.")


def box_masks(faces: Faces) -> Tensor:
    """(B, H, W), 1 inside the boxes."""
    height, width = faces.image_sizes[0]
    masks = torch.zeros(len(faces.image_sizes), height, width)
    corners = faces.boxes.round().to(torch.int64).clamp(min=0).tolist()
    for source, (x0, y0, x1, y1) in zip(faces.source.tolist(), corners, strict=True):
        masks[source, y0 : y1 + 1, x0 : x1 + 1] = 1
    return masks


def preview(images: Tensor, faces: Faces) -> Tensor:
    """The first frames with boxes and indices, (B, H, W, 3)."""
    shown = range(min(len(images), _PREVIEWED_FRAMES))
    drawn = [draw_faces(images[i].float().cpu(), faces, i) for i in shown]
    return to_comfy(torch.stack(drawn))
