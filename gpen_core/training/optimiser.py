"""What changes a network's weights: Adam, or Muon for the convolutions and Adam for the rest.

Muon (Jordan, 2024) turns the momentum of a matrix into the nearest matrix with equal singular
values, so that directions the loss rarely asks for move as far as the loud ones. With updates
rescaled to the size of Adam's (Liu et al., *Muon is Scalable for LLM Training*, 2025) one learning
rate serves both.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..errors import MissingDependencyError
from .config import Adam, Optimiser

# A 1x1 layer from or to the three colours has too few directions to balance.
_LEAST_SIDE = 8


def optimisers(net: nn.Module, options: Optimiser) -> dict[str, torch.optim.Optimizer]:
    """The optimisers of a generator by name; together they hold every parameter once.

    Raises:
        MissingDependencyError: this PyTorch has no Muon.
    """
    parameters = list(net.parameters())
    if options.method == "adam":
        return {"adam": adam(parameters, options)}
    convolutions = [parameter for parameter in parameters if _is_matrix(parameter)]
    rest = [parameter for parameter in parameters if not _is_matrix(parameter)]
    return {"adam": adam(rest, options), "muon": _muon(convolutions, options)}


def adam(parameters: list[nn.Parameter], options: Adam) -> torch.optim.Adam:
    """Adam with the rate and the moments of `options`."""
    return torch.optim.Adam(parameters, lr=options.lr, betas=options.betas)


def _is_matrix(parameter: Tensor) -> bool:
    """Whether it is the weight of a convolution, (K, C, h, w) or (1, K, C, h, w)."""
    return parameter.ndim >= 4 and min(_as_matrix(parameter).shape) >= _LEAST_SIDE


def _as_matrix(weight: Tensor) -> Tensor:
    """(K, C h w), sharing memory."""
    return weight.detach().view(weight.shape[-4], -1)


def _muon(weights: list[nn.Parameter], options: Adam) -> torch.optim.Optimizer:
    """PyTorch's Muon takes matrices only: it gets views, whose gradients are views as well."""
    if not hasattr(torch.optim, "Muon"):
        raise MissingDependencyError(
            f"optimiser.method muon needs PyTorch 2.9 or newer, not {torch.__version__}; "
            f"set optimiser.method: adam."
        )
    views = [_as_matrix(weight) for weight in weights]
    for weight, view in zip(weights, views, strict=True):
        weight.register_post_accumulate_grad_hook(_share_gradient(view))
    return torch.optim.Muon(views, lr=options.lr, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")


def _share_gradient(view: Tensor) -> Callable[[Tensor], None]:
    """A hook that gives `view` the gradient that was just summed up in its weight."""

    def share(weight: Tensor) -> None:
        assert weight.grad is not None
        view.grad = weight.grad.view_as(view)

    return share
