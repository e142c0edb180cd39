"""Detect and Align Faces."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..gpen_core.images.layouts import from_comfy
from ..gpen_core.run import Run, Tools
from ..gpen_core.text import counted
from . import boxes, crops, host, preview, weights, widgets
from .say import say, warn
from .schema import advanced, schema
from .types import BoundingBox, FaceLandmarks, GPENFaces, GPENModel, Segs


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
                BoundingBox.Input(
                    id="bboxes",
                    optional=True,
                    tooltip="Boxes that another node has found, of faces or of persons, instead of "
                    "a search; the landmarks are found in them.",
                    extra_dict={"forceInput": True},
                ),
                FaceLandmarks.Input(
                    id="landmarks",
                    optional=True,
                    tooltip="Landmarks that another node has found, instead of a search; from "
                    "Detect Face Landmarks (MediaPipe).",
                ),
                Segs.Input(
                    id="segs",
                    optional=True,
                    tooltip="Segments of the Impact Pack, used as boxes.",
                ),
            ],
            outputs=[
                GPENFaces.Output(id="faces", display_name="GPEN_FACES"),
                io.Image.Output(
                    id="crops",
                    display_name="crops",
                    tooltip="The aligned faces as a batch; one black picture if no face is found.",
                ),
                widgets.boxes(),
                io.Int.Output(id="count", display_name="count", tooltip="Number of faces kept."),
                widgets.crop_masks(),
                BoundingBox.Output(
                    id="bounding_boxes",
                    display_name="bboxes",
                    tooltip="The boxes of the faces kept, for each picture.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, keep: str | None) -> bool | str:
        # The host holds each parameter named here for wrong, so there is only one.
        return widgets.problem(keep=keep) or True

    @classmethod
    def execute(
        cls,
        image: Tensor,
        detector: str,
        crop_size: int,
        gpen_model: host.HostModel | None = None,
        bboxes: object = None,
        landmarks: object = None,
        segs: object = None,
        **values: Any,
    ) -> io.NodeOutput:
        given = boxes.given_in(image, bboxes, landmarks, segs)
        options = widgets.read(**values)
        images, _ = from_comfy(image)
        hooks = host.HostHooks(cls, len(images), stages=("detect",))
        tools = Tools(detector=weights.detector(detector))
        if gpen_model is not None:
            tools = replace(tools, model=gpen_model.model)
            crop_size = gpen_model.model.input_size
        run = Run(tools, options, hooks)
        found = run.find(images) if given is None else run.take_given(images, given)
        faces = run.align(images, found.faces, crop_size)
        text = " ".join([_told(cls, len(faces), len(found.everyone), len(images)), *hooks.events])
        return io.NodeOutput(
            faces,
            crops.to_image(faces.crops),
            boxes.to_mask(faces),
            len(faces),
            crops.masks_of(faces),
            boxes.to_bounding_boxes(faces),
            ui=preview.shown(text, preview.of_found(image, found)),
        )


def _told(cls: type[io.ComfyNode], kept: int, found: int, pictures: int) -> str:
    if kept:
        faces, where = counted(kept, "face"), counted(pictures, "picture")
        return say(cls, f"{faces} in {where}.{_frames_shown(pictures)}")
    if found:
        return warn(
            cls,
            f"{counted(found, 'face')} found (gray in the preview), but none is kept; change keep.",
        )
    return warn(cls, "No face was found. Lower confidence or turn on rotations.")


def _frames_shown(pictures: int) -> str:
    if pictures <= preview.FRAMES:
        return ""
    return f" The preview shows the first {preview.FRAMES} pictures."
