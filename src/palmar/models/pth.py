"""Tensors of a PyTorch file (.pth, .pt, .bin, .ckpt) without unpickling it.

Such a file is a pickle: a program that builds objects, and whoever opens it the usual way runs it. Here the program is only
read: a stack of plain values, and of names that stay names. Nothing is imported, nothing is called; what a dictionary of
tensors does not need is refused. Both layouts are known, the zip archive (PyTorch ≥ 1.6) and the older stream.

Such a file also says how large things are. What it says is held against its own size, so that a small file, damaged or made
to do so, cannot fill the memory.
"""

from __future__ import annotations

import errno
import io
import math
import pickletools
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from palmar.errors import BadFile

_MAGIC = 0x1950A86A20F9469CFC6C  # the first value of the older stream
_TYPES = {
    "Float": torch.float32, "Double": torch.float64, "Half": torch.float16, "BFloat16": torch.bfloat16,
    "Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8,
    "Bool": torch.bool,
}  # fmt: skip
_PLAIN = {"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = (
    "BINUNICODE",
    "SHORT_BINUNICODE",
    "UNICODE",
    "BININT",
    "BININT1",
    "BININT2",
    "LONG1",
    "BINFLOAT",
    "SHORT_BINSTRING",
)
_MARK = object()
_DAMAGED = (
    ValueError, LookupError, TypeError, AttributeError, RuntimeError, EOFError, OverflowError, MemoryError,
    zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip
MOST, DEEPEST, LONGEST = 1_000_000, 64, 4096
"""Values and levels of dictionaries in a file and letters of a name, at most: a state dict has one or two levels."""
TIED = 4
"""Tensors take at most so many times the file: tied weights and views are in it once."""


class _Unknown(Exception):
    """Something in the program that a dictionary of tensors has no need of."""


@dataclass(frozen=True)
class _Name:
    """What a pickle would import."""

    name: str


@dataclass(frozen=True)
class _View:
    """A tensor that is to be cut from a storage."""

    key: str
    dtype: torch.dtype
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def read_pth(path: Path) -> dict[str, Tensor]:
    """All tensors in a file, nested names joined by dots; other values (step counts, settings) are left out.

    Raises `BadFile` when the file is missing, damaged, or holds objects that are more than tensors in dictionaries and lists.
    """
    if path.is_dir():
        raise BadFile(f"'{path}' is a folder. Next: name the .pth, .pt, .bin or .ckpt file in it")
    if not path.is_file():
        raise BadFile(f"there is no file '{path}'. Next: name a .pth, .pt, .bin or .ckpt file")
    size = path.stat().st_size
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                tree, read = _archive(archive, size)
                return dict(_flat(tree, _Storages(read, size)))
        with path.open("rb") as f:
            tree, read = _stream(f, size)
            return dict(_flat(tree, _Storages(read, size)))
    except _Unknown as e:
        raise BadFile(
            f"'{path}' holds {e}; expected tensors in dictionaries and lists. Next: save its state_dict() alone, as safetensors, "
            "with the program that made it"
        ) from e
    except (*_DAMAGED, OSError) as e:
        if isinstance(e, OSError) and e.errno != errno.EINVAL:  # which is: to a place that no file has
            raise
        raise BadFile(
            f"'{path}' is no PyTorch file, or a damaged one ({e}). Next: another file, or copy it again"
        ) from e


# ------------------------------------------------------------------------------------------------ the two layouts

Read = Callable[[str], bytes]
"""The numbers of a storage, by its key."""


def _archive(archive: zipfile.ZipFile, size: int) -> tuple[Any, Read]:
    names = archive.namelist()
    program = next(n for n in [*names, ""] if n.endswith("data.pkl") or not n)
    if not program:
        raise _Unknown("no data.pkl")
    root = program.removesuffix("data.pkl")

    def member(name: str) -> bytes:
        about = archive.getinfo(name)
        if about.compress_type != zipfile.ZIP_STORED:
            raise _Unknown("compressed members, which PyTorch does not write")
        if max(about.file_size, about.compress_size) > size:
            raise EOFError(f"{name} has {about.file_size} bytes, the file {size}")
        return archive.read(about)

    if f"{root}byteorder" in names and member(f"{root}byteorder") != sys.byteorder.encode():
        raise _Unknown("numbers in the other byte order")
    return _run(io.BytesIO(member(program))), lambda key: member(f"{root}data/{key}")


def _stream(f: BinaryIO, end: int) -> tuple[Any, Read]:
    """Magic, version, facts about the machine, the tree, the keys of the storages; then the storages, each after its length."""
    if _run(f) != _MAGIC:
        raise ValueError("it does not begin as one")
    _run(f)
    if not _run(f).get("little_endian", True):
        raise _Unknown("numbers in the other byte order")
    types: dict[str, torch.dtype] = {}
    tree = _run(f, types)
    held: dict[str, bytes] = {}
    for key in _run(f):
        if not isinstance(key, str):
            raise TypeError("a storage without a name")
        size = int.from_bytes(f.read(8), "little") * types[key].itemsize
        if (left := end - f.tell()) < size:
            raise EOFError(f"storage {key} has {left} of {size} bytes")
        held[key] = f.read(size)
    return tree, held.pop


class _Storages:
    """The storages of a file of `size` bytes, each read once, and the tensors cut from them: a bounded number of bytes."""

    def __init__(self, read: Read, size: int) -> None:
        self._read, self._held = read, dict[str, bytearray]()
        self._unread, self._left = size, TIED * size

    def cut(self, view: _View, name: str) -> Tensor:
        fresh = view.key not in self._held
        if fresh:
            self._held[view.key] = bytearray(self._read(view.key))
            self._unread -= len(self._held[view.key])
        raw, numbers = self._held[view.key], math.prod(view.shape)
        whole = torch.frombuffer(raw, dtype=view.dtype) if raw else torch.empty(0, dtype=view.dtype)
        if numbers > whole.numel():
            raise _Unknown(f"{name} of shape {list(view.shape)} cut from {whole.numel()} numbers")
        self._left -= numbers * view.dtype.itemsize + len(name)
        if self._unread < 0 or self._left < 0:
            raise _Unknown(f"more than {TIED} times the numbers it has room for")
        part = whole.as_strided(view.shape, view.stride, view.offset)  # refuses what lies outside
        return part if fresh and numbers == whole.numel() and part.is_contiguous() else part.clone()


# ------------------------------------------------------------------------------------------------ the program


def _run(f: BinaryIO, types: dict[str, torch.dtype] | None = None) -> Any:
    """What the program leaves on its stack. types: takes the storages it mentions, with their kind of number."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    arg: Any
    for op, arg, _ in pickletools.genops(f):
        name = op.name
        if name in _VALUES:
            stack.append(arg)
        elif name in _PLAIN:
            stack.append(_PLAIN[name]())
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name == "MARK":
            stack.append(_MARK)
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            n = int(name[-1])
            stack[-n:] = [tuple(stack[-n:])]
        elif name == "TUPLE":
            stack.append(tuple(_to_mark(stack)))
        elif name in ("APPENDS", "APPEND"):
            items = _to_mark(stack) if name == "APPENDS" else [stack.pop()]
            stack[-1].extend(items)
        elif name in ("SETITEMS", "SETITEM"):
            flat = _to_mark(stack) if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
            stack[-1].update(_dictionary(zip(flat[::2], flat[1::2], strict=True)))
        elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if arg is None else arg] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[arg])
        elif name == "GLOBAL":
            stack.append(_Name(arg.replace(" ", ".")))
        elif name == "STACK_GLOBAL":
            stack[-2:] = [_Name(".".join(stack[-2:]))]
        elif name == "BINPERSID":
            stack.append(_persistent(stack.pop(), types))
        elif name == "REDUCE":
            values = stack.pop()
            stack.append(_built(stack.pop(), values))
        elif name == "BUILD":
            stack.pop()  # attributes of a dictionary (the versions of its modules)
        elif name == "STOP":
            return stack.pop()
        elif name not in ("PROTO", "FRAME"):
            raise _Unknown(f"the pickle instruction {name}")
    raise EOFError("the program has no end")


def _to_mark(stack: list[Any]) -> list[Any]:
    at = len(stack) - 1
    while stack[at] is not _MARK:
        at -= 1
    items = stack[at + 1 :]
    del stack[at:]
    return items


def _dictionary(pairs: Any) -> dict[Any, Any]:
    """From pairs, or another dictionary. Keys are plain: hashing, comparing or printing a tuple of tuples may never end."""
    out = {}
    for k, v in pairs.items() if isinstance(pairs, dict) else pairs:
        if not isinstance(k, str | int | float | None):
            raise _Unknown(f"a dictionary with a key that is a {type(k).__name__}")
        out[k] = v
    return out


def _persistent(said: Any, types: dict[str, torch.dtype] | None) -> tuple[str, torch.dtype]:
    kind = said[1].name.removeprefix("torch.").removesuffix("Storage")
    if said[0] != "storage" or kind not in _TYPES:
        raise _Unknown(f"numbers of the kind {said[1].name}")
    if not isinstance(said[2], str):
        raise TypeError("a storage without a name")
    if len(said) > 5 and said[5] is not None:
        raise _Unknown("a storage that is part of another")
    if types is not None:
        types[said[2]] = _TYPES[kind]
    return said[2], _TYPES[kind]


def _built(made: Any, values: tuple[Any, ...]) -> Any:
    name = made.name if isinstance(made, _Name) else type(made).__name__
    if name == "collections.OrderedDict":
        return _dictionary(values[0]) if values else {}
    if name == "torch._utils._rebuild_tensor_v2":
        (key, dtype), offset, shape, stride = values[:4]
        numbers = (offset, *shape, *stride)
        if len(numbers) > 2 * DEEPEST or not all(isinstance(n, int) and 0 <= n < 1 << 63 for n in numbers):
            raise TypeError("a tensor whose shape is no short row of numbers")
        return _View(key, dtype, offset, shape, stride)
    if name == "torch._utils._rebuild_parameter":
        return values[0]
    raise _Unknown(f"an object of {name}")


def _flat(
    tree: Any, storages: _Storages, prefix: str = "", left: list[int] | None = None
) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors. left: how many values may still be looked at, since a tree can hold itself."""
    left = [MOST] if left is None else left
    left[0] -= 1
    if left[0] < 0 or prefix.count(".") > DEEPEST or len(prefix) > LONGEST:
        raise _Unknown(
            f"more than {MOST} values, values nested more than {DEEPEST} deep or names of over {LONGEST} letters"
        )
    if isinstance(tree, _View):
        yield prefix, storages.cut(tree, prefix)
    elif isinstance(tree, dict | list | tuple):
        for k, v in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from _flat(v, storages, f"{prefix}.{k}" if prefix else str(k), left)
