"""What the nodes that work on whole pictures have in common."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from comfy_api.latest import io
from torch import Tensor

from ..gpen_core.arrays import Batch, Result, restore_batch
from ..gpen_core.faces.found import Faces
from ..gpen_core.options import Options
from ..gpen_core.run import Run
from ..gpen_core.run import Tools as Networks
from . import crops, host, preview, weights, widgets
from .told import told

__all__ = ["Batch", "Done", "Tools", "done", "outputs", "through"]


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

    def networks(self, options: Options) -> Networks:
        """Loaded, with what tells people apart where the options ask for it."""
        return Networks(
            self.model.model,
            weights.detector(self.detector),
            weights.parser(self.mask),
            weights.embedder(options),
        )


@dataclass(frozen=True)
class Done:
    """A batch that went through the core.

    Attributes:
        result: the pictures, what changed, the report.
        crops: IMAGE of the restored faces; one black picture if there is none.
        ui: what the node shows.
    """

    result: Result
    crops: Tensor
    ui: dict[str, object]


def through(
    cls: type[io.ComfyNode], tools: Tools, options: Options, batch: Batch, what: str
) -> Done:
    """A batch through the steps of the core; its faces are `what` afterwards."""
    model = tools.model
    hooks = host.HostHooks(
        cls, len(batch.image), stages=("detect", "restore", "paste"), model=model
    )
    run = Run(tools.networks(options), options, hooks)
    pieces: list[Tensor] = []
    first: list[Faces] = []  # those of the frames that the preview shows

    def seen(faces: Faces) -> None:
        if not first:
            first.append(faces.with_(restored=None))
        if len(faces):
            pieces.append(crops.to_image(faces.restored))

    result = restore_batch(run, batch, seen)
    size = run.task.size(model.model.input_size, model.model.output_size)
    black = crops.to_image(torch.zeros(0, 3, size, size))
    shown = preview.of_report(batch.image, result.report.faces, first[0])
    return Done(
        result,
        torch.cat(pieces) if pieces else black,
        preview.shown(told(cls, result, what), shown),
    )


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
    made = through(cls, tools, options, batch, what)
    result = made.result
    return io.NodeOutput(result.image, result.mask, result.report.restored, made.crops, ui=made.ui)
