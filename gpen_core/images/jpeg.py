"""JPEG: its segments, and files that lack only their end.

Pillow is shown the segments that the pixels need; what is wrong with the others stops nothing.
"""

from __future__ import annotations

import io
import logging
import struct
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from ..text import counted
from . import metadata as meta
from .color import to_rgb
from .decoded import Decoded
from .formats import check_pixels
from .picture import Metadata
from .pixels import eight_bit_samples

log = logging.getLogger(__name__)

_START, _END = b"\xff\xd8", b"\xff\xd9"
_APP0, _APP15, _COM, _SCAN = 0xE0, 0xEF, 0xFE, 0xDA
_APP1, _APP2, _ADOBE = 0xE1, 0xE2, 0xEE
_STANDALONE = frozenset([0x01, *range(0xD0, 0xD8)])
_EXIF, _XMP, _ICC = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0"
_SEVERAL, _RESTARTS = b"MPF\0", b"\xff\xdd\0\4"
_LONGEST = 65533  # bytes of a segment behind its length
# What is put behind a cut: libjpeg reads it as pixels only if pixels are still missing.
_PROBES = (b"\x55" * 4096, b"\xb6" * 4096)


@dataclass
class _Segments:
    """What lies before the first scan, taken apart."""

    needed: list[bytes] = field(default_factory=list)
    exif: list[bytes] = field(default_factory=list)
    icc: dict[int, bytes] = field(default_factory=dict)
    icc_parts: int = 0
    xmp: bytes | None = None
    comment: bytes | None = None
    density: tuple[int, int, int] | None = None  # unit, across, down
    several: bool = False


def decode(data: bytes, name: str, rows_of_grace: int) -> Decoded:
    """A JPEG file; one that lacks at most its last `rows_of_grace` rows is read with a warning.

    Raises:
        OSError, ValueError: the file is damaged.
    """
    segments, scans = _split(data)
    metadata, orientation = _metadata(segments, name)
    if segments.several:
        log.warning("%s holds further pictures; only the first is read.", name)
    bare = _START + b"".join(segments.needed) + scans
    try:
        image = _load(bare)
    except OSError as error:
        image = _mend(bare, name, rows_of_grace, error)
    if image.mode == "CMYK":
        image = to_rgb(image, metadata.icc, name)
        metadata = Metadata(**{**vars(metadata), "icc": None})
    return Decoded(eight_bit_samples(image), metadata, orientation)


def _load(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=["JPEG"])
    check_pixels(image.height, image.width, len(data))
    image.load()
    return image


def _mend(data: bytes, name: str, rows_of_grace: int, error: OSError) -> Image.Image:
    """The picture of a file that lacks its end.

    With an end mark put behind it libjpeg opens any rest of a file and leaves the missing pixels
    gray. How many are missing is seen by what else is put there: where pixels are missing, they
    come out otherwise.

    Raises:
        OSError: the file has no pixels, or more rows are missing than may be.
    """
    if _END in data[-64:]:
        raise error
    data = data[:-1] if data.endswith(b"\xff") else data
    image = _load(data + _END)
    plain = np.asarray(image)
    changed = np.zeros(plain.shape[0], bool)
    for probe in {begin + probe for begin in (b"", _next_restart(data)) for probe in _PROBES}:
        other = np.asarray(_load(data + probe + _END))
        changed |= (other != plain).reshape(plain.shape[0], -1).any(axis=1)
    missing = plain.shape[0] - int(changed.argmax()) if changed.any() else 0
    if missing > min(rows_of_grace, plain.shape[0] // 2):
        raise error
    log.warning(
        "%s lacks its end; %s", name, f"{counted(missing, 'row')} at the bottom may be wrong."
        if missing else "its pixels are all there."
    )  # fmt: skip
    return image


def _next_restart(data: bytes) -> bytes:
    """The restart marker that follows, where the pixels are divided by such; a file may end just
    before it, and no other bytes are read as pixels there."""
    if _RESTARTS not in data:
        return b""
    places = {data.rfind(bytes([0xFF, 0xD0 + number])): number for number in range(8)}
    last = max(places)
    return bytes([0xFF, 0xD0 + (0 if last < 0 else (places[last] + 1) % 8)])


def _split(data: bytes) -> tuple[_Segments, bytes]:
    """The segments before the first scan, and everything from that scan on.

    Raises:
        ValueError: there is no scan.
    """
    found, position = _Segments(), len(_START)
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            position += 1  # stray bytes between segments, which every decoder skips
            continue
        marker = data[position + 1]
        if marker == 0xFF or marker == 0:
            position += 1
            continue
        if marker in _STANDALONE:
            position += 2
            continue
        if marker == _SCAN:
            return found, data[position:]
        (length,) = struct.unpack(">H", data[position + 2 : position + 4])
        segment = data[position : position + 2 + length]
        _sort(found, marker, segment)
        position += 2 + max(length, 2)
    raise ValueError("it ends before its pixels")


def _sort(found: _Segments, marker: int, segment: bytes) -> None:
    """Put one segment where it belongs."""
    body = segment[4:]
    if marker == _COM:
        found.comment = body.rstrip(b"\0") or None
    elif marker == _APP1 and body.startswith(_EXIF):
        found.exif.append(body[len(_EXIF) :])
    elif marker == _APP1 and body.startswith(_XMP):
        found.xmp = body[len(_XMP) :]
    elif marker == _APP2 and body.startswith(_ICC) and len(body) > 14:
        found.icc[body[12]] = body[14:]
        found.icc_parts = body[13]
    elif marker == _APP2 and body.startswith(_SEVERAL):
        found.several = True
    elif marker == _APP0:
        found.needed.append(segment)
        if body.startswith(b"JFIF\0") and len(body) >= 12:
            found.density = struct.unpack(">BHH", body[7:12])
    elif marker == _ADOBE or not _APP0 <= marker <= _APP15:
        found.needed.append(segment)


def _metadata(segments: _Segments, name: str) -> tuple[Metadata, int]:
    icc = None
    if segments.icc:
        if sorted(segments.icc) == list(range(1, segments.icc_parts + 1)):
            icc = b"".join(segments.icc[part] for part in sorted(segments.icc))
        else:
            log.warning("%s: parts of the color profile are missing; it is dropped.", name)
    exif, orientation, exif_dpi = meta.travelling_exif(b"".join(segments.exif), name)
    xmp, turned = meta.upright_xmp(segments.xmp)
    dpi = None
    if segments.density is not None:
        unit, across, down = segments.density
        factor = {1: 1.0, 2: meta.CM_PER_INCH}.get(unit)
        if factor is not None:
            dpi = meta.plausible_dpi((across * factor, down * factor))
    metadata = Metadata(exif=exif, icc=icc, xmp=xmp, dpi=dpi or exif_dpi, comment=segments.comment)
    return metadata, orientation if orientation != 1 else turned


def fits(data: bytes | None, overhead: int = 0) -> bool:
    """Whether something fits into one segment; nothing always does."""
    return data is None or len(data) + overhead <= _LONGEST


def xmp_segment(xmp: bytes) -> bytes:
    """The APP1 segment of an XMP packet."""
    return b"\xff\xe1" + struct.pack(">H", 2 + len(_XMP) + len(xmp)) + _XMP + xmp


XMP_OVERHEAD = len(_XMP)
