"""VGG-19, with layers by name and the keys of torchvision's file.

Simonyan & Zisserman, 2015 (arXiv 1409.1556), configuration E.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import CheckpointError, InputError
from ..models.read import read_tensors
from .named import named_file

WHAT = "torchvision's VGG-19 (vgg19-dcbb9e9d.pth)"
# The file's name holds the first digits of its SHA-256, as those of all of torchvision's do.
_KNOWN = "dcbb9e9d"
_BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
# Mean and deviation of ImageNet, for pictures of 0..1.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _places() -> dict[str, int]:
    """Index in torchvision's `features` of every layer by its name, such as relu2_2."""
    places, index = {}, 0
    for block, (_, count) in enumerate(_BLOCKS, start=1):
        for layer in range(1, count + 1):
            places[f"conv{block}_{layer}"] = index
            places[f"relu{block}_{layer}"] = index + 1
            index += 2
        places[f"pool{block}"] = index
        index += 1
    return places


PLACES = _places()
"""Index of each layer in `VGG19.features`."""


class VGG19(nn.Module):
    """Pictures (N, 3, H, W), RGB -1..1 -> features after the layers asked for, in that order.

    Args:
        layers: names such as "relu2_2"; nothing deeper than the deepest is made.

    Raises:
        InputError: no layer, or one that there is not.

    Example:
        >>> VGG19(["relu1_2", "relu2_2"])(torch.zeros(1, 3, 64, 64))[1].shape
        torch.Size([1, 128, 32, 32])
    """

    def __init__(self, layers: Sequence[str]) -> None:
        super().__init__()
        unknown = [name for name in layers if name not in PLACES]
        if unknown or not layers:
            raise InputError(
                f"VGG-19 has no layer {unknown[0]!r}; there are conv1_1, relu1_1, ... relu5_4 and "
                f"pool1 to pool5."
                if unknown
                else "Name a layer of VGG-19, such as relu2_2."
            )
        self.layers = tuple(layers)
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(_DEVIATION).view(1, 3, 1, 1), persistent=False)
        self.mean: Tensor
        self.scale: Tensor
        made: list[nn.Module] = []
        width = 3
        for out, count in _BLOCKS:
            for _ in range(count):
                made += [nn.Conv2d(width, out, 3, padding=1), nn.ReLU()]
                width = out
            made.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*made[: max(PLACES[name] for name in layers) + 1])

    def forward(self, x: Tensor) -> list[Tensor]:
        """See the class; sides of 32 pixels or more."""
        x = (x * 0.5 + 0.5 - self.mean) / self.scale
        found: dict[int, Tensor] = {}
        for index, layer in enumerate(self.features):
            x = layer(x)
            found[index] = x
        return [found[PLACES[name]] for name in self.layers]


def load_vgg19(
    layers: Sequence[str], path: str | Path | None = None, sha256: str | None = None
) -> VGG19:
    """The network with the weights of torchvision's file, frozen; nothing is downloaded.

    Raises:
        CheckpointError: the file is missing, is another one, or lacks a layer.
        InputError: no such layer.

    Example:
        >>> load_vgg19(["relu2_2"], "no-such-file.pth")
        Traceback (most recent call last):
        gpen_core.errors.CheckpointError: no-such-file.pth is missing; it should be ...
    """
    net = VGG19(layers)
    file = named_file(path, WHAT, sha256, _KNOWN)
    fill(net, read_tensors(file), file)
    return net.eval().requires_grad_(False)


def fill(net: nn.Module, content: object, file: Path) -> None:
    """Put a file's tensors into a network; what the network does not have is left out.

    Raises:
        CheckpointError: one is missing or of another shape.

    Example:
        >>> fill(nn.Linear(2, 1), {}, Path("a.pth"))
        Traceback (most recent call last):
        gpen_core.errors.CheckpointError: a.pth has no 'weight' of the shape (1, 2); ...
    """
    state = content if isinstance(content, dict) else {}
    for name, value in net.state_dict().items():
        if name.endswith("num_batches_tracked"):  # counts, which older files lack
            continue
        found = state.get(name)
        if not isinstance(found, Tensor) or found.shape != value.shape:
            raise CheckpointError(
                f"{file} has no {name!r} of the shape {tuple(value.shape)}; it is another network."
            )
        with torch.no_grad():
            value.copy_(found)
