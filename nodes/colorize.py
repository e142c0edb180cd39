"""Colorize Faces."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..gpen_core.options import CHANGED
from . import background as backgrounds
from . import host, masks, widgets, work
from .schema import schema

_ALIASES = ["colorize", "colourise", "colour", "color", "gray", "old photo", "gpen", "人脸上色"]


class ColorizeFaces(io.ComfyNode):
    """A gray picture in, a picture with colored faces out."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="GPEN_ColorizeFaces",
            display_name="Colorize Faces",
            description="Colors the faces in a picture. Brightness stays that of the picture, at "
            "its full size. What lies around the faces stays gray, or has the colors of a "
            "background.",
            search_aliases=_ALIASES,
            has_intermediate_output=True,
            inputs=[
                widgets.gpen_model(),
                widgets.image(),
                widgets.strength(),
                widgets.keep(),
                widgets.mask(),
                widgets.detector(),
                widgets.confidence(),
                widgets.batch_size(),
                io.Image.Input(
                    id="background",
                    optional=True,
                    tooltip="The same picture colored by other means, of any scale; the faces are "
                    "pasted into it.",
                ),
                widgets.user_mask(),
            ],
            outputs=[*work.outputs("colored")],
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
        detector: str,
        mask_type: str,
        background: Tensor | None = None,
        mask: Tensor | None = None,
        **values: Any,
    ) -> io.NodeOutput:
        values |= CHANGED["colorize"]
        options = widgets.read(mask_type=mask_type, purpose="colorize", keep_crops=True, **values)
        batch = work.Batch(
            image, backgrounds.choose(image, given=background), masks.painted(mask, image)
        )
        return work.done(
            cls, work.Tools(gpen_model, detector, mask_type), options, batch, "colored"
        )
