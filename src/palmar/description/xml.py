"""Description files as XML trees, read so that a file from anywhere can be opened: no document type, no entities, no
network, bounded size and depth; included files only from the folder of the main one."""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from palmar.errors import BadFile, unusable

MOST_BYTES = 32 * 2**20
MOST_DEPTH = 200
MOST_ELEMENTS = 500_000
MOST_FILES = 100


def read_xml(path: Path) -> Element:
    """The root of a URDF, MJCF or other XML file. Raises `BadFile` for a file that is missing, no XML, or out of bounds."""
    try:
        if not path.exists():
            raise BadFile(f"there is no '{path}'. Next: check the path")
        if not path.is_file():
            raise BadFile(f"'{path}' is no file; expected a robot description (URDF or MJCF). Next: the file in it")
        if (size := path.stat().st_size) > MOST_BYTES:
            raise BadFile(
                f"'{path}' has {size} bytes; expected a robot description of at most {MOST_BYTES}. "
                "Next: the robot alone; meshes in files of their own"
            )
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, OSError):
            raise unusable(error, path) from error
        raise BadFile(f"{str(path)!r} is no path ({error}). Next: another path") from error
    return parse(data, str(path))


def parse(data: bytes, name: str) -> Element:
    """The root element of XML bytes; `name` is the file's, for messages. Raises `BadFile`."""
    builder, depth, count = TreeBuilder(), 0, 0

    def refuse(*_: object) -> None:
        raise BadFile(
            f"'{name}' has a document type (<!DOCTYPE …>), which no URDF or MJCF needs. Next: remove that line"
        )

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth, count
        depth, count = depth + 1, count + 1
        if depth > MOST_DEPTH or count > MOST_ELEMENTS:
            raise BadFile(
                f"'{name}' has over {MOST_DEPTH} nested or {MOST_ELEMENTS} elements; expected a robot description. "
                "Next: the robot alone, without its scene"
            )
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler = start, end
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError, LookupError) as error:  # Lookup: an encoding nobody knows
        raise BadFile(
            f"'{name}' is no XML ({error}); expected a URDF or MJCF file. Next: a .urdf, or an .xml of MuJoCo"
        ) from error
    return builder.close()


def with_includes(root: Element, path: Path) -> None:
    """Replace every `<include file="…"/>` of an MJCF by what that file holds, in place.

    Raises `BadFile` for a file outside the folder of the main one, one that is missing, or one that is included twice.
    """
    _expand(root, path, {path.resolve()})


def _expand(element: Element, main: Path, seen: set[Path]) -> None:
    children = list(element)
    for child in children:
        if child.tag != "include":
            _expand(child, main, seen)
            continue
        named = child.get("file") or ""
        where = inside(main.parent, named, f"'{main}' includes")
        if where in seen or len(seen) > MOST_FILES:
            raise BadFile(
                f"'{main}' includes '{named}' twice, or too many files; expected each once. Next: leave one out"
            )
        seen.add(where)
        part = read_xml(where)
        if part.tag not in ("mujoco", "mujocoinclude"):
            raise BadFile(
                f"'{where}' begins with <{part.tag}>; expected <mujoco> or <mujocoinclude>. "
                "Next: a file that MuJoCo can include"
            )
        _expand(part, main, seen)
        at = list(element).index(child)
        element.remove(child)
        for k, piece in enumerate(part):
            element.insert(at + k, piece)


def inside(folder: Path, named: str, what: str) -> Path:
    """The file that is named, which must lie in the folder. Raises `BadFile`."""
    try:
        where = (folder / named).resolve()
        lies_in = named != "" and where.is_relative_to(folder.resolve())
    except (ValueError, OSError, RuntimeError):
        lies_in = False
    if not lies_in:
        raise BadFile(f"{what} '{named}'; expected a file in '{folder}'. Next: copy it there and name it so")
    return where


def number(element: Element, key: str, default: float = math.nan) -> float:
    """An attribute as a finite number; `default` where it is absent. Raises `BadFile`."""
    text = element.get(key)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or "_" in text:
        raise BadFile(
            f'<{element.tag} {key}="{text[:40]}">: expected a finite number. Next: mend that line of the file'
        )
    return value


def numbers(element: Element | None, key: str, default: tuple[float, ...]) -> tuple[float, ...]:
    """An attribute as finite numbers, as many as the default has. Raises `BadFile`."""
    text = None if element is None else element.get(key)
    if element is None or text is None:
        return default
    try:
        values = tuple(float(x) for x in text.split())
    except ValueError:
        values = ()
    if len(values) != len(default) or not all(map(math.isfinite, values)) or "_" in text:
        raise BadFile(
            f'<{element.tag} {key}="{text[:60]}">: expected {len(default)} finite numbers. '
            "Next: mend that line of the file"
        )
    return values
