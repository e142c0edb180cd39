"""Time, memory and arithmetic of the contenders, taken in turn.

A machine is rarely quiet. Contenders run A B A B, so that what disturbs one disturbs all; medians
are compared, never best against worst; CPU seconds of the process stand beside wall seconds,
because they hardly change when others use the cores too. Memory is taken in a fresh process for
each contender.
"""

from __future__ import annotations

import functools
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import GPENError
from ..models.device import DTYPES
from . import cost
from .contenders import EXPORTERS, Run, Task, build, open_session, random_state

PEAK_SIDE = 2048
# Seconds before each turn.
PAUSE = 0.5


def machine(device: str) -> dict[str, Any]:
    """What the figures depend on.

    Example:
        >>> sorted(machine("cpu"))
        ['cpu', 'date', 'python', 'threads', 'torch']
    """
    facts = {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "cpu": _cpu_name(),
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }
    if device.startswith("cuda"):
        facts["gpu"] = torch.cuda.get_device_name(device)
    return facts


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def compare(names: list[str], task: Task, repeats: int) -> dict[str, Any]:
    """All contenders on one task: seconds, ratio to ours, agreement, GFLOP/s, memory.

    Returns:
        `{"task", "peak_gflops", "contenders": {name: {...}}}`; seconds are per call.
    """
    # First, while this process holds nothing yet: large sizes would not fit twice.
    used = {name: memory(name, task) for name in names}
    with torch.inference_mode():
        state = random_state(task.config)
        picture = task.picture()
        runs = {name: build(name, task, state) for name in names}
        outputs = {name: run(picture).float().cpu() for name, run in runs.items()}
        timed: dict[str, Callable[[], object]] = {
            name: functools.partial(run, picture) for name, run in runs.items()
        }
        peak = _peak(task)
        seconds = interleaved({**timed, "peak": peak}, repeats, task.device)
    flops = cost.total(task.config) * task.batch
    peak_gflops = 2 * PEAK_SIDE**3 / 1e9 / seconds.pop("peak")["wall"]
    reference = outputs.get("textbook", next(iter(outputs.values())))
    results = {}
    for name, spent in seconds.items():
        rate = flops / 1e9 / spent["wall"]
        results[name] = {
            "seconds": spent["wall"],
            "cpu_seconds": spent["cpu"],
            "all_seconds": spent["all"],
            "times_ours": spent["wall"] / seconds["ours"]["wall"] if "ours" in seconds else None,
            "times_ours_cpu": spent["cpu"] / seconds["ours"]["cpu"] if "ours" in seconds else None,
            "gflops": rate,
            "share_of_peak": rate / peak_gflops,
            "largest_difference": _difference(outputs[name], reference),
            "memory": used[name],
        }
    return {
        "task": asdict(task),
        "gflop_per_face": cost.total(task.config) / 1e9,
        "peak_gflops": peak_gflops,
        "contenders": results,
    }


def interleaved(
    runs: Mapping[str, Callable[[], object]], repeats: int, device: str
) -> dict[str, dict[str, Any]]:
    """Medians of wall and CPU seconds of each function, run in turn `repeats` times.

    Between two of them is a pause: ONNX Runtime's threads go on spinning for a while.
    """
    wall: dict[str, list[float]] = {name: [] for name in runs}
    cpu: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            time.sleep(PAUSE)
            start, start_cpu = time.perf_counter(), time.process_time()
            run()
            if device.startswith("cuda"):
                torch.cuda.synchronize(device)
            wall[name].append(time.perf_counter() - start)
            cpu[name].append(time.process_time() - start_cpu)
    return {
        name: {
            "wall": statistics.median(wall[name]),
            "cpu": statistics.median(cpu[name]),
            "all": [round(value, 4) for value in wall[name]],
        }
        for name in runs
    }


def _peak(task: Task) -> Callable[[], Tensor]:
    """A square matrix product: what this machine can multiply in this precision."""
    side = torch.ones(PEAK_SIDE, PEAK_SIDE, device=task.device, dtype=DTYPES[task.precision])
    return lambda: side @ side


def _difference(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


def memory(name: str, task: Task) -> dict[str, float] | None:
    """Peak memory in MB of a fresh process that runs one contender once.

    `before` is the process with its imports, without the weights; on CUDA `cuda` is the most that
    was allocated there. None where the operating system does not tell.
    """
    command = [sys.executable, "-m", __name__, name, json.dumps(asdict(task))]
    root = Path(__file__).resolve().parents[2]
    try:
        done = subprocess.run(command, capture_output=True, check=True, text=True, cwd=root)
    except subprocess.CalledProcessError as error:
        last = error.stderr.strip().splitlines()[-1:] or ["no message"]
        raise GPENError(f"Measuring the memory of {name} failed: {last[0]}") from error
    found: dict[str, float] | None = json.loads(done.stdout.splitlines()[-1])
    return found


def resident_peak() -> float | None:
    """The most memory this process held, MB.

    Linux's `ru_maxrss` is inherited from the parent process, so it is the last resort.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def reset_peak() -> float | None:
    """Let `resident_peak` count from now on: what is resident now, MB; None but on Linux."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return resident_peak()


def _measure_memory(name: str, task: Task) -> dict[str, float | None] | None:
    before = resident_peak()
    if before is None:
        return None
    run = _built_elsewhere(name, task)
    with torch.inference_mode():
        run(task.picture())
    found = {"before": before, "peak": resident_peak()}
    if task.device.startswith("cuda"):
        found["cuda"] = torch.cuda.max_memory_allocated(task.device) / 1e6
    return found


def _built_elsewhere(name: str, task: Task) -> Run:
    """The contender; for ONNX Runtime the export has to happen in a process of its own.

    A user of an exported model never holds the PyTorch network, so its memory must not count.
    """
    if name not in EXPORTERS:
        return build(name, task, random_state(task.config))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        code = (
            "import json, sys; from pathlib import Path;"
            "from gpen_core.benchmark.contenders import EXPORTERS, Task, random_state;"
            "task = Task(**json.loads(sys.argv[1]));"
            "EXPORTERS[sys.argv[3]](task, random_state(task.config), Path(sys.argv[2]))"
        )
        arguments = [sys.executable, "-c", code, json.dumps(asdict(task)), str(path), name]
        subprocess.run(arguments, check=True, capture_output=True)
        return open_session(path, task)


if __name__ == "__main__":
    sys.stdout.write(
        json.dumps(_measure_memory(sys.argv[1], Task(**json.loads(sys.argv[2])))) + "\n"
    )
