"""`Model`, the cache it comes from, the names it goes by, and the memory it takes to load."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from gpen_core.errors import InputError, MissingWeightsError
from gpen_core.files import replacing
from gpen_core.models.cache import CACHE, ModelCache, file_identity
from gpen_core.models.convert import convert, inspect, save_torch
from gpen_core.models.load import build_model, load_model, read_model
from gpen_core.networks.gpen import GPEN, GPENConfig
from gpen_core.weights import locate as locating
from gpen_core.weights.locate import embedded, locate

CROPS = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(5)) * 2 - 1


@pytest.fixture(autouse=True)
def empty_cache():
    CACHE.clear()
    yield
    CACHE.clear()


def test_a_model_stays_itself_where_nothing_changes(small_model):
    assert small_model.to("cpu", "fp32") is small_model
    half = small_model.to(precision="fp16")
    assert (half.dtype, small_model.dtype) == (torch.float16, torch.float32)
    assert half.info is small_model.info


def test_the_device_is_where_the_weights_are(small_state):
    model = build_model(small_state, "a state dict", torch.float32)
    model.network.to("meta")  # as a host that moves networks does
    assert model.device == torch.device("meta")


@pytest.mark.parametrize("options", [{"device": "tpu"}, {"device": "meta"}, {"precision": "int4"}])
def test_a_model_goes_nowhere_unknown(small_model, options):
    with pytest.raises(InputError):
        small_model.to(**options)


def test_a_caller_keeps_the_weights_it_gave(small_state):
    state = {key: value.clone() for key, value in small_state.items()}
    model = load_model(state)
    before = model(CROPS)
    for value in state.values():
        value.zero_()
    assert torch.equal(model(CROPS), before)
    assert set(state) == set(small_state)


def test_a_model_loaded_in_inference_mode_can_still_be_changed(small_model_file):
    with torch.inference_mode():
        model = load_model(small_model_file)
        copy = model.to(precision="bf16")
    for network in (model.network, copy.network):
        assert not any(parameter.is_inference() for parameter in network.parameters())


def test_a_slice_does_not_keep_what_it_was_cut_from(tmp_path, small_state):
    pool = torch.zeros(sum(value.numel() for value in small_state.values()) * 3)
    state, at = {}, 0
    for key, value in small_state.items():
        state[key] = pool[at : at + value.numel()].view(value.shape).copy_(value)
        at += value.numel()
    torch.save(state, tmp_path / "pool.pth")
    model = read_model(tmp_path / "pool.pth")
    for parameter in model.network.parameters():
        assert parameter.untyped_storage().nbytes() == parameter.numel() * 4
    assert torch.equal(model(CROPS), load_model(small_state)(CROPS))


def test_inspecting_loads_nothing(small_model_file):
    loads = CACHE.loads
    info = inspect(small_model_file)
    assert (CACHE.loads, len(CACHE)) == (loads, 0)
    assert info == load_model(small_model_file).info


# --- the cache -----------------------------------------------------------------------------------


def test_a_model_is_cached_for_its_device_and_precision(small_model_file, monkeypatch):
    """PyTorch's `meta` stands for a second device: weights without values."""
    monkeypatch.setattr("gpen_core.models.device._device_count", lambda kind: 1)
    here = load_model(small_model_file)
    there = load_model(small_model_file, device="meta")
    assert (here.device.type, there.device.type) == ("cpu", "meta")
    half = load_model(small_model_file, precision="bf16")
    assert (half.precision, here.precision) == ("bf16", "fp32")
    assert load_model(small_model_file, device="cpu") is here
    assert load_model(small_model_file, device="meta") is there
    assert len(CACHE) == 3


def test_a_replaced_file_gives_its_old_model_up(tmp_path, small_state):
    path = tmp_path / "m.pth"
    torch.save(small_state, path)
    load_model(path)
    load_model(path, precision="bf16")
    assert len(CACHE) == 2
    os.utime(path, ns=(1, 1))
    load_model(path)
    assert len(CACHE) == 1


def test_two_names_of_one_file_are_one_model(tmp_path, small_model_file):
    link = tmp_path / "link.pth"
    link.symlink_to(small_model_file)
    assert load_model(link) is load_model(small_model_file)


def test_a_value_too_large_to_keep_drives_nothing_out():
    cache: ModelCache[str] = ModelCache(limit=10)
    cache.get("a", lambda: "a", lambda _: 6)
    assert cache.get("huge", lambda: "huge", lambda _: 11) == "huge"
    assert cache.get("a", lambda: "again", lambda _: 6) == "a"
    assert (cache.hits, cache.loads, len(cache)) == (1, 2, 1)


def test_keys_that_are_no_files_never_replace_each_other():
    cache: ModelCache[int] = ModelCache()
    for index, key in enumerate([("detector", "a", "cpu"), ("detector", "b", "cpu"), "parser"]):
        cache.get(key, lambda index=index: index, lambda _: 1)
    assert len(cache) == 3


def test_the_identity_of_a_missing_file(tmp_path):
    with pytest.raises(MissingWeightsError, match="no such model file"):
        file_identity(tmp_path / "absent")


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["", "a\0b", 7, b"bytes"])
def test_what_is_no_name(source):
    with pytest.raises(InputError):
        load_model(source)


@pytest.mark.parametrize("name", ["../secret.pth", "sub/../../secret.pth", "..\\secret.pth"])
def test_a_name_does_not_leave_its_folder(tmp_path, monkeypatch, name):
    models, elsewhere = tmp_path / "a" / "models", tmp_path / "b" / "c"
    for folder in (models / "sub", elsewhere):
        folder.mkdir(parents=True)
    (models.parent / "secret.pth").write_bytes(b"x")
    monkeypatch.chdir(elsewhere)
    with pytest.raises(MissingWeightsError):
        locate(name, (models,))


def test_the_folder_of_the_environment_is_searched_after_the_callers(tmp_path, monkeypatch):
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        folder.mkdir()
        (folder / "only-here.pth").write_bytes(b"x")
    monkeypatch.setenv("GPEN_WEIGHTS", str(second))
    assert locate("only-here.pth") == second / "only-here.pth"
    assert locate("only-here", (first,)) == first / "only-here.pth"


def test_a_twin_is_found_for_every_pytorch_extension(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"x")
    for name in ("x.pt", "x.ckpt", "x.pth.tar", "x.PTH"):
        assert locate(name, (tmp_path,)).name == "x.safetensors"
    with pytest.raises(MissingWeightsError):
        locate("x.onnx", (tmp_path,))


def test_the_largest_embedded_model_is_taken(tmp_path, monkeypatch):
    for name in ("gpen-lite-128", "gpen-lite-1024", "gpen-lite-256", "gpen-lite-x"):
        (tmp_path / f"{name}.safetensors").write_bytes(b"x")
    monkeypatch.setattr(locating, "WEIGHTS", tmp_path)
    (tmp_path / "gpen-lite-colorize-2048.safetensors").write_bytes(b"x")
    assert embedded().name == "gpen-lite-1024.safetensors"
    assert embedded("colorize").name == "gpen-lite-colorize-2048.safetensors"
    with pytest.raises(MissingWeightsError, match="No embedded model can paint"):
        embedded("paint")


# --- files ---------------------------------------------------------------------------------------


def test_nothing_is_left_behind_when_writing_fails(tmp_path):
    target = tmp_path / "m.bin"
    target.write_bytes(b"old")
    with pytest.raises(InputError, match=r"m\.bin: could not be written"), replacing(target) as new:
        new.write_bytes(b"half")
        raise OSError(28, "No space left on device")
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["m.bin"]


def test_conversion_checks_its_options(tmp_path, small_model_file, small_state):
    with pytest.raises(InputError, match="no precision 'fp8'"):
        convert(small_model_file, tmp_path / "x.safetensors", precision="fp8")
    with pytest.raises(InputError, match=r"named \.pth"):
        save_torch(small_model_file, tmp_path / "x.bin")
    same = tmp_path / "same.safetensors"
    save_file(small_state, same)
    with pytest.raises(InputError, match="the file to be converted"):
        convert(same, same, overwrite=True)
    assert list(tmp_path.iterdir()) == [same]


@pytest.mark.parametrize("legacy", [False, True])
def test_a_published_file_goes_to_safetensors_and_back(tmp_path, small_model_file, legacy):
    convert(small_model_file, tmp_path / "m.safetensors")
    save_torch(tmp_path / "m.safetensors", tmp_path / "m.pth", legacy=legacy)
    original = torch.load(small_model_file, weights_only=True)["g_ema"]
    back = torch.load(tmp_path / "m.pth", weights_only=True)
    assert set(back) == set(original)
    assert all(torch.equal(back[key], original[key]) for key in original)


# --- memory --------------------------------------------------------------------------------------

_MEASURE = """
import sys
from pathlib import Path

from gpen_core.models.load import load_model, read_model

def status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))

read_model(Path(sys.argv[2]))  # what PyTorch imports on first use is not the file's
before = status("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
model = load_model(sys.argv[1], precision=sys.argv[3])
print(status("VmHWM") - before, model.bytes)
"""


@pytest.mark.full
@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux's /proc")
@pytest.mark.parametrize(
    "kind", ["zip", "legacy", "safetensors", "training", "legacy fp16", "legacy fp16 as it is"]
)
def test_loading_takes_the_memory_of_the_file(tmp_path, small_model_file, kind):
    state = GPEN(GPENConfig.create(512)).state_dict()
    if kind.startswith("legacy fp16"):
        state = {key: value.half() for key, value in state.items()}
    path = tmp_path / "m.pth"
    if kind == "safetensors":
        save_file(state, path)
    elif kind == "training":
        torch.save({"g": {k: v.clone() for k, v in state.items()}, "g_ema": state}, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    root = Path(__file__).resolve().parents[2]
    precision = "fp16" if kind.endswith("as it is") else "fp32"
    command = [sys.executable, "-c", _MEASURE, str(path), str(small_model_file), precision]
    out = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=300)
    peak, model_bytes = map(int, out.stdout.split()[-2:])
    larger = max(path.stat().st_size, model_bytes)
    # In its own precision a file is as large as its network.
    assert precision == "fp32" or larger < 1.01 * path.stat().st_size
    assert peak < 1.2 * larger
