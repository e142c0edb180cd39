"""A page of all faces found in some pictures, for people to choose on, in one file.

It loads nothing: thumbnails are inside, and a browser is told to fetch nothing else. What is ticked
is saved as a file that `choices` reads.
"""

from __future__ import annotations

import html
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from ..errors import GPENError, InputError
from ..faces.draw import draw_faces
from ..files import replacing, sha256, shown
from ..images.layouts import from_network
from ..images.read import read_picture
from ..images.write import check_place, data_url
from ..report import Face
from ..run import Found, Run
from .choices import KIND, VERSION

_SIDE = 160  # of a face, pixels
_LONG_SIDE = 900  # of a picture with its faces drawn in
_QUALITY = 80


@dataclass(frozen=True)
class Row:
    """One face on the page.

    Attributes:
        face: its line of the report.
        ticked: whether it is chosen at first.
        before: the face as it is, a JPEG.
        after: restored, a JPEG; empty without a model.
    """

    face: Face
    ticked: bool
    before: bytes
    after: bytes = b""


@dataclass(frozen=True)
class Section:
    """One picture on the page.

    Attributes:
        path: the file.
        sha256: of the file.
        drawn: the picture with its faces drawn in, a JPEG; empty where it could not be read.
        rows: its faces.
        error: why it could not be read.

    Example:
        >>> Section(Path("one.jpg"), error="one.jpg is empty (0 bytes).").rows
        []
    """

    path: Path
    sha256: str = ""
    drawn: bytes = b""
    rows: list[Row] = field(default_factory=list)
    error: str | None = None


def section_of(path: Path, run: Run) -> Section:
    """What the page says of a picture.

    Args:
        path: the file.
        run: finds the faces; with a model they are restored too.

    Raises:
        GPENError: it cannot be read.

    Example:
        >>> import tempfile
        >>> from gpen_core.run import Tools
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (64, 48)).save(f"{folder}/nobody.png")
        ...     len(section_of(Path(folder, "nobody.png"), Run(Tools())).rows)
        0
    """
    digest = sha256(path) if path.is_file() else ""
    images = read_picture(path).pixels[None]
    found = run.find(images)
    drawn = _jpeg(draw_faces(images[0], found.everyone), _LONG_SIDE)
    return Section(path, digest, drawn, _rows(images, found, run))


def _rows(images: Tensor, found: Found, run: Run) -> list[Row]:
    """All faces that count, in the order of their numbers."""
    chosen, rows = set(found.chosen), []
    for place, line in enumerate(found.lines()[: len(found.everyone)]):
        face = found.everyone.take([place])
        before = run.align(images, face, _SIDE).crops
        assert before is not None
        after = b""
        if run.tools.model is not None:
            restored = run.restore(run.align(images, face)).restored
            assert restored is not None
            after = _jpeg(from_network(restored[0]), _SIDE)
        rows.append(Row(line, place in chosen, _jpeg(from_network(before[0]), _SIDE), after))
    return rows


def _jpeg(pixels: Tensor, side: int) -> bytes:
    """(3, H, W) 0..1, its longer side reduced to `side`."""
    values = (pixels.detach().float().cpu().clamp(0, 1) * 255).round().byte()
    picture = Image.fromarray(np.ascontiguousarray(values.permute(1, 2, 0).numpy()))
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def write_page(
    path: Path, sections: Iterable[Section], *, hint: str = "", overwrite: bool = False
) -> None:
    """The page, as one file.

    Args:
        path: a .html file.
        sections: the pictures.
        hint: what to do with the choices; a line of text.
        overwrite: replace the file if it exists.

    Raises:
        InputError: the file exists (without `overwrite`) or cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_page(Path(folder, "page.html"), [Section(Path("<b>.jpg"), error="Empty.")])
        ...     text = Path(folder, "page.html").read_text(encoding="utf-8")
        >>> "&lt;b&gt;.jpg" in text, "<b>" in text
        (True, False)
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{shown(path)}: the page is a .html file.", option="output")
    check_place(path, overwrite)
    listed = list(sections)
    known = [
        {"name": one.path.name, "sha256": one.sha256, "faces": [row.face.box for row in one.rows]}
        for one in listed
    ]
    content = {"kind": KIND, "version": VERSION, "pictures": known}
    text = _PAGE.substitute(
        sections="\n".join(map(_section, range(len(listed)), listed)),
        content=_script(content),
        hint=f"<p>{html.escape(hint)}</p>" if hint else "",
    )
    with replacing(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def _script(content: Any) -> str:
    """JSON that ends no script, whatever the names hold."""
    text = json.dumps(content)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _section(number: int, section: Section) -> str:
    name = html.escape(shown(section.path.name))
    if section.error is not None:
        return f"<section><h2>{name}</h2><p class=error>{html.escape(section.error)}</p></section>"
    cells = "".join(_cell(number, place, row) for place, row in enumerate(section.rows))
    nobody = "" if section.rows else "<p>No face was found.</p>"
    drawn = _picture(section.drawn, f"{name} with its faces numbered")
    overview = f"<details><summary>whole picture</summary>{drawn}</details>"
    return f"<section><h2>{name}</h2>{overview}{nobody}<div class=faces>{cells}</div></section>"


def _cell(number: int, place: int, row: Row) -> str:
    face = row.face
    after = _picture(row.after, "restored") if row.after else ""
    ticked = " checked" if row.ticked else ""
    figures = [f"score {face.score:.2f}"]
    if face.quality is not None:
        figures.append(f"quality {face.quality:.2f}")
    if face.person is not None:
        figures.append(f"similarity {face.person:.2f}")
    box = ", ".join(f"{value:.0f}" for value in face.box)
    reason = f"<em>{html.escape(face.reason)}</em>" if face.reason and not row.ticked else ""
    return (
        f"<label><span><input type=checkbox data-at='{number},{place}'{ticked}> "
        f"<b>{face.index}</b></span>{_picture(row.before, f'face {face.index}')}{after}"
        f"<span>{'<br>'.join(figures)}</span><small>{box}</small>{reason}</label>"
    )


def _picture(data: bytes, alt: str) -> str:
    return f'<img src="{data_url(data)}" alt="{alt}">'


_PAGE = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:;
 style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>Faces</title>
<style>
body { font: 15px/1.4 system-ui, sans-serif; margin: 0 1rem 4rem; background: #fafafa; color: #222 }
header { position: sticky; top: 0; background: #fafafa; padding: .7rem 0;
 border-bottom: 1px solid #ccc }
h2 { font-size: 1rem; margin: 1.2rem 0 .3rem; overflow-wrap: anywhere }
.faces { display: flex; flex-wrap: wrap; gap: .6rem; margin-top: .5rem }
label { display: flex; flex-direction: column; gap: .2rem; padding: .4rem; background: #fff;
 border: 2px solid #ccc; border-radius: 6px; width: 164px; cursor: pointer }
label:has(:checked) { border-color: #2a7d46 }
label:not(:has(:checked)) img { opacity: .55 }
em, small { color: #666 }
.error { color: #a00 }
details img { max-width: 100% }
textarea { width: 100%; height: 5rem; box-sizing: border-box }
</style>
<header>
<button id="save">Save choices.json</button> <button id="copy">Copy</button>
<button id="all">All</button> <button id="none">None</button>
<span id="count"></span>
$hint
</header>
$sections
<details><summary>as text</summary><textarea id="text" readonly></textarea></details>
<script>
const content = $content
const boxes = [...document.querySelectorAll('input[type=checkbox]')]
const byId = id => document.getElementById(id)
function chosen() {
  const taken = content.pictures.map(picture => ({ ...picture, faces: [] }))
  for (const box of boxes) {
    const [picture, face] = box.dataset.at.split(',').map(Number)
    if (box.checked) taken[picture].faces.push(content.pictures[picture].faces[face])
  }
  const known = taken.filter(picture => picture.sha256)
  return JSON.stringify({ ...content, pictures: known }, null, 1) + '\\n'
}
function show() {
  byId('text').value = chosen()
  const ticked = boxes.filter(box => box.checked).length
  byId('count').textContent = ticked + ' of ' + boxes.length + ' faces'
}
function tick(value) { for (const box of boxes) box.checked = value; show() }
for (const box of boxes) box.addEventListener('change', show)
byId('all').onclick = () => tick(true)
byId('none').onclick = () => tick(false)
byId('save').onclick = () => {
  const link = document.createElement('a')
  link.href = URL.createObjectURL(new Blob([chosen()], { type: 'application/json' }))
  link.download = 'choices.json'
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 1000)
}
byId('copy').onclick = () => {
  byId('text').closest('details').open = true
  byId('text').select()
  document.execCommand('copy')
}
show()
</script>
</html>
""")


def sections_of(paths: Sequence[Path], run: Run) -> Iterable[Section]:
    """Each picture's section; one that cannot be read says why, and the others go on.

    Example:
        >>> from gpen_core.run import Tools
        >>> [one.error for one in sections_of([Path("absent.jpg")], Run(Tools()))]
        ['absent.jpg: no such file; check the path.']
    """
    for path in paths:
        try:
            yield section_of(path, run)
        except GPENError as error:
            yield Section(path, error=str(error))
