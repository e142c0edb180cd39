"""A sheet of fifty faces with something in front of them, to be looked at.

    python benchmarks/occlusion_sheet.py CONFIG.yaml sheet.png

Thirty are held-out faces behind drawn things, three of each kind; twenty have something in front
of them in the photograph, from the config's list of such faces. Each is damaged (`medium`, at
256 px) and shown in a column of four: damaged, restored in the ellipse, what was seen in front,
restored without it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from gpen_core.dataset.covered import label
from gpen_core.dataset.degradation import degrade
from gpen_core.dataset.occluders import KINDS, occlude
from gpen_core.dataset.pairs import crop
from gpen_core.dataset.placement import Placement
from gpen_core.dataset.sources import read_faces, split
from gpen_core.faces.aligned import as_faces
from gpen_core.faces.look import looked_at
from gpen_core.faces.mask import crop_masks
from gpen_core.faces.occlusion import load_occlusion
from gpen_core.faces.restore import restore
from gpen_core.faces.templates import template
from gpen_core.images.picture import Picture
from gpen_core.images.write import write_picture
from gpen_core.models.load import load_model
from gpen_core.training.occlusion import names, read_config

EACH, REAL, SIZE, COLUMNS = 3, 20, 256, 10


def main(config_path: str, target: str) -> None:
    config = read_config(config_path)
    selection = config.data.selection()
    faces = read_faces(selection)
    listed = names(config.skip)
    held = [face for face in split(faces, selection)[1] if label(face) not in listed]
    points = template("gpen", SIZE).float()
    kinds = [kind for kind in KINDS if kind != "none" for _ in range(EACH)]
    cases = []
    for number, kind in enumerate(kinds):
        face, other = (
            crop(held[(place + number * 5) % len(held)], SIZE, Placement())[0][0]
            for place in (0, 77)
        )
        cases.append(occlude(face, points, kind, 500 + number, other).picture)
    real = [face for face in faces if label(face) in listed]
    cases += [
        crop(real[number * len(real) // REAL], SIZE, Placement())[0][0] for number in range(REAL)
    ]
    rows = columns(degrade(torch.stack(cases).float(), "medium", 3))
    lines = [torch.cat(list(rows[at : at + COLUMNS]), 2) for at in range(0, len(rows), COLUMNS)]
    write_picture(Path(target), Picture(torch.cat(lines, 1)), overwrite=True)


def columns(damaged: Tensor) -> Tensor:
    """(N, 3, 4 S, S): the four pictures of each face below each other."""
    faces = as_faces(damaged, "gpen")
    faces = restore(faces, load_model())
    looked = looked_at(faces, None, load_occlusion())
    assert faces.restored is not None and looked.covered is not None
    restored = (faces.restored + 1) / 2
    covered = F.interpolate(looked.covered, (SIZE, SIZE), mode="bilinear")
    tint = torch.tensor([1.0, 0.0, 0.8])[:, None, None]
    before, after = (torch.lerp(damaged, restored, crop_masks(one)) for one in (faces, looked))
    return torch.cat([damaged, before, torch.lerp(damaged, tint, 0.7 * covered), after], 2)


if __name__ == "__main__":
    main(*sys.argv[1:])
