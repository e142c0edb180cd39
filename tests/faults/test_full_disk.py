"""A disk that fills up: a short form of `make faults`, and the one writer by itself."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from unittest import mock

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import full_disk as faults

from gpen_core.errors import InputError, MissingWeightsError
from gpen_core.files import append_line, make_folder, remove_torn, replacing


@pytest.fixture(scope="module")
def writers(tmp_path_factory):
    return faults.writers(tmp_path_factory.mktemp("writers"))


KINDS = ["picture .png", "picture .tif", "report", "converted model", "PyTorch model"]
KINDS += [
    "legacy model",
    "training checkpoint",
    "training export",
    "pack of faces",
    "pinned hashes",
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_writer_that_may_not_write_on_says_so_and_leaves_nothing(writers, kind):
    name, write = writers[kind]
    old = b"{}" if name.endswith("json") else faults.OLD
    assert faults.problems(name, write, faults.limited(300), old) == []
    assert faults.problems(name, write, faults.limited(0), None) == []


@pytest.mark.parametrize("call", faults.CALLS)
def test_a_call_of_the_system_that_fails_leaves_the_earlier_file(writers, call):
    name, write = writers["picture .png"]
    place, function = faults.CALLS[call]
    for code in faults.CODES:
        fault = mock.patch.object(place, function, faults._raising(code))
        assert faults.problems(name, write, fault, faults.OLD) == []


def test_bytes_are_on_the_disk_before_the_name(tmp_path):
    done = []
    sync, rename = os.fsync, Path.replace
    with (
        mock.patch.object(os, "fsync", lambda file: (done.append("fsync"), sync(file))),
        mock.patch.object(Path, "replace", lambda *a: (done.append("rename"), rename(*a))),
        replacing(tmp_path / "a") as scratch,
    ):
        scratch.write_bytes(b"1")
    assert done == ["fsync", "rename"]


def test_an_error_of_ours_inside_is_not_taken_for_a_full_disk(tmp_path):
    """MissingWeightsError is a FileNotFoundError too."""
    with pytest.raises(MissingWeightsError, match="no such"), replacing(tmp_path / "a"):
        raise MissingWeightsError("no such file")
    with pytest.raises(KeyError), replacing(tmp_path / "a"):
        raise KeyError("a mistake of ours")
    assert list(tmp_path.iterdir()) == []


def test_a_line_is_added_whole_or_not_at_all(tmp_path):
    path = tmp_path / "log.jsonl"
    append_line(path, "one")
    with faults.limited(10), pytest.raises(InputError, match="could not be written"):
        append_line(path, "two" * 100)
    assert path.read_text() == "one\n"
    append_line(path, "three")
    assert path.read_text() == "one\nthree\n"


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file" / "sub", tmp_path / ("x" * 300), tmp_path / "a\0b"):
        with pytest.raises(InputError, match="cannot be made"):
            make_folder(folder)


def test_what_a_killed_run_left_is_removed(tmp_path):
    with replacing(tmp_path / "a"):
        (torn,) = tmp_path.iterdir()
        kept = torn.with_name("kept" + torn.name[5:])
        torn.with_name(torn.name.replace(".part", "x.part")).write_bytes(b"torn")
        kept.write_bytes(b"somebody's")
        torn.write_bytes(b"whole")
    remove_torn(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["a", kept.name])
