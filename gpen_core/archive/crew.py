"""How many workers, and what each of them gets."""

from __future__ import annotations

import os
from pathlib import Path

from .engine import Crew

# Of one worker with a model of 512 px, on the CPU: what the networks take, and a large picture.
_MEMORY = 2 << 30


def choose_crew(
    device: str,
    address: str | None = None,
    workers: int | None = None,
    gpus: float = 0.5,
    threads: int | None = None,
) -> tuple[Crew, str]:
    """The crew, and the device that its workers use.

    On one machine every core or GPU gets work; on a cluster, as much as it says it has.

    Args:
        device: "auto", "cpu" or "cuda".
        address: of a cluster; None: this machine.
        workers: how many; None: as many as there is room for.
        gpus: of each, where they work on GPUs.
        threads: of each; None: the cores divided among them.

    Example:
        >>> crew, device = choose_crew("cpu", workers=2, threads=1)
        >>> crew.workers, crew.gpus, device
        (2, 0.0, 'cpu')
    """
    if address is not None:
        on_gpus = device.startswith("cuda")
        crew = Crew(workers or 0, gpus if on_gpus else 0.0, float(threads or 1), address)
        return crew, "cuda" if on_gpus else "cpu"
    cores = _cores()
    count = 0 if device == "cpu" else _gpus()
    if device == "auto":
        device = "cuda" if count else "cpu"
    if device.startswith("cuda"):
        workers = workers or max(int(count / gpus), 1)
        return Crew(workers, gpus, float(threads or max(cores // workers, 1))), "cuda"
    workers = workers or min(cores // (threads or 1) or 1, max(_free_memory() // _MEMORY, 1))
    return Crew(workers, 0.0, float(threads or max(cores // workers, 1))), device


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()


def _free_memory() -> int:
    """Bytes; endless where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 1 << 50
    found = [int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")]
    return found[0] if found else 1 << 50
