"""What faces are pasted into when the picture is enlarged: a given one, or an upscale model's."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..gpen_core.errors import InputError
from ..gpen_core.images.layouts import from_comfy


def choose(
    image: Tensor, given: Tensor | None = None, upscale_model: object | None = None
) -> Callable[[slice], Tensor | None]:
    """The background that the connected inputs mean.

    Args:
        image: IMAGE (B, H, W, C), the picture itself.
        given: IMAGE (B or 1, H', W', C) already enlarged, or None.
        upscale_model: the host's UPSCALE_MODEL, or None.

    Returns:
        From a slice of the frames to (b or 1, 3, H', W') 0..1, made when it is asked for; None
        where nothing is enlarged.

    Raises:
        InputError: both are connected, or the number of pictures does not fit.
    """
    if given is not None and upscale_model is not None:
        raise InputError("Connect a background or an upscale model, not both.")
    if given is not None and len(given) not in (1, len(image)):
        raise InputError(
            f"background has {len(given)} pictures, image has {len(image)}; connect 1 or "
            f"{len(image)}."
        )

    def of(chosen: slice) -> Tensor | None:
        if given is not None:
            return from_comfy(given if len(given) == 1 else given[chosen])[0].float()
        if upscale_model is None:
            return None
        return from_comfy(_upscaled(image[chosen], upscale_model))[0].float().cpu()

    return of


def _upscaled(image: Tensor, upscale_model: object) -> Tensor:
    """The host's own upscaling of an IMAGE, with its tiles and its memory management."""
    from comfy_extras.nodes_upscale_model import ImageUpscaleWithModel

    output = ImageUpscaleWithModel.execute(upscale_model, image[..., :3].contiguous())
    return torch.as_tensor(output[0])
