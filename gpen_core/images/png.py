"""PNG: its chunks, its 16-bit samples, its texts, and files that lack only their end.

Pillow reduces 16-bit color to 8 bits, so those samples go through OpenCV. Both are shown the
critical chunks only: whatever is wrong with a text or a profile, the pixels stay readable, and
no gamma is applied behind our back.
"""

from __future__ import annotations

import io
import logging
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..text import counted
from . import metadata as meta
from .decoded import Decoded
from .formats import check_pixels
from .picture import Metadata
from .pixels import eight_bit_samples

log = logging.getLogger(__name__)

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GRAY, _RGB, _PALETTE, _GRAY_ALPHA, _RGBA = 0, 2, 3, 4, 6
_CHANNELS = {_GRAY: 1, _RGB: 3, _PALETTE: 1, _GRAY_ALPHA: 2, _RGBA: 4}
_CRITICAL = frozenset([b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"])
_XMP_KEYWORD = "XML:com.adobe.xmp"
_EXIF_KEYWORDS = ("Raw profile type exif", "Raw profile type APP1")
_METERS_PER_INCH = 0.0254
# Compressed texts and profiles may not grow beyond this, all together.
_MAX_INFLATED = 1 << 26
_FILTER_UP = 2


@dataclass(frozen=True)
class _Header:
    width: int
    height: int
    depth: int
    color: int
    interlaced: bool

    @property
    def row_bytes(self) -> int:
        """Bytes of a row with its filter byte."""
        return 1 + (self.width * _CHANNELS[self.color] * self.depth + 7) // 8


@dataclass(frozen=True)
class _Chunk:
    kind: bytes
    data: bytes
    whole: bool  # whether all of it, its checksum included, was there


def decode(data: bytes, name: str, rows_of_grace: int) -> Decoded:
    """A PNG file; one that lacks at most its last `rows_of_grace` rows is read with a warning.

    Raises:
        OSError, ValueError: the file is damaged.
    """
    chunks = _scan(data)
    head = _header(chunks)
    check_pixels(head.height, head.width, len(data))
    metadata, orientation = _metadata(chunks, name)
    if any(chunk.kind == b"acTL" for chunk in chunks):
        log.warning("%s is animated; only the first frame is read.", name)
    if not chunks[-1].whole or chunks[-1].kind != b"IEND":
        chunks = _mend(chunks, head, name, rows_of_grace)
    critical = [chunk for chunk in chunks if chunk.kind in _CRITICAL]
    data = _SIGNATURE + b"".join(_bytes(chunk.kind, chunk.data) for chunk in critical)
    transparent = next((chunk.data for chunk in critical if chunk.kind == b"tRNS"), None)
    if head.depth == 16:
        return Decoded(_sixteen_bit_samples(data, head, transparent), metadata, orientation)
    image = Image.open(io.BytesIO(data), formats=["PNG"])
    image.load()
    if head.color == _GRAY and transparent is not None and head.depth < 8:
        # Pillow spreads the samples to 8 bits but not the one that is transparent.
        (key,) = struct.unpack(">H", transparent[:2])
        image.info["transparency"] = key * 255 // ((1 << head.depth) - 1)
    return Decoded(eight_bit_samples(image), metadata, orientation)


def _scan(data: bytes) -> list[_Chunk]:
    """All chunks up to IEND or the end of the file; a damaged critical one ends in an error."""
    chunks: list[_Chunk] = []
    position = len(_SIGNATURE)
    while position + 8 <= len(data):
        length, kind = struct.unpack(">L4s", data[position : position + 8])
        body = data[position + 8 : position + 8 + length]
        checksum = data[position + 8 + length : position + 12 + length]
        whole = len(checksum) == 4
        if whole and struct.unpack(">L", checksum)[0] != zlib.crc32(kind + body):
            if kind in _CRITICAL or not chunks:
                raise ValueError(f"the checksum of {kind!r} is wrong")
        else:
            chunks.append(_Chunk(kind, body, whole))
        if kind == b"IEND":
            break
        position += 12 + length
    return chunks


def _header(chunks: list[_Chunk]) -> _Header:
    if not chunks or chunks[0].kind != b"IHDR" or len(chunks[0].data) != 13:
        raise ValueError("it has no header")
    width, height, depth, color, _, _, interlace = struct.unpack(">LLBBBBB", chunks[0].data)
    if color not in _CHANNELS or depth not in (1, 2, 4, 8, 16) or not width or not height:
        raise ValueError("its header makes no sense")
    return _Header(width, height, depth, color, bool(interlace))


def _mend(chunks: list[_Chunk], head: _Header, name: str, rows_of_grace: int) -> list[_Chunk]:
    """The chunks of a file without its end, its missing rows a repetition of the last one.

    Raises:
        OSError: more rows are missing than may be.
    """
    packed = b"".join(chunk.data for chunk in chunks if chunk.kind == b"IDAT")
    rows: bytes = b""
    if not head.interlaced:
        inflate = zlib.decompressobj()
        rows = inflate.decompress(packed, head.row_bytes * head.height)
    missing = head.height - len(rows) // head.row_bytes
    if head.interlaced:
        missing = 0  # Pillow tells whether its seven passes are all there.
    if missing > min(rows_of_grace, head.height // 2):
        raise OSError(f"{missing} of {head.height} rows are missing")
    log.warning(
        "%s lacks its end; %s", name, f"{counted(missing, 'row')} at the bottom repeat the last."
        if missing else "its pixels are all there."
    )  # fmt: skip
    kept = [chunk for chunk in chunks if chunk.whole and chunk.kind not in (b"IDAT", b"IEND")]
    if not head.interlaced:
        whole = rows[: (head.height - missing) * head.row_bytes]
        repeated = bytes([_FILTER_UP]) + bytes(head.row_bytes - 1)
        packed = zlib.compress(whole + repeated * missing, 1)
    return [*kept, _Chunk(b"IDAT", packed, True), _Chunk(b"IEND", b"", True)]


def _sixteen_bit_samples(data: bytes, head: _Header, transparent: bytes | None) -> np.ndarray:
    """(H, W, C) uint16 of a PNG file of critical chunks."""
    import cv2

    if transparent is not None:
        # OpenCV would make alpha of it for some kinds only, so it is taken out and done here.
        data = _SIGNATURE + b"".join(
            _bytes(chunk.kind, chunk.data) for chunk in _scan(data) if chunk.kind != b"tRNS"
        )
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16:
        raise OSError("its pixels cannot be decoded")
    samples = decoded[..., None] if decoded.ndim == 2 else decoded
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[samples.shape[2]]
    samples = samples[..., order]
    if head.color == _GRAY_ALPHA:
        samples = samples[..., [0, 3]]
    elif head.color == _GRAY:
        samples = samples[..., :1]
    if transparent is None or head.color not in (_GRAY, _RGB):
        return samples
    channels = _CHANNELS[head.color]
    key = np.frombuffer(transparent[: 2 * channels], ">u2")
    opaque = (samples != key).any(axis=2, keepdims=True)
    return np.concatenate([samples, opaque.astype(np.uint16) * 0xFFFF], axis=2)


# --- metadata ------------------------------------------------------------------------------------


def _metadata(chunks: list[_Chunk], name: str) -> tuple[Metadata, int]:
    exif = icc = xmp = dpi = None
    texts: list[tuple[str, str]] = []
    budget = _Budget(_MAX_INFLATED)
    for chunk in chunks:
        try:
            if chunk.kind == b"eXIf":
                exif = chunk.data
            elif chunk.kind == b"iCCP":
                icc = budget.inflate(chunk.data.partition(b"\0")[2][1:])
            elif chunk.kind == b"pHYs" and chunk.data[8:9] == b"\1":
                across, down = struct.unpack(">LL", chunk.data[:8])
                dpi = (across * _METERS_PER_INCH, down * _METERS_PER_INCH)
            elif chunk.kind in _TEXTS and chunk.whole:
                keyword, text = _TEXTS[chunk.kind](chunk.data, budget)
                if keyword == _XMP_KEYWORD:
                    xmp = text.encode()
                elif keyword in _EXIF_KEYWORDS:
                    exif = exif or _hexadecimal(text)
                elif not keyword.startswith("Raw profile type "):
                    texts.append((keyword, text))
            elif chunk.kind == b"gAMA" and not _usual_gamma(chunk.data):
                log.warning("%s: its unusual gamma is not applied.", name)
        except (ValueError, struct.error, zlib.error) as error:
            kind = chunk.kind.decode("latin-1")
            log.warning("%s: a damaged %s chunk is dropped (%s).", name, kind, error)
    xmp, turned = meta.upright_xmp(xmp)
    kept, orientation, exif_dpi = meta.travelling_exif(exif, name)
    metadata = Metadata(
        exif=kept,
        icc=icc,
        xmp=xmp,
        dpi=meta.plausible_dpi(dpi) or exif_dpi,
        text=tuple(texts),
    )
    return metadata, orientation if orientation != 1 else turned


def _usual_gamma(data: bytes) -> bool:
    """Whether a gAMA chunk says about what sRGB says, 1 / 2.2 in units of 1 / 100000."""
    return 40000 <= struct.unpack(">L", data[:4])[0] <= 50000


@dataclass
class _Budget:
    """What compressed chunks may still grow to."""

    left: int

    def inflate(self, data: bytes) -> bytes:
        """The decompressed bytes.

        Raises:
            ValueError: they exceed the budget.
        """
        inflated = zlib.decompressobj().decompress(data, self.left + 1)
        self.left -= len(inflated)
        if self.left < 0:
            raise ValueError("it grows too large")
        return inflated


def _plain_text(data: bytes, budget: _Budget) -> tuple[str, str]:
    keyword, _, text = data.partition(b"\0")
    return keyword.decode("latin-1"), text.decode("latin-1")


def _compressed_text(data: bytes, budget: _Budget) -> tuple[str, str]:
    keyword, _, text = data.partition(b"\0")
    return keyword.decode("latin-1"), budget.inflate(text[1:]).decode("latin-1")


def _international_text(data: bytes, budget: _Budget) -> tuple[str, str]:
    keyword, _, rest = data.partition(b"\0")
    _language, _, remainder = rest[2:].partition(b"\0")
    text = remainder.partition(b"\0")[2]
    if rest[:1] == b"\1":
        text = budget.inflate(text)
    return keyword.decode("latin-1"), text.decode("utf-8", "replace")


_TEXTS: dict[bytes, Callable[[bytes, _Budget], tuple[str, str]]] = {
    b"tEXt": _plain_text,
    b"zTXt": _compressed_text,
    b"iTXt": _international_text,
}


def _hexadecimal(text: str) -> bytes:
    """ImageMagick's way to keep a profile in a text: name, length, hexadecimal digits."""
    return bytes.fromhex("".join(text.split("\n")[3:]))


# --- writing -------------------------------------------------------------------------------------


def encode(samples: np.ndarray, exif: bytes | None, metadata: Metadata) -> bytes:
    """A PNG file of (H, W, 1..4) uint8 or uint16 samples with its metadata.

    >>> samples = np.arange(12, dtype=np.uint16).reshape(2, 2, 3)
    >>> bool((decode(encode(samples, None, Metadata()), "a.png", 0).samples == samples).all())
    True
    """
    bare = _bare16(samples) if samples.dtype == np.uint16 else _bare8(samples)
    header_end = len(_SIGNATURE) + 25
    chunks = []
    if metadata.icc:
        chunks.append(_bytes(b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc)))
    if metadata.dpi:
        across, down = (round(value / _METERS_PER_INCH) for value in metadata.dpi)
        chunks.append(_bytes(b"pHYs", struct.pack(">LLB", across, down, 1)))
    if exif:
        chunks.append(_bytes(b"eXIf", exif.removeprefix(b"Exif\0\0")))
    if metadata.xmp:
        chunks.append(_text(_XMP_KEYWORD, metadata.xmp.decode("utf-8", "replace"), True))
    texts = metadata.text
    if metadata.comment and "Comment" not in dict(texts):
        texts = (*texts, ("Comment", metadata.comment.decode("utf-8", "replace")))
    chunks += [_text(keyword, text) for keyword, text in texts]
    return bare[:header_end] + b"".join(chunks) + bare[header_end:]


def _bare8(samples: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _bare16(samples: np.ndarray) -> bytes:
    """The pixels as OpenCV writes them, which knows no gray + alpha: there the file is ours."""
    import cv2

    channels = samples.shape[2]
    if channels == 2:
        height, width = samples.shape[:2]
        rows = np.zeros((height, 1 + 4 * width), np.uint8)
        rows[:, 1:] = np.ascontiguousarray(samples, ">u2").reshape(height, -1).view(np.uint8)
        head = struct.pack(">LLBBBBB", width, height, 16, _GRAY_ALPHA, 0, 0, 0)
        return b"".join(
            [_SIGNATURE, _bytes(b"IHDR", head), _bytes(b"IDAT", zlib.compress(rows.tobytes(), 6)),
             _bytes(b"IEND", b"")]
        )  # fmt: skip
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[channels]
    _, encoded = cv2.imencode(".png", np.ascontiguousarray(samples[..., order]))
    return encoded.tobytes()


def _text(keyword: str, text: str, international: bool = False) -> bytes:
    """A text chunk; the plain kind where its Latin-1 suffices, which every reader knows."""
    name = keyword.encode("latin-1", "replace")[:79] or b"Comment"
    try:
        if not international:
            return _bytes(b"tEXt", name + b"\0" + text.encode("latin-1"))
    except UnicodeEncodeError:
        pass  # Beyond Latin-1 there is the international kind, which is next.
    return _bytes(b"iTXt", name + b"\0\0\0\0\0" + text.encode("utf-8", "replace"))


def _bytes(kind: bytes, data: bytes) -> bytes:
    """One PNG chunk: length, type, data, CRC (PNG specification, section 5.3)."""
    return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))
