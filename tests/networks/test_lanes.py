"""Lanes compute side by side and leave PyTorch as it was. Their pictures: `test_fast.py`."""

from __future__ import annotations

import copy
import gc
import threading
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gpen_core.networks.fast.lanes import Lanes
from gpen_core.networks.fast.strips import bands
from gpen_core.networks.fast.tuning import Tuning
from gpen_core.networks.fast.workspace import Workspace


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_a_lane_does_not_share_its_operations_and_no_other_thread_is_changed(threads, set_threads):
    set_threads(threads)
    counts, lanes = {}, Lanes()
    lanes.each(lambda part, _: counts.update({part: torch.get_num_threads()}), range(lanes.count))
    assert counts == ({0: 1} if threads == 1 else dict.fromkeys(range(threads), 1))
    assert torch.get_num_threads() == threads
    new = []
    thread = threading.Thread(target=lambda: new.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert new == [threads]


def test_numbers_of_threads_that_a_host_set_elsewhere_stay(set_threads):
    """The caller's is one, that of new threads another: the host set it last in another thread."""
    set_threads(2)
    other = threading.Thread(target=torch.set_num_threads, args=(3,))
    other.start()
    other.join()
    lanes = Lanes()
    lanes.each(lambda *_: None, range(2))
    new = []
    thread = threading.Thread(target=lambda: new.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert (torch.get_num_threads(), new) == (2, [3])


@pytest.mark.parametrize("way", ["each", "each_reference"])
def test_the_parts_of_a_picture_are_done_once_each(way, set_threads):
    set_threads(3)
    done, lanes = torch.zeros(3), Lanes()
    getattr(lanes, way)(lambda part, _: done[part].add_(part + 1), range(3))
    assert done.tolist() == [1, 2, 3]


@pytest.mark.parametrize("inference", [True, False])
def test_lanes_compute_without_gradients_as_their_caller_does(inference):
    modes, lanes = [], Lanes()
    with torch.inference_mode(inference), torch.no_grad():
        lanes.each(
            lambda *_: modes.append((torch.is_inference_mode_enabled(), torch.is_grad_enabled())),
            range(2),
        )
    assert modes == [(inference, False)] * 2


def test_what_a_lane_raises_is_raised_when_all_have_stopped():
    done, lanes = [], Lanes()

    def work(part: int, _: object) -> None:
        if part == 0:
            raise ValueError("a lane")
        time.sleep(0.1)
        done.append(part)

    with pytest.raises(ValueError, match="a lane"):
        lanes.each(work, range(2))
    assert done == [1]
    lanes.each(lambda part, _: done.append(part), range(2))
    assert sorted(done) == [0, 1, 1]


def test_every_lane_has_buffers_of_its_own_and_they_go_with_the_lanes():
    lanes, like, seen, threads = Lanes(), torch.zeros(1), [], []

    def work(_: int, workspace: Workspace) -> None:
        seen.append(workspace.take("a", (8,), like).data_ptr())
        threads.append(threading.current_thread())

    lanes.each(work, range(2))
    assert len(set(seen)) == 2
    assert lanes.nbytes == 64
    assert copy.deepcopy(lanes).nbytes == 0
    del lanes
    gc.collect()
    for thread in threads:
        assert thread is not threading.current_thread()
        thread.join(10)
        assert not thread.is_alive()


@given(side=st.sampled_from([128, 256, 512, 1024, 2048]), lanes=st.integers(1, 64))
def test_bands_cover_the_rows_once_and_are_not_low(side, lanes):
    fewest = Tuning().band_rows
    parts = bands(side, lanes, fewest)
    assert [row for top, bottom in parts for row in range(top, bottom)] == list(range(side))
    assert len(parts) <= lanes
    assert all(top % 8 == 0 for top, _ in parts)
    assert all(bottom - top >= min(fewest, side) for top, bottom in parts[:-1])
