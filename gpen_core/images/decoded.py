"""What a decoder hands over, before it becomes a picture."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..errors import InputError
from .picture import Metadata


class Unsupported(InputError):
    """A file is sound, but what its samples mean is not defined or not supported; one clause."""


@dataclass(frozen=True)
class Decoded:
    """Samples as they lie in the file, not yet turned upright.

    Attributes:
        samples: (H, W, C) uint8 or uint16; C is 1 gray, 2 gray + alpha, 3 RGB, 4 RGB + alpha.
        metadata: what travels on.
        orientation: 1..8 (EXIF 2.32, section 4.6.4).
    """

    samples: np.ndarray
    metadata: Metadata = field(default_factory=Metadata)
    orientation: int = 1

    @property
    def bits(self) -> int:
        """8 or 16 bits a sample."""
        return 16 if self.samples.dtype == np.uint16 else 8
