"""`gpen bench`: how fast the network is here, and against whom."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

from ..errors import InputError
from ..text import counted


class SpacedValues(typer.core.TyperCommand):
    """A command whose repeatable options also take their values in a row: `--size 256 512`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Rewrite `--size 256 512` to `--size 256 --size 512` before the usual parsing."""
        return super().parse_args(ctx, _repeat(args, self._repeatable()))

    def _repeatable(self) -> set[str]:
        return {
            name
            for parameter in self.params
            if getattr(parameter, "multiple", False)
            for name in parameter.opts
        }


def _repeat(args: list[str], repeatable: set[str]) -> list[str]:
    """Every value after a repeatable option gets that option before it."""
    spread: list[str] = []
    option = None
    for arg in args:
        if arg.startswith("-"):
            option = arg if arg in repeatable else None
            if option is None:
                spread.append(arg)
        elif option is None:
            spread.append(arg)
        else:
            spread += [option, arg]
    return spread


def bench(
    size: Annotated[
        list[int] | None,
        typer.Option(
            "--size",
            help="Face sizes in pixels. Default: 512. With --photo: a model of random weights.",
        ),
    ] = None,
    batch: Annotated[
        list[int] | None, typer.Option("--batch", help="Faces per call. Default: 1.")
    ] = None,
    device: Annotated[
        str, typer.Option("--device", help="Where the networks run: cpu, cuda or cuda:1.")
    ] = "cpu",
    precision: Annotated[
        str, typer.Option("--precision", help="Precision of our network: fp32, fp16 or bf16.")
    ] = "fp32",
    against: Annotated[
        str,
        typer.Option(
            "--against",
            help="Compare with textbook, onnxruntime (its export and ours), both or none.",
        ),
    ] = "textbook,onnxruntime",
    repeats: Annotated[
        int, typer.Option("--repeats", help="Number of repetitions; medians are shown.")
    ] = 5,
    threads: Annotated[
        int | None, typer.Option("--threads", help="CPU threads of PyTorch.")
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="Show the time per group of layers instead.")
    ] = False,
    photo: Annotated[
        Path | None,
        typer.Option("--photo", help="Measure the whole pipeline on this picture instead."),
    ] = None,
    frames: Annotated[
        int, typer.Option("--frames", help="With --photo: repeat the picture as so many frames.")
    ] = 1,
    model_path: Annotated[
        str | None,
        typer.Option("--model_path", "--model-path", help="With --photo: model file or name."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--json", help="Write the results to this file.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file of --json.")
    ] = False,
) -> None:
    """Measure speed and memory."""
    import torch

    from ..benchmark import measure

    if output is not None and output.exists() and not overwrite:
        raise InputError(f"{output} exists already; give another name or --overwrite.")
    if repeats < 1:
        raise InputError(f"--repeats must be at least 1, not {repeats}.")
    if threads is not None:
        torch.set_num_threads(threads)
    facts = measure.machine(device)
    typer.echo("  ".join(f"{key}: {value}" for key, value in facts.items()))
    if photo is not None:
        if size and model_path is not None:
            raise InputError("--size uses random weights, --model_path a file; give one of them.")
        wanted: list[int | None] = [*size] if size else [None]
        results = [_pipeline(photo, model_path, side, device, frames) for side in wanted]
    else:
        names = _contenders(against)
        tasks = _tasks(size or [512], batch or [1], device, precision)
        results = [
            _profile(task, repeats) if profile else _compare(names, task, repeats) for task in tasks
        ]
    if output is not None:
        from ..images.write import write_atomically

        report = {"machine": facts, "command": sys.argv[1:], "results": results}
        write_atomically(output, (json.dumps(report, indent=1) + "\n").encode())


def _contenders(against: str) -> list[str]:
    from ..benchmark.contenders import NAMES

    named = [name.strip() for name in against.split(",")]
    others = [name for name in named if name not in ("", "none", "ours")]
    unknown = sorted(set(others) - set(NAMES))
    if unknown:
        raise InputError(
            f"--against must be textbook, onnxruntime, both or none, not {', '.join(unknown)}."
        )
    if "onnxruntime" in others and "our-export" not in others:
        others.insert(others.index("onnxruntime") + 1, "our-export")
    return [*others, "ours"]


def _tasks(sizes: list[int], batches: list[int], device: str, precision: str) -> list[Any]:
    from ..benchmark.contenders import Task
    from ..models.device import DTYPES

    if precision not in DTYPES:
        raise InputError(f"--precision must be one of {', '.join(DTYPES)}, not {precision}.")
    tasks = [Task(size, batch, device, precision) for size in sizes for batch in batches]
    for task in tasks:
        if task.batch < 1:
            raise InputError(f"--batch must be at least 1, not {task.batch}.")
        _ = task.config  # an impossible size is said before anything runs
    return tasks


def _compare(names: list[str], task: Any, repeats: int) -> dict[str, Any]:
    from ..benchmark.measure import compare

    result = compare(names, task, repeats)
    typer.echo(
        f"\n{task.size} px, batch {task.batch}, {task.device}, {task.precision}: "
        f"{result['gflop_per_face']:.0f} GFLOP per face; "
        f"matrix product {result['peak_gflops']:.0f} GFLOP/s"
    )
    line = "{:<12} {:>9} {:>9} {:>7} {:>8} {:>8} {:>9} {:>10}"
    typer.echo(
        line.format(
            "contender", "seconds", "CPU s", "x ours", "GFLOP/s", "of peak", "peak MB", "difference"
        )
    )
    for name, row in result["contenders"].items():
        used = row["memory"]
        typer.echo(
            line.format(
                name,
                f"{row['seconds']:.3f}",
                f"{row['cpu_seconds']:.3f}",
                f"{row['times_ours']:.2f}",
                f"{row['gflops']:.0f}",
                f"{row['share_of_peak']:.0%}",
                f"{used.get('cuda', used['peak']):.0f}" if used else "?",
                f"{row['largest_difference']:.1e}",
            )
        )
    return result


def _profile(task: Any, repeats: int) -> dict[str, Any]:
    from dataclasses import asdict

    from ..benchmark.profile import profile

    rows = profile(task, repeats)
    typer.echo(f"\n{task.size} px, batch {task.batch}, {task.device}, {task.precision}")
    typer.echo(f"{'group':<16} {'ms':>9} {'share':>7} {'GFLOP/s':>8}")
    for row in rows:
        typer.echo(
            f"{row['group']:<16} {row['seconds'] * 1e3:>9.2f} {row['share']:>7.1%} "
            f"{row['gflops']:>8.0f}"
        )
    return {"task": asdict(task), "profile": rows}


def _pipeline(
    photo: Path, model_path: str | None, size: int | None, device: str, frames: int
) -> dict[str, Any]:
    from ..benchmark.pipeline import of_model

    result = of_model(photo, model_path, size, device, frames)
    typer.echo(
        f"\n{counted(result['pictures'], 'picture')}, {counted(result['faces'], 'face')}: "
        f"{result['seconds']:.2f} s, {result['outside_the_network']:.0%} of it outside the network"
    )
    for part in [*result["growth"], result]:
        peak = "" if part["peak_mb"] is None else f", {part['peak_mb']:.0f} MB more"
        typer.echo(f"{part['faces']:>5} faces {part['seconds']:>8.3f} s{peak}")
    for name, seconds in result["stages"].items():
        typer.echo(f"{name:<12} {seconds:>8.3f} s")
    for name, value in result["start_up"].items():
        unit = {"ratio": "x", "bytes read again": "B"}.get(name, "s")
        typer.echo(f"{name:<16} {value:.3f} {unit}" if value is not None else f"{name:<16} ?")
    return result
