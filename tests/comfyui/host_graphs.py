"""What graphs for the host are made of, and what became of them."""

from __future__ import annotations

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
