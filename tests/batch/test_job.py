"""Folders of pictures: nothing replaced, nothing forgotten, one bad file alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gpen_core.batch.inputs import find_inputs
from gpen_core.batch.job import Job
from gpen_core.batch.targets import Naming
from gpen_core.cli.app import run as gpen
from gpen_core.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


def save(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def said(capsys) -> str:
    captured = capsys.readouterr()
    return " ".join((captured.out + captured.err).split())


@pytest.fixture
def tree(tmp_path, no_face) -> Path:
    """Pictures at two levels, a result of an earlier run, a text."""
    folder = tmp_path / "scans"
    for name in ("a.png", "b.png", "album/c.png", "a_restored.png", "album/.hidden.png"):
        save(folder / name, no_face)
    (folder / "notes.txt").write_text("1927")
    return folder


@pytest.fixture
def restore(small_model_file):
    def run(*arguments: object) -> int:
        return gpen(["restore", "-m", str(small_model_file), *map(str, arguments)])

    return run


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_a_tree_is_mirrored_and_what_is_passed_over_is_said(tree, tmp_path, restore, capsys):
    out = tmp_path / "out"
    assert restore(tree, "-o", out, "--recursive") == 0
    assert files(out) == ["a.png", "album/c.png", "b.png"]
    text = said(capsys)
    assert "notes.txt (neither a picture nor a film)" in text
    assert "a_restored.png (result of an earlier run)" in text
    assert "hidden" in text


def test_a_second_run_goes_on_where_the_first_stopped(tree, tmp_path, restore, capsys):
    out, report = tmp_path / "out", tmp_path / "r.json"
    save(out / "a.png", np.zeros((4, 4, 3), np.uint8))
    before = (out / "a.png").read_bytes()
    assert restore(tree, "-o", out, "--skip_existing", "--report", report) == 0
    statuses = [entry["status"] for entry in json.loads(report.read_text())]
    assert statuses == ["skipped", "unchanged"]
    assert (out / "a.png").read_bytes() == before
    assert "skipped, the result exists" in said(capsys)
    assert restore(tree, "--skip_existing", "--overwrite") == 2


def test_a_rehearsal_writes_nothing(tree, tmp_path, restore, capsys):
    assert restore(tree, "-o", tmp_path / "out", "-r", "--dry_run") == 0
    assert "c.png: would be restored" in said(capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.png", "-o", "a.png", "--overwrite"], "would replace the input"),
        (["a.png", "-o", "x.png", "--report", "a.png", "--overwrite"], "the report would replace"),
        (["a.png", "-o", "x.png", "--report", "x.png"], "the report would replace"),
        (["a.png", "-o", "b_compare.png", "b.png"], "give a folder"),
        (["a.png", "up/A.png", "-o", "out"], "would replace the result of"),
        (["a.png", "-o", ""], "--output is empty"),
        ([""], "An input is empty"),
        (["~nobody-here/a.png"], "no such user"),
        (["a.png", "--suffix", "x/y"], "--suffix"),
        (["a.png", "--format", "exe"], "--format"),
        (["a.png", "b.png", "-o", "out", "--background", "a.png"], "but there are 2 pictures"),
        (
            ["a.png", "--background", "b.png", "--upscale", "2"],
            "--background and --upscale cannot be combined",
        ),
        (["a.png", "--exclude", "eyes"], "add --mask parsing"),
        (["a.png", "-o", "out", "--user_mask", "up"], "no picture named a"),
        (["x" * 5000], "not a valid path|no file, folder"),
    ],
)
def test_what_would_go_wrong_is_refused_before_the_work(
    tmp_path, no_face, restore, capsys, monkeypatch, arguments, message
):
    import re

    for name in ("a.png", "b.png", "up/A.png"):
        save(tmp_path / name, no_face)
    monkeypatch.chdir(tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    assert restore(*arguments) == 2
    text = said(capsys)
    assert re.search(message, text), text
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == before


def test_masks_of_a_folder_belong_to_their_pictures(tmp_path, portrait, restore):
    for name, level in (("one", 0), ("two", 255)):
        save(tmp_path / "in" / f"{name}.png", portrait)
        save(tmp_path / "masks" / f"{name}.png", np.full((20, 20), level, np.uint8))
    out = tmp_path / "out"
    assert restore(tmp_path / "in", "-o", out, "--user_mask", tmp_path / "masks") == 0
    assert np.array_equal(np.asarray(Image.open(out / "one.png")), portrait)
    assert not np.array_equal(np.asarray(Image.open(out / "two.png")), portrait)


@pytest.mark.parametrize("kind", ["green", "alpha"])
def test_a_mask_is_read_as_a_person_means_it(tmp_path, kind):
    from gpen_core.batch.companions import read_mask

    inside = np.zeros((8, 8), bool)
    inside[:, 4:] = True
    if kind == "green":
        pixels = np.zeros((8, 8, 3), np.uint8)
        pixels[inside] = (0, 255, 0)
    else:
        pixels = np.zeros((8, 8, 4), np.uint8)
        pixels[inside, 3] = 255
    mask = read_mask(save(tmp_path / "mask.png", pixels))[0, 0].numpy()
    assert mask[:, 5:].min() > 0.5 and mask[:, :3].max() == 0


def test_an_unexpected_fault_belongs_to_its_picture(tree, tmp_path, restore, capsys, monkeypatch):
    from gpen_core.batch import files as many

    real = many.read_picture

    def faulty(path, *rest):
        if path.name == "a.png":
            raise ZeroDivisionError("of ours")
        return real(path, *rest)

    monkeypatch.setattr(many, "read_picture", faulty)
    assert restore(tree, "-o", tmp_path / "out") == 1
    assert files(tmp_path / "out") == ["b.png"]
    assert "unexpected ZeroDivisionError" in said(capsys)


def test_format_and_suffix_name_the_results(tree, restore):
    assert restore(tree / "a.png", "--format", "jpg", "--suffix", "new") == 0
    with Image.open(tree / "a_new.jpg") as written:
        assert written.format == "JPEG"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_leaves_its_report_and_no_scratch(
    tmp_path, portrait, small_model_file, number
):
    for index in range(40):
        save(tmp_path / "in" / f"{index:02}.png", portrait)
    report, out = tmp_path / "r.json", tmp_path / "out"
    command = [sys.executable, "-m", "gpen_core", "restore", str(tmp_path / "in"), "-o", str(out)]
    command += ["-m", str(small_model_file), "--report", str(report)]
    # A shell has its background jobs ignore Ctrl-C, and they hand that on; a terminal does not.
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 240
    while not list(out.glob("*.png")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode not in (0, None)
    assert b"Traceback" not in errors
    entries = json.loads(report.read_text())
    assert 0 < len(entries) < 40
    assert len(list(out.iterdir())) in (len(entries), len(entries) + 1)
    assert not [path for path in out.iterdir() if path.suffix == ".part"]


def test_a_link_and_its_file_are_one_input_by_name(tmp_path, no_face):
    real = save(tmp_path / "a.png", no_face)
    found = find_inputs([str(real), str(real)])
    assert len(found.sources) == 1
    with pytest.raises(InputError, match="No input; give files"):
        Job.plan([], Naming())


def test_results_of_formats_that_are_only_read_become_png(tmp_path):
    from gpen_core.batch.inputs import Source
    from gpen_core.batch.targets import Naming, plan_outputs

    sources = [Source(tmp_path / name, tmp_path) for name in ("a.heic", "b.GIF", "c.JPG")]
    targets = plan_outputs(sources, Naming(), many=True)
    assert [path.name for path in targets] == ["a_restored.png", "b_restored.png", "c_restored.JPG"]
    [asked] = plan_outputs(sources[:1], Naming(output=tmp_path / "x.gif"), many=False)
    assert asked.name == "x.gif"  # refused by `check_writable`, not renamed behind anyone's back


def test_a_size_the_format_cannot_hold_fails_that_file_before_the_work(tmp_path, restore, capsys):
    """60 x 4200 px enlarged four times is wider than WebP allows; the folder goes on."""
    folder = tmp_path / "in"
    folder.mkdir()
    Image.new("RGB", (4200, 60)).save(folder / "wide.webp")
    Image.new("RGB", (60, 60)).save(folder / "zz.webp")
    assert restore(folder, "-o", tmp_path / "out", "--upscale", "4") == 1
    assert files(tmp_path / "out") == ["zz.webp"]
    assert "at most 16383 px" in said(capsys)


def test_quality_reaches_the_file(tmp_path, portrait, restore):
    photo = save(tmp_path / "p.png", portrait)
    sizes = []
    for quality in ("30", "95"):
        out = tmp_path / f"{quality}.jpg"
        assert restore(photo, "-o", out, "--quality", quality) == 0
        sizes.append(out.stat().st_size)
    assert sizes[0] < 0.4 * sizes[1]
    assert restore(photo, "-o", tmp_path / "x.jpg", "--quality", "101") == 2


def test_a_name_with_a_line_in_it_forges_no_line(tmp_path, no_face, restore, capsys):
    photo = save(tmp_path / "a\nFailed: b.png", no_face)
    assert restore(photo, "-o", tmp_path / "out.png") == 0
    captured = capsys.readouterr()
    assert "\nFailed: b.png" not in captured.out + captured.err
    assert (tmp_path / "out.png").exists()


# --- the crops of the faces -----------------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "flags"), [(".png", []), (".webp", ["--format", "webp"])])
def test_crops_are_saved_before_and_after_and_named_in_the_report(
    tmp_path, portrait, restore, suffix, flags
):
    folder = tmp_path / "in"
    save(folder / "one.png", portrait)
    save(folder / "deeper" / "two.png", np.concatenate([portrait, portrait], axis=1))
    crops, report = tmp_path / "crops", tmp_path / "report.json"
    places = ["-r", "-o", tmp_path / "out", "--save_crops", crops, "--report", report]
    assert restore(folder, *places, *flags) == 0
    assert files(crops) == sorted(
        f"{name}_{which}{suffix}"
        for name in ("one_face0", "deeper/two_face0", "deeper/two_face1")
        for which in ("before", "after")
    )
    entries = {Path(entry["input"]).stem: entry for entry in json.loads(report.read_text())}
    assert [one["face"] for one in entries["two"]["crops"]] == [0, 1]
    for entry in entries.values():
        for one in entry["crops"]:
            before, after = (np.asarray(Image.open(one[key])) for key in ("before", "after"))
            assert before.shape == after.shape == (64, 64, 3)
            assert not np.array_equal(before, after)
            assert before.std() > 10


def test_a_crop_is_the_aligned_face_and_has_its_number(tmp_path, portrait, restore):
    """Whatever order the faces are kept in, and if others are left out."""
    picture = save(tmp_path / "p.png", np.concatenate([portrait, portrait[:, ::-1]], axis=1))
    crops, only = tmp_path / "crops", tmp_path / "only"
    sorting = ["--sort", "left-right", "--keep"]
    assert restore(picture, "-o", tmp_path / "a.png", "--save_crops", crops, *sorting, "1,0") == 0
    left, right = (
        np.asarray(Image.open(crops / f"p_face{i}_before.png")).astype(float) for i in (0, 1)
    )
    assert np.abs(left - right[:, ::-1]).mean() < 0.5 * np.abs(left - right).mean()
    assert restore(picture, "-o", tmp_path / "b.png", "--save_crops", only, *sorting, "1") == 0
    assert files(only) == ["p_face1_after.png", "p_face1_before.png"]
    assert np.array_equal(np.asarray(Image.open(only / "p_face1_before.png")), right)


def test_quality_reaches_the_crops_and_gray_stays_gray(tmp_path, portrait, restore):
    gray = save(tmp_path / "g.png", portrait.mean(-1).astype(np.uint8))
    sizes = []
    for quality in (30, 95):
        folder = tmp_path / str(quality)
        flags = ["--save_crops", folder, "--quality", quality]
        assert restore(gray, "-o", tmp_path / f"{quality}.jpg", *flags) == 0
        crop = folder / "g_face0_after.jpg"
        assert Image.open(crop).mode == "L"
        sizes.append(crop.stat().st_size)
    assert sizes[0] < 0.7 * sizes[1]


def test_crops_replace_nothing_unasked(tmp_path, portrait, restore, capsys):
    picture, crops = save(tmp_path / "p.png", portrait), tmp_path / "crops"
    crops.mkdir()
    (crops / "p_face0_after.png").write_bytes(b"mine")
    arguments = [picture, "-o", tmp_path / "out.png", "--save_crops", crops]
    assert restore(*arguments) == 2
    assert "p_face0_after.png" in said(capsys) and not (tmp_path / "out.png").exists()
    assert (crops / "p_face0_after.png").read_bytes() == b"mine"
    assert files(crops) == ["p_face0_after.png"]
    assert restore(*arguments, "--overwrite") == 0
    assert Image.open(crops / "p_face0_after.png").size == (64, 64)
    # What an earlier run has left in a folder is no input.
    assert restore(crops, "-o", tmp_path / "again") == 2
    assert "no pictures" in said(capsys)


def test_a_place_for_crops_that_cannot_be_one(tmp_path, portrait, restore, capsys):
    picture = save(tmp_path / "p.png", portrait)
    assert restore(picture, "--save_crops", picture) == 2
    assert "is a file; give a folder" in said(capsys)
    assert restore(picture, "--aligned", "--save_crops", tmp_path / "c") == 2
    assert "cannot be combined" in said(capsys)
