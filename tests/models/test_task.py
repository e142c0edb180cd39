"""What a model is for, and how that is known: hash, metadata, catalogue, name, user."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest
from safetensors.torch import load_file, save_file

from gpen_core.errors import CheckpointError, InputError
from gpen_core.models import task as tasks
from gpen_core.models.convert import convert, inspect
from gpen_core.models.load import load_model, read_model
from gpen_core.weights.catalogue import list_entries, show
from gpen_core.weights.verify import pin

OFFICIAL = {
    "GPEN-Colorization-1024": "colorize",
    "GPEN-Inpainting-1024": "inpaint",
    "GPEN-Seg2face-512": "paint",
}


def named(small_model_file, folder, name):
    path = folder / name
    path.write_bytes(small_model_file.read_bytes())
    return path


@pytest.mark.parametrize(("name", "task"), OFFICIAL.items())
def test_the_catalogue_knows_the_other_official_models(name, task):
    entry = show(name)
    assert (entry.task, entry.license) == (task, "non-commercial")
    assert entry.urls and entry.sha256 is None


@pytest.mark.parametrize(
    ("name", "task"),
    [(f"{name}.pth", task) for name, task in OFFICIAL.items()]
    + [("my_face_COLORISER.pth", "colorize"), ("segmentation2face.pth", "paint")],
)
def test_a_name_is_a_guess_that_is_said(small_model_file, tmp_path, caplog, name, task):
    path = named(small_model_file, tmp_path, name)
    info = read_model(path).info
    assert (info.task, info.task_source) == (task, "name")
    assert "by its name alone: a guess" in caplog.text
    assert f"task          {task} (a guess from its name)" in str(inspect(path))


@pytest.mark.parametrize("name", ["GPEN-BFR-1024.pth", "old.pth", "painting.pth"])
def test_without_a_hint_a_file_restores(small_model_file, tmp_path, caplog, name):
    info = read_model(named(small_model_file, tmp_path, name)).info
    assert (info.task, info.task_source) == ("restore", "")
    assert "guess" not in caplog.text


def test_converting_writes_the_task_and_the_name_decides_nothing_then(small_model_file, tmp_path):
    plain = tmp_path / "GPEN-Inpainting-plain.safetensors"
    convert(small_model_file, plain, task="colorize")
    info = inspect(plain)
    assert (info.task, info.task_source) == ("colorize", "metadata")


def test_a_guess_is_written_and_said(small_model_file, tmp_path, caplog):
    source = named(small_model_file, tmp_path, "GPEN-Colorization-1024.pth")
    convert(source, tmp_path / "a.safetensors")
    assert inspect(tmp_path / "a.safetensors").task == "colorize"
    assert f"It is written into {tmp_path / 'a.safetensors'}" in caplog.text


def test_nothing_known_is_nothing_written(small_model_file, tmp_path):
    convert(small_model_file, tmp_path / "a.safetensors")
    assert inspect(tmp_path / "a.safetensors").task_source == ""


def test_a_published_hash_is_surer_than_a_name(small_model_file, tmp_path, monkeypatch):
    path = named(small_model_file, tmp_path, "colorizer.pth")
    content = path.read_bytes()
    known = dataclasses.replace(
        list_entries()[0], bytes=len(content), sha256=hashlib.sha256(content).hexdigest()
    )
    monkeypatch.setattr(tasks, "list_entries", lambda: (known,))
    assert (read_model(path).info.task, read_model(path).info.task_source) == ("restore", "hash")


def test_the_catalogues_entry_counts_for_a_file_it_pinned(small_model_file, tmp_path):
    path = named(small_model_file, tmp_path, "GPEN-Inpainting-1024.pth")
    pin(path, hashlib.sha256(path.read_bytes()).hexdigest())
    assert inspect(path).task_source == "catalogue"
    path.write_bytes(path.read_bytes() + b"x")  # another file under its name
    assert tasks.task_of(path, {}) == ("inpaint", "name")


def test_a_task_that_there_is_not_is_refused(small_model_file, tmp_path):
    convert(small_model_file, tmp_path / "a.safetensors")
    state = load_file(tmp_path / "a.safetensors")
    save_file(state, tmp_path / "b.safetensors", {"task": "upscale\n"})
    with pytest.raises(CheckpointError, match="its metadata name the task 'upscale"):
        load_model(tmp_path / "b.safetensors")
    with pytest.raises(InputError, match="task must be one of"):
        convert(small_model_file, tmp_path / "c.safetensors", task="upscale")


def test_a_user_knows_better(small_model_file):
    model = load_model(small_model_file)
    other = model.as_task("inpaint")
    assert (other.task, other.info.task_source, model.task) == ("inpaint", "user", "restore")
    assert other.network is model.network, "weights are not copied"
