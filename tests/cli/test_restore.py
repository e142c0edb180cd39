"""The command line as a user meets it: what works, and what every mistake says."""

from __future__ import annotations

import json
import stat

import numpy as np
import pytest
import torch
from PIL import Image

from gpen_core.cli.app import run as gpen
from gpen_core.cli.app import run_gpen

SIZE = 64


def save(path, array) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return str(path)


def said(capsys) -> str:
    """Everything printed, on one line."""
    captured = capsys.readouterr()
    return " ".join((captured.out + captured.err).split())


def test_the_command_of_the_documents_works(tmp_path, portrait, small_model_file, capsys):
    photo = save(tmp_path / "photo.jpg", portrait)
    out = tmp_path / "out.png"
    arguments = ["--input", photo, "--output", str(out), "--model_path", str(small_model_file)]
    assert run_gpen([*arguments, "--size", str(SIZE), "--face_align"]) == 0
    restored, original = np.asarray(Image.open(out)), np.asarray(Image.open(photo))
    changed = (restored != original).any(-1)
    assert restored.shape == original.shape
    assert changed.any()
    assert not changed[:, :100].any(), "pixels far from the face must not change"
    assert "1 of 1 faces restored" in said(capsys)


def test_report_and_compare(tmp_path, portrait, small_model_file):
    photo = save(tmp_path / "photo.png", portrait)
    arguments = ["restore", photo, "-o", str(tmp_path / "out.png"), "-m", str(small_model_file)]
    assert gpen([*arguments, "--compare", "--report", str(tmp_path / "report.json")]) == 0
    assert Image.open(tmp_path / "out_compare.png").size == (1024, 512)
    [entry] = json.loads((tmp_path / "report.json").read_text())
    assert entry["size"] == [512, 512]
    assert {"detect", "align", "restore", "mask", "paste"} <= entry["seconds"].keys()
    [face] = entry["faces"]
    x0, y0, x1, y1 = face["box"]
    assert 150 < x0 < x1 < 320
    assert 50 < y0 < y1 < 220
    assert face["restored"]
    assert np.shape(face["landmarks"]) == (5, 2)


def test_a_folder_goes_on_after_a_bad_file(tmp_path, portrait, no_face, small_model_file, capsys):
    save(tmp_path / "in" / "a.png", portrait)
    (tmp_path / "in" / "b.png").write_bytes(b"")
    save(tmp_path / "in" / "c.png", no_face)
    report = tmp_path / "report.json"
    folders = [str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    code = gpen(["restore", *folders, "-m", str(small_model_file), "--report", str(report)])
    assert code == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "c.png"]
    statuses = [entry["status"] for entry in json.loads(report.read_text())]
    assert statuses == ["restored", "failed", "unchanged"]
    assert "empty (0 bytes)" in said(capsys)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / "c.png")), no_face)


def test_globs_and_folders_of_any_name(tmp_path, portrait, small_model_file):
    folder = tmp_path / "mit Leerzeichen und Ümläuten 照片"
    save(folder / "ein Bild.png", portrait)
    code = gpen(["restore", str(folder / "*.png"), "-m", str(small_model_file)])
    assert code == 0
    assert (folder / "ein Bild_restored.png").exists()


def test_gray_stays_gray_and_alpha_stays(tmp_path, portrait, small_model_file):
    gray = portrait.mean(-1).astype(np.uint8)
    photo = save(tmp_path / "gray.png", gray)
    assert gpen(["restore", photo, "-m", str(small_model_file)]) == 0
    assert Image.open(tmp_path / "gray_restored.png").mode == "L"
    alpha = np.arange(512 * 512, dtype=np.uint32).reshape(512, 512, 1).astype(np.uint8)
    photo = save(tmp_path / "clear.png", np.concatenate([portrait, alpha], -1))
    assert gpen(["restore", photo, "-m", str(small_model_file)]) == 0
    restored = np.asarray(Image.open(tmp_path / "clear_restored.png"))
    assert np.array_equal(restored[..., 3:], alpha)


def test_upscaling_makes_a_larger_picture(tmp_path, portrait, small_model_file):
    photo = save(tmp_path / "p.png", portrait)
    assert gpen(["restore", photo, "-m", str(small_model_file), "--upscale", "2"]) == 0
    assert Image.open(tmp_path / "p_restored.png").size == (1024, 1024)


def test_an_empty_selection_changes_nothing(tmp_path, portrait, small_model_file, capsys):
    photo = save(tmp_path / "p.png", portrait)
    assert gpen(["restore", photo, "-m", str(small_model_file), "--keep", ""]) == 0
    assert np.array_equal(np.asarray(Image.open(tmp_path / "p_restored.png")), portrait)
    assert "unchanged" in said(capsys)


def test_faces_draws_what_was_found(tmp_path, portrait, capsys):
    photo = save(tmp_path / "p.png", portrait)
    assert gpen(["faces", photo]) == 0
    assert "1 face: " in said(capsys)
    assert not np.array_equal(np.asarray(Image.open(tmp_path / "p_faces.png")), portrait)


def test_ready_crops(tmp_path, shared, small_model_file):
    crop = Image.open(sorted((shared / "faces" / "cjdowner").glob("*.jpg"))[0])
    crop.crop((32, 32, 288, 288)).save(tmp_path / "crop.png")
    arguments = ["restore", str(tmp_path / "crop.png"), "--aligned", "-m", str(small_model_file)]
    assert gpen(arguments) == 0
    assert Image.open(tmp_path / "crop_restored.png").size == (SIZE, SIZE)


def test_inspect_and_convert(tmp_path, small_model_file, capsys):
    assert gpen(["inspect", str(small_model_file)]) == 0
    assert "64" in said(capsys)
    target = tmp_path / "small.safetensors"
    assert gpen(["convert", str(small_model_file), str(target)]) == 0
    assert target.exists()
    assert gpen(["convert", str(small_model_file), str(target)]) == 2
    assert "exists" in said(capsys)


@pytest.fixture
def photo(tmp_path, portrait) -> str:
    return save(tmp_path / "photo.png", portrait)


WRONG = {
    "no input": (["restore"], "No input; give files"),
    "missing file": (["restore", "absent.png"], "nothing of this name was found"),
    "no match": (["restore", "nothing-*.png"], "nothing of this name was found"),
    "size of another model": (["restore", "PHOTO", "--size", "2048"], "makes 64-px faces"),
    "strength above 1": (["restore", "PHOTO", "--strength", "1.5"], "strength"),
    "strength NaN": (["restore", "PHOTO", "--strength", "nan"], "strength"),
    "batch of none": (
        ["restore", "PHOTO", "--batch_size", "0"],
        "--batch_size must be from 1 to 64, not 0",
    ),
    "confidence": (["restore", "PHOTO", "--confidence", "2"], "--confidence must be from 0.1 to 1"),
    "upscale 3": (["restore", "PHOTO", "--upscale", "3"], "--upscale must be one of 1, 2, 4"),
    "unknown device": (["restore", "PHOTO", "--device", "quantum"], "quantum"),
    "absent device": (["restore", "PHOTO", "--device", "cuda:9"], "cuda"),
    "unknown mask": (["restore", "PHOTO", "--mask", "star"], "star"),
    "unknown sort": (["restore", "PHOTO", "--sort", "age"], "age"),
    "nonsense selection": (
        ["restore", "PHOTO", "--keep", "first;second"],
        "--keep must be 'all'.*not 'first;second'",
    ),
    "unknown option": (["restore", "PHOTO", "--sharpen"], "sharpen"),
    "not a number": (["restore", "PHOTO", "--size", "big"], "integer"),
    "sharp crops": (["restore", "PHOTO", "--skip_sharp", "--aligned"], "cannot be combined"),
    "both modes": (["restore", "PHOTO", "--face_align", "--aligned"], "cannot be combined"),
    "output format": (["restore", "PHOTO", "-o", "out.gif"], "unknown picture format"),
    "missing model": (["restore", "PHOTO", "-m", "absent.pth"], "absent.pth"),
    "picture as model": (["restore", "PHOTO", "-m", "PHOTO"], "photo.png"),
    "report exists": (
        ["restore", "PHOTO", "--report", "PHOTO"],
        "would replace the input",
    ),
    "missing mask": (["restore", "PHOTO", "--user_mask", "absent.png"], "absent.png"),
    "negative feather": (["restore", "PHOTO", "--feather", "-3"], "--feather must be"),
    "size order": (["restore", "PHOTO", "--min_size", "90", "--max_size", "10"], "size"),
    "missing detector": (["restore", "PHOTO", "--detector", "retinaface-resnet50"], "Resnet50"),
    "missing parser": (["restore", "PHOTO", "--mask", "parsing"], "parsing_parsenet.pth"),
    "inspect nothing": (["inspect", "absent.pth"], "absent.pth"),
    "unknown command": (["improve"], "improve"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_every_mistake_is_answered(mistake, photo, small_model_file, capsys, tmp_path, monkeypatch):
    import re

    monkeypatch.chdir(tmp_path)
    arguments, message = WRONG[mistake]
    arguments = [photo if argument == "PHOTO" else argument for argument in arguments]
    if arguments[0] == "restore" and "-m" not in arguments:
        arguments += ["-m", str(small_model_file)]
    if "retinaface" in " ".join(arguments) or "parsing" in arguments:
        pytest.importorskip("facexlib", exc_type=(ImportError, RuntimeError))
    before = sorted(tmp_path.iterdir())
    assert gpen(arguments) == 2
    text = said(capsys)
    assert re.search(message, text), text
    assert "Traceback" not in text
    assert sorted(tmp_path.iterdir()) == before, "nothing may be written"


def test_existing_results_are_kept(tmp_path, photo, small_model_file, capsys):
    target = tmp_path / "out.png"
    target.write_bytes(b"precious")
    assert gpen(["restore", photo, "-o", str(target), "-m", str(small_model_file)]) == 2
    assert "exists already" in said(capsys)
    assert target.read_bytes() == b"precious"


def test_several_pictures_need_a_folder(tmp_path, photo, portrait, small_model_file, capsys):
    other = save(tmp_path / "other.png", portrait)
    assert gpen(["restore", photo, other, "-o", "one.png", "-m", str(small_model_file)]) == 2
    assert "give a folder" in said(capsys)


def test_two_results_never_share_a_name(tmp_path, portrait, small_model_file, capsys):
    first, second = (
        save(tmp_path / "a" / "p.png", portrait),
        save(tmp_path / "b" / "p.png", portrait),
    )
    out = str(tmp_path / "out")
    assert gpen(["restore", first, second, "-o", out, "-m", str(small_model_file)]) == 2
    assert "would replace the result of" in said(capsys)


def test_a_photograph_is_not_taken_for_a_crop(photo, small_model_file, capsys):
    assert run_gpen(["--input", photo, "--model_path", str(small_model_file)]) == 2
    text = said(capsys)
    assert "not centered" in text
    assert "--face_align" in text


def test_a_group_is_not_taken_for_a_crop(tmp_path, shared, small_model_file, capsys):
    group = Image.open(shared / "photos" / "18f_Estonia2.jpg").convert("RGB")
    path = save(tmp_path / "group.png", np.asarray(group)[:, 100:700])
    assert run_gpen(["--input", path, "--model_path", str(small_model_file)]) == 2
    assert "faces, not one" in said(capsys)


def test_no_face_is_not_taken_for_a_crop(tmp_path, no_face, small_model_file, capsys):
    path = save(tmp_path / "none.png", no_face[:120, :120])
    assert run_gpen(["--input", path, "--model_path", str(small_model_file)]) == 2
    assert "No face was found" in said(capsys)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 500), (16, 16), (40, 20000)])
def test_pictures_of_odd_sizes_come_back_unchanged(tmp_path, small_model_file, height, width):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    path = save(tmp_path / "odd.png", pixels)
    assert gpen(["restore", path, "-m", str(small_model_file)]) == 0
    assert np.array_equal(np.asarray(Image.open(tmp_path / "odd_restored.png")), pixels)


def test_a_face_at_the_border(tmp_path, portrait, small_model_file):
    cut = portrait[70:, 190:]  # through the hair and an ear
    path = save(tmp_path / "cut.png", cut)
    assert gpen(["restore", path, "-m", str(small_model_file), "--confidence", "0.7"]) == 0
    restored = np.asarray(Image.open(tmp_path / "cut_restored.png"))
    assert restored.shape == cut.shape


def test_a_folder_that_cannot_be_written(tmp_path, photo, small_model_file, capsys):
    import os

    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    if os.access(folder, os.W_OK):
        pytest.skip("this user may write everywhere (root)")
    out = str(folder / "out.png")
    assert gpen(["restore", photo, "-o", out, "-m", str(small_model_file)]) == 2
    assert "cannot be written" in said(capsys)


def test_a_mask_of_another_size_is_resized(tmp_path, photo, portrait, small_model_file):
    half = np.zeros((10, 10), np.uint8)
    half[:, 5:] = 255
    mask = save(tmp_path / "mask.png", half)
    assert gpen(["restore", photo, "--user_mask", mask, "-m", str(small_model_file)]) == 0
    restored = np.asarray(Image.open(tmp_path / "photo_restored.png"))
    changed = (restored != portrait).any(-1)
    assert not changed[:, :220].any() and changed[:, 262:].any()


def test_a_black_mask_keeps_the_picture(tmp_path, photo, portrait, small_model_file):
    mask = save(tmp_path / "mask.png", np.zeros((512, 512), np.uint8))
    assert gpen(["restore", photo, "--user_mask", mask, "-m", str(small_model_file)]) == 0
    assert np.array_equal(np.asarray(Image.open(tmp_path / "photo_restored.png")), portrait)


def test_damaged_weights_do_not_paint_the_picture(tmp_path, photo, small_state, capsys):
    damaged = {name: value.clone() for name, value in small_state.items()}
    damaged["final_linear.0.weight"][0, 0] = float("nan")
    torch.save(damaged, tmp_path / "nan.pth")
    assert gpen(["restore", photo, "-m", str(tmp_path / "nan.pth")]) == 2
    assert "final_linear.0.weight" in said(capsys)


# --- every flag does something ---------------------------------------------------------------


@pytest.mark.parametrize(
    "flags",
    [
        ["--color_match", "1"],
        ["--mask", "hull"],
        ["--mask", "rectangle"],
        ["--template", "ffhq"],
        ["--feather", "100"],
        ["--border", "100"],
        ["--strength", "0.5"],
        ["--keep", "none"],
        ["--max_size", "40"],
        ["--skip_sharp"],
        ["--grain", "1"],
        ["--small_face_filter"],
    ],
)
def test_a_flag_changes_the_picture(tmp_path, portrait, small_model_file, flags):
    small = np.asarray(Image.fromarray(portrait).resize((320, 320)))
    photo = save(tmp_path / "p.png", small)
    arguments = ["restore", photo, "-m", str(small_model_file), "--report"]
    plain, changed = str(tmp_path / "plain.png"), str(tmp_path / "changed.png")
    assert gpen([*arguments, str(tmp_path / "1.json"), "-o", plain]) == 0
    assert gpen([*arguments, str(tmp_path / "2.json"), "-o", changed, *flags]) == 0
    assert not np.array_equal(np.asarray(Image.open(plain)), np.asarray(Image.open(changed)))


def test_rotations_finds_a_face_that_lies_down(tmp_path, portrait, small_model_file, capsys):
    photo = save(tmp_path / "p.png", np.ascontiguousarray(np.rot90(portrait)))
    arguments = ["restore", photo, "-m", str(small_model_file), "--overwrite"]
    assert gpen(arguments) == 0
    assert "no face restored" in said(capsys)
    assert gpen([*arguments, "--rotations"]) == 0
    assert "1 of 1 faces restored" in said(capsys)


def test_the_seed_reaches_a_super_resolution_model(tmp_path, portrait):
    from gpen_core.networks import GPEN, GPENConfig

    torch.manual_seed(0)
    network = GPEN(GPENConfig.create(128, narrow=0.0625, in_size=64))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("noise.weight"):
                parameter.fill_(0.3)
    torch.save({"g_ema": network.state_dict()}, tmp_path / "sr.pth")
    photo = save(tmp_path / "p.png", portrait)
    results = []
    for seed in ("0", "0", "1"):
        out = str(tmp_path / f"{len(results)}.png")
        model = ["-m", str(tmp_path / "sr.pth")]
        assert gpen(["restore", photo, *model, "-o", out, "--seed", seed]) == 0
        results.append(np.asarray(Image.open(out)))
    assert np.array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])


def test_the_report_says_why_a_face_was_left_alone(tmp_path, photo, small_model_file):
    report = tmp_path / "r.json"
    arguments = ["restore", photo, "-m", str(small_model_file), "--report", str(report)]
    assert gpen([*arguments, "--max_size", "40"]) == 0
    [entry] = json.loads(report.read_text())
    assert [face["reason"] for face in entry["faces"]] == ["too large"]
    assert gpen([*arguments, "--keep", "none", "--overwrite"]) == 0
    [entry] = json.loads(report.read_text())
    assert [(face["index"], face["reason"]) for face in entry["faces"]] == [(0, "not selected")]
    assert gpen([*arguments, "--skip_sharp", "--overwrite"]) == 0
    [entry] = json.loads(report.read_text())
    assert [face["reason"] for face in entry["faces"]] == ["already sharper than the model"]
    assert entry["status"] == "unchanged" and entry["faces"][0]["scale"] > 2


@pytest.mark.parametrize("arguments", [["--version"], ["-h"], ["restore", "-h"], ["models", "-h"]])
def test_version_and_help_answer(arguments, capsys):
    assert gpen(arguments) == 0
    assert said(capsys)
