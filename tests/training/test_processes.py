"""Two processes on the CPU train one network, as `accelerate launch` starts them; real signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from gpen_core.errors import InputError, MissingDependencyError
from gpen_core.training import train

pytest.importorskip("yaml", reason="pyyaml, of the extra gpen[train], is not installed")
pytest.importorskip("pydantic", reason="pydantic, of the extra gpen[train], is not installed")
checkpoint = pytest.importorskip("gpen_core.training.checkpoint")
processes = pytest.importorskip("gpen_core.training.processes")

ROOT = Path(__file__).resolve().parents[2]
PLAIN = {
    "optimizer": {"lr": 0.005, "warmup": 2, "method": "muon"},
    "jitter": {"rotation": 0, "shift": 0, "scale": [1.15, 1.15]},
    "discriminators": {"style": False, "patch_width": 4, "patch_layers": 2, "r1_every": 2},
    "losses": {"adversarial": 0.05},
}
# Trains as the command does, then writes what this process ended up with.
SCRIPT = """
import sys, torch
from gpen_core.training.config import read_config
from gpen_core.training.processes import Processes
from gpen_core.training.trainer import Trainer
from gpen_core.training import loop

config = read_config(sys.argv[1])
trainers = []
class Kept(Trainer):
    def __init__(self, *given):
        super().__init__(*given)
        trainers.append(self)
loop.Trainer = Kept
loop.run(config)
state = {"net": trainers[0].net.state_dict(), "d": trainers[0].adversary.state_dict(),
         "ema": trainers[0].average.state_dict(), "count": trainers[0].processes.count}
torch.save(state, f"{sys.argv[2]}/rank-{trainers[0].processes.index}.pt")
"""


def environment() -> dict[str, str]:
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}


def free_port() -> int:
    """Found here: asked to find one (port 0), PyTorch 2.5 waits for ever."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def losses_of(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [
        {name: line[name] for name in ("loss", "adversarial", "d")}
        for line in lines
        if "loss" in line
    ]


def test_two_processes_are_one_with_a_double_batch(write_config, tmp_path):
    pytest.importorskip("accelerate", reason="accelerate, of gpen[train], is not installed")
    one = train(write_config("one", batch_size=4, steps=3, **PLAIN))
    # Left to itself, Accelerate does not join processes that have no GPU.
    device = "cpu" if torch.cuda.is_available() else "auto"
    config = write_config("two", batch_size=2, steps=3, device=device, **PLAIN)
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
    launch += ["--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no"]
    launch += ["--dynamo_backend", "no", "--main_process_port", str(free_port())]
    done = subprocess.run(
        [*launch, str(script), str(config), str(tmp_path)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = (torch.load(tmp_path / f"rank-{rank}.pt") for rank in (0, 1))
    assert first["count"] == second["count"] == 2
    for part in ("net", "d", "ema"):
        assert all(torch.equal(second[part][key], value) for key, value in first[part].items())
    two = tmp_path / "two"
    for ours, theirs in zip(losses_of(two), losses_of(one), strict=True):
        assert ours == pytest.approx(theirs, rel=2e-3)
    assert [path.name for path in two.glob("step-*.pt")] == ["step-00000003.pt"]
    alone = checkpoint.load_last(one)["g"]
    distance = sum((first["net"][key] - value).square().sum() for key, value in alone.items())
    assert distance.sqrt() < 0.05 * sum(v.square().sum() for v in alone.values()).sqrt()


@pytest.fixture
def one_thread():
    """As many as the commands here get: sums in another order differ in their last bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_sigterm_to_the_command_keeps_the_step_and_a_resume_ends_the_same(write_config, tmp_path):
    whole = train(write_config("whole", steps=40))
    config = write_config("cut", steps=40)
    command = [sys.executable, "-m", "gpen_core", "train", str(config)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    running = subprocess.Popen(command, env=environment(), text=True, **pipes)
    log = tmp_path / "cut" / "log.jsonl"
    try:
        while running.poll() is None and not (log.exists() and log.read_text().count("\n") > 3):
            time.sleep(0.05)
        running.send_signal(signal.SIGTERM)
        written, said = running.communicate(timeout=120)
    finally:
        running.kill()
    assert running.returncode == 0, said
    assert str(tmp_path / "cut") in written.replace("\n", "")
    step = checkpoint.load_last(tmp_path / "cut")["step"]
    assert 3 < step < 40
    state, expected = checkpoint.load_last(train(config)), checkpoint.load_last(whole)
    assert state["step"] == 40
    assert all(torch.equal(state["g"][key], value) for key, value in expected["g"].items())


def test_one_process_asks_no_one(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    alone = processes.Processes("cpu")
    assert (alone.count, alone.index, alone.is_main, alone.device.type) == (1, 0, True, "cpu")
    assert alone.mean({"a": torch.tensor(2.0)}) == {"a": 2.0}
    assert alone.agree(7) and alone.any(True) and not alone.any(False)
    with pytest.raises(InputError, match="no such CUDA GPU"):
        processes.Processes("cuda:99")


def test_without_accelerate_there_is_a_hint(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'gpen\[train\]'"):
        processes.Processes("cpu")
