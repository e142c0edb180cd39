"""Which encoder writes a film's picture, with which settings, and one part of it encoded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import av
import torch
from av.codec.codec import find_best_pix_fmt_of_list
from av.video.stream import VideoStream

from ..errors import InputError
from .film import HUGE
from .light import x265_parameters
from .planes import PlanarFormat, converted

# Encoders look ahead some 40 frames (x264) or 20 (x265). Of frames larger than 1080p it is as many
# fewer as they are larger, so that the memory stays about the same.
_LARGE, _AHEAD = 1920 * 1088, {"libx264": 40, "libx265": 20}
# Of huge ones they keep as few frames as they can without their files growing much: at 4K x264
# takes 290 MB instead of 600, x265 (one thread) 970 instead of 1,260, with files a fifth larger.
# Without any frame predicted from both sides x265 takes 720, for files two fifths larger still.
_FEW = ["rc-lookahead=2", "bframes=1", "ref=1"]
_FEW_AT_ONCE = {"libx264": "sliced-threads=1", "libx265": "frame-threads=1"}
# What FFmpeg calls the quantizer of MPEG-like encoders, in its own fixed-point steps.
_LAMBDA = 118
_QSCALE_FLAG = 1 << 1


@dataclass(frozen=True)
class _Kind:
    """An encoder.

    Attributes:
        name: FFmpeg's.
        scale: of its quality, empty where it has none.
        worst: quality on that scale.
        options: others.
        part: what holds its packets with exact times.
        rated: it takes frames of a standard rate only, and no times.
    """

    name: str
    scale: str = ""
    worst: int = 51
    options: dict[str, str] = field(default_factory=dict)
    part: str = "matroska"
    rated: bool = False


# With AVX-512, x264 (core 165) gives a few other bytes from run to run (in `mbtree`), and what is
# done again would not equal what an unbroken run makes.
_REPEATABLE = (
    {"x264-params": "asm=AVX2"} if torch.backends.cpu.get_cpu_capability() == "AVX512" else {}
)
_QUIET = {"x265-params": "log-level=error"}
_KINDS = {
    "h264": _Kind("libx264", "crf", options=_REPEATABLE),
    "hevc": _Kind("libx265", "crf", options=_QUIET),
    "vp8": _Kind("libvpx", "crf", 63, {"b:v": "0", "cpu-used": "4"}),
    "vp9": _Kind("libvpx-vp9", "crf", 63, {"b:v": "0", "cpu-used": "4", "row-mt": "1"}),
    "av1": _Kind("libsvtav1", "crf", 63, {"preset": "6"}),
    "mjpeg": _Kind("mjpeg", "qscale", 31),
    "mpeg4": _Kind("mpeg4", "qscale", 31),
    "mpeg2video": _Kind("mpeg2video", "qscale", 31, rated=True),
    "mpeg1video": _Kind("mpeg1video", "qscale", 31, rated=True),
    "prores": _Kind("prores_ks"),
    "ffv1": _Kind("ffv1", options={"level": "3", "slicecrc": "1"}),
    "utvideo": _Kind("utvideo", part="nut"),
    "huffyuv": _Kind("huffyuv", part="nut"),
    "ffvhuff": _Kind("ffvhuff", part="nut"),
    "png": _Kind("png", part="mov"),
    "qtrle": _Kind("qtrle", part="mov"),
}
CODECS = tuple(_KINDS)
"""What films can be encoded with."""

# What is not written, but loses nothing, becomes FFV1, which loses nothing either.
_LOSSLESS = {"rawvideo", "v210", "v308", "v408", "v410", "r210", "r10k", "y41p", "yuv4", "avui"}
_LOSSLESS |= {"magicyuv", "lagarith", "cllc", "msrle", "gif", "zlib", "flashsv", "tscc", "zmbv"}
# Frames a second of MPEG-1 and MPEG-2.
_RATES = {Fraction(n) for n in (24, 25, 30, 50, 60)}
_RATES |= {Fraction(n * 1000, 1001) for n in (24, 30, 60)}
# What the quality's range of 1 to 100 has in the middle of what is hardly told from the original.
DEFAULT_CRF = 16
_DEFAULT_QSCALE = 2


@dataclass(frozen=True)
class Encoding:
    """How a film's picture is encoded.

    Attributes:
        codec: FFmpeg's name of the format.
        encoder: FFmpeg's name of what writes it.
        pixel_format: of the frames it is given.
        options: the encoder's.
        qscale: quantizer of encoders that take one, else None.
        part: format of the files of parts.
        rated: the encoder takes frames of a standard rate only, and no times.
        remarks: what the film's own settings could not give, a sentence each.

    Example:
        >>> Encoding.choose("h264", "yuv420p").options["crf"]
        '16'
        >>> Encoding.choose("wmv3", "yuv420p").remarks[0]
        'wmv3 cannot be written; the film is encoded as h264.'
    """

    codec: str
    encoder: str
    pixel_format: str
    options: dict[str, str]
    qscale: int | None = None
    part: str = "matroska"
    rated: bool = False
    remarks: tuple[str, ...] = ()

    @classmethod
    def choose(cls, codec: str, pixel_format: str, *, quality: int | None = None) -> Encoding:
        """As `codec` where that can be written, else as `writable` says.

        Args:
            codec: wanted; the film's.
            pixel_format: the film's.
            quality: 1 to 100; 100 is the encoder's best. Lossless encoders have none.

        Raises:
            InputError: this build of FFmpeg lacks the encoder.
        """
        planar = PlanarFormat.of(pixel_format)
        wanted, remarks = writable(codec, planar), list[str]()
        if wanted != codec:
            remarks.append(f"{codec} cannot be written; the film is encoded as {wanted}.")
        kind = _KINDS[wanted]
        offered = _formats_of(kind.name)
        if kind.name == "libx264" and planar.rgb:
            kind = _Kind("libx264rgb", kind.scale, kind.worst, _REPEATABLE)
            offered = _formats_of(kind.name)
        chosen, loss = _closest(planar.name, offered)
        if loss:
            remarks.append(f"{wanted} has no {planar.name}; the film is encoded as {chosen}.")
        options = dict(kind.options)
        if kind.scale == "crf":
            options["crf"] = str(_crf(quality, kind.worst))
        if quality is not None and not kind.scale:
            remarks.append(f"{wanted} has no quality to choose; it is ignored.")
        qscale = _qscale(quality, kind.worst) if kind.scale == "qscale" else None
        return cls(
            wanted, kind.name, chosen, options, qscale, kind.part, kind.rated, tuple(remarks)
        )

    def without_reordering(self) -> Encoding:
        """The same, shown in the order in which it is stored, for formats without times."""
        if self.codec not in ("h264", "hevc"):
            return self
        # Matroska would keep the parameters apart from the frames, where AVI has no place for them.
        return replace(self, options=self.options | {"bf": "0"}, part="nut")


def writable(codec: str, planar: PlanarFormat, rate: Fraction | None = None) -> str:
    """A codec that can be written: this one, or FFV1 if it loses nothing, or H.264, or H.265.

    Args:
        codec: FFmpeg's name.
        planar: format of the frames; above 8 bits they need H.265.
        rate: frames a second, where some codecs only have certain ones.

    Example:
        >>> writable("v210", PlanarFormat.of("yuv422p10le"))
        'ffv1'
        >>> writable("mpeg2video", PlanarFormat.of("yuv420p"), Fraction(15))
        'h264'
    """
    if codec in _KINDS and not (_KINDS[codec].rated and rate is not None and rate not in _RATES):
        return codec
    if codec in _LOSSLESS:
        return "ffv1"
    return "h264" if planar.bits == 8 else "hevc"


def check_codec(asked: str) -> None:
    """Refuse a codec that is not among `CODECS`.

    Raises:
        InputError: names those.

    Example:
        >>> check_codec("h263")
        Traceback (most recent call last):
        gpen_core.errors.InputError: codec must be one of h264, hevc, vp8, ...
    """
    if asked not in _KINDS:
        raise InputError(
            f"codec must be one of {', '.join(CODECS)}, not {asked!r}.", option="codec"
        )


def _crf(quality: int | None, worst: int) -> int:
    crf = DEFAULT_CRF if quality is None else (100 - quality) / 2
    return round(crf * worst / 51)


def _qscale(quality: int | None, worst: int) -> int:
    return _DEFAULT_QSCALE if quality is None else max(1, round((100 - quality) * worst / 100))


def _formats_of(encoder: str) -> list[str]:
    try:
        found = av.Codec(encoder, "w").video_formats
    except (ValueError, av.error.FFmpegError) as error:
        raise InputError(
            f"This build of FFmpeg has no encoder {encoder}; choose another codec.", option="codec"
        ) from error
    return [one.name for one in found or []]


def _closest(name: str, offered: list[str]) -> tuple[str, bool]:
    """The pixel format nearest to this one, and whether something is lost."""
    if not offered or name in offered:
        return name, False
    plain = name.replace("yuvj", "yuv")
    if plain in offered:
        return plain, False
    same = [one for one in offered if _samples(one) == _samples(name)]
    if same:
        return same[0], False
    alpha = any(one.is_alpha for one in av.VideoFormat(name).components)
    best, loss = find_best_pix_fmt_of_list(offered, name, alpha)
    assert best is not None
    return best.name, bool(loss)


def _samples(name: str) -> str:
    """The planar format of the same samples; an unused byte (`bgr0`) is no sample."""
    try:
        return PlanarFormat.of(name).name
    except InputError:
        return name


class Part:
    """Some frames in a row, encoded into a file of their own.

    Example:
        >>> import tempfile
        >>> encoding, frame = Encoding.choose("ffv1", "yuv420p"), av.VideoFrame(64, 48)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with Part.writing(Path(folder, "part.mkv"), encoding, frame) as part:
        ...         part.add(frame, 0)
        ...     Path(folder, "part.mkv").stat().st_size > 0
        True
    """

    def __init__(
        self, container: av.container.OutputContainer, stream: VideoStream, encoding: Encoding
    ) -> None:
        self._container, self._stream, self._encoding = container, stream, encoding
        self._start: int | None = None
        self._count = 0

    @classmethod
    @contextmanager
    def writing(
        cls, path: Path, encoding: Encoding, like: av.VideoFrame, timing: Timing | None = None
    ) -> Iterator[Part]:
        """A part in the file `path`, finished when the block ends.

        Args:
            path: in the format that the encoding says, whatever its extension.
            encoding: how.
            like: a frame, whose size and color tags are the film's.
            timing: time base and rate of the film.
        """
        timing = timing or Timing()
        with av.open(f"file:{path}", "w", format=encoding.part) as container:
            stream = container.add_stream(encoding.encoder, rate=timing.rate)
            assert isinstance(stream, VideoStream)
            _configure(stream, encoding, like, timing)
            part = cls(container, stream, encoding)
            yield part
            for packet in stream.encode(None):
                container.mux(packet)

    def add(self, frame: av.VideoFrame, time: int) -> None:
        """The next frame, shown at `time`; its samples are those encoded, if the encoder can."""
        self._start = time if self._start is None else self._start
        if frame.format.name != self._encoding.pixel_format:
            frame = converted(frame, self._encoding.pixel_format)
        frame.pts = self._count if self._encoding.rated else time - self._start
        frame.time_base = self._stream.codec_context.time_base
        self._count += 1
        frame.pict_type = 0  # the encoder decides, not the one before it
        for packet in self._stream.encode(frame):
            self._container.mux(packet)


@dataclass(frozen=True)
class Timing:
    """Time base, rate and the shape of a pixel."""

    time_base: Fraction = Fraction(1, 25)
    rate: Fraction = Fraction(25)
    sample_aspect: Fraction | None = None


def _configure(
    stream: VideoStream, encoding: Encoding, like: av.VideoFrame, timing: Timing
) -> None:
    context = stream.codec_context
    stream.width, stream.height = like.width, like.height
    stream.pix_fmt = encoding.pixel_format
    unit = 1 / timing.rate if encoding.rated else timing.time_base
    stream.time_base = context.time_base = unit
    context.color_range, context.colorspace = int(like.color_range), int(like.colorspace)
    context.color_primaries, context.color_trc = int(like.color_primaries), int(like.color_trc)
    if timing.sample_aspect:
        context.sample_aspect_ratio = timing.sample_aspect
    context.thread_count = 0  # as many as suit
    context.options = encoding.options | _private(encoding, like)
    if encoding.qscale is not None:
        context.flags |= _QSCALE_FLAG
        context.global_quality = encoding.qscale * _LAMBDA


def _private(encoding: Encoding, like: av.VideoFrame) -> dict[str, str]:
    """The parameters of x264 or x265 that depend on the frames."""
    name = f"{encoding.encoder.removeprefix('lib').removesuffix('rgb')}-params"
    parameters = [one for one in encoding.options.get(name, "").split(":") if one]
    most, pixels = _AHEAD.get(encoding.encoder), like.width * like.height
    if most is not None and pixels >= HUGE:
        ordered = "bf" in encoding.options
        parameters += [one for one in _FEW if not (ordered and one.startswith("bframes"))]
        parameters.append(_FEW_AT_ONCE[encoding.encoder])
    elif most is not None and pixels > _LARGE:
        parameters.append(f"rc-lookahead={most * _LARGE // pixels}")
    if encoding.encoder == "libx265":
        parameters += x265_parameters(like)
    return {name: ":".join(parameters)} if parameters else {}
