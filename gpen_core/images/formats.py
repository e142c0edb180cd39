"""The picture formats that are promised: how each is known, and what it can hold.

A file is read as what its first bytes are, whatever its name says, and nothing outside this table
is ever opened: Pillow would start Ghostscript for PostScript.
"""

from __future__ import annotations

import importlib
import logging
from dataclasses import dataclass
from pathlib import PurePath

from PIL import Image, features

from ..errors import InputError, MissingDependencyError

log = logging.getLogger(__name__)

DEFAULT_QUALITY = 95
# More pixels than this are not read: a few bytes can claim any number of them. It is the bound at
# which Pillow refuses a file as a decompression bomb.
MAX_PIXELS = 178_956_970
# Above this size a picture must come to at least a byte in so many pixels: 2,000 bytes that unpack
# to 3 GB are no photograph.
_MODEST_PIXELS, _PIXELS_A_BYTE = 1 << 24, 4000
# No picture file of that many pixels is longer.
MAX_FILE_BYTES = 1 << 32


@dataclass(frozen=True)
class Format:
    """One picture format.

    Attributes:
        name: Pillow's name.
        title: the name that people use.
        suffixes: of file names, lower case; the first is the usual one.
        writes: whether this program writes it.
        lossless: whether what is written comes back bit for bit.
        gray: whether a gray picture is written with one channel.
        alpha: whether an alpha channel is written.
        deep: whether 16-bit samples are written.
        exif, icc, xmp: whether these are written.
        density: whether it has a place of its own for the resolution, outside EXIF.
        quality: whether it has a quality.
        side: greatest width and height that can be written.
        package: what Pillow needs to read it, where Pillow alone does not.
        module: that package's module.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    writes: bool = True
    lossless: bool = True
    gray: bool = True
    alpha: bool = False
    deep: bool = False
    exif: bool = False
    icc: bool = False
    xmp: bool = False
    density: bool = False
    quality: bool = False
    side: int = 0xFFFF
    package: str | None = None
    module: str | None = None


_ALL = (
    Format("PNG", "PNG", (".png", ".apng"), alpha=True, deep=True, exif=True, icc=True, xmp=True,
           density=True, side=0x7FFFFFFF),
    # libjpeg ends a little below 65535.
    Format("JPEG", "JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), lossless=False, exif=True, icc=True,
           xmp=True, density=True, quality=True, side=65500),
    Format("WEBP", "WebP", (".webp",), lossless=False, gray=False, alpha=True, exif=True, icc=True,
           xmp=True, quality=True, side=16383),
    Format("TIFF", "TIFF", (".tif", ".tiff"), alpha=True, deep=True, exif=True, icc=True, xmp=True,
           side=0x7FFFFFFF),
    Format("BMP", "BMP", (".bmp", ".dib"), side=0x7FFF),
    Format("AVIF", "AVIF", (".avif",), lossless=False, gray=False, alpha=True, exif=True, icc=True,
           xmp=True, quality=True, side=16384),
    Format("JPEG2000", "JPEG 2000", (".jp2", ".j2k", ".jpf", ".jpx"), alpha=True),
    Format("PPM", "PNM", (".ppm", ".pgm", ".pnm"), side=0x7FFFFFFF),
    Format("TGA", "TGA", (".tga",), alpha=True),
    Format("PPM", "PBM", (".pbm",), writes=False),
    Format("GIF", "GIF", (".gif",), writes=False),
    Format("HEIF", "HEIF", (".heic", ".heif", ".hif"), writes=False, package="pillow-heif",
           module="pillow_heif"),
    Format("JXL", "JPEG XL", (".jxl",), writes=False, package="pillow-jxl-plugin",
           module="pillow_jxl"),
)  # fmt: skip

READABLE = tuple(suffix for each in _ALL for suffix in each.suffixes)
WRITABLE = tuple(suffix for each in _ALL if each.writes for suffix in each.suffixes)

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"BM", "BMP"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"\xff\x0a", "JXL"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JXL"),
)
_TGA_FOOTER = b"TRUEVISION-XFILE.\0"


def by_suffix(path: PurePath) -> Format | None:
    """The format that a file's name promises, or None.

    >>> by_suffix(PurePath("a.JPE")).title
    'JPEG'
    """
    suffix = path.suffix.lower()
    return next((each for each in _ALL if suffix in each.suffixes), None)


def by_name(name: str) -> Format:
    """The format that Pillow calls `name`."""
    return next(each for each in _ALL if each.name == name)


def by_content(data: bytes, path: PurePath) -> Format | None:
    """The format that a file's bytes are, or None if it is none of those promised.

    >>> by_content(b"GIF89a" + bytes(20), PurePath("a.png")).title
    'GIF'
    >>> by_content(b"%!PS-Adobe-3.0 EPSF-3.0", PurePath("a.jpg")) is None
    True
    """
    for magic, name in _MAGIC:
        if data.startswith(magic):
            return by_name(name)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return by_name("WEBP")
    if data[4:8] == b"ftyp":
        return _by_brands(data)
    if data[:1] == b"P" and data[1:2] in b"123456" and data[2:3].isspace():
        return by_name("PPM")
    named = by_suffix(path)
    # TGA has no magic number: its name or, in its second version, its last bytes tell.
    if data.endswith(_TGA_FOOTER) or (named is not None and named.name == "TGA"):
        return by_name("TGA")
    return None


def _by_brands(data: bytes) -> Format | None:
    """HEIF or AVIF, by the brands of the first box (ISO/IEC 14496-12, section 4.3)."""
    box = data[8 : max(16, min(int.from_bytes(data[:4], "big"), 256))]
    brands = {box[start : start + 4] for start in range(0, len(box), 4)}
    if brands & {b"avif", b"avis"}:
        return by_name("AVIF")
    if brands & {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}:
        return by_name("HEIF")
    return None


def require(chosen: Format, path: PurePath) -> None:
    """Make sure that Pillow knows the format.

    Raises:
        MissingDependencyError: a package is missing, or this Pillow was built without the format.
    """
    if chosen.name == "AVIF" and not _knows("avif"):
        raise MissingDependencyError(
            f"{path}: this Pillow cannot read or write AVIF; install Pillow 11.3 or newer."
        )
    if chosen.name == "WEBP" and not _knows("webp"):
        raise MissingDependencyError(f"{path}: this Pillow was built without WebP; reinstall it.")
    if chosen.name == "JPEG2000" and not _knows("jpg_2000"):
        raise MissingDependencyError(
            f"{path}: this Pillow was built without JPEG 2000; reinstall it."
        )
    if chosen.module is None:
        return
    try:
        module = importlib.import_module(chosen.module)
    except ImportError as error:
        raise MissingDependencyError(
            f"{path}: {chosen.title} files need the package {chosen.package}; "
            f"pip install {chosen.package}"
        ) from error
    if chosen.name == "HEIF":
        module.register_heif_opener()


def _knows(feature: str) -> bool:
    return feature in features.get_supported()


def check_pixels(height: int, width: int, file_bytes: int) -> None:
    """Whether a picture is read, by its size and that of its file; asked before it is unpacked.

    Raises:
        DecompressionBombError: it is not.
    """
    pixels = height * width
    if pixels > MAX_PIXELS:
        raise Image.DecompressionBombError(f"{width}x{height} px, more than {MAX_PIXELS} in all")
    if pixels > max(_MODEST_PIXELS, _PIXELS_A_BYTE * file_bytes):
        raise Image.DecompressionBombError(f"{width}x{height} px in {file_bytes} bytes")


def written_suffix(path: PurePath) -> str:
    """The suffix for a result of the picture `path`: its own, or .png where that is not written.

    >>> written_suffix(PurePath("a.heic")), written_suffix(PurePath("a.JPG"))
    ('.png', '.JPG')
    """
    chosen = by_suffix(path)
    return ".png" if chosen is not None and not chosen.writes else path.suffix


def check_quality(quality: int | None, chosen: Format, path: PurePath) -> int:
    """The quality to write with; None stands for the default.

    Raises:
        InputError: it is not from 1 to 100.
    """
    if quality is None:
        return DEFAULT_QUALITY
    if isinstance(quality, bool) or not isinstance(quality, int) or not 1 <= quality <= 100:
        raise InputError(f"The quality must be from 1 to 100, not {quality!r}.", option="quality")
    if not chosen.quality:
        log.warning("%s: %s has no quality; the one given has no effect.", path, chosen.title)
    return quality
