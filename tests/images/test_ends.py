"""Files that lack only their end are read with a warning, those that lack more are refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from gpen_core.errors import InputError
from gpen_core.images.read import read_picture

SIZE = (160, 200)


@pytest.fixture(scope="module")
def photograph(portrait) -> Image.Image:
    return Image.fromarray(portrait).resize(SIZE[::-1])


def encoded(image: Image.Image, file_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


KINDS = {
    "baseline": ("JPEG", "RGB", {}),
    "progressive": ("JPEG", "RGB", {"progressive": True}),
    "full chroma": ("JPEG", "RGB", {"quality": 95, "subsampling": 0}),
    "gray": ("JPEG", "L", {}),
    "inks": ("JPEG", "CMYK", {}),
    "restarts": ("JPEG", "RGB", {"restart_marker_rows": 1}),
    "png": ("PNG", "RGB", {}),
    "png palette": ("PNG", "P", {}),
    "png alpha": ("PNG", "RGBA", {}),
    "png bits": ("PNG", "1", {}),
}


@pytest.mark.parametrize("lost", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_end_mark_costs_nothing_but_a_warning(tmp_path, photograph, kind, lost, caplog):
    file_format, mode, options = KINDS[kind]
    data = encoded(photograph.convert(mode), file_format, **options)
    whole, cut = (tmp_path / f"{name}.{file_format.lower()}" for name in ("whole", "cut"))
    whole.write_bytes(data)
    cut.write_bytes(data[:-lost])
    expected, read = read_picture(whole), read_picture(cut)
    assert caplog.text.count("lacks its end; its pixels are all there") == 1
    assert np.array_equal(read.pixels.numpy(), expected.pixels.numpy())
    assert (read.alpha is None) == (expected.alpha is None)


@pytest.mark.parametrize("lost", [5, 30])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "png bits"])
def test_a_few_bytes_cost_a_few_rows_at_most(tmp_path, photograph, kind, lost, caplog):
    file_format, mode, options = KINDS[kind]
    data = encoded(photograph.convert(mode), file_format, **options)
    whole, cut = (tmp_path / f"{name}.{file_format.lower()}" for name in ("whole", "cut"))
    whole.write_bytes(data)
    cut.write_bytes(data[:-lost])
    expected, read = read_picture(whole), read_picture(cut)
    assert "lacks its end" in caplog.text
    assert read.size == expected.size
    assert np.array_equal(read.pixels[:, :-18].numpy(), expected.pixels[:, :-18].numpy())


@pytest.mark.parametrize("kept", [0.5, 0.75, 0.2])
@pytest.mark.parametrize("kind", KINDS)
def test_more_than_an_end_is_refused(tmp_path, photograph, kind, kept):
    file_format, mode, options = KINDS[kind]
    data = encoded(photograph.convert(mode), file_format, **options)
    path = tmp_path / f"cut.{file_format.lower()}"
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(InputError, match=r"cut\.\w+ is damaged or cut off"):
        read_picture(path)


def test_sixteen_bits_without_an_end(tmp_path, make_samples, caplog):
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    samples = make_samples((*SIZE, 3), "u2")
    data = cv2.imencode(".png", samples)[1].tobytes()
    (tmp_path / "cut.png").write_bytes(data[:-14])
    picture = read_picture(tmp_path / "cut.png")
    assert picture.bits == 16
    assert "its pixels are all there" in caplog.text
    read = (picture.pixels.double() * 65535).round().permute(1, 2, 0).numpy()
    assert np.array_equal(read[..., ::-1], samples)


def test_missing_rows_repeat_the_last_one(tmp_path, make_samples, caplog):
    data = encoded(Image.fromarray(make_samples((60, 40, 3))), "PNG", compress_level=0)
    (tmp_path / "cut.png").write_bytes(data[: -12 - 8 - 5 * 121])
    (tmp_path / "whole.png").write_bytes(data)
    whole = read_picture(tmp_path / "whole.png").pixels
    read = read_picture(tmp_path / "cut.png").pixels
    [made_up] = [int(word) for word in caplog.text.split() if word.isdigit()]
    assert "at the bottom repeat the last" in caplog.text
    assert 1 <= made_up <= 6
    assert (read[:, :-made_up] == whole[:, :-made_up]).all()
    assert (read[:, -made_up:] == whole[:, -made_up - 1 : -made_up]).all()


def test_damage_in_the_middle_is_no_missing_end(tmp_path, photograph):
    data = bytearray(encoded(photograph, "PNG"))
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "bad.png").write_bytes(data)
    with pytest.raises(InputError, match="checksum"):
        read_picture(tmp_path / "bad.png")
