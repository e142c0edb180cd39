"""Restored faces averaged over time: noise goes, what changed stays."""

from __future__ import annotations

import torch

from gpen_core.faces.aligned import as_faces
from gpen_core.faces.found import Faces
from gpen_core.faces.steady import Moment, steadied, steadied_masks

SIDE = 64


def moment(crop, restored=None, number=0, mask=None):
    face = as_faces((crop[None] + 1) / 2, "gpen")
    restored = crop if restored is None else restored
    face = face.with_(tracks=torch.tensor([number]), restored=restored[None])
    return Moment(face, mask)


def noisy(count, amount=0.1):
    generator = torch.Generator().manual_seed(1)
    still = torch.rand(3, SIDE, SIDE, generator=generator) * 0.5 - 0.25
    return still, [
        still + amount * torch.randn(still.shape, generator=generator) for _ in range(count)
    ]


def test_noise_is_averaged_away():
    still, crops = noisy(5)
    steady = steadied([moment(one) for one in crops], 2).faces.restored[0]
    before, after = ((one - still).std() for one in (crops[2], steady))
    # Weights 1 2 3 2 1: the square root of 19 over 9.
    assert 0.45 < float(after / before) < 0.55


def test_what_changed_is_not_mixed_in():
    _still, crops = noisy(3, 0.02)
    spoken = crops[1].clone()
    spoken[:, 40:56, 20:44] = 0.9
    window = [moment(crops[0]), moment(spoken), moment(crops[2])]
    steady = steadied(window, 1).faces.restored[0]
    assert float((steady - spoken)[:, 44:52, 26:38].abs().max()) < 0.02
    assert not torch.equal(steady[:, :20], spoken[:, :20])


def test_another_face_and_another_light_do_not_count():
    _, crops = noisy(3)
    own = moment(crops[1])
    other = steadied([moment(crops[0], number=1), own, moment(crops[2], number=2)], 1)
    assert torch.allclose(other.faces.restored, own.faces.restored, atol=1e-6)
    flash = moment((crops[0] + 0.7).clamp(-1, 1))
    assert torch.allclose(steadied([flash, own], 1).faces.restored, own.faces.restored, atol=1e-6)


def test_alone_it_stays_itself():
    _, (crop,) = noisy(1)
    assert torch.equal(steadied([moment(crop)], 0).faces.restored[0], crop)


def test_masks_are_averaged_like_the_faces():
    still = torch.zeros(3, SIDE, SIDE)

    def mask_of(first, *rest):
        window = [moment(one, mask=torch.full((1, 1, 32, 32), share)) for one, share in rest]
        return steadied(window, first).masks

    same = [(still, share) for share in (0.0, 0.4, 0.0)]
    assert torch.allclose(mask_of(1, *same), torch.tensor(0.2))
    other = [(still + 0.9, 0.0), (still, 0.4), (still + 0.9, 0.0)]
    assert torch.allclose(mask_of(1, *other), torch.tensor(0.4))


def test_a_mask_that_all_frames_share_stays_itself():
    mask = torch.rand(1, 1, 32, 32)
    window = [moment(one, mask=mask.expand(1, 1, 32, 32)) for one in noisy(3)[1]]
    assert torch.equal(steadied(window, 1).masks, mask)


def test_the_masks_of_a_batch_are_those_of_its_frames():
    """Two faces a frame, given in another order in each; the second one changes its mask."""
    crops = noisy(4, 0.02)[1]
    still, other = crops[0], crops[0] * 0.5 + 0.4
    frames, masks = [], []
    for i, share in enumerate((0.0, 0.4, 0.8)):
        pair = [moment(still, number=0).faces, moment(other, number=1).faces]
        both = [torch.full((1, 1, 32, 32), one) for one in (0.5, share)]
        turn = -1 if i == 1 else 1
        frames.append(Faces.merge(pair[::turn]))
        masks.append(torch.cat(both[::turn]))
    faces = Faces.concat(
        [one.with_(source=one.source * 0, image_sizes=((64, 64),)) for one in frames]
    )
    steady = steadied_masks(faces, torch.cat(masks), 1)
    means = [round(float(one.mean()), 3) for one in steady]
    assert means == [0.5, 0.133, 0.4, 0.5, 0.5, 0.667]
    shared = torch.rand(1, 1, 32, 32).expand(6, 1, 32, 32)
    assert steadied_masks(faces, shared, 1) is shared
