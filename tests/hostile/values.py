"""Other values for a place in a parsed file, drawn from a seed, and files of parsed JSON that hold them."""

from __future__ import annotations

import copy
import json
import math
import random
import sys
from typing import Any


def deep(levels: int) -> list[Any]:
    out: list[Any] = []
    for _ in range(levels):
        out = [out]
    return out


VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 3, 7, 1000, 10**6, 10**12, 2**63, -(2**63), 10**400, 1e308, -1e308, math.nan, math.inf,
    -math.inf, 0.0, 0.5, 29.97, 1e-300, "", "x", "10", "../../outside", "/etc/passwd", "\ud800", "\0", "[/red]", "é" * 3,
    "a" * 5000, "{chunk_index:1000000000}", "{0.__class__}", "{video_key!r}", "float32", "int64", "video", "image", "string",
    "object", "v2.1", "v3.0", [], [0], [1], [None], [-1, 3], [10**6, 10**6, 3], [1, 2, 3, 4, 5, 6], ["a", "b"], {}, {"a": 1},
    {"dtype": "float32", "shape": [7], "names": None}, deep(60), [[1, [2, [3]]]], list(range(3000)),
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where there is a value in parsed JSON, the whole left out."""
    out = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value[:12]) if isinstance(value, list) else ()
    for key, inner in items:
        out += places(inner, (*path, key))
    return out


def other(value: Any, dice: random.Random) -> Any:
    """Another value in its place: near it, or anything."""
    if isinstance(value, bool) and dice.random() < 0.3:
        return not value
    if isinstance(value, int | float) and not isinstance(value, bool) and dice.random() < 0.4:
        return dice.choice([value + 1, value - 1, -value, value * 10, value * 2 + 0.5, value * 10**9, str(value)])
    if isinstance(value, str) and dice.random() < 0.4:
        return dice.choice([value + "x", value[:-1], value.upper(), value * 2, f"{value}/..", f" {value}"])
    if isinstance(value, list) and dice.random() < 0.4:
        return dice.choice([[*value, *value[-1:]], value[:-1], value[::-1], [value], [*value, None]])
    return copy.deepcopy(dice.choice(VALUES))


def changed_json(doc: Any, dice: random.Random, below: tuple[Any, ...] = ()) -> str:
    """Change one place of parsed JSON. below: only in this part of it."""
    part = doc
    for key in below:
        part = part[key]
    path = dice.choice(places(part))
    parent = part
    for key in path[:-1]:
        parent = parent[key]
    key, name = path[-1], "/".join(map(str, (*below, *path)))
    way = dice.random()
    if isinstance(parent, dict) and way < 0.12:
        del parent[key]
        return f"{name} is gone"
    if isinstance(parent, dict) and way < 0.18:
        new = dice.choice([f"{key}x", "", "a/b", "..", "\ud800", "x" * 400, str(key).upper()])
        parent[new] = parent.pop(key)
        return f"{name} is called {new!r:.40}"
    if isinstance(parent, dict) and way < 0.22:
        new = dice.choice(["extra", "observation.images.more", "x"])
        parent[new] = copy.deepcopy(dice.choice(VALUES))
        return f"{name}: beside it {new!r} = {parent[new]!r:.60}"
    parent[key] = other(parent[key], dice)
    return f"{name} = {shown(parent[key])}"


def shown(value: Any) -> str:
    try:
        return f"{value!r:.80}"
    except ValueError:  # more digits than Python writes
        return "a very long number"


def dump(doc: Any) -> bytes:
    """JSON, also of numbers longer than Python writes, and of lone surrogates."""
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        return json.dumps(doc).encode()
    finally:
        sys.set_int_max_str_digits(limit)
