"""Memory over thousands of pictures: `python tests/faults/long_run.py [--count 2000] [--seed 0]`.

Made pictures of random sizes, 64 to 1500 px a side (small ones more often), formats and depths, one
in three with a face, go one after the other through the real job with a small network; now and then
a damaged file. The memory of the process is read after each of them. What is freed is given back
every 25 pictures; what is held then has to stay: flat is at most a tenth more in the last quarter
than up to picture 200 (or a tenth of the way). What is taken in between depends on the sizes.
"""

from __future__ import annotations

import argparse
import logging
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "fuzz")]

from gpen_core.memory.process import prepare_memory, return_freed_memory

if __name__ == "__main__":
    prepare_memory()  # as the command does, before PyTorch is there

import numpy as np
import torch
from PIL import Image
from small_models import first_version

from gpen_core.batch.files import restore_files
from gpen_core.batch.job import Job
from gpen_core.faces.detector import load_detector
from gpen_core.models.load import load_model
from gpen_core.run import Run, Tools

SIDES = (64, 1500)
SUFFIXES = (".jpg", ".jpg", ".png", ".webp", ".tif", ".bmp")
GROWTH, EVERY = 1.1, 25


def picture(path: Path, face: Image.Image, dice: random.Random) -> None:
    """Write a made picture of a random size."""
    low, high = SIDES
    # Logarithmic: as many between 64 and 128 px as between 512 and 1024.
    width, height = (round(low * (high / low) ** dice.random()) for _ in range(2))
    noise = np.random.default_rng(dice.randrange(1 << 30)).integers(0, 255, (8, 8, 3), np.uint8)
    image = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
    side = round(min(width, height) * dice.uniform(0.5, 1))
    if dice.random() < 1 / 3:
        place = (dice.randint(0, width - side), dice.randint(0, height - side))
        image.paste(face.resize((side, side)), place)
    image = image.convert("L") if dice.random() < 0.1 else image
    image.save(path)
    if dice.random() < 0.02:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def resident() -> int:
    """Memory of this process in MB; where the system does not tell, the most it ever had."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    return pages * resource.getpagesize() >> 20


def run(count: int, seed: int) -> tuple[list[int], dict[str, int]]:
    """MB after each picture, and how the pictures ended."""
    dice, ends, memory = random.Random(seed), dict[str, int](), []
    face = Image.open(ROOT / "docs" / "samples" / "astronaut-damaged.jpg").convert("RGB")
    worker = Run(Tools(load_model(first_version()), load_detector()))
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            source = Path(folder) / f"{number}{dice.choice(SUFFIXES)}"
            picture(source, face, dice)
            target = source.with_name(f"{number}_restored{source.suffix}")
            (outcome,) = restore_files(Job(((source, target),)), worker)
            ends[outcome.status] = ends.get(outcome.status, 0) + 1
            return_freed_memory(number + 1)
            memory.append(resident())
            source.unlink()
            target.unlink(missing_ok=True)
            if (number + 1) % 100 == 0:
                print(f"{number + 1}: {memory[-1]} MB", flush=True)
    return memory, ends


def held(memory: list[int]) -> list[int]:
    """The least of every 25 pictures."""
    return [min(memory[i : i + EVERY]) for i in range(0, len(memory), EVERY)]


def is_flat(memory: list[int]) -> bool:
    """Whether the end holds no more than the beginning.

    >>> is_flat([100, 500, 300, 100] * 100), is_flat(list(range(100, 500)))
    (True, False)
    """
    least = held(memory)
    start = min(200, max(len(memory) // 10, 1)) // EVERY
    return max(least[-max(len(least) // 4, 1) :]) <= GROWTH * max(least[: max(start, 1)])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    began = time.monotonic()
    memory, ends = run(options.count, options.seed)
    seconds = time.monotonic() - began
    print(f"{ends}, {seconds:.0f} s; at most {max(memory)} MB")
    print("flat" if is_flat(memory) else "FINDING memory grows")
    return int(not is_flat(memory))


if __name__ == "__main__":
    sys.exit(main())
