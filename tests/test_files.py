"""Files put in place whole: by a rename beside them, with the permissions of any new file."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import filelock
import pytest
import torch

from gpen_core.files import locked, replacing, sha256, wheel_file, write_json
from gpen_core.images.picture import Picture
from gpen_core.images.write import write_picture

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.skipif(os.name != "posix", reason="permissions and inodes are POSIX's")
@pytest.mark.parametrize(("mask", "expected"), [(0o022, 0o644), (0o027, 0o640), (0o002, 0o664)])
def test_a_new_file_has_the_permissions_of_any_new_file(tmp_path, mask, expected) -> None:
    before = os.umask(mask)
    try:
        write_picture(tmp_path / "new.png", Picture(torch.rand(3, 4, 4)))
        write_json(tmp_path / "new.json", {"a": 1})
        assert os.umask(mask) == mask, "the process keeps its own"
    finally:
        os.umask(before)
    for name in ("new.png", "new.json"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == expected


@pytest.mark.skipif(os.name != "posix", reason="permissions and inodes are POSIX's")
def test_whoever_reads_a_file_keeps_the_old_one_whole(tmp_path) -> None:
    """A rename gives the name to another file; a copy would change this one under its reader."""
    path = tmp_path / "out.bin"
    path.write_bytes(b"old " * 1000)
    before = path.stat().st_ino
    with path.open("rb") as reader:
        assert reader.read(4) == b"old "
        with replacing(path) as scratch:
            assert scratch.parent == tmp_path, "a rename needs the same file system"
            scratch.write_bytes(b"new")
            assert path.read_bytes().startswith(b"old ")
            written = scratch.stat().st_ino
        assert reader.read() == b"old " * 999
    assert path.read_bytes() == b"new"
    assert before != path.stat().st_ino == written
    assert list(tmp_path.iterdir()) == [path]


def test_folders_are_made_and_hashes_are_of_the_whole_file(tmp_path) -> None:
    path = tmp_path / "a" / "b" / "large.bin"
    with replacing(path) as scratch:
        scratch.write_bytes(b"x" * (3 << 20))
    expected = "3bea8a9a07c1e8dcaa4c1b816815c35a29b4fb585ba6ecc70ea44840a794cfb3"
    assert sha256(path) == expected


def test_files_of_wheels_are_found_by_their_end() -> None:
    found = wheel_file("kornia", "kornia/__init__.py")
    assert isinstance(found, Path) and found.is_file()
    assert wheel_file("kornia", "no such file") is None


# --- one at a time -------------------------------------------------------------------------------

_COUNTS = """
import sys, time
from pathlib import Path
from gpen_core.files import locked

target = Path(sys.argv[1])
for _ in range(40):
    with locked(target, patience=60):
        count = int(target.read_text())
        time.sleep(0.001)
        target.write_text(str(count + 1))
"""


def test_processes_take_turns_and_leave_no_lock(tmp_path):
    target = tmp_path / "counter"
    target.write_text("0")
    command = [sys.executable, "-c", _COUNTS, str(target)]
    running = [subprocess.Popen(command, cwd=ROOT) for _ in range(4)]
    assert [process.wait(120) for process in running] == [0] * 4
    assert target.read_text() == "160"
    assert [path.name for path in tmp_path.iterdir()] == ["counter"]


def test_a_lock_is_left_by_no_error_and_says_that_it_waits(tmp_path):
    target, waited = tmp_path / "file", []
    with pytest.raises(RuntimeError), locked(target, patience=1):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    held = filelock.FileLock(tmp_path / ".file.lock")
    waiting = locked(target, patience=0.1, waiting=lambda: waited.append(1))
    with held, pytest.raises(filelock.Timeout), waiting:
        pytest.fail("somebody else has it")
    assert waited == [1]
