"""The benchmark: its arithmetic, its command line, and that contenders compute the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from gpen_core.benchmark import cost, measure
from gpen_core.benchmark.contenders import Task, build, random_state
from gpen_core.cli.bench import SpacedValues, _contenders, _repeat, bench
from gpen_core.errors import InputError, MissingDependencyError
from gpen_core.faces.detector import load_detector

app = typer.Typer()
app.command(cls=SpacedValues)(bench)


@pytest.mark.parametrize(("size", "gflop"), [(256, 17.4), (512, 276), (1024, 347), (2048, 420)])
def test_the_cost_is_the_published_one(size, gflop):
    # The published figures count the filters too, 1 to 3 %.
    assert cost.total(Task(size).config) / 1e9 == pytest.approx(gflop, rel=0.03)


def test_every_group_is_profiled():
    pytest.importorskip("torch.profiler")
    from gpen_core.benchmark.profile import profile

    task = Task(64)
    rows = profile(task, repeats=1)
    assert [row["group"] for row in rows] == list(cost.groups(task.config))
    assert sum(row["share"] for row in rows) == pytest.approx(1)


def test_values_in_a_row():
    args = ["--size", "256", "512", "--device", "cpu", "--batch", "1", "4", "--profile"]
    spread = "--size 256 --size 512 --device cpu --batch 1 --batch 4 --profile"
    assert " ".join(_repeat(args, {"--size", "--batch"})) == spread


@pytest.mark.parametrize("name", ["textbook", "onnxruntime", "our-export"])
@torch.inference_mode()
def test_contenders_compute_the_same(name):
    if name != "textbook":
        pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
        pytest.importorskip("onnx", reason="onnx is not installed")
    task = Task(64, batch=2)
    state = random_state(task.config)
    other, ours = (build(who, task, state)(task.picture()) for who in (name, "ours"))
    assert (other - ours).abs().max() / ours.abs().max() < 1e-5


def test_an_unknown_contender_is_named():
    with pytest.raises(InputError, match="no contender 'tensorflow'"):
        build("tensorflow", Task(64), {})


def test_onnxruntime_measures_our_export_too():
    assert _contenders("textbook, onnxruntime") == [
        "textbook",
        "onnxruntime",
        "our-export",
        "ours",
    ]
    assert _contenders("textbook") == ["textbook", "ours"]


def test_the_memory_of_an_export_is_that_of_its_user():
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    pytest.importorskip("onnx", reason="onnx is not installed")
    used = measure.memory("our-export", Task(64))
    assert used is not None and used["peak"] > used["before"] > 0


def test_runs_take_turns():
    turns = []
    runs = {name: (lambda name=name: turns.append(name)) for name in "ab"}
    spent = measure.interleaved(runs, 3, "cpu")
    assert "".join(turns) == "ababab"
    assert len(spent["a"]["all"]) == 3


def test_the_command_writes_its_results(tmp_path):
    output = tmp_path / "results.json"
    options = ["--size", "64", "--batch", "2", "--against", "textbook", "--repeats", "1"]
    result = CliRunner().invoke(app, [*options, "--json", str(output)])
    assert result.exit_code == 0, result.output
    written = json.loads(output.read_text())
    assert [entry["task"]["batch"] for entry in written["results"]] == [2]
    for entry in written["results"]:
        rows = entry["contenders"]
        assert rows["textbook"]["times_ours"] == pytest.approx(
            rows["textbook"]["seconds"] / rows["ours"]["seconds"]
        )
        assert rows["ours"]["largest_difference"] < 1e-5
        assert rows["ours"]["memory"]["peak"] >= rows["ours"]["memory"]["before"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--size", "100"], "power of two"),
        (["--batch", "0"], "at least 1"),
        (["--against", "tensorrt"], "not tensorrt"),
        (["--precision", "int8"], "not int8"),
        (["--repeats", "0"], "at least 1"),
    ],
)
def test_a_wrong_option_is_named(options, message):
    result = CliRunner().invoke(app, options)
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)


def test_the_pipeline_is_measured_stage_by_stage(tmp_path):
    output = tmp_path / "results.json"
    photo = Path(__file__).resolve().parents[2] / "docs" / "samples" / "solvay-1927.jpg"
    try:
        load_detector()
    except MissingDependencyError as error:
        pytest.skip(str(error))
    result = CliRunner().invoke(app, ["--photo", str(photo), "--size", "64", "--json", str(output)])
    assert result.exit_code == 0, result.output
    (written,) = json.loads(output.read_text())["results"]
    faces = written["faces"]
    assert faces > 20
    assert [part["faces"] for part in written["growth"]] == [faces // 4, faces // 2]
    assert set(written["stages"]) == {"detect", "align", "restore", "mask", "paste"}
    inside = 1 - written["stages"]["restore"] / written["seconds"]
    assert written["outside_the_network"] == pytest.approx(inside)
    start = written["start_up"]
    compared = (start["load"] + start["first face"]) / (start["read file"] + start["next face"])
    assert start["ratio"] == pytest.approx(compared)
    # A cached model is not read again: what is counted is the asking.
    assert start["bytes read again"] is None or start["bytes read again"] < 1000


def test_random_weights_and_a_file_at_once_are_refused():
    options = ["--photo", "a.jpg", "--size", "64", "--model_path", "b.pth"]
    result = CliRunner().invoke(app, options)
    assert isinstance(result.exception, InputError)
    assert "give one of them" in str(result.exception)


def test_the_peak_counts_from_the_reset():
    before = measure.reset_peak()
    if before is None:
        pytest.skip("only Linux lets the peak be reset")
    torch.ones(50_000_000)
    assert measure.resident_peak() - before > 150
    assert measure.reset_peak() - before < 100
