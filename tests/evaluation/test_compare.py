"""`gpen evaluate`: the same figures for the same seed, on the table, in JSON and as pictures."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import math

import numpy as np
import pytest
import torch
from PIL import Image

from gpen_core.cli.app import run as gpen
from gpen_core.dataset.degradation import degrade
from gpen_core.errors import InputError
from gpen_core.evaluation.compare import MODEL, NOTHING, UNSHARP, Options, compare, unsharp
from gpen_core.evaluation.faces import Choice, count_enlarged, cut
from gpen_core.evaluation.report import mean_error, report, rows, tables
from gpen_core.evaluation.worst import worst_sheets
from gpen_core.metrics.catalogue import find_metrics
from gpen_core.metrics.pixels import psnr


@pytest.fixture
def evaluate(training_faces, small_model_file, tmp_path, capfd):
    """Runs the command on the made-up faces; gives its exit code, what it printed, and the JSON."""

    def run(*options: str, json_name: str = "figures.json", metrics: str = "psnr,ssim"):
        target = tmp_path / json_name
        arguments = [str(small_model_file), str(training_faces), "--json", str(target)]
        code = gpen(["evaluate", *arguments, "--metrics", metrics, *options])
        written = json.loads(target.read_text()) if target.exists() else {}
        out = capfd.readouterr()
        return code, out.out + out.err, written

    return run


def test_table_json_and_sheet(evaluate, tmp_path):
    sheet = tmp_path / "sheet.png"
    code, text, content = evaluate(
        "--preset", "mild,medium", "--preset", "severe", "--limit", "5", "--seed", "3",
        "--sheet", str(sheet), "--rows", "2",
    )  # fmt: skip
    assert code == 0, text
    assert list(content["presets"]) == ["mild", "medium", "severe"]
    assert content["faces"] == 5 and content["seed"] == 3
    assert content["sources"] == {"street": 1, "studio": 4}
    assert list(content["metrics"]) == ["psnr", "ssim"]
    for damage, found in content["presets"].items():
        assert damage in text
        means = found["means"]
        assert set(means) == {NOTHING, UNSHARP, MODEL}
        for name, gain in found["gain"].items():
            difference = means[MODEL][name]["mean"] - means[NOTHING][name]["mean"]
            assert gain["mean"] == pytest.approx(difference, abs=1e-4)
            assert 0 <= gain["better"] <= 1
        for who in means:
            shown = means[who]["psnr"]
            assert f"{shown['mean']:.2f} ± {shown['error']:.2f}" in text
    worse = [found["means"][NOTHING]["psnr"]["mean"] for found in content["presets"].values()]
    assert worse == sorted(worse, reverse=True)
    with Image.open(sheet) as picture:
        # (degraded | restored) for three presets and the truth; a head and two rows of 64 px.
        assert picture.size == (7 * 64, 24 + 2 * 64)


def test_the_seed_decides(evaluate):
    options = ("--limit", "3", "--preset", "old-photo")
    first = evaluate(*options, json_name="1.json")[2]["presets"]
    assert evaluate(*options, json_name="2.json")[2]["presets"] == first
    assert evaluate(*options, "--seed", "9", json_name="3.json")[2]["presets"] != first


def test_the_batch_size_changes_nothing(evaluate):
    one = evaluate("--limit", "5", "--batch_size", "1", json_name="1.json")[2]
    many = evaluate("--limit", "5", "--batch_size", "4", json_name="2.json")[2]
    for who, means in one["presets"]["medium"]["means"].items():
        for name, found in means.items():
            other = many["presets"]["medium"]["means"][who][name]
            assert found["mean"] == pytest.approx(other["mean"], abs=1e-3)


def test_the_worst_faces_are_shown_by_each_metric(evaluate, tmp_path):
    folder = tmp_path / "worst"
    code, text, content = evaluate(
        "--preset", "mild,severe", "--limit", "4", "--worst", str(folder)
    )
    assert code == 0, text
    names = {f"{damage}-{name}.png" for damage in ("mild", "severe") for name in ("psnr", "ssim")}
    assert {path.name for path in folder.iterdir()} == names
    with Image.open(folder / "mild-psnr.png") as picture:
        assert picture.size == (3 * 64, 24 + 4 * 64)
    assert content["absent"] == {}
    code, text, _ = evaluate("--limit", "1", "--worst", str(folder), json_name="again.json")
    assert code == 2 and "exists already" in text


def test_a_sheet_of_the_worst_begins_with_the_worst(training_faces, small_model):
    faces = Choice(training_faces, limit=4).faces()
    options = Options(presets=("medium",), seed=4)
    figures = compare(small_model, faces, find_metrics(["psnr"], 64).measures, options)
    values = figures.values["medium"][MODEL]["psnr"]
    [sheet] = worst_sheets(small_model, figures, options, count=2).values()
    assert sheet.shape == (3, 24 + 2 * 64, 3 * 64)
    shown = [
        psnr(2 * row[None, :, :, 64:128] - 1, 2 * row[None, :, :, 128:] - 1).item()
        for row in sheet[:, 24:].split(64, dim=1)
    ]
    assert shown == pytest.approx(values.sort().values[:2].tolist(), abs=1e-3)


def test_many_metrics_stand_in_several_tables():
    names = [f"m{index}" for index in range(8)]
    assert tables({"metrics": dict.fromkeys(names)}) == [names[:6], names[6:]]


def test_a_file_that_exists_is_kept(evaluate, tmp_path):
    (tmp_path / "figures.json").write_text('{"kept": 1}')
    code, text, content = evaluate()
    assert code == 2 and "exists already" in text and content == {"kept": 1}
    assert evaluate("--overwrite", "--limit", "1")[0] == 0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--preset", "awful"), "no degradation preset 'awful'"),
        (("--faces", "arcface"), "--faces is ffhq or gpen"),
        (("--rim", "0.7"), "--rim is a share"),
        (("--limit", "0"), "limit of faces must be at least 1"),
        (("--batch_size", "0"), "at least 1 face"),
        (("--sheet", "sheet.xyz"), "unknown picture format"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(evaluate, options, text):
    code, said, content = evaluate(*options)
    assert code == 2 and content == {}
    assert text in " ".join(said.split())


def test_options_may_stand_before_the_folder(training_faces, small_model_file, capfd):
    options = ["--metrics", "psnr", "--limit", "1", "--preset", "mild"]
    assert gpen(["evaluate", *options, str(small_model_file), str(training_faces)]) == 0
    assert "mild, 1 faces" in capfd.readouterr().out


def test_a_missing_folder_and_too_many_names(capfd, tmp_path):
    assert gpen(["evaluate", str(tmp_path / "nowhere")]) == 2
    assert "does not exist" in " ".join(capfd.readouterr().err.split())
    assert gpen(["evaluate", "a", "b", "c"]) == 2
    assert "not 3 names" in capfd.readouterr().err


def test_a_metric_without_weights_is_an_error_with_a_hint(evaluate, monkeypatch):
    def absent(name: str):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", absent)
    code, text, _ = evaluate(metrics="psnr,lpips")
    assert code == 2
    assert "pip install --no-deps stlpips-pytorch" in " ".join(text.split())


# --- which faces ---------------------------------------------------------------------------------


def test_without_holdout_every_face_counts(training_faces):
    assert len(Choice(training_faces).faces()) == 10


def test_held_out_faces_are_those_of_training(training_faces, write_config):
    from gpen_core.dataset.sources import read_faces, split
    from gpen_core.training.config import read_config

    data = read_config(write_config()).data.selection()
    held = split(read_faces(data), data)[1]
    chosen = Choice(training_faces, holdout=True, rule=data).faces()
    assert chosen == held and len(held) == 2  # a fifth of the eight strict ones
    by_default = Choice(training_faces, holdout=True).faces()
    assert [face.path.name for face in by_default] == ["7.jpg"]


def test_sources_may_be_chosen(training_faces):
    chosen = Choice(training_faces, sources=("street",)).faces()
    assert [face.path.stem for face in chosen] == ["8", "9"]
    with pytest.raises(InputError, match=r"no face of the source 'film' .* street, studio"):
        Choice(training_faces, sources=("film",)).faces()


def test_a_limit_is_spread_over_all(training_faces):
    names = [face.path.stem for face in Choice(training_faces, limit=3).faces()]
    assert names == ["0", "3", "6"]


def test_a_plain_folder_of_any_size(tmp_path, small_model):
    """Faces are cut to the model's size, whatever theirs is."""
    for index, side in enumerate((48, 64, 200)):
        pixels = np.random.default_rng(index).integers(0, 255, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    faces = Choice(tmp_path, template="gpen").faces()
    assert len(faces) == 3
    assert count_enlarged(faces, 64) == 1
    truth = cut(faces, 64)
    assert truth.shape == (3, 3, 64, 64)
    with Image.open(tmp_path / "1.png") as image:
        own = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
    torch.testing.assert_close(truth[1], own, atol=1e-4, rtol=0)


# --- the figures ---------------------------------------------------------------------------------


def test_the_figures_are_those_of_the_parts(training_faces, small_model):
    """One face and preset by hand: damage, restore, measure."""
    faces = Choice(training_faces, limit=2).faces()
    options = Options(presets=("medium",), seed=11, batch_size=2, shown=1)
    figures = compare(small_model, faces, find_metrics(["psnr"], 64).measures, options)
    truth = cut(faces, 64)
    damaged = degrade(truth, "medium", 11)
    with torch.inference_mode():
        restored = small_model(damaged * 2 - 1)
    wanted = {
        NOTHING: psnr(damaged * 2 - 1, truth * 2 - 1),
        UNSHARP: psnr(unsharp(damaged) * 2 - 1, truth * 2 - 1),
        MODEL: psnr(restored, truth * 2 - 1),
    }
    for who, figure in wanted.items():
        got = figures.values["medium"][who]["psnr"]
        torch.testing.assert_close(got, figure.double(), atol=1e-4, rtol=0)
    [shown] = figures.shown
    assert shown.face == faces[0]
    assert torch.equal(shown.truth, truth[0])
    assert torch.equal(shown.pairs["medium"][0], damaged[0])


def test_a_model_that_changes_nothing_gains_nothing(training_faces, small_model):
    faces = Choice(training_faces, limit=3).faces()
    figures = compare(small_model, faces, find_metrics(["psnr"], 64).measures, Options())
    figures.values["medium"][MODEL] = figures.values["medium"][NOTHING]
    content = report(figures, small_model, Options())
    gain = content["presets"]["medium"]["gain"]["psnr"]
    assert gain["mean"] == gain["percent"] == gain["better"] == gain["worst"] == 0
    assert ["gain", "+0.00 ± 0.00"] in rows(content, "medium")


def test_the_worst_face_and_the_way_that_is_better(training_faces, small_model):
    """LPIPS is better where it is lower."""
    faces = Choice(training_faces, limit=3).faces()
    figures = compare(small_model, faces, find_metrics(["psnr"], 64).measures, Options())
    values = figures.values["medium"]
    for who, lpips in ((NOTHING, [0.5, 0.5, 0.5]), (UNSHARP, [0.5] * 3), (MODEL, [0.2, 0.7, 0.1])):
        values[who] = {"lpips": torch.tensor(lpips, dtype=torch.float64)}
    gain = report(figures, small_model, Options())["presets"]["medium"]["gain"]["lpips"]
    assert gain["better"] == pytest.approx(2 / 3, abs=1e-4)
    assert gain["worst"] == pytest.approx(0.2)
    assert gain["worst_face"] == f"studio: {faces[1].path.name}"
    assert gain["percent"] == pytest.approx(100 * (1 / 3 - 0.5) / 0.5, abs=0.01)


def test_mean_and_standard_error():
    found = mean_error(torch.tensor([1.0, 2.0, 3.0, 6.0], dtype=torch.float64))
    assert found["mean"] == 3
    assert found["error"] == pytest.approx(math.sqrt(14 / 3) / 2, abs=1e-4)
    assert mean_error(torch.tensor([4.0]))["error"] == 0


def test_unsharp_steepens_edges_and_leaves_flat_parts():
    edge = torch.full((1, 3, 32, 32), 0.25)
    edge[..., 16:] = 0.75
    sharp = unsharp(edge)
    torch.testing.assert_close(sharp[..., :4], edge[..., :4], atol=1e-3, rtol=0)
    assert (sharp[..., 15] < 0.2).all() and (sharp[..., 16] > 0.8).all()


def test_a_model_of_another_template_is_said(training_faces, small_state, caplog):
    from dataclasses import replace

    from gpen_core.models.load import load_model

    model = load_model(small_state)
    model = replace(model, info=replace(model.info, template="ffhq"))
    with caplog.at_level(logging.WARNING):
        compare(model, Choice(training_faces, limit=1).faces(), {}, Options())
    assert "template 'ffhq'" in caplog.text


def test_a_torn_picture_is_named(tmp_path):
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    with pytest.raises(InputError, match=r"torn\.png"):
        cut(Choice(tmp_path).faces(), 64)


@pytest.mark.parametrize("task", ["colorize", "inpaint"])
def test_other_tasks_are_measured_as_they_are_posed(small_model, training_faces, task):
    faces = Choice(training_faces, limit=3).faces()
    measures = find_metrics(["psnr"], 64).measures
    model = small_model.as_task(task)
    figures = compare(model, faces, measures, Options(("mild",), shown=1))
    nothing = compare(small_model, faces, measures, Options(("mild",))).values["mild"][NOTHING]
    [picture] = figures.shown
    degraded, made = picture.pairs["mild"]
    assert float(figures.values["mild"][NOTHING]["psnr"].mean()) < float(nothing["psnr"].mean())
    if task == "colorize":
        assert torch.equal(degraded[0], degraded[2]) and not torch.equal(made[0], made[2])
    else:
        kept = (degraded != 1).any(dim=0)
        assert torch.allclose(made[:, kept], degraded[:, kept], atol=1e-6)


def test_a_painter_is_not_measured_on_faces(small_model, training_faces):
    faces = Choice(training_faces, limit=1).faces()
    measures = find_metrics(["psnr"], 64).measures
    with pytest.raises(InputError, match="is a model to paint, which cannot be measured"):
        compare(small_model.as_task("paint"), faces, measures, Options())
