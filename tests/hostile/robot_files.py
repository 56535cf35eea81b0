"""Single changes to a robot file: its fields, its entries, its text. A robot lies in `robot.toml` of its folder."""

from __future__ import annotations

import copy
import json
import random
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from values import changed_json, places, shown

NAME = "robot.toml"
NUMBERS: tuple[float, ...] = (
    float("nan"), float("inf"), -float("inf"), 0, 0.0, -0.0, -1, -1e-9, 5e-324, 1e-300, 1e-160, 1e-30, 1e-12, 1e-6, 1e-3, 0.1, 2,
    1e3, 1e6, 1e9, 1e12, 1e15, 1e18, 1e30, 1e150, 1e160, 1e300, 1.7e308, -1e3, -1e15, -1e300, 2**63, 10**30, 10**309, 10**400,
)  # fmt: skip
EXTRA = ("inertia", "mass", "limits", "units", "source", "__class__", "", "a.b", "velocity ")


class Literal(str):
    """A value as TOML spells it, of a type that JSON lacks."""


LITERALS = tuple(
    Literal(text)
    for text in (
        "1979-05-27T07:32:00Z", "1979-05-27", "07:32:00", "0x7fffffffffffffff", "0b1", "1_000", "+nan", "-inf", "'''\n'''", "1e400",
        "9" * 5000, "0." + "1" * 5000, '"\\U0010ffff"', '"\\u202e"',
    )
)  # fmt: skip


def toml(value: Any) -> str:
    """A value in one line; what TOML cannot hold, None, is left out of a table and empty text in a list."""
    if isinstance(value, Literal):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if v is not None}
        return "{" + ", ".join(f"{toml(str(k))} = {toml(v)}" for k, v in kept.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, int | float):
        return repr(value)
    return json.dumps("" if value is None else value, ensure_ascii=False)


def write(root: Path, doc: dict[str, Any]) -> None:
    """Lone surrogates become bytes that are no UTF-8."""
    lines = [f"{toml(str(k))} = {toml(v)}" for k, v in doc.items() if v is not None]
    (root / NAME).write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))


def read(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / NAME).read_text())


def field(section: str = "") -> Callable[[Path, random.Random], str]:
    """Any value of one entry of a section, or of the whole file: missing, renamed, of another type, near it, or anything."""

    def mutate(root: Path, dice: random.Random) -> str:
        doc = read(root)
        entries = doc.get(section, [])
        below = (section, dice.randrange(len(entries))) if entries else ()
        if dice.random() < 0.12:
            part: Any = doc
            for key in below:
                part = part[key]
            key, value = dice.choice([*EXTRA, *part]), dice.choice(LITERALS)
            part[key] = value
            said = f"{'/'.join(map(str, below))} {key!r} = {value[:40]}"
        else:
            said = changed_json(doc, dice, below)
        write(root, doc)
        return f"{NAME}: {said}"

    return mutate


def number(root: Path, dice: random.Random) -> str:
    """One number: not a number, endless, tiny, huge, of the other sign."""
    doc = read(root)
    numbers = [p for p in places(doc) if isinstance(_at(doc, p), int | float) and not isinstance(_at(doc, p), bool)]
    path = dice.choice(numbers)
    was = _at(doc, path)
    new = dice.choice(NUMBERS) if dice.random() < 0.7 else was * dice.choice([-1, 1e-9, 1e-3, 0.5, 2, 1e3, 1e9])
    _at(doc, path[:-1])[path[-1]] = new
    write(root, doc)
    return f"{NAME}: {'/'.join(map(str, path))} = {shown(new)} instead of {was}"


def scale(root: Path, dice: random.Random) -> str:
    """All numbers of a channel, or of the geometry of a frame, in another unit."""
    doc = read(root)
    section = dice.choice([s for s in ("channel", "frame") if doc.get(s)])
    i, factor = dice.randrange(len(doc[section])), dice.choice([-1.0, 1e-15, 1e-9, 1e-3, 1e3, 1e9, 1e15, 1e100, 1e250])
    entry = doc[section][i]
    for path in places(entry):
        value = _at(entry, path)
        if isinstance(value, int | float) and not isinstance(value, bool) and path[-2:-1] != ("quat",):
            _at(entry, path[:-1])[path[-1]] = value * factor
    write(root, doc)
    return f"{NAME}: {section} {i} times {factor:g}"


def entries(root: Path, dice: random.Random) -> str:
    """Entries of a list: one twice, one gone, two swapped, none, one nested, very many."""
    doc = read(root)
    lists = [p for p in places(doc) if isinstance(_at(doc, p), list)]
    path = dice.choice([p for p in lists if len(p) == 1] if dice.random() < 0.6 else lists)
    values = _at(doc, path)
    way = dice.choice(["twice", "gone", "swapped", "none", "nested", "many", "longer"])
    if way == "twice":
        values.append(copy.deepcopy(dice.choice(values)))
    elif way == "gone":
        values.pop(dice.randrange(len(values)))
    elif way == "swapped":
        a, b = dice.randrange(len(values)), dice.randrange(len(values))
        values[a], values[b] = values[b], values[a]
    elif way == "none":
        values.clear()
    elif way == "nested":
        values[:] = [list(values)]
    elif way == "longer":
        values += copy.deepcopy(values)
    else:
        like = dice.choice(values)
        for i in range(dice.choice([100, 1000, 12_000])):
            new = copy.deepcopy(like)
            if isinstance(new, dict) and "name" in new:
                new["name"] = f"{new['name']}{i}"
            values.append(new)
    write(root, doc)
    return f"{NAME}: {'/'.join(map(str, path))} {way}"


def text(root: Path, dice: random.Random) -> str:
    """The text itself: what a person's editor, a bad copy or ill will may do to it."""
    path = root / NAME
    data = path.read_bytes()
    lines = data.split(b"\n")
    at, row = dice.randrange(len(data)), dice.randrange(len(lines))
    ways: dict[str, Callable[[], bytes]] = {
        "a line twice": lambda: b"\n".join([*lines[:row], lines[row], *lines[row:]]),
        "a line is gone": lambda: b"\n".join([*lines[:row], *lines[row + 1 :]]),
        "a line moved": lambda: b"\n".join([*lines[:row], *lines[row + 1 :], lines[row]]),
        "cut": lambda: data[:at],
        "the whole twice": lambda: data + b"\n" + data,
        "no UTF-8": lambda: data[:at] + dice.choice([b"\xff", b"\xc3", b"\xed\xa0\x80", b"\x80"]) + data[at:],
        "Latin-1": lambda: data.decode().replace("a", "ä").encode("latin-1", "replace"),
        "UTF-16": lambda: data.decode().encode("utf-16"),
        "a byte order mark": lambda: b"\xef\xbb\xbf" + data,
        "CRLF": lambda: data.replace(b"\n", b"\r\n"),
        "CR": lambda: data.replace(b"\n", b"\r"),
        "a zero byte": lambda: data[:at] + b"\0" + data[at:],
        "another bit": lambda: data[:at] + bytes([data[at] ^ (1 << dice.randrange(8))]) + data[at + 1 :],
        "deep lists": lambda: data + b"\nx = " + b"[" * dice.choice([50, 1000, 100_000]),
        "deep closed lists": lambda: b"notes = " + b"[" * 300 + b"]" * 300 + b"\n" + data,
        "deep tables": lambda: data + b"\n[" + b".".join([b"a"] * dice.choice([100, 5000, 100_000])) + b"]\n",
        "deep keys": lambda: b".".join([b"a"] * dice.choice([100, 5000, 50_000])) + b" = 1\n" + data,
        "a table in the way": lambda: data + b"\n[channel]\nname = 'x'\n",
        "an open text": lambda: data + b'\nnotes = """' + b"x" * 1000,
        "a long comment": lambda: data + b"\n#" + b"x" * dice.choice([10**5, 3 * 10**6, 5 * 10**6]),
        "control letters": lambda: data + b'\nnotes = "\x1b[2J\x07"',
    }  # fmt: skip
    way = dice.choice(list(ways))
    path.write_bytes(ways[way]())
    return f"{NAME}: {way} (byte {at}, line {row + 1})"


def _at(doc: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        doc = doc[key]
    return doc
