"""The emergency stop of a robot, latched in a file until a person releases it: for every process of this user on this
machine. Another user (root too) has a folder of their own.

A file that is there is an E-STOP, also an empty or damaged one: what cannot be read does not let a robot move.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import re
import socket
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from palmar.errors import BadValue, unusable
from palmar.runtime.bodies.approval import state_folder


@dataclass(frozen=True)
class Pressed:
    """An E-STOP that is latched: of which robot, why, when (UTC, ISO 8601) and by whom (person or part, user@host)."""

    robot: str
    reason: str
    when: str
    who: str

    def __str__(self) -> str:
        return f"{self.reason} ({self.who}, {self.when})"


class Latch:
    """The E-STOP of the robot of this name. folder: where it is kept, by default `$XDG_STATE_HOME/palmar/estop`."""

    def __init__(self, robot: str, folder: Path | None = None) -> None:
        self.robot = robot
        self.folder = state_folder().parent / "estop" if folder is None else folder
        self.path = self.folder / f"{_file_name(robot)}.json"

    def prepare(self) -> None:
        """Make the folder. Raises `BadFile` when nothing can be written there: an E-STOP could not be latched."""
        trial = self.folder / f".{os.getpid()}.tmp"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            trial.touch()
            trial.unlink()
        except OSError as error:
            raise unusable(error, self.folder, writing=True) from error

    @property
    def latched(self) -> bool:
        """Whether it is pressed: one look at a directory entry, cheap enough for every control tick."""
        return os.path.lexists(self.path)

    def read(self) -> Pressed | None:
        """What is latched; None when nothing is."""
        if not self.latched:
            return None
        try:
            value = json.loads(self.path.read_text("utf-8"))
            return Pressed(self.robot, str(value["reason"]), str(value["when"]), str(value["who"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            said = f"'{self.path}' is there and cannot be read ({type(error).__name__})"
            return Pressed(self.robot, said, "time unknown", "unknown")

    def press(self, reason: str, by: str = "person") -> Pressed:
        """Latch it; the first reason stays. On a full disk the file is there without its words, and counts.

        Raises `BadFile` when not even an empty file can be made.
        """
        if (before := self.read()) is not None:
            return before
        now = datetime.now(UTC).isoformat(timespec="seconds")
        pressed = Pressed(self.robot, " ".join(reason.split()) or "no reason given", now, f"{by}, {_user()}")
        aside = self.folder / f".{self.path.stem}.{os.getpid()}.tmp"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with aside.open("w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(json.dumps(asdict(pressed), ensure_ascii=False))
                file.flush()
                os.fsync(file.fileno())
            aside.replace(self.path)
        except OSError:
            try:
                self.path.touch()
            except OSError as error:
                raise unusable(error, self.path, writing=True) from error
        return pressed

    def release(self) -> Pressed | None:
        """Let the robot be driven again; what was latched, None when nothing was. Raises `BadFile`."""
        before = self.read()
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise unusable(error, self.path, writing=True) from error
        return before

    def require_released(self) -> None:
        """Raise `BadValue` with the reason and the command that releases it when it is latched."""
        if (pressed := self.read()) is not None:
            raise BadValue(
                f"the E-STOP of robot '{self.robot}' is latched: {pressed}; nothing drives it before it is released. Next: look at "
                f"the robot, then palmar estop --release {self.robot}"
            )


def all_latched(folder: Path | None = None) -> list[Pressed]:
    """Every E-STOP that is latched on this machine, by the robot's name."""
    folder = Latch("any", folder).folder
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            robot = str(json.loads(path.read_text("utf-8"))["robot"])
        except (OSError, ValueError, KeyError, TypeError):
            robot = path.stem
        if (pressed := Latch(robot, folder).read()) is not None:
            found.append(pressed)
    return found


class Running:
    """Marks that this process drives a robot, so that an E-STOP without a name reaches it; gone with the process."""

    def __init__(self, robot: str, folder: Path | None = None) -> None:
        folder = Latch(robot, folder).folder
        self.path = folder / f"{_file_name(robot)}.{os.getpid()}.running"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.path.write_text(robot, "utf-8")
        except OSError as error:
            raise unusable(error, self.path, writing=True) from error

    def close(self) -> None:
        self.path.unlink(missing_ok=True)


def running(folder: Path | None = None) -> list[str]:
    """Names of the robots that are driven by living processes of this machine now. Marks of dead ones are removed."""
    names = set()
    for path in Latch("any", folder).folder.glob("*.running"):
        process = path.suffixes[-2].removeprefix(".") if len(path.suffixes) > 1 else ""
        try:
            os.kill(int(process), 0)
            names.add(path.read_text("utf-8"))
        except (ProcessLookupError, ValueError, FileNotFoundError):
            path.unlink(missing_ok=True)
        except PermissionError:  # alive, of another user
            names.add(path.read_text("utf-8"))
    return sorted(n for n in names if n)


def _file_name(robot: str) -> str:
    """A file name of its own for every robot's name; readable where the name allows."""
    safe = re.sub(r"[^A-Za-z0-9_-]", "_", robot)[:60]
    return safe if safe == robot else f"{safe}-{hashlib.sha256(robot.encode()).hexdigest()[:8]}"


def _user() -> str:
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a user without an entry, as in a container
        name = str(os.getuid()) if hasattr(os, "getuid") else "unknown"
    return f"{name}@{socket.gethostname()}"
