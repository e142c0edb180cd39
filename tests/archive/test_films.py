"""A film is one picture of an archive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

av = pytest.importorskip("av", reason="PyAV, of the extra gpen[video], is not installed")

from gpen_core.films.restore import restore_film
from gpen_core.models.load import load_model
from gpen_core.options import Options
from gpen_core.run import Run, Tools

from .test_job import Inline, finish


def write_film(path: Path, picture: np.ndarray, frames: int = 8) -> None:
    with av.open(str(path), "w") as film:
        stream = film.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = picture.shape[1], picture.shape[0], "yuv420p"
        for _ in range(frames):
            film.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        film.mux(stream.encode())


def test_a_film_among_pictures_is_what_gpen_restore_makes_of_it(
    archive, tmp_path, portrait, small_model_file
):
    source = tmp_path / "films"
    (source / "1950").mkdir(parents=True)
    face = Image.fromarray(portrait).crop((90, 10, 350, 270)).resize((96, 96))
    write_film(source / "1950" / "a.mkv", np.asarray(face))
    (source / "torn.mkv").write_bytes(b"no film")
    face.save(source / "b.png")
    one = archive(source=source, at_once=4)
    rows = {row.key: row for row in finish(one)}
    assert {key: row.status for key, row in rows.items()} == {
        "1950/a.mkv": "restored", "b.png": "restored", "torn.mkv": "failed"
    }  # fmt: skip
    assert (rows["1950/a.mkv"].found, rows["1950/a.mkv"].restored) == (1, 1)
    run = Run(Tools(load_model(small_model_file)), Options())
    restore_film(source / "1950" / "a.mkv", tmp_path / "plain.mkv", run)
    made = tmp_path / "out" / "1950" / "a.mkv"
    assert made.read_bytes() == (tmp_path / "plain.mkv").read_bytes()
    assert not [p for p in (tmp_path / "out" / "gpen-archive" / "films").rglob("*") if p.is_file()]
    again = archive(Inline(), source=source)
    assert again.plan.done == ["1950/a.mkv", "b.png"]
