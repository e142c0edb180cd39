"""Every promised format, in every kind of picture: what is written comes back, or is refused."""

from __future__ import annotations

import io
import struct
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from gpen_core.errors import InputError, MissingDependencyError
from gpen_core.images import formats, write
from gpen_core.images.formats import READABLE, WRITABLE
from gpen_core.images.picture import Picture
from gpen_core.images.read import read_picture
from gpen_core.images.write import check_size, check_writable, write_picture

AVIF = "avif" in features.get_supported()
CAN_WRITE = [suffix for suffix in WRITABLE if AVIF or suffix != ".avif"]
LOSSLESS = [suffix for suffix in CAN_WRITE if formats.by_suffix(Path("a" + suffix)).lossless]


def smooth(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    planes = [x * 255 // width, y * 255 // height, 255 - x * 255 // width]
    return np.stack(planes, -1).astype(np.uint8)


@settings(max_examples=200, deadline=None)
@given(
    suffix=st.sampled_from(CAN_WRITE),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    gray=st.booleans(),
    alpha=st.booleans(),
    bits=st.sampled_from([8, 16]),
    quality=st.none() | st.integers(1, 100),
    seed=st.integers(0, 9),
)
def test_any_picture_survives_any_format(
    tmp_path_factory, suffix, height, width, gray, alpha, bits, quality, seed
):
    random = torch.Generator().manual_seed(seed)
    peak = 65535 if bits == 16 else 255
    pixels, opacity = (
        torch.randint(0, peak + 1, (channels, height, width), generator=random) / peak
        for channels in (1 if gray else 3, 1)
    )
    picture = Picture(pixels.expand(3, -1, -1), opacity if alpha else None, gray, bits)
    path = tmp_path_factory.mktemp("any") / f"out{suffix}"
    write_picture(path, picture, quality=quality)
    read, chosen = read_picture(path), formats.by_suffix(path)
    assert read.size == (height, width)
    assert read.bits == (bits if chosen.deep else 8)
    assert read.gray == (gray and chosen.gray)
    if not chosen.alpha:
        assert read.alpha is None
    elif alpha and bool((opacity < 0.99).any()):
        assert read.alpha is not None
    if chosen.lossless:
        # A sample that is rounded to 8 bits lies half a level off.
        step = 1e-6 if read.bits == bits else 0.51 / 255
        assert (read.pixels - picture.pixels).abs().max() <= step


def test_the_default_quality_is_the_one_that_stands_in_the_table(tmp_path):
    picture = Picture(torch.rand(3, 64, 64))
    for suffix in (".jpg", ".webp"):
        sizes = {}
        for quality in (None, 20, formats.DEFAULT_QUALITY):
            write_picture(tmp_path / f"{quality}{suffix}", picture, quality=quality)
            sizes[quality] = (tmp_path / f"{quality}{suffix}").read_bytes()
        assert sizes[None] == sizes[formats.DEFAULT_QUALITY]
        assert len(sizes[20]) < len(sizes[None])


@pytest.mark.parametrize("quality", [0, 101, -3, 95.0, True, "high"])
def test_a_quality_that_is_none_is_refused(tmp_path, quality):
    with pytest.raises(InputError, match="from 1 to 100") as caught:
        write_picture(tmp_path / "a.jpg", Picture(torch.rand(3, 4, 4)), quality=quality)
    assert caught.value.option == "quality"
    assert list(tmp_path.iterdir()) == []


def test_a_quality_without_effect_is_said(tmp_path, caplog):
    write_picture(tmp_path / "a.png", Picture(torch.rand(3, 4, 4)), quality=50)
    assert "PNG has no quality" in caplog.text


@pytest.mark.parametrize(
    ("suffix", "pillow", "mode"),
    [
        (".gif", "GIF", "P"),
        (".tga", "TGA", "RGBA"),
        (".ppm", "PPM", "RGB"),
        (".pgm", "PPM", "L"),
        (".pbm", "PPM", "1"),
        (".jp2", "JPEG2000", "RGB"),
        (".j2k", "JPEG2000", "RGB"),
        (".dib", "BMP", "RGB"),
        (".jfif", "JPEG", "RGB"),
        (".jpe", "JPEG", "L"),
        (".avif", "AVIF", "RGB"),
    ],
)
def test_less_common_formats_are_read(tmp_path, suffix, pillow, mode):
    if suffix == ".avif" and not AVIF:
        pytest.skip("this Pillow was built without AVIF")
    image = Image.fromarray(smooth(40, 56)).convert(mode)
    image.save(tmp_path / f"in{suffix}", pillow)
    with Image.open(tmp_path / f"in{suffix}") as opened:
        expected = np.asarray(opened.convert("RGB"))
    read = read_picture(tmp_path / f"in{suffix}").pixels.permute(1, 2, 0).numpy() * 255
    assert np.abs(read - expected).max() < 0.01
    assert suffix in READABLE


def test_an_animation_gives_its_first_frame(tmp_path, caplog):
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "lime", "blue")]
    for suffix in (".gif", ".webp", ".png", ".tif"):
        caplog.clear()
        path = tmp_path / f"in{suffix}"
        frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
        assert read_picture(path).pixels[:, 4, 4].tolist() == [1, 0, 0]
        assert "only the first" in caplog.text


def test_sixteen_bit_graymaps_keep_their_depth(tmp_path, make_samples):
    samples = make_samples((5, 7), "u2")
    (tmp_path / "in.pgm").write_bytes(b"P5 7 5 65535\n" + samples.astype(">u2").tobytes())
    picture = read_picture(tmp_path / "in.pgm")
    assert picture.bits == 16
    assert np.array_equal((picture.pixels[0].double() * 65535).round().numpy(), samples)


def test_reduced_depth_is_said(tmp_path, make_samples, caplog):
    samples = make_samples((5, 7, 3), "u2")
    (tmp_path / "in.ppm").write_bytes(b"P6 7 5 65535\n" + samples.astype(">u2").tobytes())
    assert read_picture(tmp_path / "in.ppm").bits == 8
    assert "reduced to 8 bits" in caplog.text


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".gif", ".webp"])
def test_a_name_that_lies_is_seen_through(tmp_path, suffix, caplog):
    Image.fromarray(smooth(9, 9)).save(tmp_path / "in.bmp")
    path = (tmp_path / "in.bmp").rename(tmp_path / f"in{suffix}")
    assert read_picture(path).size == (9, 9)
    assert "is BMP in spite of its name" in caplog.text


NO_PICTURES = {
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\nshowpage\n%%EOF\n",
    "binary postscript": b"\xc5\xd0\xd3\xc6" + bytes(60),
    "pdf": b"%PDF-1.7\n",
    "icon": b"\0\0\1\0\1\0" + bytes(60),
    "windows metafile": b"\xd7\xcd\xc6\x9a\0\0" + bytes(60),
    "photoshop": b"8BPS\0\1" + bytes(60),
    "page": b"<!DOCTYPE html><html></html>",
    "text": b"hello, world",
}


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".heic", ".eps", ""])
@pytest.mark.parametrize("kind", NO_PICTURES)
def test_only_promised_formats_are_opened(tmp_path, monkeypatch, kind, suffix):
    def never(*args, **kwargs):
        raise AssertionError("Pillow was asked")

    monkeypatch.setattr(Image, "open", never)
    path = tmp_path / f"in{suffix}"
    path.write_bytes(NO_PICTURES[kind])
    with pytest.raises(InputError, match="not a picture this program"):
        read_picture(path)


@pytest.mark.parametrize(
    ("head", "package"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "pillow-heif"),
        (b"\xff\x0a" + bytes(30), "pillow-jxl-plugin"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(30), "pillow-jxl-plugin"),
    ],
)
def test_a_missing_plugin_is_named(tmp_path, monkeypatch, head, package):
    for module in ("pillow_heif", "pillow_jxl"):
        monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / "in.heic").write_bytes(head)
    with pytest.raises(MissingDependencyError, match=f"pip install {package}"):
        read_picture(tmp_path / "in.heic")


@pytest.mark.parametrize(("suffix", "module"), [(".heic", "pillow_heif"), (".jxl", "pillow_jxl")])
def test_plugins_are_used_where_they_are_installed(tmp_path, suffix, module):
    plugin = pytest.importorskip(module, reason=f"{module} is not installed")
    if suffix == ".heic":
        plugin.register_heif_opener()
    exif = Image.Exif()
    exif[271] = "A camera"
    Image.fromarray(smooth(40, 56)).save(tmp_path / f"in{suffix}", quality=95, exif=exif.tobytes())
    picture = read_picture(tmp_path / f"in{suffix}")
    read = picture.pixels.permute(1, 2, 0).numpy() * 255
    assert np.abs(read - smooth(40, 56)).mean() < 3
    assert b"A camera" in picture.exif


SIDES = {".jpg": 65500, ".webp": 16383, ".bmp": 32767, ".tga": 65535}
SIDES |= {".avif": 16384} if AVIF else {}


@pytest.mark.parametrize("suffix", SIDES)
def test_limits_are_known_before_the_work(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    check_size(path, 10, SIDES[suffix])
    for size in ((10, SIDES[suffix] + 1), (SIDES[suffix] + 1, 10)):
        with pytest.raises(InputError, match=f"at most {SIDES[suffix]} px"):
            check_size(path, *size)
    with pytest.raises(InputError, match="px a side"):
        write_picture(path, Picture(torch.zeros(3, 1, SIDES[suffix] + 1)))
    assert not path.exists()


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".bmp", ".tga", ".png", ".tif", ".ppm"])
def test_the_widest_picture_of_a_format_is_written(tmp_path, suffix):
    width = min(SIDES.get(suffix, 70000), 70000)
    write_picture(tmp_path / f"out{suffix}", Picture(torch.rand(3, 1, width)))
    assert read_picture(tmp_path / f"out{suffix}").size == (1, width)


@pytest.mark.parametrize("name", ["out.gif", "out.heic", "out.eps", "out", "out.png.txt"])
def test_formats_that_are_not_written_are_named_before_the_work(tmp_path, name):
    with pytest.raises(InputError, match=r"unknown picture format .* use one of .*\.png"):
        check_writable(tmp_path / name, False)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    buffer = io.BytesIO()
    Image.new("1", (20000, 20000)).save(buffer, "PNG")
    (tmp_path / "in.png").write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match="too large to open safely"):
        read_picture(tmp_path / "in.png")


def test_a_few_bytes_may_not_ask_for_gigabytes(tmp_path):
    Image.new("P", (9, 9)).save(tmp_path / "in.gif")
    data = bytearray((tmp_path / "in.gif").read_bytes())
    data[6:10] = struct.pack("<HH", 60000, 2900)  # the screen; the frame stays small
    (tmp_path / "in.gif").write_bytes(data)
    with pytest.raises(InputError, match=r"too large to open safely: 60000x2900 px in \d+ bytes"):
        read_picture(tmp_path / "in.gif")


def test_a_large_flat_picture_is_written_all_the_same(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(formats, "_MODEST_PIXELS", 1 << 12)
    monkeypatch.setattr(formats, "_PIXELS_A_BYTE", 100)
    write_picture(tmp_path / "out.webp", Picture(torch.zeros(3, 1024, 1024)))
    assert "too large to be opened again for a check" in caplog.text
    assert (tmp_path / "out.webp").exists()


# --- known by their bytes ------------------------------------------------------------------------


def box(*brands: bytes, size: int | None = None) -> bytes:
    """The first box of an ISO media file: its size, major brand, version, compatible brands."""
    major, *others = brands
    body = b"ftyp" + major + bytes(4) + b"".join(others)
    return struct.pack(">L", len(body) + 4 if size is None else size) + body


HEADS = {
    b"P1\n2 2": "PNM",
    b"P6 2 2 255": "PNM",
    b"P0\n2 2": None,
    b"P7\nWIDTH 2": None,
    b"P65 2 2": None,
    b"Q6\n2 2": None,
    b"P": None,
    b"RIFF\1\2\3\4WEBPVP8 ": "WebP",
    b"RIFF\1\2\3\4WAVEfmt ": None,
    b"FORM\1\2\3\4WEBPVP8 ": None,
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\x89PNG\n\n\x1a\n": None,
    b"\xff\xd8\xff\xe0": "JPEG",
    b"GIF87a": "GIF",
    b"GIF88a": None,
    b"II*\0": "TIFF",
    b"MM\0+": "TIFF",
    b"BM": "BMP",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    box(b"avif"): "AVIF",
    box(b"isom", b"miaf", b"avis"): "AVIF",
    box(b"mif1", b"heic", b"avif"): "AVIF",
    **{box(brand): "HEIF" for brand in (b"heic", b"heix", b"hevc", b"hevx")},
    **{box(b"isom", brand): "HEIF" for brand in (b"heim", b"heis", b"mif1", b"msf1")},
    box(b"isom", b"mp42"): None,
    box(b"isom", b"xxav", b"ifxx"): None,
    box(b"isom", b"avif", size=16): None,  # it lies behind the box
    box(b"isom", b"avif", size=20): "AVIF",
    box(b"avif", size=8): "AVIF",  # of a box too small for it the major brand is believed
    box(b"isom", *[b"mp42"] * 59, b"avif", size=1 << 31): "AVIF",
    box(b"isom", *[b"mp42"] * 60, b"avif", size=1 << 31): None,  # beyond 256 bytes
    bytes(40) + b"TRUEVISION-XFILE.\0": "TGA",
    b"TRUEVISION-XFILE.\0" + bytes(40): None,
}


@pytest.mark.parametrize("head", HEADS)
def test_a_format_is_known_by_its_first_bytes(head) -> None:
    found = formats.by_content(head, Path("in.jpg"))
    assert (None if found is None else found.title) == HEADS[head]
    if HEADS[head] is None and head[4:8] != b"ftyp":  # a film is none, whatever its name
        assert formats.by_content(head, Path("in.TGA")).title == "TGA"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("AVIF", "a.x: this Pillow cannot read or write AVIF; install Pillow 11.3 or newer."),
        ("WEBP", "a.x: this Pillow was built without WebP; reinstall it."),
        ("JPEG2000", "a.x: this Pillow was built without JPEG 2000; reinstall it."),
    ],
)
def test_a_pillow_without_a_format_is_said(monkeypatch, name, message) -> None:
    known = {"AVIF": "avif", "WEBP": "webp", "JPEG2000": "jpg_2000"}
    others = [feature for other, feature in known.items() if other != name]
    monkeypatch.setattr(features, "get_supported", lambda: [*others, "jpg"])
    with pytest.raises(MissingDependencyError) as caught:
        formats.require(formats.by_name(name), Path("a.x"))
    assert str(caught.value) == message
    for other in {*known, "PNG"} - {name}:
        formats.require(formats.by_name(other), Path("a.x"))


@pytest.mark.parametrize(("name", "module"), [("HEIF", "pillow_heif"), ("JXL", "pillow_jxl")])
def test_a_plugin_is_registered_where_it_has_to_be(monkeypatch, name, module) -> None:
    registered = []
    plugin = types.ModuleType(module)
    plugin.register_heif_opener = lambda: registered.append(module)
    monkeypatch.setitem(sys.modules, module, plugin)
    formats.require(formats.by_name(name), Path("a.x"))
    assert registered == (["pillow_heif"] if name == "HEIF" else [])
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=r"^a\.x: .* files need the package pillow-"):
        formats.require(formats.by_name(name), Path("a.x"))


def test_how_many_pixels_are_read() -> None:
    most = formats.MAX_PIXELS
    formats.check_pixels(1, most, 1 << 20)
    with pytest.raises(Image.DecompressionBombError, match=f"^{most + 1}x1 px, more than {most} "):
        formats.check_pixels(1, most + 1, 1 << 20)
    formats.check_pixels(1 << 12, 1 << 12, 0)
    with pytest.raises(Image.DecompressionBombError, match=r"^4097x4096 px in 4194 bytes$"):
        formats.check_pixels(1 << 12, (1 << 12) + 1, 4194)
    formats.check_pixels(1 << 12, (1 << 12) + 1, 4196)
    formats.check_pixels(4000, 5000, 5000)
    with pytest.raises(Image.DecompressionBombError, match="in 4999 bytes"):
        formats.check_pixels(4000, 5000, 4999)


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("a.heic", ".png"), ("a.gif", ".png"), ("a.pbm", ".png"), ("a.JPG", ".JPG"), ("a.tif", ".tif"),
     ("a.xyz", ".xyz"), ("a", "")],
)  # fmt: skip
def test_the_suffix_of_a_result(name, suffix) -> None:
    assert formats.written_suffix(Path(name)) == suffix


def test_a_quality_is_taken_as_it_is(caplog) -> None:
    jpeg, png = formats.by_name("JPEG"), formats.by_name("PNG")
    for quality in (1, 50, 100):
        assert formats.check_quality(quality, jpeg, Path("a.jpg")) == quality
    assert formats.check_quality(None, png, Path("a.png")) == formats.DEFAULT_QUALITY
    assert caplog.text == ""
    assert formats.check_quality(50, png, Path("a.png")) == 50
    assert caplog.records[0].getMessage() == (
        "a.png: PNG has no quality; the one given has no effect."
    )


# --- what was encoded is opened again ------------------------------------------------------------


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _other(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        file_format, mode = image.format, image.mode
        half = np.asarray(image.convert("RGB")).copy()
    half[half.shape[0] // 2 :] = 0
    buffer = io.BytesIO()
    Image.fromarray(half).convert(mode).save(buffer, file_format)
    return buffer.getvalue()


def _smaller(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        buffer = io.BytesIO()
        image.crop((0, 0, image.width, image.height - 1)).save(buffer, image.format)
    return buffer.getvalue()


@pytest.mark.parametrize("fault", [_cut, _other, _smaller])
@pytest.mark.parametrize("suffix", CAN_WRITE)
def test_an_encoder_that_fails_silently_is_found_out(tmp_path, monkeypatch, suffix, fault):
    encode = write._encode
    monkeypatch.setattr(write, "_encode", lambda *args: fault(encode(*args)))
    target = tmp_path / f"out{suffix}"
    target.write_bytes(b"precious")
    light = torch.from_numpy(smooth(64, 64)).permute(2, 0, 1) / 510 + 0.5
    with pytest.raises(InputError, match="does not open as the same picture"):
        write_picture(target, Picture(light), overwrite=True)
    assert target.read_bytes() == b"precious"
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
