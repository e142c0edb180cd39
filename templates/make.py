"""Makes the shipped workflows, and what the tests run, from their descriptions in this folder.

    python templates/make.py http://127.0.0.1:8188

The address is a running ComfyUI with this pack: it knows every widget with its default, so a widget
that was added to a node arrives here by making the files again. Written are

    example_workflows/NAME.json           what the page opens
    tests/comfyui/workflows/NAME.json     the same as a prompt
    subgraphs/NAME.json                   a blueprint, from a description that has `subgraph`
"""

from __future__ import annotations

import json
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
# The lowest versions that have every node used here.
PACK, CORE = {"cnr_id": "gpen", "ver": "0.1.0"}, {"cnr_id": "comfy-core", "ver": "0.3.64"}

WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
# Heights in the page, in pixels, in its newer design, which is the taller one.
TITLE, SLOT, WIDGET, TEXT, REST = 30, 20, 28, 76, 44
# What ours need for the sentence, and these for the picture, that they show after a run.
SENTENCE, PREVIEW, SHOWING = 40, 240, ("GPEN_DetectFaces", "GPEN_SelectFaces", "GPEN_RestoreImage")
COLUMN_GAP, ROW_GAP, STACK_GAP, GROUP_TITLE, GROUP_MARGIN = 100, 100, 40, 44, 20
COLORS = {"blue": "#3f789e", "green": "#8A8", "yellow": "#b58b2a"}


@dataclass
class Node:
    """A node of a description, with what the host says of its kind.

    Attributes:
        id: its number in the workflow.
        name: what the description calls it.
        kind: the host's name of it; "MarkdownNote" is the page's.
        values: its widgets.
        sources: "node.output" by the input that it feeds.
        older: widgets that only older hosts have; they come last.
        size: (width, height) at least, in pixels.
        title: in the place of the host's.
        info: the host's entry in /object_info.
        position: of its left upper corner, below its title.
    """

    id: int
    name: str
    kind: str
    values: dict[str, Any]
    sources: dict[str, str]
    older: dict[str, Any]
    size: list[int]
    title: str | None
    info: dict[str, Any]
    position: list[int] = field(default_factory=lambda: [0, 0])

    @property
    def ours(self) -> bool:
        """Whether it is a node of this pack."""
        return self.kind.startswith("GPEN_")

    def inputs(self) -> Iterator[tuple[str, str, dict[str, Any], bool]]:
        """(name, type, options, optional) in the host's order."""
        for group in ("required", "optional"):
            for name, spec in self.info.get("input", {}).get(group, {}).items():
                kind, options = spec[0], spec[1] if len(spec) > 1 else {}
                if isinstance(kind, list):
                    kind, options = "COMBO", {"options": kind, **options}
                yield name, kind, options, group == "optional"

    def widgets(self) -> dict[str, dict[str, Any]]:
        """Options of the inputs that are widgets."""
        return {
            name: options
            for name, kind, options, _ in self.inputs()
            if (kind in WIDGETS and not options.get("forceInput")) or name in self.values
        }

    def value(self, name: str) -> Any:
        """What a widget is set to, or its default."""
        if name in self.values:
            return self.values[name]
        options = self.widgets()[name]
        choices = options.get("options") or [""]
        return options.get("default", choices[0])

    def height(self) -> int:
        """With every widget shown, as on hosts that fold none away."""
        outputs, widgets = self.info.get("output", []), self.widgets()
        sockets = sum(name not in widgets for name, *_ in self.inputs())
        texts = sum(bool(options.get("multiline")) for options in widgets.values())
        rows = SLOT * max(sockets, len(outputs)) + WIDGET * len(widgets) + TEXT * texts
        shown = SENTENCE * self.ours + PREVIEW * (self.kind in SHOWING)
        return max(rows + REST + shown, self.size[1])

    def output(self, name: str) -> int:
        """The index of an output, by the name the page shows."""
        return self.info["output_name"].index(name)


@dataclass
class Template:
    """A description: nodes, their places, and the boxes around them."""

    name: str
    nodes: dict[str, Node]
    groups: list[dict[str, Any]]
    subgraph: dict[str, Any] | None

    def links(self) -> list[tuple[Node, int, Node, str]]:
        """(from, its output's index, to, its input's name), in the nodes' order."""
        found = []
        for node in self.nodes.values():
            for name, *_ in node.inputs():
                if name in node.sources:
                    source, _, output = node.sources[name].partition(".")
                    start = self.nodes[source]
                    found.append((start, start.output(output), node, name))
        return found


def read(path: Path, info: dict[str, Any]) -> Template:
    """A description, with the host's entries of its nodes."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    nodes = {}
    for number, (name, each) in enumerate(content["nodes"].items(), start=1):
        note = each.get("note")
        kind = "MarkdownNote" if note else each["type"]
        nodes[name] = Node(
            number,
            name,
            kind,
            {"text": note} if note else each.get("set", {}),
            each.get("from", {}),
            each.get("older", {}),
            each.get("size", [340, 60]),
            each.get("title"),
            {} if note else info[kind],
        )
        unknown = (set(nodes[name].values) | set(nodes[name].sources)) - {
            input_name for input_name, *_ in nodes[name].inputs()
        }
        if unknown - {"text"}:
            raise SystemExit(f"{path.name}: {kind} has no {', '.join(sorted(unknown))}")
    place(content["grid"], nodes)
    return Template(path.stem, nodes, content.get("groups", []), content.get("subgraph"))


def place(grid: list[list[list[str]]], nodes: dict[str, Node]) -> None:
    """Positions from rows of cells; the nodes of a cell stand below each other."""
    columns = max(map(len, grid))
    widths, heights = [0] * columns, [0] * len(grid)
    for y, row in enumerate(grid):
        for x, cell in enumerate(row):
            here = [nodes[name] for name in cell]
            widths[x] = max([widths[x], *(node.size[0] for node in here)])
            stack = sum(TITLE + node.height() for node in here) + STACK_GAP * max(len(here) - 1, 0)
            heights[y] = max(heights[y], stack)
    for y, row in enumerate(grid):
        for x, cell in enumerate(row):
            left = sum(widths[:x]) + COLUMN_GAP * x
            top = sum(heights[:y]) + ROW_GAP * y
            for name in cell:
                nodes[name].position = [left, top + TITLE]
                top += TITLE + nodes[name].height() + STACK_GAP


# --- what the page opens -------------------------------------------------------------------------


def page(template: Template) -> dict[str, Any]:
    """The workflow as the page saves it."""
    links = template.links()
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"gpen/{template.name}")),
        "revision": 0,
        "last_node_id": len(template.nodes),
        "last_link_id": len(links),
        "nodes": [page_node(node, links) for node in template.nodes.values()],
        "links": [
            [number, start.id, index, end.id, slot(end, name), start.info["output"][index]]
            for number, (start, index, end, name) in enumerate(links, start=1)
        ],
        "groups": [
            page_group(number, group, template)
            for number, group in enumerate(template.groups, start=1)
        ],
        "config": {},
        "extra": {},
        "version": 0.4,
    }


def slot(node: Node, name: str) -> int:
    """The index of an input among all inputs; the page counts widgets too."""
    return [each for each, *_ in node.inputs()].index(name)


def page_node(node: Node, links: list[tuple[Node, int, Node, str]]) -> dict[str, Any]:
    """A node as the page saves it; links are numbered from 1 as in `links`."""
    incoming = {
        name: number for number, (_, _, end, name) in enumerate(links, start=1) if end is node
    }
    widgets = node.widgets()
    inputs = [
        {"name": name, "type": kind, "link": incoming.get(name)}
        | ({"widget": {"name": name}} if name in widgets else {})
        | ({"shape": 7} if optional else {})
        for name, kind, _, optional in node.inputs()
    ]
    outputs = [
        {
            "name": name,
            "type": kind,
            "links": [
                number
                for number, (start, index, *_) in enumerate(links, start=1)
                if start is node and index == place
            ],
        }
        for place, (name, kind) in enumerate(
            zip(node.info.get("output_name", []), node.info.get("output", []), strict=True)
        )
    ]
    made = {
        "id": node.id,
        "type": node.kind,
        "pos": node.position,
        "size": [node.size[0], max(node.size[1], 60)],
        "flags": {},
        "order": node.id - 1,
        "mode": 0,
        "inputs": inputs,
        "outputs": outputs,
        "properties": properties(node),
        "widgets_values": widget_values(node),
    }
    return made | ({"title": node.title} if node.title else {})


def widget_values(node: Node) -> list[Any]:
    """The widgets in their order, with those the page adds by itself."""
    if node.kind == "MarkdownNote":
        return [node.values["text"]]
    values = []
    for name, options in node.widgets().items():
        values.append(node.value(name))
        seeds = (
            name in ("seed", "noise_seed") and options.get("control_after_generate") is not False
        )
        if seeds or options.get("control_after_generate"):
            values.append("fixed")
        if options.get("image_upload") or options.get("video_upload"):
            values.append("image")
    return [*values, *node.older.values()]


def properties(node: Node) -> dict[str, Any]:
    """Which pack the node is from, and where the model files come from that it names."""
    if node.kind == "MarkdownNote":
        return {}
    made: dict[str, Any] = {"Node name for S&R": node.kind, **(PACK if node.ours else CORE)}
    chosen = [str(node.value(name)) for name in node.widgets()]
    models = gpen_models() if node.ours and "file" in node.widgets() else []
    models += [model for model in OTHER_MODELS if model["name"] in chosen]
    return made | ({"models": models} if models else {})


def gpen_models() -> list[dict[str, str]]:
    """The catalogue's networks: the page offers the one that is chosen and missing.

    It downloads from Hugging Face only, so that address goes first.
    """
    catalogue = ROOT / "gpen_core" / "weights" / "catalogue.json"
    models = []
    for entry in json.loads(catalogue.read_text(encoding="utf-8"))["files"]:
        if entry["kind"] != "gpen-pth" or "GPEN-BFR" not in entry["name"]:
            continue
        url = min(entry["urls"], key=lambda each: not each.startswith("https://huggingface.co/"))
        model = {"name": entry["filename"], "url": url, "directory": "gpen"}
        if entry["sha256"] and url.startswith("https://huggingface.co/"):
            model |= {"hash": entry["sha256"], "hash_type": "SHA256"}
        models.append(model)
    return models


# Those of the host's own nodes, from addresses that the page accepts.
OTHER_MODELS = [
    {
        "name": "v1-5-pruned-emaonly-fp16.safetensors",
        "url": "https://huggingface.co/Comfy-Org/stable-diffusion-v1-5-archive/resolve/main/"
        "v1-5-pruned-emaonly-fp16.safetensors",
        "directory": "checkpoints",
    },
    {
        "name": "RealESRGAN_x4plus.pth",
        "url": "https://github.com/xinntao/Real-ESRGAN/releases/download/v0.1.0/"
        "RealESRGAN_x4plus.pth",
        "directory": "upscale_models",
    },
]


def page_group(number: int, group: dict[str, Any], template: Template) -> dict[str, Any]:
    """A box around nodes."""
    nodes = [template.nodes[name] for name in group["nodes"]]
    left = min(node.position[0] for node in nodes) - GROUP_MARGIN
    top = min(node.position[1] for node in nodes) - TITLE - GROUP_TITLE
    right = max(node.position[0] + node.size[0] for node in nodes) + GROUP_MARGIN
    bottom = max(node.position[1] + node.height() for node in nodes) + GROUP_MARGIN
    return {
        "id": number,
        "title": group["title"],
        "bounding": [left, top, right - left, bottom - top],
        "color": COLORS[group.get("color", "blue")],
        "font_size": 24,
        "flags": {},
    }


# --- what the tests run --------------------------------------------------------------------------


def prompt(template: Template) -> dict[str, Any]:
    """The workflow as the page sends it to be run."""
    incoming: dict[tuple[int, str], list[Any]] = {
        (end.id, name): [str(start.id), index] for start, index, end, name in template.links()
    }
    made = {}
    for node in template.nodes.values():
        if node.kind == "MarkdownNote":
            continue
        inputs = {}
        for name, _, _, optional in node.inputs():
            # Optional widgets of the host's own nodes are not on every host.
            left_out = optional and not node.ours and name not in node.values
            if (node.id, name) in incoming:
                inputs[name] = incoming[node.id, name]
            elif name in node.widgets() and not left_out:
                inputs[name] = node.value(name)
        made[str(node.id)] = {
            "class_type": node.kind,
            "inputs": inputs | node.older,
            "_meta": {"title": node.title or node.info["display_name"]},
        }
    return made


# --- a blueprint ---------------------------------------------------------------------------------


def blueprint(template: Template) -> dict[str, Any]:
    """A workflow of one node, whose inside is the description.

    `subgraph` names what it gives and takes: "node.input" and "node.output" by the outer names.
    """
    outside = template.subgraph
    assert outside is not None
    identity = str(uuid.uuid5(uuid.NAMESPACE_URL, f"gpen/subgraph/{template.name}"))
    links = template.links()
    nodes = {node.id: page_node(node, links) for node in template.nodes.values()}
    inner = [
        {
            "id": number,
            "origin_id": start.id,
            "origin_slot": index,
            "target_id": end.id,
            "target_slot": slot(end, name),
            "type": start.info["output"][index],
        }
        for number, (start, index, end, name) in enumerate(links, start=1)
    ]
    inputs, outputs = [], []
    for number, (name, targets) in enumerate(outside["inputs"].items()):
        taken = []
        for target in targets:
            node_name, _, input_name = target.partition(".")
            node = template.nodes[node_name]
            place, kind = slot(node, input_name), nodes[node.id]["inputs"]
            inner.append(_edge(inner, -10, number, node.id, place, kind[place]["type"]))
            nodes[node.id]["inputs"][place]["link"] = inner[-1]["id"]
            taken.append(inner[-1]["id"])
        widget = {"widget": {"name": name}} if "widget" in kind[place] else {}
        inputs.append({"name": name, "type": inner[-1]["type"], "linkIds": taken, **widget})
    for number, (name, source) in enumerate(outside["outputs"].items()):
        node_name, _, output_name = source.partition(".")
        node = template.nodes[node_name]
        index = node.output(output_name)
        inner.append(_edge(inner, node.id, index, -20, number, node.info["output"][index]))
        nodes[node.id]["outputs"][index]["links"].append(inner[-1]["id"])
        outputs.append({"name": name, "type": inner[-1]["type"], "linkIds": [inner[-1]["id"]]})
    right = max(node.position[0] + node.size[0] for node in template.nodes.values())
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"gpen/blueprint/{template.name}")),
        "revision": 0,
        "last_node_id": 1,
        "last_link_id": 0,
        "nodes": [
            {
                "id": 1,
                "type": identity,
                "pos": [0, 0],
                "size": [340, 200],
                "flags": {},
                "order": 0,
                "mode": 0,
                "title": template.name,
                "inputs": [
                    {key: each[key] for key in ("name", "type", "widget") if key in each}
                    | {"link": None}
                    for each in inputs
                ],
                "outputs": [
                    {"name": each["name"], "type": each["type"], "links": []} for each in outputs
                ],
                "properties": {"proxyWidgets": _promoted(template), **PACK},
                "widgets_values": [],
            }
        ],
        "links": [],
        "version": 0.4,
        "definitions": {
            "subgraphs": [
                {
                    "id": identity,
                    "version": 1,
                    "state": {
                        "lastGroupId": 0,
                        "lastNodeId": len(nodes),
                        "lastLinkId": len(inner),
                        "lastRerouteId": 0,
                    },
                    "revision": 0,
                    "config": {},
                    "name": template.name,
                    "category": "GPEN",
                    "description": outside["description"],
                    "inputNode": {"id": -10, "bounding": [-280, 0, 120, 40 + 20 * len(inputs)]},
                    "outputNode": {
                        "id": -20,
                        "bounding": [right + 160, 0, 120, 40 + 20 * len(outputs)],
                    },
                    "inputs": _ports(template.name, "in", inputs),
                    "outputs": _ports(template.name, "out", outputs),
                    "widgets": [],
                    "nodes": list(nodes.values()),
                    "groups": [],
                    "links": inner,
                    "extra": {},
                }
            ]
        },
        "extra": {"BlueprintSearchAliases": outside["aliases"]},
    }


def _edge(
    known: list[dict[str, Any]], start: int, index: int, end: int, place: int, kind: str
) -> dict[str, Any]:
    return {
        "id": len(known) + 1,
        "origin_id": start,
        "origin_slot": index,
        "target_id": end,
        "target_slot": place,
        "type": kind,
    }


def _ports(name: str, side: str, ports: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the subgraph takes or gives; made again, each keeps its identity."""
    return [
        {
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"gpen/{name}/{side}/{port['name']}")),
            **{key: port[key] for key in ("name", "type", "linkIds")},
            "localized_name": port["name"],
            "pos": [0, 20 * number],
        }
        for number, port in enumerate(ports)
    ]


def _promoted(template: Template) -> list[list[str]]:
    """Widgets of the inside that the outside shows."""
    assert template.subgraph is not None
    shown = []
    for targets in template.subgraph["inputs"].values():
        node_name, _, input_name = targets[0].partition(".")
        node = template.nodes[node_name]
        if input_name in node.widgets():
            shown.append([str(node.id), input_name])
    return shown


# --- files ---------------------------------------------------------------------------------------


def made(info: dict[str, Any]) -> dict[Path, str]:
    """Every file that is made, by its path."""
    files = {}
    for path in sorted(HERE.glob("*.yaml")):
        template = read(path, info)
        name = f"{template.name}.json"
        if template.subgraph:
            files[ROOT / "subgraphs" / name] = _text(blueprint(template))
        else:
            files[ROOT / "example_workflows" / name] = _text(page(template))
            twin = ROOT / "tests" / "comfyui" / "workflows" / name
            files[twin] = _text(prompt(template))
    return files


def _text(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def main(address: str) -> None:
    """Write the files."""
    with urllib.request.urlopen(f"{address.rstrip('/')}/object_info", timeout=60) as answer:
        info = json.loads(answer.read())
    for path, text in made(info).items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("Give the address of a running ComfyUI, as in the first lines here.")
    main(sys.argv[1])
