"""The descriptor that travels with a network, so that no caller guesses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..text import printable
from .task import RESTORE, SOURCES, guessed, task_of

_LONGEST = 1000  # characters of a line


@dataclass(frozen=True)
class ModelInfo:
    """What a model is.

    Attributes:
        architecture: "gpen-v1" or "gpen-v2".
        input_size, output_size: side of the square crops in pixels.
        parameters: number of weights.
        stored: type of the weights in the file: "fp32", "fp16", "bf16" or "mixed".
        template: alignment the model was trained on, "gpen" or "ffhq".
        narrow, channel_multiplier: the official width parameters; None where they do not apply.
        path: the file it came from, None for a state dict.
        file_format: "safetensors", "torch-zip", "torch-legacy", "onnx" or "state dict".
        wrapper: where in the file the weights were, e.g. "g_ema".
        license: as the file's metadata says, else None.
        metadata: text metadata of the file.
        task: what it is for, one of `options.TASKS`.
        task_source: how that is known, a key of `task.SOURCES`.
    """

    architecture: str
    input_size: int
    output_size: int
    parameters: int
    stored: str
    template: str = "gpen"
    narrow: float | None = None
    channel_multiplier: float | None = None
    path: Path | None = None
    file_format: str = "state dict"
    wrapper: str = ""
    license: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    task: str = RESTORE
    task_source: str = ""

    @property
    def name(self) -> str:
        """What to call the model in a sentence."""
        return self.path.name if self.path else f"this {self.architecture} model"

    def of_file(self, path: Path, file_format: str) -> ModelInfo:
        """The same, with the file it came from, and what that says about the task.

        Raises:
            CheckpointError: the file's metadata name a task that there is not.
        """
        task, source = task_of(path, self.metadata)
        changes = {"path": path, "file_format": file_format}
        return replace(self, **changes, task=task, task_source=source)  # type: ignore[arg-type]

    @property
    def guess(self) -> str:
        """What to say where the task is a guess; empty where it is none."""
        return guessed(self.name, self.task) if self.task_source == "name" else ""

    def lines(self) -> list[str]:
        """`gpen inspect`: one fact a line."""
        size = f"{self.input_size} px"
        if self.output_size != self.input_size:
            size += f" -> {self.output_size} px (super-resolution form)"
        facts = {
            "file": str(self.path) if self.path else "",
            "format": self.file_format + (f", weights under {self.wrapper!r}" * bool(self.wrapper)),
            "architecture": self.architecture,
            "task": f"{self.task} ({SOURCES[self.task_source]})",
            "size": size,
            "width": ""
            if self.narrow is None
            else f"narrow {self.narrow:g}, channel multiplier {self.channel_multiplier:g}",
            "parameters": f"{self.parameters / 1e6:.1f} M, stored as {self.stored}",
            "template": self.template,
            "license": self.license or "not stated (official weights: non-commercial)",
        }
        # Wrapper, template and license are the file's own words.
        return [f"{key:<13} {printable(value, _LONGEST)}" for key, value in facts.items() if value]

    def __str__(self) -> str:
        return "\n".join(self.lines())
