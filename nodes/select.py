"""Select Faces."""

from __future__ import annotations

from comfy_api.latest import io

from ..gpen_core.faces.found import Faces
from ..gpen_core.faces.select import select
from . import widgets
from .say import warn
from .schema import schema
from .types import GPENFaces


class SelectFaces(io.ComfyNode):
    """Fewer faces, in another order."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="GPEN_SelectFaces",
            display_name="Select Faces",
            description="Keeps some of the faces, in the order asked for. "
            "Faces that are left out are not touched when pasting.",
            search_aliases=["face index", "face filter", "sort faces"],
            inputs=[
                GPENFaces.Input(id="faces", tooltip="From Detect and Align Faces."),
                widgets.sort(),
                widgets.keep(),
            ],
            outputs=[
                GPENFaces.Output(id="selected", display_name="GPEN_FACES"),
                io.Int.Output(id="count", display_name="count", tooltip="Faces kept."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, faces: Faces, sort: str, keep: str) -> io.NodeOutput:
        selected = select(faces, sort, keep)
        if len(selected) == 0 and len(faces) > 0:
            warn(cls, f"None of the {len(faces)} faces is selected by {keep!r}.")
        return io.NodeOutput(selected, len(selected))
