"""How far a model lifts held-out faces above their damaged input, in dB, per preset.

    python benchmarks/held_out_psnr.py docs/gpen-lite-256.yaml weights/gpen-lite-256.safetensors

The faces are those the training config holds out; the model's file may be any GPEN v1 safetensors
of the config's size. "do nothing" and "unsharp" (radius 2, 100 %) are measured in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from gpen_core.degradation import gaussian_blur
from gpen_core.networks import GPEN, GPENConfig
from gpen_core.training.config import TrainConfig, read_config
from gpen_core.training.dataset import Batch, Face, read_manifest, split, validation_pairs
from gpen_core.training.evaluate import psnr, restore_pairs, sheet

PRESETS = ("mild", "medium", "severe")


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    config = read_config(arguments.config)
    net = _network(arguments.model)
    faces = _held_out(config)
    table = {}
    for name in PRESETS:
        pairs = validation_pairs(faces, config.model.size, name, seed=arguments.seed)
        restored = restore_pairs(net, pairs)
        table[name] = _row(pairs, restored)
        if arguments.sheets is not None:
            arguments.sheets.mkdir(parents=True, exist_ok=True)
            _draw(pairs, restored, arguments.sheets, name)
    sources = {source: sum(face.source == source for face in faces) for source in _sources(faces)}
    print(json.dumps({"faces": len(faces), "sources": sources, "psnr": table}, indent=2))


def _row(pairs: Batch, restored: Tensor) -> dict[str, float]:
    unsharp = 2 * pairs.degraded - gaussian_blur(pairs.degraded, 2.0)
    before, after = psnr(pairs.degraded, pairs.truth), psnr(restored, pairs.truth)
    row = {
        "do nothing": before.mean().item(),
        "unsharp": psnr(unsharp, pairs.truth).mean().item(),
        "restored": after.mean().item(),
        "gain": (after - before).mean().item(),
        "worst gain": (after - before).min().item(),
        "share better": (after > before).float().mean().item(),
    }
    return {key: round(value, 3) for key, value in row.items()}


def _draw(pairs: Batch, restored: Tensor, folder: Path, name: str) -> None:
    for start in range(0, len(restored), 8):
        part = slice(start, start + 8)
        rows = Batch(pairs.degraded[part], pairs.truth[part], pairs.weight[part])
        picture = sheet(rows, restored[part])
        Image.fromarray(picture.numpy()).save(folder / f"{name}-{start:03d}.png")


def _network(path: Path) -> GPEN:
    state = {key: value.float() for key, value in load_file(path).items()}
    net = GPEN(GPENConfig.from_state_dict(state))
    net.load_state_dict(state)
    return net.eval()


def _held_out(config: TrainConfig) -> list[Face]:
    data = config.data.model_copy(update={"max_validation": 10**9})
    return split(read_manifest(data), data)[1]


def _sources(faces: list[Face]) -> list[str]:
    return sorted({face.source for face in faces})


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path, help="training config, for its held-out faces")
    parser.add_argument("model", type=Path, help="GPEN v1 safetensors")
    parser.add_argument("--sheets", type=Path, help="folder for degraded | restored | truth")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    return parser.parse_args()


if __name__ == "__main__":
    main()
