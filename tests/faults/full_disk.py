"""A disk that fills up under every writer: `python tests/faults/full_disk.py`.

*limit*: files may really not grow beyond some bytes (RLIMIT_FSIZE). *call*: one call of the system
fails, as on a full disk, a quota, a disk that breaks, a file system that turns read-only. Once
with nothing at the target's place, once with a file that is replaced.

Clean is: one sentence with the system's reason, the earlier file untouched to the byte, nothing
half-written left.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from unittest import mock

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent), str(ROOT / "tests" / "fuzz")]

from small_models import first_version
from tally import Tally

from gpen_core.batch.outcome import Outcome, write_report
from gpen_core.dataset.pack import write_pack
from gpen_core.errors import GPENError
from gpen_core.images.formats import WRITABLE
from gpen_core.images.picture import Picture
from gpen_core.images.write import write_atomically, write_picture
from gpen_core.models.convert import convert, save_torch
from gpen_core.models.load import load_model
from gpen_core.training import checkpoint
from gpen_core.training.record import Record
from gpen_core.weights import verify

OLD = b"the earlier file"
CODES = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)
REASONS = [os.strerror(code) for code in (*CODES, errno.EFBIG)]
# Bytes a file may have; the last one is enough for its beginning.
LIMITS = (0, 1, 300)

Writer = Callable[[Path], object]


# --- the writers ---------------------------------------------------------------------------------


def writers(folder: Path) -> dict[str, tuple[str, Writer]]:
    """By what they write: the file's name, and how it is written (replacing what is there)."""
    model = folder / "model.pth"
    torch.save({"g_ema": first_version()}, model)
    as_torch = partial(save_torch, model, overwrite=True)
    picture = Picture(torch.rand(3, 40, 50, generator=torch.Generator().manual_seed(0)))
    numbers = {"weights": torch.arange(1000.0)}
    outcomes = [Outcome(f"{number}.jpg") for number in range(40)]
    found: dict[str, tuple[str, Writer]] = {
        f"picture {suffix}": (
            f"a{suffix}",
            lambda path: write_picture(path, picture, overwrite=True),
        )
        for suffix in WRITABLE
        if suffix != ".avif" or _has_avif()
    }
    found |= {
        "report": ("r.json", lambda path: write_report(path, outcomes, overwrite=True)),
        "bytes": ("b.json", lambda path: write_atomically(path, bytes(9000))),
        "converted model": ("c.safetensors", lambda path: convert(model, path, overwrite=True)),
        "PyTorch model": ("p.pth", as_torch),
        "legacy model": (
            "l.pth",
            lambda path: save_torch(model, path, legacy=True, overwrite=True),
        ),
        "training checkpoint": (
            "step-00000007.pt",
            lambda path: checkpoint.save(path.parent, 7, numbers, keep=3),
        ),
        "training export": (
            "e.safetensors",
            lambda path: checkpoint.export(path, load_model(model).network, numbers, {}),
        ),
        "training sheet": (
            "sheet-00000007.png",
            lambda path: Record(path.parent, tensorboard=False, step=0).samples(7, picture.pixels),
        ),
        "pack of faces": ("f.pack", lambda path: write_pack([model], "file\n", path)),
        "pinned hashes": (verify.PINS, lambda path: verify.pin(path.with_name("x.pth"), "0" * 400)),
    }
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError:
        return found
    from gpen_core.onnx.export import export

    return found | {
        "exported graph": ("g.onnx", lambda path: export(load_model(model), path, overwrite=True))
    }


def _has_avif() -> bool:
    from PIL import features

    return bool(features.check("avif"))


# --- what fails ----------------------------------------------------------------------------------


@contextmanager
def limited(size: int) -> Iterator[None]:
    """No file of this process may grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _raising(code: int) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


CALLS = {
    "making the file": (tempfile, "mkstemp"),
    "fsync": (os, "fsync"),
    "permissions": (Path, "chmod"),
    "rename": (Path, "replace"),
}


# --- what is clean -------------------------------------------------------------------------------


def problems(name: str, write: Writer, fault: object, old: bytes | None) -> list[str]:
    """What is wrong after a write that failed."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / name
        if old is not None:
            target.write_bytes(old)
        before = _names(folder)
        try:
            with fault:  # type: ignore[attr-defined]
                write(target)
            found.append("nothing failed")
        except GPENError as error:
            text = str(error)
            if not text.isprintable() or not any(
                os.strerror(c) in text for c in (*CODES, errno.EFBIG)
            ):
                found.append(f"no sentence: {text!r}")
        except Exception as error:  # noqa: BLE001, whatever comes is a finding
            found.append(f"{type(error).__name__}: {error}")
        left = _names(folder)
        if left != before:
            found.append(f"left: {left}")
        if old is not None and target.read_bytes() != old:
            found.append("the earlier file was changed")
    return found


def _names(folder: str) -> list[str]:
    """The files there, but for the locks that stay."""
    return sorted(path.name for path in Path(folder).iterdir() if path.suffix != ".lock")


def try_all(tally: Tally) -> None:
    """Every writer with every fault."""
    with tempfile.TemporaryDirectory() as folder:
        for kind, (name, write) in writers(Path(folder)).items():
            # What is not read as JSON would be refused before it is replaced.
            earlier = json.dumps({"y.pth": "1"}).encode() if name == verify.PINS else OLD
            for old in (None, earlier):
                for size in LIMITS:
                    bad = problems(name, write, limited(size), old)
                    tally.add("limit of bytes", bad, f"{kind}, {size} bytes")
                for call, (place, function) in CALLS.items():
                    for code in CODES:
                        fault = mock.patch.object(place, function, _raising(code))
                        tally.add(call, problems(name, write, fault, old), f"{kind}, {code}")


def main() -> int:
    logging.disable(logging.CRITICAL)
    tally = Tally()
    try_all(tally)
    print(tally.table())
    return min(len(tally.findings), 1)


if __name__ == "__main__":
    sys.exit(main())
