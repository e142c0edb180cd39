"""What graphs for the host are made of, and what became of them."""

from __future__ import annotations

import torch

PORTRAIT, GROUP, NO_FACE = "astronaut-damaged.jpg", "solvay-1927.jpg", "no-face.png"

# The widgets that every graph has to give.
DETECT = {
    "detector": "mtcnn",
    "confidence": 0.9,
    "min_size": 0,
    "max_size": 0,
    "sort": "area",
    "keep": "all",
    "template": "model",
    "crop_size": 64,
    "rotations": False,
}
PASTE = {
    "mask_type": "rectangle",
    "color_match": 0.0,
    "upscale": "1",
    "exclude": "background,hat,cloth",
    "feather": 0.0,
    "small_face_filter": False,
}
# What Face Restore had at first, before a file, sizes, a sort and a mask.
ONE = {
    "strength": 1.0,
    "keep": "all",
    "upscale": "1",
    "mask_type": "rectangle",
    "color_match": 0.0,
    "detector": "mtcnn",
    "confidence": 0.9,
    "batch_size": 4,
}


def node(kind: str, **inputs: object) -> dict:
    return {"class_type": kind, "inputs": inputs}


def capture(name: str, source: list) -> dict:
    return node("Test_Capture", name=name, value=source)


def load(name: str = PORTRAIT) -> dict:
    return node("LoadImage", image=name)


def feed(name: str) -> dict:
    return node("Test_Feed", name=name)


def done(outcome) -> dict:
    """What was captured."""
    assert outcome.success, outcome.errors
    return {name: values[-1] for name, values in outcome.values.items()}


def failed(outcome) -> str:
    """What was said."""
    assert not outcome.success
    return " ".join(outcome.errors)


def tiny_esrgan() -> dict[str, torch.Tensor]:
    """The smallest state dict that the host's loader takes for an SRVGG upscaler (x2)."""
    features, convolutions, scale = 4, 1, 2
    state = {"body.0.weight": torch.randn(features, 3, 3, 3) * 0.05}
    state["body.0.bias"] = torch.zeros(features)
    state["body.1.weight"] = torch.full((features,), 0.2)
    for index in range(convolutions):
        at = 2 + 2 * index
        state[f"body.{at}.weight"] = torch.randn(features, features, 3, 3) * 0.05
        state[f"body.{at}.bias"] = torch.zeros(features)
        state[f"body.{at + 1}.weight"] = torch.full((features,), 0.2)
    last = 2 + 2 * convolutions
    state[f"body.{last}.weight"] = torch.randn(3 * scale**2, features, 3, 3) * 0.05
    state[f"body.{last}.bias"] = torch.zeros(3 * scale**2)
    return state
