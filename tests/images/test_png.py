"""PNG by its chunks: what each of them hands on, and that a bad one costs itself only."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from gpen_core.images import ifd, png
from gpen_core.images import metadata as meta
from gpen_core.images.picture import Metadata

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))


def header(width: int, height: int, depth: int = 8, color: int = 2, interlace: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">LLBBBBB", width, height, depth, color, 0, 0, interlace))


def pixels(rows: list[bytes]) -> bytes:
    return chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))


ROWS = [bytes([1, 2, 3, 4, 5, 6]), bytes([7, 8, 9, 250, 251, 252])]
SAMPLES = [[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [250, 251, 252]]]


def read(*chunks: bytes, grace: int = 18):
    """A picture of 2 x 2 px with chunks between its header and its pixels."""
    data = SIGNATURE + header(2, 2) + b"".join(chunks) + pixels(ROWS) + chunk(b"IEND")
    found = png.decode(data, "a.png", grace)
    assert found.samples.tolist() == SAMPLES
    return found


def exif(orientation: int = 1) -> bytes:
    directory = ifd.Directory(">")
    directory.put(271, ifd.ASCII, b"A camera\0")
    directory.put(meta.ORIENTATION, ifd.SHORT, (orientation,))
    meta.put_resolution(directory, (144.0, 144.0))
    return meta.exif_bytes(directory)


KEPT = meta.exif_bytes(meta.travelling(meta.read_exif(exif())))


def test_texts_of_all_three_kinds_in_their_order() -> None:
    found = read(
        chunk(b"tEXt", "Title\0Gr\u00fc\u00dfe\0 an".encode("latin-1")),
        chunk(b"zTXt", b"Long\0\0" + zlib.compress("\u00e9\u00e9\u00e9".encode("latin-1"))),
        chunk(b"iTXt", b"Author\0\0\0ja\0author\0" + "\u5c71\u7530".encode()),
        chunk(b"iTXt", b"Packed\0\1\0\0\0" + zlib.compress("\u5c71".encode())),
        chunk(b"iTXt", b"Odd\0\0\0\0\0\xff"),
        chunk(b"tEXt", b"Bare"),
    )
    assert found.metadata.text == (
        ("Title", "Gr\u00fc\u00dfe\0 an"),
        ("Long", "\u00e9\u00e9\u00e9"),
        ("Author", "\u5c71\u7530"),
        ("Packed", "\u5c71"),
        ("Odd", "\ufffd"),
        ("Bare", ""),
    )


def test_exif_in_its_chunk_and_in_the_texts_of_imagemagick() -> None:
    block = exif(6)
    plain = chunk(b"eXIf", block[6:])
    lines = "\n".join(block.hex()[at : at + 72] for at in range(0, 2 * len(block), 72))
    for keyword in (b"Raw profile type exif", b"Raw profile type APP1"):
        text = chunk(b"tEXt", keyword + f"\0\nexif\n{len(block):8}\n{lines}\n".encode())
        for chunks in ([text], [plain, chunk(b"tEXt", keyword + b"\0\n\n\n00")], [plain]):
            found = read(*chunks)
            assert (found.metadata.exif, found.orientation) == (KEPT, 6)
            assert (found.metadata.dpi, found.metadata.text) == ((144, 144), ())
    assert read(chunk(b"tEXt", b"Raw profile type iptc\0\n8bim\n 1\n00")).metadata == Metadata()


def test_xmp_names_an_orientation_where_exif_names_none() -> None:
    packet = chunk(b"iTXt", b'XML:com.adobe.xmp\0\0\0\0\0<a tiff:Orientation="8"/>')
    found = read(packet)
    assert (found.metadata.xmp, found.orientation) == (b'<a tiff:Orientation="1"/>', 8)
    assert found.metadata.text == ()
    assert read(packet, chunk(b"eXIf", exif(3)[6:])).orientation == 3
    assert read(packet, chunk(b"eXIf", exif(1)[6:])).orientation == 8


def test_profile_and_resolution() -> None:
    found = read(
        chunk(b"iCCP", b"a name\0\0" + zlib.compress(b"profile")),
        chunk(b"pHYs", struct.pack(">LLB", 11811, 5906, 1)),
        chunk(b"eXIf", exif()[6:]),
    )
    assert found.metadata.icc == b"profile"
    assert found.metadata.dpi == pytest.approx((299.9994, 150.0124))
    for unknown in (struct.pack(">LLB", 11811, 5906, 0), struct.pack(">LLB", 0, 0, 1), bytes(8)):
        assert read(chunk(b"pHYs", unknown)).metadata.dpi is None
        assert read(chunk(b"pHYs", unknown), chunk(b"eXIf", exif()[6:])).metadata.dpi == (144, 144)


@pytest.mark.parametrize(
    ("gamma", "said"),
    [(39999, True), (40000, False), (45455, False), (50000, False), (50001, True)],
)
def test_an_unusual_gamma_is_said(gamma, said, caplog) -> None:
    read(chunk(b"gAMA", struct.pack(">L", gamma)))
    told = [record.getMessage() for record in caplog.records]
    assert told == ["a.png: its unusual gamma is not applied."] * said


DAMAGED = {
    "zTXt": b"Key\0\0no zlib",
    "iCCP": b"name\0\0no zlib",
    "gAMA": b"\0",
    "tEXt": b"Raw profile type exif\0\n\n\nno digits",
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_chunk_is_dropped_and_named(kind, caplog) -> None:
    found = read(chunk(kind.encode(), DAMAGED[kind]), chunk(b"tEXt", b"Next\0one"))
    assert found.metadata == Metadata(text=(("Next", "one"),))
    [record] = caplog.records
    assert record.getMessage().startswith(f"a.png: a damaged {kind} chunk is dropped (")


def test_what_chunks_grow_to_is_bounded_together(monkeypatch, caplog) -> None:
    monkeypatch.setattr(png, "_MAX_INFLATED", 150)

    def packed(name: bytes, size: int) -> bytes:
        return chunk(b"zTXt", name + b"\0\0" + zlib.compress(b"x" * size))

    texts = read(packed(b"A", 100), packed(b"B", 50)).metadata.text
    assert texts == (("A", "x" * 100), ("B", "x" * 50))
    assert caplog.text == ""
    texts = read(packed(b"A", 100), packed(b"B", 51), packed(b"C", 1)).metadata.text
    assert texts == (("A", "x" * 100),)
    assert "a damaged zTXt chunk is dropped (it grows too large)" in caplog.text


def test_a_wrong_checksum_costs_an_ancillary_chunk_and_a_critical_one_the_file(caplog) -> None:
    assert read(chunk(b"tEXt", b"Key\0text")[:-1] + b"?").metadata == Metadata()
    assert caplog.text == ""
    good = SIGNATURE + header(2, 2) + pixels(ROWS) + chunk(b"IEND")
    for kind in (b"IHDR", b"IDAT", b"IEND"):
        bad = bytearray(good)
        bad[
            good.index(kind)
            - 4
            + 8
            + int.from_bytes(good[good.index(kind) - 4 : good.index(kind)], "big")
        ] ^= 1
        with pytest.raises(ValueError, match=f"^the checksum of b'{kind.decode()}' is wrong$"):
            png.decode(bytes(bad), "a.png", 18)


@pytest.mark.parametrize(
    "first",
    [
        b"",
        chunk(b"tEXt", b"Key\0text"),
        chunk(b"IHDR", struct.pack(">LLBBBB", 2, 2, 8, 2, 0, 0)),
        chunk(b"IHDR", struct.pack(">LLBBBBBB", 2, 2, 8, 2, 0, 0, 0, 0)),
    ],
)
def test_a_file_begins_with_its_header(first) -> None:
    with pytest.raises(ValueError, match=r"^it has no header$"):
        png.decode(
            SIGNATURE + first + (pixels(ROWS) + chunk(b"IEND") if first else b""), "a.png", 18
        )


@pytest.mark.parametrize(
    "values", [(0, 2), (2, 0), (2, 2, 3), (2, 2, 32), (2, 2, 8, 1), (2, 2, 8, 5), (2, 2, 8, 7)]
)
def test_a_header_that_makes_no_sense(values) -> None:
    data = SIGNATURE + header(*values) + pixels(ROWS) + chunk(b"IEND")
    with pytest.raises(ValueError, match=r"^its header makes no sense$"):
        png.decode(data, "a.png", 18)


def test_an_animation_is_said(caplog) -> None:
    read(chunk(b"acTL", bytes(8)))
    assert [one.getMessage() for one in caplog.records] == [
        "a.png is animated; only the first frame is read."
    ]


@pytest.mark.parametrize(
    ("depth", "color", "row"),
    [(8, 2, 30), (8, 6, 40), (8, 0, 10), (8, 4, 20), (1, 0, 2), (4, 3, 5)],
)
def test_missing_rows_repeat_the_last_one_in_every_kind(depth, color, row, caplog) -> None:
    """Ten rows of ten pixels without compression, cut inside the seventh."""
    rows = [bytes((7 * at + 3 * place) % 16 for place in range(row)) for at in range(10)]
    palette = chunk(b"PLTE", bytes(range(48))) if color == 3 else b""
    packed = zlib.compress(b"".join(b"\0" + one for one in rows), 0)
    body = packed[: 2 + 5 + 6 * (row + 1) + row // 2]
    cut = SIGNATURE + header(10, 10, depth, color) + palette
    cut += struct.pack(">L", len(packed)) + b"IDAT" + body
    whole = SIGNATURE + header(10, 10, depth, color) + palette + pixels(rows) + chunk(b"IEND")
    expected = png.decode(whole, "a.png", 18).samples
    assert caplog.text == ""
    found = png.decode(cut, "a.png", 18).samples
    message = "a.png lacks its end; 4 rows at the bottom repeat the last."
    assert [one.getMessage() for one in caplog.records] == [message]
    assert np.array_equal(found[:6], expected[:6])
    assert np.array_equal(found[6:], expected[5:6].repeat(4, 0))
    assert np.array_equal(png.decode(cut, "a.png", 4).samples, found)
    for grace in (3, 0):
        with pytest.raises(OSError, match=r"^4 of 10 rows are missing$"):
            png.decode(cut, "a.png", grace)


def test_of_half_a_picture_the_other_half_is_not_made_up() -> None:
    rows = [bytes(30)] * 10
    packed = zlib.compress(b"".join(b"\0" + one for one in rows), 0)
    for kept, fine in ((5, True), (4, False)):
        body = packed[: 7 + kept * 31]
        data = SIGNATURE + header(10, 10) + struct.pack(">L", len(packed)) + b"IDAT" + body
        if fine:
            assert png.decode(data, "a.png", 100).samples.shape == (10, 10, 3)
        else:
            with pytest.raises(OSError, match=r"^6 of 10 rows are missing$"):
                png.decode(data, "a.png", 100)


def test_an_interlaced_picture_has_to_be_there_as_a_whole(caplog) -> None:
    """Its seven passes (PNG specification, section 8.2) each hold rows of the whole picture."""
    values = np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8)
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
    passes.append((1, 0, 2, 1))
    rows = [row.tobytes() for y, x, down, across in passes for row in values[y::down, x::across]]
    packed = zlib.compress(b"".join(b"\0" + row for row in rows), 0)
    head = SIGNATURE + header(16, 16, 8, 0, 1) + struct.pack(">L", len(packed)) + b"IDAT"
    whole = head + packed + struct.pack(">L", zlib.crc32(b"IDAT" + packed)) + chunk(b"IEND")
    assert png.decode(whole, "a.png", 18).samples[..., 0].tolist() == values.tolist()
    assert caplog.text == ""
    assert png.decode(whole[:-12], "a.png", 18).samples[..., 0].tolist() == values.tolist()
    assert [one.getMessage() for one in caplog.records] == [
        "a.png lacks its end; its pixels are all there."
    ]
    with pytest.raises(OSError, match="truncated"):
        png.decode(whole[:-80], "a.png", 18)


@pytest.mark.parametrize(("color", "channels"), [(0, 1), (4, 2), (2, 3), (6, 4)])
def test_sixteen_bits_of_every_kind(color, channels) -> None:
    values = np.random.default_rng(color).integers(0, 65536, (3, 5, channels), dtype=np.uint16)
    rows = [row.astype(">u2").tobytes() for row in values]
    data = SIGNATURE + header(5, 3, 16, color) + pixels(rows) + chunk(b"IEND")
    found = png.decode(data, "a.png", 18)
    assert found.bits == 16 and np.array_equal(found.samples, values)
    if color in (0, 2):
        clear = values[1, 2]
        transparent = chunk(b"tRNS", clear.astype(">u2").tobytes() + b"more")
        data = SIGNATURE + header(5, 3, 16, color) + transparent + pixels(rows) + chunk(b"IEND")
        found = png.decode(data, "a.png", 18).samples
        opaque = (values != clear).any(-1) * np.uint16(65535)
        assert np.array_equal(found, np.dstack([values, opaque]))


def test_sixteen_bits_that_do_not_decode() -> None:
    data = SIGNATURE + header(5, 3, 16, 2) + chunk(b"IDAT", b"no zlib") + chunk(b"IEND")
    with pytest.raises(OSError, match=r"^its pixels cannot be decoded$"):
        png.decode(data, "a.png", 18)


# --- writing -------------------------------------------------------------------------------------


def chunks_of(data: bytes) -> list[tuple[bytes, bytes]]:
    assert data.startswith(SIGNATURE)
    found, at = [], len(SIGNATURE)
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert chunk(kind, body) == data[at : at + 12 + length]
        found.append((kind, body))
        at += 12 + length
    return found


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_samples_come_back_and_others_know_them(channels, dtype) -> None:
    top = np.iinfo(dtype).max
    random = np.random.default_rng(channels)
    samples = random.integers(0, top, (5, 7, channels), dtype=dtype, endpoint=True)
    data = png.encode(samples, None, Metadata())
    found = chunks_of(data)
    assert [kind for kind, _ in found if kind != b"IDAT"] == [b"IHDR", b"IEND"]
    color, depth = {1: 0, 2: 4, 3: 2, 4: 6}[channels], 16 if dtype == np.uint16 else 8
    assert found[0][1] == struct.pack(">LLBBBBB", 7, 5, depth, color, 0, 0, 0)
    assert found[-1] == (b"IEND", b"")
    assert np.array_equal(png.decode(data, "a.png", 0).samples, samples)


def test_metadata_lies_in_its_chunks() -> None:
    metadata = Metadata(
        icc=b"profile",
        xmp=b"<packet/>",
        dpi=(300.0, 72.0),
        comment=b"scan",
        text=(("Title", "Gr\u00fc\u00dfe"), ("Author", "\u5c71"), ("", "x"), ("k" * 90, "y")),
    )
    found = chunks_of(png.encode(np.zeros((2, 2, 3), np.uint8), exif(), metadata))
    assert [kind for kind, _ in found[:4]] == [b"IHDR", b"iCCP", b"pHYs", b"eXIf"]
    name, _, packed = found[1][1].partition(b"\0")
    assert (name, packed[:1], zlib.decompress(packed[1:])) == (b"ICC profile", b"\0", b"profile")
    assert found[2][1] == struct.pack(">LLB", 11811, 2835, 1)
    assert found[3][1] == exif()[6:]
    assert found[4:-2] == [
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<packet/>"),
        (b"tEXt", "Title\0Gr\u00fc\u00dfe".encode("latin-1")),
        (b"iTXt", b"Author\0\0\0\0\0" + "\u5c71".encode()),
        (b"tEXt", b"Comment\0x"),
        (b"tEXt", b"k" * 79 + b"\0y"),
        (b"tEXt", b"Comment\0scan"),
    ]
    again = png.decode(png.encode(np.zeros((2, 2, 3), np.uint8), exif(), metadata), "a.png", 0)
    assert (again.metadata.icc, again.metadata.xmp) == (b"profile", b"<packet/>")
    assert again.metadata.exif == KEPT


def test_a_comment_does_not_displace_the_text_of_that_name() -> None:
    metadata = Metadata(comment=b"of a JPEG", text=(("Comment", "of a PNG"),))
    found = chunks_of(png.encode(np.zeros((2, 2, 3), np.uint16), None, metadata))
    assert [body for kind, body in found if kind == b"tEXt"] == [b"Comment\0of a PNG"]
    strange = Metadata(comment=b"\xff", xmp=b"\xff", text=(("\u5c71", "x"),))
    found = chunks_of(png.encode(np.zeros((2, 2, 1), np.uint8), None, strange))
    assert found[1:4] == [
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + "\ufffd".encode()),
        (b"tEXt", b"?\0x"),
        (b"iTXt", b"Comment\0\0\0\0\0" + "\ufffd".encode()),
    ]
