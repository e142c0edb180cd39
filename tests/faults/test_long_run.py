"""The start of `make faults`' long run, which takes 2,000 pictures and more minutes than a test."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import long_run


def test_made_pictures_of_every_kind_go_through_the_job(capsys, monkeypatch):
    monkeypatch.setattr(long_run, "SIDES", (150, 300))
    memory, ends = long_run.run(40, seed=3)
    assert len(memory) == 40 and min(memory) > 50
    assert ends["restored"] >= 2 and ends["unchanged"] >= 10, ends
    assert sum(ends.values()) == 40
