"""An archive in which one person is restored, or somebody is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpen_core.archive.named import Named
from gpen_core.archive.recipe import Recipe
from gpen_core.batch.people import read_wanted
from gpen_core.cli.app import run as gpen
from gpen_core.errors import InputError
from gpen_core.faces.detector import load_detector
from gpen_core.faces.embed import load_embedder
from gpen_core.faces.person import Looker
from gpen_core.hooks import Hooks
from gpen_core.options import Options

from .test_job import finish

SURE = {"person_threshold": 0.99}


@pytest.fixture
def graph(tmp_path, recognition_graph):
    return recognition_graph(tmp_path / "arcface.onnx")


@pytest.fixture
def named(scans, graph):
    """Who the first of the scans shows, as the person looked for or as one to leave alone."""
    embedder = load_embedder(graph)
    look, her = Looker(load_detector(), embedder, Hooks()), [str(scans / "a.png")]

    def make(*, alone: bool) -> Named:
        wanted = read_wanted([] if alone else her, her if alone else [], look)
        found = Named.of(wanted, embedder, graph)
        assert found is not None
        return found

    return make


@pytest.mark.parametrize(("alone", "status"), [(False, "restored"), (True, "unchanged")])
def test_a_person_is_restored_or_left_alone(archive, named, alone, status):
    rows = {row.key: row for row in finish(archive(options=SURE, people=named(alone=alone)))}
    assert rows["a.png"].status == status, rows["a.png"].error


def test_what_travels_comes_back_and_other_people_are_another_recipe(named):
    recipe, other = (
        Recipe.of("out", Options.of(**SURE), people=named(alone=alone)) for alone in (False, True)
    )
    assert Recipe.of_text(recipe.text()) == recipe
    assert other.made_with != recipe.made_with


def test_options_are_not_mixed_between_people(archive, named):
    finish(archive(options=SURE, people=named(alone=False)))
    with pytest.raises(InputError, match=r"other options .*people"):
        archive(options=SURE, people=named(alone=True))


def test_another_file_of_the_network_on_a_machine_is_refused(archive, named, graph):
    people = named(alone=False)
    graph.write_bytes(graph.read_bytes() + bytes([0x32, 0x01, 0x61]))  # a comment of one letter
    with pytest.raises(InputError, match="not the recognition network that this job began with"):
        finish(archive(options=SURE, people=people))


def test_the_command_asks_for_a_threshold(scans, graph, tmp_path, capsys):
    pytest.importorskip("ray", reason="ray, of the extra gpen[archive], is not installed")
    who = ["--person", str(scans / "a.png"), "--embedder", str(graph)]
    assert gpen(["archive", str(scans), str(tmp_path / "out"), *who]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "--person_threshold has to be given with arcface.onnx" in said


def test_the_file_of_sface_travels_as_any_other():
    """Given by its path, the worker need not have its wheel."""
    file = Path("sface.onnx")
    found = Named.of(None, lambda crops: crops.mean(dim=(2, 3)), file)
    assert found is not None and found.file == str(file.absolute()) and not found.sha256
