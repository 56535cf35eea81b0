"""A body of one's own, found as `module:Class` and held to its robot's description."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from palmar.embodiments import Embodiment
from palmar.errors import BadValue, RobotFault, UnknownName, UserError
from palmar.runtime.bodies.lerobot_device import LEROBOT, asked, digest
from palmar.runtime.bodies.remote import TCP, RemoteBody, address
from palmar.runtime.bodies.same import check_same
from palmar.runtime.mock import MockBody
from palmar.runtime.ros2.topics import ROS2, topics_of
from palmar.types import Array, Observation

METHODS = {
    "observe": "observe(images=True) -> Observation",
    "apply": "apply(command)",
    "reset": "reset(seed=None) -> Observation",
    "close": "close()",
}
MOCK, GYM = "mock:", "gym:"
FORMS = (
    f"{MOCK}, {GYM}ENV for a Gymnasium environment, {LEROBOT}TYPE for a robot of lerobot, {ROS2} for one on ROS 2, "
    "tcp://HOST:PORT of palmar serve-body, or "
    "module:Class, such as my_arm:MyArm for the class MyArm in my_arm.py"
)


class Attached:
    """A body behind its robot's description, as the loop drives it.

    embodiment: the robot's own value, limits included, whatever the body says of itself. where: how the body was asked for.
    digest: of its source file, "" for what comes with palmar. strict: what the body raises becomes a `RobotFault` that says where,
    and so does an observation that is none of this robot; False passes both on, for `check_body`.
    """

    def __init__(self, inner: Any, robot: Embodiment, where: str, digest: str = "", strict: bool = True) -> None:
        self.inner, self.embodiment, self.where, self.digest, self.strict = inner, robot, where, digest, strict

    def observe(self, images: bool = True) -> Observation:
        return self._observation(self._call("observe", images=images), "observe")

    def apply(self, command: Array) -> None:
        self._call("apply", command)

    def reset(self, seed: int | None = None) -> Observation:
        return self._observation(self._call("reset", seed), "reset")

    def close(self) -> None:
        self._call("close")

    def _call(self, verb: str, *args: Any, **options: Any) -> Any:
        if not self.strict:
            return getattr(self.inner, verb)(*args, **options)
        try:
            return getattr(self.inner, verb)(*args, **options)
        except RobotFault:
            raise
        except Exception as error:
            raise RobotFault(
                f"'{self.where}' raised in {verb}: {told(error)}. Next: mend the body, or the robot"
            ) from error

    def _observation(self, obs: Any, verb: str) -> Observation:
        if not self.strict:
            return obs
        if not isinstance(obs, Observation):
            raise RobotFault(
                f"'{self.where}' answers {type(obs).__name__} to {verb}; expected a palmar.types.Observation. Next: return one"
            )
        if obs.state.shape != (width := len(self.embodiment.state),):
            raise RobotFault(
                f"'{self.where}' answers a state of {len(obs.state)} numbers; {self.embodiment.name} has {width}: "
                f"{', '.join(self.embodiment.state_names)}. Next: palmar check-body"
            )
        return obs


@dataclass(frozen=True)
class Found:
    """A body that is not connected yet. made: its class; None for `mock:`. where, digest: as of `Attached`."""

    where: str
    made: Callable[..., Any] | None
    digest: str = ""

    @property
    def remote(self) -> bool:
        """On another computer, where its watchdog is too."""
        return self.where.startswith(TCP)

    def connect(self, robot: Embodiment | None = None, strict: bool = True) -> Attached:
        """Make it. robot: its description, None when the body's own `embodiment` is to be used. strict: as of `Attached`.

        The class is given the robot when its constructor takes one argument. Raises `BadValue` for what is no body or one
        of another robot, `RobotFault` when it cannot be made.
        """
        where = self.where
        if self.made is None:
            if robot is None:
                raise BadValue(f"body '{where}' is of no robot; expected one. Next: --robot NAME or --robot FILE.toml")
            return Attached(MockBody(robot, noise=True), robot, where, strict=strict)
        arguments = _arguments(self.made, where, robot)
        try:
            inner = self.made(*arguments)
        except (UserError, RobotFault):
            raise
        except Exception as error:
            raise RobotFault(
                f"'{where}' cannot be made: {told(error)}. Next: is the robot connected and switched on?"
            ) from error
        if lacking := [m for m in METHODS if not callable(getattr(inner, m, None))]:
            wanted = ", ".join(METHODS[m] for m in lacking)
            raise BadValue(
                f"'{where}' is no body: it has no {wanted}. Next: add what is missing (palmar.runtime.loop.Body)"
            )
        own = getattr(inner, "embodiment", None)
        if own is not None and not isinstance(own, Embodiment):
            raise BadValue(
                f"embodiment of '{where}' is {type(own).__name__}; expected a palmar.embodiments.Embodiment. "
                "Next: leave it out and give --robot, or make it an Embodiment"
            )
        if (described := robot or own) is None:
            raise BadValue(
                f"'{where}' has no embodiment, and no robot is named. Next: --robot NAME or --robot FILE.toml"
            )
        if own is not None:
            check_same(own, described, where)
        return Attached(inner, described, where, self.digest, strict)


def find_body(where: str) -> Found:
    """A body by its class, not connected yet: `module:Class`, from the current folder or an installed package, `mock:`
    for one that tracks every command perfectly, with pictures of noise, `gym:ENV` for a Gymnasium environment,
    `lerobot:TYPE?NAME=VALUE&…` for a robot of lerobot, `ros2:` for one on ROS 2 (`runtime.ros2.topics`), or `tcp://HOST:PORT` for
    one of `palmar serve-body`.

    The current folder stays on `sys.path`, as with `python -m`. Raises `BadValue`, `UnknownName` or `MissingPackage`.
    """
    if where == MOCK:
        return Found(where, None)
    if where.startswith(TCP):
        address(where)
        return Found(where, partial(_remote, where))
    if where.startswith(GYM) and where != GYM:
        return Found(where, partial(_gymnasium, where.removeprefix(GYM)))
    if where.startswith(ROS2):
        usual = topics_of(where).robot.where  # what is behind the topics has to be checked
        return Found(usual, partial(_ros2, where), hashlib.sha256(usual.encode()).hexdigest())
    if where.startswith(LEROBOT):
        return Found(where, partial(_lerobot, where), digest(asked(where)))
    made = _class(where)
    return Found(where, made, source_digest(made))


def _remote(where: str, robot: Embodiment | None = None) -> Any:
    return RemoteBody(where, robot)


def _gymnasium(name: str, robot: Embodiment) -> Any:
    from palmar.runtime.bodies.gymnasium_body import GymnasiumBody

    return GymnasiumBody(name, robot)


def _ros2(where: str, robot: Embodiment) -> Any:
    from palmar.runtime.ros2.body import Ros2Body

    return Ros2Body(where, robot)


def _lerobot(where: str, robot: Embodiment) -> Any:
    from palmar.runtime.bodies.lerobot_body import LeRobotBody

    return LeRobotBody(where, robot)


def source_digest(made: Callable[..., Any]) -> str:
    """SHA-256 of the source file of a class, of its name where there is none: what was checked is what runs."""
    try:
        file = inspect.getsourcefile(made)
    except TypeError:
        file = None
    text = Path(file).read_bytes() if file and Path(file).is_file() else f"{made.__module__}:{made!r}".encode()
    return hashlib.sha256(text).hexdigest()


def told(error: BaseException) -> str:
    """An error in one line, with the file and line that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {' '.join(str(error).split()) or 'no message'}{place}"


def _class(where: str) -> Callable[..., Any]:
    """What `module:Class` names. The current folder is looked in first, as `python -m` does."""
    module, colon, name = where.partition(":")
    parts = module.split(".")
    if parts[-1] == "py" or not colon or not name.isidentifier() or not all(f"_{p}".isidentifier() for p in parts):
        raise BadValue(f"body is '{where}'; expected {FORMS}. Next: {_meant(where)}")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
        importlib.invalidate_caches()
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
            raise BadValue(
                f"there is no module '{module}' in '{here}' or among the installed packages. Next: go to the folder of "
                f"{module.replace('.', '/')}.py, or install its package"
            ) from error
        raise BadValue(f"'{module}' cannot be imported: {told(error)}. Next: install what it needs") from error
    except Exception as error:
        raise BadValue(f"'{module}' cannot be imported: {told(error)}. Next: mend it") from error
    made = getattr(found, name, None)
    if made is None:
        raise UnknownName(
            f"class of module '{module}'", name, [n for n, v in vars(found).items() if inspect.isclass(v)]
        )
    if not callable(made):
        raise BadValue(f"'{where}' is {type(made).__name__}; expected a class. Next: the name of the class")
    return made


def _meant(where: str) -> str:
    """What to give in place of a word that is no `module:Class`: of a file, its module and its class."""
    file, _, name = where.rpartition(":") if ":" in where and ".py" in where.partition(":")[0] else (where, "", "")
    path = Path(file)
    name = name if name.isidentifier() else "Class"
    if path.suffix != ".py":
        if "/" in where:
            return "a module, not a path: go to the folder of the file and give --body FILE:Class, without .py"
        return f"--body {where or 'module'}:Class" if where.isidentifier() else f"--body my_arm:MyArm or --body {MOCK}"
    parts = path.with_suffix("").parts
    if path.is_absolute() or ".." in parts:
        return f"a module, not a path: go to the folder '{path.parent}' and give --body {path.stem}:{name}"
    return f"a module, not a path: --body {'.'.join(parts)}:{name}"


def _arguments(made: Callable[..., Any], where: str, robot: Embodiment | None) -> list[Embodiment]:
    """What a constructor is given: the robot, if it takes one argument."""
    try:
        parameters = list(inspect.signature(made).parameters.values())
    except (TypeError, ValueError):
        return []
    required = [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(required) > 1 or (required and not positional):
        raise BadValue(
            f"'{where}' takes {', '.join(required)}; expected at most one argument, the robot. Next: defaults for the others"
        )
    wants = bool(required) or bool(positional and positional[0].name in ("robot", "embodiment"))
    if required and robot is None:
        raise BadValue(f"'{where}' takes a robot, and none is named. Next: --robot NAME or --robot FILE.toml")
    return [robot] if wants and robot is not None else []
