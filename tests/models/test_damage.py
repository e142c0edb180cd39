"""Damaged and hostile files: only one kind of error comes out, and nothing runs."""

from __future__ import annotations

import argparse
import io
import os
import pickle
import random
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from gpen_core.errors import CheckpointError, GPENError
from gpen_core.models.identify import describe
from gpen_core.models.load import load_model
from gpen_core.models.read import file_kind, read_checkpoint
from gpen_core.models.unwrap import unwrap

CONTENT = {
    "g_ema": {"a.weight": torch.rand(4, 4), "b": torch.rand(8).half()},
    "args": argparse.Namespace(size=4, note="x"),
}


def as_bytes(kind: str) -> bytes:
    if kind == "safetensors":
        return save(CONTENT["g_ema"], {"args": '{"a": 1}'})
    buffer = io.BytesIO()
    torch.save(CONTENT, buffer, _use_new_zipfile_serialization=kind == "zip")
    return buffer.getvalue()


def damaged(data: bytes, dice: random.Random) -> bytes:
    """With bytes changed, removed, or the end cut off."""
    changed = bytearray(data)
    at = dice.randrange(len(data))
    what = dice.choice(("change", "remove", "cut"))
    if what == "change":
        changed[at] = dice.randrange(256)
    elif what == "remove":
        del changed[at : at + dice.randrange(1, 9)]
    else:
        del changed[at:]
    return bytes(changed)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_no_damage_escapes_as_anything_but_a_sentence(tmp_path, kind):
    data, dice, path = as_bytes(kind), random.Random(7), tmp_path / "m.pth"
    refused = 0
    for _ in range(400):
        path.write_bytes(damaged(data, dice))
        try:
            raw = read_checkpoint(path)
            unwrap(raw.content, raw.metadata)
        except GPENError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 100


class Call:
    """Calls a function when unpickled by a careless program."""

    def __init__(self, function, *arguments) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (os.system, ("touch {marker}",), "system"),
        (eval, ("open('{marker}', 'w')",), "eval"),
        (exec, ("open('{marker}', 'w')",), "exec"),
        (Path, ("{marker}",), "Path"),
        (getattr, (argparse.Namespace, "__init__"), "getattr"),
        (argparse.ArgumentParser, (), "ArgumentParser"),
    ],
)
def test_the_name_a_pickle_asks_for_is_said(tmp_path, function, arguments, name):
    marker, path = tmp_path / "executed", tmp_path / "bomb.pth"
    arguments = tuple(a.format(marker=marker) if isinstance(a, str) else a for a in arguments)
    torch.save({"g_ema": {"x": Call(function, *arguments)}}, path)
    with pytest.raises(CheckpointError, match=f"asks for '[\\w.]*{name}'.*code and not weights"):
        load_model(path)
    assert not marker.exists()


def test_a_whole_pickled_network_is_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match=r"torch\.nn\.modules\.linear\.Linear"):
        load_model(tmp_path / "net.pth")


def test_a_plain_pickle_that_runs_code_is_refused(tmp_path):
    path = tmp_path / "plain.pth"
    path.write_bytes(pickle.dumps(Call(os.system, f"touch {tmp_path / 'executed'}"), protocol=2))
    with pytest.raises(CheckpointError):
        load_model(path)
    assert not (tmp_path / "executed").exists()


def test_threads_do_not_take_the_allow_list_from_each_other(tmp_path):
    path, failures = tmp_path / "args.pth", []
    path.write_bytes(as_bytes("zip"))

    def read() -> None:
        try:
            for _ in range(20):
                read_checkpoint(path)
        except GPENError as error:
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_the_allow_list_is_left_as_it_was_found(tmp_path):
    path = tmp_path / "args.pth"
    path.write_bytes(as_bytes("legacy"))
    before = set(torch.serialization.get_safe_globals())
    read_checkpoint(path)
    assert set(torch.serialization.get_safe_globals()) == before
    with torch.serialization.safe_globals([argparse.Namespace]):  # a host may need it too
        read_checkpoint(path)
        assert argparse.Namespace in torch.serialization.get_safe_globals()


OTHER_FILES = {
    "gguf": (b"GGUF\3\0\0\0", "GGUF"),
    "keras": (b"\x89HDF\r\n\x1a\n", "HDF5"),
    "engine": (b"ptrt\0\0\0\0", "TensorRT"),
    "gzip": (b"\x1f\x8b\x08\0", "gzip archive.*unpack"),
    "7z": (b"7z\xbc\xaf\x27\x1c", "7z archive"),
    "rar": (b"Rar!\x1a\7\0", "RAR archive"),
    "bitmap": (b"BM\0\0\0\0", "BMP picture"),
    "tiff": (b"II*\0\0\0", "TIFF picture"),
    "page with a byte order mark": (b"\xef\xbb\xbf<html>", "web page"),
    "denied": (b'<?xml version="1.0"?><Error><Code>AccessDenied', "web page"),
    "json": (b'{ "errors": [{"message": "gone"}]}', "server's error"),
    "onnx by content": (b"\x08\x07\x12\x07pytorch\x1a\x03" + b"2.0", "ONNX graph"),
    "onnx without a producer": (b"\x08\x0a\x3a\xff\x01", "ONNX graph"),
}


@pytest.mark.parametrize("name", OTHER_FILES)
def test_files_of_other_programs_are_called_by_their_name(tmp_path, name):
    head, message = OTHER_FILES[name]
    path = tmp_path / "m.pth"
    path.write_bytes(head + bytes(64))
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(path)


def test_onnx_is_told_by_content_for_whoever_can_run_it(tmp_path):
    path = tmp_path / "named.pth"
    path.write_bytes(OTHER_FILES["onnx by content"][0])
    assert file_kind(path) == "onnx"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "m.pth")
    with pytest.raises(CheckpointError, match="pipe"):
        read_checkpoint(tmp_path / "m.pth")


@pytest.mark.parametrize("metadata", ['{"a":', "nothing"])
def test_metadata_that_is_no_json(tmp_path, metadata):
    path = tmp_path / "m.safetensors"
    path.write_bytes(save({"a": torch.zeros(1)}, {"args": metadata}))
    with pytest.raises(CheckpointError, match="'args' is not JSON") as caught:
        load_model(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("dtype", "said"),
    [(torch.int8, "int8"), (torch.int64, "int64"), (torch.complex64, "complex64")],
)
def test_weights_that_are_no_floating_point_numbers(small_state, dtype, said):
    key = "generator.conv1.conv.weight"
    with pytest.raises(CheckpointError, match=f"{key}.*stored as {said}"):
        load_model({**small_state, key: small_state[key].to(dtype)})


def test_weights_without_values(small_state):
    key = "generator.conv1.conv.weight"
    with pytest.raises(CheckpointError, match=f"{key}.*no values"):
        load_model({**small_state, key: small_state[key].to("meta")})


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        ({"generator.style.1.weight", "generator.conv1.conv.weight"}, "generator half of a GPEN"),
        ({"model.0.weight", "model.1.sub.0.RDB1.conv1.0.weight"}, "ESRGAN"),
        ({"0.weight", "1.sub.0.RDB1.conv1.0.weight"}, "ESRGAN"),
        ({"body.0.weight", "body.1.weight", "body.2.weight"}, "compact upscaler"),
        ({"diffusion_model.input_blocks.0.0.weight"}, "Stable Diffusion"),
    ],
)
def test_more_networks_that_are_called_by_their_name(keys, kind):
    assert kind in describe(keys)


def test_safetensors_of_every_type_and_shape_read_the_same_mapped_or_not(tmp_path):
    tensors = {
        "scalar": torch.tensor(1.5),
        "none": torch.zeros(0, 3),
        "odd": torch.arange(3, dtype=torch.uint8),
        "half": torch.rand(5).half(),
        "brain": torch.rand(3, 2).bfloat16(),
        "double": torch.rand(2, 2, dtype=torch.float64),
        "truth": torch.tensor([True, False]),
    }
    path = tmp_path / "m.safetensors"
    path.write_bytes(save(tensors))
    for mapped in (False, True):
        read = read_checkpoint(path, mapped=mapped).content
        assert set(read) == set(tensors)
        for key, tensor in tensors.items():
            assert read[key].dtype == tensor.dtype
            assert torch.equal(read[key], tensor)
