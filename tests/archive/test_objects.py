"""Object storage, by a server that speaks S3, over a connection that fails in every way."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import s3

from gpen_core.archive.listing import list_source
from gpen_core.archive.rows import Row
from gpen_core.archive.store import Taken
from gpen_core.archive.stores import open_store
from gpen_core.errors import InputError

from .test_job import ALL, SOUND, Inline, finish

for package in ("obstore", "moto", "flask"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed; .ci/run archive has it", allow_module_level=True)

ROW = Row("a.jpg", "s3://plates/a.jpg", 10, "1", "a.jpg", result_size=5, made_with="x")


@pytest.fixture(scope="module")
def port():
    with s3.server() as port:
        yield port


@pytest.fixture
def line(port, monkeypatch):
    """A way to the server, and an empty bucket there."""
    import urllib.request

    proxy = s3.Proxy(port)
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    reset = urllib.request.Request(f"http://127.0.0.1:{port}/moto-api/reset", method="POST")
    urllib.request.urlopen(reset).close()
    made = urllib.request.Request(f"http://127.0.0.1:{port}/plates", method="PUT")
    urllib.request.urlopen(made).close()
    yield proxy
    proxy.close()


def test_a_name_is_taken_once_with_its_receipt(line):
    store = open_store("s3://plates/out")
    store.put("ä b/a.jpg", b"12345", ROW, replace=False)
    assert line.requests == {"PUT": 1}
    assert store.receipt("ä b/a.jpg") == ROW
    with pytest.raises(Taken):
        store.put("ä b/a.jpg", b"other", replace(ROW, sha256="1"), replace=False)
    assert store.read("ä b/a.jpg") == b"12345"
    store.put("ä b/a.jpg", b"other", replace(ROW, sha256="1"), replace=True)
    assert store.receipt("ä b/a.jpg").sha256 == "1"
    assert [(one.key, one.size) for one in store.entries()] == [("ä b/a.jpg", 5)]
    assert store.size_of("gone") is None and store.receipt("gone") is None
    with pytest.raises(InputError, match="s3://plates/out/gone: no such object"):
        store.read("gone")
    store.remove("ä b/a.jpg")
    assert list(store.entries()) == []


def test_a_request_whose_answer_is_lost_was_still_ours(line):
    store = open_store("s3://plates/out")
    line.faults = {"lose": 0.6}
    for number in range(8):
        row = replace(ROW, key=f"{number}", result=f"{number}")
        store.put(f"{number}", b"12345", row, replace=False)
    assert line.injected["lose"] >= 4
    line.faults = {}
    assert len(list(store.entries())) == 8


def test_a_receipt_that_is_too_long_loses_its_events_only(line):
    store = open_store("s3://plates/out")
    store.put("a", b"1", replace(ROW, events=["x" * 3000]), replace=False)
    assert store.receipt("a") == ROW


def test_an_archive_over_a_bad_connection_is_whole(line, archive, scans):
    """Some requests are refused, some wait, some are cut off, some are lost when they are done."""
    store = open_store("s3://plates/scans")
    for path in scans.rglob("*.*"):
        store.put(path.relative_to(scans).as_posix(), path.read_bytes(), replace=False)
    local = archive()
    finish(local)
    line.faults = {"refuse": 0.2, "slow": 0.02, "drop": 0.15, "cut": 0.1, "lose": 0.1}
    place = {"source": "s3://plates/scans", "target": "s3://plates/out"}
    one = archive(Inline(), **place)
    assert [task.key for task in one.plan.tasks] == ALL
    rows = {row.key: row for row in finish(one)}
    assert [key for key in ALL if rows[key].done] == SOUND
    assert sum(line.injected.values()) > 5 and len(line.injected) > 2, line.injected
    again = archive(Inline(), **place)
    assert again.plan.done == SOUND and again.plan.failed == ["torn.png"]
    line.faults = {}
    there = open_store("s3://plates/out")
    for key in SOUND:
        assert there.read(key) == (scans.parent / "out" / key).read_bytes()


def test_results_whose_rows_were_lost_are_found_by_their_receipts(line, archive, monkeypatch):
    dead = archive(Inline(dies_after=2), target="s3://plates/out")
    monkeypatch.setattr(dead.manifest, "add", lambda rows: None)
    with pytest.raises(KeyboardInterrupt):
        finish(dead)
    again = archive(Inline(), target="s3://plates/out")
    assert len(again.plan.done) == 3 and len(again.plan.found) == 3
    finish(again)
    assert sorted(again.manifest.rows()) == ALL
    assert archive(Inline(), target="s3://plates/out").plan.tasks == []


def test_a_list_may_lie_there_too(line):
    store = open_store("s3://plates/lists")
    store.put("a.txt", b"x/y.png\ns3://other/z.jpg\n", replace=False)
    items = list_source("s3://plates/lists/a.txt").items
    assert [item.place for item in items] == ["s3://other/z.jpg", "s3://plates/lists/x/y.png"]


def test_a_bucket_that_is_not_there_is_said(line):
    with pytest.raises(
        InputError, match="s3://nobody/scans/: NoSuchBucket: The specified bucket does not exist"
    ):
        list_source("s3://nobody/scans")
