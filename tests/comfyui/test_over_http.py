"""The nodes in a host of its own, spoken to over HTTP as the browser does."""

from __future__ import annotations

import copy
import importlib.util
import io
import json
import os
import shutil
import sys
import time
import urllib.error
import urllib.parse
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RESTORE = "1 Restore faces in an old photograph"
TEXT_TO_IMAGE = "2 Restore faces after text to image"
GROUP = "3 Choose faces in a group picture"
STEPS = "4 Step by step or in one node"
ENLARGE = "5 Enlarge a picture with its faces"
TWINS = sorted((HERE / "workflows").glob("*.json"))
# What these need beside the pack: files nobody ships with a node pack.
NEEDS_A_FILE = {
    TEXT_TO_IMAGE: "ckpt_name",
    ENLARGE: "model_name",
}


def twin(name: str) -> dict:
    return json.loads((HERE / "workflows" / f"{name}.json").read_text(encoding="utf-8"))


def available(server, graph: dict) -> dict:
    """The graph with a model file that is there: the random one of the tests."""
    graph = copy.deepcopy(graph)
    for entry in graph.values():
        if "file" in entry["inputs"] and entry["class_type"].startswith("GPEN_"):
            entry["inputs"]["file"] = "small.pth"
    return graph


def with_model(graph: dict) -> dict:
    """Inputs of the first node that names a model file."""
    return next(entry["inputs"] for entry in graph.values() if "file" in entry["inputs"])


def errors(entry: dict) -> list[str]:
    return [
        data["exception_message"]
        for event, data in entry["status"]["messages"]
        if event == "execution_error"
    ]


def picture(server, image: dict) -> np.ndarray:
    query = (
        f"/view?filename={image['filename']}&type={image['type']}&subfolder={image['subfolder']}"
    )
    return np.asarray(Image.open(io.BytesIO(server.read(query))).convert("RGB"))


def test_the_host_lists_the_nodes(server):
    info = server.get("/object_info")
    ours = {key: value["display_name"] for key, value in info.items() if key.startswith("GPEN_")}
    assert ours == {
        "GPEN_LoadModel": "Load GPEN Model",
        "GPEN_RestoreImage": "Face Restore (GPEN)",
        "GPEN_RestoreVideo": "Restore Video (GPEN)",
        "GPEN_DetectFaces": "Detect and Align Faces",
        "GPEN_SelectFaces": "Select Faces",
        "GPEN_SelectPerson": "Select Person",
        "GPEN_TrackFaces": "Track Faces",
        "GPEN_RestoreFaces": "Restore Faces",
        "GPEN_PasteFaces": "Paste Back",
        "GPEN_ColorizeFaces": "Colorize Faces",
        "GPEN_InpaintFaces": "Inpaint Faces",
        "GPEN_FaceFromMap": "Face from Map",
        "GPEN_DegradeImage": "Degrade Image",
    }
    files = info["GPEN_LoadModel"]["input"]["required"]["file"][1]["options"]
    assert "small.pth" in files


@pytest.mark.parametrize("path", TWINS, ids=lambda path: path.stem)
def test_every_workflow_runs(server, path):
    graph = available(server, twin(path.stem))
    if path.stem in NEEDS_A_FILE:
        status, answer = server.post("/prompt", {"prompt": graph})
        text = json.dumps(answer)
        # Only the file that the user has to choose is missing. Older hosts find out at run time.
        if status == 200:
            text = json.dumps(server.wait_for(answer["prompt_id"])["status"]["messages"])
            assert "UpscaleModelLoader" in text and "execution_success" not in text, text
        else:
            assert NEEDS_A_FILE[path.stem] in text and "GPEN" not in text, text
        return
    entry = server.run(graph)
    assert entry["status"]["status_str"] == "success", errors(entry)
    saved = [n for n, v in graph.items() if v["class_type"].startswith(("Save", "Preview"))]
    assert saved and all(node in entry["outputs"] for node in saved)


def test_the_text_to_image_workflow_runs_up_to_the_checkpoint(server):
    """Its GPEN part, with a photograph in the place of the decoded picture."""
    graph = available(server, twin(TEXT_TO_IMAGE))
    decoded = next(k for k, v in graph.items() if v["class_type"] == "VAEDecode")
    kept = {
        k: v
        for k, v in graph.items()
        if v["class_type"].startswith(("GPEN_", "Save")) or k == decoded
    }
    kept[decoded] = {"class_type": "LoadImage", "inputs": {"image": "astronaut-damaged.jpg"}}
    entry = server.run(kept)
    assert entry["status"]["status_str"] == "success", errors(entry)


def test_four_nodes_and_one_differ_nowhere(server):
    graph = available(server, twin(STEPS))
    entry = server.run(graph)
    blend = next(k for k, v in graph.items() if v["class_type"] == "ImageBlend")
    shown = next(
        k
        for k, v in graph.items()
        if v["class_type"] == "PreviewImage" and v["inputs"]["images"][0] == blend
    )
    difference = picture(server, entry["outputs"][shown]["images"][0])
    assert int(difference.max()) <= 1


def test_detect_shows_a_preview_with_the_faces_drawn_in(server):
    graph = available(server, twin(GROUP))
    entry = server.run(graph)
    detect = next(k for k, v in graph.items() if v["class_type"] == "GPEN_DetectFaces")
    shown = picture(server, entry["outputs"][detect]["images"][0])
    original = np.asarray(Image.open(server.base / "input" / "solvay-1927.jpg").convert("RGB"))
    assert max(shown.shape) == 1024 < max(original.shape)
    colors = np.ptp(shown.astype(int), axis=2)
    assert colors.max() > 150, "the faces of a gray picture are marked in colors"


def test_a_saved_picture_carries_a_workflow_that_runs_again(server):
    graph = available(server, twin(RESTORE))
    save = next(k for k, v in graph.items() if v["class_type"] == "SaveImage")
    graph[save]["inputs"]["filename_prefix"] = "reload"
    first = server.run(graph)["outputs"][save]["images"][0]
    path = server.base / "output" / first["subfolder"] / first["filename"]
    again = json.loads(Image.open(path).info["prompt"])
    assert again[save]["inputs"]["filename_prefix"] == "reload"
    restore = next(k for k, v in again.items() if v["class_type"] == "GPEN_RestoreImage")
    again[restore]["inputs"]["batch_size"] = 1
    entry = server.run(again)
    second = entry["outputs"][save]["images"][0]
    assert np.array_equal(picture(server, first), picture(server, second))


def test_interrupting_in_mid_batch_leaves_the_next_prompt_healthy(server):
    graph = available(server, twin(GROUP))
    image = next(k for k, v in graph.items() if v["class_type"] == "LoadImage")
    frames = {"image": [image, 0], "amount": 8}  # of 29 faces, which takes seconds
    for entry in graph.values():
        if entry["inputs"].get("image") == [image, 0]:
            entry["inputs"]["image"] = ["frames", 0]
        if entry["class_type"] == "GPEN_SelectFaces":
            entry["inputs"]["keep"] = "all"
        if entry["class_type"] == "GPEN_RestoreFaces":
            entry["inputs"]["batch_size"] = 1
        if entry["class_type"] == "GPEN_LoadModel":
            entry["inputs"]["file"] = "gpen-lite-256.safetensors"
    graph["frames"] = {"class_type": "RepeatImageBatch", "inputs": frames}
    status, answer = server.post("/prompt", {"prompt": graph})
    assert status == 200, answer
    end = time.monotonic() + 60
    while time.monotonic() < end and not server.get("/queue")["queue_running"]:
        time.sleep(0.05)
    time.sleep(0.5)
    server.post("/interrupt", {})
    entry = server.wait_for(answer["prompt_id"], 60)
    events = [event for event, _ in entry["status"]["messages"]]
    assert "execution_interrupted" in events and "execution_error" not in events
    healthy = server.run(available(server, twin(RESTORE)))
    assert healthy["status"]["status_str"] == "success", errors(healthy)


def test_the_model_is_loaded_once_over_three_workflows(server):
    server.post("/free", {"unload_models": True, "free_memory": True})
    time.sleep(2)
    start = server.log.read_text(errors="replace").count("small.pth: gpen-v1")
    first = available(server, twin(RESTORE))
    between = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "no-face.png"}},
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    }
    for graph in (first, between, first):
        changed = copy.deepcopy(graph)
        for entry in changed.values():
            if entry["class_type"] == "GPEN_RestoreImage":
                # Another value each time, so that the node runs and is not taken from the cache.
                entry["inputs"]["strength"] = time.monotonic() % 1
        assert server.run(changed)["status"]["status_str"] == "success"
    loads = server.log.read_text(errors="replace").count("small.pth: gpen-v1") - start
    assert loads == 1


# --- workflows that keep working -----------------------------------------------------------------

OLD_LOADER = {"class_type": "FaceRestoreModelLoader", "inputs": {"model_name": "codeformer.pth"}}
OLD_RESTORERS = {
    "FaceRestoreCFWithModel": {
        "facerestore_model": ["model", 0],
        "facedetection": "retinaface_resnet50",
        "codeformer_fidelity": 0.5,
    },
    "ReActorRestoreFace": {
        "facedetection": "retinaface_resnet50",
        "model": "GFPGANv1.4.pth",
        "visibility": 0.6,
        "codeformer_weight": 0.5,
    },
    "ReActorRestoreFaceAdvanced": {
        "facedetection": "YOLOv5n",
        "model": "codeformer-v0.1.0.pth",
        "visibility": 0.8,
        "codeformer_weight": 0.5,
        "face_selection": "all",
    },
}


@pytest.fixture
def replacements(server) -> dict:
    """What the host replaces, or a skip on one that replaces nothing."""
    try:
        return server.get("/node_replacements")
    except urllib.error.HTTPError as error:
        assert error.code == 404
        pytest.skip("this host knows no node replacements")


def old_prompt(kind: str) -> dict:
    """A prompt as it was saved with the other pack; `_meta` is what the page adds."""
    graph = {
        "image": {"class_type": "LoadImage", "inputs": {"image": "astronaut-damaged.jpg"}},
        "model": copy.deepcopy(OLD_LOADER),
        "restore": {
            "class_type": kind,
            "inputs": {"image": ["image", 0], **copy.deepcopy(OLD_RESTORERS[kind])},
        },
        "save": {
            "class_type": "SaveImage",
            "inputs": {"images": ["restore", 0], "filename_prefix": "old"},
        },
    }
    if "facerestore_model" not in OLD_RESTORERS[kind]:
        del graph["model"]
    return {key: {**entry, "_meta": {"title": key}} for key, entry in graph.items()}


@pytest.mark.parametrize("kind", OLD_RESTORERS)
def test_an_old_workflow_of_another_pack_runs_with_ours(server, replacements, kind):
    graph = old_prompt(kind)
    entry = server.run(graph)
    assert entry["status"]["status_str"] == "success", errors(entry)
    ran = entry["prompt"][2]["restore"]
    assert ran["class_type"] == "GPEN_RestoreImage"
    # The strength is the old visibility, where there was one.
    assert ran["inputs"]["strength"] == OLD_RESTORERS[kind].get("visibility", 1.0)
    original = Image.open(server.base / "input" / "astronaut-damaged.jpg").convert("RGB")
    result = picture(server, entry["outputs"]["save"]["images"][0])
    assert not np.array_equal(result, np.asarray(original))


def test_replacements_name_inputs_that_exist_and_leave_no_widget_open(server, replacements):
    info = server.get("/object_info")
    ours = {
        old: each
        for old, entries in replacements.items()
        for each in entries
        if each["new_node_id"].startswith("GPEN_")
    }
    assert set(ours) == {*OLD_RESTORERS, "FaceRestoreModelLoader"}
    for old, each in ours.items():
        known = info[each["new_node_id"]]["input"]
        given = {mapped["new_id"] for mapped in each["input_mapping"]}
        assert given <= set(known["required"]) | set(known.get("optional", {})), old
        assert set(known["required"]) <= given, old


SAVED_LABELS = [
    "GPEN-BFR-512 (download, 284 MB, non-commercial)",
    "GPEN-BFR-512 (download, 284 MB)",
    "GPEN-BFR-512 (download, size unknown, non-commercial)",
]


@pytest.mark.parametrize("workflow", [RESTORE, GROUP])
@pytest.mark.parametrize("label", SAVED_LABELS)
def test_a_saved_entry_is_found_by_its_name(server, label, workflow):
    """Whatever its label said of the size; the file is there by now and needs no download."""
    path = server.base / "models" / "facerestore_models" / "GPEN-BFR-512.safetensors"
    shutil.copy(ROOT / "weights" / "gpen-lite-256.safetensors", path)
    try:
        graph = available(server, twin(workflow))
        with_model(graph)["file"] = label
        entry = server.run(graph)
        assert entry["status"]["status_str"] == "success", errors(entry)
    finally:
        path.unlink()


@pytest.mark.parametrize("name", ["GPEN-BFR-512.pth", "faces\\gpen-bfr-512.pth"])
def test_a_missing_file_offers_its_download(server, name):
    """The loader before the run, the one node in it: a model that is connected needs no file."""
    offer = "choose 'GPEN-BFR-512 (download, 284 MB, non-commercial)' to download it"
    graph = available(server, twin(GROUP))
    with_model(graph)["file"] = name
    status, answer = server.post("/prompt", {"prompt": graph})
    assert status == 400 and offer in json.dumps(answer)
    with_model(graph)["file"] = "of-my-own.pth"
    status, answer = server.post("/prompt", {"prompt": graph})
    assert status == 400 and "choose another file" in json.dumps(answer)
    graph = available(server, twin(RESTORE))
    with_model(graph)["file"] = name
    assert offer in " ".join(errors(server.run(graph)))


def test_wrong_requests_get_an_answer_and_no_traceback(server):
    graph = available(server, twin(RESTORE))
    restore = next(k for k, v in graph.items() if v["class_type"] == "GPEN_RestoreImage")
    graph[restore]["inputs"]["confidence"] = 7
    status, answer = server.post("/prompt", {"prompt": graph})
    assert status == 400 and "confidence" in json.dumps(answer)


def test_a_start_makes_the_model_folders_and_writes_nothing_else(server, host_folder, tmp_path):
    """Beside the samples that the templates load; compared with a start without the pack."""

    def started(base: Path, *packs: Path) -> set[str]:
        for name in ("custom_nodes", "input", "output", "temp", "user", "models"):
            (base / name).mkdir(parents=True)
        for pack in packs:
            (base / "custom_nodes" / "gpen").symlink_to(pack, target_is_directory=True)
        running = type(server)(host_folder, base)
        try:
            running.wait()
            assert ("GPEN_DetectFaces" in running.get("/object_info")) is bool(packs)
        finally:
            running.stop()
        found = (
            Path(each) / name
            for each, folders, files in os.walk(base)
            for name in [*folders, *files]
        )
        return {path.relative_to(base).as_posix() for path in found}

    without, ours = started(tmp_path / "without"), started(tmp_path / "with", ROOT)
    samples = {f"input/{path.name}" for path in (ROOT / "docs" / "samples").iterdir()}
    written = {path for path in ours - without if path not in samples}
    assert written == {
        "custom_nodes/gpen",
        "models/gpen",
        "models/facedetection",
        "user/gpen",
        "user/gpen/samples-offered",
    }


def test_help_templates_and_locales_are_served(server):
    templates = server.get("/workflow_templates")
    ours = templates["gpen"]
    names = sorted(path.stem for path in (ROOT / "example_workflows").glob("*.json"))
    assert sorted(ours) == names and len(names) == 7
    for name in map(urllib.parse.quote, names):
        assert server.read(f"/api/workflow_templates/gpen/{name}.json")
        assert server.read(f"/api/workflow_templates/gpen/{name}.jpg")[:2] == b"\xff\xd8"
    scripts = {each for each in server.get("/extensions") if each.startswith("/extensions/gpen/")}
    assert scripts == {
        f"/extensions/gpen/js/{path.name}" for path in (ROOT / "web" / "js").glob("*.js")
    }
    locales = server.get("/i18n")
    assert "GPEN_PasteFaces" in locales["zh"]["nodeDefs"]
    assert all(locales[each]["templateWorkflows"]["category"]["gpen"] for each in ("en", "zh"))
    docs = ROOT / "web" / "docs"
    pages = [*docs.glob("*.md"), *docs.glob("*/zh.md")]
    assert len(pages) == 2 * 13
    for page in pages:
        place = page.relative_to(docs).as_posix()
        assert server.read(f"/extensions/gpen/docs/{place}") == page.read_bytes()


@pytest.mark.parametrize("path", TWINS, ids=lambda path: path.stem)
def test_the_workflow_file_and_its_twin_say_the_same(server, path):
    """The UI file, translated as the page does it, is the API graph that the tests run."""
    info = server.get("/object_info")
    text = (ROOT / "example_workflows" / path.name).read_text(encoding="utf-8")
    page = json.loads(text)
    kinds = {node["type"] for node in page["nodes"]}
    assert kinds - set(info) == {"MarkdownNote"}
    links = {link[0]: [str(link[1]), link[2]] for link in page["links"]}
    graph = {}
    for node in page["nodes"]:
        if node["type"] != "MarkdownNote":
            graph[str(node["id"])] = {
                "class_type": node["type"],
                "inputs": _inputs(node, info[node["type"]], links),
            }
    expected = {
        key: {"class_type": v["class_type"], "inputs": v["inputs"]}
        for key, v in twin(path.stem).items()
    }
    assert set(graph) == set(expected)
    for key, made in graph.items():
        names = set(made["inputs"]) | set(expected[key]["inputs"])
        if not made["class_type"].startswith("GPEN_"):
            # Hosts add widgets to their own nodes, and change their kind.
            names = set(made["inputs"]) & set(expected[key]["inputs"])
        for name in names:
            assert made["inputs"].get(name) == expected[key]["inputs"].get(name), (key, name)


def _inputs(node: dict, info: dict, links: dict) -> dict:
    linked = {i["name"]: links[i["link"]] for i in node["inputs"] if i["link"] is not None}
    values, result = list(node["widgets_values"]), {}
    for group in ("required", "optional"):
        for name, spec in info["input"].get(group, {}).items():
            kind, options = spec[0], spec[1] if len(spec) > 1 else {}
            if isinstance(kind, list) or kind in ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"):
                if group == "optional" and not values:
                    continue  # it came after the file was saved
                value = values.pop(0) if values else options.get("default")
                hidden = name in ("seed", "noise_seed") and kind == "INT"
                if hidden and options.get("control_after_generate") is not False:
                    values.pop(0)
                if options.get("image_upload") or options.get("video_upload"):
                    values.pop(0)
                result[name] = linked.get(name, value)
            elif name in linked:
                result[name] = linked[name]
    return result


# --- files made from descriptions ----------------------------------------------------------------

MADE_WITH = "0.33.0"


def maker():
    """templates/make.py as a module."""
    place = importlib.util.spec_from_file_location("make_templates", ROOT / "templates" / "make.py")
    module = importlib.util.module_from_spec(place)
    sys.modules[place.name] = module
    place.loader.exec_module(module)
    return module


def test_shipped_workflows_are_what_their_descriptions_make(server):
    """Where a widget was added to a node: run templates/make.py with a host of this version."""
    version = server.get("/system_stats")["system"]["comfyui_version"]
    if version != MADE_WITH:
        pytest.skip(f"the files are made with ComfyUI {MADE_WITH}, and this is {version}")
    files = maker().made(server.get("/object_info"))
    assert len(files) == 2 * len(TWINS) + 1
    for path, text in files.items():
        assert path.read_text(encoding="utf-8") == text, path.name
    for folder in ("example_workflows", "subgraphs"):
        assert set((ROOT / folder).glob("*.json")) <= set(files)


def test_every_node_names_its_pack_and_the_models_it_may_need():
    catalogue = json.loads((ROOT / "gpen_core/weights/catalogue.json").read_text(encoding="utf-8"))
    published = {each["filename"]: each for each in catalogue["files"]}
    for path in (ROOT / "example_workflows").glob("*.json"):
        for node in json.loads(path.read_text(encoding="utf-8"))["nodes"]:
            own = node["properties"]
            if node["type"] == "MarkdownNote":
                continue
            ours = node["type"].startswith("GPEN_")
            assert own["cnr_id"] == ("gpen" if ours else "comfy-core") and own["ver"]
            models = {each["name"]: each for each in own.get("models", [])}
            for name in {"ckpt_name", "model_name"} & {each["name"] for each in node["inputs"]}:
                assert set(models) & set(node["widgets_values"]), (path.name, name)
            if ours and "file" in {each["name"] for each in node["inputs"]}:
                assert models["GPEN-BFR-512.pth"]["directory"] == "gpen"
                assert models["GPEN-BFR-512.pth"]["url"].startswith("https://huggingface.co/")
                for name, each in models.items():
                    assert each["url"] in published[name]["urls"]
                    assert each.get("hash") in (published[name]["sha256"], None)


def test_the_blueprint_is_offered_and_its_wires_fit(server):
    try:
        listed = server.get("/global_subgraphs")
    except urllib.error.HTTPError as error:
        assert error.code == 404
        pytest.skip("this host knows no blueprints")
    ours = [key for key, each in listed.items() if each["info"]["node_pack"] == "custom_nodes.gpen"]
    assert [listed[key]["name"] for key in ours] == ["Face Restore step by step (GPEN)"]
    content = json.loads(server.get(f"/global_subgraphs/{ours[0]}")["data"])
    (inside,) = content["definitions"]["subgraphs"]
    assert content["nodes"][0]["type"] == inside["id"]
    nodes = {node["id"]: node for node in inside["nodes"]}
    assert {node["type"] for node in nodes.values()} == {
        "GPEN_LoadModel",
        "GPEN_DetectFaces",
        "GPEN_SelectFaces",
        "GPEN_RestoreFaces",
        "GPEN_PasteFaces",
    }
    for link in inside["links"]:
        start, end = link["origin_id"], link["target_id"]
        source = inside["inputs"] if start == -10 else nodes[start]["outputs"]
        target = inside["outputs"] if end == -20 else nodes[end]["inputs"]
        assert source[link["origin_slot"]]["type"] == link["type"]
        assert target[link["target_slot"]]["type"] == link["type"]
        if end != -20:
            assert target[link["target_slot"]]["link"] == link["id"]
