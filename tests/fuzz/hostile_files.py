"""Files that ask for code, gigabytes, minutes or a terminal: one or more of every known kind.

The tests load each and want one sentence. As a program it measures what the sentence costs:

    python tests/fuzz/hostile_files.py            # a line for each file
    python tests/fuzz/hostile_files.py --markdown # a table by class, as in docs/reliability.md
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import logging
import os
import pickle
import signal
import struct
import sys
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import torch
from safetensors.torch import save
from small_models import first_version, in_parts, saved, second_version

from gpen_core.errors import GPENError
from gpen_core.models.convert import convert, inspect
from gpen_core.models.load import load_model

KEY = "generator.conv1.conv.weight"
Maker = Callable[[], bytes]


# --- archives ------------------------------------------------------------------------------------


def archive(entries: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method) as file:
        warnings.simplefilter("ignore")
        for name, data in entries.items():
            file.writestr(name, data)
    return buffer.getvalue()


def pickled(program: bytes, **storages: bytes) -> bytes:
    """An archive around a pickle."""
    data = {f"m/data/{name.removeprefix('s')}": content for name, content in storages.items()}
    return archive({"m/data.pkl": b"\x80\x02" + program + b".", "m/byteorder": b"little", **data})


def script(name: str) -> bytes:
    """A TorchScript archive that would write a file, its tell-tale entry spelled in some way."""
    code = b"def forward(self):\n  return torch.save(self, 'executed')\n"
    return archive({"m/data.pkl": b"\x80\x02}.", f"m/{name}": code, "m/version": b"3\n"})


def twice() -> bytes:
    good = saved(first_version())
    buffer = io.BytesIO(good)
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "a") as file:
        warnings.simplefilter("ignore")
        file.writestr("archive/DATA.PKL", b"\x80\x02cos\nsystem\n.")
    return buffer.getvalue()


def directory_lies(field: int, value: int) -> bytes:
    """A good archive in whose directory a number of the largest entry is another."""
    data = bytearray(saved(first_version()))
    at = data.find(b"PK\1\2", data.find(b"PK\1\2") + 4)
    data[at + field : at + field + 4] = struct.pack("<I", value)
    return bytes(data)


ARCHIVES: dict[str, Maker] = {
    **{
        f"program {name}": (lambda name=name: script(name))
        for name in ("code/m.py", "CODE/m.py", "Code\\m.txt", "constants.pkl", "Constants.PKL")
    },
    "program without a folder": lambda: archive({"data.pkl": b"\x80\x02}.", "cOdE/x": b""}),
    "compressed, 30 MB out of 30 kB": lambda: archive(
        {"m/data.pkl": b"\x80\x02}.", "m/data/0": bytes(30 << 20)}, zipfile.ZIP_DEFLATED
    ),
    "two entries of one name": twice,
    "two models": lambda: archive({"a/data.pkl": b"\x80\x02}.", "b/data.pkl": b"\x80\x02}."}),
    "an entry that is not there": lambda: directory_lies(42, 0x7FFFFFFF),
    "an entry larger than the file": lambda: directory_lies(24, 0x7FFFFFFF),
    "a million entries": lambda: (
        saved({})[:-22] + b"PK\5\6" + b"\0" * 4 + b"\xfe\xff" * 2 + b"\0" * 10
    ),
}


# --- pickles -------------------------------------------------------------------------------------

_STORAGE = b"(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\x000X\3\0\0\0cpuM\x10\x00tQ"


def number(value: int) -> bytes:
    data = value.to_bytes(8, "little", signed=True)
    return b"\x8a\x08" + data


def tensor(shape: tuple, strides: tuple, offset: int = 0) -> bytes:
    """A pickle of one tensor in a storage of 16 numbers."""
    sides, steps = (b"(" + b"".join(map(number, numbers)) + b"t" for numbers in (shape, strides))
    arguments = _STORAGE + number(offset) + sides + steps + b"\x89N"
    made = b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR"
    return pickled(b"}X\1\0\0\0a" + made + b"s", s0=bytes(64))


def folded(as_key: bool) -> bytes:
    """Tuples of two, sixty times: 2^60 things in a kilobyte."""
    steps = [b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(60)]
    inner = b")q\0" + b"0".join([b"", *steps])
    return pickled(b"}" + (inner + b"K\1s" if as_key else b"X\1\0\0\0a" + inner + b"s"))


def copied() -> bytes:
    """A dictionary made again and again from one list."""
    pairs = b"](" + b"(K\1K\1tq\1" + b"h\1" * 20_000 + b"eq\2"
    return pickled(pairs + b"ccollections\nOrderedDict\nq\3" + b"h\3h\2\x85R" * 20_000)


def written_again() -> bytes:
    text = b"X" + struct.pack("<I", 1 << 20) + b"x" * (1 << 20) + b"q\1X\6\0\0\0latin1q\2"
    return pickled(text + b"c_codecs\nencode\nq\3" + b"h\3h\1h\2\x86R" * 10_000)


def same_place() -> bytes:
    """Whole numbers that Python looks up one after the other."""
    keys = b"".join(
        b"\x8a\x0a" + (i * ((1 << 61) - 1)).to_bytes(10, "little") + b"N" for i in range(40_000)
    )
    return pickled(b"}(" + keys + b"u")


def asks(program: bytes) -> Maker:
    return lambda: pickled(program)


class Call:
    def __init__(self, function: Callable, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


CODE: dict[str, Maker] = {
    "system": lambda: saved({"a": Call(os.system, "touch executed")}),
    "eval, legacy": lambda: saved({"a": Call(eval, "1")}, as_zip=False),
    "getattr": lambda: saved([Call(getattr, argparse.Namespace, "__init__")]),
    "a whole network": lambda: saved(torch.nn.Linear(2, 2)),
    "a plain pickle": lambda: pickle.dumps(Call(os.system, "touch executed"), 2),
    "a name on the stack": asks(b"X\2\0\0\0osX\6\0\0\0system\x93"),
    "an instance": asks(b"(ios\nsystem\n"),
    "an object": asks(b"(cos\nsystem\no"),
    "an extension": asks(b"\x82\1"),
    "attributes of a name": asks(b"cargparse\nNamespace\n}X\1\0\0\0aK\1sb"),
    "a method of a tensor": asks(b"ctorch\nTensor.__reduce__\n)R"),
}

BOMBS: dict[str, Maker] = {
    "bytearray of 8 GB": asks(b"cbuiltins\nbytearray\n" + number(8 << 30) + b"\x85R"),
    "bytes of 8 GB": asks(b"\x8e" + struct.pack("<Q", 8 << 30)),
    "a bytearray's opcode": asks(b"\x96" + struct.pack("<Q", 8 << 30)),
    "text of 4 GB": asks(b"X\xff\xff\xff\xff"),
    "a frame of 8 GB": asks(b"\x95" + struct.pack("<Q", 8 << 30) + b"N"),
    "memo of 32 GB": asks(b"Nr\xff\xff\xff\xff"),
    "nested 100,000 deep": asks(b"]" * 100_000 + b"a" * 99_999),
    "folded 2^60 times": lambda: folded(as_key=False),
    "folded as a key": lambda: folded(as_key=True),
    "a list copied 20,000 times": copied,
    "a text copied 10,000 times": written_again,
    "keys in one place": same_place,
    "a million lists": asks(b"]" * 2_000_000),
    "it holds itself": asks(b"]q\0h\0a"),
    "no end": lambda: archive({"m/data.pkl": b"\x80\x02" + b"N0" * 1000}),
}

TENSORS: dict[str, Maker] = {
    "stride 0": lambda: tensor((4096, 4096), (0, 0)),
    "a stride 0 of one side": lambda: tensor((4096, 4), (0, 1)),
    "overlapping": lambda: tensor((8, 8), (1, 1)),
    "outside its storage": lambda: tensor((4,), (1,), 14),
    "before its storage": lambda: tensor((4,), (1,), -1),
    "a negative stride": lambda: tensor((4,), (-1,), 8),
    "a negative side": lambda: tensor((-4,), (1,)),
    "2^80 numbers": lambda: tensor((1 << 40, 1 << 40), (1, 1)),
    "2^80 numbers times 0": lambda: tensor((1 << 40, 1 << 40, 0), (1, 1, 1)),
    "a thousand sides": lambda: tensor((1,) * 1000, (1,) * 1000),
    "a storage that is missing": lambda: tensor((4,), (1,)).replace(b"m/data/0", b"m/data/1"),
    "a storage shorter than it says": lambda: pickled(
        b"}X\1\0\0\0a" + _STORAGE.replace(b"M\x10\x00", number(1 << 33)) + b"s", s0=bytes(64)
    ),
    "legacy, 8 GB": lambda: _legacy_of(1 << 31),
    "legacy, cut": lambda: saved(first_version(), as_zip=False)[:-100],
    "one number under every key": lambda: saved(
        {key: torch.zeros(1).expand(value.shape) for key, value in first_version().items()}
    ),
}


def _legacy_of(count: int) -> bytes:
    data = saved({"a": torch.zeros(4)}, as_zip=False)
    return data.replace(b"K\x04N", b"\x8a\x05" + count.to_bytes(5, "little") + b"N", 1)


def with_weight(value: torch.Tensor) -> Maker:
    return lambda: saved({**first_version(), KEY: value})


def _fp4() -> torch.Tensor:
    weight = first_version()[KEY]
    kind = getattr(torch, "float4_e2m1fn_x2", torch.int8)
    return torch.zeros(weight.shape, dtype=torch.uint8).view(kind)


def kinds() -> dict[str, Maker]:
    shape = first_version()[KEY].shape
    found: dict[str, Maker] = {
        "meta": with_weight(torch.zeros(shape, device="meta")),
        "sparse": with_weight(torch.zeros(shape).to_sparse()),
        "complex": with_weight(torch.zeros(shape, dtype=torch.complex64)),
        "int8": with_weight(torch.zeros(shape, dtype=torch.int8)),
        "fp4": with_weight(_fp4()),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compressed = torch.zeros(4, 4).to_sparse_csr()
        nested = torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])
        found["csr"] = with_weight(compressed)
        found["nested"] = with_weight(nested)
        quantized = torch.quantize_per_tensor(torch.zeros(4, 4), 0.1, 0, torch.qint8)
        found["quantized"] = with_weight(quantized)
    return found


# --- keys and metadata ---------------------------------------------------------------------------


def header(text: str, data: bytes = b"") -> bytes:
    raw = text.encode("utf-8", "surrogatepass")
    return len(raw).to_bytes(8, "little") + raw + data


def second(metadata: dict | None = None, rename: Callable[[str], str] = str) -> bytes:
    return save({rename(key): value for key, value in second_version().items()}, metadata)


def arguments(text: str) -> Maker:
    return lambda: second({"args": text})


def in_pickle(**args: object) -> Maker:
    return lambda: saved(in_parts(second_version(), argparse.Namespace(**args)))


def many(pattern: str, count: int, shape: tuple = (1,)) -> bytes:
    more = {pattern.format(i): torch.zeros(shape) for i in range(count)}
    return save({**first_version(), **more})


def _cycle() -> dict:
    cycle: dict = {"input_resolution": 64}
    cycle["self"] = cycle
    return cycle


WORDS: dict[str, Maker] = {
    "infinite": arguments('{"input_resolution": Infinity}'),
    "infinite by exponent": arguments('{"input_resolution": 1e999}'),
    "not a number": arguments('{"input_resolution": NaN}'),
    "5,000 digits": arguments('{"input_resolution": ' + "9" * 5000 + "}"),
    "5,000 digits as text": arguments('{"input_resolution": "' + "9" * 5000 + '"}'),
    "nested 100,000 deep": arguments("[" * 100_000),
    "lists in a size": arguments('{"input_resolution": [[], {}]}'),
    "cyclic": lambda: saved(in_parts(second_version(), _cycle())),
    "infinite, pickled": in_pickle(input_resolution=float("inf")),
    "600 digits, pickled": in_pickle(input_resolution=10**600),
    "a tensor for a size": in_pickle(input_resolution=torch.zeros(3)),
    "a number with a zero before it": lambda: second(None, lambda k: k.replace("fc1", "01")),
    "a number of another script": lambda: second(None, lambda k: k.replace("fc1", "\u0661")),
    "a number of 5,000 digits": lambda: second(None, lambda k: k.replace("fc1", "1" * 5000)),
    "a prefix 1,500 times": lambda: save(
        {"module." * 1500 + key: value for key, value in list(first_version().items())[:3]}
    ),
    "a key that repaints": lambda: save({"\x1b[2J\x1b]0;owned\7\nline": torch.zeros(1)}),
    "a key that runs backwards": lambda: save({"\u202eabc\u2028def\u0085": torch.zeros(1)}),
    "keys that are no text": lambda: saved({1: torch.zeros(1), None: torch.zeros(2)}),
    "zero width": lambda: save({k: v[:0] for k, v in first_version().items()}),
    "10,000 encoder steps": lambda: many("ecd{}.0.1.weight", 10_000),
    "10,000 styles": lambda: many("generator.style.{}.weight", 10_000),
    "a width of 2^40": lambda: saved(
        {**first_version(), "generator.conv1.conv.weight": torch.zeros(1, 1 << 40, 0, 3, 3)}
    ),
    "a header of 1 GB": lambda: (1 << 30).to_bytes(8, "little") + b"{" + bytes(1000),
    "a header nested 100,000 deep": lambda: header('{"a":' + "[" * 100_000),
    "a name twice": lambda: header(
        '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
        '"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
        b"\0",
    ),
    "tensors that overlap": lambda: header(
        '{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},'
        '"b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}',
        bytes(4),
    ),
    "a shape of 2^80": lambda: header(
        '{"a":{"dtype":"F32","shape":[1099511627776,1099511627776],"data_offsets":[0,4]}}', bytes(4)
    ),
    "fp4, safetensors": lambda: header(
        '{"\x1b[31ma":{"dtype":"F4","shape":[8],"data_offsets":[0,4]}}'.replace("\x1b", "\\u001b"),
        bytes(4),
    ),
}


# --- graphs --------------------------------------------------------------------------------------


def graph(
    nodes: list,
    constants: list | None = None,
    sides: tuple = ("n", 3, 64, 64),
    metadata: dict[str, str] | None = None,
) -> bytes:
    import onnx

    h = onnx.helper
    ports = [h.make_tensor_value_info(name, 1, list(sides)) for name in ("input", "output")]
    made = h.make_graph(nodes, "g", ports[:1], ports[1:], constants or [])
    model = h.make_model(made, opset_imports=[h.make_opsetid("", 17)], ir_version=8)
    h.set_model_props(model, metadata or {})
    return model.SerializeToString()


def node(kind: str, inputs: str, outputs: str, **attributes: object) -> object:
    import onnx

    return onnx.helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


def constant(name: str, values: list, kind: int = 7, dims: tuple | None = None) -> object:
    import onnx

    return onnx.helper.make_tensor(name, kind, dims or (len(values),), values)


def grown(kind: str, inputs: str, constants: list, **attributes: object) -> bytes:
    """A graph in which one node makes something huge, that is then summed up and added."""
    nodes = [
        node(kind, inputs, "big", **attributes),
        node("Cast", "big", "f", to=1),
        node("ReduceSum", "f", "r", keepdims=0),
        node("Add", "input r", "output"),
    ]
    return graph(nodes, constants)


def sizes(*values: int) -> list:
    return [constant("s", list(values))]


def _loop() -> bytes:
    import onnx

    h = onnx.helper
    body = h.make_graph(
        [node("Identity", "c", "d"), node("Identity", "x", "y")],
        "b",
        [
            h.make_tensor_value_info(n, t, s)
            for n, t, s in (("i", 7, []), ("c", 9, []), ("x", 1, None))
        ],
        [h.make_tensor_value_info("d", 9, []), h.make_tensor_value_info("y", 1, None)],
    )
    kept = [constant("t", [1 << 62], 7, ()), constant("k", [True], 9, ())]
    return graph([node("Loop", "t k input", "output", body=body)], kept)


def _branch() -> bytes:
    import onnx

    out = [onnx.helper.make_tensor_value_info("z", 1, None)]
    part = onnx.helper.make_graph([node("Identity", "input", "z")], "p", [], out)
    kept = [constant("k", [True], 9, ())]
    return graph([node("If", "k", "output", then_branch=part, else_branch=part)], kept)


def _functions() -> bytes:
    """Functions that call each other twice, thirty deep."""
    import onnx

    h = onnx.helper
    opset = [h.make_opsetid("", 17), h.make_opsetid("own", 1)]
    model = onnx.ModelProto.FromString(graph([node("Identity", "input", "output")]))
    for i in range(30):
        calls = (
            [h.make_node(f"f{i + 1}", ["x"], ["y"], domain="own")] * 2
            if i < 29
            else [node("Abs", "x", "y")]
        )
        model.functions.append(h.make_function("own", f"f{i}", ["x"], ["y"], calls[:1], opset))
    return model.SerializeToString()


def external(location: str) -> bytes:
    import onnx

    weight = onnx.TensorProto(name="w", data_type=1, dims=[3, 3, 3, 3], data_location=1)
    weight.external_data.add(key="location", value=location)
    return graph([node("Conv", "input w", "output", pads=[1] * 4)], [weight])


def damaged_tensor(change: Callable) -> bytes:
    weight = constant("w", [0.1] * 81, 1, (3, 3, 3, 3))
    change(weight)
    return graph([node("Conv", "input w", "output", pads=[1] * 4)], [weight])


def diamonds() -> bytes:
    """A constant whose ways part and meet again sixty times, all of them to find."""
    nodes = [node("Identity", "w", "v0")]
    nodes += [node("Add", f"v{i} v{i}", f"v{i + 1}") for i in range(60)]
    nodes += [node("ReduceSum", "v60", "r", keepdims=0), node("Add", "input r", "output")]
    return graph(nodes, [constant("w", [0.1] * 9, 1, (1, 1, 1, 3, 3))])


def chain(count: int, constants_each: bool = False) -> bytes:
    nodes, kept, last = [], [], "input"
    for i in range(count):
        name = f"x{i}" if i < count - 1 else "output"
        if constants_each:
            kept.append(constant(f"c{i}", [0.5], 1, (1, 1, 1, 1, 1)))
            nodes.append(node("Add", f"{last} c0", name) if i else node("Abs", last, name))
        else:
            nodes.append(node("Abs", last, name))
        last = name
    return graph(nodes, kept)


CONFIG = {
    "in_size": 64,
    "out_size": 64,
    "channels": [[4, 4], [8, 4], [16, 4], [32, 4], [64, 4]],
    "style_dim": 8,
    "n_mlp": 2,
}


def own(**changes: object) -> bytes:
    """A graph that says it is our export."""
    config = json.dumps({**CONFIG, **changes})
    return own_text(config)


def own_text(config: str) -> bytes:
    weight = constant("w", [0.1] * 81, 1, (3, 3, 3, 3))
    nodes = [node("Conv", "input w", "output", pads=[1] * 4)]
    return graph(nodes, [weight], metadata={"layout": "gpen-onnx-1", "config": config})


GRAPHS: dict[str, Maker] = {
    "ConstantOfShape of 9 GB": lambda: grown("ConstantOfShape", "s", sizes(60_000, 40_000)),
    "Expand of 8 GB": lambda: grown("Expand", "v s", [constant("v", [1], 7, ()), *sizes(1 << 30)]),
    "Tile of 8 GB": lambda: grown("Tile", "v s", [constant("v", [1]), *sizes(1 << 30)]),
    "Range of 8 GB": lambda: grown(
        "Range",
        "a b c",
        [constant(n, [v], 7, ()) for n, v in zip("abc", (0, 1 << 30, 1), strict=True)],
    ),
    "EyeLike of 10 GB": lambda: graph(
        [
            node("ConstantOfShape", "s", "z"),
            node("EyeLike", "z", "e", dtype=1),
            node("ReduceSum", "e", "r", keepdims=0),
            node("Add", "input r", "output"),
        ],
        sizes(50_000, 50_000),
    ),
    "OneHot of 8 GB": lambda: grown(
        "OneHot", "s d v", [*sizes(1), constant("d", [1 << 31], 7, ()), constant("v", [0, 1])]
    ),
    "RandomNormal of 8 GB": lambda: grown("RandomNormal", "", [], shape=[1 << 31]),
    "Pad of 16 GB": lambda: grown("Pad", "input s", sizes(0, 0, 0, 0, 0, 0, 0, 20_000_000)),
    "Resize by 1,000": lambda: grown(
        "Resize", "input e k", [constant("e", [], 1, (0,)), constant("k", [1, 1, 1e3, 1e3], 1)]
    ),
    "an outer product": lambda: graph(
        [
            node("Reshape", "input a", "x"),
            node("Reshape", "input b", "y"),
            node("Mul", "x y", "m"),
            node("ReduceSum", "m", "r", keepdims=0),
            node("Add", "input r", "output"),
        ],
        [constant("a", [1, -1]), constant("b", [-1, 1])],
    ),
    "of a size that is only known later": lambda: grown("NonZero", "input", []),
    "shapes of shapes": lambda: graph(
        [
            node("Shape", "input", "s"),
            node("Mul", "s k", "t"),
            node("ConstantOfShape", "t", "z"),
            node("ReduceSum", "z", "r", keepdims=0),
            node("Add", "input r", "output"),
        ],
        [constant("k", [1000])],
    ),
    "a loop": _loop,
    "a branch": _branch,
    "functions": _functions,
    "a cycle": lambda: graph(
        [node("Add", "input b", "a"), node("Identity", "a", "b"), node("Abs", "a", "output")]
    ),
    "made twice": lambda: graph([node("Abs", "input", "output"), node("Neg", "input", "output")]),
    "sixty diamonds": diamonds,
    "100,000 nodes": lambda: chain(100_000),
    "19,000 nodes": lambda: chain(19_000),
    "3,000 banks": lambda: chain(3000, constants_each=True),
    "nodes of two bytes": lambda: b"\x08\x08\x3a\xc0\x84\x3d" + b"\x0a\x00" * 500_000,
    "cut off": lambda: graph([node("Abs", "input", "output")])[:-20],
    "data elsewhere, missing": lambda: external("nothing.bin"),
    "data in another folder": lambda: external("../nothing.bin"),
    "data at an absolute path": lambda: external("/dev/zero"),
    "data under a painted name": lambda: external("\x1b[2J\nnothing"),
    "data too short": lambda: damaged_tensor(lambda t: t.float_data.pop()),
    "no data": lambda: damaged_tensor(lambda t: t.ClearField("float_data")),
    "data of 2^60": lambda: damaged_tensor(lambda t: t.dims.__setitem__(0, 1 << 60)),
    "a negative side": lambda: damaged_tensor(lambda t: t.dims.__setitem__(0, -3)),
    "an unknown type": lambda: damaged_tensor(lambda t: setattr(t, "data_type", 99)),
    "text for numbers": lambda: damaged_tensor(lambda t: setattr(t, "data_type", 8)),
    "wrong types": lambda: graph(
        [node("Add", "input w", "output")], [constant("w", [1] * 64, 7, (1, 1, 1, 64))]
    ),
    "an attribute of another kind": lambda: graph(
        [node("Conv", "input w", "output", pads="x")], [constant("w", [0.1] * 81, 1, (3, 3, 3, 3))]
    ),
    "a strange domain": lambda: graph([node("Abs", "input", "output", domain="\x1b[31mown")]),
    "a picture of 10^9": lambda: graph(
        [node("Abs", "input", "output")], None, (1, 3, 10**9, 10**9)
    ),
    "a million faces": lambda: graph([node("Abs", "input", "output")], None, (10**6, 3, 64, 64)),
    "no weights": lambda: graph([node("Abs", "input", "output")]),
    "our export, 3 million layers": lambda: own(n_mlp=3_000_000),
    "our export, 10^9 channels": lambda: own(channels=[[4, 10**9], *CONFIG["channels"][1:]]),
    "our export, text for a number": lambda: own(style_dim="8"),
    "our export, infinite": lambda: own_text(json.dumps({**CONFIG, "n_mlp": float("inf")})),
    "our export, nested": lambda: own_text("[" * 100_000),
}

CLASSES: dict[str, tuple[str, Callable[[], dict[str, Maker]]]] = {
    "archive": (".pth", lambda: ARCHIVES),
    "code": (".pth", lambda: CODE),
    "bomb": (".pth", lambda: BOMBS),
    "tensor": (".pth", lambda: TENSORS),
    "kind of tensor": (".pth", kinds),
    "key or metadata": (".safetensors", lambda: WORDS),
    "ONNX graph": (".onnx", lambda: GRAPHS),
}


# --- what the sentences cost ---------------------------------------------------------------------


def measure(data: bytes, suffix: str) -> tuple[float, int, str]:
    """(seconds of the slowest use, bytes above the file's size, what was said), in a process apart.

    Seconds of the processor, which do not depend on what else the machine does.

    The process is a copy of this one, so that imports are no part of it.
    """
    with tempfile.TemporaryDirectory() as folder:
        path, report = Path(folder) / f"m{suffix}", Path(folder) / "report"
        path.write_bytes(data)
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            report.write_text("\t".join(map(str, _used(path))), encoding="utf-8")
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            return 60.0, 0, f"FAILED: ended by {status}"
        seconds, peak, said = report.read_text(encoding="utf-8").split("\t")
    return float(seconds), max(int(peak) - len(data), 0), said.replace(folder + "/", "")


def _used(path: Path) -> tuple[float, int, str]:
    Path("/proc/self/clear_refs").write_text("5")
    before, longest, said = _status("VmRSS"), 0.0, "loaded"
    for use in (inspect, load_model, lambda path: convert(path, path.with_name("x.safetensors"))):
        began = time.process_time()
        try:
            use(path)
        except GPENError as error:
            said = str(error)
        except Exception as error:  # noqa: BLE001  that is what is looked for
            said = f"FAILED: {error!r}"
            break
        longest = max(longest, time.process_time() - began)
    return longest, _status("VmHWM") - before, said


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))


def main() -> int:
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for name in ("onnx.shape_inference", "onnxruntime"):
        importlib.import_module(name)
    as_table = "--markdown" in sys.argv
    if as_table:
        print("| class | tried | clean | slowest | most memory above the file |")
        print("|---|---|---|---|---|")
    failed = 0
    for name, (suffix, makers) in CLASSES.items():
        results = []
        for which, make in makers().items():
            seconds, peak, said = measure(make(), suffix)
            clean = not said.startswith("FAILED") and seconds < 2 and peak < 300 << 20
            results.append((clean, seconds, peak))
            if not as_table or not clean:
                print(f"{name}: {which}: {seconds:.2f} s, {peak >> 20} MB: {said}", flush=True)
        clean = sum(result[0] for result in results)
        slowest, most = max(r[1] for r in results), max(r[2] for r in results)
        row = f"| {name} | {len(results)} | {clean} | {slowest:.1f} s | {most / 2**20:.0f} MB |"
        print(row, flush=True)
        failed += len(results) - clean
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
