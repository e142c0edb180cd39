"""What the tests share: a small real model, a picture with one face, the shared data."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
SAMPLES = ROOT / "docs" / "samples"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of golden data and photographs that lies beside a full checkout."""
    if not SHARED.is_dir():
        pytest.skip("the shared golden data is not beside this checkout")
    return SHARED


@pytest.fixture(scope="session")
def small_state() -> dict[str, torch.Tensor]:
    """State dict of a GPEN v1 of 64 px with few channels, random but repeatable."""
    from gpen_core.networks.gpen import GPEN, GPENConfig

    torch.manual_seed(0)
    network = GPEN(GPENConfig.create(64, narrow=0.0625))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("noise.weight"):
                parameter.fill_(0.3)
    return network.state_dict()


@pytest.fixture(scope="session")
def small_model_file(small_state, tmp_path_factory) -> Path:
    """The same as a .pth file, wrapped as training writes it."""
    path = tmp_path_factory.mktemp("models") / "small.pth"
    torch.save({"g_ema": small_state}, path)
    return path


@pytest.fixture
def small_model(small_state):
    """The same, loaded."""
    from gpen_core.models.load import load_model

    return load_model(small_state)


@pytest.fixture(scope="session")
def portrait() -> np.ndarray:
    """(512, 512, 3) uint8 photograph with one face."""
    return np.asarray(Image.open(SAMPLES / "astronaut-damaged.jpg").convert("RGB"))


@pytest.fixture(scope="session")
def kinds(tmp_path_factory) -> Path:
    """A folder of PNG files: the portrait, in gray, in brown, with alpha; and three faces."""
    folder = tmp_path_factory.mktemp("kinds")
    portrait = np.asarray(Image.open(SAMPLES / "astronaut-damaged.jpg").convert("RGB"))
    light = np.asarray(Image.fromarray(portrait).convert("L"))
    across = np.linspace(0, 255, portrait.shape[1]).astype(np.uint8)
    alpha = np.broadcast_to(across, light.shape)[..., None]
    pixels = {
        "color": portrait,
        "gray": light,
        "sepia": np.stack([light, light * 0.85, light * 0.6], -1).round().astype(np.uint8),
        "alpha": np.concatenate([portrait, alpha], -1),
        "several": np.concatenate([portrait, portrait[:, ::-1], portrait], axis=1),
    }
    for name, values in pixels.items():
        Image.fromarray(values).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="session")
def no_face() -> np.ndarray:
    """(120, 160, 3) uint8 picture without a face."""
    y, x = np.mgrid[0:120, 0:160]
    return np.stack([x, y * 2, (x + y) % 256], -1).astype(np.uint8)


@pytest.fixture(scope="session")
def training_faces(tmp_path_factory) -> Path:
    """A data set of 10 made-up "faces" in two sources, the second not strict."""
    root = tmp_path_factory.mktemp("faces")
    random = np.random.default_rng(0)
    rows = []
    for index in range(10):
        coarse = Image.fromarray(random.integers(0, 255, (5, 5, 3), dtype=np.uint8))
        coarse.resize((320, 320), Image.Resampling.BICUBIC).save(root / f"{index}.jpg", quality=92)
        source, strict = ("studio", 1) if index < 8 else ("street", 0)
        rows.append(f"{index}.jpg,{source},{strict},{0.5 + index / 20}\n")
    (root / "manifest.csv").write_text("file,source,strict,inside\n" + "".join(rows))
    return root


@pytest.fixture
def write_config(training_faces, tmp_path):
    """Writes the config of a toy run of 64 px, with changes, and gives its path.

    Its losses compare pixels only; `losses` in the changes are added to those.
    """
    yaml = pytest.importorskip("yaml", reason="pyyaml, of the extra gpen[train], is not installed")

    def write(name: str = "run", losses: dict | None = None, **changes) -> Path:
        pixels = {"l1": 1, "gradient": 0.5, "perceptual": 0, "identity": 0}
        content = {
            "output": name,
            "data": {"root": str(training_faces), "holdout": 0.2},
            "model": {"size": 64, "narrow": 0.03125, "channel_multiplier": 1},
            "damage": [{"preset": "medium"}],
            "steps": 12,
            "batch_size": 2,
            "device": "cpu",
            "log_every": 1,
            "checkpoint_every": 4,
            "validate_every": 1000,
            "optimizer": {"lr": 0.005, "warmup": 2},
            "losses": pixels | {"lpips": 0, "adversarial": 0} | (losses or {}),
            "discriminators": {"patch_width": 4, "patch_layers": 2, "r1_every": 3},
            "tensorboard": False,
        }
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(content | changes))
        return path

    return write


@pytest.fixture
def recognition_graph():
    """Writes an ONNX graph from 112-px faces to vectors of 16 numbers, and gives its path."""

    def write(path: Path, operator: str = "PRelu") -> Path:
        onnx = pytest.importorskip("onnx", reason="onnx, of gpen[onnx], is not installed")
        helper, numpy_helper = onnx.helper, onnx.numpy_helper
        generator = torch.Generator().manual_seed(2)

        def constant(name: str, *shape: int):
            values = torch.rand(shape, generator=generator) + 0.1
            return numpy_helper.from_array(values.numpy(), name)

        weights = [constant("w", 8, 3, 3, 3), constant("slope", 8, 1, 1), constant("dense", 16, 8)]
        weights += [constant(name, 8) for name in ("scale", "shift", "mean", "var")]
        nodes = [
            helper.make_node("Conv", ["x", "w"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1]),
            helper.make_node("BatchNormalization", ["a", "scale", "shift", "mean", "var"], ["b"]),
            helper.make_node(operator, ["b", "slope"] if operator == "PRelu" else ["b"], ["c"]),
            helper.make_node("GlobalAveragePool", ["c"], ["d"]),
            helper.make_node("Flatten", ["d"], ["e"]),
            helper.make_node("Gemm", ["e", "dense"], ["y"], transB=1),
        ]
        port = [helper.make_tensor_value_info("x", 1, ["n", 3, 112, 112])]
        out = [helper.make_tensor_value_info("y", 1, ["n", 16])]
        graph = helper.make_graph(nodes, "arcface", port, out, weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        path.write_bytes(model.SerializeToString())
        return path

    return write


@pytest.fixture(scope="session")
def facexlib_networks():
    """facexlib's networks by module path, or a skip: they import torchvision, which has to be a
    build for this PyTorch (one for another fails with RuntimeError)."""

    def module(path: str):
        try:
            return importlib.import_module(f"facexlib.{path}")
        except (ImportError, RuntimeError) as error:
            pytest.skip(f"facexlib needs a torchvision that fits this PyTorch: {error}")

    return module


@pytest.fixture
def set_threads():
    """`torch.set_num_threads`, undone afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)
