"""Rules of the house that a machine can check."""

from __future__ import annotations

import ast
import graphlib
import importlib
import itertools
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gpen_core

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = sorted((ROOT / "gpen_core").rglob("*.py"))


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_library_imports_itself_relatively_and_no_host(path):
    """Inside ComfyUI the library is a subpackage and has no top-level name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        roots = {name.partition(".")[0] for name in names}
        assert not roots & {"gpen_core", "comfy", "comfy_api", "folder_paths", "nodes"}, names


def _imports() -> dict[str, set[str]]:
    """The modules that each module of the library names in an import, wherever it stands."""
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in LIBRARY
    }
    found: dict[str, set[str]] = {}
    for module, path in modules.items():
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        found[module] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1])
                base = f"{base}.{node.module}" if node.module else base
                for alias in node.names:
                    inner = f"{base}.{alias.name}"
                    found[module].add(inner if inner in modules else base)
    return found


def test_no_modules_import_each_other_in_a_circle():
    """Imports for types and those inside functions count too."""
    graph = {module: named - {module} for module, named in _imports().items()}
    # Raises a CycleError that names the modules of a circle.
    assert list(graphlib.TopologicalSorter(graph).static_order())


def _names_of_the_library(path: Path) -> list[tuple[str, str]]:
    """(module, name) of everything that a node's file takes from the library."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    taken, rooms = [], {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 2:
            module = node.module or ""
            for alias in node.names:
                taken.append((module, alias.name))
                rooms[alias.asname or alias.name] = f"{module}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            place = rooms.get(node.value.id)
            if place is not None and (ROOT / place.replace(".", "/")).with_suffix(".py").exists():
                taken.append((place, node.attr))
    return [one for one in taken if one[0].split(".")[0] == "gpen_core"]


@pytest.mark.parametrize("path", sorted((ROOT / "nodes").glob("*.py")), ids=lambda path: path.name)
def test_what_nodes_take_from_the_library_is_there(path):
    """Types are not checked across: for mypy the library lies outside of the nodes' package."""
    for module, name in _names_of_the_library(path):
        found = importlib.import_module(module)
        if not hasattr(found, name):
            importlib.import_module(f"{module}.{name}")


# --- examples ------------------------------------------------------------------------------------

_WITHOUT_EXAMPLE = {
    "benchmark.measure.compare": "measures for minutes, each contender in a process of its own",
    "benchmark.pipeline.of_model": "measures for minutes",
    "benchmark.profile.profile": "measures for seconds",
    "cli.app.main": "the command; README has its examples",
    "networks.fast.network.FastGPEN": "made by `prepare`, which has an example",
    "perception.judges.Embedding": "needs dlib and its weights",
    "perception.judges.Landmarks": "needs dlib and its weights",
    "training.train": "trains; docs/training.md has an example",
}


def offered() -> dict[str, ast.FunctionDef | ast.ClassDef]:
    """The functions and classes that a room offers: what another room or a node imports, and what
    stands in an `__all__`, by their names below `gpen_core`."""
    defined: dict[str, ast.FunctionDef | ast.ClassDef] = {}
    wanted = {
        f"gpen_core.{room}.{name}" for room, names in gpen_core._ROOMS.items() for name in names
    }
    for path in LIBRARY:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                defined[f"{module}.{node.name}"] = node
            elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                wanted |= {f"{module}.{name}" for name in ast.literal_eval(node.value)}
    for path in [*LIBRARY, *sorted((ROOT / "nodes").glob("*.py"))]:
        here = room_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
        wanted |= {name for name in named_elsewhere(path) if room_of(name) != here}
    names = {
        name for name in wanted & defined.keys() if not name.rpartition(".")[2].startswith("_")
    }
    return {name.removeprefix("gpen_core."): defined[name] for name in sorted(names)}


def named_elsewhere(path: Path) -> set[str]:
    """Dotted names of the library that a module imports, or reaches through a module it imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [*package[: len(package) - node.level + 1], *filter(None, [node.module])]
            known |= {one.asname or one.name: ".".join([*base, one.name]) for one in node.names}
    reached = {
        f"{known[node.value.id]}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if node.value.id in known
    }
    return {*known.values(), *reached}


def test_what_a_room_offers_has_an_example():
    """It is run as a test, so that it stays true."""
    lacking = {
        name for name, node in offered().items() if ">>>" not in (ast.get_docstring(node) or "")
    }
    assert sorted(lacking) == sorted(_WITHOUT_EXAMPLE)


# --- rooms ---------------------------------------------------------------------------------------


def room_of(module: str) -> str:
    """The first floor of a dotted name: `faces` of `gpen_core.faces.align`, "" of the library."""
    return module.split(".")[1] if "." in module else ""


def imports_of(path: Path) -> set[tuple[str, int]]:
    """What a module imports when it runs, wherever in it: (dotted name, line)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level and node not in typing_only:
            base = [*package[: len(package) - node.level + 1], *filter(None, [node.module])]
            names = [[*base, alias.name] for alias in node.names]
            found |= {(".".join(name), node.lineno) for name in names}
    return found


def test_rooms_import_each_other_in_one_direction():
    """A circle of rooms is one room with a wall through it; late imports are no way out."""
    links: dict[str, dict[str, str]] = {}
    for path in LIBRARY:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        here = room_of(name.removesuffix(".__init__"))
        for module, line in imports_of(path):
            if here and room_of(module) not in ("", here):
                place = f"{path.relative_to(ROOT)}:{line}"
                links.setdefault(here, {}).setdefault(room_of(module), place)

    def circle(room: str, way: tuple[str, ...]) -> tuple[str, ...] | None:
        if room in way:
            return (*way[way.index(room) :], room)
        ways = (circle(next_room, (*way, room)) for next_room in links.get(room, ()))
        return next(filter(None, ways), None)

    for room in sorted(links):
        found = circle(room, ())
        steps = [f"{a} -> {b} ({links[a][b]})" for a, b in itertools.pairwise(found or ())]
        assert not found, ", ".join(steps)


def test_the_top_floor_stays_small():
    flat = sorted(path.name for path in (ROOT / "gpen_core").glob("*.py"))
    assert len(flat) <= 10, flat


FLAG = re.compile(r"(?<![\w-])--[a-z]")
PIP = re.compile(r"pip install[^`]*")


def messages_of(path: Path) -> list[tuple[int, str]]:
    """Lines and texts with words in them; not the docstrings, which are for readers of the code."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documents = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    return [
        (node.lineno, node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and node not in documents
        if isinstance(node.value, str) and " " in node.value.strip()
    ]


def test_the_library_names_no_flag_of_the_command():
    """It does not know who called it: a node has widgets, Python has arguments."""
    named = [
        f"{path.relative_to(ROOT)}:{line}: {text.strip()}"
        for path in LIBRARY
        if path.relative_to(ROOT).parts[1] != "cli"
        for line, text in messages_of(path)
        if FLAG.search(PIP.sub("", text))
    ]
    assert not named, "\n".join(named)


def test_every_public_name_exists():
    for name in gpen_core.__all__:
        assert getattr(gpen_core, name).__name__ == name


@pytest.mark.parametrize("room", ["dataset", "evaluation"])
def test_measuring_needs_nothing_of_training(room):
    """Faces and pairs are shared: training imports them, they do not import training."""
    for path in sorted((ROOT / "gpen_core" / room).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] != "training", path.name
    modules = "evaluation.faces, gpen_core.evaluation.compare, gpen_core.evaluation.report"
    code = (
        "import sys; sys.modules |= {'pydantic': None, 'yaml': None}; "
        f"import gpen_core.{modules}, gpen_core.dataset.pairs"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_help_does_not_wait_for_torch():
    code = "import sys, gpen_core.cli.app; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_embedded_model_is_small_and_licensed():
    [*files] = (ROOT / "weights").glob("gpen-lite-*.safetensors")
    assert files
    for path in files:
        assert path.stat().st_size < 40 << 20
        assert path.with_suffix(".md").exists(), "a model card lies beside it"
