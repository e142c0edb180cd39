"""Paste Back."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ..gpen_core.arrays import Assembled, Batch
from ..gpen_core.errors import InputError
from ..gpen_core.faces.found import Faces
from ..gpen_core.run import Run, Tools, groups
from ..gpen_core.text import counted
from . import background as backgrounds
from . import crops as crop_pictures
from . import host, masks, preview, weights, widgets
from .say import say, warn
from .schema import later, schema
from .types import GPENFaces

# Their masks are held at the same time.
_FACES_AT_ONCE = 8


class PasteFaces(io.ComfyNode):
    """Restored crops back into their pictures."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="GPEN_PasteFaces",
            display_name="Paste Back",
            description="Pastes restored faces back into their picture. Pixels outside the mask "
            "are not changed. Into a background or an upscale model's output, the faces are "
            "pasted with all their detail.",
            has_intermediate_output=True,
            search_aliases=["face paste", "composite face", "uncrop face"],
            inputs=[
                io.Image.Input(id="image", tooltip="The picture in which the faces were found."),
                GPENFaces.Input(id="faces", tooltip="From Restore Faces."),
                widgets.mask(),
                widgets.color_match(),
                widgets.upscale(),
                widgets.exclude(),
                widgets.feather(),
                widgets.small_face_filter(),
                io.Image.Input(
                    id="crops",
                    optional=True,
                    tooltip="Edited crops of these faces, to paste instead. Where they are "
                    "transparent, nothing is pasted.",
                ),
                io.Image.Input(
                    id="background",
                    optional=True,
                    tooltip="The same picture, already enlarged, to paste into.",
                ),
                widgets.upscale_model(),
                widgets.user_mask(),
                later(widgets.grain()),
                later(widgets.occlusion()),
                later(widgets.parts()),
                later(widgets.grow()),
                later(widgets.sharpness_match()),
            ],
            outputs=[
                io.Image.Output(id="pasted", display_name="IMAGE"),
                widgets.changed(),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, exclude: str | None) -> bool | str:
        # The host holds each parameter named here for wrong, so there is only one.
        return widgets.problem(exclude=exclude) or True

    @classmethod
    def execute(
        cls,
        image: Tensor,
        faces: Faces,
        mask_type: str,
        crops: Tensor | None = None,
        background: Tensor | None = None,
        upscale_model: object | None = None,
        mask: Tensor | None = None,
        **values: Any,
    ) -> io.NodeOutput:
        if crops is not None:
            faces = crop_pictures.replaced(faces, crops)
        check_belonging(image, faces)
        text = _told(cls, faces)
        if faces.restored is None:
            faces = faces.take([])
        source = backgrounds.choose(image, background, upscale_model)
        batch = Batch(image, source, masks.painted(mask, image))
        # Without a face the parser's file is not asked for.
        tools = Tools(parser=weights.parser(mask_type) if len(faces) else None)
        hooks = host.HostHooks(cls, stages=("paste",))
        hooks.found(len(faces))
        run = Run(tools, widgets.read(mask_type=mask_type, **values), hooks)
        return io.NodeOutput(*paste_frames(run, batch, faces), ui=preview.shown(text))


def _told(cls: type[io.ComfyNode], faces: Faces) -> str:
    if len(faces) == 0:
        return warn(cls, "No face to paste; the picture is unchanged.")
    if faces.restored is None:
        return warn(
            cls, "These faces are not restored (is Restore Faces bypassed?); nothing is pasted."
        )
    return say(cls, f"{counted(len(faces), 'face')} pasted.")


def check_belonging(image: Tensor, faces: Faces) -> None:
    """Refuse faces that were found in other pictures.

    Raises:
        InputError: says which.
    """
    found = {tuple(size) for size in faces.image_sizes}
    given = tuple(image.shape[1:3])
    if len(faces.image_sizes) != len(image) or found != {given}:
        height, width = faces.image_sizes[0]
        raise InputError(
            f"These faces were found in {counted(len(faces.image_sizes), 'picture')} of "
            f"{width}x{height} px, but image has {len(image)} of {given[1]}x{given[0]} px; connect "
            f"the same image to Detect and Align Faces and to Paste Back, and an enlarged one to "
            f"background."
        )


def paste_frames(run: Run, batch: Batch, faces: Faces) -> tuple[Tensor, Tensor]:
    """IMAGE (B, H', W', C) and mask (B, H', W'), group by group of frames."""
    pasted, changed = Assembled(len(batch.image)), Assembled(len(batch.image))
    masks = _still_masks(run, faces)
    for chosen in groups(len(batch.image)):
        canvas = run.canvas(batch.surface(chosen))
        group = faces.of_images(chosen)
        own = None if masks is None else masks[_of_images(faces, chosen)]
        for few in groups(len(group), _FACES_AT_ONCE):
            part = group.take(range(few.start, few.stop))
            run.paste(canvas, part, _masks(run, part) if own is None else own[few])
        pasted.put(chosen, batch.pictures(canvas.images, chosen, run.hooks))
        changed.put(chosen, canvas.mask[:, 0])
    return pasted.tensor, changed.tensor


def _masks(run: Run, faces: Faces) -> Tensor:
    return run.masks(run.look(faces))


def _still_masks(run: Run, faces: Faces) -> Tensor | None:
    """Those of all faces where these are followed and each has one of its own, else None."""
    if faces.tracks is None or len(faces) < 2 or _masks(run, faces.take([0, 1])).stride(0) == 0:
        return None
    few = (faces.take(range(one.start, one.stop)) for one in groups(len(faces), _FACES_AT_ONCE))
    return run.hold_masks_still(faces, torch.cat([_masks(run, part) for part in few]))


def _of_images(faces: Faces, chosen: slice) -> Tensor:
    """Indices of the faces of some images."""
    inside = (faces.source >= chosen.start) & (faces.source < chosen.stop)
    return inside.nonzero().flatten()
