"""Track Faces: the faces of a batch of frames as those of persons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..gpen_core.errors import InputError
from ..gpen_core.faces.found import Faces
from ..gpen_core.faces.track import Track, followed
from ..gpen_core.images.layouts import from_comfy
from ..gpen_core.run import Run, Tools
from ..gpen_core.text import counted
from . import boxes, crops, host, preview, widgets
from .say import say, warn
from .schema import schema
from .types import GPENFaces

_ALIASES = ["face tracking", "video faces", "flicker", "temporal", "stabilize faces"]


class TrackFaces(io.ComfyNode):
    """Faces of single frames to faces that go through the frames."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="GPEN_TrackFaces",
            display_name="Track Faces",
            description="Follows the faces of a batch of video frames: each gets one number, gaps "
            "are closed, faces that only flash up are dropped, and the crops stop trembling. Goes "
            "between Detect and Align Faces and Restore Faces.",
            search_aliases=_ALIASES,
            has_intermediate_output=True,
            inputs=[
                widgets.frames(),
                GPENFaces.Input(id="faces", tooltip="From Detect and Align Faces."),
                widgets.fps(),
                widgets.shortest(),
                widgets.gap(),
                widgets.smoothing(),
                widgets.sort(),
                widgets.keep_tracks(),
            ],
            outputs=[
                GPENFaces.Output(id="tracked", display_name="GPEN_FACES"),
                io.Image.Output(
                    id="crops",
                    display_name="crops",
                    tooltip="The aligned faces, frame after frame; one black picture if there is "
                    "none.",
                ),
                io.Int.Output(
                    id="count", display_name="count", tooltip="Number of faces, each counted once."
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
    def execute(cls, image: Tensor, faces: Faces, fps: float, **values: Any) -> io.NodeOutput:
        if len(image) != len(faces.image_sizes):
            raise InputError(
                f"There are {len(image)} frames, but the faces are of {len(faces.image_sizes)}; "
                "connect the frames in which they were found."
            )
        images, _ = from_comfy(image)
        hooks = host.HostHooks(cls, stages=())
        run = Run(Tools(), widgets.read(template=faces.template, **values), hooks)
        ways, tracked = run.follow(images, faces, fps)
        tracked = run.align(images, tracked, faces.crop_size)
        kept = set(tracked.tracks.tolist()) if len(tracked) else set()
        text = " ".join([_told(cls, ways, len(kept), len(image)), *hooks.events])
        first = run.align(images, _first_of_each(followed(faces, ways)), faces.crop_size)
        return io.NodeOutput(
            tracked,
            crops.to_image(tracked.crops),
            len(kept),
            boxes.to_mask(tracked),
            ui=preview.shown(text, preview.sheets(_in_one_picture(first), sorted(kept))),
        )


def _first_of_each(faces: Faces) -> Faces:
    """One face of each track, by its number."""
    numbers = [] if faces.tracks is None else faces.tracks.tolist()
    return faces.take([numbers.index(number) for number in sorted(set(numbers))])


def _in_one_picture(faces: Faces) -> Faces:
    return faces.with_(source=faces.source * 0, tones=(), fades=())


def _told(cls: type[io.ComfyNode], ways: Sequence[Track], kept: int, frames: int) -> str:
    where = counted(frames, "frame")
    if kept:
        return say(cls, f"{counted(kept, 'face')} followed through {where}.")
    if ways:
        return warn(cls, f"{counted(len(ways), 'face')} in {where}, but none is kept; change keep.")
    return warn(cls, f"No face stays in {where} long enough; lower shortest.")
