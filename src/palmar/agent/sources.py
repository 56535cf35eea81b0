"""Which files answers come from: palmar's own docs, and what a user names: logs, black boxes, reports, notes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from palmar.errors import BadFile, regular_file, unusable

ENDINGS = (".md", ".markdown", ".txt", ".rst", ".json", ".jsonl", ".ndjson", ".log", ".html", ".htm", ".toml")
"""Endings of names that are looked for in a folder. A file that is named itself may have any."""
PASSED = ("node_modules", "__pycache__", "site-packages", "videos", "blobs")  # folders that hold nothing to read
WEIGHTS = ("tokenizer.json", "vocab.json", "added_tokens.json", "special_tokens_map.json")
MOST_FILES = 2000


@dataclass(frozen=True, slots=True)
class Unread:
    """A file or folder that is not searched, or not whole, and why."""

    path: str
    why: str


def documentation() -> tuple[Path, ...]:
    """palmar's docs: README.md and docs/ of the checkout that it runs from, else what the wheel holds; empty where neither is."""
    package = Path(__file__).parents[1]
    checkout = package.parents[1]
    if (checkout / "docs").is_dir() and (checkout / "pyproject.toml").is_file() and package.parent.name == "src":
        return checkout / "README.md", checkout / "docs"
    packaged = package / "assets" / "docs"
    return (packaged,) if packaged.is_dir() else ()


def files_under(paths: Iterable[str | Path]) -> tuple[list[Path], list[Unread]]:
    """The files to read, each once, in the order of `paths` and by name in a folder, and what cannot be.

    In a folder nothing hidden is read, links to folders are not followed, and a link to a file is read where that lies in the
    folder as well and is not hidden. A path that is named itself may be a link."""
    found: dict[str, Path] = {}
    unread: list[Unread] = []
    for path in map(Path, paths):
        try:
            if path.is_dir():
                for inner in _walk(path, unread):
                    found.setdefault(os.path.realpath(inner), inner)
            elif not regular_file(path).exists():
                unread.append(Unread(str(path), f"there is no '{path}'. Next: check the path"))
            else:
                found.setdefault(os.path.realpath(path), path)
        except (OSError, ValueError, BadFile) as error:
            unread.append(Unread(str(path), str(error)))
    files = list(found.values())
    if len(files) > MOST_FILES:
        unread.append(
            Unread(str(files[MOST_FILES]), f"and the files after it: only {MOST_FILES} of {len(files)} are read")
        )
    return files[:MOST_FILES], unread


def _walk(folder: Path, unread: list[Unread]) -> Iterable[Path]:
    def refused(error: OSError) -> None:
        unread.append(Unread(str(error.filename), str(unusable(error))))

    root = Path(os.path.realpath(folder))
    for here, folders, names in os.walk(folder, onerror=refused):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f not in PASSED)
        for name in sorted(names):
            path = Path(here, name)
            if path.suffix.lower() not in ENDINGS or name.startswith(".") or name in WEIGHTS:
                continue
            real = Path(os.path.realpath(path))
            if not real.is_relative_to(root) or any(p.startswith(".") for p in real.relative_to(root).parts):
                why = f"it is a link to '{real}'; expected a file of '{folder}' that is not hidden. Next: name '{real}'"
                unread.append(Unread(str(path), why))
                continue
            try:
                yield regular_file(path)
            except BadFile as error:
                unread.append(Unread(str(path), str(error)))
