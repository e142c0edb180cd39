"""TIFF files of any kind, written by other code than the library's."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

SHORT, LONG, RATIONAL, ASCII, UNDEFINED = 3, 4, 5, 2, 7
_LETTERS = {SHORT: "H", LONG: "L", RATIONAL: "L", ASCII: "B", UNDEFINED: "B"}


def _packbits(data: bytes) -> bytes:
    blocks = [data[start : start + 128] for start in range(0, len(data), 128)]
    return b"".join(bytes([len(block) - 1]) + block for block in blocks)


_PACK = {1: bytes, 8: zlib.compress, 32946: zlib.compress, 32773: _packbits}


def _make(
    samples: np.ndarray,
    photometric: int,
    *,
    order: str = "<",
    compression: int = 1,
    planar: bool = False,
    predictor: bool = False,
    tile: int = 0,
    rows: int = 7,
    tags: dict | None = None,
    children: dict | None = None,
    pages: int = 1,
) -> bytes:
    """A TIFF of (H, W, C) samples; `tags` {tag: (type, values)}, `children` {tag: such tags}."""
    height, width, channels = samples.shape
    size = samples.dtype.itemsize
    planes = [samples[..., i : i + 1] for i in range(channels)] if planar else [samples]
    pieces = []
    for plane in planes:
        if tile:
            grid = np.pad(plane, ((0, -height % tile), (0, -width % tile), (0, 0)))
            pieces += [
                grid[top : top + tile, left : left + tile]
                for top in range(0, grid.shape[0], tile)
                for left in range(0, grid.shape[1], tile)
            ]
        else:
            pieces += [plane[top : top + rows] for top in range(0, height, rows)]
    if predictor:
        pieces = [np.concatenate([p[:, :1], np.diff(p, axis=1)], 1) for p in pieces]
    kind = samples.dtype.newbyteorder(order)
    packed = [_PACK[compression](piece.astype(kind).tobytes()) for piece in pieces]
    code = {"u": 1, "i": 2, "f": 3}[samples.dtype.kind]
    counts = [len(each) for each in packed]
    offsets = [8 + sum(counts[:index]) for index in range(len(counts))]
    base = {
        256: (LONG, [width]),
        257: (LONG, [height]),
        258: (SHORT, [8 * size] * channels),
        259: (SHORT, [compression]),
        262: (SHORT, [photometric]),
        277: (SHORT, [channels]),
        284: (SHORT, [2 if planar else 1]),
        339: (SHORT, [code] * channels),
    }
    if predictor:
        base[317] = (SHORT, [2])
    if tile:
        base |= {322: (LONG, [tile]), 323: (LONG, [tile])}
        base |= {324: (LONG, offsets), 325: (LONG, counts)}
    else:
        base |= {278: (LONG, [rows]), 273: (LONG, offsets), 279: (LONG, counts)}
    base |= tags or {}
    body = b"".join(packed)
    file = bytearray(b"II*\0" if order == "<" else b"MM\0*")
    start = 8 + len(body) + len(body) % 2
    file += struct.pack(order + "L", start) + body.ljust(start - 8, b"\0")
    for page in range(pages):
        file += _directory(base, children or {}, len(file), order, page + 1 < pages)
    return bytes(file)


def _directory(base: dict, children: dict, start: int, order: str, more: bool) -> bytes:
    entries = dict(base) | {tag: (LONG, [0]) for tag in children}
    behind, at = b"", start + 2 + 12 * len(entries) + 4
    table = struct.pack(order + "H", len(entries))
    for tag in sorted(entries):
        kind, values = entries[tag]
        data = struct.pack(f"{order}{len(values)}{_LETTERS[kind]}", *values)
        if tag in children:
            data = struct.pack(order + "L", at + len(behind))
            behind += _directory(children[tag], {}, at + len(behind), order, False)
        elif len(data) > 4:
            where = at + len(behind)
            behind += data + bytes(len(data) % 2)
            data = struct.pack(order + "L", where)
        count = len(values) // (2 if kind == RATIONAL else 1)
        table += struct.pack(order + "HHL", tag, kind, count) + data.ljust(4, b"\0")
    return table + struct.pack(order + "L", at + len(behind) if more else 0) + behind


@pytest.fixture(scope="session")
def make_tiff():
    """See `_make`."""
    return _make


@pytest.fixture(scope="session")
def make_samples():
    """(H, W, C) samples of a type over its whole range, repeatable."""

    def make(shape: tuple[int, ...], kind: str = "u1", seed: int = 0) -> np.ndarray:
        random = np.random.default_rng(seed)
        if np.dtype(kind).kind == "f":
            return random.random(shape).astype(kind)
        limits = np.iinfo(kind)
        return random.integers(limits.min, limits.max, shape, dtype=kind, endpoint=True)

    return make
