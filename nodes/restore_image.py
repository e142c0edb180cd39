"""Restore Image (GPEN): the four nodes in one."""

from __future__ import annotations

from comfy_api.latest import io
from torch import Tensor

from ..gpen_core.faces.detect import DetectOptions, Detector
from ..gpen_core.faces.parse import Parser
from ..gpen_core.faces.paste import PasteOptions
from ..gpen_core.faces.restore import RestoreOptions
from ..gpen_core.images.layouts import from_comfy, to_comfy
from ..gpen_core.run import Options, restore_images
from . import background as backgrounds
from . import frames, host, masks, weights, widgets
from .say import say, warn
from .schema import schema


class RestoreImage(io.ComfyNode):
    """A picture in, a picture with restored faces out."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="GPEN_RestoreImage",
            display_name="Restore Image (GPEN)",
            description="Finds, restores and pastes back the faces of a picture or of every frame "
            "of a batch. The four single nodes do the same step by step.",
            search_aliases=["face restore", "gpen", "codeformer", "gfpgan", "restore old photo"],
            inputs=[
                widgets.gpen_model(),
                widgets.image(),
                widgets.strength(),
                widgets.keep(),
                widgets.upscale(),
                widgets.mask(),
                widgets.color_match(),
                widgets.detector(),
                widgets.confidence(),
                widgets.batch_size(),
                widgets.upscale_model(),
            ],
            outputs=[
                io.Image.Output(id="restored", display_name="IMAGE"),
                widgets.changed(),
                io.Int.Output(id="count", display_name="count", tooltip="Faces restored."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, detector: str | None, mask_type: str | None) -> bool | str:
        return (
            weights.problem("detector", detector, widgets.DETECTORS)
            or weights.problem("mask_type", mask_type, widgets.MASKS)
            or True
        )

    @classmethod
    def execute(
        cls,
        gpen_model: host.HostModel,
        image: Tensor,
        strength: float,
        keep: str,
        upscale: str,
        mask_type: str,
        color_match: float,
        detector: str,
        confidence: float,
        batch_size: int,
        upscale_model: object | None = None,
    ) -> io.NodeOutput:
        shape = masks.choose(mask_type)
        options = Options(
            detect=DetectOptions(confidence=confidence),
            keep=keep,
            restore=RestoreOptions(strength=strength, batch_size=batch_size),
            mask=shape.options,
            paste=PasteOptions(upscale=int(upscale), color_match=color_match),
            frames_at_once=frames.FRAMES_AT_ONCE,
        )
        source = backgrounds.choose(image, upscale_model=upscale_model)
        pasted, changed, count, events = restore_frames(
            image, gpen_model, weights.detector(detector), shape.parser(), options, source
        )
        for event in events:
            warn(cls, event)
        if count:
            say(cls, f"{count} face(s) restored in {len(image)} picture(s).")
        else:
            warn(cls, "No face was found (or kept); the picture is unchanged.")
        return io.NodeOutput(pasted, changed, count)


def restore_frames(
    image: Tensor,
    model: host.HostModel,
    detector: Detector,
    parser: Parser | None,
    options: Options,
    source: backgrounds.Background,
) -> tuple[Tensor, Tensor, int, list[str]]:
    """IMAGE, mask (B, H', W'), number of faces, fall-backs; a few frames at a time."""
    pasted, changed = frames.Assembled(len(image)), frames.Assembled(len(image))
    progress, count, events = host.Progress(len(image)), 0, []
    for chosen in frames.groups(len(image)):
        images, alpha = from_comfy(image[chosen])
        monitor = host.monitor(model, progress)
        piece, mask, faces, _ = restore_images(
            images.float(),
            model.model,
            options,
            detector=detector,
            parser=parser,
            background=source.of(chosen),
            monitor=monitor,
            found=progress.more,
        )
        pasted.put(chosen, to_comfy(piece, alpha).to(image.dtype))
        changed.put(chosen, mask[:, 0])
        progress.advance(len(images))
        count += len(faces)
        events += [event for event in monitor.events if event not in events]
    return pasted.tensor, changed.tensor, count, events
