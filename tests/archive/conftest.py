"""A folder of small photographs, and an archive of it without Ray."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from gpen_core.archive.job import Archive
from gpen_core.archive.maker import Maker
from gpen_core.archive.plan import Wishes
from gpen_core.archive.recipe import Recipe
from gpen_core.options import Options


@pytest.fixture(autouse=True, scope="session")
def _manifests():
    pytest.importorskip("pyarrow", reason="pyarrow, of the extra gpen[archive], is not installed")


@pytest.fixture
def scans(tmp_path, portrait, no_face) -> Path:
    """Three photographs with a face at two levels, one without, a damaged one, a text."""
    folder = tmp_path / "scans"
    (folder / "1927").mkdir(parents=True)
    face = Image.fromarray(portrait).crop((90, 10, 350, 270)).resize((96, 96))
    face.save(folder / "a.png")
    face.rotate(4).save(folder / "1927" / "b.jpg")
    face.rotate(-4).save(folder / "1927" / "c.png")
    Image.fromarray(no_face).save(folder / "d.png")
    (folder / "torn.png").write_bytes((folder / "a.png").read_bytes()[:300])
    (folder / "notes.txt").write_text("1927")
    return folder


class Inline:
    """Does the work in this process; counts it, and can be told to die.

    Attributes:
        dies_after: pictures, after which nothing is handed over any more; None: never.
        done: keys of every picture that went through the networks.
    """

    def __init__(self, dies_after: int | None = None) -> None:
        self.dies_after, self.done = dies_after, list[str]()

    def __call__(self, tasks, recipe, crew):
        maker = Maker(recipe, f"inline{id(self)}")
        for _, row in maker(tasks):
            self.done.append(row.key)
            if self.dies_after is not None and len(self.done) > self.dies_after:
                raise KeyboardInterrupt
            yield [row]


@pytest.fixture
def archive(scans, tmp_path, small_model_file):
    """Makes an archive of the scans, looked at; `engine` does the work."""

    def make(engine=None, options=None, wishes=None, source=None, target=None, **rest) -> Archive:
        recipe = Recipe.of(
            str(target or tmp_path / "out"),
            Options.of(**(options or {})),
            model=str(small_model_file),
            device="cpu",
            **rest,
        )
        one = Archive(str(source or scans), recipe, Wishes(**(wishes or {})))
        one.engine = engine or Inline()
        one.look()
        return one

    return make
