"""What the nodes that color and fill whole pictures have in common."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from comfy_api.latest import io
from torch import Tensor

from ..gpen_core.arrays import Batch, restore_batch
from ..gpen_core.faces.found import Faces
from ..gpen_core.options import Options
from ..gpen_core.run import Run
from ..gpen_core.run import Tools as Networks
from . import crops, host, preview, weights, widgets
from .told import told

__all__ = ["Batch", "Tools", "done", "outputs"]


@dataclass(frozen=True)
class Tools:
    """The model, and what the widgets say of the other networks.

    Attributes:
        model: connected.
        detector, mask: entries of their menus.
    """

    model: host.HostModel
    detector: str
    mask: str


def outputs(what: str) -> list[io.Output]:
    """The picture, what changed, how many faces were `what`, and their crops."""
    return [
        io.Image.Output(id="result", display_name="IMAGE"),
        widgets.changed(),
        io.Int.Output(id="count", display_name="count", tooltip=f"Number of faces {what}."),
        io.Image.Output(
            id="crops",
            display_name="crops",
            tooltip=f"The {what} faces as a batch; one black picture if there is none.",
        ),
    ]


def done(
    cls: type[io.ComfyNode], tools: Tools, options: Options, batch: Batch, what: str
) -> io.NodeOutput:
    """A batch through the steps of the core, as the outputs of `outputs`."""
    model = tools.model
    networks = Networks(model.model, weights.detector(tools.detector), weights.parser(tools.mask))
    hooks = host.HostHooks(
        cls, len(batch.image), stages=("detect", "restore", "paste"), model=model
    )
    pieces: list[Tensor] = []

    def seen(faces: Faces) -> None:
        if len(faces):
            pieces.append(crops.to_image(faces.restored))

    result = restore_batch(Run(networks, options, hooks), batch, seen)
    size = model.model.input_size
    black = crops.to_image(torch.zeros(0, 3, size, size))
    return io.NodeOutput(
        result.image,
        result.mask,
        result.report.restored,
        torch.cat(pieces) if pieces else black,
        ui=preview.shown(
            told(cls, result, what), preview.of_report(batch.image, result.report.faces)
        ),
    )
