"""Films restored, file to file."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gpen_core.errors import InputError
from gpen_core.hooks import Hooks
from gpen_core.options import FilmOptions, Options
from gpen_core.run import Run, Tools

av = pytest.importorskip("av", reason="films need PyAV", exc_type=ImportError)

from gpen_core.films import film, part, shot, survey  # noqa: E402
from gpen_core.films import restore as module  # noqa: E402
from gpen_core.films.film import Film  # noqa: E402
from gpen_core.films.restore import restore_film  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


def walk(portrait, count, size=(176, 144), seed=None):
    """A face that moves to and fro; with a seed each frame has noise of its own."""
    width, height = size
    photo = Image.fromarray(portrait)
    noise = np.random.default_rng(seed)
    frames = []
    for i in range(count):
        x, y = 70 + 14 * np.sin(i / 5), 10 + 5 * np.cos(i / 7)
        box = (x, y, x + 280 * width / height, y + 280)
        frame = np.asarray(photo.resize(size, Image.Resampling.BICUBIC, box=box)).astype(float)
        if seed is not None:
            frame = frame + noise.normal(0, 12, frame.shape)
        frames.append(frame.clip(0, 255).astype(np.uint8))
    return frames


@pytest.fixture
def run(small_model):
    return Run(Tools(small_model), Options.of(shortest=1))


@pytest.fixture
def short_parts(monkeypatch):
    monkeypatch.setattr(module, "_SHORTEST", 4)
    monkeypatch.setattr(module, "_LONGEST", 8)


def test_a_film_without_a_face_keeps_every_sample(make_film, samples, look, tmp_path, run):
    source = make_film("film.mkv", codec="ffv1", pixel_format="yuv422p10le")
    report = restore_film(source, tmp_path / "out.mkv", run)
    assert (report.frames, report.touched, report.survey.tracks) == (12, 0, [])
    for one, other in zip(samples(source), samples(tmp_path / "out.mkv"), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert look(tmp_path / "out.mkv") == look(source)


def test_only_the_face_changes(make_film, samples, tmp_path, run, portrait):
    source = make_film("film.mkv", frames=walk(portrait, 10), codec="ffv1", sound=0)
    report = restore_film(source, tmp_path / "out.mkv", run)
    assert report.touched == 10
    (face,) = report.survey.tracks
    for index, (before, after) in enumerate(
        zip(samples(source), samples(tmp_path / "out.mkv"), strict=True)
    ):
        changed = np.argwhere(before[0] != after[0])
        assert len(changed) > 500
        x0, y0, x1, y1 = face.boxes[index].tolist()
        middle = changed.mean(0)
        assert abs(middle[1] - (x0 + x1) / 2) < 15 and abs(middle[0] - (y0 + y1) / 2) < 25
        assert np.array_equal(before[0][:, -12:], after[0][:, -12:])


def test_faces_pasted_in_bands_are_those_pasted_whole(
    make_film, samples, tmp_path, run, portrait, monkeypatch
):
    source = make_film("film.mkv", frames=walk(portrait, 3), codec="ffv1", sound=0)
    for name, pixels in (("whole", 176 * 144), ("bands", 176 * 8)):
        monkeypatch.setattr(shot, "_BAND_PIXELS", pixels)
        restore_film(source, tmp_path / f"{name}.mkv", run)
    for one, other in zip(
        samples(tmp_path / "whole.mkv"), samples(tmp_path / "bands.mkv"), strict=True
    ):
        # The arithmetic of a warp rounds differently in a band: now and then by a level.
        assert sum(int((a != b).sum()) for a, b in zip(one, other, strict=True)) < 10


def test_huge_frames_go_one_by_one_and_give_their_memory_back(
    make_film, samples, tmp_path, run, portrait, monkeypatch
):
    source = make_film("film.mkv", frames=walk(portrait, 6), codec="ffv1", sound=0)
    together, given_back = [], []
    restore = Run.restore
    monkeypatch.setattr(
        Run, "restore", lambda run, faces: together.append(len(faces)) or restore(run, faces)
    )
    monkeypatch.setattr(part, "at_once", lambda model, options: 3)
    for room in (part, survey):
        monkeypatch.setattr(room, "return_freed_memory", lambda: given_back.append(1))
    restore_film(source, tmp_path / "small.mkv", run)
    assert (together, given_back) == ([3, 3], [])
    together.clear()
    monkeypatch.setattr(film, "HUGE", 176 * 144)
    restore_film(source, tmp_path / "huge.mkv", run)
    assert (together, len(given_back)) == ([1] * 6, 6 + 6)
    for one, other in zip(
        samples(tmp_path / "small.mkv"), samples(tmp_path / "huge.mkv"), strict=True
    ):
        # Faces that go through the network together are rounded differently.
        assert (
            max(int(np.abs(a.astype(int) - b).max()) for a, b in zip(one, other, strict=True)) < 2
        )


def test_a_turned_film_is_looked_at_upright(make_film, look, tmp_path, run, portrait):
    lying = [np.ascontiguousarray(np.rot90(frame, -1)) for frame in walk(portrait, 6)]
    source = make_film("film.mp4", frames=lying, rotation=90)
    report = restore_film(source, tmp_path / "out.mp4", run)
    assert (report.touched, report.size) == (6, (144, 176))
    assert look(tmp_path / "out.mp4")["rotation"] == 90


def test_parts_and_times_of_an_uneven_film(make_film, look, tmp_path, run, portrait, short_parts):
    times = [Fraction(40 * i + 15 * (i % 3), 1000) for i in range(20)]
    source = make_film("film.mp4", frames=walk(portrait, 20), times=times)
    restore_film(source, tmp_path / "out.mp4", run)
    assert look(tmp_path / "out.mp4") == look(source)
    assert not list(tmp_path.glob(".*"))


class Stop(Exception):
    pass


class StopsAt(Hooks):
    def __init__(self, stage, frame, error=Stop):
        self.at, self.error = (stage, frame), error

    def progress(self, stage, done, total):
        if (stage, done) == self.at:
            raise self.error


def stopping(run, hooks):
    """The same run, which these hooks stop."""
    return Run(run.tools, run.options, hooks)


@pytest.mark.parametrize("stage, frame", [("survey", 9), ("film", 3), ("film", 11)])
def test_a_stopped_run_goes_on_and_ends_the_same(
    make_film, tmp_path, run, portrait, short_parts, stage, frame
):
    source = make_film("film.mkv", frames=walk(portrait, 18, seed=1))
    restore_film(source, tmp_path / "whole.mkv", run)
    target = tmp_path / "again.mkv"
    with pytest.raises(Stop):
        restore_film(source, target, stopping(run, StopsAt(stage, frame)))
    assert not target.exists()
    kept = sorted(path.name for path in (tmp_path / ".again.mkv.gpen").iterdir())
    assert len(kept) == {"survey": 1, "film": 2 + frame // 8}[stage]
    restore_film(source, target, run)
    assert target.read_bytes() == (tmp_path / "whole.mkv").read_bytes()
    assert not (tmp_path / ".again.mkv.gpen").exists()


def test_ctrl_c_leaves_what_is_done(make_film, look, tmp_path, run, portrait, short_parts):
    source = make_film("film.mkv", frames=walk(portrait, 18))
    with pytest.raises(KeyboardInterrupt):
        restore_film(
            source, tmp_path / "out.mkv", stopping(run, StopsAt("film", 13, KeyboardInterrupt))
        )
    assert not (tmp_path / "out.mkv").exists()
    assert look(tmp_path / "out_partial.mkv")["times"] == look(source)["times"][:8]


def test_other_options_do_not_mix(make_film, tmp_path, run, small_model, portrait, short_parts):
    source = make_film("film.mkv", frames=walk(portrait, 18))
    half = Run(Tools(small_model), Options.of(shortest=1, strength=0.5))
    restore_film(source, tmp_path / "whole.mkv", half)
    told = StopsAt("film", 13)
    with pytest.raises(Stop):
        restore_film(source, tmp_path / "again.mkv", stopping(run, told))
    restore_film(source, tmp_path / "again.mkv", half)
    assert (tmp_path / "again.mkv").read_bytes() == (tmp_path / "whole.mkv").read_bytes()


def test_some_frames_alone(make_film, look, tmp_path, run):
    source = make_film("film.mkv", count=20, sound=1)
    report = restore_film(source, tmp_path / "out.mkv", run, FilmOptions(frames=(5, 11)))
    assert report.frames == 7
    found = look(tmp_path / "out.mkv")
    assert found["times"] == [Fraction(i, 25) for i in range(7)]
    heard = [start for start, _ in found["packets"][1]]
    assert -0.03 < heard[0] < 0.03 and 0.22 < heard[-1] < 0.28


def test_frames_that_are_not_there(make_film, tmp_path, run):
    with pytest.raises(InputError, match="frame 12 is not one of them"):
        restore_film(make_film("f.mkv"), tmp_path / "o.mkv", run, FilmOptions(frames=(12, 14)))


def test_tracks_are_kept_as_faces_are(make_film, samples, tmp_path, small_model, portrait):
    source = make_film("film.mkv", frames=walk(portrait, 6), codec="ffv1", sound=0)
    run = Run(Tools(small_model), Options.of(shortest=1, keep="none"))
    report = restore_film(source, tmp_path / "out.mkv", run)
    assert len(report.survey.tracks) == 1 and report.survey.kept == [] and report.touched == 0
    for one, other in zip(samples(source), samples(tmp_path / "out.mkv"), strict=True):
        assert np.array_equal(one[0], other[0])


def test_one_frame_and_odd_sizes(make_film, look, tmp_path, run):
    for name, count, size in (("one.mkv", 1, (96, 64)), ("odd.mkv", 5, (97, 63))):
        source = make_film(name, count=count, size=size, codec="ffv1", sound=0)
        assert restore_film(source, tmp_path / name, run).frames == count
        assert look(tmp_path / name) == look(source)


def test_a_truncated_film_gives_what_is_there(make_film, look, tmp_path, run):
    source = make_film("film.mkv", count=60)
    data = source.read_bytes()
    source.write_bytes(data[: len(data) // 2])
    there = len(look(source)["times"])
    assert 0 < there < 60
    assert restore_film(source, tmp_path / "out.mkv", run).frames == there


def test_a_film_that_changes_size_is_named(make_film, tmp_path, run):
    one = make_film("one.ts", count=10, codec="libx264", sound=0).read_bytes()
    two = make_film("two.ts", count=10, size=(64, 48), codec="libx264", sound=0).read_bytes()
    source = tmp_path / "both.ts"
    source.write_bytes(one + two)
    with pytest.raises(InputError, match=r"changes from 96x64 to 64x48 after 0\.\d s"):
        restore_film(source, tmp_path / "out.ts", run)


@pytest.mark.parametrize("content", [b"", b"not a film", b"\0" * 5000])
def test_what_is_no_film_is_said(tmp_path, run, content):
    source = tmp_path / "film.mp4"
    source.write_bytes(content)
    with pytest.raises(InputError, match="no film that can be read"):
        restore_film(source, tmp_path / "out.mp4", run)


def test_a_format_without_the_codec_is_refused_before_the_work(make_film, tmp_path, run):
    source = make_film("film.mp4")
    asked = FilmOptions(codec="h264")
    for name, said in (("out.webm", "cannot hold h264"), ("out.png", "cannot be written as .png")):
        with pytest.raises(InputError, match=said):
            restore_film(source, tmp_path / name, stopping(run, StopsAt("survey", 1)), asked)
    assert not list(tmp_path.glob(".*"))


def test_another_format_takes_its_own_codec(make_film, look, tmp_path, run):
    source = make_film("film.mp4", sound=0)
    report = restore_film(source, tmp_path / "out.webm", run)
    found = look(tmp_path / "out.webm")
    assert (found["codec"], found["times"]) == ("vp9", look(source)["times"])
    assert report.events == ["h264 cannot be written here; the film is encoded as vp9."]


@pytest.mark.parametrize(
    "name, codec, pixel_format, written",
    [
        ("a.mov", "qtrle", "argb", "qtrle"),
        ("a.mov", "png", "rgba", "png"),
        ("a.avi", "huffyuv", "rgb24", "huffyuv"),
        ("a.avi", "utvideo", "gbrap", "utvideo"),
        ("a.avi", "rawvideo", "yuyv422", "ffv1"),
        ("a.avi", "rawvideo", "monow", "ffv1"),
        ("a.mov", "v210", "yuv422p10le", "hevc"),
        ("a.avi", "flv1", "yuv420p", "h264"),
        ("a.wmv", "wmv2", "yuv420p", "h264"),
        ("a.avi", "cinepak", "rgb24", "h264"),
    ],
)
def test_every_codec_becomes_one_that_can_be_written(
    make_film, look, samples, tmp_path, run, name, codec, pixel_format, written
):
    source = make_film(name, count=6, codec=codec, pixel_format=pixel_format, sound=0)
    restore_film(source, tmp_path / name, run)
    found = look(tmp_path / name)
    assert (found["codec"], len(found["times"])) == (written, 6)
    if written in ("qtrle", "png", "huffyuv", "utvideo"):
        pairs = zip(samples(source), samples(tmp_path / name), strict=True)
        for one, other in pairs:
            assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_mpeg_2_has_rates_of_its_own(tmp_path, run):
    source = tmp_path / "film.mpg"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for i in range(12):
            frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), 8 * i, np.uint8), "rgb24")
            frame.pts = i
            container.mux(stream.encode(frame.reformat(format="yuv420p")))
        container.mux(stream.encode())
    assert restore_film(source, tmp_path / "out.mpg", run).frames == 12
    with av.open(str(tmp_path / "out.mpg")) as container:
        assert container.streams.video[0].codec_context.name == "mpeg2video"
        assert len(list(container.decode(video=0))) == 12


def test_the_film_itself_is_not_replaced(make_film, tmp_path, run):
    source = make_film("film.mkv")
    with pytest.raises(InputError, match="is the film itself"):
        restore_film(source, source, run)


def pixels_of(path):
    return np.asarray(Image.open(path)).astype(int)


def test_every_frame_as_a_picture(make_film, tmp_path, run, portrait, short_parts):
    source = make_film("film.mkv", frames=walk(portrait, 18), codec="ffv1", sound=0)
    restore_film(source, tmp_path / "whole.mkv", run)
    folder = tmp_path / "frames"
    options = FilmOptions(every_frame_as="png", frames=(3, 17))
    with pytest.raises(KeyboardInterrupt):
        restore_film(source, folder, stopping(run, StopsAt("film", 10, KeyboardInterrupt)), options)
    assert not folder.exists()
    assert restore_film(source, folder, run, options).frames == 15
    names = sorted(path.name for path in folder.iterdir())
    assert names == [f"film_{number:06}.png" for number in range(3, 18)]
    # The same pictures as in a film of these frames.
    restore_film(source, tmp_path / "some.mkv", run, FilmOptions(frames=(3, 17)))
    with av.open(str(tmp_path / "some.mkv")) as container:
        films = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    for name, frame in zip(names, films, strict=True):
        # FFmpeg enlarges chroma in its own way.
        assert np.abs(pixels_of(folder / name) - frame).mean() < 2.5
    with pytest.raises(InputError, match="exists already"):
        restore_film(source, folder, run, options)


def test_deep_and_turned_frames_become_deep_upright_pictures(make_film, tmp_path, run):
    source = make_film(
        "film.mp4", count=2, codec="libx265", pixel_format="yuv420p10le", sound=0, rotation=90
    )
    restore_film(source, tmp_path / "frames", run, FilmOptions(every_frame_as="png"))
    from gpen_core.images.read import read_picture

    picture = read_picture(tmp_path / "frames" / "film_000000.png")
    assert (picture.size, picture.bits) == ((96, 64), 16)
    levels = picture.pixels * 65535
    assert (levels.round() % 257 != 0).any()  # more than 8 bits of them


def lights(path):
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return [
        {
            str(one.type): bytes(one)
            for one in frame.side_data
            if "LIGHT" in str(one.type) or "MASTERING" in str(one.type)
        }
        for frame in frames
    ]


def test_the_light_levels_of_hdr_stay(make_film, tmp_path, run):
    screen = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    source = make_film(
        "film.mkv",
        count=4,
        codec="libx265",
        pixel_format="yuv420p10le",
        sound=0,
        tags=(1, 9, 16, 9),
        parameters=f"master-display={screen}:max-cll=1000,400:hdr10=1",
    )
    restore_film(source, tmp_path / "out.mkv", run)
    before, after = lights(source), lights(tmp_path / "out.mkv")
    assert len(before[0]) == 2 and after == before


def test_large_frames_are_looked_at_more_often_instead_of_held(
    make_film, tmp_path, run, monkeypatch
):
    from gpen_core.films import watch

    source = make_film("film.mkv", count=12, sound=0)
    with av.open(str(source)) as container:
        frame = next(container.decode(video=0))
    each = sum(plane.buffer_size for plane in frame.planes)
    monkeypatch.setattr(watch, "_MOST_WAITING", 3 * each)
    report = restore_film(source, tmp_path / "out.mkv", run)
    assert report.survey.looked == 5  # the first and every third
    assert "every 3 frames" in " ".join(report.events)


def test_one_result_is_made_by_one_run(make_film, tmp_path, run):
    source, target = make_film("film.mkv", count=40), tmp_path / "out.mkv"
    seen = []

    class Another(Hooks):
        def progress(self, stage, done, total):
            if not seen:
                seen.append(stage)
                with pytest.raises(InputError, match="being made by another run"):
                    restore_film(source, target, run)

    restore_film(source, target, stopping(run, Another()))
    assert seen and target.exists() and not list(tmp_path.glob(".*"))


def test_only_the_wanted_frames_are_looked_at(make_film, tmp_path, small_model):
    source = make_film("film.mkv", count=60, sound=0)
    run = Run(Tools(small_model), Options.of(detect_every=1))
    for options in (FilmOptions(frames=(40, 44)), FilmOptions(window=(1.6, 0.2))):
        report = restore_film(source, tmp_path / "out.mkv", run, options)
        assert (report.frames, report.survey.looked) == (5, 5)
        assert not report.survey.whole
        assert report.survey.last_duration == 40


def test_a_face_has_one_tone_and_one_fade_in_a_scene(make_film, tmp_path, run, portrait):
    # Faded, and in single frames a little less so than the rule for pictures asks.
    frames = []
    for i, frame in enumerate(walk(portrait, 12)):
        gray = frame.mean(-1, keepdims=True).repeat(3, -1)
        frames.append((90 + gray * (0.45 if i == 5 else 0.40)).astype(np.uint8))
    source = make_film("film.mkv", frames=frames, codec="ffv1", pixel_format="gray", sound=0)
    known = restore_film(source, tmp_path / "out.mkv", run).survey
    (scene,) = known.scenes
    assert scene.tone is not None and scene.tone.is_gray
    assert scene.fade is not None and scene.fade.low > 0.3
    assert known.faces_of(5, (144, 176)).fades == (scene.fade,)


def test_numbers_in_the_report_are_those_that_keep_counts(
    make_film, tmp_path, small_model, portrait
):
    # The second face to come is the larger one.
    small = walk(portrait, 24, size=(120, 100))
    frames = [np.zeros((150, 320, 3), np.uint8) for _ in small]
    for i, (frame, one) in enumerate(zip(frames, small, strict=True)):
        frame[:100, :120] = one
        if i > 6:
            large = Image.fromarray(one).resize((180, 150))
            frame[:, 140:] = np.asarray(large)
    source = make_film("film.mkv", frames=frames, codec="ffv1", sound=0)
    run = Run(Tools(small_model), Options.of(keep="0", sort="area", detect_every=1, min_size=16))
    known = restore_film(source, tmp_path / "out.mkv", run).survey
    assert len(known.tracks) > 1 and known.kept == [0]
    (kept,) = (one for one in known.tracks if one.number == 0)
    assert kept.first >= 7 and float(kept.boxes[:, 0].mean()) > 140


def test_a_file_in_the_place_of_the_parts_is_named(make_film, tmp_path, run):
    (tmp_path / ".out.mkv.gpen").touch()
    with pytest.raises(InputError, match="in the way"):
        restore_film(make_film("film.mkv"), tmp_path / "out.mkv", run)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no limit for files")
def test_a_full_disk_is_said_as_such(make_film, tmp_path, small_model_file):
    # The picture's part is small enough; with two sounds the film is not.
    source = make_film("film.mkv", count=40, sound=2)
    limit = "import resource as r, signal as s; s.signal(s.SIGXFSZ, s.SIG_IGN); "
    limit += "r.setrlimit(r.RLIMIT_FSIZE, (16000, 16000)); "
    code = f"{limit}from gpen_core.cli.app import main; main()"
    command = [sys.executable, "-c", code, "restore", source, "-o", tmp_path / "out.mkv"]
    done = subprocess.run(
        [*map(str, command), "--model_path", str(small_model_file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "File too large" in done.stderr and "cannot hold" not in done.stderr
    assert not (tmp_path / "out.mkv").exists()


def test_sound_alone_is_no_film(tmp_path, run):
    source = tmp_path / "song.mkv"
    with av.open(str(source), "w") as container:
        track = container.add_stream("aac", rate=48000)
        track.layout = "mono"
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), "s16", "mono")
        samples.rate, samples.pts = 48000, 0
        container.mux(track.encode(samples))
        container.mux(track.encode())
    with pytest.raises(InputError, match="no moving picture"):
        restore_film(source, tmp_path / "out.mkv", run)


def test_names_that_mean_other_things_to_ffmpeg(make_film, tmp_path, run):
    source = make_film("concat:a|b.mkv")
    assert Film.open(source).frames_said in (12, 13)  # the sound is longer
    assert restore_film(source, tmp_path / "x:y%d.mkv", run).frames == 12


# --- the command ---------------------------------------------------------------------------------


def gpen(*arguments, **how):
    command = [sys.executable, "-m", "gpen_core", "restore", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, **how)


def test_the_command_and_its_report(make_film, tmp_path, portrait):
    source = make_film("film.mp4", frames=walk(portrait, 8))
    report = tmp_path / "report.json"
    done = gpen(source, "-o", tmp_path / "out.mp4", "--report", report, "--frames", "0-5")
    said = done.communicate()[1]
    assert done.returncode == 0, said
    assert "1 of 1 faces restored" in said
    (line,) = json.loads(report.read_text())
    assert (line["status"], line["frames"], line["size"]) == ("restored", 6, [176, 144])
    (track,) = line["tracks"]
    assert (track["number"], track["first"], track["last"], track["restored"]) == (0, 0, 5, True)
    assert track["thumbnail"].startswith("data:image/jpeg;base64,")


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--upscale", "2"], "--upscale"),
        (["--compare"], "--compare"),
        (["--codec", "h263"], "--codec must be one of"),
        (["--frames", "8-5"], "swap the numbers"),
        (["--frames", "5"], "two numbers such as 100-250"),
    ],
)
def test_options_that_films_do_not_have(make_film, tmp_path, flags, said):
    done = gpen(make_film("film.mkv"), "-o", tmp_path / "out.mkv", *flags)
    text = done.communicate()[1]
    assert done.returncode == 2 and said in text, text
    assert not (tmp_path / "out.mkv").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_killed_and_gone_on_with(make_film, tmp_path, portrait, small_model_file):
    source = make_film("film.mkv", frames=walk(portrait, 300, size=(96, 80)), sound=0)
    flags = ("--detect_every", "20", "--min_size", "16", "--model_path", small_model_file)
    assert gpen(source, "-o", tmp_path / "whole.mkv", *flags).wait() == 0
    target, folder = tmp_path / "again.mkv", tmp_path / ".again.mkv.gpen"
    running = gpen(source, "-o", target, *flags)
    while not (folder / "part-00000.mkv").exists() and running.poll() is None:
        time.sleep(0.02)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    first = (folder / "part-00000.mkv").stat().st_mtime_ns
    assert not target.exists()
    assert gpen(source, "-o", target, *flags).wait() == 0
    assert target.read_bytes() == (tmp_path / "whole.mkv").read_bytes()
    assert first and not folder.exists()


def rising(seed, count):
    """Shares of a run's time, each later than the one before."""
    draw = random.Random(seed)
    return sorted(draw.uniform(0.1, 1) for _ in range(count))


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize(
    "moments",
    [
        pytest.param(rising(0, 2), id="two"),
        pytest.param(rising(1, 10), id="ten", marks=pytest.mark.full),
    ],
)
def test_killed_at_any_moment(make_film, tmp_path, portrait, small_model_file, moments):
    """While it is looked through, between and within parts, while they are joined."""
    source = make_film("film.mkv", frames=walk(portrait, 300, size=(96, 80)))
    flags = ("--detect_every", "20", "--min_size", "16", "--model_path", small_model_file)
    start = time.monotonic()
    assert gpen(source, "-o", tmp_path / "whole.mkv", *flags).wait() == 0
    took, whole = time.monotonic() - start, (tmp_path / "whole.mkv").read_bytes()
    for number, share in enumerate(moments):
        target = tmp_path / f"{number}.mkv"
        running = gpen(source, "-o", target, *flags)
        try:
            running.wait(share * took)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
            assert not target.exists() or target.read_bytes() == whole
            assert target.exists() or gpen(source, "-o", target, *flags).wait() == 0
        assert target.read_bytes() == whole, f"killed after {share * took:.2f} of {took:.2f} s"
        target.unlink()
        assert not list(tmp_path.glob(f".{number}.mkv*"))
