"""Pictures side by side under their titles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from gpen_core.errors import InputError
from gpen_core.images.grid import HEAD, grid


def test_every_picture_lies_in_its_row_and_column() -> None:
    rows = [[torch.rand(3, 10, 40) * 1.4 - 0.2 for _ in range(3)] for _ in range(2)]
    sheet = grid(rows, ["one", "two", "three"])
    assert sheet.shape == (3, HEAD + 20, 120)
    for down, row in enumerate(rows):
        for across, picture in enumerate(row):
            top = HEAD + 10 * down
            found = sheet[:, top : top + 10, 40 * across : 40 * across + 40]
            assert torch.equal(found, picture.clamp(0, 1))


def test_titles_stand_black_on_white_over_their_columns() -> None:
    sheet = grid([[torch.zeros(3, 4, 60)] * 2], ["", "before"])
    head = sheet[:, :HEAD]
    assert torch.equal(head[:, :, :60], torch.ones(3, HEAD, 60)), "an empty title"
    expected = Image.new("RGB", (60, HEAD), "white")
    font = ImageFont.load_default()
    ImageDraw.Draw(expected).text((4, 6), "before", fill="black", font=font)
    pixels = torch.from_numpy(np.asarray(expected).copy()).permute(2, 0, 1) / 255
    assert torch.equal(head[:, :, 60:], pixels)
    assert float(pixels.min()) < 0.1
    # A title longer than its picture ends with it.
    assert grid([[torch.zeros(3, 4, 20)]], ["a very long title"]).shape == (3, HEAD + 4, 20)


def test_a_sheet_of_nothing_and_a_row_of_another_length() -> None:
    picture = torch.zeros(3, 4, 4)
    with pytest.raises(InputError, match=r"^A sheet needs at least one row of pictures\.$"):
        grid([], ["a"])
    for row in ([picture], [picture] * 3):
        with pytest.raises(InputError, match="needs 2 pictures, one for each title"):
            grid([[picture] * 2, row], ["a", "b"])
