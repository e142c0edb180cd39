"""Load GPEN Model."""

from __future__ import annotations

from comfy_api.latest import io

from ..gpen_core.errors import GPENError
from ..gpen_core.options import TASKS
from . import host, weights, widgets
from .schema import later, schema
from .types import GPENModel

PRECISIONS = ["auto", "fp32", "fp16", "bf16"]
DEVICES = ["auto", "cpu"]


class LoadGPENModel(io.ComfyNode):
    """A file name to a network that the host can move between its memories."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="GPEN_LoadModel",
            display_name="Load GPEN Model",
            description="Loads a GPEN face restoration network. Size and kind are read from the "
            "weights; the file name does not matter. A loaded model stays in memory and is shared "
            "by all workflows.",
            search_aliases=["face restore", "face restoration", "gpen-bfr", "restore model"],
            inputs=[
                io.Combo.Input(
                    id="file",
                    options=weights.model_choices(TASKS),
                    tooltip="A file in models/gpen or models/facerestore_models, the model that "
                    "comes with these nodes, or an entry marked 'download': it is downloaded into "
                    "models/gpen when the workflow runs, and by choosing it you accept the license "
                    "it names.",
                ),
                io.Combo.Input(
                    id="precision",
                    options=PRECISIONS,
                    default="auto",
                    tooltip="auto: half precision where the graphics card is good at it, "
                    "otherwise fp32. If half precision overflows, the faces are restored again in "
                    "fp32.",
                ),
                io.Combo.Input(
                    id="device",
                    options=DEVICES,
                    default="auto",
                    tooltip="auto: ComfyUI's device. cpu: leaves the graphics card free.",
                ),
                later(widgets.task()),
            ],
            outputs=[
                GPENModel.Output(
                    id="gpen_model",
                    display_name="GPEN_MODEL",
                    tooltip="For Detect and Align Faces, Restore Faces, Face Restore, Colorize "
                    "Faces, Inpaint Faces and Face from Map.",
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, file: str | None) -> bool | str:
        try:
            # None: the name comes from another node and is not known yet.
            if file is not None:
                weights.model_file_here(file)
        except GPENError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(
        cls, file: str | None, precision: str, device: str, task: str = widgets.OWN_TASK
    ) -> str:
        """Changes when the file is replaced on disk."""
        path = None if file is None else weights.model_file_here(file)
        known = str(file) if path is None else host.identity(path, precision, device)
        return f"{known} {task}"

    @classmethod
    def execute(
        cls, file: str, precision: str, device: str, task: str = widgets.OWN_TASK
    ) -> io.NodeOutput:
        model = host.load_model(weights.model_file(file), precision, device)
        return io.NodeOutput(model.as_task(None if task == widgets.OWN_TASK else task))
