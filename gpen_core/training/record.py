"""What a run leaves to be read: `log.jsonl`, sample sheets, TensorBoard."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from ..files import append_line
from ..images.picture import Picture
from ..images.write import write_picture

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

log = logging.getLogger(__name__)


class Record:
    """The readable traces of a run in its folder.

    Args:
        folder: of the run.
        tensorboard: also write event files, into `tensorboard/`.
        step: the run's step; event files after it, left by a run that was killed, are hidden.
    """

    def __init__(self, folder: Path, *, tensorboard: bool, step: int) -> None:
        self.folder = folder
        self.board = _board(folder / "tensorboard", step) if tensorboard else None

    def scalars(self, step: int, seconds: float, values: dict[str, float], group: str) -> None:
        """Add a line to the log, and a point to each curve `group/name`."""
        line = {"step": step, "seconds": round(seconds, 1)}
        line |= {name: round(value, 5) for name, value in values.items()}
        append_line(self.folder / "log.jsonl", json.dumps(line))
        log.info("%s", line)
        if self.board is not None:
            for name, value in values.items():
                self.board.add_scalar(f"{group}/{name}", value, step)

    def samples(self, step: int, sheet: Tensor) -> None:
        """Write a sheet of samples, (3, H, W) 0..1, as `sheet-<step>.png`."""
        write_picture(self.folder / f"sheet-{step:08d}.png", Picture(sheet), overwrite=True)
        if self.board is not None:
            self.board.add_image("degraded, restored, truth", sheet, step)

    def close(self) -> None:
        """Let TensorBoard's writer finish."""
        if self.board is not None:
            self.board.close()


def _board(folder: Path, step: int) -> SummaryWriter | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        log.warning(
            "TensorBoard is not installed, so there is only log.jsonl; pip install 'gpen[train]' "
            "adds it, tensorboard: false in the config silences this."
        )
        return None
    return SummaryWriter(str(folder), purge_step=step if step else None)
