"""From a picture to a file: what is refused, what is dropped and said, what is compared."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, features

from gpen_core.errors import InputError
from gpen_core.images import ifd, write
from gpen_core.images import metadata as meta
from gpen_core.images.formats import WRITABLE, by_name
from gpen_core.images.picture import Picture
from gpen_core.images.write import (
    check_size,
    check_writable,
    encode,
    samples_to_write,
    write_atomically,
    write_picture,
)


def said(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


# --- before the work -----------------------------------------------------------------------------


def test_where_nothing_can_be_written_is_one_sentence(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder.png").mkdir()
    Path("there.png").touch()
    Path("loop.png").symlink_to("loop.png")
    os.mkfifo("pipe.png")
    known = ", ".join(WRITABLE)
    messages = {
        "a.gif": f"a.gif: unknown picture format '.gif' for writing; use one of {known}.",
        "a": f"a: unknown picture format '' for writing; use one of {known}.",
        "folder.png": "folder.png is a folder; give a file name.",
        "pipe.png": "pipe.png is a pipe or a device; give a file name.",
        "there.png": "there.png exists already; give another name.",
        "loop.png": "loop.png: cannot be written (Too many levels of symbolic links).",
        "a\0.png": "a\\x00.png: no file can have this name (it holds a NUL or cannot be encoded).",
        "there.png/a.png": "there.png/a.png: cannot be written, there.png is not a folder.",
        "there.png/new/a.png": "there.png/new/a.png: cannot be written, there.png is not a folder.",
    }
    for name, message in messages.items():
        with pytest.raises(InputError) as caught:
            check_writable(name, overwrite=False)
        assert str(caught.value) == message
        assert caught.value.remedy == ("overwrite" if name == "there.png" else None)
    assert check_writable("there.png", overwrite=True) == Path("there.png")
    assert check_writable("new/newer/a.png", overwrite=False) == Path("new/newer/a.png")
    assert not Path("new").exists()


@pytest.mark.parametrize("missing", [os.W_OK, os.X_OK])
def test_a_folder_without_rights_is_named(tmp_path, monkeypatch, missing) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & missing)
    with pytest.raises(InputError) as caught:
        check_writable(tmp_path / "new" / "a.png", overwrite=False)
    assert str(caught.value) == (
        f"{tmp_path / 'new' / 'a.png'}: the folder {tmp_path} cannot be written."
    )


def test_sizes_that_no_format_holds() -> None:
    titles = {".jpg": "JPEG", ".webp": "WebP", ".bmp": "BMP", ".tga": "TGA"}
    for path, size in (("a.jpg", 65500), ("a.webp", 16383), ("a.bmp", 32767), ("a.tga", 65535)):
        check_size(path, size, 1)
        for height, width in ((size + 1, 7), (7, size + 1)):
            with pytest.raises(InputError) as caught:
                check_size(path, height, width)
            assert str(caught.value) == (
                f"{path}: {titles[path[1:]]} holds at most {size} px a side, not {width}x{height}; "
                "write a PNG or a smaller picture."
            )
    for path in ("a.tif", "a.bmp"):
        check_size(path, 32767, 32767)
    check_size("a.tif", 32768, 32767)
    with pytest.raises(InputError) as caught:
        check_size("a.tif", 32768, 32768)
    message = "a.tif: TIFF holds at most 4 GiB; write a PNG or a smaller picture."
    assert str(caught.value) == message
    for path in ("a.png", "a.ppm", "a.xyz", "a.gif"):
        check_size(path, 70000, 70000)


# --- samples -------------------------------------------------------------------------------------


def test_samples_are_rounded_and_as_deep_as_the_format(caplog) -> None:
    values = torch.tensor([[-0.2, 0.0, 100.4 / 255, 100.6 / 255, 1.0, 1.3]])
    color = torch.stack([values, values * 0.5, 1 - values])
    picture = Picture(color)
    png, jpeg = by_name("PNG"), by_name("JPEG")
    found = samples_to_write(picture, png, "a.png")
    assert found.dtype == np.uint8 and found.flags.c_contiguous
    assert found[0, :, 0].tolist() == [0, 0, 100, 101, 255, 255]
    assert found.shape == (1, 6, 3) and found[0, 4].tolist() == [255, 128, 0]
    deep = samples_to_write(Picture(color, bits=16), png, "a.png")
    assert deep.dtype == np.uint16 and deep[0, 4].tolist() == [65535, 32768, 0]
    gray = samples_to_write(Picture(values.expand(3, 1, 6), gray=True), jpeg, "a.jpg")
    assert gray.shape == (1, 6, 1)
    alpha = torch.full((1, 1, 6), 0.5, dtype=torch.float64)
    for picture, channels in ((Picture(color, alpha), 4), (Picture(color, alpha, gray=True), 2)):
        found = samples_to_write(picture, png, "a.png")
        assert found.shape == (1, 6, channels) and set(found[..., -1].flat) == {128}
    assert said(caplog) == []


def test_alpha_and_depth_that_a_format_cannot_hold_are_said(caplog) -> None:
    picture = Picture(torch.rand(3, 4, 4), torch.rand(1, 4, 4), bits=16)
    found = samples_to_write(picture, by_name("JPEG"), "a.jpg")
    assert (found.dtype, found.shape) == (np.uint8, (4, 4, 3))
    assert said(caplog) == [
        "a.jpg: JPEG holds no alpha channel; it is dropped.",
        "a.jpg: 16-bit samples are written to PNG and TIFF only; this JPEG has 8.",
    ]


# --- bytes ---------------------------------------------------------------------------------------


def test_bytes_of_a_picture() -> None:
    picture = Picture(torch.rand(3, 16, 16), dpi=(300.0, 300.0))
    image = opened(encode(picture, "PNG"))
    assert (image.format, image.size, image.info["dpi"]) == ("PNG", (16, 16), (299.9994, 299.9994))
    sizes = [len(encode(picture, "JPEG", quality=quality)) for quality in (30, None, 100)]
    assert sizes == sorted(sizes) and len(set(sizes)) == 3
    with pytest.raises(InputError, match="from 1 to 100, not 0"):
        encode(picture, "JPEG", quality=0)


def test_a_refusal_of_the_encoder_names_the_file(monkeypatch) -> None:
    def refuse(*args, **kwargs):
        raise SystemError("tile cannot extend outside image")

    monkeypatch.setattr(Image.Image, "save", refuse)
    with pytest.raises(InputError) as caught:
        encode(Picture(torch.rand(3, 4, 4)), "WEBP", "out.webp")
    assert str(caught.value) == (
        "out.webp: WebP cannot hold this picture (tile cannot extend outside image)."
    )


def test_a_picture_beyond_four_gibibytes_is_said(monkeypatch) -> None:
    def too_large(*args):
        raise ifd.DamagedDirectory("more than 4 GiB")

    monkeypatch.setattr(write.tiff, "encode", too_large)
    with pytest.raises(InputError) as caught:
        encode(Picture(torch.rand(3, 4, 4)), "TIFF", "out.tif")
    assert str(caught.value) == "out.tif: TIFF cannot hold it (more than 4 GiB); write a PNG."


def test_jpeg_has_full_chroma_and_its_segments() -> None:
    packet = b"<packet/>"
    picture = Picture(torch.rand(3, 16, 16), xmp=packet, comment=b"scan", dpi=(300.0, 150.0))
    image = opened(encode(picture, "JPEG"))
    assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3
    assert image.info["dpi"] == (300, 150)
    assert (image.info["xmp"], image.info["comment"]) == (packet, b"scan")


@pytest.mark.parametrize(
    ("kept", "what"),
    [
        ({"xmp": b"x" * 65505}, "XMP"),
        ({"comment": b"x" * 65534}, "comment"),
        ({"exif": None}, "EXIF data"),
    ],
)
def test_what_is_too_long_for_jpeg_is_said(caplog, kept, what) -> None:
    if what == "EXIF data":
        directory = ifd.Directory()
        directory.put(271, ifd.ASCII, b"x" * 65600)
        kept = {"exif": meta.exif_bytes(directory)}
    picture = Picture(torch.rand(3, 8, 8), **kept)
    image = opened(encode(picture, "JPEG", "a.jpg"))
    message = f"a.jpg: the {what} is too long for JPEG (64 KB); it is dropped."
    assert said(caplog) == [message]
    assert not {"xmp", "comment", "exif"} & set(image.info)
    caplog.clear()
    if what != "EXIF data":
        [(name, data)] = kept.items()
        shorter = Picture(torch.rand(3, 8, 8), **{name: data[:-1]})
        assert len(opened(encode(shorter, "JPEG", "a.jpg")).info[name]) == len(data) - 1
        assert said(caplog) == []


def test_webp_keeps_colors_under_clear_pixels() -> None:
    color = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    picture = Picture(color, torch.zeros(1, 32, 32))
    found = np.asarray(opened(encode(picture, "WEBP", quality=100))).astype(int)
    light = color.permute(1, 2, 0).numpy().mean(-1) * 255
    assert found[..., 3].max() == 0
    assert np.corrcoef(found[..., :3].mean(-1).ravel(), light.ravel())[0, 1] > 0.7


@pytest.mark.skipif("avif" not in features.get_supported(), reason="this Pillow has no AVIF")
def test_avif_has_full_chroma() -> None:
    """Stripes of one pixel, red and blue: with shared chroma both would be purple."""
    color = torch.zeros(3, 32, 32)
    color[0, :, ::2] = color[2, :, 1::2] = 1
    found = np.asarray(opened(encode(Picture(color), "AVIF"))).astype(int)
    assert found[:, ::2, 0].mean() > 200 and found[:, 1::2, 0].mean() < 60


@pytest.mark.parametrize("file_format", ["JPEG", "BMP", "TGA", "JPEG2000", "PPM"])
def test_gray_pictures_are_written_with_one_channel(file_format) -> None:
    light = torch.linspace(0, 1, 32).expand(3, 16, 32)
    image = opened(encode(Picture(light, gray=True), file_format))
    assert image.mode == "L"
    assert np.abs(np.asarray(image)[8] - np.linspace(0, 255, 32)).max() < 3


def test_tga_is_compressed_and_keeps_alpha() -> None:
    picture = Picture(torch.ones(3, 64, 64), torch.ones(1, 64, 64) * 0.5)
    data = encode(picture, "TGA")
    assert len(data) < 64 * 64 and data[2] == 10  # run lengths of true color
    assert np.asarray(opened(data))[0, 0].tolist() == [255, 255, 255, 128]


def test_metadata_that_a_format_does_not_hold_is_said(caplog) -> None:
    directory = ifd.Directory()
    directory.put(271, ifd.ASCII, b"A camera\0")
    kept = {
        "exif": meta.exif_bytes(directory),
        "icc": bytes(16) + b"RGB " + bytes(108),
        "xmp": b"<packet/>",
        "comment": b"scan",
        "text": (("Title", "x"),),
    }
    picture = Picture(torch.rand(3, 4, 4), **kept)
    encode(picture, "BMP", "a.bmp")
    message = "a.bmp: BMP does not hold EXIF, a color profile, XMP, a comment, texts; dropped."
    assert said(caplog) == [message]
    caplog.clear()
    encode(Picture(torch.rand(3, 4, 4), comment=b"scan"), "PPM", "a.ppm")
    assert said(caplog) == ["a.ppm: PNM does not hold a comment; dropped."]
    caplog.clear()
    encode(picture, "PNG", "a.png")
    assert said(caplog) == []


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("space", [b"RGB ", b"GRAY", b"CMYK"])
def test_a_profile_goes_with_its_pixels(caplog, gray, space) -> None:
    profile = bytes(16) + space + bytes(108)
    data = encode(Picture(torch.rand(3, 4, 4), gray=gray, icc=profile), "PNG", "a.png")
    fits = space == (b"GRAY" if gray else b"RGB ")
    assert opened(data).info.get("icc_profile") == (profile if fits else None)
    dropped = "a.png: the color profile does not fit these pixels; it is dropped."
    assert said(caplog) == ([] if fits else [dropped])


@pytest.mark.parametrize("file_format", ["WEBP", "TIFF"])
def test_resolution_goes_into_exif_where_there_is_no_other_place(file_format) -> None:
    data = encode(Picture(torch.rand(3, 4, 4), dpi=(300.0, 150.0)), file_format)
    exif = opened(data).getexif()
    assert (exif[282], exif[283], exif[296]) == (300, 150, 2)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
def test_resolution_goes_into_exif_where_there_is_exif(file_format) -> None:
    picture = Picture(torch.rand(3, 4, 4), dpi=(300.0, 150.0))
    assert not opened(encode(picture, file_format)).getexif()
    directory = ifd.Directory()
    directory.put(271, ifd.ASCII, b"A camera\0")
    with_exif = Picture(picture.pixels, dpi=picture.dpi, exif=meta.exif_bytes(directory))
    exif = opened(encode(with_exif, file_format)).getexif()
    assert (exif[271], exif[282], exif[283]) == ("A camera", 300, 150)


@pytest.mark.parametrize("file_format", ["JPEG", "WEBP", "TIFF"])
def test_texts_without_room_are_named(caplog, file_format) -> None:
    texts = (("workflow", "{}"), ("Title", "x"), ("A\nB", "y"))
    data = encode(Picture(torch.rand(3, 4, 4), text=texts), file_format, "a.x")
    title = by_name(file_format).title
    assert said(caplog) == [f"a.x: {title} has no room for Title, A\\nB; dropped."]
    assert opened(data).getexif()[271] == "workflow:{}"


def test_texts_leave_a_jpeg_whose_exif_would_grow_too_long(caplog) -> None:
    for size, kept in ((65450, True), (65520, False)):
        caplog.clear()
        texts = (("workflow", "x" * size), ("prompt", ""))
        picture = Picture(torch.rand(3, 4, 4), text=texts)
        exif = opened(encode(picture, "JPEG", "a.jpg")).getexif()
        assert (271 in exif) is kept
        message = "a.jpg: JPEG has no room for workflow, prompt; dropped."
        assert said(caplog) == ([] if kept else [message])


# --- opening it again ----------------------------------------------------------------------------


def noise(*shape: int, dtype=np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype)


def test_differences_are_named() -> None:
    png, jpeg, webp = by_name("PNG"), by_name("JPEG"), by_name("WEBP")
    samples = noise(32, 48, 3)
    assert write._difference(samples, samples.copy(), png) is None
    assert write._difference(samples[:, :47], samples, png) == "its size is 47x32"
    assert write._difference(samples[:31], samples, png) == "its size is 48x31"
    assert write._difference(samples.astype(np.uint16), samples, png) == "it has 16 bits a sample"
    assert write._difference(samples[..., :1], samples, png) == "it has 1 channels"
    assert write._difference(samples[..., :1], samples, jpeg) == "it has 1 channels"
    other = samples.copy()
    other[31, 47, 2] ^= 1
    assert write._difference(other, samples, png) == "its pixels differ"
    assert write._difference(other, samples, jpeg) is None
    assert write._difference(255 - samples // 4, samples, jpeg) == "its pixels differ too much"
    # WebP has no gray: three equal channels are the same picture.
    gray = samples[..., :1]
    assert write._difference(gray.repeat(3, 2), gray, webp) is None
    alpha = np.concatenate([samples, np.full((32, 48, 1), 255, np.uint8)], 2)
    assert write._difference(samples, alpha, webp) is None
    alpha[..., 3] = 0
    assert write._difference(samples, alpha, webp) == "its pixels differ too much"


@pytest.mark.parametrize(
    ("size", "mean", "worst"), [(64, 0.08, 0.2), (16, 0.08, 0.2), (15, 0.25, 0.5)]
)
def test_how_much_a_lossy_format_may_lose(size, mean, worst) -> None:
    """Over all four channels, of which the alpha is not touched here."""
    jpeg = by_name("JPEG")
    meant = np.full((size, size, 3), 200, np.uint8)
    for limit, place in ((mean, np.s_[:]), (worst, np.s_[:, :, :1])):
        share = 3 / 4 if place == np.s_[:] else 1
        for factor, fine in ((0.95, True), (1.06, False)):
            read = meant.copy()
            read[place] -= np.uint8(255 * limit * factor / share)
            if place != np.s_[:] and 255 * limit * factor / 4 > 255 * mean:
                continue
            assert (write._difference(read, meant, jpeg) is None) is fine, (limit, factor)


def test_blocks_of_sixteen_pixels_are_compared() -> None:
    samples = noise(40, 50, 4)
    found = write._block_means(samples)
    assert found.shape == (2, 3, 4)
    expected = samples[:32, :48].reshape(2, 16, 3, 16, 4).mean((1, 3))
    assert np.allclose(found, expected, atol=1e-3)
    full = np.full((16, 16, 4), 255, np.uint8)
    assert write._block_means(full).tolist() == [[[255.0] * 4]]
    for small in (noise(15, 50, 4), noise(50, 15, 4)):
        assert np.allclose(write._block_means(small), small.mean((0, 1)))
    assert write._block_loss(full, full - 51) == pytest.approx((0.2, 0.2))
    assert write._block_loss(full - 51, full) == pytest.approx((0.2, 0.2))


def test_a_missing_alpha_is_opaque() -> None:
    for channels in (1, 2, 3, 4):
        samples = noise(4, 5, channels)
        found = write._four_channels(samples)
        color = samples[..., :1].repeat(3, 2) if channels <= 2 else samples[..., :3]
        alpha = samples[..., -1] if channels in (2, 4) else np.full((4, 5), 255)
        assert np.array_equal(found, np.dstack([color, alpha]))


def test_what_does_not_open_again_is_not_written(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(write, "_by_pillow", lambda *args: b"no picture")
    with pytest.raises(InputError) as caught:
        write_picture(tmp_path / "a.jpg", Picture(torch.rand(3, 8, 8)))
    path = tmp_path / "a.jpg"
    assert str(caught.value).startswith(
        f"{path}: what was encoded does not open as the same picture ({path} is not a picture this"
    )
    assert str(caught.value).endswith("nothing was written. Write another format.")
    assert list(tmp_path.iterdir()) == []


def test_bytes_are_written_whole(tmp_path) -> None:
    write_atomically(tmp_path / "new" / "a.bin", b"whole")
    assert (tmp_path / "new" / "a.bin").read_bytes() == b"whole"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.bin"]
