"""Where the time of a film goes, and how much memory it takes.

    python benchmarks/films.py --size 1280 720 --frames 100 --detect_every 1 5
    python benchmarks/films.py --size 3840 2160 --frames 14 --codec libx265 \\
        --pixel_format yuv420p10le

A photograph is panned behind a window of that size, with one face in every frame. Printed for each
`detect_every`: how many frames were searched, seconds of the processor for all, the shares of
detection (a picture made smaller, its fading looked for, and searched), of the network and of the
rest in them and in the seconds that passed, and the most memory taken above that of the loaded
networks. The rest runs beside the network, on a second core. Memory is allocated as in the command,
or with `--host` as in ComfyUI, whose allocator is left as it is.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest import mock

import av
import torch
from PIL import Image

from gpen_core.faces.detect import detect
from gpen_core.faces.detector import load_detector
from gpen_core.faces.found import Faces
from gpen_core.films import survey
from gpen_core.films.restore import restore_film
from gpen_core.memory.process import prepare_memory
from gpen_core.models.load import load_model
from gpen_core.options import Options
from gpen_core.run import Run, Tools

ROOT = Path(__file__).resolve().parents[1]
PHOTO = ROOT / "docs" / "samples" / "astronaut-damaged.jpg"


class Clock:
    """Seconds of the processor, and seconds that passed, in blocks, by name."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.passed: Counter[str] = Counter()

    @contextmanager
    def running(self, name: str) -> Iterator[None]:
        start, begun = time.thread_time(), time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.thread_time() - start
            self.passed[name] += time.perf_counter() - begun


class TimedRun(Run):
    """A run whose network is timed."""

    clock: Clock

    def restore(self, faces: Faces) -> Faces:
        with self.clock.running("network"):
            return super().restore(faces)


class Memory:
    """The most memory held while a block runs, in MB above what was held before."""

    def __enter__(self) -> Memory:
        self._before, self.most, self._done = _resident(), 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(0.05):
            self.most = max(self.most, _resident() - self._before)

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()


def _resident() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def make_film(path: Path, size: tuple[int, int], frames: int, codec: str, pixels: str) -> None:
    """A film whose face is about two fifths as high as the picture."""
    width, height = size
    photo = Image.open(PHOTO).convert("RGB")
    side = 1.3 * width
    photo = photo.resize((round(side), round(side)), Image.Resampling.BICUBIC)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"crf": "16"})
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        for index in range(frames):
            x = round((0.15 + 0.1 * math.sin(index / 30)) * width)
            y = round((0.02 + 0.02 * math.cos(index / 40)) * height)
            frame = av.VideoFrame.from_image(photo.crop((x, y, x + width, y + height)))
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame.reformat(format=pixels)))
        container.mux(stream.encode())


def measure(film: Path, detect_every: int, model: Path) -> None:
    """Restore the film once and print a row."""
    clock = Clock()
    run = TimedRun(Tools(load_model(model), load_detector()), Options.of(detect_every=detect_every))
    run.clock = clock
    start, begun = time.process_time(), time.perf_counter()

    def timed(*arguments: Any) -> Faces:
        with clock.running("detection"):
            return detect(*arguments)

    with Memory() as memory, mock.patch.object(survey, "detect", timed):
        report = restore_film(film, film.with_name(f"out{detect_every}.mp4"), run)
    total, passed = time.process_time() - start, time.perf_counter() - begun
    print(
        f"detect_every {detect_every}: {report.frames} frames, {report.survey.looked} searched; "
        f"{total:.1f} s of the processor: {_shares(clock.seconds, total)}; "
        f"{passed:.1f} s passed: {_shares(clock.passed, passed)}; {memory.most:.0f} MB"
    )


def _shares(seconds: Counter[str], total: float) -> str:
    named = {**seconds, "the rest": total - sum(seconds.values())}
    return ", ".join(f"{name} {value / total:.0%}" for name, value in named.items())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, nargs=2, default=(1280, 720))
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--detect_every", type=int, nargs="+", default=(1, 5))
    parser.add_argument("--model", type=Path, default=ROOT / "weights/gpen-lite-256.safetensors")
    parser.add_argument("--codec", default="libx264")
    parser.add_argument("--pixel_format", default="yuv420p")
    parser.add_argument("--host", action="store_true")
    arguments = parser.parse_args()
    if not arguments.host:
        prepare_memory()
    # Of one thread the processor's time is that of the work; the encoder has its own.
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder, "film.mp4")
        # In a process of its own, or what it leaves behind would be there before.
        what = (film, tuple(arguments.size), arguments.frames)
        how = (arguments.codec, arguments.pixel_format)
        making = multiprocessing.get_context("spawn").Process(target=make_film, args=(*what, *how))
        making.start()
        making.join()
        for detect_every in arguments.detect_every:
            measure(film, detect_every, arguments.model)


if __name__ == "__main__":
    main()
