"""Degrade Image: damage with a known answer, to test a graph."""

from __future__ import annotations

from comfy_api.latest import io
from torch import Tensor

from ..gpen_core.arrays import Assembled
from ..gpen_core.dataset.degradation import LIMITS, PRESETS, Degradation, degrade, preset
from ..gpen_core.images.layouts import from_comfy, to_comfy
from ..gpen_core.run import groups
from . import host, widgets
from .schema import advanced, schema

CUSTOM = "custom"
_WIDEST = PRESETS["wild"]
_WHAT = {
    "scale": "Factor by which the picture is reduced, then enlarged again; 1 keeps the size.",
    "blur": "Sigma of the lens blur in pixels.",
    "motion": "Length of the motion blur in pixels; below 2 it is off.",
    "noise": "Standard deviation of the noise on the reduced picture, in 8-bit levels.",
    "jpeg": "JPEG quality; 0 for both ends turns it off.",
    "color": "Strength of a shift in gamma, contrast and tint.",
}


class DegradeImage(io.ComfyNode):
    """A good picture in, a bad one out, repeatably."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="GPEN_DegradeImage",
            display_name="Degrade Image",
            description="Damages a good picture in a repeatable way: blur, color shift, lower "
            "resolution, noise, JPEG. Restore it and compare with the original.",
            search_aliases=["add noise", "jpeg artifacts", "low resolution", "damage", "old photo"],
            inputs=[
                widgets.image(),
                io.Combo.Input(
                    id="preset",
                    options=[*PRESETS, CUSTOM],
                    default="medium",
                    tooltip="How much damage. custom: drawn at random from the ranges below, "
                    "which the other presets ignore.",
                ),
                io.Int.Input(
                    id="seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFF,
                    control_after_generate=False,
                    tooltip="The same seed gives the same damage. Each picture of a batch uses "
                    "the next seed.",
                ),
                *(end for name in LIMITS for end in _range(name)),
                advanced(
                    io.Float.Input(
                        id="gray",
                        default=_WIDEST.gray,
                        min=0.0,
                        max=1.0,
                        step=0.05,
                        tooltip="custom: probability that the picture loses its colors.",
                    )
                ),
            ],
            outputs=[io.Image.Output(id="degraded", display_name="IMAGE")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls, image: Tensor, preset: str, seed: int, gray: float, **ends: float
    ) -> io.NodeOutput:
        recipe = recipe_of(preset, gray, ends)
        degraded, hooks = Assembled(len(image)), host.HostHooks(cls, len(image), stages=("damage",))
        for chosen in groups(len(image)):
            images, alpha = from_comfy(image[chosen])
            piece = degrade(images.float(), recipe, seed + chosen.start)
            degraded.put(chosen, to_comfy(piece, alpha).to(image.dtype))
            hooks.progress("damage", chosen.stop, len(image))
        return io.NodeOutput(degraded.tensor)


def recipe_of(name: str, gray: float, ends: dict[str, float]) -> Degradation:
    """The preset, or the ranges of `<quantity>_min` and `<quantity>_max`.

    Raises:
        InputError: an unknown preset, or an impossible range.
    """
    if name != CUSTOM:
        return preset(name)
    ranges = {key: (ends[f"{key}_min"], ends[f"{key}_max"]) for key in LIMITS}
    return Degradation(**ranges, gray=gray)


def _range(name: str) -> list[io.Input]:
    """The two widgets of a range, by default the widest one."""
    lowest, highest = LIMITS[name]
    values = dict(zip(("min", "max"), getattr(_WIDEST, name), strict=True))
    return [
        advanced(
            io.Float.Input(
                id=f"{name}_{end}",
                default=float(value),
                min=0.0 if name == "jpeg" else float(lowest),
                max=float(highest),
                step=0.05 if highest <= 3 else 0.5 if name == "scale" else 1.0,
                tooltip=f"custom, {'at least' if end == 'min' else 'at most'}: {_WHAT[name]}",
            )
        )
        for end, value in values.items()
    ]
