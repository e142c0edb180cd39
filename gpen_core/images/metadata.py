"""What files say about their pixels: EXIF made fit to travel, resolution, XMP.

A restored picture is upright and its thumbnail would show the picture before, so orientation and
thumbnail never travel; nor does any tag that describes how the file before was laid out.
"""

from __future__ import annotations

import logging
import math
import re
from fractions import Fraction

from .ifd import (
    ASCII,
    LONG,
    RATIONAL,
    SHORT,
    DamagedDirectory,
    Directory,
    Entry,
    header,
    read_child,
    read_directory,
    read_header,
    write_directory,
)
from .picture import Metadata

log = logging.getLogger(__name__)

ORIENTATION = 274
EXIF_IFD, GPS_IFD, INTEROP_IFD = 34665, 34853, 40965
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 282, 283, 296
_DESCRIPTION, _MAKE, _MODEL = 270, 271, 272
_PIXEL_WIDTH, _PIXEL_HEIGHT = 40962, 40963
_INCH, _CENTIMETER = 2, 3
_PREFIX = b"Exif\0\0"
CM_PER_INCH = 2.54

# Tags of the first directory that say something about the picture and not about the file: document
# and page name, description, camera, software, time, artist, host, rating, copyright, IPTC, and
# the tags of EXIF with the titles of Windows, which some programs put a level too high. Pointers
# and the layers that Photoshop hides in 37724 are not among them.
_TRAVELS = frozenset(
    [
        *(269, 270, 271, 272, 285, 305, 306, 315, 316, 18246, 18249, 33432, 33434, 33437, 33723),
        *(34850, 34852, *range(34855, 34868)),
        *range(36864, 42241),
    ]
) - {EXIF_IFD, GPS_IFD, INTEROP_IFD, 37724}
_XMP_ORIENTATION = re.compile(rb"""(tiff:Orientation\s*(?:=\s*["']|>)\s*)([1-8])""")


def read_exif(block: bytes) -> Directory:
    """The directory of an EXIF block, with those of EXIF, GPS and interoperability below it.

    Raises:
        DamagedDirectory: the block or one of its directories cannot be read.
    """
    data = block.removeprefix(_PREFIX)
    order, big, first = read_header(data)
    return with_children(data, read_directory(data, first, order, big), big)


def with_children(data: bytes, directory: Directory, big: bool) -> Directory:
    """The directory after its pointers to EXIF and GPS were followed.

    Raises:
        DamagedDirectory: one of them leads nowhere.
    """
    child = read_child(data, directory, EXIF_IFD, big)
    read_child(data, directory, GPS_IFD, big)
    if child is not None:
        read_child(data, child, INTEROP_IFD, big)
    return directory


def travelling(directory: Directory) -> Directory:
    """What of a file's first directory goes into the next file."""
    kept = {tag: entry for tag, entry in directory.entries.items() if tag in _TRAVELS}
    return Directory(directory.order, kept, dict(directory.children))


def exif_bytes(directory: Directory) -> bytes | None:
    """The directory as an EXIF block; None if it is empty."""
    if not directory.entries and not directory.children:
        return None
    return _PREFIX + header(directory.order, 8) + write_directory(directory, 8)


def orientation_of(directory: Directory) -> int:
    """The orientation 1..8 that a directory names; 1 where it names none."""
    value = directory.number(ORIENTATION, 1)
    return value if 1 <= value <= 8 else 1


def travelling_exif(
    block: bytes | None, name: str
) -> tuple[bytes | None, int, tuple[float, float] | None]:
    """The EXIF block to keep, the orientation and the resolution of a file's EXIF block.

    A damaged block is dropped with a warning that names the file.
    """
    if not block or not block.removeprefix(_PREFIX):
        return None, 1, None
    try:
        directory = read_exif(block)
        kept = exif_bytes(travelling(directory))
    except DamagedDirectory as error:
        log.warning("%s: the EXIF data is damaged (%s) and dropped.", name, error)
        return None, 1, None
    if directory.lost or any(child.lost for child in directory.children.values()):
        log.warning("%s: some of the EXIF data is damaged and dropped.", name)
    return kept, orientation_of(directory), resolution_of(directory)


def resolution_of(directory: Directory) -> tuple[float, float] | None:
    """Pixels per inch, (across, down), that a directory names; None where it names none.

    >>> directory = Directory()
    >>> put_resolution(directory, (300.0, 300.0))
    >>> resolution_of(directory)
    (300.0, 300.0)
    """
    unit = directory.number(RESOLUTION_UNIT, _INCH)
    pair = [directory.values(tag) for tag in (X_RESOLUTION, Y_RESOLUTION)]
    factor = {_INCH: 1.0, _CENTIMETER: CM_PER_INCH}.get(unit)
    if factor is None or not all(pair):
        return None
    across, down = (float(value[0]) * factor for value in pair)
    return plausible_dpi((across, down))


def plausible_dpi(dpi: tuple[float, float] | None) -> tuple[float, float] | None:
    """The resolution, if every format can hold it; None for zero, infinite and absurd ones."""
    if dpi is None or not all(math.isfinite(value) and 0.1 <= value <= 1e6 for value in dpi):
        return None
    return dpi


def put_resolution(directory: Directory, dpi: tuple[float, float] | None) -> None:
    """Set the resolution of a directory."""
    if dpi is None:
        return
    for tag, value in zip((X_RESOLUTION, Y_RESOLUTION), dpi, strict=True):
        ratio = Fraction(value).limit_denominator(1000)
        directory.put(tag, RATIONAL, (ratio.numerator, ratio.denominator))
    directory.put(RESOLUTION_UNIT, SHORT, (_INCH,))


def directory_to_write(metadata: Metadata, size: tuple[int, int], name: str) -> Directory:
    """The first directory of a new file of `size` (height, width), with those of EXIF and GPS.

    The pixel dimensions in EXIF follow the new size.
    """
    directory = Directory()
    if metadata.exif:
        try:
            directory = travelling(read_exif(metadata.exif))
        except DamagedDirectory as error:
            log.warning("%s: the EXIF data is damaged (%s) and dropped.", name, error)
    child = directory.children.get(EXIF_IFD)
    if child is not None:
        for tag, value in zip((_PIXEL_HEIGHT, _PIXEL_WIDTH), size, strict=True):
            if tag in child.entries:
                child.put(tag, LONG, (value,))
    return directory


def put_texts(directory: Directory, metadata: Metadata, has_comment: bool) -> list[str]:
    """Give comment and PNG texts a place in EXIF; the keywords that found none are returned.

    `has_comment` says that the format has a place for the comment itself.

    The workflow and the prompt of ComfyUI go where ComfyUI itself puts them in WebP files: after
    their names in the tags of make and model. A comment becomes the description.
    """
    homeless = []
    comment = metadata.comment
    for keyword, text in metadata.text:
        tag = {"workflow": _MAKE, "prompt": _MODEL}.get(keyword)
        if tag is not None and tag not in directory.entries:
            _put_ascii(directory, tag, f"{keyword}:{text}".encode())
        elif keyword in ("Comment", "Description") and comment is None and not has_comment:
            comment = text.encode()
        else:
            homeless.append(keyword)
    if comment is not None and not has_comment:
        if _DESCRIPTION in directory.entries:
            homeless.append("comment")
        else:
            _put_ascii(directory, _DESCRIPTION, comment)
    return homeless


def _put_ascii(directory: Directory, tag: int, text: bytes) -> None:
    data = text.rstrip(b"\0") + b"\0"
    directory.entries[tag] = Entry(ASCII, len(data), data)


def upright_xmp(xmp: bytes | None) -> tuple[bytes | None, int]:
    """An XMP packet that calls the picture upright, and the orientation it named before (or 1).

    >>> upright_xmp(b'<rdf:Description tiff:Orientation="6"/>')
    (b'<rdf:Description tiff:Orientation="1"/>', 6)
    """
    if not xmp:
        return None, 1
    found = _XMP_ORIENTATION.search(xmp)
    if found is None:
        return xmp, 1
    return _XMP_ORIENTATION.sub(rb"\g<1>1", xmp), int(found.group(2))
