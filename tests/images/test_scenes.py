"""Where scenes begin."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gpen_core.images.scenes import cuts_of


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from([0.1, 0.5, 0.9]), min_size=1, max_size=6), st.integers(1, 90))
def test_a_scene_begins_where_the_light_changes(levels, side):
    frames = torch.stack([torch.full((3, side, 2 * side), level) for level in levels])
    changes = [i for i in range(1, len(levels)) if levels[i] != levels[i - 1]]
    assert cuts_of(frames) == changes


def test_motion_and_noise_are_no_cut(portrait):
    still = torch.from_numpy(portrait).movedim(-1, 0) / 255
    noise = torch.Generator().manual_seed(0)
    frames = [
        still.roll(12 * i, -1) + 0.08 * torch.randn(still.shape, generator=noise) for i in range(5)
    ]
    assert cuts_of(torch.stack(frames).clamp(0, 1)) == []
