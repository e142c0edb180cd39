"""Face Restore (GPEN): the four nodes in one."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from . import background as backgrounds
from . import boxes, host, masks, weights, widgets, work
from .schema import advanced, later, schema

_ALIASES = [
    "face",
    "portrait",
    "upscale face",
    "detailer",
    "face detailer",
    "restore",
    "face restoration",
    "gpen",
    "gfpgan",
    "codeformer",
    "restoreformer",
    "reactor",
    "restore old photo",
    "人脸修复",
    "人像修复",
    "老照片修复",
]


class RestoreImage(io.ComfyNode):
    """A picture in, a picture with restored faces out."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="GPEN_RestoreImage",
            display_name="Face Restore (GPEN)",
            description="Finds the faces in a picture, or in every frame of a batch, restores them "
            "and pastes them back. The single nodes do the same step by step.",
            search_aliases=_ALIASES,
            has_intermediate_output=True,
            inputs=[
                later(widgets.gpen_model()),
                widgets.image(),
                widgets.strength(),
                widgets.keep(),
                widgets.upscale(),
                widgets.mask(),
                widgets.color_match(),
                widgets.detector(),
                widgets.confidence(),
                widgets.batch_size(),
                widgets.upscale_model(),
                later(widgets.file()),
                later(advanced(widgets.sort())),
                later(advanced(widgets.min_size())),
                later(advanced(widgets.max_size())),
                later(widgets.rotations()),
                later(widgets.skip_sharp()),
                later(widgets.grain()),
                later(widgets.careful()),
                later(widgets.only_below()),
                later(widgets.auto_strength()),
                later(widgets.identity()),
                later(widgets.occlusion()),
                later(widgets.parts()),
                widgets.user_mask(),
            ],
            outputs=[
                io.Image.Output(id="restored", display_name="IMAGE"),
                widgets.changed(),
                io.Int.Output(
                    id="count", display_name="count", tooltip="Number of faces restored."
                ),
                io.Image.Output(
                    id="crops",
                    display_name="crops",
                    tooltip="The restored faces as a batch; one black picture if there is none.",
                ),
                widgets.boxes(),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, keep: str | None) -> bool | str:
        # The host holds each parameter named here for wrong, so there is only one.
        return widgets.problem(keep=keep) or True

    @classmethod
    def fingerprint_inputs(cls, file: str | None = None, **_: Any) -> str:
        """Changes when the file is replaced on disk."""
        return weights.fingerprint(file)

    @classmethod
    def execute(
        cls,
        image: Tensor,
        detector: str,
        mask_type: str,
        gpen_model: host.HostModel | None = None,
        file: str | None = None,
        upscale_model: object | None = None,
        mask: Tensor | None = None,
        **values: Any,
    ) -> io.NodeOutput:
        options = widgets.read(mask_type=mask_type, keep_crops=True, **values)
        batch = work.Batch(
            image,
            backgrounds.choose(image, upscale_model=upscale_model),
            masks.painted(mask, image),
        )
        model = gpen_model or host.load_model(weights.model_file(weights.chosen(file)))
        tools = work.Tools(model, detector, mask_type)
        made = work.through(cls, tools, options, batch, "restored")
        result = made.result
        return io.NodeOutput(
            result.image,
            result.mask,
            result.report.restored,
            made.crops,
            boxes.to_mask(result.faces),
            ui=made.ui,
        )
