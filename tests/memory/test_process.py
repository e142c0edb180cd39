"""The command line keeps what it frees; the library leaves the allocator alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

FREED_AND_TAKEN_AGAIN = """
import ctypes, resource, sys
from gpen_core.memory.process import keep_freed_memory

kept = sys.argv[1] == "keep" and keep_freed_memory()
c = ctypes.CDLL(None)
c.malloc.restype, c.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
c.free.argtypes = [ctypes.c_void_p]


def fill_and_free():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [c.malloc(30 << 20) for _ in range(4)]
    for block in blocks:
        ctypes.memset(block, 1, 30 << 20)
    for block in blocks:
        c.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


fill_and_free(), fill_and_free()
print(kept, fill_and_free())
"""


def pages_taken_again(how, **environment):
    done = subprocess.run(
        [sys.executable, "-c", FREED_AND_TAKEN_AGAIN, how],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, **environment},
    )
    kept, faults = done.stdout.split()
    return kept == "True", int(faults)


glibc = pytest.mark.skipif(
    sys.platform != "linux" or "CS_GNU_LIBC_VERSION" not in os.confstr_names,
    reason="only glibc has thresholds",
)


@glibc
def test_freed_memory_is_taken_again_without_page_faults():
    assert pages_taken_again("leave")[1] > 10_000
    kept, faults = pages_taken_again("keep")
    assert kept
    assert faults < 100


@glibc
def test_thresholds_of_the_environment_stay():
    assert not pages_taken_again("keep", MALLOC_TRIM_THRESHOLD_="131072")[0]


def test_elsewhere_nothing_is_done(monkeypatch):
    from gpen_core.memory.process import keep_freed_memory

    monkeypatch.setattr(sys, "platform", "win32")
    assert not keep_freed_memory()


def test_kernels_are_bounded_unless_the_environment_says_how_many(monkeypatch):
    from gpen_core.memory.process import bound_kernels

    name = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
    monkeypatch.delenv(name, raising=False)
    bound_kernels()
    assert os.environ[name] == "128"
    monkeypatch.setenv(name, "7")
    bound_kernels()
    assert os.environ[name] == "7"


def test_the_command_prepares_its_memory_before_pytorch_is_there():
    code = (
        "import sys, gpen_core.cli.app as app; app.run = lambda arguments: 0\n"
        "try: app.main()\n"
        "except SystemExit: pass\n"
        "import os; assert 'torch' not in sys.modules\n"
        "assert os.environ['ONEDNN_PRIMITIVE_CACHE_CAPACITY'] == '128'"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ONEDNN")}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True)


@glibc
def test_holes_are_given_back_every_25_pictures():
    code = """
import ctypes, sys
from gpen_core.memory.process import keep_freed_memory, return_freed_memory

assert keep_freed_memory()
c = ctypes.CDLL(None)
c.malloc.restype, c.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
c.free.argtypes = [ctypes.c_void_p]
resident = lambda: int(open("/proc/self/statm").read().split()[1]) * 4096 >> 20
blocks = [c.malloc(1 << 20) for _ in range(200)]
for block in blocks:
    ctypes.memset(block, 1, 1 << 20)
for block in blocks[:-1]:  # the last one holds the heap's end
    c.free(block)
full = resident()
return_freed_memory(24)
assert resident() > full - 20, (resident(), full)
return_freed_memory(25)
assert resident() < full - 150, (resident(), full)
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
