"""Widgets made from the core's options, so that a range, a default and a help text stand once."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..gpen_core.errors import InputError
from ..gpen_core.faces.select import read_keep
from ..gpen_core.options import (
    DETECTORS,
    MASKS,
    TASKS,
    TEMPLATES,
    Checked,
    DetectOptions,
    GateOptions,
    MaskOptions,
    ModelOptions,
    Options,
    PasteOptions,
    RestoreOptions,
    SelectOptions,
    TrackOptions,
    default_of,
    spec_of,
)
from . import weights
from .schema import advanced
from .types import GPENModel

_WIDGETS = {"mask": "mask_type"}  # where a widget has another name than its option

OWN_TEMPLATE = "model"
"""The template widget's entry for the model's own."""

OWN_TASK = "auto"
"""The task widget's entry for what the file says."""


def of(group: type[Checked], name: str, **changes: Any) -> io.Input:
    """The widget of one option.

    A number that may be left open is 0 then. `changes` are arguments of the host's input class that
    differ from what the option says.
    """
    spec, default = spec_of(group, name), default_of(group, name)
    tooltip = spec.help + (f" 0: {spec.unset}." if spec.unset and not spec.choices else "")
    shown: dict[str, Any] = {"id": name, "default": default, "tooltip": tooltip}
    if isinstance(default, bool):
        return io.Boolean.Input(**(shown | changes))
    if spec.choices:
        shown |= {"options": [str(choice) for choice in spec.choices], "default": str(default)}
        return io.Combo.Input(**(shown | changes))
    if spec.low is None:
        shown["default"] = ",".join(default) if isinstance(default, tuple) else default
        return io.String.Input(**(shown | changes))
    whole = isinstance(spec.step, int)
    if default is None:
        shown["default"] = 0 if whole else 0.0
    limits = {
        "min": 0 if default is None else spec.low,
        "max": spec.high,
        "step": spec.step,
    }
    if not whole:
        return io.Float.Input(**(shown | limits | changes))
    limits = {key: int(value) for key, value in limits.items()}
    if name == "seed":
        shown["control_after_generate"] = False
    return io.Int.Input(**(shown | limits | changes))


# --- what is connected ---------------------------------------------------------------------------


def image() -> io.Input:
    return io.Image.Input(id="image", tooltip="A picture, or a batch of pictures or frames.")


def frames() -> io.Input:
    return io.Image.Input(id="image", tooltip="The frames in which the faces were found, in order.")


def fps() -> io.Input:
    return io.Float.Input(
        id="fps",
        default=25.0,
        min=1.0,
        max=240.0,
        step=0.01,
        tooltip="Frames a second, from Get Video Components. Fast motion is smoothed less.",
    )


def gpen_model() -> io.Input:
    return GPENModel.Input(id="gpen_model", tooltip="From Load GPEN Model.")


def user_mask() -> io.Input:
    return io.Mask.Input(
        id="mask",
        optional=True,
        tooltip="Faces are pasted only where this mask is white. Any size.",
    )


def upscale_model() -> io.Input:
    return io.UpscaleModel.Input(
        id="upscale_model",
        optional=True,
        tooltip="Enlarges the picture before the faces are pasted; from Load Upscale Model.",
    )


def changed() -> io.Output:
    return io.Mask.Output(
        id="changed", display_name="changed", tooltip="How much of each pixel is new."
    )


def crop_masks() -> io.Output:
    return io.Mask.Output(
        id="crop_masks",
        display_name="crop_masks",
        tooltip="White where a crop is pasted back. Crops with alpha (invert this mask for Join "
        "Image with Alpha) are pasted where they are opaque.",
    )


def boxes() -> io.Output:
    return io.Mask.Output(id="boxes", display_name="boxes", tooltip="White inside the face boxes.")


# --- the options ---------------------------------------------------------------------------------


def file() -> io.Input:
    choices = weights.model_choices()
    return io.Combo.Input(
        id="file",
        options=choices,
        default=choices[0],
        tooltip="The model file to use if no gpen_model is connected, as in Load GPEN Model.",
    )


def detector() -> io.Input:
    return io.Combo.Input(
        id="detector",
        options=weights.choices(DETECTORS),
        default=DETECTORS[0],
        tooltip="Face detector. mtcnn is built in and the most accurate on damaged faces. An entry "
        "marked 'download' is downloaded into models/facedetection when the workflow runs.",
    )


def confidence() -> io.Input:
    return of(DetectOptions, "confidence")


def min_size() -> io.Input:
    return of(DetectOptions, "min_size")


def max_size() -> io.Input:
    return of(DetectOptions, "max_size")


def rotations() -> io.Input:
    return advanced(of(DetectOptions, "rotations"))


def sort(**changes: str) -> io.Input:
    return of(SelectOptions, "sort", **changes)


def keep() -> io.Input:
    tooltip = f"{spec_of(SelectOptions, 'keep').help} Applied to each frame of a batch separately."
    return of(SelectOptions, "keep", tooltip=tooltip)


def keep_tracks() -> io.Input:
    tooltip = f"{spec_of(SelectOptions, 'keep').help} A face of a video counts once."
    return of(SelectOptions, "keep", tooltip=tooltip)


def skip_sharp() -> io.Input:
    return advanced(of(SelectOptions, "skip_sharp"))


def person_threshold() -> io.Input:
    return of(GateOptions, "person_threshold")


def embedder() -> io.Input:
    choices = weights.embedder_choices()
    widget = io.Combo.Input(
        id="embedder",
        options=choices,
        default=choices[0],
        tooltip="The face recognition network: SFace, or an ArcFace (.onnx, model_ir_se50.pth) in "
        "models/insightface, which takes a person_threshold of its own.",
    )
    return advanced(widget)


def only_below() -> io.Input:
    return advanced(of(GateOptions, "only_below"))


def auto_strength() -> io.Input:
    return advanced(of(GateOptions, "auto_strength"))


def identity() -> io.Input:
    return advanced(of(GateOptions, "identity"))


def careful() -> io.Input:
    return of(GateOptions, "careful")


def detect_every() -> io.Input:
    return advanced(of(TrackOptions, "detect_every"))


def shortest() -> io.Input:
    return advanced(of(TrackOptions, "shortest"))


def gap() -> io.Input:
    return advanced(of(TrackOptions, "gap"))


def smoothing() -> io.Input:
    return advanced(of(TrackOptions, "smoothing"))


def steadiness() -> io.Input:
    return advanced(of(TrackOptions, "steadiness"))


def steadiness_of_tracked() -> io.Input:
    tooltip = f"{spec_of(TrackOptions, 'steadiness').help} Only faces from Track Faces."
    return advanced(of(TrackOptions, "steadiness", tooltip=tooltip))


def template() -> io.Input:
    widget = io.Combo.Input(
        id="template",
        options=[OWN_TEMPLATE, *TEMPLATES],
        default=OWN_TEMPLATE,
        tooltip=f"{spec_of(Options, 'template').help} model: what the connected model expects, "
        f"or gpen if none is connected.",
    )
    return advanced(widget)


def task() -> io.Input:
    spec = spec_of(ModelOptions, "task")
    return io.Combo.Input(
        id="task",
        options=[OWN_TASK, *TASKS],
        default=OWN_TASK,
        tooltip=f"{spec.help} {OWN_TASK}: {spec.unset}.",
    )


def strength() -> io.Input:
    return of(RestoreOptions, "strength")


def batch_size() -> io.Input:
    return advanced(of(RestoreOptions, "batch_size"))


def seed() -> io.Input:
    return advanced(of(RestoreOptions, "seed"))


def mask() -> io.Input:
    return of(
        MaskOptions,
        "mask",
        id="mask_type",
        options=weights.choices(MASKS),
        tooltip=f"{spec_of(MaskOptions, 'mask').help} An entry marked 'download' is downloaded "
        f"into models/facedetection when the workflow runs.",
    )


def exclude() -> io.Input:
    return advanced(of(MaskOptions, "exclude"))


def feather() -> io.Input:
    return advanced(of(MaskOptions, "feather"))


def parts() -> io.Input:
    return advanced(of(MaskOptions, "parts"))


def grow() -> io.Input:
    return advanced(of(MaskOptions, "grow"))


def occlusion() -> io.Input:
    return of(MaskOptions, "occlusion")


def color_match() -> io.Input:
    return of(PasteOptions, "color_match")


def small_face_filter() -> io.Input:
    return advanced(of(PasteOptions, "small_face_filter"))


def grain() -> io.Input:
    return advanced(of(PasteOptions, "grain"))


def sharpness_match() -> io.Input:
    return advanced(of(PasteOptions, "sharpness_match"))


def upscale() -> io.Input:
    tooltip = (
        f"{spec_of(PasteOptions, 'upscale').help} No effect if a background or an upscale model "
        f"is connected."
    )
    return of(PasteOptions, "upscale", tooltip=tooltip)


# --- from widgets to options ---------------------------------------------------------------------


def read(**values: Any) -> Options:
    """The core's options from widgets' values; 0 leaves open what may be left open.

    Raises:
        InputError: a value that the core refuses.
    """
    for name in ("min_size", "max_size", "feather", "only_below", "identity", "person_threshold"):
        if name in values:
            values[name] = values[name] or None
    if values.get("template") == OWN_TEMPLATE:
        del values["template"]
    if "mask_type" in values:
        values["mask"] = weights.name_of(values.pop("mask_type"))
    if "upscale" in values:
        values["upscale"] = int(values["upscale"])
    if "exclude" in values:
        names = tuple(name.strip() for name in values["exclude"].split(",") if name.strip())
        values["exclude"] = names or None
    try:
        return Options.of(**values)
    except InputError as error:
        raise InputError(_in_widgets(error), option=error.option) from error


def problem(**constants: Any) -> str | None:
    """What is wrong with values known before the run; None where nothing is.

    A value that another node will give is None, and not looked at.
    """
    try:
        options = read(**{name: value for name, value in constants.items() if value is not None})
        read_keep(options.select.keep)
    except InputError as error:
        return str(error)
    return None


def _in_widgets(error: InputError) -> str:
    """An error's text with the widget's name in the option's place."""
    text, widget = str(error), _WIDGETS.get(error.option or "", error.option or "")
    if error.option and text.startswith(error.option):
        return widget + text[len(error.option) :]
    return text
