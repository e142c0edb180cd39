"""Peak memory of the ComfyUI nodes on a batch of 720p frames with two faces each.

    COMFYUI_DIR=/path/to/ComfyUI python benchmarks/comfyui_frames.py 30 one
    COMFYUI_DIR=/path/to/ComfyUI python benchmarks/comfyui_frames.py 300 four

Run with the host's Python, from anywhere. Prints the peak above the process before the run, and
what of it is not the input or an output: that must not grow with the number of frames.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import threading
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
_HEIGHT, _WIDTH = 720, 1280


def load_pack() -> object:
    """The node pack as the host loads it, on the CPU where there is no GPU."""
    host = Path(os.environ["COMFYUI_DIR"]).resolve()
    sys.path[:] = [str(host)] + [p for p in sys.path if Path(p or ".").resolve() != ROOT]
    importlib.import_module("comfy.options").enable_args_parsing(False)
    importlib.import_module("comfy.cli_args").args.cpu = not torch.cuda.is_available()
    importlib.import_module("utils.install_util")
    spec = importlib.util.spec_from_file_location("gpen_pack", ROOT / "__init__.py")
    assert spec is not None and spec.loader is not None
    sys.modules["gpen_pack"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["gpen_pack"])
    importlib.import_module("gpen_pack.nodes.folders").register()
    return importlib.import_module


def frames(count: int) -> torch.Tensor:
    """IMAGE (count, 720, 1280, 3), the portrait twice in each, moving a little."""
    portrait = Image.open(ROOT / "docs" / "samples" / "astronaut-damaged.jpg").convert("RGB")
    batch = torch.full((count, _HEIGHT, _WIDTH, 3), 0.5)
    face = torch.from_numpy(np.array(portrait)).float() / 255
    for index in range(count):
        shift = index % 40
        batch[index, 50 : 50 + 512, 60 + shift : 60 + shift + 512] = face
        batch[index, 150 : 150 + 512, 680 + shift : 680 + shift + 512] = face
    return batch


class Peak(threading.Thread):
    """The largest resident size of this process, asked for ten times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.start_bytes = self.bytes = _resident()
        self.running = True

    def run(self) -> None:
        while self.running:
            self.bytes = max(self.bytes, _resident())
            time.sleep(0.1)


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def size_of(values: tuple) -> int:
    """Bytes of the tensors among a node's outputs."""
    total = 0
    for value in values:
        tensors = (
            [value]
            if isinstance(value, torch.Tensor)
            else list(vars(value).values())
            if hasattr(value, "__dict__")
            else []
        )
        total += sum(t.numel() * t.element_size() for t in tensors if isinstance(t, torch.Tensor))
    return total


def main() -> None:
    count, kind = int(sys.argv[1]), sys.argv[2]
    module = load_pack()
    load = module("gpen_pack.nodes.load_model").LoadGPENModel
    names = module("gpen_pack.nodes.folders").model_names()
    with torch.inference_mode():
        model = load.execute(names[0], "auto", "auto")[0]
        run = {"one": run_one, "four": run_four}[kind]
        run(module, model, frames(2))
        image = frames(count)
        peak = Peak()
        peak.start()
        start = time.perf_counter()
        outputs = run(module, model, image)
        seconds = time.perf_counter() - start
        peak.running = False
    above, held = peak.bytes - peak.start_bytes, size_of(outputs)
    inputs = image.numel() * image.element_size()
    print(
        f"{kind}: {count} frames, {seconds:.0f} s; input {inputs >> 20} MB, "
        f"outputs {held >> 20} MB, peak above both {(above - held) >> 20} MB"
    )


def run_one(module: object, model: object, image: torch.Tensor) -> tuple:
    """Face Restore (GPEN)."""
    node = module("gpen_pack.nodes.restore_image").RestoreImage
    result = node.execute(
        gpen_model=model, image=image, strength=1.0, keep="all", upscale="1",
        mask_type="rectangle", color_match=0.0, detector="mtcnn", confidence=0.9, batch_size=4,
    )  # fmt: skip
    return result.args


def run_four(module: object, model: object, image: torch.Tensor) -> tuple:
    """Detect, restore, paste; everything that the graph would hold is held."""
    found = module("gpen_pack.nodes.detect").DetectFaces.execute(
        image=image, detector="mtcnn", confidence=0.9, min_size=0, max_size=0, sort="area",
        keep="all", template="model", crop_size=512, rotations=False, gpen_model=model,
    )  # fmt: skip
    restored = module("gpen_pack.nodes.restore").RestoreFaces.execute(
        gpen_model=model, strength=1.0, batch_size=4, seed=0, faces=found[0]
    )
    pasted = module("gpen_pack.nodes.paste").PasteFaces.execute(
        image=image, faces=restored[0], mask_type="rectangle", color_match=0.0, upscale="1",
        exclude="background,hat,cloth", feather=0.0, small_face_filter=False,
    )  # fmt: skip
    # The crops are in both faces; count them once.
    return (*found.args[1:], *restored.args, *pasted.args)


if __name__ == "__main__":
    main()
