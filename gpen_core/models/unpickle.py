"""Pickles as PyTorch writes them, read without running anything.

A pickle is a program for a small stack machine, and Python's unpickler does what it says: it
imports, calls, and sets aside as much memory as it is told to. The machine here knows only what
weights are made of: plain values, containers, and the few names of `_GLOBALS`, each of which
stands for code of this module and for nothing that is imported. What a step costs is bounded by
the bytes it takes in the file.
"""

from __future__ import annotations

import argparse
import struct
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar

import torch
from torch import Tensor

from ..text import printable
from .tensors import BadTensor, build_tensor

MAX_BYTES = 16 << 20
MAX_STEPS = 300_000
MAX_DEPTH = 100
# What the content would count if nothing in it were shared: walks over it take that long.
MAX_ITEMS = 1_000_000


class BadPickle(ValueError):
    """A pickle that is damaged, or larger than any model's; the text says what was found."""


class Refused(Exception):
    """A pickle that asks for code, or holds tensors of another kind; the text follows a path."""


@dataclass(frozen=True)
class Storage:
    """The bytes behind tensors, which the pickle names and the file holds elsewhere.

    Attributes:
        data: (bytes,) uint8.
        dtype: of the elements; None where every tensor says it itself.
    """

    data: Tensor
    dtype: torch.dtype | None


@dataclass(frozen=True)
class _Name:
    """A name of `_GLOBALS` on the stack: what it does when called."""

    name: str
    call: Callable[..., Any] | None = None
    value: Any = None

    def __repr__(self) -> str:
        return self.name


class _Mark:
    """Where a group of arguments begins."""


_MARK = _Mark()
_MAX_KEY = 1 << 31
_COPY = 32  # bytes of a pickle that copying one thing counts as


class Unpickler:
    """One pickle after the other from a file.

    Args:
        file: where the pickle begins.
        persistent: gives the storage of a persistent id, a tuple of plain values.
    """

    def __init__(self, file: BinaryIO, persistent: Callable[[tuple[Any, ...]], Storage]) -> None:
        self._file = file
        self._persistent = persistent
        self._left = MAX_BYTES

    def load(self) -> Any:
        """The next pickle's content: plain values, containers, tensors, `argparse.Namespace`s.

        Raises:
            BadPickle, BadTensor: it is damaged or absurd.
            Refused: it asks for code, or for tensors that are no plain numbers.
        """
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        try:
            read, steps = self._file.read, self._STEPS
            for _ in range(MAX_STEPS):
                code = read(1)
                if code == _STOP:
                    content = self._pop()
                    check_plain(content)
                    return content
                if not code:
                    raise BadPickle("no end: it is cut off")
                step = steps.get(code[0])
                if step is None:
                    raise BadPickle(f"an unknown instruction {code[0]:#04x}")
                step(self)
        except (IndexError, KeyError, TypeError, struct.error, UnicodeError) as error:
            raise BadPickle("instructions that make no sense") from error
        raise BadPickle("more instructions than any model file")

    # --- reading ---------------------------------------------------------------------------------

    def _charge(self, count: int) -> None:
        """Count work against the bytes that a pickle may have."""
        self._left -= count
        if self._left < 0:
            raise BadPickle("more text and numbers than any model file")

    def _read(self, count: int) -> bytes:
        self._charge(count)
        data = self._file.read(count)
        if len(data) < count:
            raise BadPickle("no end: it is cut off")
        return data

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._read(struct.calcsize(form)))[0]

    def _counted(self, form: str) -> bytes:
        return self._read(self._number(form))

    def _line(self) -> str:
        text = bytearray()
        while (byte := self._read(1)) != b"\n":
            text += byte
            if len(text) > 1000:
                raise BadPickle("a name without an end")
        return text.decode("utf-8")

    # --- the stack -------------------------------------------------------------------------------

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        value = self._stack.pop()
        if value is _MARK:
            raise BadPickle("instructions that make no sense")
        return value

    def _group(self) -> list[Any]:
        """What lies above the last mark, which goes too."""
        at = len(self._stack) - 1
        while self._stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise BadPickle("instructions that make no sense")
        values = self._stack[at + 1 :]
        del self._stack[at:]
        return values

    def _take(self, count: int) -> list[Any]:
        return [self._pop() for _ in range(count)][::-1]

    # --- containers ------------------------------------------------------------------------------

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise BadPickle("instructions that make no sense")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_key(key)] = value

    def _append(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, list):
            raise BadPickle("instructions that make no sense")
        target.extend(items)

    def _add_items(self) -> None:
        items = self._group()
        target = self._stack[-1]
        if not isinstance(target, set):
            raise BadPickle("instructions that make no sense")
        target.update(_keys(items))

    def _frozen_set(self) -> None:
        self._push(frozenset(_keys(self._group())))

    # --- names and what they make ----------------------------------------------------------------

    def _global(self, module: str, name: str) -> None:
        full = f"{module}.{name}"
        if full not in _GLOBALS:
            raise Refused(
                f"asks for '{printable(full, 100)}' when it is opened, which is code and not "
                f"weights; it is refused: get the model from a source you trust, best as "
                f".safetensors."
            )
        self._push(_GLOBALS[full])

    def _named_by_stack(self) -> None:
        module, name = self._take(2)
        if not isinstance(module, str) or not isinstance(name, str):
            raise BadPickle("instructions that make no sense")
        self._global(module, name)

    def _reduce(self) -> None:
        called, arguments = self._take(2)
        if not isinstance(called, _Name) or called.call is None or type(arguments) is not tuple:
            raise BadPickle("instructions that make no sense")
        # A container or a text that was made once could be copied by every step.
        sized = (str, bytes, list, tuple, dict, set, frozenset)
        self._charge(sum(_COPY * len(value) for value in arguments if isinstance(value, sized)))
        self._push(called.call(*arguments))

    def _build(self) -> None:
        """State of an object: the attributes of a namespace, the versions of a state dict."""
        state = self._pop()
        target = self._stack[-1]
        self._charge(_COPY * len(state) if isinstance(state, dict) else 0)
        if isinstance(target, argparse.Namespace) and isinstance(state, dict):
            if not all(isinstance(key, str) for key in state):
                raise BadPickle("attributes without names")
            vars(target).update(state)
        elif isinstance(target, OrderedDict) and isinstance(state, dict):
            if isinstance(state.get("_metadata"), dict):
                target._metadata = state["_metadata"]  # type: ignore[attr-defined]
        else:
            raise BadPickle("instructions that make no sense")

    def _persistent_id(self) -> None:
        name = self._pop()
        if not isinstance(name, tuple):
            raise BadPickle("a storage without a name")
        self._push(self._persistent(name))

    def _put(self, index: int) -> None:
        if not self._stack or self._stack[-1] is _MARK:
            raise BadPickle("instructions that make no sense")
        self._memo[index] = self._stack[-1]

    _STEPS: ClassVar[dict[int, Callable[[Unpickler], Any]]] = {
        0x80: lambda self: self._read(1),  # PROTO
        0x95: lambda self: self._read(8),  # FRAME
        ord("("): lambda self: self._push(_MARK),
        ord("0"): lambda self: self._stack.pop(),
        ord("1"): lambda self: self._group(),
        ord("2"): lambda self: self._push(self._stack[-1]),
        ord("N"): lambda self: self._push(None),
        0x88: lambda self: self._push(True),
        0x89: lambda self: self._push(False),
        ord("J"): lambda self: self._push(self._number("<i")),
        ord("K"): lambda self: self._push(self._number("<B")),
        ord("M"): lambda self: self._push(self._number("<H")),
        0x8A: lambda self: self._push(int.from_bytes(self._counted("<B"), "little", signed=True)),
        ord("G"): lambda self: self._push(self._number(">d")),
        ord("X"): lambda self: self._push(self._counted("<I").decode("utf-8", "surrogatepass")),
        0x8C: lambda self: self._push(self._counted("<B").decode("utf-8", "surrogatepass")),
        0x8D: lambda self: self._push(self._counted("<Q").decode("utf-8", "surrogatepass")),
        # Text of Python 2.
        ord("T"): lambda self: self._push(self._counted("<I").decode("latin-1")),
        ord("U"): lambda self: self._push(self._counted("<B").decode("latin-1")),
        ord("B"): lambda self: self._push(self._counted("<I")),
        ord("C"): lambda self: self._push(self._counted("<B")),
        0x8E: lambda self: self._push(self._counted("<Q")),
        ord(")"): lambda self: self._push(()),
        ord("t"): lambda self: self._push(tuple(self._group())),
        0x85: lambda self: self._push(tuple(self._take(1))),
        0x86: lambda self: self._push(tuple(self._take(2))),
        0x87: lambda self: self._push(tuple(self._take(3))),
        ord("]"): lambda self: self._push([]),
        ord("l"): lambda self: self._push(self._group()),
        ord("a"): lambda self: self._append(self._take(1)),
        ord("e"): lambda self: self._append(self._group()),
        ord("}"): lambda self: self._push({}),
        ord("s"): lambda self: self._set_items(self._take(2)),
        ord("u"): lambda self: self._set_items(self._group()),
        0x8F: lambda self: self._push(set()),
        0x90: lambda self: self._add_items(),
        0x91: lambda self: self._frozen_set(),
        ord("c"): lambda self: self._global(self._line(), self._line()),
        0x93: lambda self: self._named_by_stack(),
        ord("R"): lambda self: self._reduce(),
        0x81: lambda self: self._reduce(),  # NEWOBJ: the same for the classes known here
        ord("b"): lambda self: self._build(),
        ord("Q"): lambda self: self._persistent_id(),
        ord("q"): lambda self: self._put(self._number("<B")),
        ord("r"): lambda self: self._put(self._number("<I")),
        0x94: lambda self: self._put(len(self._memo)),
        ord("h"): lambda self: self._push(self._memo[self._number("<B")]),
        ord("j"): lambda self: self._push(self._memo[self._number("<I")]),
    }


_STOP = b"."


def check_plain(content: Any) -> None:
    """Refuse content that holds itself, is nested beyond reason, or was folded up to look small.

    Raises:
        BadPickle: as said.
    """
    sizes: dict[int, int] = {}
    open_now: set[int] = set()
    waiting: list[tuple[Any, bool]] = [(content, False)]
    while waiting:
        value, is_done = waiting.pop()
        parts, name = _parts(value), id(value)
        if is_done:
            open_now.discard(name)
            sizes[name] = 1 + sum(sizes.get(id(part), 1) for part in parts)
            if sizes[name] > MAX_ITEMS:
                raise BadPickle("more content than any model file")
        elif name in open_now:
            raise BadPickle("something that holds itself")
        elif parts and name not in sizes:
            open_now.add(name)
            if len(open_now) > MAX_DEPTH:
                raise BadPickle("content nested too deeply")
            waiting.append((value, True))
            waiting.extend((part, False) for part in parts)


def _parts(value: Any) -> list[Any]:
    if isinstance(value, argparse.Namespace):
        return list(vars(value).values())
    if isinstance(value, dict):
        metadata = vars(value) if isinstance(value, OrderedDict) else {}
        return [*value.values(), *metadata.values()]
    if isinstance(value, list | tuple):
        return list(value)
    return []


# --- what names mean -----------------------------------------------------------------------------


def _keys(values: Any) -> list[Any]:
    if not isinstance(values, list | tuple | set | frozenset):
        raise BadPickle("instructions that make no sense")
    return [_key(value) for value in values]


def _key(value: Any) -> Any:
    """A key of a dictionary, of which alone it is known how long looking it up takes.

    Tuples are looked up by all they hold, and there are large whole numbers by the million that
    Python finds only one after the other.
    """
    if isinstance(value, str | bytes | None) or (isinstance(value, int) and 0 <= value < _MAX_KEY):
        return value
    raise BadPickle("a dictionary with keys that are neither text nor small numbers")


def _ordered(pairs: Any = ()) -> OrderedDict[Any, Any]:
    """Before Python 3, an ordered dictionary was made from a list of pairs."""
    if not isinstance(pairs, list | tuple) or any(
        not isinstance(pair, list | tuple) or len(pair) != 2 for pair in pairs
    ):
        raise BadPickle("instructions that make no sense")
    return OrderedDict((_key(key), value) for key, value in pairs)


def _counter(counts: Any = None) -> Counter[Any]:
    if counts is not None and not isinstance(counts, dict):
        raise BadPickle("instructions that make no sense")
    return Counter(counts)


def _namespace(*arguments: Any) -> argparse.Namespace:
    if arguments:
        raise BadPickle("instructions that make no sense")
    return argparse.Namespace()


def _set(values: Any = ()) -> set[Any]:
    return set(_keys(values))


def _size(sides: Any = ()) -> tuple[int, ...]:
    if not isinstance(sides, tuple | list) or any(type(side) is not int for side in sides):
        raise BadPickle("an invalid shape")
    return tuple(sides)


def _device(*arguments: Any) -> str:
    if not all(isinstance(argument, str | int) for argument in arguments):
        raise BadPickle("an invalid device")
    return ":".join(printable(argument) for argument in arguments)


def _encoded(text: Any, encoding: Any = "latin1") -> bytes:
    """How Python 3 writes bytes where Python 2 may have to read them."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise BadPickle("instructions that make no sense")
    return text.encode("latin-1")


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
    return _rebuilt(storage, offset, shape, strides, None)


def _typed_tensor(
    storage: Any,
    offset: Any,
    shape: Any,
    strides: Any,
    _grad: Any,
    _hooks: Any,
    dtype: Any,
    *_: Any,
) -> Tensor:
    if isinstance(dtype, _Name) and dtype.call is not None:
        dtype.call()
    if not isinstance(dtype, _Name) or not isinstance(dtype.value, torch.dtype):
        raise BadTensor("a tensor of unknown numbers")
    return _rebuilt(storage, offset, shape, strides, dtype.value)


def _rebuilt(
    storage: Any, offset: Any, shape: Any, strides: Any, dtype: torch.dtype | None
) -> Tensor:
    dtype = dtype or (storage.dtype if isinstance(storage, Storage) else None)
    if not isinstance(storage, Storage) or dtype is None:
        raise BadTensor("a tensor without data")
    return build_tensor(storage.data, dtype, offset, shape, strides)


def _parameter(data: Any, *_: Any) -> Tensor:
    if not isinstance(data, Tensor):
        raise BadTensor("a parameter without data")
    return data


def _of_type(function: Any, kind: Any, arguments: Any, *_: Any) -> Tensor:
    """A tensor to which attributes were given, which are left out."""
    if not isinstance(kind, _Name) or kind.name not in _TENSOR_TYPES:
        raise BadTensor("a tensor of unknown kind")
    if function not in (_GLOBALS[name] for name in _PLAIN) or type(arguments) is not tuple:
        raise BadTensor("a tensor of unknown kind")
    return function.call(*arguments)


def _refuse(kind: str) -> Callable[..., Any]:
    def refuse(*_: Any) -> Any:
        raise Refused(
            f"holds {kind}, which cannot be run; get the file in fp32, fp16 or bf16 as plain "
            f"tensors."
        )

    return refuse


_TENSOR_TYPES = ("torch.Tensor", "torch.nn.parameter.Parameter", "torch._tensor.Tensor")
_PLAIN = (
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_tensor_v3",
    "torch._utils._rebuild_parameter",
)

_CALLS: Mapping[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered,
    "collections.Counter": _counter,
    "argparse.Namespace": _namespace,
    "builtins.set": _set,
    "__builtin__.set": _set,
    "torch.Size": _size,
    "torch.device": _device,
    "_codecs.encode": _encoded,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _of_type,
    "torch._utils._rebuild_qtensor": _refuse("quantized weights"),
    "torch._utils._rebuild_sparse_tensor": _refuse("sparse tensors"),
    "torch._utils._rebuild_sparse_csr_tensor": _refuse("sparse tensors"),
    "torch._utils._rebuild_nested_tensor": _refuse("nested tensors"),
    "torch._utils._rebuild_meta_tensor_no_storage": _refuse("tensors without values"),
    "torch._utils._rebuild_device_tensor_from_numpy": _refuse("tensors of another device"),
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _refuse("tensors of another device"),
    "torch._utils._rebuild_wrapper_subclass": _refuse("tensors of a program's own kind"),
    "torch.nested._internal.nested_tensor._rebuild_njt": _refuse("nested tensors"),
}

STORAGES: Mapping[str, torch.dtype | None] = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "UntypedStorage": None,
}

# Of other types, such as fp4 and quantized ones, the name is known and a tensor is refused.
_DTYPES = (
    *("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"),
    *("float8_e4m3fnuz", "float8_e5m2fnuz", "int64", "int32", "int16", "int8", "uint8", "bool"),
    *("uint16", "uint32", "uint64", "complex64", "complex128"),
)
_QUANTIZED = ("QInt8", "QUInt8", "QInt32", "QUInt4x2", "QUInt2x4")
_OTHER_DTYPES = (
    *("qint8", "quint8", "qint32", "quint4x2", "quint2x4", "complex32", "float4_e2m1fn_x2"),
    "float8_e8m0fnu",
)


def storage_dtype(kind: Any) -> torch.dtype | None:
    """The type of the elements of a storage class that lies on the stack.

    Raises:
        BadPickle: it is no storage class.
        Refused: it is one of quantized numbers.
    """
    if not isinstance(kind, _Name) or not kind.name.endswith("Storage"):
        raise BadPickle("a storage of unknown kind")
    if kind.call is not None:
        kind.call()
    return kind.value


def _globals() -> dict[str, _Name]:
    known = {name: _Name(name, call) for name, call in _CALLS.items()}
    for name, dtype in STORAGES.items():
        for module in ("torch", "torch.storage"):
            known[f"{module}.{name}"] = _Name(name, value=dtype)
    for name in _QUANTIZED:
        known[f"torch.{name}Storage"] = _Name(f"{name}Storage", _refuse("quantized weights"))
    for name in _DTYPES:
        if hasattr(torch, name):  # the newest are not in every version
            known[f"torch.{name}"] = _Name(name, value=getattr(torch, name))
    for name in _OTHER_DTYPES:
        known[f"torch.{name}"] = _Name(name, _refuse(f"tensors stored as {name}"))
    for name in _TENSOR_TYPES:
        known[name] = _Name(name)
    for name in ("per_tensor_affine", "per_channel_affine", "strided", "sparse_coo", "jagged"):
        known[f"torch.{name}"] = _Name(name)
    for name in ("sparse_csr", "sparse_csc", "sparse_bsr", "sparse_bsc"):
        known[f"torch.{name}"] = _Name(name)
    known["torch.serialization._get_layout"] = _Name(
        "_get_layout", lambda *_: _Name("a layout of tensors")
    )
    return known


_GLOBALS = _globals()
