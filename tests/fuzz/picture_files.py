"""Damaged pictures against the reader: `python tests/fuzz/picture_files.py [seconds] [seed]`.

Small files of every format, made here, are cut, overwritten and shifted at random; each has to be
read or refused with a `GPENError` within five seconds. The first file that is not is kept.
"""

from __future__ import annotations

import io
import logging
import random
import resource
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image, features

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from gpen_core.errors import GPENError
from gpen_core.images.read import decode

_SLOW = 5.0
_KINDS = [
    ("a.png", "RGB", {}),
    ("a.png", "P", {}),
    ("a.png", "LA", {}),
    ("a.jpg", "RGB", {"comment": b"c" * 9}),
    ("a.jpg", "CMYK", {}),
    ("a.jpg", "L", {"progressive": True}),
    ("a.webp", "RGBA", {}),
    ("a.tif", "RGB", {}),
    ("a.tif", "CMYK", {"compression": "tiff_lzw"}),
    ("a.tif", "P", {"compression": "packbits"}),
    ("a.tif", "1", {"compression": "group4"}),
    ("a.tif", "RGB", {"compression": "jpeg"}),
    ("a.tif", "F", {"compression": "tiff_adobe_deflate"}),
    ("a.tif", "I", {}),
    ("a.bmp", "RGB", {}),
    ("a.gif", "P", {}),
    ("a.tga", "RGBA", {"compression": "tga_rle"}),
    ("a.ppm", "RGB", {}),
    ("a.jp2", "RGB", {}),
    ("a.avif", "RGB", {}),
]


def seeds() -> list[tuple[str, bytes]]:
    """A small file of every kind, most with EXIF."""
    noise = np.random.default_rng(0).integers(0, 255, (40, 33, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[271], exif[274] = "A camera", 6
    exif.get_ifd(34665)[36867] = "1999:12:31 23:59:59"
    made = []
    for name, mode, options in _KINDS:
        if name.endswith("avif") and "avif" not in features.get_supported():
            continue
        image = Image.fromarray(noise)
        image = image.convert("L").convert(mode) if mode in "FI" else image.convert(mode)
        if name.endswith((".png", ".jpg", ".webp", ".avif")):
            options = options | {"exif": exif.tobytes()}
        buffer = io.BytesIO()
        image.save(buffer, Image.registered_extensions()[Path(name).suffix], **options)
        made.append((name, buffer.getvalue()))
    return made


def damaged(data: bytes, chance: random.Random) -> bytes:
    """The file cut off, or with a few bytes changed, taken out or set to extremes."""
    if chance.random() < 0.25:
        return data[: chance.randrange(1, len(data))]
    changed = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 4, 16])):
        at = chance.randrange(len(changed) if chance.random() < 0.4 else min(len(changed), 400))
        action = chance.random()
        if action < 0.3:
            extremes = (b"\xff\xff\xff\xff", bytes(4), b"\x7f\xff\xff\xff", b"\0\0\0\1")
            changed[at : at + 4] = chance.choice(extremes)
        elif action < 0.5 and len(changed) > 40:
            del changed[at : at + chance.randrange(1, 20)]
        else:
            changed[at] = chance.randrange(256)
    return bytes(changed)


def main(seconds: float = 60, seed: int = 0) -> int:
    """The number of findings."""
    logging.disable(logging.CRITICAL)
    chance, files, counts, slowest = random.Random(seed), seeds(), Counter(), 0.0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        name, data = chance.choice(files)
        data, start = damaged(data, chance), time.monotonic()
        try:
            decode(data, Path(name))
            counts["read"] += 1
        except GPENError:
            counts["refused"] += 1
        except Exception as error:  # noqa: BLE001, a fuzzer is there to catch whatever comes
            counts["findings"] += 1
            Path(f"finding-{counts['findings']}{Path(name).suffix}").write_bytes(data)
            warnings.warn(f"{name}: {error!r}", stacklevel=1)
        seconds_taken = time.monotonic() - start
        slowest = max(slowest, seconds_taken)
        if seconds_taken > _SLOW:
            counts["findings"] += 1
            Path(f"finding-{counts['findings']}{Path(name).suffix}").write_bytes(data)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    sys.stdout.write(f"{dict(counts)}, slowest {slowest:.1f} s, peak {peak} MB\n")
    return counts["findings"]


if __name__ == "__main__":
    sys.exit(min(main(*(int(value) for value in sys.argv[1:3])), 1))
