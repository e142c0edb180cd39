"""Muon: momentum turned into the nearest matrix whose singular values are all alike.

Keller Jordan's optimizer (2024): a weight moves as far in the directions that the loss rarely asks
for as in the loud ones. Five Newton-Schulz steps replace the singular value decomposition:
`X <- a X + b (X X') X + c (X X')^2 X`, with Jordan's coefficients. All of them are polynomials in
`G = X X'`, so they are multiplied up on the K x K matrix `G` and applied to `X` once, at the end:
for the weight of a 3x3 convolution that is an eighth of the work, and in float32, which a CPU
multiplies faster than bfloat16.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

_STEPS = 5
_A, _B, _C = 3.4445, -4.7750, 2.0315
_EPS = 1e-7
# Singular values come out at 0.7 to 1.2; this makes an update as large as Adam's (Liu et al.,
# *Muon is Scalable for LLM Training*, 2025), so that one learning rate serves both.
_ADAM_RMS = 0.2


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalized; for weights with two or more dimensions.

    Args:
        parameters: float32 weights; the last dimensions of one with more than two are joined, and
            leading ones of length 1 dropped, see `as_matrix`.
        lr: learning rate, in Adam's units.
        momentum: share of the old momentum that stays, 0 to 1.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float, momentum: float = 0.95
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every weight that has a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, group["lr"], group["momentum"])

    def _update(self, weight: nn.Parameter, lr: float, momentum: float) -> None:
        assert weight.grad is not None
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        buffer = state["momentum"].lerp_(weight.grad, 1 - momentum)
        direction = orthogonalize(as_matrix(weight.grad.lerp(buffer, momentum)))
        size = _ADAM_RMS * math.sqrt(max(direction.shape))
        weight.add_(direction.view_as(weight), alpha=-lr * size)


def as_matrix(weight: Tensor) -> Tensor:
    """(K, C, h, w) or (1, K, C, h, w) -> (K, C h w)."""
    rows = weight.shape[0] if weight.ndim < 5 else weight.shape[1]
    return weight.reshape(rows, -1)


def orthogonalize(matrix: Tensor) -> Tensor:
    """(m, n) -> (m, n) with the same singular vectors, and singular values near 1.

    Those below a thousandth of the largest stay smaller: five steps do not reach them.

    Example:
        >>> direction = orthogonalize(torch.tensor([[3.0, 0.0, 0.0], [0.0, 0.5, 0.0]]))
        >>> bool(((direction[0, 0] > 0.6) & (direction[1, 1] > 0.6)).all())
        True
    """
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonalize(matrix.T).T
    x = matrix.float()
    x = x / (x.norm() + _EPS)
    gram = x @ x.T
    total = torch.eye(len(x), device=x.device)
    for _ in range(_STEPS):
        step = torch.addmm(gram, gram, gram, beta=_B, alpha=_C)
        step.diagonal().add_(_A)
        total = step @ total
        gram = step @ gram @ step
    return (total @ x).to(matrix.dtype)
