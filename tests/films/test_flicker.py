"""A restored face holds still: on a film of a moved photograph with noise, whose truth is known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from gpen_core.models.load import load_model
from gpen_core.options import Options
from gpen_core.run import Run, Tools

av = pytest.importorskip("av", reason="films need PyAV", exc_type=ImportError)

from gpen_core.films.restore import restore_film  # noqa: E402

SIZE = (200, 160)  # width, height
# Side in the photograph's pixels of the square that is compared, and its middle: the face.
SQUARE, MIDDLE = 130, (222.0, 118.0)


def place(frame):
    """Of a frame in the photograph: pixels of it a pixel, turn, middle. A pan, a zoom, a turn."""
    t = frame / 25
    return (
        1.3 / (1 + 0.12 * math.sin(2.7 * t)),
        math.radians(5 * math.sin(3.7 * t)),
        (MIDDLE[0] + 20 * math.sin(3.3 * t), MIDDLE[1] + 10 * math.cos(3 * t)),
    )


def sampled(picture, x, y):
    """A (3, H, W) picture at some pixels."""
    height, width = picture.shape[1:]
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], -1)
    return F.grid_sample(
        picture[None], grid[None].float(), "bicubic", "reflection", align_corners=False
    )[0]


def shown(photo, frame):
    scale, turn, middle = place(frame)
    y, x = torch.meshgrid(
        torch.arange(SIZE[1]) - (SIZE[1] - 1) / 2,
        torch.arange(SIZE[0]) - (SIZE[0] - 1) / 2,
        indexing="ij",
    )
    cos, sin = math.cos(turn) * scale, math.sin(turn) * scale
    return sampled(photo, cos * x - sin * y + middle[0], sin * x + cos * y + middle[1]).clamp(0, 1)


def registered(picture, frame):
    """The face of a frame where it is in the photograph."""
    scale, turn, middle = place(frame)
    at = torch.arange(SQUARE) - (SQUARE - 1) / 2
    y, x = torch.meshgrid(at + MIDDLE[1] - middle[1], at + MIDDLE[0] - middle[0], indexing="ij")
    cos, sin = math.cos(turn) / scale, math.sin(turn) / scale
    return sampled(
        picture,
        cos * x + sin * y + (SIZE[0] - 1) / 2,
        cos * y - sin * x + (SIZE[1] - 1) / 2,
    )


def figures(pictures, truth):
    """Change from frame to frame beyond the truth's, and PSNR, of the registered faces."""
    faces = [registered(one, i) for i, one in enumerate(pictures)]
    meant = [registered(one, i) for i, one in enumerate(truth)]

    def change(row):
        return float(torch.stack([(a - b).abs().mean() for a, b in itertools.pairwise(row)]).mean())

    mse = float(
        torch.stack([(a - b).square().mean() for a, b in zip(faces, meant, strict=True)]).mean()
    )
    return change(faces) - change(meant), -10 * math.log10(mse)


def read(path):
    with av.open(str(path)) as container:
        return [
            torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1) / 255
            for frame in container.decode(video=0)
        ]


@pytest.mark.full
def test_a_third_of_the_flicker_and_no_less_like_the_truth(make_film, tmp_path, shared):
    photo = Image.open(shared / "photos" / "astronaut_skimage.png").convert("RGB")
    photo = torch.from_numpy(np.array(photo)).permute(2, 0, 1) / 255
    truth = [shown(photo, i) for i in range(30)]
    generator = torch.Generator().manual_seed(0)
    frames = [
        (one + 0.08 * torch.randn(one.shape, generator=generator)).clamp(0, 1) for one in truth
    ]
    arrays = [(one.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8) for one in frames]
    source = make_film("film.mkv", frames=arrays, codec="ffv1", pixel_format="yuv444p", sound=0)
    tools, found = Tools(load_model()), {}
    alone = {"detect_every": 1, "shortest": 1, "smoothing": 0.0, "steadiness": 0}
    for name, options in (("alone", alone), ("followed", {})):
        # The whole crop, so that no noise of the film is left in what is compared.
        run = Run(tools, Options.of(mask="rectangle", **options))
        report = restore_film(source, tmp_path / f"{name}.mkv", run)
        assert report.touched == 30
        found[name] = figures(read(tmp_path / f"{name}.mkv"), truth)
    assert found["followed"][0] < found["alone"][0] / 3
    assert found["followed"][1] > found["alone"][1]
