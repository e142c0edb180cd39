"""Films: which of their faces are restored, decided once for each of them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from gpen_core.errors import InputError, MissingDependencyError
from gpen_core.faces.embed import embed, load_embedder
from gpen_core.faces.gate import planned_strengths
from gpen_core.faces.person import NOT_THEM, Wanted
from gpen_core.hooks import Recording
from gpen_core.options import FilmOptions, Options
from gpen_core.run import Run, Tools

av = pytest.importorskip("av", reason="films need PyAV", exc_type=ImportError)

from gpen_core.films.film import Film  # noqa: E402
from gpen_core.films.restore import restore_film  # noqa: E402
from gpen_core.films.section import Section  # noqa: E402
from gpen_core.films.survey import Survey, survey  # noqa: E402


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


def test_the_quality_of_a_track_does_not_flicker(film, tmp_path, small_model):
    options = Options.of(shortest=1, auto_strength=True)
    report = restore_film(film, tmp_path / "out.mkv", Run(Tools(small_model), options))
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
        verdict = survey.verdict(track)
        assert quality == pytest.approx(verdict.quality)
        (planned,) = planned_strengths(torch.tensor([quality]), options.gate, 1.0).tolist()
        assert verdict.strength == pytest.approx(planned, abs=0.01)


def small_picture(crops):
    """Stands in for a recognition network: how light and dark lie in the middle of a face."""
    inner = torch.nn.functional.adaptive_avg_pool2d(crops, 12)[..., 3:9, 3:9].flatten(1)
    return inner - inner.mean(dim=1, keepdim=True)


def change(samples, source, target, side: int) -> list[np.ndarray]:
    """What was added to the brightness of each frame, on the left (0) or on the right (1)."""
    part = slice(160 * side, 160 * (side + 1))
    return [
        (after[0].astype(float) - before[0].astype(float))[:, part]
        for before, after in zip(samples(source), samples(target), strict=True)
    ]


def test_identity_is_decided_once_for_each_track(film, samples, tmp_path, small_model):
    """The network makes noise of every face: nobody stays who they were at full strength."""
    full, held = tmp_path / "full.mkv", tmp_path / "held.mkv"
    restore_film(film, full, Run(Tools(small_model), Options.of(shortest=1)))
    tools = Tools(small_model, embedder=small_picture)
    report = restore_film(film, held, Run(tools, Options.of(shortest=1, identity=0.9)))
    survey, lowered = report.survey, []
    for track in survey.tracks:
        verdict = survey.verdict(track)
        if verdict.quality < 0.5:
            continue
        assert track.number in survey.kept
        assert verdict.reason == f"identity not kept: strength lowered to {verdict.strength:.2f}"
        assert verdict.identity >= 0.9 * verdict.quality - 0.001
        assert len(verdict.samples) == 3
        side = int(float(track.boxes[0, 0]) > 160)
        pairs = zip(*(change(samples, film, one, side) for one in (full, held)), strict=True)
        used = [float((all_ * some).sum() / (all_ * all_).sum()) for all_, some in pairs]
        assert used == pytest.approx([verdict.strength] * len(used), abs=0.03)
        lowered.append(verdict.strength)
    assert lowered and max(lowered) < 0.9


def test_a_track_that_would_become_somebody_else_is_left_alone(
    film, samples, tmp_path, small_model
):
    def tells_everything(crops):
        """Whatever is changed makes somebody else."""
        return (crops * 1e4).flatten(1).sin()

    tools = Tools(small_model, embedder=tells_everything)
    options = Options.of(shortest=1, identity=1.0)
    report = restore_film(film, tmp_path / "out.mkv", Run(tools, options))
    unchanged = [not half for half in halves(samples, film, tmp_path / "out.mkv")]
    for track in report.survey.tracks:
        verdict = report.survey.verdict(track)
        if verdict.quality >= 0.5:
            assert verdict.reason == "identity not kept" and verdict.strength == 0
            assert track.number not in report.survey.kept
            assert unchanged[int(float(track.boxes[0, 0]) > 160)]
        else:
            assert verdict.identity is None
    assert any(unchanged)


def test_tracks_too_damaged_to_compare_are_told(make_film, portrait, shared, tmp_path, small_model):
    blurred = [
        np.asarray(Image.fromarray(frame).filter(ImageFilter.GaussianBlur(2)))
        for frame in pair(portrait, shared)
    ]
    film = make_film("blurred.mkv", frames=blurred, codec="ffv1", sound=0)
    told = Recording()
    tools = Tools(small_model, embedder=small_picture)
    run = Run(tools, Options.of(shortest=1, identity=0.9), told)
    survey = restore_film(film, tmp_path / "out.mkv", run).survey
    assert survey.kept and all(survey.verdict(one).identity is None for one in survey.tracks)
    assert any("too damaged to tell whom they show" in event for event in told.events)


def test_identity_needs_what_tells_people_apart(film, tmp_path, small_model):
    options = Options.of(shortest=1, identity=0.9)
    with pytest.raises(InputError, match="face embedder"):
        restore_film(film, tmp_path / "out.mkv", Run(Tools(small_model), options))


def test_how_much_of_a_track_is_covered_is_told(film, tmp_path, small_model):
    def lower_half(crops):
        covered = torch.zeros(len(crops), 1, 128, 128)
        covered[:, :, 64:] = 1
        return covered

    tools = Tools(small_model, occlusion=lower_half)
    options = Options.of(shortest=1, occlusion=True)
    survey = restore_film(film, tmp_path / "out.mkv", Run(tools, options)).survey
    shares = [survey.verdict(survey.tracks[number]).covered for number in survey.kept]
    assert len(shares) == 2 and all(0.5 < share < 0.7 for share in shares)


def meeting(portrait, cross, count=44, size=(320, 144)):
    """Two people, one of them blue, who meet with one behind the other, and go on or turn back."""
    person = Image.fromarray(portrait).crop((120, 10, 330, 262)).resize((96, 115))
    other = Image.fromarray((np.asarray(person.transpose(0)) * (0.5, 0.7, 1)).astype(np.uint8))
    frames = []
    for i in range(count):
        share = i / (count - 1) if cross else 0.5 - abs(i / (count - 1) - 0.5)
        frame = Image.new("RGB", size, (90, 100, 90))
        frame.paste(other, (round(216 - 208 * share), 14))
        frame.paste(person, (round(8 + 208 * share), 14))
        frames.append(np.asarray(frame))
    return frames


@pytest.mark.parametrize("cross", [False, True])
def test_two_who_meet_keep_their_numbers(make_film, portrait, small_model, cross):
    """Whether they cross or turn back; told apart by how blue they are."""

    def colors(crops):
        return (crops - crops.mean((1, 2, 3), keepdim=True)).mean((2, 3))

    frames = meeting(portrait, cross)
    source = make_film("film.mkv", frames=frames, codec="ffv1", pixel_format="yuv444p", sound=0)
    options = Options.of(identity=0.1, min_size=30)
    run = Run(Tools(small_model, embedder=colors), options)
    known = survey(Section(Film.open(source), FilmOptions()), run)
    for track in known.tracks:
        blue = []
        for frame in (track.first + 2, track.last - 2):
            x, y = track.landmarks[frame - track.first].mean(0).round().long().tolist()
            red, _, rest = frames[frame][y - 12 : y + 12, x - 12 : x + 12].mean((0, 1))
            blue.append(bool(rest > red))
        assert blue[0] == blue[1], (track.first, track.last)
    # The one in front is followed all the way; the other one may be lost behind them.
    assert max(len(one.scores) for one in known.tracks) == 44
