"""Pictures lose nothing between file, tensor and file."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from gpen_core.errors import InputError
from gpen_core.images.picture import Picture
from gpen_core.images.read import read_picture
from gpen_core.images.write import write_picture

MODES = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}


def noise(height: int, width: int, channels: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    samples = generator.integers(0, 256, (height, width, channels), dtype=np.uint8)
    return samples[..., 0] if channels == 1 else samples


def samples_of(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("extension", ["png", "tiff"])
def test_every_mode_survives_a_lossless_round_trip(tmp_path, mode, extension):
    source, target = tmp_path / f"in.{extension}", tmp_path / f"out.{extension}"
    expected = noise(13, 17, MODES[mode])
    Image.fromarray(expected).save(source)
    write_picture(target, read_picture(source))
    assert Image.open(target).mode == mode
    assert np.array_equal(samples_of(target), expected)


@pytest.mark.parametrize("extension", ["jpg", "webp", "bmp"])
def test_other_formats_are_read_and_written(tmp_path, extension):
    y, x = np.mgrid[0:40, 0:60]
    smooth = np.stack([x * 4, y * 6, 255 - x * 4], -1).astype(np.uint8)
    source, target = tmp_path / f"in.{extension}", tmp_path / f"out.{extension}"
    Image.fromarray(smooth).save(source, quality=95)
    write_picture(target, read_picture(source))
    difference = samples_of(target).astype(int) - smooth.astype(int)
    assert np.abs(difference).mean() < 3


@pytest.mark.parametrize("extension", ["jpg", "webp"])
def test_lossy_formats_are_written_in_high_quality(tmp_path, extension):
    """As near as Pillow's own quality 95 comes, without subsampled colors."""
    y, x = np.mgrid[0:96, 0:128]
    color = np.stack([x * 2, y * 2, (x // 8 + y // 8) % 2 * 255], -1).astype(np.uint8)
    pixels = torch.from_numpy(color / 255).permute(2, 0, 1)
    write_picture(tmp_path / f"ours.{extension}", Picture(pixels))

    def error(name: str, **options) -> float:
        if options:
            Image.fromarray(color).save(tmp_path / name, **options)
        found = np.asarray(Image.open(tmp_path / name).convert("RGB")).astype(int)
        return float(((found - color.astype(int)) ** 2).mean())

    ours = error(f"ours.{extension}")
    assert ours <= error(f"95.{extension}", quality=95, subsampling=0) * 1.01
    assert ours < 0.9 * error(f"90.{extension}", quality=90, subsampling=0)
    if extension == "jpg":
        layers = Image.open(tmp_path / "ours.jpg").layer
        assert [(across, down) for _, across, down, _ in layers] == [(1, 1)] * 3


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bit_png_keeps_its_depth(tmp_path, channels):
    generator = np.random.default_rng(1)
    shape = (9, 11) if channels == 1 else (9, 11, channels)
    expected = generator.integers(0, 65536, shape, dtype=np.uint16)
    source, target = tmp_path / "in.png", tmp_path / "out.png"
    cv2.imwrite(str(source), expected)
    picture = read_picture(source)
    assert picture.bits == 16
    assert picture.gray == (channels == 1)
    write_picture(target, picture)
    assert np.array_equal(cv2.imread(str(target), cv2.IMREAD_UNCHANGED), expected)


def test_sixteen_bit_tiff_is_read_in_full_depth(tmp_path):
    expected = np.random.default_rng(2).integers(0, 65536, (8, 9, 3), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "in.tiff"), expected)
    pixels = read_picture(tmp_path / "in.tiff").pixels
    read = (pixels.permute(1, 2, 0).numpy() * 65535).round().astype(np.uint16)
    assert np.array_equal(read[..., ::-1], expected)


def test_palette_with_transparency_gets_colors_and_alpha(tmp_path):
    image = Image.fromarray(noise(8, 8, 3)).quantize(16)
    image.save(tmp_path / "in.png", transparency=0)
    picture = read_picture(tmp_path / "in.png")
    expected = np.asarray(Image.open(tmp_path / "in.png").convert("RGBA"))
    assert picture.alpha is not None
    assert np.array_equal((picture.alpha[0] * 255).numpy().astype(np.uint8), expected[..., 3])
    assert torch.equal(
        (picture.pixels * 255).round(), torch.tensor(expected[..., :3]).permute(2, 0, 1)
    )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_and_the_rest_of_exif_survives(tmp_path, orientation):
    upright = noise(6, 9, 3)
    source, target = tmp_path / "in.png", tmp_path / "out.png"
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "A camera"
    Image.fromarray(upright).save(source, exif=exif)
    with Image.open(source) as image:
        from PIL import ImageOps

        expected = np.asarray(ImageOps.exif_transpose(image))
    write_picture(target, read_picture(source))
    assert np.array_equal(samples_of(target), expected)
    written = Image.open(target).getexif()
    assert written[0x010F] == "A camera"
    assert 0x0112 not in written


@pytest.mark.parametrize("name", ["out.png", "out.jpg", "out.webp", "out.tiff"])
def test_the_color_profile_is_kept(tmp_path, name):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(noise(8, 8, 3)).save(tmp_path / "in.png", icc_profile=profile)
    write_picture(tmp_path / name, read_picture(tmp_path / "in.png"))
    assert Image.open(tmp_path / name).info["icc_profile"] == profile


def test_sixteen_bit_png_keeps_profile_and_exif(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010F] = "A camera"
    picture = Picture(torch.rand(3, 5, 5), bits=16, icc=profile, exif=exif.tobytes())
    write_picture(tmp_path / "out.png", picture)
    written = Image.open(tmp_path / "out.png")
    written.load()
    assert written.info["icc_profile"] == profile
    assert written.getexif()[0x010F] == "A camera"


def test_cmyk_becomes_rgb_without_its_profile(tmp_path):
    image = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    image.save(tmp_path / "in.jpg", icc_profile=b"not for RGB" * 20)
    picture = read_picture(tmp_path / "in.jpg")
    assert picture.icc is None
    assert picture.pixels[0].mean() < 0.2
    assert picture.pixels[2].mean() > 0.8


def _png(**options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(noise(64, 64, 3)).save(buffer, "PNG", **options)
    return buffer.getvalue()


BAD_FILES = {
    "empty.png": (b"", "empty"),
    "text.png": (b"hello, world" * 10, "not a picture"),
    "page.jpg": (b"<!DOCTYPE html><html><body>404</body></html>", "not a picture"),
    "cut.png": (_png()[:5000], "damaged or cut off"),
    "header.png": (_png()[:20], "not a picture|damaged"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_are_refused_in_one_sentence(tmp_path, name):
    data, message = BAD_FILES[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        read_picture(tmp_path / name)
    assert name in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_picture(tmp_path / "absent.png")
    with pytest.raises(InputError, match="is a folder"):
        read_picture(tmp_path)


def test_nothing_is_overwritten_unasked(tmp_path):
    target = tmp_path / "out.png"
    target.write_bytes(b"precious")
    with pytest.raises(InputError, match="exists already"):
        write_picture(target, Picture(torch.rand(3, 4, 4)))
    assert target.read_bytes() == b"precious"
    write_picture(target, Picture(torch.rand(3, 4, 4)), overwrite=True)
    assert Image.open(target).size == (4, 4)


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path, monkeypatch):
    target = tmp_path / "out.png"
    target.write_bytes(b"precious")

    def half_of_it(scratch, data):
        with scratch.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half_of_it)
    with pytest.raises(InputError, match="No space left"):
        write_picture(target, Picture(torch.rand(3, 4, 4)), overwrite=True)
    assert target.read_bytes() == b"precious"
    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]


def test_a_folder_in_place_of_the_output_folder_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_picture(tmp_path / "file" / "out.png", Picture(torch.rand(3, 4, 4)))
