"""Select Faces."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..gpen_core.faces.found import Faces
from ..gpen_core.faces.select import select
from ..gpen_core.options import SelectOptions
from . import preview, widgets
from .say import say, warn
from .schema import later, schema
from .types import GPENFaces


class SelectFaces(io.ComfyNode):
    """Fewer faces, in another order."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="GPEN_SelectFaces",
            display_name="Select Faces",
            description="Keeps some of the faces, in the order you choose. Paste Back does not "
            "touch the others. The preview shows all faces, those left out dimmed.",
            search_aliases=["face index", "face filter", "sort faces"],
            has_intermediate_output=True,
            inputs=[
                GPENFaces.Input(id="faces", tooltip="From Detect and Align Faces."),
                widgets.sort(default="detected"),
                widgets.keep(),
                later(widgets.skip_sharp()),
            ],
            outputs=[
                GPENFaces.Output(id="selected", display_name="GPEN_FACES"),
                io.Int.Output(id="count", display_name="count", tooltip="Number of faces kept."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, keep: str | None) -> bool | str:
        return widgets.problem(keep=keep) or True

    @classmethod
    def execute(cls, faces: Faces, keep: str, **values: Any) -> io.NodeOutput:
        options = widgets.read(keep=keep, **values).select
        chosen = select(faces, options)
        return io.NodeOutput(
            faces.take(chosen),
            len(chosen),
            ui=preview.shown(_told(cls, faces, chosen, options), preview.sheets(faces, chosen)),
        )


def _told(cls: type[io.ComfyNode], faces: Faces, chosen: list[int], options: SelectOptions) -> str:
    if chosen:
        return say(cls, f"{len(chosen)} of {len(faces)} faces kept.")
    if len(faces) == 0:
        return warn(cls, "No face to select from.")
    also = " and skip_sharp is on" if options.skip_sharp else ""
    return warn(
        cls, f"keep {options.keep!r} matches no face{also}; there are {len(faces)}. Change keep."
    )
