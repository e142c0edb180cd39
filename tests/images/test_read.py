"""From a file to a picture: refusals in one sentence, and what Pillow's formats hand on."""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, UnidentifiedImageError

from gpen_core.errors import InputError
from gpen_core.images import ifd, read
from gpen_core.images import metadata as meta
from gpen_core.images.decoded import Decoded
from gpen_core.images.formats import READABLE, by_name
from gpen_core.images.picture import Metadata
from gpen_core.images.read import decode, decode_samples, read_picture, to_picture


def said(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def encoded(image: Image.Image, file_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


# --- refusals ------------------------------------------------------------------------------------


def test_a_path_without_a_picture_is_one_sentence(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("empty.png").touch()
    Path("loop").symlink_to("loop")
    Path("text.png").write_text("hello")
    messages = {
        "absent.png": "absent.png: no such file; check the path.",
        "folder": "folder is a folder where a picture file was expected.",
        "empty.png": "empty.png is empty (0 bytes); copy or download it again.",
        "loop": "loop: cannot be read (Too many levels of symbolic links).",
        "a\0b": "a\\x00b: this is no file name (it holds a NUL or cannot be encoded).",
        "text.png": f"text.png is not a picture this program can read ({', '.join(READABLE)}).",
    }
    for name, message in messages.items():
        with pytest.raises(InputError) as caught:
            read_picture(name)
        assert str(caught.value) == message


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="this system has no /proc")
def test_a_file_that_fails_while_it_is_read_is_named() -> None:
    """The memory of this process looks like a regular file; its beginning cannot be read."""
    with pytest.raises(InputError) as caught:
        read_picture("/proc/self/mem")
    assert str(caught.value) == "/proc/self/mem: cannot be read (Input/output error)."


def test_a_file_that_is_too_long_is_not_read(tmp_path, monkeypatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(Image.new("L", (8, 8)), "PNG"))
    size = path.stat().st_size
    monkeypatch.setattr(read, "MAX_FILE_BYTES", size)
    assert read_picture(path).size == (8, 8)
    monkeypatch.setattr(read, "MAX_FILE_BYTES", size - 1)
    with pytest.raises(InputError, match=r"a\.png is too large to be read as a picture\.$"):
        read_picture(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"P6 none", "is damaged or cut off: "),
        (b"\x89PNG\r\n\x1a\n", "is damaged or cut off: it has no header."),
        (b"II*\0", "is damaged or cut off: no TIFF header."),
        (b"GIF89a" + struct.pack("<HH", 60000, 60000) + bytes(30), "is damaged or cut off: "),
    ],
)
def test_damage_is_named(data, message) -> None:
    with pytest.raises(InputError) as caught:
        decode(data, Path("folder/a.bmp"))
    assert str(caught.value).startswith(f"folder/a.bmp {message}")


def test_what_no_decoder_knows_is_said_to_begin_like_its_format(monkeypatch) -> None:
    def unknown(data, name, grace):
        raise UnidentifiedImageError("cannot identify <_io.BytesIO object>")

    monkeypatch.setattr(read.jpeg, "decode", unknown)
    with pytest.raises(InputError) as caught:
        decode(b"\xff\xd8\xff", Path("a.jpg"))
    assert str(caught.value) == (
        "a.jpg is damaged or cut off: it begins like JPEG but is not readable."
    )


def test_a_fault_without_words_is_called_by_its_kind(monkeypatch) -> None:
    def broken(data, name, grace):
        raise EOFError

    monkeypatch.setattr(read.png, "decode", broken)
    with pytest.raises(InputError, match=r"^a\.png is damaged or cut off: EOFError\.$"):
        decode(b"\x89PNG\r\n\x1a\n", Path("a.png"))


def test_a_name_that_lies_is_said(caplog) -> None:
    data = encoded(Image.new("L", (8, 8)), "BMP")
    for name, lies in (("a.png", True), ("a.bmp", False), ("a.dib", False), ("a.xyz", False)):
        caplog.clear()
        assert decode(data, Path(name)).size == (8, 8)
        assert said(caplog) == [f"{name} is BMP in spite of its name; it is read as such."] * lies


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "TIFF"])
def test_what_a_format_has_to_say_names_the_file(caplog, file_format) -> None:
    image = Image.effect_noise((64, 64), 60)
    if file_format == "TIFF":
        data = encoded(image, "TIFF", save_all=True, append_images=[image])
        expected = "folder/a.x has 2 pages; only the first is read."
    else:
        data = encoded(image, file_format)[:-4]
        expected = "folder/a.x lacks its end; "
    assert decode(data, Path("folder/a.x")).size == (64, 64)
    [message] = said(caplog)
    assert message.startswith(expected)


def test_what_pillow_warns_of_names_the_file(caplog) -> None:
    with read._logged_warnings("a.gif"):
        warnings.warn("odd\n", UserWarning, stacklevel=1)
        warnings.warn("odd\n", UserWarning, stacklevel=1)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        warnings.warn("large", Image.DecompressionBombWarning, stacklevel=1)
    assert said(caplog) == ["a.gif: odd\\n"] * 2


# --- samples to pictures -------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_samples_become_a_picture(channels, dtype) -> None:
    peak = np.iinfo(dtype).max
    samples = np.random.default_rng(0).integers(0, peak, (4, 6, channels), dtype, endpoint=True)
    metadata = Metadata(icc=b"profile", dpi=(72.0, 72.0))
    picture = to_picture(Decoded(samples, metadata, 6))
    turned = np.rot90(samples, -1)
    planes = torch.from_numpy(turned.astype(np.float64) / peak).permute(2, 0, 1).float()
    color = planes[:1].expand(3, -1, -1) if channels <= 2 else planes[:3]
    torch.testing.assert_close(picture.pixels, color, rtol=0, atol=1e-7)
    assert picture.pixels.is_contiguous() and picture.pixels.dtype == torch.float32
    assert (picture.gray, picture.bits) == (channels <= 2, 8 * samples.dtype.itemsize)
    if channels in (2, 4):
        torch.testing.assert_close(picture.alpha, planes[-1:], rtol=0, atol=1e-7)
        assert picture.alpha.is_contiguous()
    else:
        assert picture.alpha is None
    assert (picture.icc, picture.dpi) == (b"profile", (72.0, 72.0))


# --- formats that Pillow reads as they are -------------------------------------------------------


def exif(orientation: int) -> bytes:
    directory = ifd.Directory(">")
    directory.put(271, ifd.ASCII, b"A camera\0")
    directory.put(meta.ORIENTATION, ifd.SHORT, (orientation,))
    meta.put_resolution(directory, (144.0, 144.0))
    return meta.exif_bytes(directory)


def test_webp_hands_on_its_metadata() -> None:
    image = Image.new("RGB", (8, 4), "red")
    packet = b'<a tiff:Orientation="8"/>'
    options = {"icc_profile": b"profile", "xmp": packet, "lossless": True}
    found = decode_samples(encoded(image, "WEBP", exif=exif(6), **options), Path("a.webp"))
    assert (found.orientation, found.bits, found.samples.shape) == (6, 8, (4, 8, 3))
    metadata = found.metadata
    assert (metadata.icc, metadata.xmp) == (b"profile", b'<a tiff:Orientation="1"/>')
    assert (metadata.dpi, metadata.comment) == ((144, 144), None)
    assert meta.read_exif(metadata.exif).values(271) == (b"A camera\0",)
    assert decode_samples(encoded(image, "WEBP", **options), Path("a.webp")).orientation == 8
    bare = decode_samples(encoded(image, "WEBP", lossless=True), Path("a.webp"))
    assert (bare.metadata, bare.orientation) == (Metadata(), 1)


def test_resolution_and_comment_of_other_formats(caplog) -> None:
    image = Image.new("RGB", (8, 4), "red")
    found = decode_samples(encoded(image, "BMP", dpi=(300, 150)), Path("a.bmp"))
    assert found.metadata.dpi == pytest.approx((300, 150), abs=0.1)
    assert decode_samples(encoded(image, "BMP", dpi=(0, 0)), Path("a.bmp")).metadata.dpi is None
    found = decode_samples(encoded(image, "GIF", comment="scan"), Path("a.gif"))
    assert found.metadata == Metadata(comment=b"scan")
    # That of a JPEG 2000 file names its encoder.
    found = decode_samples(encoded(image, "JPEG2000", comment="scan"), Path("a.jp2"))
    assert found.metadata.comment is None
    assert said(caplog) == []


def test_frames_are_counted(caplog) -> None:
    frames = [Image.new("L", (8, 8), color) for color in (0, 100, 200)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    decode_samples(data, Path("a.gif"))
    assert said(caplog) == ["a.gif has 3 frames; only the first is read."]


def test_graymaps_of_sixteen_bits(caplog) -> None:
    values = np.array([[0, 1, 255], [256, 40000, 65535]], np.uint16)
    data = b"P5 3 2 65535\n" + values.astype(">u2").tobytes()
    found = decode_samples(data, Path("a.pgm"))
    assert found.samples.dtype == np.uint16 and found.samples[..., 0].tolist() == values.tolist()
    assert said(caplog) == []


def test_jpeg_2000_of_sixteen_bits(caplog) -> None:
    values = np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32)
    data = encoded(Image.fromarray(values), "JPEG2000", irreversible=False)
    found = decode_samples(data, Path("a.jp2"))
    assert found.samples.dtype == np.uint16 and np.array_equal(found.samples[..., 0], values)
    assert said(caplog) == []


@pytest.mark.parametrize(
    ("head", "deep"),
    [
        (b"P6 1 1 255\n", False),
        (b"P6 1 1 256\n", True),
        (b"P3\n1 1\n65535\n", True),
        (b"P2 1 1 256\n", True),
        (b"P5 1 1 256\n", True),
        (b"P4 1 1 \xff\xff", False),
        (b"P1 1 1 1000\n", False),
        (b"P6", False),
    ],
)
def test_depth_of_a_graymap_is_its_third_number(head, deep) -> None:
    image = Image.new("RGB", (1, 1))
    assert read._deeper_than_eight(head, image, by_name("PPM")) is deep


@pytest.mark.parametrize(("depth", "deep"), [(7, False), (8, True), (0x8F, True), (0x87, False)])
def test_depth_of_a_jpeg_2000_is_in_its_size_segment(depth, deep) -> None:
    """One less than the bits of the first component, the highest bit for signed ones."""
    stream = b"\xff\x4f\xff\x51" + bytes(38) + bytes([depth])
    image, chosen = Image.new("RGB", (1, 1)), by_name("JPEG2000")
    for data in (stream, b"box" + stream, stream + b"more"):
        assert read._deeper_than_eight(data, image, chosen) is deep
    assert read._deeper_than_eight(stream[:-1], image, chosen) is False
    assert read._deeper_than_eight(b"box" * 30, image, chosen) is False


def test_depth_of_other_formats_is_what_pillow_says() -> None:
    image = Image.new("RGB", (1, 1))
    assert read._deeper_than_eight(b"", image, by_name("HEIF")) is False
    for depth, deep in ((8, False), (10, True), (None, False)):
        image.info["bit_depth"] = depth
        assert read._deeper_than_eight(b"", image, by_name("HEIF")) is deep


def test_reduced_depth_is_said(caplog) -> None:
    assert decode(b"P6 1 1 65535\n" + bytes(6), Path("a.ppm")).bits == 8
    assert said(caplog) == ["a.ppm: its samples are reduced to 8 bits."]


def test_a_decoder_that_turns_the_picture_itself_is_not_followed_by_another_turn() -> None:
    data = encoded(Image.new("RGB", (8, 4), "red"), "WEBP", exif=exif(6))
    chosen = by_name("WEBP")
    assert read._by_pillow(data, chosen, "a").orientation == 6
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(read, "_TURNED", frozenset(["WEBP"]))
        assert read._by_pillow(data, chosen, "a").orientation == 1
