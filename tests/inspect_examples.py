"""One small file of every kind, and what `gpen inspect` says of it, as the documents show it.

    python -m tests.inspect_examples        # prints the section of docs/checkpoint-formats.md

The weights are random and the networks narrow; the layouts are those of the real files.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import torch

from gpen_core.errors import GPENError
from gpen_core.models.convert import convert, inspect
from gpen_core.models.load import load_model
from gpen_core.networks.gpen import GPEN, GPENConfig
from gpen_core.networks.gpen_v2 import GPENv2, GPENv2Config
from gpen_core.onnx.export import export

KINDS = {
    "official.pth": "the layout of the published files: a state dict, fp32, zip",
    "legacy-fp16.pth": "fp16 in PyTorch's format of before 1.6",
    "converted.safetensors": "what `gpen convert` makes of `official.pth`",
    "training.pth": "a training checkpoint: `g`, `d`, `g_ema`, optimizers",
    "super-resolution.pth": "more output than input",
    "v2.pth": "the v2.0 layout: `encoder`, `mapper`, `generator`, `args`",
    "exported.onnx": "what `gpen export` makes of `official.pth`",
    "discriminator.pth": "not GPEN: the other network of a training",
    "page.pth": "not a model: a web page saved under a model's name",
}


def make(folder: Path) -> None:
    """Write the files of `KINDS`, the same ones every time."""
    torch.manual_seed(0)
    state = GPEN(GPENConfig.create(64, narrow=0.0625)).state_dict()
    torch.save(state, folder / "official.pth")
    half = {key: value.half() for key, value in state.items()}
    torch.save(half, folder / "legacy-fp16.pth", _use_new_zipfile_serialization=False)
    convert(folder / "official.pth", folder / "converted.safetensors")
    judge = {f"convs.{i}.0.weight": torch.zeros(4, 4, 1, 1) for i in range(3)}
    judge |= {"final_conv.0.weight": torch.zeros(4, 5, 3, 3)}
    judge |= {"final_linear.0.weight": torch.zeros(4, 64), "final_linear.1.weight": torch.zeros(1)}
    training = {"g": state, "d": judge, "g_ema": state, "g_optim": {}, "d_optim": {}}
    torch.save(training, folder / "training.pth")
    larger = GPEN(GPENConfig.create(128, narrow=0.0625, in_size=64)).state_dict()
    torch.save(larger, folder / "super-resolution.pth")
    torch.save(_v2(), folder / "v2.pth")
    export(load_model(folder / "official.pth"), folder / "exported.onnx")
    torch.save(judge, folder / "discriminator.pth")
    (folder / "page.pth").write_text("<!DOCTYPE html><title>404 Not Found</title>")


def _v2() -> dict[str, object]:
    config = GPENv2Config(64, 64, (1, 2, 1, 1), 8, True, 32, 2, 8, (16, 16, 12, 8))
    parts: dict[str, dict[str, object]] = {"encoder": {}, "mapper": {}, "generator": {}}
    for key, value in GPENv2(config).state_dict().items():
        part, _, name = key.partition(".")
        parts[part][name] = value
    return {**parts, "args": argparse.Namespace(input_resolution=64, output_resolution=64)}


def section() -> str:
    """What `gpen inspect` says of each file, as Markdown; in the folder of the files."""
    lines = []
    for name, what in KINDS.items():
        lines += [f"**`{name}`**, {what}:", "", "```", f"$ gpen inspect {name}"]
        try:
            lines += inspect(Path(name)).lines()
        except GPENError as error:
            lines.append(f"Error: {error}")
        lines += ["```", ""]
    return "\n".join(lines).rstrip()


def main() -> str:
    """Make the files in a scratch folder and describe them there."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
        os.chdir(folder)
        try:
            return section()
        finally:
            os.chdir(before)


if __name__ == "__main__":
    sys.stdout.write(main() + "\n")
