"""What a node that works on whole pictures tells of its result."""

from __future__ import annotations

from comfy_api.latest import io

from ..gpen_core.arrays import Result
from ..gpen_core.faces.holes import UNTOUCHED
from ..gpen_core.text import counted
from . import preview
from .say import say, warn


def told(cls: type[io.ComfyNode], result: Result, done: str = "restored") -> str:
    """How many faces were `done`, or why none was; in the log and on the node."""
    report, pictures = result.report, len(result.image)
    if report.restored:
        faces, where = counted(report.restored, "face"), counted(pictures, "picture")
        said = [f"{faces} {done} in {where}."]
        if report.why_left:
            said.append(f"Others are left alone ({report.why_left}).")
        if pictures > preview.FRAMES:
            said.append(f"The preview shows the first {preview.FRAMES}.")
        return say(cls, " ".join([*said, *report.events]))
    if UNTOUCHED in report.why_left:
        return warn(cls, f"{counted(report.found, 'face')} found, but the mask touches none.")
    if report.why_left:
        return warn(cls, f"{counted(report.found, 'face')} found, left alone ({report.why_left}).")
    if report.found:
        return warn(
            cls,
            f"{counted(report.found, 'face')} found (gray in the preview), but none is kept; "
            f"change keep.",
        )
    return warn(cls, "No face was found; the picture is unchanged. Try a lower confidence.")
