"""A batch as groups of images that fit into the memory."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from ..faces.paste import Surface

FRAMES_AT_ONCE = 4
"""Images of a batch that are worked on together; bounds the memory."""


def groups(count: int, size: int = FRAMES_AT_ONCE) -> Iterator[slice]:
    """Slices of at most `size` that cover `count` images.

    Example:
        >>> list(groups(6))
        [slice(0, 4, None), slice(4, 6, None)]
    """
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def split(source: Surface, size: int = FRAMES_AT_ONCE) -> Iterator[Surface]:
    """A batch as groups of images; one background or mask serves every group.

    Example:
        >>> import torch
        >>> [len(part.images) for part in split(Surface(torch.zeros(6, 3, 48, 64)))]
        [4, 2]
    """

    def part(images: Tensor | None, chosen: slice) -> Tensor | None:
        return images if images is None or len(images) == 1 else images[chosen]

    for chosen in groups(len(source.images), size):
        yield Surface(
            source.images[chosen],
            part(source.background, chosen),
            part(source.user_mask, chosen),
        )
