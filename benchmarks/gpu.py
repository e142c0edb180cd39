"""What a CUDA GPU makes of the network: run by gpu.sh, which sees to the environment.

Parts, each in a process of its own, so that one that fails or hangs leaves the others alone:

    tests     the tests that need CUDA
    half      fp16 and bf16 against fp32: largest and mean difference, PSNR
    graphs    with a CUDA graph and without: seconds, and whether the picture is the same
    sizes     256 to 2048 px, one and four faces, against the textbook: seconds and memory
    training  a step of training at 256 px, four faces
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from gpen_core.benchmark.contenders import DTYPES, Task, build, random_state  # noqa: E402
from gpen_core.benchmark.measure import machine  # noqa: E402
from gpen_core.networks import GPENConfig  # noqa: E402

BUDGET = 460  # seconds for all parts: below eight minutes with what starting them takes
LIMITS = {"tests": 120, "half": 60, "graphs": 80, "sizes": 200, "training": 90}
SIZES, TINY = (256, 512, 1024, 2048), (64,)

Found = Iterator[tuple[str, Any]]
"""What a part measures, one thing after the other: what is there when its time is up counts."""


class Tiny(Task):
    """The same task for a rehearsal: a network that takes no time."""

    @property
    def config(self) -> GPENConfig:
        return GPENConfig.create(self.size, 1 / 32, 1)


class Device:
    """Where it is measured, and how: by CUDA events, or by the clock in a rehearsal."""

    def __init__(self, rehearse: bool) -> None:
        self.name = "cpu" if rehearse else "cuda"
        self.sizes = TINY if rehearse else SIZES
        self.is_cuda = not rehearse

    def task(self, size: int, batch: int = 1, precision: str = "fp32") -> Task:
        """What a contender has to do here."""
        return (Task if self.is_cuda else Tiny)(size, batch, self.name, precision)

    def seconds(self, run: Callable[[], object], repeats: int) -> dict[str, Any]:
        """Of one call: the median, and all of them; two calls to warm up."""
        spent = []
        for index in range((repeats if self.is_cuda else 1) + 2):
            start = time.perf_counter()
            if self.is_cuda:
                begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                begin.record()
                run()
                end.record()
                end.synchronize()
                took = begin.elapsed_time(end) / 1000
            else:
                run()
                took = time.perf_counter() - start
            if index >= 2:
                spent.append(took)
        return {"median": statistics.median(spent), "all": [round(each, 6) for each in spent]}

    def memory(self, run: Callable[[], object]) -> float | None:
        """Most that was allocated during a call, MB; the weights are in it."""
        if not self.is_cuda:
            return None
        torch.cuda.reset_peak_memory_stats()
        run()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() / 1e6


# --- parts ---------------------------------------------------------------------------------------


def tests(device: Device) -> Found:
    command = [sys.executable, "-m", "pytest", "-q", "tests", "--ignore=tests/comfyui"]
    command += ["-k", "cuda", "-m", "not full", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr[-300:]
    counts = {word: int(number) for number, word in re.findall(r"(\d+) ([a-z]+)", last)}
    if done.returncode:
        raise RuntimeError(f"{last}\n{done.stdout[-3000:]}")
    yield from counts.items()


@torch.inference_mode()
def half(device: Device) -> Found:
    for size in device.sizes:
        state, picture = random_state(device.task(size).config), device.task(size).picture()
        expected = build("ours", device.task(size), state)(picture).cpu().clamp(-1, 1)
        for precision in ("fp16", "bf16"):
            run = build("ours", device.task(size, 1, precision), state)
            output = run(picture).cpu()
            difference = output.clamp(-1, 1) - expected
            facts = {
                "finite": bool(output.isfinite().all()),
                "largest": float(difference.abs().max()),
                "mean": float(difference.abs().mean()),
                "psnr": float(-10 * (difference / 2).square().mean().log10()),
            }
            yield f"{size} {precision}", facts


@torch.inference_mode()
def graphs(device: Device) -> Found:
    from gpen_core.networks import GPEN
    from gpen_core.networks.fast.network import prepare
    from gpen_core.networks.fast.tuning import Tuning

    for size in device.sizes:
        task = device.task(size)
        network = GPEN(task.config)
        network.load_state_dict(random_state(task.config))
        for precision in ("fp32", "fp16"):
            dtype, tuning = DTYPES[precision], Tuning.of(task.config)
            x = task.picture().to(device.name, dtype)
            plain, graphed = (
                prepare(network, device.name, dtype, tuning=replace(tuning, cuda_graphs=most))
                for most in (0, 1)
            )
            facts = {
                "difference": float((graphed(x).float() - plain(x).float()).abs().max()),
                "recorded": len(graphed.graphs),  # 0 on the CPU, which has none
                "plain": device.seconds(functools.partial(plain, x), 10),
                "graphed": device.seconds(functools.partial(graphed, x), 10),
            }
            yield f"{size} {precision}", facts


@torch.inference_mode()
def sizes(device: Device) -> Found:
    cuda = torch.backends.cuda
    yield "tf32", {"matmul": cuda.matmul.allow_tf32, "cudnn": torch.backends.cudnn.allow_tf32}
    contenders = [("textbook", "fp32"), ("ours", "fp32"), ("ours", "fp16"), ("ours", "bf16")]
    for size in device.sizes:
        state = random_state(device.task(size).config)
        for batch in (1, 4):
            for name, precision in contenders:
                task = device.task(size, batch, precision)
                run, picture = build(name, task, state), task.picture().to(device.name)
                call = functools.partial(run, picture)
                facts = {"seconds": device.seconds(call, 7), "memory": device.memory(call)}
                yield f"{size} x{batch} {name} {precision}", facts
                del run, call
                if device.is_cuda:
                    torch.cuda.empty_cache()


def training(device: Device) -> Found:
    import numpy as np
    import yaml
    from PIL import Image

    from gpen_core.training.config import read_config
    from gpen_core.training.trainer import Trainer

    size = 256 if device.is_cuda else 64
    with tempfile.TemporaryDirectory() as name:
        folder, random = Path(name), np.random.default_rng(0)
        faces = folder / "faces"
        faces.mkdir()
        for index in range(16):
            coarse = random.integers(0, 255, (7, 7, 3), dtype=np.uint8)
            picture = Image.fromarray(coarse).resize((size + 64,) * 2, Image.Resampling.BICUBIC)
            picture.save(faces / f"{index}.jpg", quality=95)
        config = {
            "output": str(folder / "run"),
            "data": {"root": str(faces), "holdout": 0.2},
            "model": {"size": size, "narrow": 0.5 if device.is_cuda else 0.03},
            "damage": [{"preset": "medium"}],
            "steps": 100,
            "batch_size": 4 if device.is_cuda else 2,
            "device": device.name,
            "losses": {"l1": 1, "perceptual": 0, "lpips": 0, "identity": 0, "adversarial": 0.5},
            "tensorboard": False,
        }
        for precision in ("fp32", "bf16"):
            path = folder / f"{precision}.yaml"
            path.write_text(yaml.safe_dump(config | {"precision": precision}))
            trainer = Trainer(read_config(path))
            seconds = device.seconds(trainer.train_step, 10)
            losses = {key: float(value) for key, value in trainer.train_step().items()}
            memory = device.memory(trainer.train_step)
            yield precision, {"seconds": seconds, "losses": losses, "memory": memory}


PARTS = {"tests": tests, "half": half, "graphs": graphs, "sizes": sizes, "training": training}


# --- the whole -----------------------------------------------------------------------------------


def in_process(part: str, rehearse: bool, limit: float) -> dict[str, Any]:
    """A part's result, or why there is none."""
    command = [sys.executable, __file__, "--part", part, *(["--rehearse"] if rehearse else [])]
    start = time.monotonic()
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=limit, check=False, cwd=ROOT
        )
    except subprocess.TimeoutExpired as late:
        # The last line may be half of one.
        lines = (late.stdout or b"").decode().rpartition("\n")[0].splitlines() or ["{}"]
        return {"error": f"not done after {limit:.0f} s", "result": json.loads(lines[-1])}
    took = round(time.monotonic() - start, 1)
    if done.returncode:
        return {"error": (done.stderr or done.stdout)[-3000:], "took": took}
    return {"result": json.loads(done.stdout.splitlines()[-1]), "took": took}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", nargs="?", default="out/gpu.json", help="where the JSON goes")
    parser.add_argument("--rehearse", action="store_true", help="tiny networks on the CPU")
    parser.add_argument("--part", choices=PARTS, help="this part alone, in this process")
    given = parser.parse_args()
    if given.part:
        found: dict[str, Any] = {}
        for name, value in PARTS[given.part](Device(given.rehearse)):
            found[name] = value
            sys.stdout.write(json.dumps(found) + "\n")
            sys.stdout.flush()
        return 0
    if not given.rehearse and not torch.cuda.is_available():
        print("PyTorch finds no CUDA GPU here, so there is nothing to measure.", file=sys.stderr)
        return 2
    path, end = Path(given.file), time.monotonic() + BUDGET
    path.parent.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {"machine": machine("cpu" if given.rehearse else "cuda")}
    report |= {"rehearsal": given.rehearse, "commit": commit(), "parts": {}}
    for part, limit in LIMITS.items():
        left = min(limit, end - time.monotonic())
        done = (
            in_process(part, given.rehearse, left) if left > 10 else {"error": "no time was left"}
        )
        report["parts"][part] = done
        # After every part: what is measured stays, whatever happens to the rest.
        path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        said = done["error"].strip().splitlines()[-1] if "error" in done else "done"
        print(f"{part:9} {done.get('took', left):6.1f} s  {said}", flush=True)
    print(path)
    return int(any("error" in done for done in report["parts"].values()))


def commit() -> str | None:
    """What was measured; None without git."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("GPEN_COMMIT")
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
