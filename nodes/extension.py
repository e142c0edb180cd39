"""What the host is given: the list of nodes."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from . import folders, host, replacements, samples
from .colorize import ColorizeFaces
from .degrade import DegradeImage
from .detect import DetectFaces
from .from_map import FaceFromMap
from .inpaint import InpaintFaces
from .load_model import LoadGPENModel
from .paste import PasteFaces
from .restore import RestoreFaces
from .restore_image import RestoreImage
from .restore_video import RestoreVideo
from .select import SelectFaces
from .select_person import SelectPerson
from .track import TrackFaces


class GPENExtension(ComfyExtension):
    """The nodes."""

    async def on_load(self) -> None:
        """Called by hosts that know more than nodes, before the list is asked for."""
        await replacements.register()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """In the order of the menu."""
        return [
            LoadGPENModel,
            RestoreImage,
            RestoreVideo,
            DetectFaces,
            SelectFaces,
            SelectPerson,
            TrackFaces,
            RestoreFaces,
            PasteFaces,
            ColorizeFaces,
            InpaintFaces,
            FaceFromMap,
            DegradeImage,
        ]


async def comfy_entrypoint() -> GPENExtension:
    """The host's way in."""
    folders.register()
    host.release_with_host()
    samples.offer()
    return GPENExtension()
