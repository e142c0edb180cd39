"""Folders: whole or not at all, once, and the receipt first."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from gpen_core.archive.folder import JOURNALS, Folder
from gpen_core.archive.manifest import Manifest
from gpen_core.archive.rows import Row
from gpen_core.archive.store import Taken
from gpen_core.errors import InputError

ROW = Row("a.jpg", "/scans/a.jpg", 10, "1", "a.jpg", result_size=5, events=["ä", "x\ny"])


def test_the_receipt_is_written_before_the_name_is_taken(tmp_path, monkeypatch):
    store, seen = Folder(tmp_path, "me"), []
    real = os.link

    def link(source, target):
        seen.append((tmp_path / JOURNALS / "me.jsonl").read_text().count("a.jpg"))
        real(source, target)

    monkeypatch.setattr(os, "link", link)
    store.put("a.jpg", b"12345", ROW, replace=False)
    assert seen and seen[0] > 0
    assert Folder(tmp_path).receipt("a.jpg") == ROW


def test_a_receipt_without_its_result_means_nothing(tmp_path, monkeypatch):
    store = Folder(tmp_path, "me")

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    monkeypatch.setattr(os, "replace", full)
    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(InputError, match="No space left"):
        store.put("a.jpg", b"12345", ROW, replace=False)
    assert store.receipt("a.jpg") is None
    assert [entry.key for entry in store.entries()] == []
    (tmp_path / "a.jpg").write_bytes(b"123")  # of another size: not what the receipt is for
    assert store.receipt("a.jpg") is None


@pytest.mark.parametrize("links", [True, False])
def test_a_name_is_taken_once(tmp_path, monkeypatch, links):
    """Also where the file system has no hard links."""
    if not links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(95, "no links")))
    store = Folder(tmp_path)
    store.put("sub/a", b"one", replace=False)
    with pytest.raises(Taken):
        store.put("sub/a", b"two", replace=False)
    assert store.read("sub/a") == b"one"
    store.put("sub/a", b"two", replace=True)
    assert store.read("sub/a") == b"two" and store.size_of("sub/b") is None
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["a"]


def test_the_last_row_of_a_picture_counts(tmp_path):
    manifest = Manifest(Folder(tmp_path))
    first = replace(ROW, finished=1.0, status="failed", error="damaged")
    second = replace(ROW, finished=2.0, lowest=0.5, box=[1.0, 2.0, 3.0, 4.0])
    other = replace(ROW, key="b.jpg", finished=1.5)
    manifest.add([first, other])
    manifest.add([second])
    manifest.add([])
    assert manifest.rows() == {"a.jpg": second, "b.jpg": other}
    assert len(manifest.parts()) == 2
    manifest.compact()
    assert len(manifest.parts()) == 1
    assert manifest.rows() == {"a.jpg": second, "b.jpg": other}
    assert manifest.rows(["key", "status"])["a.jpg"].status == "restored"


def test_a_damaged_manifest_is_said(tmp_path):
    manifest = Manifest(Folder(tmp_path))
    manifest.add([ROW])
    (tmp_path / manifest.parts()[0]).write_bytes(b"PAR1 torn")
    with pytest.raises(InputError, match="is damaged; remove it"):
        manifest.rows()
