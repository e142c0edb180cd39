"""The dataclass that the five steps hand on."""

from __future__ import annotations

import torch

from gpen_core.faces.found import Faces


def faces(count: int, images: int = 1, crops: bool = False) -> Faces:
    return Faces(
        boxes=torch.arange(4.0 * count).reshape(count, 4),
        scores=torch.rand(count),
        landmarks=torch.rand(count, 5, 2),
        source=torch.arange(count) % images,
        image_sizes=((10, 20),) * images,
        crops=torch.rand(count, 3, 8, 8) if crops else None,
    )


def test_take_keeps_order_and_every_field():
    some = faces(4, crops=True).take([2, 0])
    assert some.boxes[:, 0].tolist() == [8.0, 0.0]
    assert some.crops.shape == (2, 3, 8, 8)
    assert len(faces(3).take([])) == 0


def test_of_image():
    assert faces(5, images=2).of_image(1).boxes[:, 0].tolist() == [4.0, 12.0]


def test_concat_counts_images_on():
    joined = Faces.concat([faces(2, crops=True), Faces.empty([(10, 20)] * 3), faces(1, crops=True)])
    assert joined.source.tolist() == [0, 0, 4]
    assert len(joined.image_sizes) == 5
    assert joined.crops.shape == (3, 3, 8, 8)


def test_concat_drops_what_not_all_have():
    assert Faces.concat([faces(1, crops=True), faces(1)]).crops is None


def test_concat_of_nothing():
    assert len(Faces.concat([Faces.empty([(1, 1)]), Faces.empty([(1, 1)])]).image_sizes) == 2
