"""What the report says of every face, of a picture and of a film."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from gpen_core.cli.app import run as gpen


@pytest.fixture
def told(tmp_path, portrait, small_model_file, recognition_graph):
    """Restores a file with everything that looks at faces; the report's entry."""
    network = recognition_graph(tmp_path / "arcface.onnx")
    Image.fromarray(portrait).save(tmp_path / "her.png")

    def restore(source, *options: str) -> dict:
        people = ["--person", str(tmp_path / "her.png"), "--embedder", str(network)]
        people += ["--person_threshold", "0.3", "--identity", "0.5", "--occlusion"]
        out = ["-o", str(tmp_path / f"out{source.suffix}"), "--overwrite"]
        out += ["--report", str(tmp_path / "report.json"), "-m", str(small_model_file)]
        assert gpen(["restore", str(source), *people, *out, *options]) == 0
        (outcome,) = json.loads((tmp_path / "report.json").read_text())
        return outcome

    return restore


@pytest.fixture
def film(tmp_path, portrait):
    """The portrait, swaying."""
    av = pytest.importorskip("av", reason="films need PyAV", exc_type=ImportError)
    path = tmp_path / "film.mkv"
    picture = Image.fromarray(portrait).resize((192, 192))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width = stream.height = 200
        stream.pix_fmt = "yuv420p"
        for index in range(6):
            frame = Image.new("RGB", (200, 200))
            frame.paste(picture, (index % 3, 4))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(frame), "rgb24")))
        container.mux(stream.encode(None))
    return path


def check(face: dict) -> None:
    """Of a restored face everything is known, of one left alone why, and how good it is."""
    assert face["person"] > 0.3 and 0 < face["quality"] < 1
    if face["restored"]:
        assert 0 <= face["covered"] <= 1 and 0 < face["strength"] <= 1
        assert 0.5 * face["quality"] - 0.01 <= face["identity"] <= 1
    else:
        assert face["reason"] == f"already good (quality {face['quality']:.2f})"
        assert face["covered"] is face["strength"] is face["identity"] is None


@pytest.mark.parametrize("options", [(), ("--only_below", "0.05")], ids=["restored", "left alone"])
def test_of_a_picture(options, told, tmp_path):
    [face] = [one for one in told(tmp_path / "her.png", *options)["faces"] if one["index"] == 0]
    assert face["restored"] == (not options)
    check(face)


@pytest.mark.parametrize("options", [(), ("--only_below", "0.05")], ids=["restored", "left alone"])
def test_of_a_film(options, told, film):
    [track] = told(film, "--shortest", "1", *options)["tracks"]
    assert track["restored"] == (not options)
    check(track)
