"""What faces are pasted into when the picture is enlarged: a given one, or an upscale model's."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..gpen_core.errors import InputError
from ..gpen_core.images.layouts import from_comfy
from . import frames


@dataclass(frozen=True)
class Background:
    """The enlarged picture of a group of frames, made when it is asked for.

    Attributes:
        image: IMAGE (B, H, W, C), the picture itself.
        given: IMAGE (B or 1, H', W', C) already enlarged, or None.
        upscale_model: the host's UPSCALE_MODEL, or None.
    """

    image: Tensor
    given: Tensor | None = None
    upscale_model: object | None = None

    def of(self, chosen: slice) -> Tensor | None:
        """(B, 3, H', W') 0..1 of the frames `chosen`; None where nothing is enlarged."""
        if self.given is not None:
            part = frames.part(self.given, chosen)
            return from_comfy(part)[0].float().expand(chosen.stop - chosen.start, -1, -1, -1)
        if self.upscale_model is None:
            return None
        return from_comfy(_upscaled(self.image[chosen], self.upscale_model))[0].float().cpu()


def choose(
    image: Tensor, given: Tensor | None = None, upscale_model: object | None = None
) -> Background:
    """The background that the connected inputs mean.

    Raises:
        InputError: both are connected, or the number of pictures does not fit.
    """
    if given is not None and upscale_model is not None:
        raise InputError("Connect a background or an upscale model, not both.")
    frames.check_count("background", given, len(image))
    return Background(image, given, upscale_model)


def _upscaled(image: Tensor, upscale_model: object) -> Tensor:
    """The host's own upscaling of an IMAGE, with its tiles and its memory management."""
    from comfy_extras.nodes_upscale_model import ImageUpscaleWithModel

    output = ImageUpscaleWithModel.execute(upscale_model, image[..., :3].contiguous())
    return torch.as_tensor(output[0])
