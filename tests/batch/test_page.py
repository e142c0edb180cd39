"""The page of faces: whole, closed to the outside, and safe whatever files are called."""

from __future__ import annotations

import html.parser
import json
import re

import pytest
from PIL import Image

from gpen_core.batch.choices import Choices
from gpen_core.batch.page import Row, Section, section_of, sections_of, write_page
from gpen_core.errors import InputError
from gpen_core.options import Options
from gpen_core.report import Face
from gpen_core.run import Run, Tools

BAD_NAME = "</script><img src=x onerror=alert(1)>\"'&.jpg"


class Read(html.parser.HTMLParser):
    """Tags with their attributes, and texts by tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def named(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


def row(ticked: bool, reason: str | None = None, after: bytes = b"") -> Row:
    face = Face(
        0,
        3,
        [8.0, 9.0, 40.0, 48.0],
        0.97,
        [[16.0, 20.0]] * 5,
        False,
        reason,
        person=0.41,
        quality=0.83,
    )
    return Row(face, ticked, b"before", after)


def content_of(text: str) -> dict:
    return json.loads(re.search(r"const content = (.*)", text)[1])


def test_every_face_has_its_figures_and_a_box_to_tick(tmp_path):
    rows = [row(True), row(False, "not <this> person", b"after")]
    sections = [Section(tmp_path / "one.jpg", "abc", b"drawn", rows)]
    write_page(tmp_path / "page.html", sections)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    page = Read(text)
    boxes = page.named("input")
    assert ["checked" in box for box in boxes] == [True, False]
    assert [box["data-at"] for box in boxes] == ["0,0", "0,1"]
    assert len(page.named("img")) == 1 + 1 + 2, "drawn, before, before and after"
    for said in ("<b>3</b>", "score 0.97", "quality 0.83", "similarity 0.41", "8, 9, 40, 48"):
        assert text.count(said) == 2, said
    assert "not &lt;this&gt; person" in text
    (picture,) = content_of(text)["pictures"]
    assert picture == {"name": "one.jpg", "sha256": "abc", "faces": [[8.0, 9.0, 40.0, 48.0]] * 2}


def test_nothing_is_fetched(tmp_path):
    write_page(
        tmp_path / "page.html", [Section(tmp_path / "one.jpg", "abc", b"drawn", [row(True)])]
    )
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    page = Read(text)
    (policy,) = [one for one in page.named("meta") if "http-equiv" in one]
    assert "default-src 'none'" in policy["content"]
    assert all(one["src"].startswith("data:image/jpeg;base64,") for one in page.named("img"))
    assert not page.named("link") and all(not one for one in page.named("script"))
    assert "http:" not in text and "https:" not in text


def test_names_and_sentences_are_only_text(tmp_path):
    sections = [
        Section(tmp_path / BAD_NAME.replace("/", "\u2215"), "abc", b"drawn", [row(True)]),
        Section(tmp_path / "torn.jpg", error=BAD_NAME),
    ]
    write_page(tmp_path / "page.html", sections)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    page = Read(text)
    assert len(page.named("script")) == 1 and text.count("</script>") == 1
    assert all("onerror" not in one for one in page.named("img"))
    assert not set("<>&") & set(re.search(r"const content = (.*)", text)[1])
    assert content_of(text)["pictures"][0]["name"] == BAD_NAME.replace("/", "\u2215")


def test_what_is_not_overwritten_and_what_is_no_page(tmp_path):
    (tmp_path / "page.html").write_text("mine")
    with pytest.raises(InputError, match="exists"):
        write_page(tmp_path / "page.html", [])
    assert (tmp_path / "page.html").read_text() == "mine"
    write_page(tmp_path / "page.html", [], overwrite=True)
    assert "0" not in Read((tmp_path / "page.html").read_text(encoding="utf-8")).named("input")
    with pytest.raises(InputError, match=r"the page is a .html file"):
        write_page(tmp_path / "page.txt", [])


def test_sections_of_pictures(tmp_path, portrait, no_face, small_model):
    Image.fromarray(portrait).save(tmp_path / "one.png")
    Image.fromarray(no_face).save(tmp_path / "nobody.png")
    (tmp_path / "torn.png").write_bytes(b"\x89PNG")
    run = Run(Tools(small_model), Options.of(only_below=0.1))
    paths = [tmp_path / name for name in ("one.png", "torn.png", "nobody.png")]
    one, torn, nobody = sections_of(paths, run)
    (face,) = one.rows
    assert not face.ticked and face.face.reason.startswith("already good")
    assert face.before.startswith(b"\xff\xd8") and face.after.startswith(b"\xff\xd8")
    assert face.before != face.after
    assert torn.error and not torn.rows and nobody.rows == [] and nobody.error is None
    plain = section_of(tmp_path / "one.png", Run(Tools()))
    assert plain.rows[0].ticked and plain.rows[0].after == b""
    write_page(tmp_path / "page.html", [one, torn, nobody])
    saved = content_of((tmp_path / "page.html").read_text(encoding="utf-8"))
    (tmp_path / "choices.json").write_text(json.dumps(saved))
    choices = Choices.read(tmp_path / "choices.json")
    assert choices.of(tmp_path / "one.png").boxes == (tuple(face.face.box),)
