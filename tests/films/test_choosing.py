"""Films: which of their faces are restored, decided once for each of them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from gpen_core.errors import MissingDependencyError
from gpen_core.faces.embed import embed, load_embedder
from gpen_core.faces.person import NOT_THEM, Wanted
from gpen_core.options import Options
from gpen_core.run import Run, Tools

av = pytest.importorskip("av", reason="films need PyAV", exc_type=ImportError)

from gpen_core.films.restore import restore_film  # noqa: E402
from gpen_core.films.survey import Survey  # noqa: E402


def pair(portrait, shared, count=8):
    """Two people side by side, each swaying; the second out of focus."""
    other = Image.open(shared / "photos" / "Reed_007784_c63.jpg").convert("RGB")
    faces = Image.fromarray(portrait).crop((60, 0, 400, 340)), other.crop((0, 0, 512, 512))
    frames = []
    for index in range(count):
        frame = Image.new("RGB", (320, 160))
        for place, face in enumerate(faces):
            small = face.resize((150, 150))
            frame.paste(small, (5 + 160 * place + index % 3, 5))
        frames.append(np.asarray(frame))
    return frames


@pytest.fixture
def film(make_film, portrait, shared):
    return make_film("film.mkv", frames=pair(portrait, shared), codec="ffv1", sound=0)


def halves(samples, source, target) -> list[bool]:
    """Whether anything changed on the left, and on the right."""
    changed = np.zeros((160, 320), bool)
    for before, after in zip(samples(source), samples(target), strict=True):
        changed |= (before[0] != after[0])[:, :320]  # lines are padded
    return [bool(changed[:, :160].any()), bool(changed[:, 160:].any())]


def test_one_person_through_a_film(film, samples, tmp_path, small_model, portrait):
    try:
        embedder = load_embedder()
    except MissingDependencyError as error:
        pytest.skip(str(error))
    import torch

    run = Run(Tools(small_model, embedder=embedder), Options.of(shortest=1))
    pixels = torch.from_numpy(portrait[:, ::-1].copy()).permute(2, 0, 1)[None].float() / 255
    her = embed(pixels, run.find(pixels).everyone, embedder)[0]
    run.tools = replace(run.tools, wanted=Wanted(person=her))
    report = restore_film(film, tmp_path / "out.mkv", run)
    verdicts = {one.reason: one for one in report.survey.verdicts}
    assert set(verdicts) == {None, NOT_THEM}
    assert verdicts[None].person > 0.5 > 0.3 > verdicts[NOT_THEM].person
    assert len(report.survey.kept) == 1
    assert halves(samples, film, tmp_path / "out.mkv") == [True, False]
    # What is known survives a stop.
    report.survey.save(tmp_path / "survey.json")
    assert Survey.load(tmp_path / "survey.json").verdicts == report.survey.verdicts
    assert json.loads((tmp_path / "survey.json").read_text())["verdicts"][0]["person"]


def test_good_faces_of_a_film_are_left_alone_by_the_median_of_their_frames(
    film, samples, tmp_path, small_model
):
    plain = restore_film(
        film, tmp_path / "plain.mkv", Run(Tools(small_model), Options.of(shortest=1))
    )
    assert plain.survey.verdicts[0].quality is None, "nobody asked"
    options = Options.of(shortest=1, only_below=1.0)
    seen = restore_film(film, tmp_path / "seen.mkv", Run(Tools(small_model), options)).survey
    low, high = sorted(one.quality for one in seen.verdicts)
    assert low < high
    options = Options.of(shortest=1, only_below=(low + high) / 2)
    report = restore_film(film, tmp_path / "out.mkv", Run(Tools(small_model), options))
    assert len(report.survey.kept) == 1
    left = [one.reason for one in report.survey.verdicts if one.reason]
    assert left == [f"already good (quality {high:.2f})"]
    assert sorted(halves(samples, film, tmp_path / "out.mkv")) == [False, True]


def test_the_strength_of_a_track_does_not_flicker_and_identity_is_refused_aloud(
    film, tmp_path, small_model
):
    options = Options.of(shortest=1, careful=True, only_below=1.0)
    report = restore_film(film, tmp_path / "out.mkv", Run(Tools(small_model), options))
    assert any("identity is not compared" in event for event in report.events)
    survey = report.survey
    for number in survey.kept:
        track = survey.tracks[number]
        qualities = {
            float(survey.faces_of(frame, (160, 320)).quality[place])
            for frame in range(track.first, track.last + 1)
            for place, own in enumerate(survey.faces_of(frame, (160, 320)).tracks.tolist())
            if own == number
        }
        (quality,) = qualities
        assert quality == pytest.approx(survey.verdict(track).quality)
