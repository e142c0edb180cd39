"""One picture harms nobody: not even one that ends the process it is decoded in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image

from gpen_core.archive import worker as module
from gpen_core.archive.recipe import Recipe
from gpen_core.archive.rows import Task
from gpen_core.archive.worker import Refused, Worker
from gpen_core.options import Options

# Put before Pillow's decoders in the worker's process: some files end it, as a fault of one would.
TRAP = """
import ctypes, os, pathlib, time
from PIL import Image
real = Image.open

def trap(file, *rest, **more):
    data = file.getvalue() if hasattr(file, "getvalue") else b""
    if b"ALWAYS" in data:
        ctypes.string_at(0)
    if b"ONCE" in data:
        flag = pathlib.Path(os.environ["GPEN_TEST_FLAG"])
        if not flag.exists():
            flag.touch()
            os.kill(os.getpid(), 9)
    if b"HANGS" in data:
        time.sleep(1000)
    return real(file, *rest, **more)

Image.open = trap
"""


@pytest.fixture
def recipe(tmp_path, small_model_file):
    return Recipe.of(str(tmp_path / "out"), Options(), model=str(small_model_file), device="cpu")


@pytest.fixture
def tasks(tmp_path, no_face):
    """BMP files, which Pillow reads; what is behind their pixels is no part of them."""

    def make(*marks: str) -> list[Task]:
        made = []
        for number, mark in enumerate(marks):
            path = tmp_path / f"{number}.bmp"
            Image.fromarray(no_face).save(path)
            path.write_bytes(path.read_bytes() + mark.encode())
            made.append(Task(path.name, str(path), 0, "", path.name))
        return made

    return make


@pytest.fixture
def trap(tmp_path, monkeypatch):
    folder = tmp_path / "trap"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(TRAP)
    before = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{before}")
    monkeypatch.setenv("GPEN_TEST_FLAG", str(tmp_path / "flag"))


def test_a_picture_that_ends_its_process_fails_after_a_second_try_alone(
    recipe, tasks, trap, monkeypatch
):
    """Of four in one group, one segfaults each time, one was killed once: three results."""
    from dataclasses import replace

    worker = Worker(replace(recipe, at_once=4, patience=30.0))
    rows = {row.key: row for row in worker(tasks("", "ALWAYS", "ONCE", ""))}
    worker.close()
    assert [rows[f"{n}.bmp"].status for n in range(4)] == ["unchanged", "failed"] + 2 * [
        "unchanged"
    ]
    assert rows["1.bmp"].error == (
        "1.bmp: its process was ended by SIGSEGV, twice, the second time alone."
    )
    assert "ended by SIGKILL (the system's way when memory runs out)" in rows["2.bmp"].events[-1]
    assert rows["3.bmp"].events == []


def test_a_picture_that_hangs_is_given_up(recipe, tasks, trap):
    from dataclasses import replace

    worker = Worker(replace(recipe, patience=1.5))
    [row] = worker(tasks("HANGS"))
    worker.close()
    assert (
        row.error
        == "0.bmp: nothing was heard of its process for 2 s, twice, the second time alone."
    )


def test_networks_that_do_not_load_are_said_once(recipe, tasks, tmp_path, monkeypatch):
    from dataclasses import replace

    worker = Worker(replace(recipe, model_sha256="0" * 64))
    with pytest.raises(Refused, match="is not the model that this job began with"):
        list(worker(tasks("")))
    monkeypatch.setattr(module.sys, "executable", "/bin/false")
    with pytest.raises(Refused, match="does not start: its process ended with code 1"):
        list(Worker(recipe)(tasks("")))


def test_no_process_outlives_its_worker():
    """Killed, it cannot say so: the process looks who its parent is."""
    code = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([{sys.executable!r}, '-m', 'gpen_core.archive.child'],"
        " stdin=subprocess.PIPE)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    time.sleep(1)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    pytest.fail("the process is still there")
