"""Hostile model files by the million: every one has to be refused in one sentence, or loaded.

`make fuzz` runs it for half an hour, `FUZZ_SECONDS=60 make fuzz` for a minute. Small real files are
changed at random: with atheris, which follows what the code does with them, where it is installed
(`pip install atheris`), and without a guide elsewhere. Each file is read, identified, loaded and
converted. A finding is anything but success or a `GPENError`, text that is no single printable
line, more than 2 seconds of work, or more than 300 MB above the file's size; such a file is kept in
out/fuzz.

    python tests/fuzz/model_files.py [--seconds 1800] [--kind pickle] [--plain] [--seed 0]
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import io
import logging
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

try:
    import atheris
except ImportError:
    atheris = None

if atheris is not None and "--plain" not in sys.argv and "--kind" in sys.argv:
    with atheris.instrument_imports(include=["gpen_core"]):
        for room in ("models.convert", "models.load", "onnx.weights"):
            importlib.import_module(f"gpen_core.{room}")

import torch
from safetensors.torch import save
from small_models import first_version, in_parts, saved, second_version

from gpen_core.errors import GPENError
from gpen_core.models.cache import CACHE
from gpen_core.models.convert import convert, inspect
from gpen_core.models.load import load_model
from gpen_core.models.read import read_checkpoint, read_tensors

SECONDS, MEMORY = 2.0, 300 << 20
SHOWN = 2  # the step whose result is text for people
KINDS = ("safetensors", "pickle", "zip", "legacy", "onnx")
SUFFIX = {"safetensors": ".safetensors", "onnx": ".onnx"}


# --- real files ----------------------------------------------------------------------------------


def seeds(kind: str) -> list[bytes]:
    """Small real files of a kind; for "pickle" the pickles inside."""
    first, second = first_version(), second_version()
    if kind == "safetensors":
        half = {key: value.half() for key, value in first.items()}
        eight = {key: value.to(torch.float8_e4m3fn) for key, value in first.items()}
        return [
            save(first, {"license": "MIT", "template": "gpen"}),
            save(second, {"args": '{"input_resolution": [64, 64], "version": "v2.0-64"}'}),
            save(half),
            save(eight),
        ]
    if kind == "onnx":
        return _graphs()
    contents = [
        {"g": first, "g_ema": first, "iteration": 7},
        {f"module.{key}": value for key, value in first.items()},
        in_parts(second),
    ]
    written = [saved(content, kind != "legacy") for content in contents]
    return [_pickle_of(data) for data in written] if kind == "pickle" else written


def _pickle_of(data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read("archive/data.pkl")


def _graphs() -> list[bytes]:
    import onnx

    from gpen_core.onnx.export import export

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.onnx"
        export(load_model(first_version()), path)
        own = path.read_bytes()
    other = onnx.load_from_string(own)
    del other.metadata_props[:]
    node = onnx.helper.make_node
    small = onnx.helper.make_graph(
        [
            node("Shape", ["input"], ["s"]),
            node("ConstantOfShape", ["s"], ["z"]),
            node("Conv", ["input", "w"], ["c"], pads=[1, 1, 1, 1]),
            node("Add", ["c", "z"], ["output"]),
        ],
        "g",
        [onnx.helper.make_tensor_value_info("input", 1, ["n", 3, 64, 64])],
        [onnx.helper.make_tensor_value_info("output", 1, ["n", 3, 64, 64])],
        [onnx.helper.make_tensor("w", 1, [3, 3, 3, 3], [0.1] * 81)],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    made = onnx.helper.make_model(small, opset_imports=opset, ir_version=8)
    return [made.SerializeToString(), own, other.SerializeToString()]


def as_file(kind: str, data: bytes) -> bytes:
    """The file that is tried: a pickle goes back into an archive with storages."""
    if kind == "safetensors" and len(data) > 9:
        # Half of the files get a header of the right length, or nothing else would be seen.
        end = data.rfind(b"}}", 0, 60_000)
        if end > 0 and data[8:9] == b"{" and hashlib.md5(data).digest()[0] & 1:
            return (end + 2 - 8).to_bytes(8, "little") + data[8:]
    if kind != "pickle":
        return data
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("m/data.pkl", data)
        for key, content in _storages().items():
            archive.writestr(key, content)
    return buffer.getvalue()


def _storages(known: dict = {}) -> dict[str, bytes]:  # noqa: B006  made once
    if not known:
        data = saved({"g": first_version()}, True)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                if "/data/" in name or name.endswith("byteorder"):
                    known["m/" + name.partition("/")[2]] = archive.read(name)
    return known


# --- what is done with them ----------------------------------------------------------------------


class Finding(Exception):
    """A file that was not handled as it should be."""


def attempt(kind: str, data: bytes, folder: Path) -> str:
    """Use one file in every way; "refused" or "loaded".

    Raises:
        Finding: it led to something else, or cost too much.
    """
    path = folder / f"m{SUFFIX.get(kind, '.pth')}"
    path.write_bytes(data)
    target = folder / "x.safetensors"
    steps: tuple[Callable[[], object], ...] = (
        lambda: read_tensors(path) if kind != "onnx" else None,
        lambda: read_checkpoint(path, mapped=True),
        lambda: str(inspect(path)),
        lambda: load_model(path),
        lambda: convert(path, target, overwrite=True),
    )
    outcome = "loaded"
    for number, step in enumerate(steps):
        _reset_peak()
        before, began = _peak(), time.process_time()
        try:
            result = step()
            if number == SHOWN:
                assert isinstance(result, str)
                _check_text(result.replace("\n", ""), 10_000)
                _check_lines(result)
        except GPENError as error:
            outcome = "refused"
            _check_text(str(error), 4000)
        except Exception as error:
            raise Finding(f"step {number}: {type(error).__name__}: {error}") from error
        took, grown = time.process_time() - began, _peak() - before
        if took > SECONDS:
            raise Finding(f"step {number}: {took:.1f} s")
        if grown > MEMORY + len(data):
            raise Finding(f"step {number}: {grown >> 20} MB")
    CACHE.clear()
    return outcome


def _check_text(text: str, longest: int) -> None:
    if not text.isprintable() or len(text) > longest:
        raise Finding(f"text that is no line to be shown: {text[:200]!r}")


def _check_lines(text: str) -> None:
    names = [line[:13].strip() for line in text.splitlines()]
    if len(names) != len(set(names)):
        raise Finding(f"a forged line: {text!r}")


def _reset_peak() -> None:
    if os.access("/proc/self/clear_refs", os.W_OK):
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    if not Path("/proc/self/status").exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


# --- without atheris -----------------------------------------------------------------------------

TOKENS = [
    *(b"ctorch._utils\n_rebuild_tensor_v2\n", b"cbuiltins\nbytearray\n", b"cposix\nsystem\n"),
    *(b"R", b"Q", b"h\x00", b"q\x00", b"}", b"]", b")", b"\x85", b"t", b"(", b"2", b"."),
    *(b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f", b"r\xff\xff\xff\xff", b"X\xff\xff\xff\x7f"),
    *(b"1e999", b"[[[[[[", b'"shape":[0]', b'"F4"', b'"F8_E5M2"', b"-1", b"99999999999999999999"),
    *(b"\\u001b[2J", b"\\n", b'"__metadata__":{', b'"dtype":"I64"', b"module.", b"ecd9.0.1.weight"),
    *(b"Loop", b"Expand", b"ConstantOfShape", b"Range", b"Tile", b"Resize", b"Pad", b"../x"),
    *(
        b"\xff" * 8,
        b"\0" * 8,
        b"\xff\xff\xff\xff\x0f",
        b"\x80\x80\x80\x80\x40",
        b"PK\3\4",
        b"PK\1\2",
    ),
]


def changed(data: bytes, dice: random.Random, others: list[bytes]) -> bytes:
    """Another file: bytes set, moved, removed, repeated, or replaced by what means something."""
    out = bytearray(data)
    for _ in range(dice.choice((1, 1, 1, 2, 3, 8))):
        if not out:
            break
        # What is not weights is mostly at the front.
        at = (
            dice.randrange(len(out)) if dice.random() < 0.4 else dice.randrange(min(len(out), 4000))
        )
        what = dice.randrange(7)
        if what == 0:
            out[at] = dice.randrange(256)
        elif what == 1:
            del out[at : at + dice.choice((1, 2, 8, 200))]
        elif what == 2:
            out[at:at] = dice.choice(TOKENS)
        elif what == 3:
            token = dice.choice(TOKENS)
            out[at : at + len(token)] = token
        elif what == 4:
            out[at:at] = out[at : at + dice.choice((1, 10, 100, 3000))]
        elif what == 5:
            out[at] = (out[at] + dice.choice((-1, 1, 128))) % 256
        else:
            other = dice.choice(others)
            begin = dice.randrange(len(other))
            out[at:at] = other[begin : begin + dice.choice((4, 40, 400))]
    return bytes(out)


def files(kind: str, seed: int) -> Iterator[bytes]:
    """Changed files without end; those that are still loaded are changed further."""
    dice, known = random.Random(seed), seeds(kind)
    yield from known
    while True:
        yield changed(dice.choice(known), dice, known)


def plain(kind: str, seed: int, count: int | None, seconds: float) -> dict[str, int]:
    """Try changed files one after the other; how many were loaded and refused.

    Raises:
        Finding: as `attempt`; the file is kept.
    """
    outcomes = {"loaded": 0, "refused": 0}
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(files(kind, seed)):
            if number == count or time.monotonic() > end:
                break
            try:
                outcomes[attempt(kind, as_file(kind, data), Path(folder))] += 1
            except Finding as finding:
                raise Finding(f"{keep(kind, as_file(kind, data))}: {finding}") from finding
    return outcomes


def keep(kind: str, data: bytes) -> Path:
    """Put a file where it can be looked at."""
    folder = ROOT / "out" / "fuzz"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{kind}-{hashlib.sha256(data).hexdigest()[:12]}{SUFFIX.get(kind, '.pth')}"
    path.write_bytes(data)
    return path


# --- the command ---------------------------------------------------------------------------------


def guided(kind: str, seconds: int, seed: int) -> None:
    """Let atheris choose the files; ends the process."""
    folder = tempfile.TemporaryDirectory()
    corpus = Path(folder.name) / "corpus"
    corpus.mkdir()
    for number, data in enumerate(seeds(kind)):
        (corpus / str(number)).write_bytes(data)
    tokens = Path(folder.name) / "tokens"
    tokens.write_text(
        "\n".join('"' + "".join(f"\\x{b:02x}" for b in token) + '"' for token in TOKENS)
    )

    def one(data: bytes) -> None:
        file = as_file(kind, data)
        try:
            attempt(kind, file, Path(folder.name))
        except Finding:
            print("kept as", keep(kind, file), flush=True)
            raise

    options = [f"-max_total_time={seconds}", f"-seed={seed or 1}", f"-dict={tokens}"]
    limits = ["-rss_limit_mb=4096", "-timeout=20", "-max_len=200000", "-len_control=0"]
    atheris.Setup([sys.argv[0], *options, *limits, str(corpus)], one)
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=int(os.environ.get("FUZZ_SECONDS", 1800)))
    parser.add_argument("--kind", choices=KINDS, help="one kind, in this process")
    parser.add_argument("--plain", action="store_true", help="without atheris")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    if options.kind and (options.plain or atheris is None):
        began = time.monotonic()
        outcomes = plain(options.kind, options.seed, None, options.seconds)
        print(f"{options.kind}: {outcomes} in {time.monotonic() - began:.0f} s, no finding")
        return 0
    if options.kind:
        guided(options.kind, options.seconds, options.seed)
        return 0
    failed = []
    for kind in KINDS:
        command = [sys.executable, __file__, "--kind", kind, "--seed", str(options.seed)]
        command += ["--seconds", str(max(options.seconds // len(KINDS), 1))]
        command += ["--plain"] * options.plain
        print(f"--- {kind}", flush=True)
        if subprocess.run(command, check=False).returncode:
            failed.append(kind)
    print("Findings in: " + ", ".join(failed) if failed else "No finding.")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
