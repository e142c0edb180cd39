"""What the tests share: a small real model, a picture with one face, the shared data."""

from __future__ import annotations

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
    from gpen_core.model import load_model

    return load_model(small_state)


@pytest.fixture(scope="session")
def portrait() -> np.ndarray:
    """(512, 512, 3) uint8 photograph with one face."""
    return np.asarray(Image.open(SAMPLES / "astronaut-damaged.jpg").convert("RGB"))


@pytest.fixture(scope="session")
def no_face() -> np.ndarray:
    """(120, 160, 3) uint8 picture without a face."""
    y, x = np.mgrid[0:120, 0:160]
    return np.stack([x, y * 2, (x + y) % 256], -1).astype(np.uint8)
