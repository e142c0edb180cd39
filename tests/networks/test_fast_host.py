"""A pass leaves the process of its host as it was."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gpen_core.networks import GPEN, GPENConfig
from gpen_core.networks.fast.network import prepare

ROOT = Path(__file__).resolve().parents[2]
CONFIG = GPENConfig.create(256, narrow=1 / 32, channel_multiplier=1)


def settings_of_the_host():
    return {
        "threads": torch.get_num_threads(),
        "interop threads": torch.get_num_interop_threads(),
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "type": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "matmul": torch.get_float32_matmul_precision(),
        "onednn": torch.backends.mkldnn.enabled,
        "cudnn benchmark": torch.backends.cudnn.benchmark,
        "random": torch.get_rng_state().tolist(),
    }


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_pytorch_is_as_it_was(threads, set_threads):
    set_threads(threads)
    fast = prepare(GPEN(CONFIG))
    before = settings_of_the_host()
    fast(torch.zeros(1, 3, 256, 256))
    assert settings_of_the_host() == before


MALLOC = """
import ctypes, sys, torch
from gpen_core.networks import GPEN, GPENConfig
from gpen_core.networks.fast.network import prepare

c = ctypes.CDLL(None)
c.malloc.restype, c.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
c.free.argtypes = [ctypes.c_void_p]


class Info(ctypes.Structure):
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]


c.mallinfo2.restype = Info
block = 30 << 20


def is_mapped():
    # Never freed: that would move the threshold.
    before = c.mallinfo2().hblks
    c.malloc(block)
    return c.mallinfo2().hblks > before


print(is_mapped())
network = prepare(GPEN(GPENConfig.create(128, narrow=1 / 32, channel_multiplier=1)))
for _ in range(2):
    network(torch.zeros(1, 3, 128, 128))
print(is_mapped())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc is Linux's")
def test_what_malloc_takes_for_large_is_as_it_was():
    """The pass of a small network frees nothing large, so 30 MB still come from the system."""
    done = subprocess.run(
        [sys.executable, "-c", MALLOC], capture_output=True, text=True, cwd=ROOT, check=False
    )
    if "mallinfo2" in done.stderr:
        pytest.skip("mallinfo2 came with glibc 2.33")
    assert done.stdout.split() == ["True", "True"], done.stderr
