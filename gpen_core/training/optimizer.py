"""What changes a network's weights: Adam, or Muon for the convolutions and Adam for the rest."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .config import Adam, Optimizer
from .muon import Muon, as_matrix

# A 1x1 layer from or to the three colors has too few directions to balance.
_LEAST_SIDE = 8


def optimizers(net: nn.Module, options: Optimizer) -> dict[str, torch.optim.Optimizer]:
    """The optimizers of a generator by name; together they hold every parameter once."""
    parameters = list(net.parameters())
    if options.method == "adam":
        return {"adam": adam(parameters, options)}
    convolutions = [parameter for parameter in parameters if _is_matrix(parameter)]
    rest = [parameter for parameter in parameters if not _is_matrix(parameter)]
    return {"adam": adam(rest, options), "muon": Muon(convolutions, options.lr)}


def adam(parameters: list[nn.Parameter], options: Adam) -> torch.optim.Adam:
    """Adam with the rate and the moments of `options`; one kernel for all weights on CUDA."""
    fused = bool(parameters) and all(parameter.is_cuda for parameter in parameters)
    return torch.optim.Adam(parameters, lr=options.lr, betas=options.betas, fused=fused or None)


def _is_matrix(parameter: Tensor) -> bool:
    """Whether it is the weight of a convolution, (K, C, h, w) or (1, K, C, h, w)."""
    return parameter.ndim >= 4 and min(as_matrix(parameter).shape) >= _LEAST_SIDE
