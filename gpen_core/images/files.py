"""Pictures: files to tensors and back, and the layouts of ComfyUI and of the networks.

Every conversion comes as a pair: `read_picture` / `write_picture`, `from_comfy` / `to_comfy`,
`to_network` / `from_network`. Inside the core an image is (B, 3, H, W) float32, RGB, 0..1.
"""

from __future__ import annotations

import io
import logging
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from ..errors import InputError
from ..files import replacing
from .layouts import resize

log = logging.getLogger(__name__)

READABLE = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
_ALPHA_FORMATS = {"PNG", "WEBP", "TIFF"}
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TIFF_BITS_PER_SAMPLE = 258
_EXIF_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Picture:
    """One picture with everything a restoration must not lose.

    Attributes:
        pixels: (3, H, W) float32 RGB, 0..1; a gray picture has three equal channels.
        alpha: (1, H, W) float32, 0..1, or None.
        gray: whether the file was gray, so that it is written gray.
        bits: 8 or 16 bits a sample.
        exif: EXIF block without the orientation (already applied to the pixels), or None.
        icc: ICC profile, or None.
    """

    pixels: Tensor
    alpha: Tensor | None = None
    gray: bool = False
    bits: int = 8
    exif: bytes | None = None
    icc: bytes | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return int(self.pixels.shape[-2]), int(self.pixels.shape[-1])

    def with_pixels(self, pixels: Tensor) -> Picture:
        """The same picture with other pixels (3, H', W'); the alpha follows a change of size."""
        alpha = self.alpha
        if alpha is not None and alpha.shape[-2:] != pixels.shape[-2:]:
            size = (int(pixels.shape[-2]), int(pixels.shape[-1]))
            alpha = resize(alpha[None], size)[0]
        return replace(self, pixels=pixels, alpha=alpha)


# --- files ---------------------------------------------------------------------------------------


def read_picture(path: str | os.PathLike[str]) -> Picture:
    """Read a PNG, JPEG, WebP, TIFF or BMP file, upright.

    Palettes are expanded, CMYK becomes RGB, the EXIF orientation is applied, 16-bit samples keep
    their depth. Of an animation the first frame is read, and the log says so.

    Raises:
        InputError: the file is missing, unreadable, truncated or not a picture.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file; check the path.")
    if path.is_dir():
        raise InputError(f"{path} is a folder where a picture file was expected.")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
    if not data:
        raise InputError(f"{path} is empty (0 bytes); copy or download it again.")
    with _reading(path):
        return _decode(data, path)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what Pillow raises for a bad file into one sentence."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            yield
    except UnidentifiedImageError as error:
        raise InputError(
            f"{path} is not a picture this program reads (PNG, JPEG, WebP, TIFF, BMP)."
        ) from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{path} is too large to open safely: {error}.") from error
    except (OSError, SyntaxError, ValueError, struct.error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged or cut off: {error}.") from error


def _decode(data: bytes, path: Path) -> Picture:
    image: Image.Image = Image.open(io.BytesIO(data))
    if getattr(image, "n_frames", 1) > 1:
        log.warning(
            "%s has %d frames; only the first is read.", path, getattr(image, "n_frames", 1)
        )
    image.load()
    icc = image.info.get("icc_profile")
    if image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        # The embedded profile describes the old color space; keeping it would be wrong.
        log.info("%s: %s pixels are converted to RGB.", path, image.mode)
        image, icc = image.convert("RGB"), None
    exif = image.getexif()
    orientation = exif.pop(_EXIF_ORIENTATION, 1)
    deep = _sixteen_bit_samples(image, data)
    bits = 8 if deep is None else 16
    samples = _eight_bit_samples(image) if deep is None else deep
    samples = np.ascontiguousarray(_upright(samples, orientation))
    tensor = torch.from_numpy(samples.astype(np.float32)) / (255.0 if bits == 8 else 65535.0)
    tensor = tensor.permute(2, 0, 1).contiguous()
    channels = tensor.shape[0]
    color = tensor[:1].expand(3, -1, -1) if channels <= 2 else tensor[:3]
    return Picture(
        pixels=color.contiguous(),
        alpha=tensor[-1:].contiguous() if channels in (2, 4) else None,
        gray=channels <= 2,
        bits=bits,
        exif=exif.tobytes() if len(exif) else None,
        icc=icc,
    )


def _eight_bit_samples(image: Image.Image) -> np.ndarray:
    """(H, W, C) uint8 of any 8-bit Pillow image, C in 1..4."""
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    elif "transparency" in image.info and image.mode in ("L", "RGB"):
        image = image.convert("LA" if image.mode == "L" else "RGBA")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode in ("PA", "La", "RGBa"):
        image = image.convert("RGBA")
    if image.mode not in ("L", "LA", "RGB", "RGBA"):
        image = image.convert("RGB")
    samples = np.asarray(image)
    return samples[..., None] if samples.ndim == 2 else samples


def _sixteen_bit_samples(image: Image.Image, data: bytes) -> np.ndarray | None:
    """(H, W, C) uint16 where the file has 16-bit samples, else None.

    Pillow reads 16-bit gray but reduces 16-bit color to 8 bits, so color is decoded by OpenCV.
    """
    if image.mode in ("I;16", "I;16B", "I;16L", "I"):
        samples = np.asarray(image.convert("I"))
        return samples.clip(0, 65535).astype(np.uint16)[..., None]
    if image.mode == "F":
        samples = np.asarray(image)
        if not (np.isfinite(samples).all() and samples.min() >= 0 and samples.max() <= 1):
            raise InputError("a floating-point picture must hold finite values from 0 to 1")
        return np.round(samples * 65535).astype(np.uint16)[..., None]
    if not _is_sixteen_bit(image, data):
        return None
    import cv2

    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16:
        return None
    if decoded.ndim == 2:
        return decoded[..., None]
    return decoded[..., [2, 1, 0, 3][: decoded.shape[2]]]


def _is_sixteen_bit(image: Image.Image, data: bytes) -> bool:
    if image.format == "PNG":
        return data[24] == 16
    if image.format == "TIFF":
        bits = image.tag_v2.get(_TIFF_BITS_PER_SAMPLE, (8,))  # type: ignore[attr-defined]
        return max(bits if isinstance(bits, tuple) else (bits,)) == 16
    return False


def _upright(samples: np.ndarray, orientation: int) -> np.ndarray:
    """Apply an EXIF orientation (1..8, EXIF 2.3 section 4.6.4) to (H, W, C) samples."""
    if orientation in (5, 6, 7, 8):
        samples = samples.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    return samples


def check_writable(path: str | os.PathLike[str], overwrite: bool) -> Path:
    """The path, if a picture may be written there.

    Raises:
        InputError: unknown extension, an existing file without `overwrite`, a folder in its place.
    """
    path = Path(path)
    if path.suffix.lower() not in _FORMATS:
        known = ", ".join(sorted(_FORMATS))
        raise InputError(f"{path}: unknown picture format {path.suffix!r}; use one of {known}.")
    if path.is_dir():
        raise InputError(f"{path} is a folder; give a file name.")
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists already; give another name or --overwrite.")
    return path


def write_picture(
    path: str | os.PathLike[str], picture: Picture, *, overwrite: bool = False
) -> None:
    """Write a picture atomically, in the format of the file's extension.

    Gray stays gray, alpha, EXIF and the ICC profile are kept, 16-bit pictures stay 16-bit in PNG.
    What the format cannot hold is dropped with a warning in the log.

    Raises:
        InputError: the file exists (without `overwrite`), or the folder cannot be written.
    """
    path = check_writable(path, overwrite)
    write_atomically(path, encode(picture, _FORMATS[path.suffix.lower()], str(path)))


def write_atomically(path: Path, data: bytes) -> None:
    """Put `data` at `path` whole or not at all.

    Raises:
        InputError: the folder cannot be made or written, or the disk is full.
    """
    with replacing(path) as scratch:
        scratch.write_bytes(data)


def encode(picture: Picture, file_format: str, name: str = "picture") -> bytes:
    """The bytes of a picture file; `file_format` is a Pillow format name."""
    alpha = picture.alpha
    if alpha is not None and file_format not in _ALPHA_FORMATS:
        log.warning("%s: %s holds no alpha channel; it is dropped.", name, file_format)
        alpha = None
    deep = picture.bits == 16
    if deep and file_format != "PNG":
        log.warning("%s: 16-bit samples are written to PNG only; this %s has 8.", name, file_format)
        deep = False
    samples = _quantize(picture, alpha, 65535 if deep else 255)
    if deep:
        return _encode_png16(samples, picture.exif, picture.icc)
    image = Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)
    options: dict[str, object] = {"exif": picture.exif} if picture.exif else {}
    icc = None if picture.icc is None or not _profile_fits(picture) else picture.icc
    if icc is not None:
        options["icc_profile"] = icc
    if file_format == "JPEG":
        options |= {"quality": 95, "subsampling": 0}
    elif file_format == "WEBP":
        options |= {"quality": 95, "exact": True}
    elif file_format == "TIFF":
        options |= {"compression": "tiff_deflate"}
    elif file_format == "BMP" and options:
        log.warning("%s: BMP holds neither EXIF nor a color profile; they are dropped.", name)
        options = {}
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def _profile_fits(picture: Picture) -> bool:
    """Whether the profile describes the pixels written: gray profiles are for gray pictures."""
    space = (picture.icc or b"")[16:20]
    return space == (b"GRAY" if picture.gray else b"RGB ")


def _quantize(picture: Picture, alpha: Tensor | None, peak: int) -> np.ndarray:
    color = picture.pixels[:1] if picture.gray else picture.pixels
    stacked = color if alpha is None else torch.cat([color, alpha.to(color)])
    samples = (stacked.detach().float().cpu().clamp(0, 1) * peak).round()
    return samples.permute(1, 2, 0).numpy().astype(np.uint16 if peak > 255 else np.uint8)


def _encode_png16(samples: np.ndarray, exif: bytes | None, icc: bytes | None) -> bytes:
    """A 16-bit PNG; OpenCV writes the pixels, the metadata chunks are added behind its header."""
    import cv2

    channels = samples.shape[2]
    if channels == 2:
        # OpenCV knows no gray + alpha; three equal channels lose nothing.
        samples, channels = samples[..., [0, 0, 0, 1]], 4
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[channels]
    _, encoded = cv2.imencode(".png", np.ascontiguousarray(samples[..., order]))
    data = encoded.tobytes()
    header_end = len(_PNG_SIGNATURE) + 25
    chunks = b""
    if icc:
        chunks += _png_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc))
    if exif:
        chunks += _png_chunk(b"eXIf", exif.removeprefix(b"Exif\0\0"))
    return data[:header_end] + chunks + data[header_end:]


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    """One PNG chunk: length, type, data, CRC (PNG specification, section 5.3)."""
    checksum = zlib.crc32(kind + data) & 0xFFFFFFFF
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)
