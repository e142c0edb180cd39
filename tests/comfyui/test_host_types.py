"""Faces that other nodes have found, in the host's forms; crops that they edit and give back."""

from __future__ import annotations

import json
from collections import namedtuple

import pytest
import torch
from host_graphs import DETECT, PASTE, PORTRAIT, done, failed, load, node


def graph(picture: dict, **changes: object) -> dict:
    outputs = ("faces", "crops", "boxes", "count", "crop_masks", "bboxes")
    return {
        "image": picture,
        "detect": node("GPEN_DetectFaces", image=["image", 0], **(DETECT | changes)),
        **{
            f"c-{name}": node("Test_Capture", name=name, value=["detect", place])
            for place, name in enumerate(outputs)
        },
    }


@pytest.fixture
def found(fresh) -> dict:
    """What our own search gives for the portrait."""
    return done(fresh.run(graph(load())))


def given(fresh, kind: str, value: object, picture: dict | None = None, **changes: object):
    """The outcome of Detect with something of another node connected."""
    fresh.feeds["given"] = value
    widget = {"Boxes": "bboxes", "Landmarks": "landmarks", "Segs": "segs"}[kind]
    prompt = graph(picture or load(), **{widget: ["given", 0]}, **changes)
    return fresh.run(prompt | {"given": node(f"Test_Feed{kind}", name="given")})


def same_face(got: dict, expected: dict) -> bool:
    eyes = expected["faces"].landmarks[0, :2]
    limit = 0.2 * float((eyes[1] - eyes[0]).norm())
    return float((got["faces"].landmarks - expected["faces"].landmarks[:1]).abs().max()) < limit


def test_boxes_go_out_in_the_form_of_the_hosts_detectors(found):
    (frame,) = found["bboxes"]
    (box,) = frame
    x0, y0, x1, y1 = found["faces"].boxes[0].tolist()
    assert box["label"] == "face" and 0.9 <= box["score"] <= 1
    assert (box["x"], box["y"]) == (x0, y0)
    assert box["width"] == pytest.approx(x1 - x0) and box["height"] == pytest.approx(y1 - y0)
    json.dumps(found["bboxes"])


def test_the_host_draws_our_boxes(fresh, found):
    if "DrawBBoxes" not in fresh.nodes.NODE_CLASS_MAPPINGS:
        pytest.skip("this host has no node that draws boxes")
    prompt = graph(load())
    prompt["draw"] = node("DrawBBoxes", image=["image", 0], bboxes=["detect", 5])
    prompt["c-drawn"] = node("Test_Capture", name="drawn", value=["draw", 0])
    prompt["c-image"] = node("Test_Capture", name="image", value=["image", 0])
    got = done(fresh.run(prompt))
    changed = (got["drawn"] - got["image"]).abs().amax(-1)[0] > 0.05
    assert bool(changed.any()) and not bool(changed[got["boxes"][0] == 0][:100].all())


@pytest.mark.parametrize("form", ["one", "list", "list of lists"])
def test_boxes_of_every_form_become_faces(fresh, found, form):
    (box,) = found["bboxes"][0]
    value = {"one": box, "list": [box], "list of lists": [[box]]}[form]
    got = done(given(fresh, "Boxes", value))
    assert got["count"] == 1 and same_face(got, found)
    assert got["crops"].shape == (1, 64, 64, 3)


def test_each_picture_of_a_batch_has_its_own_boxes(fresh, found):
    (box,) = found["bboxes"][0]
    picture, _ = fresh.nodes.LoadImage().load_image(PORTRAIT)
    fresh.feeds["two"] = torch.cat([picture, picture])
    two = node("Test_Feed", name="two")
    assert done(given(fresh, "Boxes", [[], [box]], two))["faces"].source.tolist() == [1]
    assert done(given(fresh, "Boxes", [box], two))["faces"].source.tolist() == [0, 1]
    assert done(given(fresh, "Boxes", [], two))["count"] == 0
    text = failed(given(fresh, "Boxes", [[box], [], [box]], two))
    assert "bboxes has faces of 3 pictures, but image has 2" in text


def test_a_box_without_a_face_is_said(fresh):
    nothing = {"x": 0, "y": 400, "width": 80, "height": 80}
    outcome = given(fresh, "Boxes", nothing)
    assert done(outcome)["count"] == 0
    said = [d["output"]["text"][0] for e, d in fresh.sent if e == "executed" and d["output"]]
    assert any("No face was found in 1 of 1 given box(es)" in text for text in said)


@pytest.mark.parametrize("wrong", ["boxes", [1, 2], {"x": 1}, [[3]], {"x": "a", "y": 0}])
def test_other_forms_are_refused_by_the_inputs_name(fresh, wrong):
    assert "bboxes" in failed(given(fresh, "Boxes", wrong))


def test_the_hosts_pose_node_feeds_us(fresh, found):
    """SDPose's own node makes the boxes, from keypoints as its network gives them."""
    if "SDPoseFaceBBoxes" not in fresh.nodes.NODE_CLASS_MAPPINGS:
        pytest.skip("this host has no SDPose")
    x0, y0, x1, y1 = found["faces"].boxes[0].tolist()
    flat = [[512, 512, 0.0]] + [
        [x0 + (x1 - x0) * (i % 10) / 9, y0 + (y1 - y0) * (i // 10) / 6, 1.0] for i in range(69)
    ]
    keypoints = [value for point in flat for value in point]
    pose = {"canvas_width": 512, "canvas_height": 512}
    fresh.feeds["pose"] = [pose | {"people": [{"face_keypoints_2d": keypoints}]}]
    prompt = graph(load(), bboxes=["pose", 0])
    prompt["keypoints"] = node("Test_FeedPose", name="pose")
    prompt["pose"] = node(
        "SDPoseFaceBBoxes", keypoints=["keypoints", 0], scale=1.5, force_square=True
    )
    got = done(fresh.run(prompt))
    assert got["count"] == 1 and same_face(got, found)


def mesh(found: dict, size: tuple[int, int] = (512, 512)) -> dict:
    """FACE_LANDMARKS of the host's form: the corners of eyes and mouth, and the nose."""
    face = found["faces"]
    left, right, nose, mouth_left, mouth_right = face.landmarks[0]
    points = torch.zeros(478, 2)
    for index, point in (
        (33, left), (133, left), (362, right), (263, right), (1, nose), (61, mouth_left),
        (291, mouth_right),
    ):  # fmt: skip
        points[index] = point
    one = {
        "bbox_xyxy": face.boxes[0].numpy(),
        "landmarks_xy": points.numpy(),
        "score": 0.8,
        "presence": 1.0,
    }
    return {"frames": [[one]], "image_size": size, "connection_sets": {}}


def test_a_mesh_of_landmarks_becomes_faces(fresh, found):
    got = done(given(fresh, "Landmarks", mesh(found)))
    assert got["count"] == 1 and same_face(got, found)
    assert float(got["faces"].scores[0]) == pytest.approx(0.8)
    text = failed(given(fresh, "Landmarks", mesh(found, (100, 200))))
    assert "200x100" in text and "512x512" in text
    assert "landmarks" in failed(given(fresh, "Landmarks", {"frames": 3}))


def test_segments_of_the_impact_pack_are_boxes(fresh, found):
    fields = "cropped_image cropped_mask confidence crop_region bbox label control_net_wrapper"
    Segment = namedtuple("SEG", fields)
    box = [round(side) for side in found["faces"].boxes[0].tolist()]
    segment = Segment(None, None, 0.9, box, box, "face", None)
    got = done(given(fresh, "Segs", ((512, 512), [segment])))
    assert got["count"] == 1 and same_face(got, found)
    assert "segs" in failed(given(fresh, "Segs", ((512, 512), [box])))


def test_two_kinds_at_once_are_refused(fresh, found):
    fresh.feeds |= {"boxes": found["bboxes"], "mesh": mesh(found)}
    prompt = graph(load(), bboxes=["boxes", 0], landmarks=["mesh", 0])
    prompt |= {
        "boxes": node("Test_FeedBoxes", name="boxes"),
        "mesh": node("Test_FeedLandmarks", name="mesh"),
    }
    assert "Connect bboxes or landmarks, not both." in failed(fresh.run(prompt))


# --- crops with alpha ----------------------------------------------------------------------------


def pasted(fresh, crops: list, **nodes: dict) -> dict:
    prompt = graph(load())
    prompt |= nodes
    prompt["paste"] = node(
        "GPEN_PasteFaces",
        image=["image", 0],
        faces=["detect", 0],
        crops=crops,
        **(PASTE | {"mask_type": "ellipse"}),
    )
    prompt |= {
        "invert": node("ImageInvert", image=["detect", 1]),
        "c-pasted": node("Test_Capture", name="pasted", value=["paste", 0]),
        "c-changed": node("Test_Capture", name="changed", value=["paste", 1]),
        "c-image": node("Test_Capture", name="image", value=["image", 0]),
    }
    return done(fresh.run(prompt))


def test_crops_are_pasted_where_they_are_opaque(fresh):
    whole = pasted(fresh, ["invert", 0])
    # The host's alpha is white where nothing shows; the upper half of the crop is to be left out.
    half = torch.zeros(1, 64, 64)
    half[:, :32] = 1
    fresh.feeds["half"] = half
    join = node("JoinImageWithAlpha", image=["invert", 0], alpha=["half", 0])
    got = pasted(fresh, ["join", 0], half=node("Test_FeedMask", name="half"), join=join)
    ratio = float(got["changed"].sum() / whole["changed"].sum())
    assert 0.5 < ratio < 0.7, "the middle of the ellipse lies below that of the crop"
    assert torch.equal(got["pasted"][got["changed"] == 0], got["image"][got["changed"] == 0])


def test_the_mask_of_the_crops_is_what_is_pasted(fresh):
    whole = pasted(fresh, ["invert", 0])
    mask = whole["crop_masks"]
    assert mask.shape == (1, 64, 64) and float(mask[:, 0].max()) == 0 and float(mask.max()) > 0.99
    # Once more as alpha: what was half pasted is now a quarter.
    nodes = {
        "inverted": node("InvertMask", mask=["detect", 4]),
        "join": node("JoinImageWithAlpha", image=["invert", 0], alpha=["inverted", 0]),
    }
    got = pasted(fresh, ["join", 0], **nodes)
    middle = (whole["changed"] > 0.4) & (whole["changed"] < 0.6)
    assert float((got["changed"] - whole["changed"] ** 2)[middle].abs().max()) < 0.1
