"""Buffers: kept, grown, and poisoned when they are used too late."""

from __future__ import annotations

import torch

from gpen_core.networks.fast.workspace import Workspace

LIKE = torch.zeros(())


def test_a_buffer_is_used_again_and_grows():
    workspace = Workspace()
    first = workspace.take("a", (4, 2), LIKE)
    assert workspace.take("a", (2, 3), LIKE).data_ptr() == first.data_ptr()
    assert workspace.take("b", (4, 2), LIKE).data_ptr() != first.data_ptr()
    assert workspace.take("a", (9,), LIKE).shape == (9,)
    assert workspace.nbytes == 4 * (9 + 8)
    assert workspace.take("a", (9,), LIKE.double()).dtype == torch.float64


def test_what_is_too_large_is_not_kept():
    workspace = Workspace(kept_bytes=16)
    assert workspace.take("a", (5,), LIKE).shape == (5,)
    assert workspace.nbytes == 0
    workspace.take("a", (4,), LIKE)
    assert workspace.nbytes == 16


def test_margins_are_zero_and_the_other_buffer_is_the_other_one():
    workspace = Workspace(poison=True)
    x = workspace.square(workspace.other(LIKE), (1, 2, 3), LIKE, margin=2)
    assert x.shape == (1, 2, 7, 3)
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert (x[:, :, :2] == 0).all()
    assert (x[:, :, 5:] == 0).all()
    assert torch.isnan(x[:, :, 2:5]).all()
    assert workspace.other(x) == "odd"
    assert workspace.other(workspace.take("odd", (1,), LIKE)) == "even"


def test_a_poisoned_buffer_is_nan_before_it_is_written_and_after_it_was_handed_on():
    workspace = Workspace(poison=True)
    early = workspace.take("a", (4,), LIKE)
    assert torch.isnan(early).all()
    early.fill_(1)
    other = workspace.take("b", (4,), LIKE).fill_(2)
    late = workspace.take("a", (2,), LIKE).fill_(3)
    assert torch.isnan(early).all()
    assert (other.tolist(), late.tolist()) == ([2] * 4, [3] * 2)
    workspace.end_pass()
    assert torch.isnan(other).all()
    assert torch.isnan(late).all()


def test_without_poison_a_buffer_used_too_late_holds_what_came_later():
    workspace = Workspace()
    early = workspace.take("a", (4,), LIKE).fill_(1)
    workspace.take("a", (4,), LIKE).fill_(2)
    workspace.end_pass()
    assert early.tolist() == [2] * 4
