"""Changes to a data set that can be taken back: nothing is deleted, what is replaced or moved away is kept.

`.palmar/removed-N/` holds the files as they were, and journal.json, which says where they belong. A change cut short is taken
back by the next `recover`.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from palmar.data import paths
from palmar.data.durable import KEPT, sync_folder, write_bytes
from palmar.errors import BadFile

JOURNAL, BEGUN, DONE = "journal.json", "begun", "done"
Writer = Callable[[Path], None]
"""Writes a file at the path given."""


@dataclass(slots=True)
class Changes:
    """What shall be done: files to move away, and files to write, in this order (so info.json goes last). Names are relative
    to the set. A name that is to be written and exists is kept aside first."""

    moves: list[str] = field(default_factory=list)
    writes: dict[str, Writer | bytes] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.moves or self.writes)


def apply(root: Path, changes: Changes, why: list[str]) -> Path:
    """Do it, all or nothing. Returns the folder that keeps what was there. The caller holds the writer's lock.

    why: what a person may want to read later, a line a change. Raises what writing raises; the set is as it was then.
    """
    for name in (*changes.moves, *changes.writes):
        paths.inside(root, name)
    if (root / KEPT).is_symlink():
        raise BadFile(f"'{root / KEPT}' is a link; expected a folder of the data set. Next: remove the link")
    recover(root)
    folder = root / KEPT / f"removed-{1 + max((n for n, _ in _folders(root)), default=-1)}"
    try:
        folder.mkdir(parents=True)
        entries: list[dict[str, Any]] = []
        for name, how in changes.writes.items():
            aside = folder / "new" / name
            aside.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(aside, how) if isinstance(how, bytes) else how(aside)
            entries.append({"name": name, "written": _digest(aside), "was": (root / name).exists()})
        entries = [{"name": name, "written": None, "was": True} for name in changes.moves] + entries
        record = {"state": BEGUN, "why": why, "files": entries}
        _write_record(folder, record)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        _tidy(root)
        raise
    for entry in entries:
        place, old = root / entry["name"], folder / "old" / entry["name"]
        if entry["was"]:
            old.parent.mkdir(parents=True, exist_ok=True)
            place.rename(old)
        if entry["written"]:
            place.parent.mkdir(parents=True, exist_ok=True)
            (folder / "new" / entry["name"]).rename(place)
            sync_folder(place.parent)
    _write_record(folder, record | {"state": DONE})
    shutil.rmtree(folder / "new", ignore_errors=True)
    return folder


def recover(root: Path) -> list[str]:
    """Take back a change that was cut short. Returns the files it was about."""
    out: list[str] = []
    for _, folder in reversed(_folders(root)):
        if not (folder / JOURNAL).exists():  # killed before it touched anything
            if not (folder / "old").exists():
                shutil.rmtree(folder, ignore_errors=True)
            continue
        record = _read_record(folder)
        if record["state"] == BEGUN:
            out += _reverse(root, folder, record)
    _tidy(root)
    return out


def undo(root: Path) -> list[str]:
    """Take back the last change. Returns the files it was about; raises `BadFile` when there is none, or when a file that it
    wrote has changed since, so that it would be lost."""
    recover(root)
    folders = _folders(root)
    if not folders:
        raise BadFile(f"'{root}' has nothing to undo: no '{KEPT}/removed-…' is in it. Next: palmar inspect {root}")
    folder = folders[-1][1]
    record = _read_record(folder)
    for entry in record["files"]:
        place = root / entry["name"]
        if entry["written"] and (not place.is_file() or _digest(place) != entry["written"]):
            raise BadFile(
                f"'{place}' has changed since it was repaired, and undoing would lose that; what was there before is in "
                f"'{folder / 'old'}'. Next: copy what you want from there"
            )
        if not entry["written"] and place.exists():
            raise BadFile(
                f"'{place}' is there again since it was moved away. Next: move it elsewhere, or copy from '{folder / 'old'}'"
            )
    out = _reverse(root, folder, record)
    _tidy(root)
    return out


def _reverse(root: Path, folder: Path, record: dict[str, Any]) -> list[str]:
    """Every step of it can be cut short and done again."""
    for entry in reversed(record["files"]):
        place, old, fresh = (p / entry["name"] for p in (root, folder / "old", folder / "new"))
        if entry["was"]:
            if old.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                old.replace(place)
        elif entry["written"] and not fresh.exists():
            place.unlink(missing_ok=True)
            _remove_empty(place.parent, root)
    (folder / JOURNAL).unlink()
    shutil.rmtree(folder)
    return [entry["name"] for entry in record["files"]]


def _folders(root: Path) -> list[tuple[int, Path]]:
    found = [(re.fullmatch(r"removed-(\d{1,6})", p.name), p) for p in (root / KEPT).glob("removed-*") if p.is_dir()]
    return sorted((int(m[1]), p) for m, p in found if m)


def _write_record(folder: Path, record: dict[str, Any]) -> None:
    aside = folder / f"{JOURNAL}.tmp"
    write_bytes(aside, json.dumps(record, indent=1).encode())
    aside.replace(folder / JOURNAL)
    sync_folder(folder)


def _read_record(folder: Path) -> dict[str, Any]:
    """The journal, every name in it inside the set: it is read from the set, which may come from a stranger."""
    path = folder / JOURNAL
    try:
        record = json.loads(path.read_text("utf-8"))
        good = record["state"] in (BEGUN, DONE) and all(
            not paths.outside(e["name"]) and isinstance(e["was"], bool) and isinstance(e["written"], str | None)
            for e in record["files"]
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadFile(f"'{path}' is damaged ({error}). Next: copy what you want from '{folder / 'old'}'") from error
    if not good:
        raise BadFile(f"'{path}' names files outside the data set. Next: look at it, then remove '{folder}'")
    return dict(record)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove_empty(folder: Path, root: Path) -> None:
    while folder != root and folder.is_relative_to(root) and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def _tidy(root: Path) -> None:
    kept = root / KEPT
    if kept.is_dir() and not any(kept.iterdir()):
        kept.rmdir()
