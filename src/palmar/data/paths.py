"""Names of files from the path templates of info.json: only the known placeholders, and only files inside the data set.

A template is text from a file that may come from a stranger. It is parsed here and never given to `str.format`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from palmar.errors import BadFile, regular_file

DATA_FIELDS = ("chunk_index", "file_index", "episode_chunk", "episode_index")
VIDEO_FIELDS = ("video_key", *DATA_FIELDS)
LONGEST = 512  # characters of a template or of a path
LARGEST = 10**9  # of an index
HUB = ("datasets--", "models--", "spaces--")  # begin the names of repositories in a cache of the Hugging Face Hub
PLACEHOLDER = re.compile(r"\{([A-Za-z_]+)(?::0([1-6])d)?\}")
NEXT = "Next: copy the file again from its source, or mend the set: palmar repair FOLDER"


class BadTemplate(ValueError):
    """Why a template is refused, without the file it is in."""


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template, such as data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet.

    parts: literal texts and, between them, (placeholder, width); width 0 is none.
    """

    text: str
    parts: tuple[str | tuple[str, int], ...]

    @property
    def fields(self) -> frozenset[str]:
        return frozenset(p[0] for p in self.parts if isinstance(p, tuple))

    def name(self, values: Mapping[str, int | str]) -> str:
        """The path relative to the set. Raises `BadTemplate` for a value that is missing or makes no name of a file."""
        out = []
        for part in self.parts:
            if isinstance(part, str):
                out.append(part)
                continue
            field, width = part
            value = values.get(field)
            if field == "video_key":
                if outside(value):
                    raise BadTemplate(f"{field} is {value!r:.80}; expected the name of a camera's feature")
                out.append(str(value))
            elif type(value) is not int or not 0 <= value < LARGEST:
                raise BadTemplate(f"{field} is {value!r:.80}; expected a whole number, 0 … {LARGEST - 1}")
            else:
                out.append(f"{value:0{width}d}" if width else str(value))
        return "".join(out)


def parse(text: object, fields: tuple[str, ...] = VIDEO_FIELDS) -> Template:
    """A template of a path with the placeholders `fields`. Raises `BadTemplate` for all that it may not hold."""
    if not isinstance(text, str) or not text:
        raise BadTemplate("expected the template of a path")
    if len(text) > LONGEST:
        raise BadTemplate(f"it has {len(text)} characters; expected at most {LONGEST}")
    parts: list[str | tuple[str, int]] = []
    at = 0
    for found in PLACEHOLDER.finditer(text):
        if found[1] not in fields:
            raise BadTemplate(f"it has the placeholder {found[0]!r:.60}; expected {', '.join(fields)}")
        if found[1] == "video_key" and found[2]:
            raise BadTemplate("video_key is text and takes no width")
        parts += [text[at : found.start()], (found[1], int(found[2] or 0))]
        at = found.end()
    parts.append(text[at:])
    literal = "".join(p for p in parts if isinstance(p, str))
    if "{" in literal or "}" in literal:
        raise BadTemplate(f"expected placeholders such as {{{fields[-1]}}} or {{{fields[-1]}:03d}}, width 1 to 6")
    problem = outside("".join(p if isinstance(p, str) else "x" for p in parts))
    if problem:
        raise BadTemplate(problem)
    return Template(text, tuple(p for p in parts if p))


def outside(name: object) -> str:
    """Why a name is none of a file inside a folder, as written; empty when it is one."""
    if not isinstance(name, str) or not name or len(name) > LONGEST:
        return f"expected a path of 1 to {LONGEST} characters"
    pure = PurePosixPath(name)
    if pure.is_absolute() or PureWindowsPath(name).drive or PureWindowsPath(name).is_absolute():
        return "it is an absolute path; expected one inside the set"
    pieces = name.split("/")
    if any(p in ("", ".", "..") for p in pieces):
        return "it holds an empty part, '.' or '..'; expected a path inside the set"
    if pieces[0].startswith("."):
        return f"it begins with the hidden folder '{pieces[0]}'; expected one such as data/ or videos/"
    if not all(plain(p) for p in pieces):
        return "it holds a backslash, a control character or what no file name may hold"
    return ""


def plain(name: str) -> bool:
    """Whether a text can be the name of one file or folder on every system, and be printed."""
    return (
        0 < len(name) <= 200
        and name not in (".", "..")
        and not any(ord(c) < 32 or 0xD800 <= ord(c) < 0xE000 or c in '/\\\0\x7f' for c in name)
    )  # fmt: skip


def inside(root: Path, name: str | PurePosixPath) -> Path:
    """`root / name`, once it is sure that it lies in `root`: as written, and where links lead.

    A snapshot in the cache of the Hugging Face Hub holds links to the `blobs` folder of the same repository; these pass.
    What is there must be a regular file; that nothing is there passes. Raises `BadFile`.
    """
    why = outside(str(name))
    if why:
        raise BadFile(f"'{root}' names a file {str(name)!r:.200}: {why}. {NEXT}")
    path = root / name
    try:
        target, home = path.resolve(), root.resolve()
    except (OSError, RuntimeError) as error:  # a loop of links
        raise BadFile(f"'{path}' leads nowhere ({error}). {NEXT}") from error
    blobs = _blobs(home)
    if not target.is_relative_to(home) and (blobs is None or target.parent != blobs):
        beside = "" if blobs is None else f", or one of '{blobs}'"
        raise BadFile(
            f"'{path}' is a link to '{target}', outside the data set; expected a file inside '{root}'{beside}. "
            "Next: copy the file to where the link is"
        )
    return regular_file(path)


def _blobs(home: Path) -> Path | None:
    """REPOSITORY/blobs, for a set that is or lies in REPOSITORY/snapshots/REVISION of a Hugging Face cache, where the files
    themselves are kept; None for any other. home: resolved, so that no part of the answer is a link but the last."""
    for folder in (home, *home.parents):
        if folder.parent.name == "snapshots" and folder.parent.parent.name.startswith(HUB):
            return folder.parent.parent / "blobs"
    return None
