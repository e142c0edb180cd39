"""What a node shows of its faces: a small picture with numbers, as the host's pages expect it."""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import folder_paths
import torch
from comfy_api.latest import io, ui
from PIL import Image, ImageEnhance
from torch import Tensor

from ..gpen_core.faces.draw import Mark, color_of, draw_marks, marks_of, tint_covered
from ..gpen_core.faces.found import Faces
from ..gpen_core.images.layouts import from_network
from ..gpen_core.report import Face
from ..gpen_core.run import Found

FRAMES = 4
"""Pictures of a batch that are shown."""

_LONG_SIDE = 1024
_QUALITY = 80
_CELL = 256  # a face on a sheet, at most


def of_found(image: Tensor, found: Found) -> list[Image.Image]:
    """Pictures of an IMAGE with the faces of `found`.

    Those passed on have the number that the next node knows them by; the others are gray, with the
    number that `keep` knows them by in parentheses.
    """
    kept = found.faces
    everyone = found.everyone
    left_out = [face for face in range(len(everyone)) if face not in set(found.chosen)]

    def marks(frame: int) -> list[Mark]:
        places = torch.nonzero(everyone.source.cpu() == frame).flatten().tolist()
        all_marks = dict(zip(places, marks_of(everyone, frame), strict=True))
        gray = [_left_out(all_marks[face]) for face in places if face in left_out]
        return gray + marks_of(kept, frame)

    return _drawn(image, marks)


def of_report(
    image: Tensor, faces: Sequence[Face], restored: Faces | None = None
) -> list[Image.Image]:
    """Pictures of an IMAGE with the faces of a report, numbered as `keep` counts them.

    Where something is in front of the `restored` ones, it is tinted.
    """

    def marks(frame: int) -> list[Mark]:
        return [_mark(face) for face in faces if face.image == frame and face.index is not None]

    return _drawn(image, marks, restored)


def _mark(face: Face) -> Mark:
    assert face.index is not None
    x0, y0, x1, y1 = face.box
    label, more = str(face.index), f"  {face.score:.2f}"
    mark = Mark((x0, y0, x1, y1), face.landmarks, label, more, color_of(face.index))
    return mark if face.restored else _left_out(mark)


def _left_out(mark: Mark) -> Mark:
    return replace(mark, label=f"({mark.label})", more="", color=None)


def _drawn(
    image: Tensor, marks: Callable[[int], list[Mark]], restored: Faces | None = None
) -> list[Image.Image]:
    pictures = []
    for frame in range(min(len(image), FRAMES)):
        picture = _reduced(image[frame])
        factor = picture.width / image.shape[2]
        if restored is not None:
            tint_covered(picture, restored, frame)
        draw_marks(picture, [mark.scaled(factor) for mark in marks(frame)])
        pictures.append(picture)
    return pictures


def _reduced(frame: Tensor) -> Image.Image:
    """(H, W, C) 0..1 as a picture of at most 1024 px; large ones are thinned out first."""
    step = max(1, max(frame.shape[:2]) // (2 * _LONG_SIDE))
    thin = frame[::step, ::step, :3].detach().cpu().float()
    pixels = (thin.clamp(0, 1) * 255).round().to(torch.uint8)
    pixels = pixels.expand(-1, -1, 3).contiguous()
    picture = Image.fromarray(pixels.numpy())
    picture.thumbnail((_LONG_SIDE, _LONG_SIDE), Image.Resampling.BILINEAR)
    return picture


def sheets(faces: Faces, chosen: Sequence[int], figures: Sequence[str] = ()) -> list[Image.Image]:
    """A sheet of the crops of each of the first pictures that have faces.

    Numbers are the faces' places in `faces`, as its node marked them; those not `chosen` are dim,
    in parentheses. `figures` are shown beside the numbers, where there are any.
    """
    if faces.crops is None:
        return []
    frames = list(dict.fromkeys(faces.source.tolist()))[:FRAMES]
    return [_sheet(faces, frame, set(chosen), figures) for frame in frames]


def _sheet(faces: Faces, frame: int, chosen: set[int], figures: Sequence[str]) -> Image.Image:
    places = torch.nonzero(faces.source.cpu() == frame).flatten().tolist()
    columns = max(1, round(len(places) ** 0.5 + 0.499))
    cell = min(_CELL, _LONG_SIDE // columns)
    sheet = Image.new("RGB", (columns * cell, -(-len(places) // columns) * cell))
    assert faces.crops is not None
    for number, place in enumerate(places):
        crop = from_network(faces.crops[place].detach().float().cpu())
        face = Image.fromarray((crop * 255).round().to(torch.uint8).permute(1, 2, 0).numpy())
        face = face.resize((cell, cell))
        edge = (0.0, 0.0, cell - 1.0, cell - 1.0)
        more = f"  {figures[place]}" if figures else ""
        mark = Mark(edge, label=str(number), more=more, color=color_of(number))
        if place not in chosen:
            face = ImageEnhance.Brightness(ImageEnhance.Color(face).enhance(0)).enhance(0.35)
            mark = replace(_left_out(mark), more=more)
        draw_marks(face, [mark])
        sheet.paste(face, (number % columns * cell, number // columns * cell))
    return sheet


# --- what the host is given ----------------------------------------------------------------------


def shown(text: str, pictures: Sequence[Image.Image] | None = None) -> dict[str, Any]:
    """A node's `ui` output: pictures as files of the host's temporary folder, and a sentence.

    The host keeps it with the prompt's history, and sends it again for a node that it need not run.
    A node that shows pictures gives a list even where it has none: the host joins the outputs of a
    node that runs over a list, and expects the same keys in each.
    """
    output: dict[str, Any] = {"text": [text]}
    if pictures is not None:
        output |= {"images": [_saved(picture) for picture in pictures], "animated": (False,)}
    return output


def _saved(picture: Image.Image) -> ui.SavedResult:
    # JPEG, where the host's own previews are PNG: a fifth of the bytes and of the time.
    prefix = "gpen_" + "".join(random.choices(string.ascii_lowercase, k=8))
    folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
        prefix, folder_paths.get_temp_directory()
    )
    file = f"{name}_{counter:05}_.jpg"
    picture.save(Path(folder) / file, quality=_QUALITY)
    return ui.SavedResult(file, subfolder, io.FolderType.temp)
