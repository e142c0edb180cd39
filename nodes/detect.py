"""Detect and Align Faces."""

from __future__ import annotations

from dataclasses import replace

import torch
from comfy_api.latest import io, ui
from torch import Tensor

from ..gpen_core.faces.align import align
from ..gpen_core.faces.detect import DetectOptions, Detector, detect
from ..gpen_core.faces.draw import draw_faces
from ..gpen_core.faces.found import Faces
from ..gpen_core.faces.select import select
from ..gpen_core.images.layouts import from_comfy, to_comfy
from . import crops, frames, host, weights, widgets
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
            description="Finds the faces of a picture, or of every frame of a batch, and cuts "
            "them out upright and centerd. The preview shows their indices.",
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
                        tooltip="Side of the crops in pixels; a connected model decides instead.",
                    )
                ),
                widgets.rotations(),
                GPENModel.Input(
                    id="gpen_model",
                    optional=True,
                    tooltip="The model that will restore the crops: decides their size and "
                    "template.",
                ),
            ],
            outputs=[
                GPENFaces.Output(id="faces", display_name="GPEN_FACES"),
                io.Image.Output(
                    id="crops",
                    display_name="crops",
                    tooltip="The aligned faces, a batch; one black picture without a face.",
                ),
                io.Mask.Output(id="boxes", display_name="boxes", tooltip="1 inside the boxes."),
                io.Int.Output(id="count", display_name="count", tooltip="Faces found and kept."),
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
        confidence: float,
        min_size: int,
        max_size: int,
        sort: str,
        keep: str,
        template: str,
        crop_size: int,
        rotations: bool,
        gpen_model: host.HostModel | None = None,
    ) -> io.NodeOutput:
        options = DetectOptions(
            confidence=confidence,
            min_size=min_size or None,
            max_size=max_size or None,
            rotations=rotations,
        )
        images, _ = from_comfy(image)
        faces = find(images, weights.detector(detector), options, sort, keep)
        faces = cut_out(images, faces, *_target(gpen_model, crop_size, template))
        if len(faces):
            say(cls, f"{len(faces)} face(s) in {len(images)} picture(s).")
        else:
            warn(cls, "No face was found (or kept); pictures will come out unchanged.")
        return io.NodeOutput(
            faces,
            crops.to_image(faces.crops),
            box_masks(faces),
            len(faces),
            ui=ui.PreviewImage(preview(images, faces), cls=cls),
        )


def _target(model: host.HostModel | None, crop_size: int, template: str) -> tuple[int, str]:
    """Crop size and template: the model's own, where one is connected."""
    if template == "model":
        template = "gpen" if model is None else model.model.info.template
    return (crop_size if model is None else model.model.input_size), template


def find(images: Tensor, detector: Detector, options: DetectOptions, sort: str, keep: str) -> Faces:
    """The chosen faces of (B, 3, H, W) images, frame group by frame group."""
    options = replace(options, progress=host.Progress(len(images)).advance)
    found = []
    for chosen in frames.groups(len(images)):
        found.append(select(detect(images[chosen].float(), detector, options), sort, keep))
    return Faces.concat(found)


def cut_out(images: Tensor, faces: Faces, size: int, template: str) -> Faces:
    """The faces with crops and matrices; as much memory as the crops and one group of frames."""
    matrices = torch.empty(len(faces), 2, 3)
    cut = torch.empty(len(faces), 3, size, size)
    for chosen in frames.groups(len(images)):
        group = align(images[chosen].float(), frames.faces_of(faces, chosen), size, template)
        index = frames.indices_of(faces, chosen)
        matrices[index], cut[index] = group.matrices.cpu(), group.crops.cpu()
    return faces.with_(template=template, matrices=matrices, crops=cut)


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
