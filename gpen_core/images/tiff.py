"""TIFF of every kind that people have, read and written in its full depth.

Pillow reduces 16-bit color to 8 bits, shows other kinds inverted or not at all, and when it writes
it mixes the tags of the file before into the new one. A second library would cost more than it
brings: imagecodecs, which tifffile needs for most compressions, is 45 MB; OpenCV forgets
inversion, planes and metadata. So the directory is read here, and Pillow's libtiff only undoes the
compression: it is shown each plane as a gray picture whose pixels are the bytes of the samples.
"""

from __future__ import annotations

import io
import logging
import zlib
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, TiffImagePlugin

from ..text import counted
from . import metadata as meta
from .color import to_rgb
from .decoded import Decoded, Unsupported
from .formats import check_pixels
from .ifd import (
    BYTE,
    LONG,
    SHORT,
    UNDEFINED,
    DamagedDirectory,
    Directory,
    count_chain,
    header,
    read_directory,
    read_header,
    write_directory,
)
from .picture import Metadata
from .pixels import eight_bit_samples

log = logging.getLogger(__name__)

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_FILL_ORDER, _STRIP_OFFSETS, _SAMPLES, _ROWS, _STRIP_COUNTS, _PLANAR = 266, 273, 277, 278, 279, 284
_PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS = 317, 322, 323, 324, 325
_EXTRA, _SAMPLE_FORMAT, _XMP, _ICC = 338, 339, 700, 34675
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _CMYK = 0, 1, 2, 5
_NONE, _DEFLATE = 1, 8
# None, LZW, deflate under both numbers, PackBits, LZMA, Zstandard: they compress bytes, whatever
# those mean. The other compressions know their pixels (JPEG, fax) and are left to Pillow.
_OF_BYTES = frozenset([_NONE, 5, _DEFLATE, 32946, 32773, 34925, 50000])
_UNSIGNED, _SIGNED, _FLOAT, _VOID = 1, 2, 3, 4
_ASSOCIATED, _UNASSOCIATED = 1, 2
_HORIZONTAL, _FLOATING = 2, 3
_MAX_SAMPLES = 32
# What Pillow has to see of a file whose pixels are left to it.
_LAYOUT = frozenset(
    [
        *range(254, 260),
        *range(262, 267),
        *(273, 277, 278, 279, 284, 290, 291, 292, 293, 317, 318, 319, 320, 322, 323, 324, 325),
        *(332, 333, 334, 336, 338, 339, 347),
        *range(512, 522),
        *range(529, 533),
    ]
)
# Tags of those with exactly one value.
_SINGLE = (256, 257, 259, 262, 266, 277, 278, 284, 317, 322, 323)
_STRIP_BYTES = 1 << 18


@dataclass(frozen=True)
class _Layout:
    """How the samples of one page lie in the file."""

    height: int
    width: int
    samples: int
    bits: int
    format: int
    photometric: int
    compression: int
    planar: bool
    predictor: int
    tile: int  # width of a tile; 0 where the picture lies in strips

    @property
    def chunk(self) -> int:
        """Samples of a pixel that lie together."""
        return 1 if self.planar else self.samples

    @property
    def padded(self) -> int:
        """Width up to the end of the last tile."""
        return -(-self.width // self.tile) * self.tile if self.tile else self.width


def decode(data: bytes, name: str) -> Decoded:
    """The first page of a TIFF file.

    Raises:
        Unsupported: samples whose black and white are not defined, or an unknown kind.
        DamagedDirectory, OSError, ValueError: the file is damaged.
    """
    order, big, first = read_header(data)
    directory = read_directory(data, first, order, big)
    pages = count_chain(data, directory, big)
    if pages > 1:
        log.warning("%s has %d pages; only the first is read.", name, pages)
    metadata, orientation = _metadata(data, directory, big, name)
    layout = _layout(directory, len(data))
    if layout is None:
        return _by_pillow(data, directory, metadata, orientation, name)
    samples = _interpret(_samples(data, directory, layout), directory, layout, name)
    if layout.photometric == _CMYK:
        samples = _from_cmyk(samples, metadata.icc, name)
        metadata = replace(metadata, icc=None)
    return Decoded(samples, metadata, orientation)


def _metadata(data: bytes, directory: Directory, big: bool, name: str) -> tuple[Metadata, int]:
    try:
        meta.with_children(data, directory, big)
    except DamagedDirectory as error:
        log.warning("%s: the EXIF data is damaged (%s) and dropped.", name, error)
    icc, xmp = (directory.entries.get(tag) for tag in (_ICC, _XMP))
    packet, _ = meta.upright_xmp(None if xmp is None else xmp.data)
    metadata = Metadata(
        exif=meta.exif_bytes(meta.travelling(directory)),
        icc=None if icc is None else icc.data,
        xmp=packet,
        dpi=meta.resolution_of(directory),
    )
    return metadata, meta.orientation_of(directory)


def _layout(directory: Directory, file_bytes: int) -> _Layout | None:
    """How the samples lie, or None where the pixels are left to Pillow.

    Raises:
        DamagedDirectory: there is no picture.
        DecompressionBombError, Unsupported: it is larger than is read.
    """
    height, width = directory.number(_HEIGHT), directory.number(_WIDTH)
    bits = set(directory.numbers(_BITS)) or {1}
    formats = set(directory.numbers(_SAMPLE_FORMAT)) or {_UNSIGNED}
    samples = directory.number(_SAMPLES, 1)
    if height < 1 or width < 1 or samples < 1:
        raise DamagedDirectory("it has no pixels")
    check_pixels(height, width, file_bytes)
    if samples > _MAX_SAMPLES:
        raise Unsupported(f"has {samples} channels, more than {_MAX_SAMPLES}")
    layout = _Layout(
        height=height,
        width=width,
        samples=samples,
        bits=max(bits),
        format=max(formats),
        photometric=directory.number(_PHOTOMETRIC, _BLACK_IS_ZERO),
        compression=directory.number(_COMPRESSION, _NONE),
        planar=directory.number(_PLANAR, 1) == 2 and samples > 1,
        predictor=directory.number(_PREDICTOR, 1),
        tile=directory.number(_TILE_WIDTH) if _TILE_OFFSETS in directory.entries else 0,
    )
    plain = len(bits) == len(formats) == 1 and layout.bits in (8, 16, 32, 64)
    known = layout.photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _CMYK)
    if plain and known and layout.compression in _OF_BYTES and layout.tile % 16 == 0:
        return layout
    return None


# --- samples whose bytes are read here -----------------------------------------------------------


def _samples(data: bytes, directory: Directory, layout: _Layout) -> np.ndarray:
    """(H, W, samples) in the file's own type, native byte order."""
    if layout.planar:
        planes = [_plane(data, directory, layout, index) for index in range(layout.samples)]
        return np.concatenate(planes, axis=2)
    return _plane(data, directory, layout, 0)


def _plane(data: bytes, directory: Directory, layout: _Layout, index: int) -> np.ndarray:
    """(H, W, C) of the plane `index`, or of all samples where they lie together."""
    rows = _raw_rows(data, directory, layout, index)
    if layout.predictor == _FLOATING:
        return _undo_floating(rows, layout)
    kind = np.dtype(f"{directory.order}{_letter(layout)}{layout.bits // 8}")
    samples = rows.view(kind).reshape(layout.height, layout.padded, layout.chunk)
    samples = samples.astype(kind.newbyteorder("="))
    if layout.predictor == _HORIZONTAL:
        # Differences wrap around, whatever the type; each tile begins anew.
        whole = samples.view(f"u{layout.bits // 8}")
        step = layout.tile or layout.padded
        for left in range(0, layout.padded, step):
            part = whole[:, left : left + step]
            np.cumsum(part, axis=1, dtype=whole.dtype, out=part)
    return samples[:, : layout.width]


def _letter(layout: _Layout) -> str:
    letter = {_UNSIGNED: "u", _VOID: "u", _SIGNED: "i", _FLOAT: "f"}.get(layout.format)
    if letter is None or (letter == "f" and layout.bits == 8):
        raise Unsupported("holds complex or unknown samples; save it with 8 or 16 bits a sample")
    return letter


def _raw_rows(data: bytes, directory: Directory, layout: _Layout, index: int) -> np.ndarray:
    """(H, bytes of a row) of one plane, decompressed."""
    scale = layout.chunk * layout.bits // 8
    offsets_tag, counts_tag = (
        (_TILE_OFFSETS, _TILE_COUNTS) if layout.tile else (_STRIP_OFFSETS, _STRIP_COUNTS)
    )
    offsets, counts = directory.numbers(offsets_tag), directory.numbers(counts_tag)
    if not counts and len(offsets) == 1:
        counts = (len(data) - offsets[0],)
    if not offsets or len(offsets) != len(counts):
        raise DamagedDirectory("it does not say where its pixels lie")
    each = len(offsets) // (layout.samples if layout.planar else 1)
    part = slice(index * each, (index + 1) * each)
    if any(start + size > len(data) for start, size in zip(offsets, counts, strict=True)):
        raise DamagedDirectory("its pixels are cut off")
    plane = Directory("<")
    plane.put(_WIDTH, LONG, (layout.padded * scale,))
    plane.put(_HEIGHT, LONG, (layout.height,))
    plane.put(_BITS, SHORT, (8,))
    plane.put(_COMPRESSION, SHORT, (layout.compression,))
    plane.put(_PHOTOMETRIC, SHORT, (_BLACK_IS_ZERO,))
    plane.put(_SAMPLES, SHORT, (1,))
    plane.put(offsets_tag, LONG, offsets[part])
    plane.put(counts_tag, LONG, counts[part])
    if layout.tile:
        plane.put(_TILE_WIDTH, LONG, (layout.tile * scale,))
        plane.put(_TILE_HEIGHT, LONG, (directory.number(_TILE_HEIGHT),))
    else:
        rows = min(directory.number(_ROWS, layout.height) or layout.height, layout.height)
        plane.put(_ROWS, LONG, (rows,))
    if directory.number(_FILL_ORDER, 1) == 2:
        plane.put(_FILL_ORDER, SHORT, (2,))
    return np.asarray(_opened(data, plane))


def _opened(data: bytes, directory: Directory) -> Image.Image:
    """Pillow's image of the bytes of a file under another directory."""
    start = len(data) + len(data) % 2
    body = data[8:].ljust(start - 8, b"\0")
    file = header(directory.order, start) + body + write_directory(directory, start)
    # Not Image.open: a wide plane of bytes would look like a decompression bomb to it; the size
    # of the picture itself was checked before.
    image = TiffImagePlugin.TiffImageFile(io.BytesIO(file))
    image.load()
    return image


def _undo_floating(rows: np.ndarray, layout: _Layout) -> np.ndarray:
    """The floating-point predictor (Adobe Photoshop TIFF Technical Note 3) undone.

    Rows hold the highest bytes of all samples first, then the next, as differences.
    """
    size, count = layout.bits // 8, layout.tile or layout.padded
    planes = []
    for left in range(0, layout.padded, count):
        span = slice(left * layout.chunk * size, (left + count) * layout.chunk * size)
        part = rows[:, span].reshape(layout.height, -1, layout.chunk)
        part = np.cumsum(part, axis=1, dtype=np.uint8).reshape(layout.height, size, -1)
        samples = np.ascontiguousarray(part.transpose(0, 2, 1)).view(f">f{size}")
        planes.append(samples.reshape(layout.height, count, layout.chunk))
    whole = np.concatenate(planes, axis=1).astype(f"=f{size}")
    return whole[:, : layout.width]


def _interpret(samples: np.ndarray, directory: Directory, layout: _Layout, name: str) -> np.ndarray:
    """(H, W, 1..4) uint8 or uint16, black 0, alpha not multiplied in; CMYK keeps its 4."""
    color = {_RGB: 3, _CMYK: 4}.get(layout.photometric, 1)
    if layout.samples < color:
        raise DamagedDirectory("it has fewer samples than its colors need")
    samples = _scaled(samples)
    peak = np.iinfo(samples.dtype).max
    kinds = directory.numbers(_EXTRA)
    extra = layout.samples - color
    # As everybody does, a fourth sample that nobody explains is taken for alpha.
    alphas = [i for i, kind in enumerate(kinds[:extra]) if kind in (_ASSOCIATED, _UNASSOCIATED)]
    alpha = alphas[0] if alphas else 0 if extra and not kinds else None
    if extra > (alpha is not None):
        unknown = extra - (alpha is not None)
        log.warning("%s: dropped %s.", name, counted(unknown, "extra channel"))
    pixels = samples[..., :color]
    if layout.photometric == _WHITE_IS_ZERO:
        pixels = peak - pixels
    if alpha is None or layout.photometric == _CMYK:
        return pixels
    opacity = samples[..., color + alpha, None]
    if kinds[alpha : alpha + 1] == (_ASSOCIATED,):
        scaled = pixels.astype(np.float64) * peak / np.maximum(opacity, 1)
        pixels = np.minimum(np.round(scaled), peak).astype(samples.dtype)
    return np.concatenate([pixels, opacity], axis=2)


def _scaled(samples: np.ndarray) -> np.ndarray:
    """Samples of any type as uint8 or uint16.

    Raises:
        Unsupported: signed or floating-point samples outside 0..1, or 32 bits used only in part:
            what black and white are is not written anywhere.
    """
    kind, size = samples.dtype.kind, samples.dtype.itemsize
    if kind == "u" and size <= 2:
        return samples
    if kind == "i":
        raise Unsupported("holds signed samples, whose black is not defined; save it unsigned")
    if kind == "f":
        return scale_floats(samples)
    top = int(samples.max())
    if top <= 0xFFFF:
        raise Unsupported(
            f"has {8 * size}-bit samples but none above {top}, so that white is not defined; "
            "save it with 8 or 16 bits"
        )
    return (samples >> np.array(8 * size - 16, samples.dtype)).astype(np.uint16)


def scale_floats(samples: np.ndarray) -> np.ndarray:
    """Floating-point samples 0..1 as uint16.

    Raises:
        Unsupported: values that are not finite or not from 0 to 1.
    """
    if not (samples.min() >= 0 and samples.max() <= 1):  # NaN anywhere makes both NaN
        raise Unsupported("holds floating-point samples that are not from 0 to 1; scale them")
    return np.round(samples.astype(np.float64) * 0xFFFF).astype(np.uint16)


def _from_cmyk(samples: np.ndarray, icc: bytes | None, name: str) -> np.ndarray:
    if samples.dtype == np.uint16:
        log.warning("%s: 16-bit CMYK is converted with 8 bits a sample.", name)
        samples = np.round(samples / 257.0).astype(np.uint8)
    image = Image.fromarray(np.ascontiguousarray(samples), "CMYK")
    return np.asarray(to_rgb(image, icc, name))


# --- pixels left to Pillow -----------------------------------------------------------------------


def _by_pillow(
    data: bytes, directory: Directory, metadata: Metadata, orientation: int, name: str
) -> Decoded:
    """Palettes, one and four bits, JPEG, fax, YCbCr, Lab: kinds that Pillow reads right."""
    bits = max(directory.numbers(_BITS) or (1,))
    if max(directory.numbers(_SAMPLE_FORMAT) or (_UNSIGNED,)) not in (_UNSIGNED, _VOID):
        raise Unsupported("holds samples of an unusual type; save it with 8 or 16 bits a sample")
    entries = {tag: entry for tag, entry in directory.entries.items() if tag in _LAYOUT}
    if any(entries[tag].count != 1 for tag in _SINGLE if tag in entries):
        raise DamagedDirectory("a tag has more values than one")
    image = _opened(data, Directory(directory.order, entries))
    if image.mode.startswith("I;16") and bits in (12, 16):
        samples = np.asarray(image).astype(np.uint32) * 0xFFFF // ((1 << bits) - 1)
        if directory.number(_PHOTOMETRIC) == _WHITE_IS_ZERO:
            samples = 0xFFFF - samples
        return Decoded(samples.astype(np.uint16)[..., None], metadata, orientation)
    if bits > 8:
        raise Unsupported(f"has a kind of {bits}-bit samples that is not read; save it plainly")
    if image.mode in ("CMYK", "LAB", "YCbCr"):
        image = to_rgb(image, metadata.icc, name)
        metadata = replace(metadata, icc=None)
    return Decoded(eight_bit_samples(image), metadata, orientation)


# --- writing -------------------------------------------------------------------------------------


def encode(samples: np.ndarray, directory: Directory, metadata: Metadata) -> bytes:
    """A TIFF file of (H, W, 1..4) uint8 or uint16, deflated, with `directory`'s EXIF.

    Raises:
        DamagedDirectory: it would be longer than 4 GiB, where TIFF ends.

    >>> samples = np.arange(24, dtype=np.uint16).reshape(2, 4, 3)
    >>> bool((decode(encode(samples, Directory(), Metadata()), "a.tif").samples == samples).all())
    True
    """
    height, width, channels = samples.shape
    order, bits = directory.order, 8 * samples.dtype.itemsize
    rows = max(1, min(height, _STRIP_BYTES // (width * channels * bits // 8)))
    differences = samples.copy()
    differences[:, 1:] -= samples[:, :-1]
    differences = differences.astype(f"{order}u{bits // 8}")
    strips = [
        zlib.compress(differences[top : top + rows].tobytes(), 6) for top in range(0, height, rows)
    ]
    counts = [len(strip) for strip in strips]
    offsets = [int(offset) for offset in 8 + np.cumsum([0, *counts[:-1]])]
    end = offsets[-1] + counts[-1]
    if end > 0xFFFFFFFF:
        raise DamagedDirectory("more than 4 GiB")
    written = Directory(order, dict(directory.entries), dict(directory.children))
    written.put(_WIDTH, LONG, (width,))
    written.put(_HEIGHT, LONG, (height,))
    written.put(_BITS, SHORT, (bits,) * channels)
    written.put(_COMPRESSION, SHORT, (_DEFLATE,))
    written.put(_PHOTOMETRIC, SHORT, (_BLACK_IS_ZERO if channels <= 2 else _RGB,))
    written.put(_STRIP_OFFSETS, LONG, offsets)
    written.put(_SAMPLES, SHORT, (channels,))
    written.put(_ROWS, LONG, (rows,))
    written.put(_STRIP_COUNTS, LONG, counts)
    written.put(_PLANAR, SHORT, (1,))
    written.put(_PREDICTOR, SHORT, (_HORIZONTAL,))
    if channels in (2, 4):
        written.put(_EXTRA, SHORT, (_UNASSOCIATED,))
    if metadata.xmp:
        written.put(_XMP, BYTE, metadata.xmp)
    if metadata.icc:
        written.put(_ICC, UNDEFINED, metadata.icc)
    pad = bytes(end % 2)
    start = end + len(pad)
    return b"".join([header(order, start), *strips, pad, write_directory(written, start)])
