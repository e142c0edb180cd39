"""`gpen colorize`, `inpaint` and `paint` as a user meets them, and models that are for another."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from gpen_core.cli.app import run as gpen
from gpen_core.models.convert import convert
from gpen_core.tasks.paint import PALETTE

LUMA = np.array([0.299, 0.587, 0.114])


def said(capsys) -> str:
    """Everything printed, on one line."""
    captured = capsys.readouterr()
    return " ".join((captured.out + captured.err).split())


def read(path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(float)


@pytest.fixture(scope="module")
def models(small_model_file, tmp_path_factory):
    """The same weights as a model of each task."""
    folder = tmp_path_factory.mktemp("tasks")
    for task in ("restore", "colorize", "inpaint", "paint"):
        convert(small_model_file, folder / f"{task}.safetensors", task=task)
    return {path.stem: str(path) for path in folder.iterdir()}


@pytest.fixture
def gray_photo(tmp_path, portrait) -> str:
    path = tmp_path / "gray.png"
    Image.fromarray(portrait).convert("L").save(path)
    return str(path)


@pytest.fixture
def photo(tmp_path, portrait) -> str:
    path = tmp_path / "photo.png"
    Image.fromarray(portrait).save(path)
    return str(path)


def test_a_gray_photograph_gets_a_colored_face_and_keeps_its_light(
    tmp_path, gray_photo, models, capsys
):
    out = tmp_path / "out.png"
    assert gpen(["colorize", gray_photo, "-o", str(out), "-m", models["colorize"]]) == 0
    assert "1 of 1 faces colored" in said(capsys)
    colored, gray = read(out), read(gray_photo)
    assert colored.shape == (*gray.shape, 3)
    assert np.abs(colored @ LUMA - gray).max() <= 1, "brightness is the picture's own"
    chroma = np.ptp(colored, axis=-1)
    assert chroma[120:160, 220:260].mean() > 5, "the face is colored"
    assert not chroma[:, :60].any(), "far from the face it is gray"


def test_the_embedded_model_colors_skin_like_skin(tmp_path, gray_photo, portrait):
    out = tmp_path / "out.png"
    assert gpen(["colorize", gray_photo, "-o", str(out)]) == 0
    red, green, blue = read(out)[120:160, 220:260].mean((0, 1))
    assert red > green > blue and red - blue > 15
    left, made = read(gray_photo)[..., None] - portrait, read(out) - portrait
    face = (slice(100, 180), slice(200, 280))
    assert np.square(made[face]).mean() < 0.8 * np.square(left[face]).mean()


def test_colors_of_a_background_lie_around_the_face(tmp_path, gray_photo, photo, models):
    out = tmp_path / "out.png"
    arguments = ["colorize", gray_photo, "--background", photo, "-m", models["colorize"]]
    assert gpen([*arguments, "-o", str(out)]) == 0
    assert np.array_equal(read(out)[:, :60], read(photo)[:, :60])
    assert np.abs((read(out) - read(photo)) @ LUMA).max() <= 1.5
    # No seam: the change of color grows slowly from its edge inward.
    change = (read(out) - read(photo))[140]
    assert np.abs(np.diff(change, axis=0)).max() < 40


def test_a_ready_crop_is_colored_at_its_own_size(tmp_path, gray_photo, models):
    out = tmp_path / "out.png"
    arguments = ["colorize", gray_photo, "-o", str(out), "-m", models["colorize"]]
    assert gpen([*arguments, "--aligned", "--no_check"]) == 0
    assert np.abs(read(out) @ LUMA - read(gray_photo)).max() <= 1


def test_a_photograph_is_not_taken_for_a_crop(tmp_path, models, no_face, capsys):
    photo = tmp_path / "landscape.png"
    Image.fromarray(no_face[:400]).save(photo)
    arguments = ["colorize", str(photo), "-o", str(tmp_path / "o.png"), "-m", models["colorize"]]
    assert gpen([*arguments, "--aligned"]) == 2
    assert "leave out --aligned to find and align the faces" in said(capsys)


def hole_at(path, *box: int) -> str:
    mask = np.zeros((512, 512), np.uint8)
    left, top, right, bottom = box
    mask[top:bottom, left:right] = 255
    Image.fromarray(mask).save(path)
    return str(path)


def test_only_the_hole_is_drawn_anew(tmp_path, photo, models, capsys):
    out, hole = tmp_path / "out.png", hole_at(tmp_path / "hole.png", 220, 120, 250, 150)
    arguments = ["inpaint", photo, "--hole", hole, "-o", str(out), "-m", models["inpaint"]]
    assert gpen(arguments) == 0
    assert "1 of 1 faces filled" in said(capsys)
    inside = read(hole) > 0
    changed = (read(out) != read(photo)).any(-1)
    assert not changed[~inside].any(), "known pixels stay"
    assert changed[inside].mean() > 0.9


def test_what_lies_in_a_hole_does_not_show_through(tmp_path, portrait, models):
    hole = hole_at(tmp_path / "hole.png", 220, 120, 250, 150)
    results = []
    for name, value in (("white", 255), ("red", (255, 0, 0))):
        scratched = portrait.copy()
        scratched[120:150, 220:250] = value
        Image.fromarray(scratched).save(tmp_path / f"{name}.png")
        out = tmp_path / f"{name}-out.png"
        arguments = ["inpaint", str(tmp_path / f"{name}.png"), "--hole", hole, "-o", str(out)]
        assert gpen([*arguments, "-m", models["inpaint"]]) == 0
        results.append(read(out))
    assert np.abs(results[0] - results[1])[124:146, 224:246].max() <= 12


def test_a_mask_that_touches_no_face_is_said(tmp_path, photo, models, capsys):
    out, hole = tmp_path / "out.png", hole_at(tmp_path / "hole.png", 0, 400, 40, 440)
    arguments = ["inpaint", photo, "--hole", hole, "-o", str(out), "-m", models["inpaint"]]
    report = tmp_path / "report.json"
    assert gpen([*arguments, "--report", str(report)]) == 0
    assert "the mask touches no face" in said(capsys)
    assert np.array_equal(read(out), read(photo))
    [entry] = json.loads(report.read_text())
    assert entry["status"] == "unchanged"
    assert [face["reason"] for face in entry["faces"]] == ["not touched by the mask"]
    assert "The mask touches no face; nothing is drawn." in entry["events"]


def test_what_no_face_reaches_is_said(tmp_path, photo, models, capsys):
    out, hole = tmp_path / "out.png", hole_at(tmp_path / "hole.png", 220, 120, 250, 512)
    arguments = ["inpaint", photo, "--hole", hole, "-o", str(out), "-m", models["inpaint"]]
    assert gpen(arguments) == 0
    assert "% of the mask lies where no face reaches" in said(capsys)


def test_a_hole_in_a_ready_crop(tmp_path, photo, models):
    out, hole = tmp_path / "out.png", hole_at(tmp_path / "hole.png", 220, 120, 250, 150)
    arguments = ["inpaint", photo, "--hole", hole, "-o", str(out), "-m", models["inpaint"]]
    assert gpen([*arguments, "--aligned", "--no_check"]) == 0
    changed = (read(out) != read(photo)).any(-1)
    assert changed.any() and not changed[read(hole) == 0].any()


def face_map(path, edge: int = 0) -> str:
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[10:50, 12:52] = PALETTE["skin"]
    picture[10:20, 12:52] = PALETTE["hair"]
    picture[24 : 24 + edge, 12:52] = (180, 8, 8)
    Image.fromarray(picture).save(path)
    return str(path)


def test_a_face_from_a_map(tmp_path, models, capsys):
    out = tmp_path / "out.png"
    source = face_map(tmp_path / "map.png", edge=1)
    assert gpen(["paint", source, "-o", str(out), "-m", models["paint"]]) == 0
    answer = said(capsys)
    assert "40 of the map's 4096 pixels had colors of no part of a face" in answer
    assert f"painted -> {out}" in answer
    assert read(out).shape == (64, 64, 3)


def test_a_map_is_square(tmp_path, models, capsys):
    path = tmp_path / "map.png"
    Image.new("RGB", (64, 48), PALETTE["skin"]).save(path)
    assert gpen(["paint", str(path), "-o", str(tmp_path / "o.png"), "-m", models["paint"]]) == 2
    assert "A map must be square, not 64x48 px." in said(capsys)


def test_a_photograph_is_no_map(tmp_path, photo, models, capsys):
    out = tmp_path / "out.png"
    assert gpen(["paint", photo, "-o", str(out), "-m", models["paint"]]) == 2
    assert "of the map's pixels have colors of no part of a face" in said(capsys)
    assert not out.exists()


# --- models of another task ----------------------------------------------------------------------


@pytest.mark.parametrize("task", ["colorize", "inpaint", "paint"])
def test_a_model_of_another_task_restores_only_when_asked(tmp_path, photo, models, capsys, task):
    out = tmp_path / "out.png"
    arguments = ["restore", photo, "-o", str(out), "-m", models[task]]
    assert gpen(arguments) == 2
    answer = said(capsys)
    assert f"{task}.safetensors is a model to {task} (its metadata says so), not to rest" in answer
    assert "(--task)" in answer
    assert not out.exists()
    assert gpen([*arguments, "--task", "restore"]) == 0


def test_a_restorer_does_not_color(gray_photo, tmp_path, models, capsys):
    arguments = ["colorize", gray_photo, "-o", str(tmp_path / "out.png"), "-m", models["restore"]]
    assert gpen(arguments) == 2
    assert "is a model to restore" in said(capsys)


def test_a_guess_is_in_the_report(tmp_path, gray_photo, small_state, capsys):
    model, report = tmp_path / "GPEN-Colorization-1024.pth", tmp_path / "report.json"
    torch.save(small_state, model)
    out = str(tmp_path / "out.png")
    arguments = ["colorize", gray_photo, "-o", out, "-m", str(model), "--report", str(report)]
    assert gpen(arguments) == 0
    guess = "GPEN-Colorization-1024.pth is taken for a model to colorize, by its name alone: a"
    assert guess in said(capsys)
    [entry] = json.loads(report.read_text())
    assert any(event.startswith(guess) for event in entry["events"])


def test_a_film_is_only_restored(tmp_path, models, capsys):
    pytest.importorskip("av", reason="PyAV, of gpen[video], is not installed")
    film = tmp_path / "film.mp4"
    film.write_bytes(b"0")
    arguments = ["colorize", str(film), "-o", str(tmp_path / "out.mp4"), "-m", models["colorize"]]
    assert gpen(arguments) == 2
    assert "films can only be restored" in said(capsys)


def test_without_a_model_for_it_the_task_is_not_begun(photo, tmp_path, capsys):
    assert gpen(["paint", photo, "-o", str(tmp_path / "out.png")]) == 2
    assert "No embedded model can paint; name one" in said(capsys)


def test_the_embedded_model_fills_scratches_that_hide_the_face_from_the_detector(
    tmp_path, portrait, capsys
):
    hole = Image.new("L", portrait.shape[1::-1])
    draw = ImageDraw.Draw(hole)
    for line in ([140, 60, 200, 110, 256, 124], [176, 16, 196, 80, 224, 132, 236, 184]):
        draw.line(line, fill=255, width=7)
    draw.line([280, 44, 248, 96, 200, 144], fill=255, width=6)
    hole.save(tmp_path / "hole.png")
    missing = np.asarray(hole) > 0
    Image.fromarray(np.where(missing[..., None], 255, portrait)).save(tmp_path / "scratched.png")
    where = ["--hole", str(tmp_path / "hole.png"), "-o", str(tmp_path / "out.png")]
    assert gpen(["inpaint", str(tmp_path / "scratched.png"), *where]) == 0
    assert "1 of 1 faces filled" in said(capsys)
    made = read(tmp_path / "out.png")
    assert np.array_equal(made[~missing], portrait[~missing])
    inner = np.zeros_like(missing)
    inner[60:180, 180:290] = missing[60:180, 180:290]
    white, off = (np.abs(one - portrait)[inner].mean() for one in (255.0, made))
    assert off < 0.2 * white


def test_a_face_that_is_masked_altogether_is_found_where_it_still_shows(
    photo, tmp_path, models, capsys
):
    hole, report = hole_at(tmp_path / "hole.png", 130, 0, 350, 260), tmp_path / "report.json"
    where = ["--hole", hole, "-o", str(tmp_path / "out.png"), "--report", str(report)]
    assert gpen(["inpaint", photo, *where, "-m", models["inpaint"]]) == 0
    assert "1 of 1 faces filled" in said(capsys)
    assert any(
        "as it is, one was" in event for event in json.loads(report.read_text())[0]["events"]
    )


def test_inpainting_without_a_mask(photo, tmp_path, models, capsys):
    arguments = ["inpaint", photo, "-o", str(tmp_path / "out.png"), "-m", models["inpaint"]]
    assert gpen(arguments) == 2
    assert "--hole is missing" in said(capsys)
    assert gpen([*arguments, "--hole", str(tmp_path / "none.png")]) == 2
    assert "--hole" in said(capsys)
