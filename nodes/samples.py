"""The sample pictures that the example workflows load."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import folder_paths

from ..gpen_core.errors import InputError
from ..gpen_core.files import replacing

log = logging.getLogger(__name__)

_SAMPLES = Path(__file__).resolve().parents[1] / "docs" / "samples"
_SUFFIXES = (".jpg", ".mp4")


def offer() -> None:
    """Put the samples into the host's input folder, once: deleted ones do not come back."""
    stamp = Path(folder_paths.get_user_directory()) / "gpen" / "samples-offered"
    if stamp.exists():
        return
    target = Path(folder_paths.get_input_directory())
    try:
        stamp.parent.mkdir(parents=True, exist_ok=True)
        for sample in sorted(_SAMPLES.iterdir()):
            if sample.suffix in _SUFFIXES and not (target / sample.name).exists():
                with replacing(target / sample.name) as scratch:
                    shutil.copyfile(sample, scratch)
                log.info("Sample for the example workflows: %s", target / sample.name)
        stamp.touch()
    except (OSError, InputError) as error:
        log.warning("The sample pictures of the example workflows could not be copied: %s.", error)
