"""The matrices of Winograd's minimal filtering: few products for several neighboring outputs.

`tile` outputs of a correlation with `taps` taps, `y[i] = sum_t w[t] d[i + t]`, come from
`tile + taps - 1` products: `y = A' [(G w) * (B' d)]`, by Lagrange interpolation at as many points,
the last of them infinity (Lavin and Gray, *Fast Algorithms for Convolutional Neural Networks*,
2016).
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

# The finite points by tile; fewer taps need the first of them only. Of symmetric ones these round
# least in float32: for tile 4 and 512 channels a third of the usual 0, 1, -1, 2, -2.
POINTS = {
    4: (0.0, 2 / 3, -2 / 3, 4 / 3, -4 / 3),
    8: (0.0, 0.4, -0.4, 0.8, -0.8, 1.3, -1.3, 2.0, -2.0),
}


@functools.cache
def matrices(tile: int, taps: int) -> tuple[Tensor, Tensor, Tensor]:
    """A' (tile, P), G (P, taps) and B' (P, P) in float64, where P is `tile + taps - 1`."""
    size = tile + taps - 1
    points = torch.tensor(POINTS[tile][: size - 1], dtype=torch.float64)
    inverse = torch.zeros(tile, size, dtype=torch.float64)
    kernel = torch.zeros(size, taps, dtype=torch.float64)
    data = torch.zeros(size, size, dtype=torch.float64)
    for j in range(len(points)):
        others = torch.cat((points[:j], points[j + 1 :]))
        norm = (points[j] - others).prod()
        inverse[:, j] = points[j] ** torch.arange(tile)
        kernel[j] = points[j] ** torch.arange(taps) / norm
        data[j, : size - 1] = _polynomial(others)
    inverse[-1, -1] = kernel[-1, -1] = 1.0
    data[-1] = _polynomial(points)
    return inverse, kernel, data


def transform_rows(rows: Tensor, data: Tensor, step: int, out: Tensor) -> None:
    """B' down the columns: `out[p, t] = sum_i data[p, i] rows[step * t + i]`.

    All tiles at once: several small products share the threads better than one after another.

    Args:
        rows: (R, L), whole rows of a picture as they lie in memory.
        data: (P, P), the matrix B'.
        step: rows from one tile to the next; fewer than P, so tiles overlap.
        out: (P, tiles, L), written.
    """
    tiles, (length, stride) = out.shape[1], (rows.shape[1], rows.stride(0))
    patches = rows.as_strided((tiles, len(data), length), (step * stride, stride, 1))
    torch.bmm(data.expand(tiles, *data.shape), patches, out=out.transpose(0, 1))


def _polynomial(roots: Tensor) -> Tensor:
    """Coefficients of `prod(x - root)`, ascending."""
    coefficients = torch.ones(1, dtype=torch.float64)
    for root in roots:
        grown = torch.zeros(len(coefficients) + 1, dtype=torch.float64)
        grown[1:] += coefficients
        grown[:-1] -= root * coefficients
        coefficients = grown
    return coefficients
