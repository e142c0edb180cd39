"""What help pages and documents say of options is what the options are.

Defaults, ranges and choices stand in `gpen_core.options`; the tables written by hand are compared
with them, and the commands in code blocks with the commands there are.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from gpen_core.cli.app import app
from gpen_core.dataset.degradation import LIMITS, PRESETS
from gpen_core.errors import InputError
from gpen_core.options import DETECTORS, STEPS, TASKS, Options, RestoreOptions, Spec, spec_of, specs

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "web" / "docs").glob("*.md"))
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

# Widgets that have another name than their option, or the name of an option that they are not.
_OPTIONS_OF_WIDGETS = {"mask_type": "mask", "mask": "a picture"}
_WIDGETS_MADE_BY = {"mask": "mask_type", "user_mask": "mask", "keep_tracks": "keep"}
_WIDGETS_MADE_BY |= {"steadiness_of_tracked": "steadiness", "frames": "image"}
_NODES = {
    "GPEN_ColorizeFaces": "colorize",
    "GPEN_DegradeImage": "degrade",
    "GPEN_DetectFaces": "detect",
    "GPEN_FaceFromMap": "from_map",
    "GPEN_InpaintFaces": "inpaint",
    "GPEN_LoadModel": "load_model",
    "GPEN_PasteFaces": "paste",
    "GPEN_RestoreFaces": "restore",
    "GPEN_RestoreImage": "restore_image",
    "GPEN_RestoreVideo": "restore_video",
    "GPEN_SelectFaces": "select",
    "GPEN_SelectPerson": "select_person",
    "GPEN_TrackFaces": "track",
}


def known_options() -> dict[str, tuple[object, Spec]]:
    """(default, spec) of every option by its name."""
    groups = [*STEPS.values(), Options]
    return {name: (default, spec) for group in groups for name, default, spec in specs(group)}


def rows(page: Path, head: str) -> dict[str, list[str]]:
    """The cells of the table whose first heading is `head`, by the bold or quoted name."""
    found: dict[str, list[str]] = {}
    inside = False
    for line in page.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and inside and not line.startswith("|--"):
            found[re.sub(r"^(\*\*|`--)|(\*\*|`)$", "", cells[0])] = cells[1:]
        inside = line.startswith("|") and (inside or cells[0] == head)
    return found


def written(default: object, spec: Spec) -> str:
    """A default as the tables write it; 0 is a widget's way to leave a number open."""
    if isinstance(default, bool):
        return "on" if default else "off"
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    if default is None:
        return own_entry(spec) if spec.choices else "0"
    return f"{default:g}" if isinstance(default, float) else str(default)


def own_entry(spec: Spec) -> str:
    """A menu's entry for what the model says."""
    return "auto" if spec.choices == TASKS else "model"


def allowed(default: object, spec: Spec, *, widget: bool = True) -> str | None:
    """Range or choices as the tables write them; None where anything may be written.

    A widget has an entry more than its option where that may be left open.
    """
    if isinstance(default, bool):
        return "on, off"
    if spec.choices:
        first = [own_entry(spec)] if widget and default is None else []
        return ", ".join([*first, *map(str, spec.choices)])
    if spec.low is None or spec.high is None:
        return None
    return replace(spec, low=0 if widget and default is None else spec.low).limits


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_help_page_has_the_defaults_and_ranges_of_the_options(page):
    options, table = known_options(), rows(page, "input")
    source = (ROOT / "nodes" / f"{_NODES[page.stem]}.py").read_text(encoding="utf-8")
    changed = dict(re.findall(r'widgets\.(\w+)\(default="(.*?)"\)', source))
    assert table, "every page has a table of its inputs"
    for widget, (default, values, _meaning) in table.items():
        name = _OPTIONS_OF_WIDGETS.get(widget, widget)
        if name == "detector":
            assert (default, values) == (DETECTORS[0], ", ".join(DETECTORS))
        elif name in options and not (name == "seed" and page.stem == "GPEN_DegradeImage"):
            own_default, spec = options[name]
            assert default == written(changed.get(name, own_default), spec), widget
            assert allowed(own_default, spec) in (values, None), widget


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_help_page_lists_the_widgets_made_from_options(page):
    source = (ROOT / "nodes" / f"{_NODES[page.stem]}.py").read_text(encoding="utf-8")
    inputs = source[source.index("inputs=[") : source.index("outputs=[")]
    made = set(re.findall(r"widgets\.(\w+)\((?:default=.*?)?\)", inputs))
    own = set(re.findall(r'\b(?:Input)\(\s*id="(\w+)"', inputs)) - {"gray"}
    expected = {_WIDGETS_MADE_BY.get(name, name) for name in made} | own
    assert set(rows(page, "input")) == expected


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_chinese_page_says_the_same_under_the_labels_of_the_node(page):
    """The same widgets, defaults and values, each under its translated label; the same outputs."""
    twin = page.with_suffix("") / "zh.md"
    texts = json.loads((ROOT / "locales" / "zh" / "nodeDefs.json").read_text(encoding="utf-8"))
    labels = texts[page.stem]
    assert twin.read_text(encoding="utf-8").startswith(f"# {labels['display_name']}\n")
    english, chinese = rows(page, "input"), rows(twin, "输入")
    assert list(chinese) == [f"{labels['inputs'][key]['name']}** `{key}" for key in english]
    for (default, values, _), (their_default, their_values, meaning) in zip(
        english.values(), chinese.values(), strict=True
    ):
        assert their_default == {"on": "开", "off": "关"}.get(default, default)
        assert their_values.replace(" 到 ", " to ") == values.replace("on, off", "开, 关")
        assert meaning
    outputs = rows(twin, "输出")
    named = [labels["outputs"][str(place)]["name"] for place in range(len(outputs))]
    assert list(outputs) == named and len(outputs) == len(rows(page, "output"))


def test_degrade_image_lists_presets_and_limits():
    page = ROOT / "web" / "docs" / "GPEN_DegradeImage.md"
    assert rows(page, "input")["preset"][1] == ", ".join([*PRESETS, "custom"])
    limits = {name: f"{low:g} to {high:g}" for name, (low, high) in LIMITS.items()}
    table = {name: cells[0] for name, cells in rows(page, "range").items()}
    assert table == {**limits, "gray": "0 to 1"}


def test_the_readme_has_the_defaults_and_ranges_of_the_options():
    options, table = known_options(), rows(ROOT / "README.md", "option")
    assert len(table) >= 10
    for name, (default, values, _meaning) in table.items():
        assert default == (options[name][1].unset or written(*options[name])), name
        assert allowed(*options[name], widget=False) in (values, None), name


def test_ranges_are_written_in_full():
    """Not as 4.29497e+09."""
    with pytest.raises(InputError, match="seed must be from 0 to 4294967295, not -1"):
        RestoreOptions(seed=-1)
    shown = CliRunner().invoke(app, ["restore", "-h"], env={"COLUMNS": "200"}).output
    assert "From 0 to 4294967295." in " ".join(shown.split())
    assert spec_of(RestoreOptions, "strength").limits == "0 to 1"


def flags() -> dict[str, set[str]]:
    """Flags of every command, as `models download` for a command of a group."""

    def of(command: Any, name: str) -> dict[str, set[str]]:
        own = {option for one in command.params for option in one.opts} | {"-h", "--help"}
        nested = getattr(command, "commands", {})
        return {name: own} | {
            key: value
            for sub, inner in nested.items()
            for key, value in of(inner, f"{name} {sub}".strip()).items()
        }

    known = of(typer.main.get_command(app), "")
    known["archive"] |= known["archive run"]  # which it is where nothing else is said
    return known


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_name_commands_and_flags_that_exist(document):
    known = flags()
    text = document.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [
        line.partition("#")[0]
        for block in re.findall(r"```.*?```", text, flags=re.DOTALL)
        for line in block.splitlines()
    ] + re.findall(r"`(gpen [^`]*)`", text)
    for line in lines:
        words = line.removeprefix("$ ").replace("python run_gpen.py", "gpen restore").split()
        if len(words) < 2 or words[0] != "gpen" or words[1].startswith(("-", "[")):
            continue
        name = " ".join(words[1:3])
        name = name if name in known or words[1] == "models" else words[1]
        assert name in known, line
        given = {word.strip("[]()") for word in words[2:] if word.strip("[(").startswith("-")}
        assert given <= known[name], line


def test_the_table_of_evaluate_has_its_flags_and_defaults():
    command = typer.main.get_command(app).commands["evaluate"]
    known = {option: one.default for one in command.params for option in one.opts}
    text = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    lines = [line.split("|") for line in text.splitlines() if line.startswith("| `--")]
    assert len(lines) >= 8
    for _, names, default, *_ in lines:
        for name in re.findall(r"`(--?\w+)`", names):
            assert name in known, name
            if known[name] is not None and known[name] is not False:
                assert str(known[name]) in re.findall(r"[\w.-]+", default), name


def test_the_page_of_training_names_every_option():
    pytest.importorskip("pydantic", reason="pydantic, of gpen[train], is not installed")
    from gpen_core.training import config, sections

    kinds = [one for one in vars(sections).values() if isinstance(one, type)]
    kinds = [one for one in (*kinds, config.TrainConfig) if issubclass(one, sections.Section)]
    names = {name for kind in kinds for name in kind.model_fields}
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    quoted = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`\n]+)`", text))))
    assert len(names) > 80 and names <= quoted, names - quoted


@pytest.mark.parametrize("document", [*DOCUMENTS, *PAGES], ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    """Links inside the project: the file is there, and the heading in it."""
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        place, _, heading = link.partition("#")
        target = (document.parent / place).resolve() if place else document
        assert target.exists(), link
        if heading:
            assert heading in headings(target), link


def headings(document: Path) -> set[str]:
    """The anchors of a Markdown file's headings."""
    found = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), flags=re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", head.lower()).strip() for head in found)
    return {head.replace(" ", "-") for head in plain}
