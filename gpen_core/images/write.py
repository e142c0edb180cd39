"""From a picture to a file, opened again before it takes its name."""

from __future__ import annotations

import base64
import io
import logging
import os
import stat
from dataclasses import replace
from pathlib import Path, PurePath

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import InputError
from ..files import replacing, shown
from ..memory.allowance import Allowance
from ..memory.shortage import is_out_of_memory
from . import jpeg, png, tiff
from . import metadata as meta
from .formats import (
    WRITABLE,
    Format,
    by_name,
    by_suffix,
    check_pixels,
    check_quality,
    require,
)
from .ifd import DamagedDirectory, Directory
from .picture import Metadata, Picture
from .read import Event, decode_samples

log = logging.getLogger(__name__)

# How far the means of blocks of 16x16 px may lie from what was given, 0..1, in formats that lose
# something: on average over the picture, and for the worst block. Noise, stripes and primary colors
# at quality 1 came to 0.045 and 0.135; pictures below one block, where a chroma sample is most of
# the picture, to 0.19 and 0.34.
_MEAN_LOSS, _WORST_LOSS = 0.08, 0.2
_SMALL_MEAN_LOSS, _SMALL_WORST_LOSS = 0.25, 0.5
_BLOCK = 16
_ROWS = 256  # quantized at once
_MAX_BYTES = 0xFFFFFFFF


def check_writable(path: str | os.PathLike[str], overwrite: bool) -> Path:
    """The path, if a picture may be written there; nothing is written for that.

    Raises:
        InputError: unknown extension, an existing file without `overwrite`, something in its place
            that is no file, a name or a folder that cannot be.
        MissingDependencyError: this Pillow cannot write the format.

    Example:
        >>> check_writable("out.docx", overwrite=False)
        Traceback (most recent call last):
        gpen_core.errors.InputError: out.docx: unknown picture format '.docx' for writing; ...
    """
    path = Path(path)
    check_format(path)
    return check_place(path, overwrite)


def check_format(path: PurePath) -> Format:
    """The format that a file's name asks for, if pictures can be written in it.

    Raises:
        InputError: unknown extension.
        MissingDependencyError: this Pillow cannot write the format.

    Example:
        >>> check_format(Path("out.jpg")).title
        'JPEG'
    """
    chosen = by_suffix(path)
    if chosen is None or not chosen.writes:
        known = ", ".join(WRITABLE)
        raise InputError(
            f"{shown(path)}: unknown picture format {shown(path.suffix)!r} for writing; "
            f"use one of {known}."
        )
    require(chosen, path)
    return chosen


def check_place(path: Path, overwrite: bool) -> Path:
    """The path, if a file of any kind may be written there.

    Raises:
        InputError: as `check_writable`, but for the extension.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     check_place(Path(folder, "film.mp4"), overwrite=False).name
        'film.mp4'
    """
    mode = _mode_of(path)
    if mode is None:
        _check_folder(path)
        return path
    if stat.S_ISDIR(mode):
        raise InputError(f"{shown(path)} is a folder; give a file name.")
    if not stat.S_ISREG(mode):
        raise InputError(f"{shown(path)} is a pipe or a device; give a file name.")
    if not overwrite:
        raise InputError(f"{shown(path)} exists already; give another name.", remedy="overwrite")
    return path


def _mode_of(path: Path) -> int | None:
    """What lies at `path`, links followed; None if nothing does.

    Raises:
        InputError: nothing ever can.
    """
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(f"{shown(path)}: cannot be written ({error.strerror}).") from error
    except ValueError as error:
        raise InputError(
            f"{shown(path)}: no file can have this name (it holds a NUL or cannot be encoded)."
        ) from error


def _check_folder(path: Path) -> None:
    """Raise InputError if the folder of `path` cannot be made."""
    folder = path.parent
    while (mode := _mode_of(folder)) is None and folder != folder.parent:
        folder = folder.parent
    if mode is not None and not stat.S_ISDIR(mode):
        raise InputError(f"{shown(path)}: cannot be written, {shown(folder)} is not a folder.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{shown(path)}: the folder {shown(folder)} cannot be written.")


def check_size(path: str | os.PathLike[str], height: int, width: int) -> None:
    """Whether the format that `path` names holds a picture of this size; known before the work.

    Raises:
        InputError: it does not.

    >>> check_size("wide.png", 60, 16800)
    >>> check_size("wide.webp", 60, 16800)
    Traceback (most recent call last):
    gpen_core.errors.InputError: wide.webp: WebP holds at most 16383 px a side, not 16800x60; ...
    """
    path = Path(path)
    chosen = by_suffix(path)
    if chosen is None or not chosen.writes:
        return
    if max(height, width) > chosen.side:
        raise InputError(
            f"{shown(path)}: {chosen.title} holds at most {chosen.side} px a side, "
            f"not {width}x{height}; write a PNG or a smaller picture."
        )
    if chosen.name in ("TIFF", "BMP") and height * width * 4 > _MAX_BYTES:
        raise InputError(
            f"{shown(path)}: {chosen.title} holds at most 4 GiB; write a PNG or a smaller picture."
        )


def write_picture(
    path: str | os.PathLike[str],
    picture: Picture,
    *,
    overwrite: bool = False,
    quality: int | None = None,
    event: Event = log.warning,
) -> None:
    """Write a picture atomically, in the format of the file's extension.

    Gray stays gray, alpha and metadata are kept, 16-bit pictures stay 16-bit in PNG and TIFF. What
    the format cannot hold is dropped with a warning in the log. `quality` is 1..100 for JPEG, WebP
    and AVIF. The file is decoded again before it takes its name: size, channels and depth must be
    what was given, and the pixels too, or near to them where the format loses something.

    A link is followed: the file that it points to is replaced. Permissions of a replaced file stay.

    Raises:
        InputError: the file exists (without `overwrite`), the format cannot hold the picture, the
            folder cannot be written, or what was encoded does not open as the same picture.
        OutOfMemory: memory does not suffice for it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_picture(f"{folder}/black.png", Picture(torch.zeros(3, 48, 64)))
        ...     Image.open(f"{folder}/black.png").size
        (64, 48)
    """
    path = check_writable(path, overwrite)
    check_size(path, *picture.size)
    chosen = check_format(path)
    quality = check_quality(quality, chosen, path)

    def put(*_: object) -> None:
        samples = samples_to_write(picture, chosen, shown(path))
        data = _encode(samples, picture, chosen, path, quality)
        with replacing(path) as scratch:
            scratch.write_bytes(data)
            _check_written(scratch.read_bytes(), samples, chosen, path)

    Allowance(f"writing {shown(path)}", event)(put)


def write_atomically(path: Path, data: bytes) -> None:
    """Put `data` at `path` whole or not at all.

    Raises:
        InputError: the folder cannot be made or written, or the disk is full.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_atomically(Path(folder, "notes.txt"), b"whole")
        ...     Path(folder, "notes.txt").read_text()
        'whole'
    """
    with replacing(path) as scratch:
        scratch.write_bytes(data)


def encode_checked(
    path: PurePath, picture: Picture, quality: int | None = None, event: Event = log.warning
) -> bytes:
    """The bytes that `write_picture` would put at `path`, opened again as it does; nothing is
    written.

    Raises:
        InputError: unknown extension, the format cannot hold the picture, or what was encoded does
            not open as the same picture.
        MissingDependencyError: this Pillow cannot write the format.
        OutOfMemory: memory does not suffice for it.

    Example:
        >>> data = encode_checked(Path("black.png"), Picture(torch.zeros(3, 48, 64)))
        >>> Image.open(io.BytesIO(data)).size
        (64, 48)
    """
    chosen = check_format(path)
    check_size(path, *picture.size)
    quality = check_quality(quality, chosen, path)

    def made(*_: object) -> bytes:
        samples = samples_to_write(picture, chosen, shown(path))
        data = _encode(samples, picture, chosen, path, quality)
        _check_written(data, samples, chosen, path)
        return data

    return Allowance(f"writing {shown(path)}", event)(made)


def encode(
    picture: Picture, file_format: str, name: str = "picture", quality: int | None = None
) -> bytes:
    """The bytes of a picture file; `file_format` is Pillow's name of a format.

    Raises:
        InputError: the format cannot hold the picture, or a bad quality.

    Example:
        >>> encode(Picture(torch.zeros(3, 48, 64)), "PNG")[1:4]
        b'PNG'
    """
    chosen, path = by_name(file_format), Path(name)
    quality = check_quality(quality, chosen, path)
    return _encode(samples_to_write(picture, chosen, name), picture, chosen, path, quality)


def data_url(jpeg: bytes) -> str:
    """A JPEG as an address that holds it, for pages and reports that fetch nothing.

    Example:
        >>> data_url(b"")
        'data:image/jpeg;base64,'
    """
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"


def samples_to_write(picture: Picture, chosen: Format, name: str) -> np.ndarray:
    """(H, W, 1..4) uint8 or uint16 samples of a picture, as many and as deep as a format holds."""
    alpha = picture.alpha
    if alpha is not None and not chosen.alpha:
        log.warning("%s: %s holds no alpha channel; it is dropped.", name, chosen.title)
        alpha = None
    deep = picture.bits == 16
    if deep and not chosen.deep:
        log.warning(
            "%s: 16-bit samples are written to PNG and TIFF only; this %s has 8.",
            name,
            chosen.title,
        )
        deep = False
    return _quantize(picture, alpha, 65535 if deep else 255)


def _quantize(picture: Picture, alpha: Tensor | None, peak: int) -> np.ndarray:
    color = picture.pixels[:1] if picture.gray else picture.pixels
    channels, (height, width) = len(color) + (alpha is not None), picture.size
    samples = np.empty((height, width, channels), np.uint16 if peak > 255 else np.uint8)
    for first in range(0, height, _ROWS):  # all at once would take three times the memory
        rows = slice(first, first + _ROWS)
        part = color[:, rows]
        if alpha is not None:
            part = torch.cat([part, alpha[:, rows].to(part)])
        values = (part.detach().float().cpu().clamp(0, 1) * peak).round()
        samples[rows] = values.permute(1, 2, 0).numpy()
    return samples


def _encode(
    samples: np.ndarray, picture: Picture, chosen: Format, path: PurePath, quality: int
) -> bytes:
    """The bytes of a file of `samples` with the picture's metadata.

    Raises:
        InputError: the encoder refuses.
    """
    name = shown(path)
    metadata = _fitting(picture, chosen, name)
    directory = meta.directory_to_write(metadata, (samples.shape[0], samples.shape[1]), name)
    if metadata.exif or not chosen.density:
        meta.put_resolution(directory, metadata.dpi)
    try:
        if chosen.name == "PNG":
            return png.encode(samples, meta.exif_bytes(directory), metadata)
        if chosen.exif:
            directory = _with_texts(directory, metadata, chosen, name)
        if chosen.name == "TIFF":
            return tiff.encode(samples, directory, metadata)
        exif = meta.exif_bytes(directory) if chosen.exif else None
        return _by_pillow(samples, replace(metadata, exif=exif), chosen, quality, name)
    except DamagedDirectory as error:
        raise InputError(
            f"{name}: {chosen.title} cannot hold it ({error}); write a PNG."
        ) from error
    except (OSError, ValueError, SystemError) as error:
        if isinstance(error, InputError) or is_out_of_memory(error):
            raise
        raise InputError(f"{name}: {chosen.title} cannot hold this picture ({error}).") from error


def _with_texts(directory: Directory, metadata: Metadata, chosen: Format, name: str) -> Directory:
    """The directory with comment and PNG texts, as far as there is room for them."""
    full = Directory(directory.order, dict(directory.entries), directory.children)
    homeless = meta.put_texts(full, metadata, has_comment=chosen.name == "JPEG")
    if chosen.name == "JPEG" and not jpeg.fits(meta.exif_bytes(full)):
        full, homeless = directory, [keyword for keyword, _ in metadata.text]
    if homeless:
        keywords = ", ".join(shown(keyword) for keyword in homeless)
        log.warning("%s: %s has no room for %s; dropped.", name, chosen.title, keywords)
    return full


def _fitting(picture: Picture, chosen: Format, name: str) -> Metadata:
    """The metadata that the format holds; what is dropped is said in the log."""
    kept = {key: getattr(picture, key) for key in ("exif", "icc", "xmp", "comment", "text")}
    if kept["icc"] is not None and not _profile_fits(picture):
        log.warning("%s: the color profile does not fit these pixels; it is dropped.", name)
        kept["icc"] = None
    holds = {
        "EXIF": ("exif", chosen.exif),
        "a color profile": ("icc", chosen.icc),
        "XMP": ("xmp", chosen.xmp),
        "a comment": ("comment", chosen.exif),
        "texts": ("text", chosen.exif),
    }
    lost = [what for what, (key, fits) in holds.items() if kept[key] and not fits]
    if lost:
        log.warning("%s: %s does not hold %s; dropped.", name, chosen.title, ", ".join(lost))
    dropped = {holds[what][0] for what in lost}
    kept = {key: value for key, value in kept.items() if key not in dropped}
    return Metadata(dpi=picture.dpi, **kept)


def _profile_fits(picture: Picture) -> bool:
    """Whether the profile describes the pixels written: gray profiles are for gray pictures."""
    space = (picture.icc or b"")[16:20]
    return space == (b"GRAY" if picture.gray else b"RGB ")


def _by_pillow(
    samples: np.ndarray, metadata: Metadata, chosen: Format, quality: int, name: str
) -> bytes:
    options: dict[str, object] = {"quality": quality} if chosen.quality else {}
    if metadata.icc is not None:
        options["icc_profile"] = metadata.icc
    if metadata.dpi is not None:
        options["dpi"] = metadata.dpi
    exif, xmp, comment = metadata.exif, metadata.xmp, metadata.comment
    if chosen.name == "JPEG":
        exif = _if_fits(exif, 0, "EXIF data", name)
        xmp = _if_fits(xmp, jpeg.XMP_OVERHEAD, "XMP", name)
        comment = _if_fits(comment, 0, "comment", name)
        options |= {"subsampling": 0, "extra": jpeg.xmp_segment(xmp) if xmp else b""}
        if comment is not None:
            options["comment"] = comment
    elif chosen.name == "WEBP":
        options |= {"exact": True}
    elif chosen.name == "AVIF":
        options |= {"subsampling": "4:4:4"}
    elif chosen.name == "TGA":
        options |= {"compression": "tga_rle"}
    if xmp is not None and chosen.name != "JPEG":
        options["xmp"] = xmp
    if exif is not None:
        options["exif"] = exif
    image = Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)
    buffer = io.BytesIO()
    image.save(buffer, chosen.name, **options)
    return buffer.getvalue()


def _if_fits(data: bytes | None, overhead: int, what: str, name: str) -> bytes | None:
    if jpeg.fits(data, overhead):
        return data
    log.warning("%s: the %s is too long for JPEG (64 KB); it is dropped.", name, what)
    return None


# --- opening it again ----------------------------------------------------------------------------


def _check_written(data: bytes, samples: np.ndarray, chosen: Format, path: PurePath) -> None:
    """Decode what was written and compare it with what was meant.

    Raises:
        InputError: it is another picture, or none.
    """
    try:
        check_pixels(samples.shape[0], samples.shape[1], len(data))
    except Image.DecompressionBombError as error:
        log.warning("%s is too large to be opened again for a check: %s.", shown(path), error)
        return
    try:
        read = decode_samples(data, path).samples
        fault = _difference(read, samples, chosen)
    except InputError as error:
        fault = str(error).rstrip(".")
    if fault is not None:
        raise InputError(
            f"{shown(path)}: what was encoded does not open as the same picture ({fault}); "
            "nothing was written. Write another format."
        )


def _difference(read: np.ndarray, meant: np.ndarray, chosen: Format) -> str | None:
    """What is wrong with the samples read back, or None."""
    if read.shape[:2] != meant.shape[:2]:
        return f"its size is {read.shape[1]}x{read.shape[0]}"
    if read.dtype != meant.dtype:
        return f"it has {8 * read.dtype.itemsize} bits a sample"
    if chosen.gray and read.shape[2] != meant.shape[2]:
        return f"it has {read.shape[2]} channels"
    if chosen.lossless:
        return None if np.array_equal(read, meant) else "its pixels differ"
    limits = (_MEAN_LOSS, _WORST_LOSS)
    if min(meant.shape[:2]) < _BLOCK:
        limits = (_SMALL_MEAN_LOSS, _SMALL_WORST_LOSS)
    losses = _block_loss(_four_channels(read), _four_channels(meant))
    near = all(loss <= limit for loss, limit in zip(losses, limits, strict=True))
    return None if near else "its pixels differ too much"


def _four_channels(samples: np.ndarray) -> np.ndarray:
    """(H, W, 4) of any samples; a missing alpha is opaque."""
    gray, opaque = samples.shape[2] <= 2, samples.shape[2] in (1, 3)
    color = np.repeat(samples[..., :1], 3, axis=2) if gray else samples[..., :3]
    alpha = np.full_like(samples[..., :1], 255) if opaque else samples[..., -1:]
    return np.concatenate([color, alpha], axis=2)


def _block_loss(read: np.ndarray, meant: np.ndarray) -> tuple[float, float]:
    """The mean and the greatest difference of the means of blocks, 0..1."""
    difference = np.abs(_block_means(read) - _block_means(meant)) / 255
    return float(difference.mean()), float(difference.max())


def _block_means(samples: np.ndarray) -> np.ndarray:
    """The means of the whole blocks of (H, W, 4) uint8; of all of it where there are none."""
    down, across = samples.shape[0] // _BLOCK, samples.shape[1] // _BLOCK
    if not down or not across:
        return samples.mean((0, 1))
    part = samples[: down * _BLOCK, : across * _BLOCK].reshape(down, _BLOCK, -1)
    # Rows first, in integers: 16 x 255 fits, and it is several times as fast as one mean.
    sums = part.sum(1, dtype=np.uint16).reshape(down, across, _BLOCK, 4).sum(2, dtype=np.uint32)
    return sums / np.float32(_BLOCK * _BLOCK)
