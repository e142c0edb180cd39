"""Quality: it falls with every kind of damage, and says nothing of light, size or side."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from gpen_core.dataset.degradation import Degradation, degrade
from gpen_core.faces.align import align
from gpen_core.faces.detect import detect
from gpen_core.faces.detector import load_detector
from gpen_core.faces.found import Faces
from gpen_core.faces.quality import find_quality, measures, quality_of
from gpen_core.faces.select import sorted_indices
from gpen_core.images.layouts import to_network


@pytest.fixture(scope="module")
def faces(shared) -> torch.Tensor:
    """(6, 3, 256, 256) 0..1: good faces of three sources, as they lie there."""
    files = [
        path
        for source in ("faker", "pif", "congress")
        for path in sorted((shared / "faces" / source).glob("*.jpg"))[:60:40]
    ]
    crops = [np.asarray(Image.open(path).convert("RGB")).copy() for path in files]
    pixels = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 255
    # About the GPEN template: the files are FFHQ's with a rim.
    return torch.nn.functional.interpolate(pixels, (256, 256), mode="bicubic", antialias=True)


def quality(pictures: torch.Tensor) -> torch.Tensor:
    return quality_of(to_network(pictures.clamp(0, 1)))


DAMAGES = {
    "blur": [Degradation(blur=(value, value)) for value in (1, 2, 3)],
    "few pixels": [Degradation(scale=(value, value)) for value in (3, 5, 8)],
    "motion": [Degradation(motion=(value, value)) for value in (9, 17, 25)],
    "presets": ["mild", "medium", "severe"],
}


@pytest.mark.parametrize("damages", DAMAGES.values(), ids=DAMAGES)
def test_every_face_is_the_worse_the_more_it_is_damaged(damages, faces):
    steps = [quality(faces), *(quality(degrade(faces, damage, seed=3)) for damage in damages)]
    for better, worse in itertools.pairwise(steps):
        assert bool((better > worse).all()), steps
    assert float(steps[0].min()) > 0.9
    assert float(steps[-1].max()) < 0.9


def test_levels_of_damage_do_not_overlap(faces):
    good = quality(faces)
    mild, medium, severe = (quality(degrade(faces, name, seed=3)) for name in DAMAGES["presets"])
    assert good.min() > mild.min() > medium.max() > severe.max()


def test_light_and_side_do_not_matter(faces):
    known = quality(faces)
    assert float((quality(faces.flip(-1)) - known).abs().max()) < 0.01
    assert float((quality(0.2 + 0.6 * faces) - known).abs().max()) < 0.03
    assert (
        float((quality(faces.mean(1, keepdim=True).expand(-1, 3, -1, -1)) - known).abs().max())
        < 0.03
    )


def test_a_face_is_as_good_alone_as_among_others_and_at_any_size(faces):
    known = quality(faces)
    assert torch.allclose(known[2:3], quality(faces[2:3]), atol=1e-5)
    larger = torch.nn.functional.interpolate(faces, (512, 512), mode="bicubic")
    assert float((quality(larger) - known).abs().max()) < 0.03
    assert len(quality(faces[:0])) == 0


def test_flat_and_noisy_pictures_have_finite_measures():
    noise = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    for picture in (torch.zeros(1, 3, 256, 256), torch.ones(1, 3, 256, 256), noise):
        assert bool(torch.isfinite(measures(to_network(picture))).all())
        assert 0 <= float(quality(picture)) <= 1


def test_found_faces_are_judged_where_they_are(portrait):
    """The same face large and reduced to a fifth, in one picture."""
    pixels = torch.from_numpy(portrait.copy()).permute(2, 0, 1)[None].float() / 255
    small = torch.nn.functional.interpolate(pixels, (150, 150), mode="area")
    both = torch.zeros(1, 3, 512, 700)
    both[..., :512], both[..., 300:450, 530:680] = pixels, small
    found = detect(both, load_detector())
    found = found.take(sorted_indices(found, "area"))
    assert len(found) == 2
    large, tiny = find_quality(both, found).tolist()
    assert large > tiny + 0.05
    cut = quality_of(align(both, found, 256).crops)
    assert cut.tolist() == pytest.approx([large, tiny], abs=1e-4)
    again = quality_of(align(both, found, 256, "ffhq").crops, "ffhq")
    assert again.tolist() == pytest.approx([large, tiny], abs=0.08)
    assert len(find_quality(both, Faces.empty([(512, 700)]))) == 0
