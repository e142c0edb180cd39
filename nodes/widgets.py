"""Widgets that several nodes share, so that they have one range, one default and one tooltip."""

from __future__ import annotations

from typing import get_args

from comfy_api.latest import io

from ..gpen_core.faces import detect, mask, select, templates
from . import weights
from .schema import advanced
from .types import GPENModel

DETECTORS = list(detect.DETECTORS)
SORTS = list(select.SORTS)
TEMPLATES = ["model", *templates.TEMPLATE_NAMES]
MASKS = list(get_args(mask.MaskKind))
UPSCALES = ["1", "2", "4"]


def image() -> io.Input:
    return io.Image.Input(id="image", tooltip="A picture, or a batch of pictures or frames.")


def gpen_model() -> io.Input:
    return GPENModel.Input(id="gpen_model", tooltip="From Load GPEN Model.")


def upscale_model() -> io.Input:
    return io.UpscaleModel.Input(
        id="upscale_model",
        optional=True,
        tooltip="Enlarges the picture first. From Load Upscale Model.",
    )


def changed() -> io.Output:
    return io.Mask.Output(
        id="changed", display_name="changed", tooltip="How much of each pixel is new."
    )


def detector() -> io.Input:
    return io.Combo.Input(
        id="detector",
        options=weights.choices(DETECTORS),
        default="mtcnn",
        tooltip="What looks for faces. mtcnn is built in and marks degraded faces most exactly; "
        "entries that say 'download' are fetched into models/facedetection when the graph runs.",
    )


def confidence() -> io.Input:
    return io.Float.Input(
        id="confidence",
        default=0.9,
        min=0.1,
        max=1.0,
        step=0.01,
        tooltip="Faces the detector is less sure of are left out. "
        "Lower it for faces that are missed, raise it when things are taken for faces.",
    )


def min_size() -> io.Input:
    return io.Int.Input(
        id="min_size",
        default=0,
        min=0,
        max=4096,
        step=1,
        tooltip="Faces whose shorter side has fewer pixels are left out; 0: no limit.",
    )


def max_size() -> io.Input:
    return io.Int.Input(
        id="max_size",
        default=0,
        min=0,
        max=16384,
        step=1,
        tooltip="Faces whose shorter side has more pixels are left out; 0: no limit.",
    )


def rotations() -> io.Input:
    widget = io.Boolean.Input(
        id="rotations",
        default=False,
        tooltip="Where nothing was found, look again with the picture turned by 90, 180 and "
        "270 degrees.",
    )
    return advanced(widget)


def sort() -> io.Input:
    return io.Combo.Input(
        id="sort",
        options=SORTS,
        default="area",
        tooltip="Order of the faces, which is the order of their indices: largest first, surest "
        "first, from the left, from the top, or nearest to the center.",
    )


def keep() -> io.Input:
    return io.String.Input(
        id="keep",
        default="all",
        tooltip='Which faces go on, in that order: "all", "largest", or indices such as "0,2". '
        "In a batch the choice is made in every frame.",
    )


def template() -> io.Input:
    widget = io.Combo.Input(
        id="template",
        options=TEMPLATES,
        default="model",
        tooltip="Where eyes, nose and mouth lie in the crop. model: as the connected model wants "
        "it, else gpen.",
    )
    return advanced(widget)


def strength() -> io.Input:
    return io.Float.Input(
        id="strength",
        default=1.0,
        min=0.0,
        max=1.0,
        step=0.05,
        tooltip="1 takes the restored face, 0 keeps the face as it was, between them they blend.",
    )


def batch_size() -> io.Input:
    widget = io.Int.Input(
        id="batch_size",
        default=4,
        min=1,
        max=64,
        step=1,
        tooltip="Faces that go through the network together. "
        "Halved by itself when memory runs out.",
    )
    return advanced(widget)


def seed() -> io.Input:
    widget = io.Int.Input(
        id="seed",
        default=0,
        min=0,
        max=0xFFFFFFFF,
        control_after_generate=False,
        tooltip="Noise of super-resolution models; other models use none.",
    )
    return advanced(widget)


def mask() -> io.Input:
    return io.Combo.Input(
        id="mask_type",
        options=weights.choices(MASKS),
        default="rectangle",
        tooltip="Shape of what is replaced: a soft square, an ellipse, the hull of the landmarks, "
        "or the face's own parts (parsing; an entry that says 'download' fetches its file into "
        "models/facedetection when the graph runs).",
    )


def exclude() -> io.Input:
    widget = io.String.Input(
        id="exclude",
        default="background,hat,cloth",
        tooltip="Only with parsing: what is left as it was. Add eyes, mouth, glasses, hair, ears, "
        "brows, neck... with commas.",
    )
    return advanced(widget)


def feather() -> io.Input:
    widget = io.Float.Input(
        id="feather",
        default=0.0,
        min=0.0,
        max=128.0,
        step=1.0,
        tooltip="Width of the soft edge in pixels of a 512-px crop; 0: the usual one.",
    )
    return advanced(widget)


def color_match() -> io.Input:
    return io.Float.Input(
        id="color_match",
        default=0.0,
        min=0.0,
        max=1.0,
        step=0.05,
        tooltip="Takes the broad colors of the original face, against a shift of the skin tone.",
    )


def small_face_filter() -> io.Input:
    widget = io.Boolean.Input(
        id="small_face_filter",
        default=False,
        tooltip="Smooths faces under 100 px a little, so that they stay as soft as what is "
        "around them.",
    )
    return advanced(widget)


def upscale() -> io.Input:
    return io.Combo.Input(
        id="upscale",
        options=UPSCALES,
        default="1",
        tooltip="Enlarges the picture this many times (bicubic) before the faces are pasted, so "
        "that their detail is kept. Unused when a background or an upscale model is connected.",
    )
