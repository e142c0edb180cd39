"""Training of GPEN v1 on aligned faces; needs the optional extra `gpen[train]`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def train(
    config_path: str | Path, watcher: Callable[[int, int, dict[str, float]], None] | None = None
) -> Path:
    """Run, or resume, the training a YAML file describes.

    Started by `accelerate launch`, every process calls this with the same file.

    Args:
        config_path: the file; relative paths in it are relative to its folder.
        watcher: told (step, steps, losses) after every step; the losses are those logged last.

    Returns:
        The folder of the run, with its checkpoints and `log.jsonl`.

    Raises:
        MissingDependencyError: the extra `train`, or a loss's backbone, is not installed.
        InputError: the config or the data set cannot be used; nothing has been trained.
        CheckpointError: the run's last checkpoint, or a file to start from, does not fit.
    """
    from ..errors import MissingDependencyError

    try:
        from .config import read_config
    except ImportError as error:
        raise MissingDependencyError(
            f"Training needs the package {error.name!r}; install it with: pip install 'gpen[train]'"
        ) from error
    from .loop import run

    return run(read_config(config_path), watcher)


__all__ = ["train"]
