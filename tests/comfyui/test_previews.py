"""What nodes show of their faces, and say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from host_graphs import DETECT, GROUP, NO_FACE, PASTE, PORTRAIT, load, node
from PIL import Image


def graph(image: dict, sort: str = "detected", kept: str = "all", **changes: object) -> dict:
    return {
        "image": image,
        "detect": node("GPEN_DetectFaces", image=["image", 0], **(DETECT | changes)),
        "select": node("GPEN_SelectFaces", faces=["detect", 0], sort=sort, keep=kept),
        "c-faces": node("Test_Capture", name="faces", value=["detect", 0]),
        "c-selected": node("Test_Capture", name="selected", value=["select", 0]),
    }


@pytest.fixture
def shown(fresh):
    """Runs a graph; gives, by node, the pictures and the sentence that the page is sent."""

    def run(prompt: dict) -> dict:
        import folder_paths

        outcome = fresh.run(prompt)
        assert outcome.success, outcome.errors
        temp = Path(folder_paths.get_temp_directory())
        result = {}
        for event, data in fresh.sent:
            if event == "executed" and data["output"]:
                files = [temp / each["filename"] for each in data["output"].get("images", ())]
                result[data["node"]] = (files, data["output"]["text"][0])
        return result

    return run


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def test_the_preview_of_a_large_picture_is_small(fresh, shown):
    picture, _ = fresh.nodes.LoadImage().load_image(GROUP)
    enlarged = torch.nn.functional.interpolate(picture.permute(0, 3, 1, 2), (2400, 5600))
    fresh.feeds["large"] = enlarged.permute(0, 2, 3, 1)
    files, said = shown(graph(node("Test_Feed", name="large")))["detect"]
    assert said.startswith("2") and "1 picture" in said
    assert max(Image.open(files[0]).size) == 1024
    assert files[0].stat().st_size < 300_000


def test_nobody_kept_looks_different_from_nobody_found(shown):
    (kept,), _ = shown(graph(load(PORTRAIT)))["detect"]
    (left_out,), said = shown(graph(load(PORTRAIT), keep="none"))["detect"]
    (nobody,), nothing = shown(graph(load(PORTRAIT), min_size=500))["detect"]
    assert "1 face found" in said and "keep" in said and "keep" not in nothing
    colorful = [int(np.ptp(pixels(p) - pixels(nobody), axis=2).max()) for p in (kept, left_out)]
    assert colorful[0] > 150, "a kept face has a color of its own"
    assert np.abs(pixels(left_out) - pixels(nobody)).max() > 100, "one left out is marked too"
    assert np.ptp(pixels(left_out), axis=2).max() <= np.ptp(pixels(nobody), axis=2).max() + 30


def test_select_keeps_the_numbers_of_detect_and_shows_them(fresh, shown):
    result = shown(graph(load(GROUP), kept="0,2"))
    faces, selected = fresh.values["faces"][-1], fresh.values["selected"][-1]
    assert torch.equal(selected.boxes, faces.boxes[[0, 2]]), "0 is the face marked 0"
    (sheet,), said = result["select"]
    assert said == f"2 of {len(faces)} faces kept."
    cell = Image.open(sheet).width // 6
    # 29 faces in rows of six; those left out are gray and dim.
    color = [
        int(np.ptp(pixels(sheet)[: cell - 1, i * cell : (i + 1) * cell - 1], axis=2).max())
        for i in range(3)
    ]
    assert color[0] > 150 and color[2] > 150 and color[1] < 60


def test_select_says_when_nobody_is_kept(shown):
    files, said = shown(graph(load(GROUP), kept="99"))["select"]
    assert "keep '99' matches no face" in said and len(files) == 1
    files, said = shown(graph(load(NO_FACE)))["select"]
    assert said == "No face to select from." and files == []


def test_a_batch_says_how_many_pictures_it_shows(fresh, shown):
    picture, _ = fresh.nodes.LoadImage().load_image(PORTRAIT)
    fresh.feeds["six"] = picture.repeat(6, 1, 1, 1)
    files, said = shown(graph(node("Test_Feed", name="six")))["detect"]
    assert len(files) == 4
    assert said == "6 faces in 6 pictures. The preview shows the first 4 pictures."


def test_a_list_of_pictures_shows_all_of_them(fresh, shown):
    picture, _ = fresh.nodes.LoadImage().load_image(PORTRAIT)
    fresh.feeds["two"] = torch.cat([torch.zeros_like(picture), picture])
    prompt = graph(node("Test_Feed", name="two"))
    prompt["list"] = node("RebatchImages", images=["image", 0], batch_size=1)
    prompt["detect"]["inputs"]["image"] = ["list", 0]
    result = shown(prompt)
    assert len(result["detect"][0]) == 2 and len(result["select"][0]) == 1


def test_the_page_gets_previews_and_sentences_again_without_a_run(server):
    """A reloaded page knows nothing; the host sends what it kept, with the history and a re-run."""
    prompt = graph(load(PORTRAIT), kept="0", sort="center")
    del prompt["c-faces"], prompt["c-selected"]
    prompt["show"] = node("PreviewImage", images=["detect", 1])
    prompt["say"] = node("PreviewAny", source=["select", 1])
    first, second = server.run(prompt), server.run(prompt)
    for entry in (first, second):
        assert entry["outputs"]["detect"]["text"] == ["1 face in 1 picture."]
        assert entry["outputs"]["select"]["text"] == ["1 of 1 faces kept."]
        image = entry["outputs"]["detect"]["images"][0]
        query = f"filename={image['filename']}&type={image['type']}&subfolder={image['subfolder']}"
        assert server.read(f"/view?{query}")[:2] == b"\xff\xd8"


# --- bypass: the page joins a node's outputs to its first inputs of the same type ----------------

RESTORE = {"strength": 1.0, "batch_size": 4, "seed": 0}


def recipe() -> dict:
    prompt = graph(load(PORTRAIT))
    return prompt | {
        "model": node("GPEN_LoadModel", file="small.pth", precision="fp32", device="auto"),
        "restore": node(
            "GPEN_RestoreFaces", gpen_model=["model", 0], faces=["select", 0], **RESTORE
        ),
        "paste": node("GPEN_PasteFaces", image=["image", 0], faces=["restore", 0], **PASTE),
        "c-image": node("Test_Capture", name="image", value=["image", 0]),
        "c-pasted": node("Test_Capture", name="pasted", value=["paste", 0]),
    }


def bypassed(host, prompt: dict, name: str) -> dict:
    """The prompt that the page sends when this node is bypassed."""
    kind = host.nodes.NODE_CLASS_MAPPINGS[prompt[name]["class_type"]]
    info, linked = kind.GET_NODE_INFO_V1(), prompt[name]["inputs"]
    types = {
        key: spec[0]
        for group in ("required", "optional")
        for key, spec in info["input"].get(group, {}).items()
    }
    through = {
        slot: next((linked[key] for key in types if types[key] == output and key in linked), None)
        for slot, output in enumerate(info["output"])
    }
    result = {}
    for key, one in prompt.items():
        if key == name:
            continue
        inputs = {
            each: through[value[1]] if isinstance(value, list) and value[0] == name else value
            for each, value in one["inputs"].items()
        }
        result[key] = one | {"inputs": {k: v for k, v in inputs.items() if v is not None}}
    return result


@pytest.mark.parametrize(
    ("name", "unrestored"), [("restore", True), ("paste", True), ("select", False)]
)
def test_a_bypassed_node_gives_a_picture_and_no_error(fresh, shown, name, unrestored):
    result = shown(bypassed(fresh, recipe(), name))
    same = torch.equal(fresh.values["pasted"][-1], fresh.values["image"][-1])
    assert same is unrestored
    if name == "restore":
        assert "is Restore Faces bypassed?" in result["paste"][1]
