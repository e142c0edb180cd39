"""From a file to a picture."""

from __future__ import annotations

import io
import logging
import os
import stat
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePath

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from ..errors import InputError
from ..files import shown
from ..memory.allowance import Allowance
from ..memory.shortage import is_out_of_memory
from . import jpeg, png, tiff
from . import metadata as meta
from .color import to_rgb
from .decoded import Decoded, Unsupported
from .formats import (
    MAX_FILE_BYTES,
    READABLE,
    Format,
    by_content,
    by_suffix,
    check_pixels,
    require,
)
from .picture import Metadata, Picture
from .pixels import eight_bit_samples, upright

log = logging.getLogger(__name__)

# A file that was cut off is read if no more than this many rows at its bottom are missing: the
# height of a row of blocks in a JPEG, and two to which smooth chroma spreads the damage.
ROWS_OF_GRACE = 18
_KINDS = {
    stat.S_ISFIFO: "a named pipe",
    stat.S_ISSOCK: "a socket",
    stat.S_ISBLK: "a device",
    stat.S_ISCHR: "a device",
}
# Formats whose pixels a decoder turns itself; the orientation their EXIF names is done then.
_TURNED = frozenset(["HEIF", "JXL"])


# Rows whose samples become floats at once.
_ROWS = 256

Event = Callable[[str], None]
"""Told in one sentence what fell back; `Hooks.event`."""


def read_picture(path: str | os.PathLike[str], event: Event = log.warning) -> Picture:
    """Read a picture file, upright; `formats.READABLE` lists what is promised.

    The file is read as what its content is. Palettes are expanded, other color spaces become RGB
    (CMYK by its profile), the EXIF orientation is applied, 16-bit samples keep their depth. Of
    several frames or pages the first is read. What cannot be kept, and an end that was missing, is
    said in the log.

    Raises:
        InputError: the file is missing, unreadable, damaged, not a picture or too large.
        MissingDependencyError: the format needs a package that is not installed.
        OutOfMemory: memory does not suffice for it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("L", (64, 48), 255).save(f"{folder}/white.png")
        ...     picture = read_picture(f"{folder}/white.png")
        >>> picture.pixels.shape, picture.gray, float(picture.pixels.min())
        (torch.Size([3, 48, 64]), True, 1.0)
    """
    path = Path(path)
    data = Allowance(f"reading {shown(path)}", event)(lambda *_: read_file(path))
    return decode(data, path, event)


def read_file(path: Path) -> bytes:
    """The bytes of a regular file.

    Raises:
        InputError: there is none, it is something else, empty, too long, or cannot be read.

    Example:
        >>> read_file(Path("gone.png"))
        Traceback (most recent call last):
        gpen_core.errors.InputError: gone.png: no such file; check the path.
    """
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise InputError(f"{shown(path)}: no such file; check the path.") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{shown(path)}: {_reason(error)}.") from error
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{shown(path)} is a folder where a picture file was expected.")
    for test, kind in _KINDS.items():
        if test(status.st_mode):
            raise InputError(f"{shown(path)} is {kind}; give a picture file.")
    if status.st_size > MAX_FILE_BYTES:
        raise InputError(f"{shown(path)} is too large to be read as a picture.")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{shown(path)}: {_reason(error)}.") from error
    if not data:
        raise InputError(f"{shown(path)} is empty (0 bytes); copy or download it again.")
    return data


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return f"cannot be read ({error.strerror})"
    return "this is no file name (it holds a NUL or cannot be encoded)"


def decode(data: bytes, path: PurePath, event: Event = log.warning) -> Picture:
    """The picture in a file's bytes; `path` is for messages and for formats without a signature.

    Raises:
        InputError, MissingDependencyError, OutOfMemory: as `read_picture`.

    Example:
        >>> buffer = io.BytesIO()
        >>> Image.new("L", (64, 48), 255).save(buffer, "PNG")
        >>> decode(buffer.getvalue(), Path("white.png")).size
        (48, 64)
    """
    room = Allowance(f"reading {shown(path)}", event)
    return room(lambda *_: to_picture(decode_samples(data, path)))


def to_picture(decoded: Decoded) -> Picture:
    """Samples and metadata as a picture, upright, 0..1."""
    samples = np.ascontiguousarray(upright(decoded.samples, decoded.orientation))
    height, width, channels = samples.shape
    tensor = torch.empty(channels, height, width)
    for first in range(0, height, _ROWS):  # all at once would take three times the memory
        rows = torch.from_numpy(samples[first : first + _ROWS].astype(np.float32))
        tensor[:, first : first + _ROWS] = rows.permute(2, 0, 1)
    tensor /= float((1 << decoded.bits) - 1)
    color = tensor[:1].expand(3, -1, -1) if channels <= 2 else tensor[:3]
    return Picture(
        pixels=color.contiguous(),
        alpha=tensor[-1:].contiguous() if channels in (2, 4) else None,
        gray=channels <= 2,
        bits=decoded.bits,
        **vars(decoded.metadata),
    )


def decode_samples(data: bytes, path: PurePath) -> Decoded:
    """The samples in a file's bytes, as they lie there.

    Raises:
        InputError, MissingDependencyError: as `read_picture`.
    """
    name = shown(path)
    chosen = by_content(data, path)
    if chosen is None:
        raise InputError(f"{name} is not a picture this program can read ({', '.join(READABLE)}).")
    require(chosen, path)
    promised = by_suffix(path)
    if promised is not None and promised.name != chosen.name:
        log.warning("%s is %s in spite of its name; it is read as such.", name, chosen.title)
    try:
        with _logged_warnings(name):
            return _decoded(data, chosen, name)
    except Unsupported as error:
        raise InputError(f"{name} {error}.") from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{name} is too large to open safely: {error}.") from error
    except UnidentifiedImageError as error:
        raise InputError(
            f"{name} is damaged or cut off: it begins like {chosen.title} but is not readable."
        ) from error
    except (
        OSError, SyntaxError, ValueError, struct.error, EOFError, IndexError, KeyError, TypeError,
        OverflowError, ZeroDivisionError, AttributeError, NotImplementedError, RuntimeError,
        zlib.error,
    ) as error:  # fmt: skip
        # Everything that Pillow's decoders have been seen to raise for damaged bytes.
        if isinstance(error, InputError) or is_out_of_memory(error):
            raise
        reason = shown(str(error)) or type(error).__name__
        raise InputError(f"{name} is damaged or cut off: {reason}.") from error


@contextmanager
def _logged_warnings(name: str) -> Iterator[None]:
    """What Pillow warns of, with the file's name in the log; sizes have a bound of their own."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        yield
    for each in caught:
        log.warning("%s: %s", name, shown(str(each.message)))


def _decoded(data: bytes, chosen: Format, name: str) -> Decoded:
    if chosen.name == "PNG":
        return png.decode(data, name, ROWS_OF_GRACE)
    if chosen.name == "JPEG":
        return jpeg.decode(data, name, ROWS_OF_GRACE)
    if chosen.name == "TIFF":
        return tiff.decode(data, name)
    return _by_pillow(data, chosen, name)


def _by_pillow(data: bytes, chosen: Format, name: str) -> Decoded:
    """Formats that Pillow, or a plugin of it, reads as they are."""
    image: Image.Image = Image.open(io.BytesIO(data), formats=[chosen.name])
    check_pixels(image.height, image.width, len(data))
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        log.warning("%s has %d frames; only the first is read.", name, frames)
    image.load()
    metadata, orientation = _metadata(image, name)
    if chosen.name == "JPEG2000":
        metadata = replace(metadata, comment=None)  # It names the encoder, not the picture.
    if chosen.name in _TURNED:
        orientation = 1
    if image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        image, metadata = to_rgb(image, metadata.icc, name), replace(metadata, icc=None)
    if image.mode in ("I;16", "I;16B", "I;16L", "I;16N", "I"):
        samples = np.asarray(image).astype(np.int64).clip(0, 0xFFFF).astype(np.uint16)[..., None]
    elif image.mode == "F":
        samples = tiff.scale_floats(np.asarray(image))[..., None]
    else:
        if _deeper_than_eight(data, image, chosen):
            log.warning("%s: its samples are reduced to 8 bits.", name)
        samples = eight_bit_samples(image)
    return Decoded(samples, metadata, orientation)


def _deeper_than_eight(data: bytes, image: Image.Image, chosen: Format) -> bool:
    """Whether the file holds more than the 8 bits that Pillow gives."""
    if chosen.name == "JPEG2000":
        start = data.find(b"\xff\x4f\xff\x51")  # the image and tile sizes (ISO/IEC 15444-1, A.5)
        return start >= 0 and len(data) > start + 42 and data[start + 42] & 0x7F > 7
    if chosen.name == "PPM":
        numbers = [token for token in data[:256].split() if token.isdigit()]
        return data[:2] in (b"P2", b"P3", b"P5", b"P6") and int((numbers[2:3] or [b"0"])[0]) > 255
    return int(image.info.get("bit_depth") or 8) > 8


def _metadata(image: Image.Image, name: str) -> tuple[Metadata, int]:
    info = image.info
    exif, orientation, exif_dpi = meta.travelling_exif(_as_bytes(info.get("exif")), name)
    xmp, turned = meta.upright_xmp(_as_bytes(info.get("xmp")))
    dpi = info.get("dpi")
    if isinstance(dpi, tuple) and len(dpi) == 2:
        dpi = meta.plausible_dpi((float(dpi[0]), float(dpi[1])))
    else:
        dpi = None
    metadata = Metadata(
        exif=exif,
        icc=_as_bytes(info.get("icc_profile")),
        xmp=xmp,
        dpi=dpi or exif_dpi,
        comment=_as_bytes(info.get("comment")),
    )
    return metadata, orientation if orientation != 1 else turned


def _as_bytes(value: object) -> bytes | None:
    if isinstance(value, str):
        value = value.encode("utf-8", "replace")
    return value if isinstance(value, bytes) and value else None
