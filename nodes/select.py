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
            description="Keeps some of the faces, in the order you choose. Paste Back does not "
            "touch the others.",
            search_aliases=["face index", "face filter", "sort faces"],
            inputs=[
                GPENFaces.Input(id="faces", tooltip="From Detect and Align Faces."),
                widgets.sort(default="detected"),
                widgets.keep(),
            ],
            outputs=[
                GPENFaces.Output(id="selected", display_name="GPEN_FACES"),
                io.Int.Output(id="count", display_name="count", tooltip="Number of faces kept."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, faces: Faces, sort: str, keep: str) -> io.NodeOutput:
        selected = faces.take(select(faces, widgets.read(sort=sort, keep=keep).select))
        if len(selected) == 0 and len(faces) > 0:
            warn(cls, f"keep {keep!r} matches none of the {len(faces)} face(s); change it.")
        return io.NodeOutput(selected, len(selected))
