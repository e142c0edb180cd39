"""The light levels of HDR10: what a film says of its screen, handed to the encoder."""

from __future__ import annotations

import struct

import av
from av.sidedata.sidedata import Type

# FFmpeg's AVMasteringDisplayMetadata: primaries (R, G, B, each x and y), white point, least and
# most luminance as fractions of two integers, then which of them are known.
_SCREEN = struct.Struct("=20i2i")
# SMPTE ST 2086 as x265 takes it: units of 1/50,000 of a chromaticity, of 1/10,000 cd/m2.
_PER_CHROMATICITY, _PER_CANDELA = 50_000, 10_000
_LEVELS = struct.Struct("=2I")


def x265_parameters(frame: av.VideoFrame) -> list[str]:
    """Parameters of x265 that write what a frame says of its light; none where it says nothing.

    Example:
        >>> x265_parameters(av.VideoFrame(64, 48))
        []
    """
    parameters = []
    screen = _of(frame, Type.MASTERING_DISPLAY_METADATA)
    if screen is not None and (text := _screen(screen)):
        parameters.append(f"master-display={text}")
    levels = _of(frame, Type.CONTENT_LIGHT_LEVEL)
    if levels is not None and len(levels) >= _LEVELS.size:
        most, average = _LEVELS.unpack_from(levels)
        parameters.append(f"max-cll={most},{average}")
    return parameters


def _of(frame: av.VideoFrame, kind: Type) -> bytes | None:
    # PyAV's stub knows names alone; it takes its own types.
    found = frame.side_data.get(kind)  # type: ignore[call-overload]
    return None if found is None else bytes(found)


def _screen(data: bytes) -> str | None:
    if len(data) < _SCREEN.size:
        return None
    *fractions, has_primaries, has_luminance = _SCREEN.unpack_from(data)
    if not (has_primaries and has_luminance):
        return None
    values = [top / bottom if bottom else 0.0 for top, bottom in _pairs(fractions)]
    steps = [round(value * _PER_CHROMATICITY) for value in values[:8]]
    least, most = (round(value * _PER_CANDELA) for value in values[8:])
    red, green, blue, white = _pairs(steps)
    named = (("G", green), ("B", blue), ("R", red), ("WP", white), ("L", (most, least)))
    return "".join(f"{name}({one},{other})" for name, (one, other) in named)


def _pairs(values: list[int]) -> list[tuple[int, int]]:
    return list(zip(values[::2], values[1::2], strict=True))
