"""Seconds from nothing to the first restored face, in a process of its own.

A model is loaded well where that costs little more than reading its file and one forward pass.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def start_up(model_path: Path, device: str, threads: int) -> dict[str, Any]:
    """`measure_here` in a fresh process."""
    command = [sys.executable, "-m", __name__, str(model_path), device, str(threads)]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, capture_output=True, check=True, text=True, cwd=root)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure_here(model_path: Path, device: str, threads: int) -> dict[str, Any]:
    """Seconds of each step, and what they are to be compared with.

    Returns:
        `import`, `load`, `first face`, `next face` and `read file` in seconds; `ratio`, load and
        first face over reading and next face; `bytes read again` by a second `load_model`, None
        where the operating system does not count them.
    """
    marks = [time.perf_counter()]
    import torch

    from ..models.load import load_model

    torch.set_num_threads(threads)
    marks.append(time.perf_counter())
    model_path.read_bytes()
    marks.append(time.perf_counter())
    model = load_model(model_path, device)
    marks.append(time.perf_counter())
    face = torch.zeros(1, 3, model.input_size, model.input_size)
    for _ in range(2):
        model(face).cpu()
        marks.append(time.perf_counter())
    names = ("import", "read file", "load", "first face", "next face")
    spent = [after - before for before, after in itertools.pairwise(marks)]
    found: dict[str, Any] = dict(zip(names, spent, strict=True))
    found["ratio"] = (spent[2] + spent[3]) / (spent[1] + spent[4])
    before = _bytes_read()
    load_model(model_path, device)
    after_all = _bytes_read()
    # Asking costs a few bytes itself; a model is millions.
    again = None if before is None or after_all is None else after_all - before
    found["bytes read again"] = again
    return found


def _bytes_read() -> int | None:
    """What this process has read so far, on Linux."""
    counters = Path("/proc/self/io")
    if not counters.is_file():
        return None
    return int(counters.read_text().split()[1])


if __name__ == "__main__":
    result = measure_here(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
    sys.stdout.write(json.dumps(result) + "\n")
