"""The nodes in the real executor of the host."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import host_graphs
import numpy as np
import pytest
import torch
from host_graphs import (
    GROUP,
    NO_FACE,
    ONE,
    PASTE,
    PORTRAIT,
    capture,
    done,
    failed,
    feed,
    load,
    node,
    tiny_esrgan,
)
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
DETECT = host_graphs.DETECT | {"crop_size": 512}


def loader(file: str = "small.pth") -> dict:
    return node("GPEN_LoadModel", file=file, precision="fp32", device="auto")


def four(image: dict, model: dict | None = None, **changes: object) -> dict:
    """Load, detect, restore, paste and captures of what they give."""
    changes = dict(changes)
    detect = DETECT | {k: changes.pop(k) for k in list(changes) if k in DETECT}
    paste = PASTE | {k: changes.pop(k) for k in list(changes) if k in PASTE}
    restore = {"strength": 1.0, "batch_size": 4, "seed": 0} | changes
    return {
        "model": model or loader(),
        "image": image,
        "detect": node("GPEN_DetectFaces", image=["image", 0], gpen_model=["model", 0], **detect),
        "restore": node(
            "GPEN_RestoreFaces", gpen_model=["model", 0], faces=["detect", 0], **restore
        ),
        "paste": node("GPEN_PasteFaces", image=["image", 0], faces=["restore", 0], **paste),
        "c-image": capture("image", ["image", 0]),
        "c-faces": capture("faces", ["detect", 0]),
        "c-crops": capture("crops", ["detect", 1]),
        "c-boxes": capture("boxes", ["detect", 2]),
        "c-count": capture("count", ["detect", 3]),
        "c-restored": capture("restored", ["restore", 1]),
        "c-pasted": capture("pasted", ["paste", 0]),
        "c-changed": capture("changed", ["paste", 1]),
    }


def one(image: dict, model: dict | None = None, **changes: object) -> dict:
    return {
        "model": model or loader(),
        "image": image,
        "all": node(
            "GPEN_RestoreImage", gpen_model=["model", 0], image=["image", 0], **(ONE | changes)
        ),
        "c-image": capture("image", ["image", 0]),
        "c-pasted": capture("pasted", ["all", 0]),
        "c-changed": capture("changed", ["all", 1]),
        "c-count": capture("count", ["all", 2]),
    }


@pytest.fixture
def portrait(host) -> torch.Tensor:
    """IMAGE (1, 512, 512, 3) with one face."""
    picture, _ = host.nodes.LoadImage().load_image(PORTRAIT)
    return picture


# --- the recipe ----------------------------------------------------------------------------------


def test_the_four_nodes_restore_a_photograph(fresh):
    got = done(fresh.run(four(load(PORTRAIT))))
    assert got["count"] == 1
    assert got["crops"].shape == (1, 64, 64, 3) and got["restored"].shape == (1, 64, 64, 3)
    assert got["boxes"].shape == (1, 512, 512) and 0.005 < float(got["boxes"].mean()) < 0.3
    assert got["pasted"].shape == got["image"].shape
    assert float(got["pasted"].min()) >= 0 and float(got["pasted"].max()) <= 1
    outside = got["changed"] == 0
    assert bool(outside.any()) and not bool(outside.all())
    assert torch.equal(got["pasted"][outside], got["image"][outside])
    assert not torch.equal(got["pasted"], got["image"])


SAME = {"mask": "ellipse", "color_match": 0.5, "strength": 0.8}


@pytest.fixture(scope="module")
def by_command(host, base_folder, kinds, tmp_path_factory) -> Path:
    """A folder of what `run_gpen.py`, in a process of its own, makes of the pictures `kinds`."""
    folder, model = tmp_path_factory.mktemp("command"), base_folder / "models/gpen/small.pth"
    flags = [text for name, value in SAME.items() for text in (f"--{name}", str(value))]
    command = [sys.executable, str(ROOT / "run_gpen.py"), "--face_align", "--input", str(kinds)]
    command += ["--output", str(folder), "--model_path", str(model), "--precision", "fp32", *flags]
    subprocess.run(command, check=True, cwd=ROOT)
    return folder


@pytest.mark.parametrize("kind", ["color", "gray", "sepia", "alpha", "several"])
def test_nodes_library_and_command_give_the_same_bits(fresh, base_folder, kinds, by_command, kind):
    """One node, four nodes and the library to the last bit, the command to the file's 8 bits."""
    mode = "RGBA" if kind == "alpha" else "RGB"
    pixels = np.asarray(Image.open(kinds / f"{kind}.png").convert(mode))
    fresh.feeds["picture"] = torch.tensor(pixels)[None].float() / 255
    changes = {"mask_type" if name == "mask" else name: value for name, value in SAME.items()}
    step_by_step = done(fresh.run(four(feed("picture"), **changes)))
    at_once = done(fresh.run(one(feed("picture"), **changes)))
    assert at_once["count"] == step_by_step["count"] == (3 if kind == "several" else 1)
    assert torch.equal(at_once["pasted"], step_by_step["pasted"])
    assert torch.equal(at_once["changed"], step_by_step["changed"])
    library = sys.modules[next(name for name in sys.modules if name.endswith("gpen.gpen_core"))]
    model = library.load_model(base_folder / "models" / "gpen" / "small.pth")
    by_library = library.restore_image(fresh.feeds["picture"], model, **SAME)
    assert torch.equal(by_library.image, at_once["pasted"])
    written = np.asarray(Image.open(by_command / f"{kind}.png").convert(mode))
    expected = (at_once["pasted"][0] * 255).round().to(torch.uint8).numpy()
    assert np.array_equal(written, expected)
    assert not torch.equal(at_once["pasted"], fresh.feeds["picture"])


def test_without_a_model_the_crop_size_decides(fresh):
    prompt = four(load(PORTRAIT), crop_size=256)
    del prompt["detect"]["inputs"]["gpen_model"]
    assert done(fresh.run(prompt))["crops"].shape == (1, 256, 256, 3)


def test_strength_zero_is_the_aligned_input(fresh):
    got = done(fresh.run(four(load(PORTRAIT), strength=0.0)))
    torch.testing.assert_close(got["restored"], got["crops"], atol=1e-5, rtol=0)


def test_upscaling_enlarges_picture_and_mask(fresh):
    got = done(fresh.run(one(load(PORTRAIT), upscale="2")))
    assert got["pasted"].shape == (1, 1024, 1024, 3) and got["changed"].shape == (1, 1024, 1024)


@pytest.mark.parametrize("mask", ["ellipse", "hull"])
def test_masks_change_less_than_the_rectangle(fresh, mask):
    whole = done(fresh.run(one(load(PORTRAIT))))["changed"].mean()
    part = done(fresh.run(one(load(PORTRAIT), mask_type=mask)))["changed"].mean()
    assert 0 < part < whole


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_stays_near_fp32(fresh, precision):
    exact = done(fresh.run(one(load(PORTRAIT))))["pasted"]
    half = loader()
    half["inputs"]["precision"] = precision
    got = done(fresh.run(one(load(PORTRAIT), half)))["pasted"]
    assert got.dtype == torch.float32
    assert float((got - exact).abs().mean()) < 0.01 and not torch.equal(got, exact)


# --- chaining ------------------------------------------------------------------------------------


def test_two_restorers_in_a_row(fresh):
    prompt = four(load(PORTRAIT))
    once = done(fresh.run(prompt))
    prompt["again"] = node(
        "GPEN_RestoreFaces",
        gpen_model=["model", 0],
        faces=["restore", 0],
        strength=1.0,
        batch_size=4,
        seed=0,
    )
    prompt["paste"]["inputs"]["faces"] = ["again", 0]
    twice = done(fresh.run(prompt))
    assert not torch.equal(once["pasted"], twice["pasted"])


def test_one_detection_feeds_two_restorers(fresh):
    prompt = four(load(PORTRAIT))
    prompt["half"] = copy.deepcopy(prompt["restore"])
    prompt["half"]["inputs"]["strength"] = 0.5
    prompt["c-half"] = capture("half", ["half", 1])
    got = done(fresh.run(prompt))
    middle = (got["crops"] + got["restored"]) / 2
    torch.testing.assert_close(got["half"], middle, atol=1e-4, rtol=0)


def test_detect_select_restore_touches_only_the_selected(fresh):
    prompt = four(load(GROUP))
    prompt["select"] = node("GPEN_SelectFaces", faces=["detect", 0], sort="left-right", keep="0,2")
    prompt["restore"]["inputs"]["faces"] = ["select", 0]
    prompt["c-selected"] = capture("selected", ["select", 0])
    prompt["c-kept"] = capture("kept", ["select", 1])
    got = done(fresh.run(prompt))
    assert got["count"] >= 25 and got["kept"] == 2
    left = got["selected"].boxes[:, 0]
    assert float(left[0]) < float(left[1])
    untouched = got["changed"][0, :, got["changed"].shape[2] // 2 :]
    assert float(untouched.max()) == 0


def test_crops_edited_by_another_node_are_pasted(fresh):
    prompt = four(load(PORTRAIT))
    prompt["invert"] = node("ImageInvert", image=["restore", 1])
    plain = done(fresh.run(prompt))
    prompt["paste"]["inputs"]["crops"] = ["invert", 0]
    edited = done(fresh.run(prompt))
    face = plain["changed"] > 0.99
    torch.testing.assert_close(edited["pasted"][face], 1 - plain["pasted"][face], atol=0.02, rtol=0)


def test_detected_crops_edited_elsewhere_need_no_restoring(fresh):
    prompt = four(load(PORTRAIT))
    prompt["invert"] = node("ImageInvert", image=["detect", 1])
    prompt["paste"]["inputs"] |= {"faces": ["detect", 0], "crops": ["invert", 0]}
    got = done(fresh.run(prompt))
    face = got["changed"] > 0.99
    # The crops are 64 px, so that only the broad tones can agree.
    assert abs(float(got["pasted"][face].mean() + got["image"][face].mean()) - 1) < 0.05


def test_enlarged_crops_are_pasted_too(fresh):
    prompt = four(load(PORTRAIT))
    prompt["scale"] = node(
        "ImageScale",
        image=["restore", 1],
        upscale_method="bicubic",
        width=256,
        height=256,
        crop="disabled",
    )
    plain = done(fresh.run(prompt))
    prompt["paste"]["inputs"]["crops"] = ["scale", 0]
    larger = done(fresh.run(prompt))
    assert float((larger["pasted"] - plain["pasted"]).abs().mean()) < 0.01


def test_crops_edited_before_restoring_are_what_is_restored(fresh):
    prompt = four(load(PORTRAIT))
    plain = done(fresh.run(prompt))
    prompt["invert"] = node("ImageInvert", image=["detect", 1])
    prompt["restore"]["inputs"]["crops"] = ["invert", 0]
    edited = done(fresh.run(prompt))
    assert not torch.equal(plain["restored"], edited["restored"])
    assert edited["pasted"].shape == plain["pasted"].shape


def test_ready_crops_need_no_detection(fresh, portrait):
    fresh.feeds["crop"] = torch.nn.functional.interpolate(
        portrait.permute(0, 3, 1, 2), (64, 64), mode="area"
    ).permute(0, 2, 3, 1)
    prompt = {
        "model": loader(),
        "crop": feed("crop"),
        "restore": node(
            "GPEN_RestoreFaces",
            gpen_model=["model", 0],
            crops=["crop", 0],
            strength=1.0,
            batch_size=2,
            seed=0,
        ),
        "paste": node("GPEN_PasteFaces", image=["crop", 0], faces=["restore", 0], **PASTE),
        "c-restored": capture("restored", ["restore", 1]),
        "c-pasted": capture("pasted", ["paste", 0]),
    }
    got = done(fresh.run(prompt))
    assert got["restored"].shape == (1, 64, 64, 3)
    assert got["pasted"].shape == (1, 64, 64, 3)


def test_a_background_of_any_size_is_pasted_into(fresh):
    prompt = four(load(PORTRAIT))
    prompt["large"] = node(
        "ImageScale",
        image=["image", 0],
        upscale_method="bicubic",
        width=768,
        height=768,
        crop="disabled",
    )
    prompt["paste"]["inputs"]["background"] = ["large", 0]
    prompt["c-large"] = capture("large", ["large", 0])
    got = done(fresh.run(prompt))
    assert got["pasted"].shape == (1, 768, 768, 3)
    outside = got["changed"] == 0
    assert torch.equal(got["pasted"][outside], got["large"][outside])


def test_a_users_mask_limits_what_changes(fresh):
    fresh.feeds["black"] = torch.zeros(1, 512, 512)
    prompt = four(load(PORTRAIT))
    prompt["mask"] = node("Test_FeedMask", name="black")
    prompt["paste"]["inputs"]["mask"] = ["mask", 0]
    got = done(fresh.run(prompt))
    assert float(got["changed"].max()) == 0
    assert torch.equal(got["pasted"], got["image"])


def test_an_upscale_model_enlarges_here(fresh, tmp_path):
    """A real ESRGAN-shaped network, with the host's loader and tiles."""
    import folder_paths

    torch.manual_seed(0)
    torch.save(tiny_esrgan(), tmp_path / "tiny_x2.pth")
    folder_paths.add_model_folder_path("upscale_models", str(tmp_path))
    prompt = one(load(PORTRAIT))
    prompt["up"] = node("UpscaleModelLoader", model_name="tiny_x2.pth")
    prompt["all"]["inputs"]["upscale_model"] = ["up", 0]
    got = done(fresh.run(prompt))
    assert got["pasted"].shape == (1, 1024, 1024, 3)


# --- pictures of every kind ----------------------------------------------------------------------


@pytest.mark.parametrize("graph", [four, one])
def test_without_faces_the_picture_is_unchanged_and_the_log_says_so(fresh, caplog, graph):
    with caplog.at_level("WARNING"):
        got = done(fresh.run(graph(load(NO_FACE))))
    assert got["count"] == 0
    assert torch.equal(got["pasted"], got["image"])
    assert float(got["changed"].max()) == 0
    assert "No face" in caplog.text and "unchanged" in caplog.text


def test_an_empty_selection_changes_nothing(fresh, caplog):
    prompt = four(load(PORTRAIT))
    prompt["select"] = node("GPEN_SelectFaces", faces=["detect", 0], sort="area", keep="7")
    prompt["restore"]["inputs"]["faces"] = ["select", 0]
    with caplog.at_level("WARNING"):
        got = done(fresh.run(prompt))
    assert torch.equal(got["pasted"], got["image"])
    assert "keep '7' matches no face" in caplog.text


def test_without_faces_the_crops_still_go_through_other_nodes(fresh):
    prompt = four(load(NO_FACE))
    prompt["preview"] = node("PreviewImage", images=["restore", 1])
    prompt["invert"] = node("ImageInvert", image=["restore", 1])
    prompt["paste"]["inputs"]["crops"] = ["invert", 0]
    got = done(fresh.run(prompt))
    assert got["restored"].shape == (1, 64, 64, 3) and float(got["restored"].max()) == 0
    assert torch.equal(got["pasted"], got["image"])


@pytest.mark.parametrize("graph", [four, one])
def test_alpha_survives(fresh, portrait, graph):
    alpha = torch.linspace(0, 1, 512).expand(1, 512, 512)[..., None]
    fresh.feeds["rgba"] = torch.cat([portrait, alpha], dim=-1)
    got = done(fresh.run(graph(feed("rgba"))))
    assert got["pasted"].shape == (1, 512, 512, 4)
    assert torch.equal(got["pasted"][..., 3:], alpha)
    assert float(got["changed"].max()) > 0


@pytest.mark.parametrize("graph", [four, one])
def test_a_batch_restores_each_frame_as_alone(fresh, portrait, graph):
    fresh.feeds["batch"] = torch.cat(
        [portrait, torch.rand_like(portrait) * 0.1, portrait.flip(2), portrait, portrait, portrait]
    )
    together = done(fresh.run(graph(feed("batch"))))
    assert together["count"] == 5
    assert torch.equal(together["pasted"][1], fresh.feeds["batch"][1])
    fresh.feeds["alone"] = portrait.flip(2)
    alone = done(fresh.run(graph(feed("alone"))))
    torch.testing.assert_close(together["pasted"][2:3], alone["pasted"], atol=1e-4, rtol=0)


def test_a_list_of_pictures_is_worked_through(fresh, portrait):
    fresh.feeds["batch"] = torch.cat([portrait, portrait.flip(2)])
    prompt = one(feed("batch"))
    prompt["list"] = node("RebatchImages", images=["image", 0], batch_size=1)
    prompt["all"]["inputs"]["image"] = ["list", 0]
    outcome = fresh.run(prompt)
    done(outcome)
    assert [len(value) for value in outcome.values["pasted"]] == [1, 1]


def test_a_gray_photograph_stays_gray(fresh, portrait):
    fresh.feeds["gray"] = portrait.mean(-1, keepdim=True).expand(-1, -1, -1, 3).contiguous()
    for graph in (four, one):
        got = done(fresh.run(graph(feed("gray"))))["pasted"]
        assert float((got[..., 0] - got[..., 2]).abs().max()) < 1e-5


def test_inputs_are_not_written_to(fresh, portrait):
    fresh.feeds["given"] = portrait.clone()
    done(fresh.run(four(feed("given"))))
    done(fresh.run(one(feed("given"))))
    assert torch.equal(fresh.feeds["given"], portrait)


# --- what users get wrong ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "said"),
    [("html", "web page"), ("truncated", "truncated|damaged|cut"), ("other", "GPEN")],
)
def test_files_that_are_not_gpen_are_refused_with_the_reason(fresh, model_files, file, said):
    text = failed(fresh.run(one(load(PORTRAIT), loader(model_files[file]))))
    assert model_files[file] in text
    assert re.search(said, text, re.IGNORECASE), text


def test_a_missing_model_file_is_named_with_its_folder(fresh):
    text = failed(fresh.run(one(load(PORTRAIT), loader("gpen-bfr-9999.pth"))))
    assert "gpen-bfr-9999.pth" in text and "models" in text


def test_a_model_path_cannot_leave_its_folders(fresh):
    failed(fresh.run(one(load(PORTRAIT), loader("../../input/secret.pth"))))


def test_a_file_in_facerestore_models_is_found_whatever_its_name(fresh, model_files):
    assert done(fresh.run(one(load(PORTRAIT), loader(model_files["elsewhere"]))))["count"] == 1


def test_only_model_files_are_offered(fresh):
    offered = fresh.module("nodes.weights").model_choices()
    assert "small.pth" in offered and "named-wrongly.pth" in offered
    assert "notes.txt" not in offered and "README.md" not in offered


@pytest.mark.parametrize(
    ("widget", "value"),
    [
        ("confidence", 3.0),
        ("confidence", -1.0),
        ("strength", 1.5),
        ("upscale", "3"),
        ("mask_type", "star"),
        ("detector", "dlib"),
        ("batch_size", 0),
        ("color_match", 2.0),
        ("strength", "much"),
        ("detector", "dlib (download, 5 MB, MIT)"),
    ],
)
def test_bad_widget_values_are_refused(fresh, widget, value):
    outcome = fresh.run(one(load(PORTRAIT), **{widget: value}))
    assert str(widget).split("_")[0] in failed(outcome).lower() or str(value) in failed(outcome)


@pytest.mark.parametrize("keep", ["zero", "1.5", "first"])
def test_a_bad_selection_is_explained(fresh, keep):
    text = failed(fresh.run(one(load(PORTRAIT), keep=keep)))
    assert "keep" in text.lower() or "all" in text


def test_faces_of_another_picture_are_refused(fresh):
    prompt = four(load(PORTRAIT))
    prompt["other"] = load(NO_FACE)
    prompt["paste"]["inputs"]["image"] = ["other", 0]
    text = failed(fresh.run(prompt))
    assert "512x512" in text and "160x120" in text


def test_a_bypassed_restore_gives_the_picture_with_a_note(fresh, caplog):
    prompt = four(load(PORTRAIT))
    prompt["paste"]["inputs"]["faces"] = ["detect", 0]
    with caplog.at_level("WARNING"):
        got = done(fresh.run(prompt))
    assert torch.equal(got["pasted"], got["image"]) and float(got["changed"].max()) == 0
    assert "is Restore Faces bypassed?" in caplog.text


def test_a_mask_of_any_size_counts_and_an_unpainted_one_does_not(fresh):
    prompt = four(load(PORTRAIT))
    plain = done(fresh.run(prompt))["pasted"]
    for name, mask, unlimited in (
        ("unpainted", torch.zeros(1, 64, 64), True),
        ("white", torch.ones(1, 30, 50), True),
        ("black", torch.zeros(1, 30, 50), False),
    ):
        fresh.feeds[name] = mask
        prompt["mask"] = node("Test_FeedMask", name=name)
        prompt["paste"]["inputs"]["mask"] = ["mask", 0]
        got = done(fresh.run(prompt))
        assert torch.equal(got["pasted"], plain) is unlimited, name


def test_a_wrong_number_of_crops_is_refused(fresh):
    prompt = four(load(PORTRAIT))
    prompt["twice"] = node("RepeatImageBatch", image=["restore", 1], amount=2)
    prompt["paste"]["inputs"]["crops"] = ["twice", 0]
    assert "2 crops for 1 faces" in failed(fresh.run(prompt))


def test_crops_that_are_not_square_are_refused(fresh):
    prompt = four(load(PORTRAIT))
    prompt["wide"] = node(
        "ImageScale",
        image=["restore", 1],
        upscale_method="area",
        width=64,
        height=32,
        crop="disabled",
    )
    prompt["paste"]["inputs"]["crops"] = ["wide", 0]
    assert "square" in failed(fresh.run(prompt))


def test_nothing_connected_to_restore_is_explained(fresh):
    prompt = {
        "model": loader(),
        "restore": node(
            "GPEN_RestoreFaces", gpen_model=["model", 0], strength=1.0, batch_size=1, seed=0
        ),
        "c": capture("restored", ["restore", 1]),
    }
    assert "connect" in failed(fresh.run(prompt))


def test_background_and_upscale_model_exclude_each_other(fresh, tmp_path):
    import folder_paths

    torch.save(tiny_esrgan(), tmp_path / "tiny_x2.pth")
    folder_paths.add_model_folder_path("upscale_models", str(tmp_path))
    prompt = four(load(PORTRAIT))
    prompt["up"] = node("UpscaleModelLoader", model_name="tiny_x2.pth")
    prompt["paste"]["inputs"] |= {"background": ["image", 0], "upscale_model": ["up", 0]}
    assert "not both" in failed(fresh.run(prompt))


def test_missing_detector_and_parser_weights_say_where_they_go(fresh):
    text = failed(fresh.run(one(load(PORTRAIT), detector="retinaface-resnet50")))
    assert "facedetection" in text and "http" in text
    text = failed(fresh.run(one(load(PORTRAIT), mask_type="parsing")))
    assert "parsing_parsenet.pth" in text and "facedetection" in text


def test_a_nan_picture_is_refused(fresh, portrait):
    broken = portrait.clone()
    broken[0, 3, 4, 0] = float("nan")
    fresh.feeds["nan"] = broken
    assert "NaN" in failed(fresh.run(one(feed("nan"))))


# --- the model cache -----------------------------------------------------------------------------


@pytest.mark.parametrize("ram_pressure", [False, True])
def test_another_workflow_in_between_costs_no_second_load(fresh, caplog, ram_pressure):
    cache = fresh.module("nodes.host").CACHE
    cache.clear()
    fresh.executor = fresh.new_executor(ram_pressure)
    other = {"image": load(GROUP), "save": node("PreviewImage", images=["image", 0])}
    with caplog.at_level("INFO"):
        done(fresh.run(one(load(PORTRAIT))))
        loads, hits = cache.loads, cache.hits
        done(fresh.run(other))
        again = fresh.run(one(load(PORTRAIT), strength=0.8))
        done(again)
    assert "all" in again.ran and cache.loads == loads and cache.hits > hits
    assert caplog.text.count("small.pth: gpen-v1") == 1


def test_a_replaced_file_is_loaded_anew(fresh, base_folder, small_state):
    path = base_folder / "models" / "gpen" / "replaced.pth"
    torch.save({"g_ema": small_state}, path)
    first = done(fresh.run(one(load(PORTRAIT), loader("replaced.pth"))))
    changed = {k: v * 1.5 if k.endswith("to_rgb1.bias") else v for k, v in small_state.items()}
    changed["generator.to_rgb1.bias"] = small_state["generator.to_rgb1.bias"] + 0.5
    torch.save({"g_ema": changed}, path)
    os.utime(path, (1, 1))
    second = done(fresh.run(one(load(PORTRAIT), loader("replaced.pth"))))
    assert not torch.equal(first["pasted"], second["pasted"])


def test_unloading_all_models_releases_the_cache(fresh):
    import comfy.model_management

    models = fresh.module("nodes.host").CACHE
    done(fresh.run(one(load(PORTRAIT))))
    assert len(models) > 0
    comfy.model_management.unload_all_models()
    assert len(models) == 0
    done(fresh.run(one(load(PORTRAIT), strength=0.7)))


# --- the host ------------------------------------------------------------------------------------


@pytest.mark.parametrize("stopped", ["detect", "restore", "paste", "all"])
def test_interrupting_a_node_at_work_leaves_the_next_prompt_healthy(fresh, stopped):
    import comfy.model_management as memory
    import comfy.utils

    build = one if stopped == "all" else four
    prompt = build(load(GROUP), batch_size=1)
    running, moved = [], []

    def watch(*_: object, **__: object) -> None:
        if running[-1:] == [stopped]:
            moved.append(running[-1])
            memory.interrupt_current_processing(True)

    def note(event: str, data: dict) -> None:
        if event == "executing":
            running.append(data.get("node"))

    fresh.on_event, hook = note, comfy.utils.PROGRESS_BAR_HOOK
    comfy.utils.set_progress_bar_global_hook(watch)
    try:
        outcome = fresh.run(prompt)
    finally:
        comfy.utils.set_progress_bar_global_hook(hook)
    # One step of the bar, and not another one.
    assert moved == [stopped] and not outcome.success and not outcome.errors
    assert any(event == "execution_interrupted" for event, _ in outcome.events)
    fresh.on_event = lambda event, data: None
    assert done(fresh.run(four(load(PORTRAIT))))["count"] == 1


@pytest.mark.parametrize("graph", [four, one])
def test_the_progress_bar_counts_faces(fresh, graph):
    import comfy.utils

    shown, hook = [], comfy.utils.PROGRESS_BAR_HOOK
    comfy.utils.set_progress_bar_global_hook(
        lambda value, total, *_, **__: shown.append((value, total))
    )
    try:
        count = done(fresh.run(graph(load(GROUP), batch_size=1)))["count"]
    finally:
        comfy.utils.set_progress_bar_global_hook(hook)
    # A picture counts 200, a face 80 in restoring and 20 in pasting; a node counts what it does.
    ends = {total for _, total in shown}
    assert count >= 25
    assert ends >= ({200, 80 * count, 20 * count} if graph is four else {200 + 100 * count})
    # Newer hosts pass over steps that follow each other quickly.
    for end in ends:
        values = [value for value, total in shown if total == end]
        assert values == sorted(values) and values[-1] <= end
    last = max(ends)
    assert len({value for value, total in shown if total == last} - {0, last}) >= 3


def test_running_out_of_memory_halves_the_face_batch_and_says_so(fresh, caplog, monkeypatch):
    """The network itself raises for more than two faces, as a full device would."""
    model = fresh.module("gpen_core.models.model").Model
    call = model.__call__
    sizes = []

    def scarce(self, crops, **keywords):
        sizes.append(len(crops))
        if len(crops) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")
        return call(self, crops, **keywords)

    monkeypatch.setattr(model, "__call__", scarce)
    with caplog.at_level("WARNING"):
        got = done(fresh.run(four(load(GROUP), batch_size=8, keep="0,1,2,3,4")))
    assert sizes[:3] == [5, 2, 2] and len(got["restored"]) == 5
    assert "Out of memory" in caplog.text


def test_the_hosts_nodes_module_is_still_the_hosts(fresh, host_folder):
    assert Path(sys.modules["nodes"].__file__).parent == host_folder
    assert "LoadImage" in sys.modules["nodes"].NODE_CLASS_MAPPINGS
    assert Path(sys.modules["utils"].__path__[0]).parent == host_folder
    assert "gpen_core" not in sys.modules or "site-packages" not in str(sys.modules["gpen_core"])


def test_other_packs_folders_are_kept(fresh):
    import folder_paths

    folder_paths.folder_names_and_paths["facerestore_models"][0].insert(0, "/elsewhere/models")
    fresh.module("nodes.folders").register()
    paths = folder_paths.get_folder_paths("facerestore_models")
    assert paths[0] == "/elsewhere/models" and len(paths) == len(set(paths)) >= 2
    paths.remove("/elsewhere/models")


def test_every_node_has_help_locales_and_tooltips(fresh):
    root = Path(__file__).resolve().parents[2]
    ours = {k: v for k, v in fresh.nodes.NODE_CLASS_MAPPINGS.items() if k.startswith("GPEN_")}
    assert set(ours) == {page.stem for page in (root / "web" / "docs").glob("*.md")}
    for key, cls in ours.items():
        info = cls.GET_NODE_INFO_V1()
        assert info["description"] and info["category"].startswith("GPEN")
        page = root / "web" / "docs" / f"{key}.md"
        images = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
        assert images and all((page.parent / image).is_file() for image in images), key
        inputs = {**info["input"].get("required", {}), **info["input"].get("optional", {})}
        for name, spec in inputs.items():
            assert spec[1].get("tooltip"), (key, name)
        for language in ("en", "zh"):
            text = (root / "locales" / language / "nodeDefs.json").read_text(encoding="utf-8")
            entry = json.loads(text)[key]
            assert set(entry["inputs"]) == set(inputs), (key, language)
            assert len(entry["outputs"]) == len(info["output"])
            for name, spec in inputs.items():
                said = entry["inputs"][name].get("tooltip")
                assert said and (language != "en" or said == spec[1]["tooltip"]), (key, name)


def test_inputs_and_outputs_share_no_id(fresh):
    for key, cls in fresh.nodes.NODE_CLASS_MAPPINGS.items():
        if key.startswith("GPEN_"):
            schema = cls.GET_SCHEMA()
            ids = [i.id for i in schema.inputs] + [o.id for o in schema.outputs]
            assert len(ids) == len(set(ids)), key


def test_samples_are_offered_once(fresh, base_folder):
    samples = fresh.module("nodes.samples")
    sample = base_folder / "input" / PORTRAIT
    kept = sample.read_bytes()
    samples.offer()
    sample.unlink()
    samples.offer()
    try:
        assert not sample.exists()
    finally:
        sample.write_bytes(kept)


def test_a_copy_of_the_pack_under_another_name_works(fresh, tmp_path):
    """Installed by a manager the folder has any name; nothing may depend on it."""
    root = Path(__file__).resolve().parents[2]
    copy_of = tmp_path / "custom_nodes" / "GPEN.pack-v1.0"
    copy_of.mkdir(parents=True)
    for part in ("__init__.py", "nodes", "gpen_core", "weights", "docs", "pyproject.toml"):
        source = root / part
        if source.is_dir():
            shutil.copytree(source, copy_of / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy_of / part)
    assert fresh.loop.run_until_complete(fresh.nodes.load_custom_node(str(copy_of)))
    try:
        assert done(fresh.run(one(load(PORTRAIT))))["count"] == 1
    finally:
        root_copy = str(fresh.base / "custom_nodes" / "gpen")
        assert fresh.loop.run_until_complete(fresh.nodes.load_custom_node(root_copy))


def test_a_download_is_offered_and_says_what_to_fetch_by_hand_offline(fresh, monkeypatch):
    monkeypatch.setenv("GPEN_OFFLINE", "1")
    offered = fresh.module("nodes.weights").model_choices()
    label = "GPEN-BFR-512 (download, 284 MB, non-commercial)"
    assert offered[0].startswith("gpen-lite") and label in offered
    text = failed(fresh.run(one(load(PORTRAIT), loader(label))))
    assert "GPEN-BFR-512.pth" in text and "https://" in text and "models" in text


# --- weights fetched by choosing an entry --------------------------------------------------------


def facexlib_file(name: str) -> bytes:
    """RetinaFace's or ParseNet's file with random weights."""
    import io

    if name == "ParseNet":
        from facexlib.parsing.parsenet import ParseNet

        network = ParseNet(in_size=512, out_size=512, parsing_ch=19)
    else:
        from facexlib.detection.retinaface import RetinaFace

        network = RetinaFace(network_name="mobile0.25", device="cpu")
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    return buffer.getvalue()


@pytest.fixture
def catalogued(fresh, mirror, tmp_path, monkeypatch):
    """Puts random weights behind a catalogue entry's name, on the mirror, and returns its entry."""
    import functools
    import hashlib

    pytest.importorskip("facexlib.detection.retinaface", exc_type=(ImportError, RuntimeError))
    catalogue = fresh.module("gpen_core.weights.catalogue")
    policy = fresh.module("gpen_core.weights.transfer").Policy(
        retries=1, backoff=0.01, timeout=5, loopback_http=True
    )
    host_module = fresh.module("nodes.host")
    patient = functools.partial(host_module.download_entry, policy=policy)
    monkeypatch.setattr(host_module, "download_entry", patient)
    content = json.loads(catalogue._CATALOGUE.read_text(encoding="utf-8"))
    monkeypatch.setattr(catalogue, "_CATALOGUE", tmp_path / "catalogue.json")
    fetched = []

    def put(name: str, data: bytes, published: bool = True):
        facts = next(each for each in content["files"] if each["name"] == name)
        facts["urls"] = [mirror.url(name)]
        facts["bytes"] = len(data) if published else None
        facts["sha256"] = hashlib.sha256(data).hexdigest() if published else None
        mirror.files[name] = data
        (tmp_path / "catalogue.json").write_text(json.dumps(content))
        fetched.append(facts["filename"])
        return catalogue.show(name)

    yield put
    for folder in ("facedetection", "gpen"):
        for name in [*fetched, "gpen-pins.json"]:
            for path in (fresh.base / "models" / folder).glob(f"{name}*"):
                path.unlink()
    host_module.CACHE.clear()


def offered(fresh, kind: str, widget: str) -> list[str]:
    info = fresh.nodes.NODE_CLASS_MAPPINGS[kind].GET_NODE_INFO_V1()["input"]["required"][widget]
    return info[1]["options"] if isinstance(info[1], dict) and "options" in info[1] else info[0]


def test_a_chosen_detector_is_fetched_verified_and_kept(fresh, mirror, catalogued, monkeypatch):
    data = facexlib_file("RetinaFace-mobile0.25")
    entry = catalogued("RetinaFace-mobile0.25", data, published=False)
    label = "retinaface-mobile0.25 (download, size unknown, MIT)"
    assert label in offered(fresh, "GPEN_DetectFaces", "detector")
    assert label in offered(fresh, "GPEN_RestoreImage", "detector")

    # The mere name is no consent, and the sentence says which entry is.
    text = failed(fresh.run(four(load(PORTRAIT), detector="retinaface-mobile0.25")))
    assert label in text and "facedetection" in text and mirror.asked == []

    for graph in (four, one):
        got = done(fresh.run(graph(load(PORTRAIT), detector=label)))
        assert torch.equal(got["pasted"], got["image"])  # random weights are sure of nothing
    folder = fresh.base / "models" / "facedetection"
    assert mirror.asked == [None] and (folder / entry.filename).read_bytes() == data
    assert entry.filename in json.loads((folder / "gpen-pins.json").read_text())
    assert "retinaface-mobile0.25" in offered(fresh, "GPEN_DetectFaces", "detector")
    done(fresh.run(four(load(PORTRAIT), detector="retinaface-mobile0.25")))

    (folder / entry.filename).write_bytes(data + b"changed")
    text = failed(fresh.run(one(load(PORTRAIT), detector=label, strength=0.5)))
    assert "SHA-256" in text and "left alone" in text and mirror.asked == [None]


def test_the_parser_is_fetched_by_the_mask_that_needs_it(fresh, mirror, catalogued):
    entry = catalogued("ParseNet", facexlib_file("ParseNet"))
    label = entry.label_as("parsing")
    assert label in offered(fresh, "GPEN_PasteFaces", "mask_type")
    unchanged = done(fresh.run(four(load(NO_FACE), mask_type=label)))
    assert torch.equal(unchanged["pasted"], unchanged["image"]) and mirror.asked == []
    step_by_step = done(fresh.run(four(load(PORTRAIT), mask_type=label)))
    assert mirror.asked == [None]
    assert 0 <= float(step_by_step["changed"].mean()) < 0.3
    at_once = done(fresh.run(one(load(PORTRAIT), mask_type="parsing")))
    assert mirror.asked == [None]
    torch.testing.assert_close(at_once["changed"], step_by_step["changed"], atol=1e-4, rtol=0)


def test_a_wrong_file_of_the_users_is_neither_used_nor_replaced(fresh, mirror, catalogued):
    entry = catalogued("ParseNet", b"published")
    path = fresh.base / "models" / "facedetection" / entry.filename
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"mine")
    text = failed(fresh.run(one(load(PORTRAIT), mask_type="parsing")))
    assert "SHA-256" in text and path.read_bytes() == b"mine" and mirror.asked == []


def test_a_download_shows_progress_and_can_be_interrupted(fresh, mirror, catalogued):
    import comfy.model_management as memory
    import comfy.utils

    data = facexlib_file("ParseNet")
    entry = catalogued("ParseNet", data)
    label, shown = entry.label_as("parsing"), []
    mirror.pause = 0.02

    def watch(value: int, total: int, *_: object, **__: object) -> None:
        if total == entry.bytes:
            shown.append(value)
        if len(shown) == 3:
            memory.interrupt_current_processing(True)

    hook = comfy.utils.PROGRESS_BAR_HOOK
    comfy.utils.set_progress_bar_global_hook(watch)
    try:
        outcome = fresh.run(four(load(PORTRAIT), mask_type=label))
    finally:
        comfy.utils.set_progress_bar_global_hook(hook)
    assert not outcome.success and not outcome.errors and len(shown) >= 3
    assert any(event == "execution_interrupted" for event, _ in outcome.events)
    folder = fresh.base / "models" / "facedetection"
    assert not (folder / entry.filename).exists()
    assert 0 < (folder / f"{entry.filename}.part").stat().st_size < len(data)
    mirror.pause = 0
    done(fresh.run(four(load(PORTRAIT), mask_type=label)))
    assert mirror.asked[0] is None and mirror.asked[1].startswith("bytes=")
    assert (folder / entry.filename).read_bytes() == data


def test_a_chosen_model_is_fetched_and_later_found(fresh, mirror, catalogued, small_state):
    import io

    buffer = io.BytesIO()
    torch.save({"g_ema": small_state}, buffer)
    entry = catalogued("GPEN-BFR-512", buffer.getvalue())
    assert entry.label in fresh.module("nodes.weights").model_choices()
    fetched = done(fresh.run(one(load(PORTRAIT), loader(entry.label))))
    own = done(fresh.run(one(load(PORTRAIT))))
    assert torch.equal(fetched["pasted"], own["pasted"])
    path = fresh.base / "models" / "gpen" / entry.filename
    elsewhere = fresh.base / "models" / "facerestore_models" / entry.filename
    shutil.move(path, elsewhere)  # another pack's folder will do
    try:
        done(fresh.run(one(load(PORTRAIT), loader(entry.label), strength=0.5)))
        assert mirror.asked == [None] and not path.exists()
        elsewhere.write_bytes(b"something else")
        text = failed(fresh.run(one(load(PORTRAIT), loader(entry.label), strength=0.6)))
        assert "SHA-256" in text
    finally:
        elsewhere.unlink()


# --- ONNX files ----------------------------------------------------------------------------------


def test_an_onnx_file_restores_as_its_network_does(fresh, graph_file):
    for graph in (four, one):
        theirs = done(fresh.run(graph(load(PORTRAIT), loader(graph_file))))
        ours = done(fresh.run(graph(load(PORTRAIT))))
        torch.testing.assert_close(theirs["pasted"], ours["pasted"], atol=2e-3, rtol=0)
        assert float(theirs["changed"].max()) > 0


def test_an_onnx_file_is_kept_like_a_network(fresh, graph_file, base_folder):
    import comfy.model_management as memory

    models = fresh.module("nodes.host").CACHE
    models.clear()
    size = (base_folder / "models" / "gpen" / graph_file).stat().st_size
    done(fresh.run(one(load(PORTRAIT), loader(graph_file))))
    loads = models.loads
    assert models.bytes >= size
    done(fresh.run({"image": load(GROUP), "show": node("PreviewImage", images=["image", 0])}))
    done(fresh.run(one(load(PORTRAIT), loader(graph_file), strength=0.9)))
    assert models.loads == loads
    memory.unload_all_models()
    assert len(models) == 0
    done(fresh.run(one(load(PORTRAIT), loader(graph_file), strength=0.8)))
    assert models.loads > loads


def test_an_onnx_files_memory_is_asked_for_and_given_back(fresh, graph_file, monkeypatch):
    """The patcher sees one number; the session's weights are asked for until it is open."""
    import comfy.model_management as memory

    host_module = fresh.module("nodes.host")
    path = fresh.module("nodes.folders").model_path(graph_file)
    host_module.CACHE.clear()
    model = host_module.load_model(path, "fp32", "cpu")
    network, asked, bring = model.model.network, [], memory.load_models_gpu

    def load_models_gpu(models, memory_required=0, **keywords):
        asked.append(memory_required)
        return bring(models, memory_required=memory_required, **keywords)

    monkeypatch.setattr(memory, "load_models_gpu", load_models_gpu)
    network.to("meta")  # as another device would: the session of the old one is dropped
    assert network._session is None
    network.to_empty(device="cpu")
    model.prepare(model.model, 2)
    model.model(torch.zeros(1, 3, 64, 64))
    model.prepare(model.model, 2)
    work = 2 * model.bytes_per_face
    host_module.CACHE.clear()
    assert asked == [work + path.stat().st_size, work]


def test_a_small_feather_range_is_the_cores(fresh):
    done(fresh.run(four(load(PORTRAIT), feather=128.0)))
    assert "feather" in failed(fresh.run(four(load(PORTRAIT), feather=129.0))).lower()
