"""The tree of errors. Each says what was found, what was expected, and the next step.

PalmarError
├── UserError                 the caller can mend it: exit code 2
│   ├── BadValue              a value outside its range or of the wrong shape
│   ├── BadFile               a file that is missing, truncated or of another format
│   ├── UnknownName           a name that is not in the list of known ones
│   ├── MissingPackage        an optional package (or system library) that is not installed
│   └── ModelUnreachable      a language model elsewhere that does not answer
├── WorkerDied                a process that shared the work ended before its time: exit code 3
└── RobotFault                the body or the controller cannot go on: exit code 3
    └── PolicyUnreachable     the server that a remote policy runs on does not answer
"""

from __future__ import annotations

import difflib
import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path


class PalmarError(Exception):
    """Any error palmar raises on purpose."""


class UserError(PalmarError):
    """What was asked for cannot be done as asked; the message says how it can."""

    exit_code = 2


class BadValue(UserError, ValueError):
    """A value out of range or of the wrong shape."""


class TooLongInstruction(BadValue):
    """An instruction of more tokens or words than the model reads."""


class BadFile(UserError):
    """A file that is missing, damaged or of another format."""


class MissingPackage(UserError, ImportError):
    """An optional package or system library is not installed; the message holds the install command."""


class ModelUnreachable(UserError):
    """A language model elsewhere does not answer, or not as its protocol says; no answer of it was carried out."""

    exit_code = 3


class WorkerDied(PalmarError):
    """A process that shared the work ended before its time: killed, out of memory, or crashed."""

    exit_code = 3


class RobotFault(PalmarError):
    """The body or the controller cannot go on (stale sensors, lost connection, latched emergency stop)."""

    exit_code = 3


class PolicyUnreachable(RobotFault):
    """The server of a remote policy is not there, was lost, or answers what it must not."""


MANY, SHOWN = 24, 8
"""Names that a message lists at most, and of how many of a longer list."""


class UnknownName(UserError, LookupError):
    """A name that is not among the known ones. The message lists them and guesses which was meant; of more than `MANY` it names
    the nearest, and how many there are (`known` holds all).

    alike: how near a known name must be to be guessed, 0 … 1. where: what lists all of them, for a message that does not.
    """

    def __init__(self, what: str, name: str, known: Iterable[str], alike: float = 0.5, where: str = "") -> None:
        known = list(known)
        close = difflib.get_close_matches(name.lower(), [k.lower() for k in known], n=1, cutoff=alike)
        meant = next((k for k in known if close and k.lower() == close[0]), None)
        guess = f" Did you mean '{meant}'?" if meant else ""
        super().__init__(f"unknown {what} '{name}'.{guess} {_listed(name, known, where)}")
        self.what, self.name, self.known, self.alike, self.where = what, name, known, alike, where

    def __reduce__(self) -> tuple[type[UnknownName], tuple[object, ...]]:
        """As it crosses from a worker process."""
        return type(self), (self.what, self.name, self.known, self.alike, self.where)


def _listed(name: str, known: list[str], where: str) -> str:
    if len(known) <= MANY:
        return f"Known: {', '.join(known)}."
    lower = {k.lower(): k for k in reversed(known)}
    near = difflib.get_close_matches(name.lower(), list(lower), n=SHOWN, cutoff=0.3)
    holding = [k for k in lower if len(name) > 2 and name.lower() in k]
    shown = [lower[k] for k in dict.fromkeys([*near, *holding])][:SHOWN] or known[:SHOWN]
    return f"Known: {', '.join(shown)} … ({len(known)} in all{f'; {where} lists them' if where else ''})."


def some(names: list[str]) -> str:
    """The names, or the first of many and how many there are."""
    return ", ".join(names) if len(names) <= MANY else f"{', '.join(names[:SHOWN])} … ({len(names)} in all)"


def check_names(what: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Raise `BadValue` when none is named, `UnknownName` for the first that is not among the known."""
    names, known = list(names), list(known)
    if not names:
        raise BadValue(f"no {what} is named; expected one or more of {some(known)}. Next: name one")
    for name in names:
        if name not in known:
            raise UnknownName(what, name, known)


def brief(error: BaseException) -> str:
    """An error in one short line: a UnicodeDecodeError holds the whole of what it could not read."""
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"[:160]


DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
FULL = (errno.ENOSPC, errno.EDQUOT)


def unusable(error: OSError, path: str | Path | None = None, writing: bool = False) -> BadFile:
    """What the operating system says about a path that was given, in words. path: where it is not the error's own."""
    where = Path(os.fsdecode(error.filename) if path is None else path)
    blocking = next((p for p in (where, *where.parents) if os.path.isfile(p)), None)  # noqa: PTH113 - never raises
    if error.errno in (errno.ENOTDIR, errno.EEXIST) and blocking:
        return BadFile(f"'{blocking}' is a file; expected a folder. Next: another path")
    if error.errno == errno.EISDIR:
        return BadFile(f"'{where}' is a folder; expected a file. Next: the name of a file in it")
    if error.errno in FULL:
        return BadFile(f"'{where}' does not fit: the disk is full. Next: free space, or another place")
    if error.errno in DENIED or writing:
        why = error.strerror or type(error).__name__
        return BadFile(
            f"'{where}' cannot be {'written' if writing else 'read or written'} ({why.lower()}); expected a place of your "
            "own. Next: another path, or the rights to this one"
        )
    if error.errno == errno.ENOENT:
        return BadFile(f"there is no '{where}'. Next: check the path")
    return BadFile(f"'{where}' cannot be used ({(error.strerror or str(error)).lower()}). Next: another path")


KINDS = (
    (stat.S_ISDIR, "folder"), (stat.S_ISFIFO, "pipe (FIFO)"), (stat.S_ISSOCK, "socket"), (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
)  # fmt: skip


def regular_file(path: str | Path) -> Path:
    """The path, of a file that can be read to its end: every reader asks before it opens one, for a pipe would be waited for.

    A path where nothing is passes: whoever opens it knows what ought to be there. Raises `BadFile` for a folder, a pipe, a
    socket or a device, and for a name that no file can have.
    """
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        return Path(path)
    except OSError as error:
        raise unusable(error, path) from error
    except ValueError as error:  # a NUL inside
        raise BadFile(f"{str(path)!r} is no name of a file ({error}). Next: another name") from error
    if not stat.S_ISREG(mode):
        kind = next((word for test, word in KINDS if test(mode)), "special file")
        way = "the name of a file in it" if kind == "folder" else "copy what it holds into a file"
        raise BadFile(f"'{path}' is a {kind}; expected a file. Next: {way}")
    return Path(path)


def regular_files(folder: str | Path) -> Path:
    """The folder, with no pipe, socket or device in it: for libraries that open what they find there. Raises `BadFile`."""
    if str(folder) and Path(folder).is_dir():
        for path in Path(folder).iterdir():
            if not path.is_dir():
                regular_file(path)
    return Path(folder)


def need(package: str, extra: str) -> None:
    """Raise `MissingPackage` with the install command unless `package` can be imported."""
    import importlib.util

    if importlib.util.find_spec(package) is None:
        raise MissingPackage(f"'{package}' is not installed; this needs it. Next: pip install 'palmar[{extra}]'")
