"""Single changes to the files of a data set, a checkpoint or a robot, drawn from a seed: what a stranger, a bug or a bad
disk may do.

A mutator is a function (folder, dice) -> str: it changes one thing in the folder and says what. `MUTATORS` lists them with
their weights, by what they are about; for files of another kind add a function and a line there.
"""

from __future__ import annotations

import copy
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import robot_files
from values import VALUES, changed_json, dump, other, shown

Mutator = Callable[[Path, random.Random], str]


TEMPLATES = (
    "", "/etc/passwd", "/dev/stdin", "../outside/file-000.parquet", "data/../../outside/file-000.parquet",
    "{outside}/file-000.parquet", "{chunk_index:1000000000}", "{chunk_index:0999999999d}", "{chunk_index!r}",
    "{chunk_index.__class__}", "{0}", "{}", "{chunk_index", "}", "{{chunk_index}}", "data\\..\\..\\outside", "C:\\x",
    "file:///etc/passwd", "concat:data/a|/etc/passwd", "http:x.mp4", "data/{file_index:03d}\0.parquet", "data/\n.parquet",
    "{video_key}", "{video_key:03d}", "{episode_index:06d}.parquet", "data/{unknown}.parquet", "./data/{file_index}.parquet",
    "~/{file_index}", "data//file-{file_index:03d}.parquet", "data/chunk-{chunk_index:07d}/file-{file_index:03d}.parquet",
    "data/chunk-{chunk_index:04d}/file-{file_index:03d}.parquet", "data", "meta/info.json", ".cache/{file_index}",
    "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4", "x" * 6000, "{file_index:03d}" * 300,
    "data/chunk-{file_index:03d}/file-{chunk_index:03d}.parquet", "data/link/file-{file_index:03d}.parquet",
)  # fmt: skip


# ------------------------------------------------------------------------------------------------ JSON


def _json(name: str, below: tuple[Any, ...] = ()) -> Mutator:
    def mutate(root: Path, dice: random.Random) -> str:
        path = root / name
        doc = json.loads(path.read_text())
        said = changed_json(doc, dice, below)
        path.write_bytes(dump(doc))
        return f"{name}: {said}"

    return mutate


def _whole_json(name: str) -> Mutator:
    def mutate(root: Path, dice: random.Random) -> str:
        value = copy.deepcopy(dice.choice(VALUES))
        (root / name).write_bytes(dump(value))
        return f"{name}: the whole is {shown(value)}"

    return mutate


def template(root: Path, dice: random.Random) -> str:
    """Path templates that lead outside, or that a formatter would expand. `outside` and data/link lie beside the set, with
    files that could be read."""
    field, text = dice.choice(["data_path", "video_path"]), dice.choice(TEMPLATES)
    outside = root.parent / "outside"
    text = text.replace("{outside}", str(outside))
    if "data/link" in text:
        (root / "data/link").symlink_to(outside, target_is_directory=True)
    doc = json.loads((root / "meta/info.json").read_text())
    doc[field] = text
    (root / "meta/info.json").write_bytes(dump(doc))
    return f"meta/info.json: {field} = {text!r:.80}"


# ------------------------------------------------------------------------------------------------ parquet


def _parquet(pattern: str) -> Mutator:
    def mutate(root: Path, dice: random.Random) -> str:
        path = dice.choice(sorted(root.glob(pattern)))
        table, said = changed_table(pq.read_table(path), dice)
        pq.write_table(table, path)
        return f"{path.relative_to(root)}: {said}"

    return mutate


def changed_table(table: pa.Table, dice: random.Random) -> tuple[pa.Table, str]:
    """One column, one cell or one row changed."""
    name = dice.choice(table.column_names)
    at, column = table.column_names.index(name), table[name]
    way = dice.random()
    if way < 0.08:
        return table.drop_columns([name]), f"no column {name}"
    if way < 0.14:
        return table.rename_columns([f"{c}x" if c == name else c for c in table.column_names]), f"{name} renamed"
    if way < 0.2 and len(table) > 1:
        row = dice.randrange(len(table))
        kept = [i for i in range(len(table)) if i != row]
        return table.take(kept), f"row {row} is gone"
    if way < 0.24:
        row = dice.randrange(len(table))
        return pa.concat_tables([table, table.slice(row, 1)]), f"row {row} twice"
    if way < 0.28 and len(table) > 1:
        order = list(range(len(table)))
        a, b = dice.sample(order, 2)
        order[a], order[b] = b, a
        return table.take(order), f"rows {a} and {b} swapped"
    if way < 0.36:
        kind = dice.choice(
            [pa.string(), pa.float64(), pa.int8(), pa.int32(), pa.bool_(), pa.list_(pa.int64()), pa.null()]
        )
        try:
            new = pa.nulls(len(table), kind) if pa.types.is_null(kind) or pa.types.is_list(kind) else column.cast(kind)
        except pa.ArrowException:
            new = pa.nulls(len(table), kind)
        return table.set_column(at, name, new), f"{name} as {kind}"
    values, row = column.to_pylist(), dice.randrange(len(table))
    for _ in range(30):  # until a value of the column's own type comes up
        values[row] = other(column[row].as_py(), dice)
        try:
            return table.set_column(at, name, pa.array(values, column.type)), f"{name}[{row}] = {shown(values[row])}"
        except (pa.ArrowException, ValueError, TypeError, OverflowError, UnicodeError):
            continue
    values[row] = None
    return table.set_column(at, name, pa.array(values, column.type)), f"{name}[{row}] is empty"


# ------------------------------------------------------------------------------------------------ whole files


def _file(pattern: str, links: bool = True) -> Mutator:
    """links: also a link that leads outside in its place; a checkpoint may lie in a cache that is made of links."""

    def mutate(root: Path, dice: random.Random) -> str:
        path = dice.choice(sorted(p for p in root.glob(pattern) if p.is_file()))
        said, data = f"{path.relative_to(root)}", path.read_bytes()
        way = dice.choice(["cut", "byte", "byte", "empty", "gone", "folder", "pipe", "link", "loop", "noise"])
        way = "gone" if way == "link" and not links else way
        if way == "cut":
            path.write_bytes(data[: dice.randrange(len(data))])
        elif way == "byte":
            at = dice.randrange(len(data))
            path.write_bytes(data[:at] + bytes([data[at] ^ (1 << dice.randrange(8))]) + data[at + 1 :])
            return f"{said}: byte {at} of {len(data)}"
        elif way == "noise":
            path.write_bytes(dice.randbytes(len(data)))
        else:
            path.unlink()
            if way == "empty":
                path.touch()
            elif way == "folder":
                path.mkdir()
            elif way == "pipe":
                os.mkfifo(path)
            elif way == "link":
                target = root.parent / "outside" / path.name
                path.symlink_to(target if target.exists() else "/etc/passwd")
            elif way == "loop":
                path.symlink_to(path)
        return f"{said}: {way}"

    return mutate


# ------------------------------------------------------------------------------------------------ checkpoints


def tensors_of(path: Path) -> tuple[dict[str, Any], bytes]:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def write_header(path: Path, header: Any, payload: bytes) -> None:
    text = dump(header)
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + payload)


def _config(below: tuple[str, ...], sealed: float) -> Mutator:
    """sealed: how often the weights say that they belong to what was changed, as one who means harm would write them."""

    def mutate(root: Path, dice: random.Random) -> str:
        from palmar.models import checkpoint

        path = root / "config.json"
        doc = json.loads(path.read_text())
        said = changed_json(doc, dice, below)
        path.write_bytes(dump(doc))
        if dice.random() < sealed:
            header, payload = tensors_of(root / "model.safetensors")
            try:
                built = json.loads(path.read_text())
                header["__metadata__"]["fingerprint"] = checkpoint._fingerprint(
                    {k: built[k] for k in built if k != "info"}
                )
                write_header(root / "model.safetensors", header, payload)
            except (ValueError, RecursionError):
                pass  # no fingerprint can be made of it
        return f"config.json: {said}"

    return mutate


def header(root: Path, dice: random.Random) -> str:
    """The header of the weights, its length, or one entry."""
    path = root / "model.safetensors"
    doc, payload = tensors_of(path)
    if dice.random() < 0.15:
        size = dice.choice([0, 1, 7, 2**20, 2**31, 2**40, 2**63, 2**64 - 1])
        path.write_bytes(size.to_bytes(8, "little") + path.read_bytes()[8:])
        return f"model.safetensors: a header of {size} bytes"
    entry = dice.choice(list(doc))
    said = (
        changed_json(doc, dice, (entry,))
        if isinstance(doc[entry], dict) and dice.random() < 0.8
        else changed_json(doc, dice)
    )
    write_header(path, doc, payload)
    return f"model.safetensors: {said}"


DATA: dict[str, tuple[int, Mutator]] = {
    "info": (26, _json("meta/info.json")),
    "features": (14, _json("meta/info.json", ("features",))),
    "template": (10, template),
    "stats": (8, _json("meta/stats.json")),
    "whole info": (1, _whole_json("meta/info.json")),
    "whole stats": (1, _whole_json("meta/stats.json")),
    "data": (14, _parquet("data/*/*.parquet")),
    "episodes": (14, _parquet("meta/episodes/*/*.parquet")),
    "tasks": (5, _parquet("meta/tasks.parquet")),
    "files": (6, _file("**/*.*")),
    "extras": (1, _file("meta/palmar_episodes.jsonl")),
}
CHECKPOINT: dict[str, tuple[int, Mutator]] = {
    "config": (50, _config(("config",), 0.8)),
    "interface": (12, _config(("interface",), 0.8)),
    "normalizers": (10, _config(("normalizers",), 0.8)),
    "config.json": (10, _config((), 0.6)),
    "header": (14, header),
    "checkpoint files": (4, _file("*.*", links=False)),
}
ROBOT: dict[str, tuple[int, Mutator]] = {
    "number": (30, robot_files.number),
    "scale": (6, robot_files.scale),
    "field": (12, robot_files.field()),
    "channel": (16, robot_files.field("channel")),
    "frame": (14, robot_files.field("frame")),
    "state": (4, robot_files.field("state")),
    "camera": (3, robot_files.field("camera")),
    "entries": (6, robot_files.entries),
    "text": (14, robot_files.text),
    "robot file": (2, _file("robot.toml", links=False)),
}
MUTATORS = {"data": DATA, "checkpoint": CHECKPOINT, "robot": ROBOT}
"""By the kind of folder they change; `cases.CASES` says what is done with each kind afterwards."""


def mutate(kind: str, root: Path, seed: str) -> tuple[str, str]:
    """Change one thing in a folder of this kind. Returns (name of the mutator, what was changed)."""
    dice = random.Random(f"{kind} {seed}")
    table = MUTATORS[kind]
    name = dice.choices(list(table), [weight for weight, _ in table.values()])[0]
    return name, table[name][1](root, dice)
