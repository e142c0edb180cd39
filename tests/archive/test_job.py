"""Once each, whatever happens: nothing lost, nothing half, nothing twice, nothing mixed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from gpen_core.archive.folder import JOURNALS
from gpen_core.archive.job import known_rows
from gpen_core.batch.files import restore_files
from gpen_core.batch.job import Job
from gpen_core.batch.targets import Naming
from gpen_core.errors import InputError
from gpen_core.models.load import load_model
from gpen_core.run import Run, Tools

from .conftest import Inline

ALL = ["1927/b.jpg", "1927/c.png", "a.png", "d.png", "torn.png"]
SOUND = ALL[:-1]


def finish(archive) -> list:
    return [row for rows in archive.run() for row in rows]


def results(folder: Path) -> dict[str, bytes]:
    """What was written, without what the archive says of it."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        name: path.read_bytes()
        for path in files
        if not (name := path.relative_to(folder).as_posix()).startswith("gpen-archive/")
    }


def test_the_results_are_those_of_gpen_restore(archive, scans, tmp_path, small_model_file):
    one = archive(at_once=4)
    rows = {row.key: row for row in finish(one)}
    alone = archive(target=tmp_path / "alone")
    finish(alone)
    plain = Job.plan([str(scans)], Naming(tmp_path / "plain"), recursive=True)
    outcomes = {
        Path(outcome.input).name: outcome
        for outcome in restore_files(plain, Run(Tools(load_model(small_model_file))))
    }
    assert results(tmp_path / "alone") == results(tmp_path / "plain")
    assert sorted(results(tmp_path / "out")) == SOUND
    for key, row in rows.items():
        outcome = outcomes[Path(key).name]
        assert row.status == outcome.status and row.restored == outcome.counts[0]
        assert row.error == "" or "damaged or cut off" in row.error
    assert rows["a.png"].lowest > 0.9 and len(rows["a.png"].box) == 4
    assert one.conclude().facts()["failed"] == 1
    assert not list((tmp_path / "out" / JOURNALS).iterdir())


def test_a_second_run_does_nothing_twice(archive, tmp_path):
    finish(archive())
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.[jp][pn]g")}
    again = archive(Inline())
    assert again.plan.tasks == [] and again.plan.done == SOUND
    assert again.plan.failed == ["torn.png"]
    finish(again)
    assert again.engine.done == []
    assert {p: p.stat().st_mtime_ns for p in before} == before


@pytest.mark.parametrize("after", range(5))
def test_a_run_that_dies_anywhere_goes_on(archive, tmp_path, after):
    """Its last result has a journal's line only: the driver was dead before it heard of it."""
    first = archive(Inline(dies_after=after))
    with pytest.raises(KeyboardInterrupt):
        finish(first)
    second = archive(Inline())
    finish(second)
    # A failure that nobody heard of is found again.
    sound = [key for key in (*first.engine.done, *second.engine.done) if key != "torn.png"]
    assert sorted(sound) == SOUND
    whole = archive(target=tmp_path / "whole")
    finish(whole)
    assert results(tmp_path / "out") == results(tmp_path / "whole")
    assert sorted(known_rows(second.manifest)) == ALL


def test_a_killed_driver_leaves_its_rows_in_journals(archive, tmp_path, monkeypatch):
    """Not even `finally` runs: the manifest has no row, the status knows them all the same."""
    dead = archive(Inline(dies_after=2))
    monkeypatch.setattr(dead.manifest, "add", lambda rows: None)
    monkeypatch.setattr(dead.manifest, "compact", lambda: None)
    with pytest.raises(KeyboardInterrupt):
        finish(dead)
    assert dead.manifest.parts() == []
    assert len(known_rows(dead.manifest)) == 3
    journal = next((tmp_path / "out" / JOURNALS).iterdir())
    with journal.open("ab") as file:
        file.write(b'{"key": "a.png", "pla')
    second = archive(Inline())
    assert len(second.plan.done) == 3
    finish(second)
    assert sorted(known_rows(second.manifest)) == ALL and len(second.manifest.parts()) == 1


def test_what_changed_is_done_again(archive, scans, tmp_path):
    finish(archive())
    Image.open(scans / "a.png").rotate(90).save(scans / "a.png")
    (tmp_path / "out" / "d.png").unlink()
    Image.open(scans / "d.png").save(scans / "torn.png")
    again = archive(Inline())
    assert again.plan.why == {"source changed": 2, "result missing": 1}
    finish(again)
    assert sorted(again.engine.done) == ["a.png", "d.png", "torn.png"]
    assert sorted(results(tmp_path / "out")) == ALL


def test_failures_are_tried_again_when_asked(archive):
    finish(archive())
    again = archive(Inline(), wishes={"retry_failed": True})
    assert again.plan.why == {"failed before": 1}
    finish(again)
    assert again.engine.done == ["torn.png"]


def test_options_are_not_mixed_unasked(archive, tmp_path):
    finish(archive())
    with pytest.raises(InputError, match=r"strength 1\.0 then, 0\.5 now") as refused:
        archive(options={"strength": 0.5})
    assert refused.value.remedy == "overwrite"
    before = results(tmp_path / "out")
    changed = {"options": {"strength": 0.5}, "wishes": {"overwrite": True}}
    stopped = archive(Inline(dies_after=2), **changed)
    with pytest.raises(KeyboardInterrupt):
        finish(stopped)
    rest = archive(Inline(), **changed)
    finish(rest)
    sound = [key for key in (*stopped.engine.done, *rest.engine.done) if key != "torn.png"]
    assert sorted(sound) == SOUND
    assert all(results(tmp_path / "out")[key] != before[key] for key in SOUND[:3])
    # How many faces go through the network at once is no other picture.
    assert archive(options={"strength": 0.5, "batch_size": 1}).plan.tasks == []


def test_other_peoples_files_are_left_alone(archive, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").write_bytes(b"mine")
    with pytest.raises(InputError, match="1 of the results' names are taken"):
        archive()
    finish(archive(wishes={"overwrite": True}))
    (tmp_path / "out" / "d.png").write_bytes(b"retouched by hand")
    with pytest.raises(InputError, match=r"such as d\.png"):
        archive()


def test_a_file_that_comes_meanwhile_fails_its_picture_only(archive, tmp_path):
    one = archive()
    (tmp_path / "out" / "1927").mkdir(parents=True)
    (tmp_path / "out" / "1927" / "c.png").write_bytes(b"mine")
    rows = {row.key: row for row in finish(one)}
    assert "exists already" in rows["1927/c.png"].error
    assert (tmp_path / "out" / "1927" / "c.png").read_bytes() == b"mine"
    assert rows["1927/b.jpg"].done and rows["a.png"].done


def test_a_worker_that_was_thought_dead_does_no_harm(archive):
    """Another one gives the same bytes to the same name; the first to come stays."""
    one, other = archive(), archive()
    assert [row.status for row in finish(other)].count("failed") == 1
    assert [row.status for row in finish(one)].count("failed") == 1
    assert len(known_rows(one.manifest)) == len(ALL)


def test_two_runs_at_once_are_refused(archive):
    one = archive()
    running = one.run()
    next(running)
    with pytest.raises(InputError, match="another run works"):
        next(archive(Inline()).run())
    for _ in running:
        pass


@pytest.mark.parametrize("inside", [True, False])
def test_a_target_in_its_source_is_refused(archive, scans, inside):
    target = scans / "restored" if inside else scans.parent
    with pytest.raises(InputError, match="lie in each other"):
        archive(target=target)


def test_results_of_one_name_are_refused(archive, scans):
    os.link(scans / "a.png", scans / "A.PNG")
    with pytest.raises(InputError, match="would both become"):
        archive()


def test_a_large_picture_is_worked_on_alone(archive, scans, monkeypatch):
    from gpen_core.archive import maker

    groups: list[int] = []
    real = maker.Run.together

    def counted(run, sources, first=0):
        groups.append(len(sources))
        return real(run, sources, first)

    monkeypatch.setattr(maker.Run, "together", counted)
    monkeypatch.setattr(maker, "_PIXELS", 96 * 96 + 1)
    finish(archive(at_once=4))
    assert groups == [1, 1, 1, 1]
    monkeypatch.setattr(maker, "_PIXELS", 1 << 24)
    groups.clear()
    finish(archive(at_once=3, target=scans.parent / "more"))
    assert groups == [3, 1]


def test_an_estimate_restores_samples_and_writes_nothing(archive, tmp_path, caplog):
    from gpen_core.archive.engine import Crew
    from gpen_core.archive.estimate import estimate

    one = archive()
    tasks = one.plan.tasks * 10
    guess = estimate(tasks, one.recipe, Crew(workers=2))
    assert (guess.pictures, guess.tried, guess.workers) == (50, 20, 2)
    assert guess.failed == sum(row.key == "torn.png" for row in _samples(tasks))
    assert 0 < guess.low <= 25 * guess.seconds <= guess.high
    assert guess.read == sum(task.size for task in tasks) and guess.written > 0
    assert not (tmp_path / "out").exists()
    assert "more pixels than" not in caplog.text


def _samples(tasks):
    import random

    return random.Random(0).sample(tasks, 20)
