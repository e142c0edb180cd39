"""What a run works with."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ..faces.detector import Detector, load_detector
from ..faces.embed import Embedder
from ..faces.mesh import Mesher
from ..faces.occlusion import OcclusionFinder
from ..faces.parse import Parser, load_parser
from ..faces.person import Wanted
from ..models.device import resolve_device
from ..models.load import load_model
from ..models.model import Model
from ..options import DETECTORS, MASKS


@dataclass(frozen=True)
class Tools:
    """What a run works with: loaded networks, and who is looked for; what it does not need may
    be missing.

    Attributes:
        model: restores; from `load_model`.
        detector: finds faces; the embedded one by default.
        parser: labels faces, for the parsing mask.
        embedder: tells whom a face shows; from `load_embedder`.
        wanted: who is restored and who is not, which takes an embedder; None: everybody is.
        mesher: finds outlines, for the face mask and parts; the embedded one by default.
        occlusion: sees what is in front of faces; the embedded one by default.

    Example:
        >>> Tools(detector=load_detector("mtcnn")).model is None
        True
    """

    model: Model | None = None
    detector: Detector | None = None
    parser: Parser | None = None
    embedder: Embedder | None = None
    wanted: Wanted | None = None
    mesher: Mesher | None = None
    occlusion: OcclusionFinder | None = None

    @classmethod
    def load(
        cls,
        model: str | os.PathLike[str] | None = None,
        device: str = "auto",
        precision: str = "auto",
        needed: tuple[str, str] = (DETECTORS[0], MASKS[0]),
        weights_dir: Path | None = None,
    ) -> Tools:
        """Load what every picture needs, so that a missing file is said once and at once.

        Args:
            model: a file, a name, or None for the embedded model.
            device, precision: as `load_model`.
            needed: the detector, and the mask: only the parsing mask needs a parser.
            weights_dir: folder of the detector's and the parser's files; None: the usual ones.

        Raises:
            GPENError: a file is missing or is not what it should be, or an unknown device.

        Example:
            >>> Tools.load().model.output_size
            256
        """
        chosen = resolve_device(device)
        detector, mask = needed
        return cls(
            load_model(model, device=chosen, precision=precision),
            load_detector(detector, device=chosen, weights_dir=weights_dir),
            load_parser(weights_dir, chosen) if mask == "parsing" else None,
        )
