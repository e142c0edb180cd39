"""Face from Map."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..gpen_core.images.layouts import from_comfy, to_comfy
from ..gpen_core.run import Run, Tools
from ..gpen_core.text import counted
from . import host, preview, widgets
from .say import say
from .schema import schema

_ALIASES = [
    "segmentation",
    "label map",
    "seg2face",
    "paint",
    "celebamask",
    "gpen",
    "分割图",
]


class FaceFromMap(io.ComfyNode):
    """Maps of a face's parts in, faces out."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="GPEN_FaceFromMap",
            display_name="Face from Map",
            description="Paints a face from a map of its parts: a square picture in the colors of "
            "CelebAMask-HQ's demo, such as CC0000 for skin. Other colors are taken for the nearest "
            "part, and counted.",
            search_aliases=_ALIASES,
            has_intermediate_output=True,
            inputs=[
                widgets.gpen_model(),
                io.Image.Input(id="map", tooltip="A map, or a batch of maps."),
                widgets.batch_size(),
                widgets.seed(),
            ],
            outputs=[io.Image.Output(id="image", display_name="IMAGE", tooltip="The faces.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        gpen_model: host.HostModel,
        map: Tensor,
        **values: Any,
    ) -> io.NodeOutput:
        images, _ = from_comfy(map)
        hooks = host.HostHooks(cls, stages=("restore",), model=gpen_model)
        run = Run(Tools(gpen_model.model), widgets.read(purpose="paint", **values), hooks)
        painted = run.crops(images.float()).images
        text = say(cls, " ".join([f"{counted(len(painted), 'face')} painted.", *hooks.events]))
        return io.NodeOutput(to_comfy(painted).cpu(), ui=preview.shown(text))
