"""benchmarks/gpu.sh where there is no GPU: one sentence, and a rehearsal on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
posix = pytest.mark.skipif(os.name != "posix", reason="a shell script")


@posix
@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_it_says_so_and_measures_nothing(tmp_path):
    done = subprocess.run(
        ["bash", "benchmarks/gpu.sh", str(tmp_path / "gpu.json")],
        cwd=ROOT,
        env=os.environ | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.strip() == (
        "PyTorch finds no CUDA GPU on this machine, so there is nothing to measure."
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("part", "found"), [("graphs", "64 fp32"), ("half", "64 fp16")])
def test_a_part_is_rehearsed_on_the_cpu(part, found):
    done = subprocess.run(
        [sys.executable, "benchmarks/gpu.py", "--rehearse", "--part", part],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    facts = json.loads(done.stdout.splitlines()[-1])[found]
    if part == "graphs":
        assert facts["difference"] == 0 and facts["plain"]["median"] > 0
    else:
        assert facts["finite"] and facts["psnr"] > 40
