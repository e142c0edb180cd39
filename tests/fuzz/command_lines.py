"""Command lines put together at random: `python tests/fuzz/command_lines.py [seconds] [seed]`.

`gpen restore` with any of its flags and with values that are sensible, at a limit, beyond it, or
nonsense, on folders in which some files are no pictures. Each line must end with exit code 0, 1 or
2 and without a traceback, leave every input as it was, and leave no scratch file behind. The first
line that does not is printed.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

import torch
from small_models import first_version

from gpen_core.cli.app import run as gpen

ODD = [
    "",
    " ",
    "-1",
    "0",
    "1e9",
    "nan",
    "inf",
    "a",
    "é\n",
    "../..",
    "~nobody",
    "0" * 300,
    "\x1b[31m",
]
FLAGS = {
    "--strength": ["0", "0.5", "1", "1.01"],
    "--batch_size": ["1", "64", "65"],
    "--keep": ["all", "none", "largest", "0", "-1", "0,2", "3-0", "0-", "x"],
    "--sort": ["area", "detected", "size"],
    "--confidence": ["0.1", "0.9", "1", "1.1"],
    "--min_size": ["1", "16384", "40"],
    "--max_size": ["1", "30"],
    "--long_side": ["64", "200"],
    "--mask": ["ellipse", "hull", "rectangle", "parsing", "face"],
    "--exclude": ["hair", "eyes,nose", "wig"],
    "--feather": ["0", "128"],
    "--border": ["0", "128"],
    "--color_match": ["0", "1"],
    "--grain": ["0", "1"],
    "--upscale": ["1", "2", "3"],
    "--template": ["gpen", "ffhq", "other"],
    "--size": ["64", "512"],
    "--format": ["png", "jpg", "gif", "tiff", "mp4"],
    "--quality": ["1", "100", "101"],
    "--suffix": ["x", "a/b", "restored"],
    "--detector": ["mtcnn", "retinaface-mobile0.25", "none"],
    "--device": ["cpu", "cuda:7", "tpu"],
    "--precision": ["fp32", "bf16", "fp8"],
    "--report": ["report.json", "good.png", "new/report.json", "."],
    "--background": ["big.png", "gone.png", "."],
    "--user_mask": ["mask.png", "broken.png", "."],
    "--save_crops": ["crops", "good.png"],
    "--output": ["out", "out.png", "good.png", "mask.png/x", "."],
    "--frames": ["0-1", "5"],
    "--codec": ["h264", "x"],
}
SWITCHES = ["--recursive", "--skip_existing", "--dry_run", "--compare", "--overwrite", "--aligned"]
SWITCHES += ["--no_check", "--face_align", "--rotations", "--skip_sharp", "--small_face_filter"]
INPUTS = [
    "good.png",
    "gray.jpg",
    "broken.png",
    "text.jpg",
    "empty.png",
    "sub",
    ".",
    "*.png",
    "gone.png",
]


def fill(folder: Path) -> None:
    """Pictures, one with a face, and files that are none."""
    photo = Image.open(ROOT / "docs" / "samples" / "astronaut-damaged.jpg").convert("RGB")
    photo.crop((90, 10, 350, 270)).resize((96, 96)).save(folder / "good.png")
    Image.new("L", (40, 30), 90).save(folder / "gray.jpg")
    Image.new("RGB", (192, 192)).save(folder / "big.png")
    Image.new("L", (9, 7), 255).save(folder / "mask.png")
    (folder / "broken.png").write_bytes((folder / "good.png").read_bytes()[:400])
    (folder / "text.jpg").write_text("not a picture")
    (folder / "empty.png").touch()
    (folder / "sub").mkdir()
    shutil.copy(folder / "good.png", folder / "sub" / "also.png")


def line(chance: random.Random, model: Path) -> list[str]:
    """One command line."""
    words = ["restore", *chance.sample(INPUTS, chance.choice([0, 1, 1, 1, 2, 3]))]
    if chance.random() < 0.95:
        words += ["--model_path", str(model)]
    for flag in chance.sample(sorted(FLAGS), chance.randint(0, 4)):
        value = chance.choice(ODD) if chance.random() < 0.15 else chance.choice(FLAGS[flag])
        words += [flag, value]
    return words + chance.sample(SWITCHES, chance.choice([0, 0, 1, 1, 2, 3]))


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def problem(words: list[str], folder: Path) -> tuple[str | None, object]:
    """What is wrong with how a line ends, and its exit code."""
    before = hashes(folder)
    said = io.StringIO()
    try:
        # The console writes to what stderr is at the moment.
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            code = gpen(words)
    except BaseException as error:  # noqa: BLE001 - any is a finding
        return f"{type(error).__name__}: {error}", None
    after = hashes(folder)
    text = said.getvalue()
    if code not in (0, 1, 2):
        return f"exit code {code}", code
    if "Traceback" in text or "unexpected " in text:
        return text[-400:], code
    if "\x1b[31m" in text:
        return "a control character from an argument reached the terminal", code
    changed = [name for name, digest in before.items() if after.get(name) != digest]
    if changed:
        return f"{changed[0]} is not what it was", code
    scratch = [name for name in after if ".part" in name or ".gpen" in name]
    return (f"{scratch[0]} is left behind" if scratch else None), code


def findings(seed: int) -> Iterator[tuple[list[str], str | None, object]]:
    """Line after line: the line, what is wrong, its exit code."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as place:
        model, folder = Path(place, "small.pth"), Path(place, "work")
        torch.save(first_version(), model)
        while True:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            fill(folder)
            words = line(chance, model)
            with in_folder(folder):
                wrong, code = problem(words, folder)
            yield words, wrong, code


@contextlib.contextmanager
def in_folder(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def main(seconds: float, seed: int) -> int:
    counts, end = Counter[object](), time.monotonic() + seconds
    for words, wrong, code in findings(seed):
        if wrong is not None:
            print(f"gpen {' '.join(map(repr, words))}\n{wrong}")
            return 1
        counts[code] += 1
        if time.monotonic() > end:
            break
    total = sum(counts.values())
    print(f"{total} command lines, exit codes {dict(sorted(counts.items(), key=str))}; no finding")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(float((sys.argv[1:] or ["60"])[0]), int((sys.argv[2:] or ["0"])[0])))
