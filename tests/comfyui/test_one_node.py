"""Face Restore (GPEN), the first node that people try: found, run and understood at once."""

from __future__ import annotations

import json

import pytest
import torch
from host_graphs import DETECT, GROUP, NO_FACE, ONE, PASTE, PORTRAIT, done, failed, node


def graph(picture: str = PORTRAIT, **changes: object) -> dict:
    return {
        "image": node("LoadImage", image=picture),
        "all": node("GPEN_RestoreImage", image=["image", 0], **(ONE | changes)),
        **{
            f"c-{name}": node("Test_Capture", name=name, value=["all", place])
            for place, name in enumerate(("pasted", "changed", "count", "crops", "boxes"))
        },
        "c-image": node("Test_Capture", name="image", value=["image", 0]),
    }


def with_model(prompt: dict, file: str = "small.pth") -> dict:
    model = node("GPEN_LoadModel", file=file, precision="auto", device="auto")
    all_in_one = prompt["all"] | {"inputs": prompt["all"]["inputs"] | {"gpen_model": ["model", 0]}}
    return prompt | {"model": model, "all": all_in_one}


def inputs_of(host, kind: str = "GPEN_RestoreImage") -> dict:
    info = host.nodes.NODE_CLASS_MAPPINGS[kind].GET_NODE_INFO_V1()["input"]
    return {**info["required"], **info.get("optional", {})}


# --- the model -----------------------------------------------------------------------------------


def test_no_other_node_is_needed_and_a_second_run_loads_nothing(fresh):
    cache = fresh.module("nodes.host").CACHE
    cache.clear()
    before = cache.loads
    alone = done(fresh.run(graph(file="small.pth")))
    loads = cache.loads
    again = done(fresh.run(graph(file="small.pth", strength=0.5)))
    linked = done(fresh.run(with_model(graph())))
    assert alone["count"] == 1 and loads == before + 2  # the model and the detector
    assert cache.loads == loads, "the loader's model is the same"
    assert torch.equal(alone["pasted"], linked["pasted"])
    assert not torch.equal(alone["pasted"], again["pasted"])


def test_the_embedded_model_is_chosen_first(fresh):
    kind, options = inputs_of(fresh)["file"]
    choices = options.get("options", kind)
    assert options["default"] == choices[0] and choices[0].startswith("gpen-lite")
    assert done(fresh.run(graph()))["crops"].shape == (1, 256, 256, 3)


def test_a_file_that_is_gone_stops_only_who_needs_it(fresh):
    assert done(fresh.run(with_model(graph(file="gone.pth"))))["count"] == 1
    text = failed(fresh.run(graph(file="gone.pth")))
    assert "gone.pth" in text and "models" in text


def test_a_replaced_file_is_loaded_anew(fresh, base_folder, small_state):
    import os

    path = base_folder / "models" / "gpen" / "swapped.pth"
    torch.save({"g_ema": small_state}, path)
    first = done(fresh.run(graph(file=path.name)))
    bias = "generator.to_rgb1.bias"
    torch.save({"g_ema": small_state | {bias: small_state[bias] + 0.5}}, path)
    os.utime(path, (1, 1))
    try:
        assert not torch.equal(done(fresh.run(graph(file=path.name)))["pasted"], first["pasted"])
    finally:
        path.unlink()


# --- options and outputs -------------------------------------------------------------------------


def test_the_options_of_the_four_nodes_have_an_effect(fresh):
    def boxes(**changes: object) -> torch.Tensor:
        return done(fresh.run(graph(GROUP, file="small.pth", **changes)))["boxes"][0]

    everyone = boxes()
    left, right = boxes(keep="0", sort="left-right"), boxes(keep="0", sort="right-left")
    middle = everyone.shape[1] // 2
    assert left[:, middle:].max() == 0 < left.max() and right[:, :middle].max() == 0 < right.max()
    assert float(boxes(min_size=40).sum()) < float(everyone.sum()) > float(boxes(max_size=40).sum())


def test_faces_that_lie_on_their_side_are_found_with_rotations(fresh):
    picture, _ = fresh.nodes.LoadImage().load_image(PORTRAIT)
    fresh.feeds["lying"] = picture.transpose(1, 2).contiguous()
    prompt = graph(file="small.pth") | {"image": node("Test_Feed", name="lying")}
    assert done(fresh.run(prompt))["count"] == 0
    prompt["all"]["inputs"]["rotations"] = True
    assert done(fresh.run(prompt))["count"] == 1


def test_crops_and_boxes_come_out(fresh):
    got = done(fresh.run(graph(GROUP, file="small.pth", keep="0-2")))
    assert got["count"] == 3 and got["crops"].shape == (3, 64, 64, 3)
    assert got["boxes"].shape == got["image"].shape[:3] and 0 < float(got["boxes"].mean()) < 0.2
    nobody = done(fresh.run(graph(NO_FACE, file="small.pth")))
    assert nobody["crops"].shape == (1, 64, 64, 3) and float(nobody["crops"].max()) == 0


def test_a_mask_of_any_size_counts_and_an_unpainted_one_does_not(fresh):
    plain = done(fresh.run(graph(file="small.pth")))["pasted"]
    for name, mask, unlimited in (
        ("unpainted", torch.zeros(1, 64, 64), True),
        ("white", torch.ones(1, 30, 50), True),
        ("flat", torch.ones(40, 40), True),
        ("black", torch.zeros(1, 30, 50), False),
    ):
        fresh.feeds[name] = mask
        prompt = graph(file="small.pth", mask=["mask", 0])
        got = done(fresh.run(prompt | {"mask": node("Test_FeedMask", name=name)}))
        assert torch.equal(got["pasted"], plain) is unlimited, name
        if name == "black":
            assert torch.equal(got["pasted"], got["image"])


def test_a_wrong_number_of_masks_is_said_without_shapes(fresh):
    fresh.feeds["three"] = torch.ones(3, 30, 50)
    prompt = graph(file="small.pth", mask=["mask", 0])
    text = failed(fresh.run(prompt | {"mask": node("Test_FeedMask", name="three")}))
    assert "3 masks" in text and "torch.Size" not in text and "(3," not in text


# --- messages ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "widget", "value"),
    [
        ("GPEN_RestoreImage", "detector", "dlib"),
        ("GPEN_RestoreImage", "mask_type", "star"),
        ("GPEN_RestoreImage", "keep", "first"),
        ("GPEN_DetectFaces", "keep", "0-"),
        ("GPEN_DetectFaces", "detector", "dlib"),
        ("GPEN_SelectFaces", "keep", "1.5"),
        ("GPEN_PasteFaces", "exclude", "beard"),
        ("GPEN_PasteFaces", "mask_type", "star"),
    ],
)
def test_only_the_wrong_widget_is_blamed_before_the_run(fresh, kind, widget, value):
    prompt = _every_node()
    name = next(key for key, one in prompt.items() if one["class_type"] == kind)
    prompt[name]["inputs"][widget] = value
    accepted, said = fresh.validate(prompt)
    if accepted and json.loads(said)[1] == {}:
        if widget in ("detector", "mask_type"):
            pytest.skip("this host does not check menus before the run")
        pytest.fail(f"{widget}={value} was accepted")
    blamed = [
        error["extra_info"]["input_name"]
        for one in json.loads(said)[1].values()
        for error in one["errors"]
    ]
    assert blamed == [widget]


@pytest.mark.parametrize(("widget", "value"), [("detector", "dlib"), ("mask_type", "star")])
def test_a_wrong_menu_entry_is_named_at_the_run_at_the_latest(fresh, widget, value):
    text = failed(fresh.run(graph(file="small.pth", **{widget: value})))
    other = {"detector": "mask_type", "mask_type": "detector"}[widget]
    assert value in text and other not in text


def _every_node() -> dict:
    return graph(file="small.pth") | {
        "detect": node("GPEN_DetectFaces", image=["image", 0], **DETECT),
        "select": node("GPEN_SelectFaces", faces=["detect", 0], sort="detected", keep="all"),
        "paste": node("GPEN_PasteFaces", image=["image", 0], faces=["select", 0], **PASTE),
        "c-all": node("Test_Capture", name="four", value=["paste", 0]),
    }


# --- the search of the page ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "wanted",
    [
        "face",
        "portrait",
        "upscale face",
        "detailer",
        "restore",
        "gfpgan",
        "codeformer",
        "restoreformer",
        "reactor",
        "人脸修复",
    ],
)
def test_the_search_shows_it_in_the_first_rows(server, wanted):
    """By the order of the page's own search: names first, then aliases, best match first."""
    info = server.get("/object_info")
    if not info["GPEN_RestoreImage"].get("search_aliases") and wanted not in ("face", "restore"):
        pytest.skip("this host knows no aliases")
    ranks = {key: rank for key, one in info.items() if (rank := _rank(wanted, key, one))}
    rows = sorted(ranks, key=ranks.__getitem__)
    assert "GPEN_RestoreImage" in rows[:5], rows[:8]


def _rank(wanted: str, key: str, info: dict) -> tuple[float, ...] | None:
    """Smaller is earlier, None is not shown."""
    ranks = []
    for name in (key, info["display_name"] or key):
        lower = name.lower()
        if lower.startswith(wanted):
            ranks.append((1, 0, len(name)))
        elif wanted in lower.replace("_", " ").split():
            ranks.append((2, lower.index(wanted) + len(name) / 2, len(name)))
        elif wanted in lower:
            ranks.append((3, lower.index(wanted) + len(name) / 2, len(name)))
    for alias in info.get("search_aliases") or ():
        if wanted in alias.lower():
            ranks.append((9, 0 if alias.lower() == wanted else 1, 0))
    return min(ranks, default=None)


def test_the_search_in_chinese_finds_it_by_its_name(server):
    name = server.get("/i18n")["zh"]["nodeDefs"]["GPEN_RestoreImage"]["display_name"]
    assert name.startswith("人脸修复")


# --- searched once -------------------------------------------------------------------------------


def watched(fresh) -> list[int]:
    """Grows with the passes of the detector's first network, as it is loaded now."""
    passes: list[int] = []
    detector = fresh.module("nodes.host").load_detector("mtcnn")
    detector.network.pnet.register_forward_hook(lambda *_: passes.append(1))
    return passes


@pytest.fixture
def searched(fresh):
    """Runs a graph; gives whether the searching node ran, and how often its network did."""
    fresh.module("nodes.host").CACHE.clear()
    passes = watched(fresh)

    def run(prompt: dict) -> tuple[bool, int]:
        del passes[:]
        outcome = fresh.run(prompt)
        assert outcome.success, outcome.errors
        return "all" in outcome.ran or "detect" in outcome.ran, len(passes)

    return run


def test_another_model_precision_or_strength_does_not_search_again(searched, model_files):
    ran, first = searched(with_model(graph(GROUP)))
    assert ran and first > 0
    other = with_model(graph(GROUP), model_files["elsewhere"])
    half = with_model(graph(GROUP))
    half["model"]["inputs"]["precision"] = "bf16"
    for prompt in (other, half, graph(GROUP, file="small.pth", strength=0.3)):
        assert searched(prompt) == (True, 0)
    assert searched(with_model(graph(PORTRAIT)))[1] > 0, "another picture is another search"


def test_detect_does_not_search_again_for_another_model(searched):
    prompt = with_model(graph(GROUP, file="small.pth"))
    del prompt["all"]
    prompt = {key: one for key, one in prompt.items() if not key.startswith("c-")}
    detect = _every_node()["detect"]["inputs"] | {"gpen_model": ["model", 0]}
    prompt |= {
        "detect": node("GPEN_DetectFaces", **detect),
        "c": node("Test_Capture", name="crops", value=["detect", 1]),
    }
    assert searched(prompt)[1] > 0
    prompt["model"]["inputs"]["precision"] = "bf16"
    assert searched(prompt) == (True, 0)
    prompt["detect"]["inputs"]["rotations"] = True
    assert searched(prompt)[1] > 0


def test_what_was_found_is_forgotten_with_the_hosts_memory(fresh, searched):
    import comfy.model_management as memory

    assert searched(with_model(graph(GROUP)))[1] > 0
    memory.unload_all_models()
    passes = watched(fresh)
    done(fresh.run(with_model(graph(GROUP, strength=0.4))))
    assert passes, "nothing is left of the search before"


def test_only_so_many_pictures_are_remembered(fresh):
    searches = fresh.module("nodes.searches").Searches(limit=2)
    asked = []

    def find(value: float) -> None:
        def search():
            asked.append(value)
            return (torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, 5, 2))

        searches.get(torch.full((3, 4, 5), value), (16.0, 0.5), search)

    for value in (0.1, 0.2, 0.1, 0.3, 0.1, 0.2):
        find(value)
    assert asked == [0.1, 0.2, 0.3, 0.2], "0.1 was used last when 0.3 came"
    searches.get(torch.full((3, 5, 4), 0.1), (16.0, 0.5), lambda: asked.append("shape") or ())
    searches.get(torch.full((3, 4, 5), 0.1), (20.0, 0.5), lambda: asked.append("limits") or ())
    assert asked[-2:] == ["shape", "limits"]


# --- masks ---------------------------------------------------------------------------------------


def test_outlines_parts_and_occlusion_have_an_effect(fresh):
    def changed(**options: object) -> float:
        return float(done(fresh.run(graph(file="small.pth", **options)))["changed"].sum())

    outline = changed(mask_type="face")
    rest, mouth = (changed(mask_type="face", parts=parts) for parts in ("-mouth", "mouth"))
    assert 0 < mouth < rest < outline
    # A photograph without anything in front of the face loses little.
    assert 0.8 * changed() < changed(occlusion=True) <= changed()


def test_wrong_parts_are_named(fresh):
    assert "ears" in failed(fresh.run(graph(file="small.pth", parts="ears")))


def test_helpers_of_the_masks_are_no_models(fresh):
    offered = fresh.module("nodes.weights").model_choices()
    assert not [name for name in offered if "occlusion" in name or "mesh" in name]
