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


def test_no_worker_takes_more_at_once_than_leaves_something_to_the_others():
    """Ray joins blocks to batches; with long ones one of two workers once did all of 300."""
    from gpen_core.archive import engine
    from gpen_core.archive.rows import Task

    class Counting:
        def __init__(self, _: str) -> None: ...

        def __call__(self, batch):
            import pyarrow

            yield pyarrow.table({"row": [str(batch.num_rows)]})

    tasks = [Task(f"{n}.jpg", f"{n}.jpg", 9, "1", f"{n}.png") for n in range(300)]
    crew = engine.Crew(workers=2)
    with engine.session(crew) as ray:
        engine._quiet(ray)
        blocks = engine._blocks(tasks, 2)
        taken = engine._mapped(ray, blocks, crew, Counting, "")
        sizes = [int(row["row"]) for row in taken.take_all()]
    assert sum(sizes) == 300
    assert max(sizes) <= 300 // (2 * 16)
