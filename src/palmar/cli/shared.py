"""What commands share: their answer, a configuration from their options, and a clean floor after a failure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Protocol, TypeVar

from palmar.console import Screen
from palmar.errors import BadFile, BadValue, regular_file, unusable

Answer = tuple[int, dict[str, Any]]
"""Exit code, and every figure for `--json`."""
C = TypeVar("C")


class Command(Protocol):
    """A frozen dataclass: a field is an option, its docstring the help.

    Class variables where there are any. `only_with`: {option: the option without which it says nothing, or OTHER=VALUE for that
    value of it}. `only_without`: {option: the options beside which it says nothing; A+B for both together}.
    """

    @property
    def json(self) -> bool: ...
    def run(self, console: Screen) -> Answer: ...


def check_only_with(command: object) -> None:
    """Raise `BadValue` for an option that was given without the one it counts with (`only_with`), or with one that it does not
    count beside (`only_without`)."""
    usual = {f.name: f.default for f in fields(command)}  # type: ignore[arg-type]
    given = {name for name, value in usual.items() if getattr(command, name) != value}
    pairs: Mapping[str, str] = getattr(command, "only_with", {})
    for name, needed in pairs.items():
        other, equals, value = needed.partition("=")
        there = getattr(command, other)
        if name in given and not (there == value if equals else there):
            said = f"{_option(other)} {value}".strip()
            raise BadValue(f"{as_given(command, name)} counts only with {said}. Next: leave it out, or give {said}")
    against: Mapping[str, Sequence[str]] = getattr(command, "only_without", {})
    for name, others in against.items():
        for one in others if name in given else ():
            if all(getattr(command, other) for other in one.split("+")):
                said = " and ".join(_option(other) for other in one.split("+"))
                raise BadValue(f"{as_given(command, name)} counts only without {said}. Next: leave out one of the two")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def as_given(command: object, name: str) -> str:
    """An option as it was written: --vary visual friction, --in-hand, --no-zeros."""
    value = getattr(command, name)
    if isinstance(value, bool):
        return _option(name if value else f"no_{name}")
    return f"{_option(name)} {' '.join(map(str, value)) if isinstance(value, tuple) else value}"


def configured(kind: type[C], command: object, **more: Any) -> C:
    """A configuration from the command's options of the same names; `more` for the others."""
    names = [f.name for f in fields(kind) if f.name not in more and hasattr(command, f.name)]  # type: ignore[arg-type]
    return kind(**{n: getattr(command, n) for n in names}, **more)


def writable(path: Path | None, force: bool = False) -> None:
    """Before any work: can this file be written? Nothing is left of the trial.

    Raises `BadFile` when it cannot be, or when it holds something and `force` is not given: no command replaces a file that
    it was not told to.
    """
    if path is None:
        return
    with _passing(path.parent, path):
        if path.is_dir():
            raise BadFile(f"'{path}' is a folder; expected a file to write. Next: '{path / 'NAME'}'")
        there = path.exists()
        if there and not path.is_file():
            _check_sink(path)
            return
        if there and path.stat().st_size and not force:
            raise BadFile(f"'{path}' is there already. Next: another name, or --force to replace it")
        path.open("ab").close()
        if not there:
            path.unlink()


def _check_sink(path: Path) -> None:
    """Raise `BadFile` unless what is there and no file takes what is written at once: a terminal, /dev/null, or a pipe of
    this process (/dev/stdout, /dev/fd/3). A named pipe would be waited for until somebody reads it."""
    own = any(path.absolute().is_relative_to(where) for where in ("/dev", "/proc")) and path.is_fifo()
    if not own and not path.is_char_device():
        regular_file(path)


def writable_folder(path: Path | None) -> None:
    """Before any work: can this folder be made, and written in? Nothing is left of the trial. Raises `BadFile`."""
    if path is None:
        return
    with _passing(path, path), TemporaryFile(dir=path):
        pass


@contextmanager
def _passing(folder: Path, about: Path) -> Iterator[None]:
    """The folder while something is tried in it; what was made of it goes again. Raises `BadFile` about `about`."""
    made: list[Path] = []
    try:
        made += [p for p in (folder, *folder.parents) if not p.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise unusable(error, about, writing=True) from error
    finally:
        for path in made:
            with suppress(OSError):
                path.rmdir()


@contextmanager
def tidy(folder: Path) -> Iterator[None]:
    """When what is inside fails, remove the folders it made for `folder` and left empty."""
    made = [p for p in (folder, *folder.parents) if not p.exists()]
    try:
        yield
    except BaseException:
        for path in made:
            with suppress(OSError):
                path.rmdir()
        raise


def pairs(option: str, values: Sequence[str]) -> dict[str, str]:
    """{A: B} of the words A=B of an option. Raises `BadValue` for another word, and for one name twice."""
    out: dict[str, str] = {}
    for word in values:
        name, equals, value = word.partition("=")
        if not equals or not name or not value:
            raise BadValue(f"{option} has '{word}'; expected NAME=VALUE. Next: {option} {name or 'NAME'}=VALUE")
        if name in out:
            raise BadValue(f"{option} has '{name}' twice; expected each name once. Next: leave one out")
        out[name] = value
    return out


def one_thread(policy: str) -> None:
    """Set torch to one thread in this process, for a command that acts with this policy here: a small network acts fastest so,
    and on busy cores many times faster. Nothing for the script, for a policy elsewhere, and without torch."""
    if policy == "expert" or policy.startswith(("openpi:", "ws:", "wss:")) or find_spec("torch") is None:
        return
    import torch

    torch.set_num_threads(1)
