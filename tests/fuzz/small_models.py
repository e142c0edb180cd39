"""Models of a few kilobytes, real in every other respect: what hostile files are made from."""

from __future__ import annotations

import argparse
import io
import sys
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import torch

from gpen_core.networks.gpen import GPEN, GPENConfig
from gpen_core.networks.gpen_v2 import GPENv2, GPENv2Config


def small_config() -> GPENConfig:
    return replace(GPENConfig.create(64, narrow=0.0078125), style_dim=8, n_mlp=2)


def first_version() -> dict:
    torch.manual_seed(0)
    return GPEN(small_config()).state_dict()


def second_version() -> dict:
    torch.manual_seed(0)
    config = GPENv2Config(64, 64, (1, 1, 1, 1), 2, True, 8, 1, 8, (4, 4, 4, 4))
    return GPENv2(config).state_dict()


def in_parts(state: dict, args: object = None) -> dict:
    """A state dict of the second version in the layout of its files."""
    parts: dict = {part: {} for part in ("encoder", "mapper", "generator")}
    for key, value in state.items():
        part, _, name = key.partition(".")
        parts[part][name] = value
    if args is None:
        stated = {"input_resolution": 64, "version": "GPEN-BFR-v2.0-64", "lr": 0.002}
        args = argparse.Namespace(**stated, betas=(0, 0.9))
    return {**parts, "args": args}


def saved(content: object, as_zip: bool = True) -> bytes:
    """What `torch.save` writes."""
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=as_zip)
    return buffer.getvalue()
