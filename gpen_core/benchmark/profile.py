"""Where the time of one forward pass goes, by group of layers."""

from __future__ import annotations

from typing import Any

import torch

from . import cost
from .contenders import Task, build, random_state


def profile(task: Task, repeats: int = 3) -> list[dict[str, Any]]:
    """Per group of layers of ours: seconds per call, share of the whole, GFLOP/s."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    if task.device.startswith("cuda"):
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    picture = task.picture()
    with torch.inference_mode():
        run = build("ours", task, random_state(task.config))
        run(picture)
        with torch.profiler.profile(activities=activities) as recorded:
            for _ in range(repeats):
                run(picture)
    flops = cost.groups(task.config)
    rows = []
    for event in recorded.key_averages():
        if event.key in flops:
            on_device = task.device.startswith("cuda")
            spent = event.device_time_total if on_device else event.cpu_time_total
            seconds = spent / 1e6 / repeats
            rate = flops[event.key] * task.batch / 1e9 / seconds if seconds else 0.0
            rows.append({"group": event.key, "seconds": seconds, "gflops": rate})
    whole = sum(row["seconds"] for row in rows)
    for row in rows:
        row["share"] = row["seconds"] / whole
    return sorted(rows, key=lambda row: list(flops).index(row["group"]))
