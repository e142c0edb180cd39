"""Faces to learn from and measure on: who is used, who is held out, where a crop lies."""

from __future__ import annotations

import runpy
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gpen_core.dataset import pairs as dataset
from gpen_core.dataset import sources
from gpen_core.dataset.degradation import Degradation, preset
from gpen_core.dataset.placement import Placement
from gpen_core.dataset.resident import ResidentSampler
from gpen_core.dataset.sources import Selection
from gpen_core.errors import InputError
from gpen_core.faces.templates import template

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = "file,source,strict,inside\n"


def picture(path: Path, width: int = 80, height: int = 80, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 255, (5, 5, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(path)
    return path


def face(path: Path, **about) -> sources.Face:
    return sources.Face(path, "made", **about)


def plan(**changes) -> dataset.Plan:
    return dataset.Plan(
        **({"size": 64, "recipes": [(1, preset("medium"))], "batch_size": 2} | changes)
    )


def test_a_step_has_one_batch(training_faces):
    chosen = Selection(training_faces, holdout=0.2)
    training, _ = sources.split(sources.read_faces(chosen), chosen)
    sampler = dataset.PairSampler(training, plan())
    first, again, other = sampler.batch(3), sampler.batch(3), sampler.batch(4)
    assert torch.equal(first.degraded, again.degraded) and torch.equal(first.truth, again.truth)
    assert not torch.equal(first.truth, other.truth)
    assert first.truth.shape == (2, 3, 64, 64) and first.weight.shape == (2, 1, 64, 64)
    assert first.weight.min() >= 0 and first.weight.max() <= 1


def test_a_share_without_damage_comes_through_unchanged(training_faces):
    faces = sources.read_faces(Selection(training_faces))
    clean = plan(recipes=[(1, Degradation())], damage_size=128)
    pair = dataset.PairSampler(faces, clean).batch(0)
    assert torch.equal(pair.degraded, pair.truth)
    some = plan(recipes=[(1, Degradation()), (1, preset("severe"))], batch_size=8)
    pairs = dataset.PairSampler(faces, some).batch(0)
    same = [torch.equal(a, b) for a, b in zip(pairs.degraded, pairs.truth, strict=True)]
    assert 0 < sum(same) < 8


def test_processes_and_passes_share_the_faces_of_a_step(training_faces):
    """Two processes of two passes of two see what one process sees in a batch of eight."""
    faces = sources.read_faces(Selection(training_faces))
    one = dataset.PairSampler(faces, plan(batch_size=8)).batch(5)
    parts = plan(batch_size=2, accumulate=2)
    two = [dataset.PairSampler(faces, parts, 2, index) for index in (0, 1)]
    joined = [two[index][2 * 5 + part].truth for part in (0, 1) for index in (0, 1)]
    assert torch.equal(torch.cat(joined), one.truth)


def test_strict_rows_and_named_sources_only_and_no_face_on_both_sides(training_faces):
    data = Selection(training_faces, holdout=0.2)
    chosen = sources.read_faces(data)
    assert {one.source for one in chosen} == {"studio"}
    training, validation = sources.split(chosen, data)
    assert not {one.path for one in training} & {one.path for one in validation}
    assert len(training) + len(validation) == len(chosen)
    also = replace(data, also=("street",), exclude=("studio",))
    assert {one.source for one in sources.read_faces(also)} == {"street"}
    everyone = replace(data, strict_only=False)
    assert {one.source for one in sources.read_faces(everyone)} == {"studio", "street"}


def test_a_person_is_held_out_whole_and_everywhere(tmp_path):
    """Ann has the last picture of `a`, and pictures in between and in `b`."""
    order = ["Ann", "Bob", "Cat", "Dan", "Eve", "Fay", "Ann", "Gus", "Hal", "Ann"]
    people = [("a", name) for name in order]
    people += [("b", name) for name in ["Ann", "Ida", "Ida", "Joe", "Kim", "Lea", "Mia"]]
    rows = ["file,source,strict,inside,person"]
    for index, (source, person) in enumerate(people):
        picture(tmp_path / f"{index}.png")
        rows.append(f"{index}.png,{source},1,1,{person}")
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    data = Selection(tmp_path, holdout=0.2)
    training, validation = sources.split(sources.read_faces(data), data)
    assert {one.person for one in validation} == {"Ann", "Mia"}
    assert len(validation) == 5 and len(training) == 12
    assert not {one.person for one in training} & {one.person for one in validation}


def test_a_plain_folder_is_a_data_set(tmp_path):
    for name in ("b/1.png", "a/2.jpg", "a/deep/3.PNG", "top.png", "a/notes.txt", "a/.hidden.png"):
        picture(tmp_path / name) if name[-1] != "t" else (tmp_path / name).write_text("x")
    data = Selection(tmp_path, template="gpen", exclude=("b",))
    faces = sources.read_faces(data)
    named = {one.path.relative_to(tmp_path).as_posix(): one.source for one in faces}
    assert named == {"a/2.jpg": "a", "a/deep/3.PNG": "a", "top.png": tmp_path.name}
    assert {(one.template, one.rim, one.inside) for one in faces} == {("gpen", 0.0, 1.0)}


def spots(truth: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Centers of the white spots near the (5, 2) points of a crop (1, 3, S, S)."""
    rows, columns = torch.meshgrid(torch.arange(13.0), torch.arange(13.0), indexing="ij")
    found = []
    for left, top in (wanted.round().int() - 6).tolist():
        spot = truth[0, 0, top : top + 13, left : left + 13]
        found.append(
            [(spot * columns).sum() / spot.sum() + left, (spot * rows).sum() / spot.sum() + top]
        )
    return torch.tensor(found)


def with_spots(path: Path, name: str, core: int, rim: int) -> Path:
    """A black picture with a white spot at every point of a template."""
    canvas = np.zeros((core + 2 * rim, core + 2 * rim, 3), np.uint8)
    reach = core // 256
    for x, y in template(name, core).round().int().tolist():
        canvas[y + rim - reach : y + rim + reach + 1, x + rim - reach : x + rim + reach + 1] = 255
    Image.fromarray(canvas).save(path)
    return path


@pytest.mark.parametrize(("core", "rim"), [(256, 32), (512, 64), (512, 0)])
def test_ffhq_faces_come_into_the_gpen_template(tmp_path, core, rim):
    path = with_spots(tmp_path / "points.png", "ffhq", core, rim)
    about = face(path, rim=rim / (core + 2 * rim))
    truth, _ = dataset.crop(about, 256, Placement())
    wanted = template("gpen", 256).float()
    misfit = spots(truth, wanted) - wanted
    # No similarity maps one template exactly onto the other; the least-squares one has no bias.
    assert misfit.norm(dim=1).max() < 5
    assert misfit.mean(dim=0).abs().max() < 0.5
    assert (misfit * (wanted - wanted.mean(dim=0))).sum() / wanted.var(
        dim=0
    ).sum() == pytest.approx(0, abs=0.05)


def test_gpen_faces_stay_where_they_are(tmp_path):
    path = with_spots(tmp_path / "points.png", "gpen", 512, 0)
    truth, weight = dataset.crop(face(path, template="gpen", rim=0), 256, Placement())
    wanted = template("gpen", 256).float()
    assert (spots(truth, wanted) - wanted).norm(dim=1).max() < 0.75  # spots are on whole pixels
    assert weight.min() == 1


def test_the_made_up_rim_counts_by_inside_and_outside_counts_nothing(tmp_path):
    path = tmp_path / "flat.png"
    Image.fromarray(np.full((320, 320, 3), 90, np.uint8)).save(path)
    _, weight = dataset.crop(face(path, inside=0.6), 256, Placement())
    assert weight[0, 0, 128, 128] == 1
    assert weight[0, 0, 128, 3] == pytest.approx(0.6)
    _, weight = dataset.crop(face(path, inside=0.6), 256, Placement(scale=0.5))
    assert weight[0, 0, 128, 3] == 0


def test_weights_of_sources_are_chances():
    faces = [sources.Face(Path(f"{name}{i}"), name) for name in "ab" for i in range(5)]
    sampler = dataset.PairSampler(faces, plan(batch_size=6, weights={"a": 0.0}))
    drawn = {sampler.faces[draw.face].source for step in range(20) for draw in sampler._draw(step)}
    assert drawn == {"b"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"template": "arcface"}, "no template 'arcface'; choose gpen or ffhq"),
        ({"rim": 0.5}, "rim"),
    ],
)
def test_an_impossible_selection_is_named(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        Selection(tmp_path, **changes)


def torn(path: Path) -> None:
    picture(path.with_suffix(".jpg")).rename(path)
    path.write_bytes(path.read_bytes()[:-200])


REFUSED = {
    "empty": (lambda path: path.write_bytes(b""), "cannot be read"),
    "text": (lambda path: path.write_text("no picture"), "cannot be read"),
    "torn": (torn, "cannot be read"),
    "oblong": (lambda path: picture(path, 80, 70), "must be square, not 80 x 70"),
    "small": (lambda path: picture(path, 40, 40), "has 40 px of face, fewer than 64"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_picture_that_cannot_serve_is_named(tmp_path, name):
    make, message = REFUSED[name]
    make(tmp_path / "bad.png")
    good = [picture(tmp_path / f"{index}.png") for index in range(5)]
    faces = [face(path, rim=0) for path in [*good, tmp_path / "bad.png"]]
    with pytest.raises(InputError, match=rf"bad\.png .*{message}"):
        sources.check_pictures(faces, 64, decode=True)
    sources.check_pictures(faces[:-1], 64, decode=True)


def test_headers_alone_miss_a_torn_file(tmp_path):
    torn(tmp_path / "torn.jpg")
    faces = [face(tmp_path / "torn.jpg", rim=0)]
    sources.check_pictures(faces, 64, decode=False)
    with pytest.raises(InputError, match="cannot be read"):
        sources.check_pictures(faces, 64, decode=True)


@pytest.mark.parametrize(
    ("manifest", "changes", "message"),
    [
        ("file,source\na.jpg,x\n", {}, "lacks the columns strict; strict is only needed"),
        ("source,strict\nx,1\n", {}, "lacks the columns file"),
        ("", {}, "lacks the columns file, source, strict"),
        (COLUMNS + "gone.jpg,x,0,1\n", {}, "leaves no face"),
        (COLUMNS + "gone.jpg,x,1,most\n", {}, "line 2: inside must be a number"),
        (COLUMNS + "gone.jpg,x,1,1\n", {"weights": {"y": 2}}, "source 'y', but no face"),
        (COLUMNS + "gone.jpg,x,1,1\n", {"also": ("z",)}, "source 'z', but no face"),
        (COLUMNS + "gone.jpg,x,1,1\n", {"weights": {"x": 0}}, "weight 0"),
        (None, {}, "has no picture"),
    ],
)
def test_a_wrong_data_set_is_named(tmp_path, manifest, changes, message):
    if manifest is not None:
        (tmp_path / "manifest.csv").write_text(manifest)
    with pytest.raises(InputError, match=message):
        sources.read_faces(Selection(tmp_path, **changes))


def test_a_picture_of_the_manifest_that_is_missing_is_named(tmp_path):
    (tmp_path / "manifest.csv").write_text(COLUMNS + "gone.jpg,x,1,1\n")
    faces = sources.read_faces(Selection(tmp_path))
    with pytest.raises(InputError, match=r"missing: .*gone\.jpg"):
        sources.check_pictures(faces, 64, decode=False)


def test_the_documented_snippet_cuts_faces_that_can_be_trained_on(tmp_path, monkeypatch):
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    snippet = textwrap.dedent(text.split("```python\n", 1)[1].split("```")[0])
    (tmp_path / "photos").mkdir()
    sample = Image.open(ROOT / "docs" / "samples" / "astronaut-damaged.jpg")
    sample.save(tmp_path / "photos" / "large.png")
    sample.resize((200, 200)).save(tmp_path / "photos" / "small.png")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "snippet.py").write_text(snippet.replace("256", "128"))
    runpy.run_path(str(tmp_path / "snippet.py"))
    faces = sources.read_faces(Selection(tmp_path / "faces"))
    assert [one.path.name for one in faces] == ["large-0.png"]
    sources.check_pictures(faces, 128, decode=True)


def test_one_face_is_too_few(tmp_path):
    picture(tmp_path / "only.png")
    data = Selection(tmp_path)
    with pytest.raises(InputError, match="everything fell into the validation set"):
        sources.split(sources.read_faces(data), data)


# --- packs and faces on the device ---------------------------------------------------------------


def test_a_pack_holds_the_faces_of_its_selection(training_faces, tmp_path):
    chosen = Selection(training_faces, also=("street",), holdout=0.2)
    count, size = sources.pack(chosen, tmp_path / "faces.safetensors")
    files = [one.path for one in sources.read_faces(chosen)]
    assert count == len(files) == 10
    assert 0 < size - sum(path.stat().st_size for path in files) < 5000
    packed = replace(chosen, root=tmp_path / "faces.safetensors")
    ours, theirs = sources.read_faces(packed), sources.read_faces(chosen)
    assert [(a.source, a.inside, a.rim) for a in ours] == [
        (b.source, b.inside, b.rim) for b in theirs
    ]
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(dataset.read_pixels(a), dataset.read_pixels(b))
    names = [[one.path.name for one in part] for part in sources.split(ours, packed)]
    assert names == [[one.path.name for one in part] for part in sources.split(theirs, chosen)]
    sources.check_pictures(ours, 64, decode=True)
    strict = replace(packed, also=())
    assert {one.source for one in sources.read_faces(strict)} == {"studio"}


def test_what_is_no_pack_is_named(tmp_path):
    (tmp_path / "faces.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"faces\.safetensors is not a pack"):
        sources.read_faces(Selection(tmp_path / "faces.safetensors"))
    picture(tmp_path / "plain" / "1.png")
    with pytest.raises(InputError, match=r"has no manifest\.csv"):
        sources.pack(Selection(tmp_path / "plain"), tmp_path / "other.safetensors")


def test_resident_faces_are_those_of_files(training_faces):
    """Cut out and damaged in one batch: the same but for the rounding, and JPEG's arithmetic."""
    faces = sources.read_faces(Selection(training_faces))
    recipes = [(1, Degradation()), (1, Degradation(blur=(1, 1), noise=(9, 9), scale=(2, 4)))]
    chosen = plan(recipes=recipes, batch_size=6, damage_size=128, factors={"eyes": 3.0})
    usual = dataset.PairSampler(faces, chosen)
    there = ResidentSampler(faces, chosen, torch.device("cpu"))
    assert there.canvases.dtype == torch.uint8
    for number in (0, 3):
        for ours, theirs in zip(there[number].parts, usual[number].parts, strict=True):
            torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=0)
    jpeg = plan(recipes=[(1, preset("medium"))])
    ours, theirs = (
        kind.batch(1)
        for kind in (
            ResidentSampler(faces, jpeg, torch.device("cpu")),
            dataset.PairSampler(faces, jpeg),
        )
    )
    damage = (theirs.degraded - theirs.truth).abs().mean()
    assert 0 < (ours.degraded - theirs.degraded).abs().mean() < 0.3 * damage


def test_resident_faces_have_one_size(tmp_path):
    faces = [face(picture(tmp_path / f"{side}.png", side, side), rim=0) for side in (80, 90)]
    with pytest.raises(InputError, match=r"90\.png has 90 px, not 80"):
        ResidentSampler(faces, plan(), torch.device("cpu"))
