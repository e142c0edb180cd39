"""Inpaint Faces."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..gpen_core.errors import InputError
from ..gpen_core.options import CHANGED
from . import host, masks, widgets, work
from .schema import schema

_ALIASES = ["inpaint", "fill", "scratch", "hole", "repair", "old photo", "gpen", "人脸补全"]


class InpaintFaces(io.ComfyNode):
    """A picture with holes in its faces in, a whole one out."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="GPEN_InpaintFaces",
            display_name="Inpaint Faces",
            description="Draws anew what a mask says is missing of the faces in a picture. "
            "Everything outside of the mask stays as it is, bit for bit.",
            search_aliases=_ALIASES,
            has_intermediate_output=True,
            inputs=[
                widgets.gpen_model(),
                widgets.image(),
                io.Mask.Input(
                    id="hole",
                    tooltip="White where the picture is to be drawn anew. Any size.",
                ),
                widgets.strength(),
                widgets.keep(),
                widgets.detector(),
                widgets.confidence(),
                widgets.batch_size(),
                widgets.seed(),
            ],
            outputs=[*work.outputs("filled")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, keep: str | None) -> bool | str:
        # The host holds each parameter named here for wrong, so there is only one.
        return widgets.problem(keep=keep) or True

    @classmethod
    def execute(
        cls,
        gpen_model: host.HostModel,
        image: Tensor,
        hole: Tensor,
        detector: str,
        **values: Any,
    ) -> io.NodeOutput:
        painted = masks.painted(hole, image)
        if painted is None or not bool(painted.any()):
            raise InputError("The mask is black everywhere; paint white what is to be drawn anew.")
        options = widgets.read(purpose="inpaint", keep_crops=True, **values, **CHANGED["inpaint"])
        batch = work.Batch(image, mask=painted)
        tools = work.Tools(gpen_model, detector, options.mask.mask)
        return work.done(cls, tools, options, batch, "filled")
