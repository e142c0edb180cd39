"""The page of faces, and what an archive comes to."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace

import numpy as np
from PIL import Image

from gpen_core.archive.folder import Folder
from gpen_core.archive.rows import Row
from gpen_core.archive.sheet import make_sheet
from gpen_core.cli.app import run as gpen

from .test_job import finish


def views(page: bytes) -> list[np.ndarray]:
    found = re.findall(rb'src="data:image/jpeg;base64,([^"]+)"', page)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(one)))) for one in found]


def test_the_page_shows_each_face_before_and_after_and_needs_no_network(archive, tmp_path):
    one = archive()
    finish(one)
    one.conclude()
    page = (tmp_path / "out" / "gpen-archive" / "sheet.html").read_bytes()
    assert b"3 of 3 restored pictures" in page
    assert not re.findall(rb'(?:src|href)="(?!data:)', page)
    shown = views(page)
    assert len(shown) == 6 and all(view.shape == (224, 224, 3) for view in shown)
    assert all(not np.array_equal(shown[i], shown[i + 1]) for i in (0, 2, 4))
    summary = json.loads((tmp_path / "out" / "gpen-archive" / "summary.json").read_text())
    assert summary["pictures"] == 5 and summary["restored"] == 3 and summary["failed"] == 1
    assert list(summary["failures"]) == ["torn.png"]


def test_the_least_certain_faces_come_first_and_names_are_only_text(tmp_path):
    place = tmp_path / "a.png"
    Image.new("RGB", (40, 30), (200, 10, 10)).save(place)
    row = Row("<b>a", str(place), 1, "", "a.png", restored=1, box=[-5.0, 2, 30, 40], lowest=0.95)
    other = replace(row, key="z", lowest=0.91, place=str(tmp_path / "gone.png"))
    third = replace(row, key="y", lowest=0.92)
    page = make_sheet([row, other, third], Folder(tmp_path)).decode()
    assert page.index("0.920") < page.index("0.950")
    assert "<b>" not in page and "&lt;b&gt;a" in page
    assert "1 could not be read any more" in page


def test_status_tells_how_far_an_archive_is(archive, tmp_path, capsys):
    finish(archive())
    assert gpen(["archive", "status", str(tmp_path / "out"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["pictures"], facts["restored"], facts["failed"], facts["left"]) == (5, 3, 1, 0)
    assert gpen(["archive", "status", str(tmp_path / "out")]) == 0
    assert "3 of 3 found" in capsys.readouterr().out
    assert gpen(["archive", "status", str(tmp_path)]) == 2
    assert "holds no archive" in capsys.readouterr().err
