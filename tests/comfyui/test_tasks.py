"""Colorize Faces, Inpaint Faces and Face from Map in the real executor, and the loader's task."""

from __future__ import annotations

import pytest
import torch
from host_graphs import PORTRAIT, capture, done, failed, feed, load, node

SKIN = torch.tensor([0xCC, 0, 0]) / 255
LUMA = torch.tensor([0.299, 0.587, 0.114])
SEARCH = {"strength": 1.0, "keep": "all", "detector": "mtcnn", "confidence": 0.9, "batch_size": 4}


def loader(task: str | None = None) -> dict:
    chosen = {} if task is None else {"task": task}
    return node("GPEN_LoadModel", file="small.pth", precision="fp32", device="auto", **chosen)


def graph(kind: str, task: str | None, outputs: tuple[str, ...], **inputs: object) -> dict:
    work = node(kind, gpen_model=["model", 0], **inputs)
    captures = {f"c-{name}": capture(name, ["work", at]) for at, name in enumerate(outputs)}
    return {"model": loader(task), "image": load(PORTRAIT), "work": work, **captures}


PICTURE = ("image", "changed", "count", "crops")


@pytest.fixture
def portrait(host) -> torch.Tensor:
    """IMAGE (1, 512, 512, 3) with one face."""
    picture, _ = host.nodes.LoadImage().load_image(PORTRAIT)
    return picture


def gray(picture: torch.Tensor) -> torch.Tensor:
    return (picture @ LUMA)[..., None].expand(-1, -1, -1, 3).contiguous()


def colorize(**changes: object) -> dict:
    inputs = {"image": ["feed", 0], "mask_type": "ellipse", **SEARCH, **changes}
    return graph("GPEN_ColorizeFaces", "colorize", PICTURE, **inputs) | {"feed": feed("gray")}


def test_a_gray_picture_gets_a_colored_face(fresh, portrait):
    fresh.feeds["gray"] = gray(portrait)
    got = done(fresh.run(colorize()))
    assert got["count"] == 1 and got["crops"].shape == (1, 64, 64, 3)
    assert float((got["image"] @ LUMA - portrait @ LUMA).abs().max()) < 1e-4
    chroma = got["image"].amax(-1) - got["image"].amin(-1)
    outside = got["changed"] == 0
    assert float(chroma[got["changed"] > 0.9].mean()) > 0.02
    assert torch.equal(got["image"][outside], fresh.feeds["gray"][outside])


def test_a_background_gives_the_colors_around_the_face(fresh, portrait):
    fresh.feeds |= {"gray": gray(portrait), "colored": portrait}
    got = done(fresh.run(colorize(background=["back", 0]) | {"back": feed("colored")}))
    outside = got["changed"] == 0
    assert torch.equal(got["image"][outside], portrait[outside])


def inpaint(fresh, mask: torch.Tensor) -> dict:
    fresh.feeds["hole"] = mask
    inputs = {"image": ["image", 0], "hole": ["hole", 0], "seed": 0, **SEARCH}
    return graph("GPEN_InpaintFaces", "inpaint", PICTURE, **inputs) | {
        "hole": node("Test_FeedMask", name="hole")
    }


def test_only_the_hole_is_drawn_anew(fresh, portrait):
    mask = torch.zeros(1, 512, 512)
    mask[:, 120:150, 220:250] = 1
    got = done(fresh.run(inpaint(fresh, mask)))
    assert got["count"] == 1
    assert torch.equal(got["image"][mask == 0], portrait[mask == 0])
    assert not torch.equal(got["image"][mask == 1], portrait[mask == 1])


def test_a_mask_beside_every_face_is_said(fresh, portrait):
    mask = torch.zeros(1, 512, 512)
    mask[:, 480:, :20] = 1
    outcome = fresh.run(inpaint(fresh, mask))
    got = done(outcome)
    assert got["count"] == 0 and torch.equal(got["image"], portrait)
    assert "the mask touches none" in str(fresh.sent)


def test_a_black_mask_is_refused(fresh):
    assert "The mask is black everywhere" in failed(fresh.run(inpaint(fresh, torch.zeros(1, 9, 9))))


def test_a_face_from_a_map(fresh):
    fresh.feeds["map"] = SKIN.expand(2, 64, 64, 3).contiguous()
    inputs = {"map": ["feed", 0], "batch_size": 4, "seed": 0}
    prompt = graph("GPEN_FaceFromMap", "paint", ("image",), **inputs) | {"feed": feed("map")}
    assert done(fresh.run(prompt))["image"].shape == (2, 64, 64, 3)


@pytest.mark.parametrize("task", [None, "inpaint"])
def test_a_model_of_another_task_does_not_color(fresh, portrait, task):
    fresh.feeds["gray"] = gray(portrait)
    prompt = colorize() | {"model": loader(task)}
    assert f"is a model to {task or 'restore'}" in failed(fresh.run(prompt))


def test_a_colorizer_restores_only_when_it_is_said(fresh):
    values = {"strength": 1.0, "batch_size": 4, "seed": 0, "crops": ["image", 0]}
    prompt = graph("GPEN_RestoreFaces", "colorize", ("restored",), **values)
    assert "not to restore" in failed(fresh.run(prompt))
    assert done(fresh.run(prompt | {"model": loader("restore")}))
