"""The command with Ray; `make archive-check` has the long tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="ray, of the extra gpen[archive], is not installed")

from .test_job import SOUND, finish, results

ROOT = Path(__file__).resolve().parents[2]


def start(scans, target, model, *more: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "gpen_core", "archive", str(scans), str(target), "-m"]
    command += [str(model), "--workers", "2", "--threads", "1", "--device", "cpu", *more]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        text=True,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )


def test_two_workers_do_what_one_process_does_and_a_killed_one_is_missed_by_nobody(
    scans, tmp_path, small_model_file, archive
):
    """One of the processes with the networks is killed as soon as it is there."""
    from .check import workers

    process = start(scans, tmp_path / "out", small_model_file)
    deadline = time.monotonic() + 300
    while not (found := workers(process.pid)[0]) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(found[0], signal.SIGKILL)
    _, said = process.communicate(timeout=500)
    assert process.returncode == 1, said
    assert "5 pictures: 0 done, 5 to do (5 new)" in said
    assert "Failed: torn.png is damaged or cut off" in said
    assert "Traceback" not in said and "ray" not in said.lower()
    finish(archive(target=tmp_path / "inline"))
    assert sorted(results(tmp_path / "out")) == SOUND
    assert results(tmp_path / "out") == results(tmp_path / "inline")
    folder = tmp_path / "out" / "gpen-archive"
    assert json.loads((folder / "summary.json").read_text())["left"] == 0
    assert (folder / "sheet.html").exists() and len(list((folder / "manifest").iterdir())) == 1
    nowhere = start(scans, tmp_path / "other", small_model_file, "--address", "127.0.0.1:1")
    _, said = nowhere.communicate(timeout=300)
    assert nowhere.returncode == 2 and "--address: No cluster answers at 127.0.0.1:1" in said
    again = start(scans, tmp_path / "out", small_model_file)
    _, said = again.communicate(timeout=300)
    assert again.returncode == 1 and "4 done, 0 to do" in said
    assert "add --retry_failed" in said
