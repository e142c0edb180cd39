"""Restore Image (GPEN): the four nodes in one."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..gpen_core.arrays import Batch, restore_batch
from ..gpen_core.run import Run, Tools
from . import background as backgrounds
from . import host, weights, widgets
from .say import say, warn
from .schema import schema


class RestoreImage(io.ComfyNode):
    """A picture in, a picture with restored faces out."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="GPEN_RestoreImage",
            display_name="Restore Image (GPEN)",
            description="Finds the faces in a picture, or in every frame of a batch, restores them "
            "and pastes them back. The single nodes do the same step by step.",
            search_aliases=["face restore", "gpen", "codeformer", "gfpgan", "restore old photo"],
            inputs=[
                widgets.gpen_model(),
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
            ],
            outputs=[
                io.Image.Output(id="restored", display_name="IMAGE"),
                widgets.changed(),
                io.Int.Output(
                    id="count", display_name="count", tooltip="Number of faces restored."
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, detector: str | None, mask_type: str | None) -> bool | str:
        return (
            weights.problem("detector", detector, widgets.DETECTORS)
            or weights.problem("mask_type", mask_type, widgets.MASKS)
            or True
        )

    @classmethod
    def execute(
        cls,
        gpen_model: host.HostModel,
        image: Tensor,
        detector: str,
        mask_type: str,
        upscale_model: object | None = None,
        **values: Any,
    ) -> io.NodeOutput:
        tools = Tools(gpen_model.model, weights.detector(detector), weights.parser(mask_type))
        hooks = host.HostHooks(
            cls, len(image), stages=("detect", "restore", "paste"), model=gpen_model
        )
        run = Run(tools, widgets.read(mask_type=mask_type, **values), hooks)
        batch = Batch(image, backgrounds.choose(image, upscale_model=upscale_model))
        result = restore_batch(run, batch)
        report = result.report
        if report.restored:
            say(cls, f"{report.restored} face(s) restored in {len(image)} picture(s).")
        elif report.found:
            warn(cls, f"{report.found} face(s) found, but none of them is kept; change keep.")
        else:
            warn(cls, "No face was found; the picture is unchanged. Try a lower confidence.")
        return io.NodeOutput(result.image, result.mask, report.restored)
