"""Devices of the `lerobot` package by one word, `lerobot:TYPE?NAME=VALUE&NAME=VALUE`: the settings are those of lerobot's own
command line (`--robot.NAME=VALUE`, `--teleop.NAME=VALUE`). lerobot is imported when a device is made."""

from __future__ import annotations

import difflib
import glob
import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
import pkgutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from palmar.errors import BadValue, MissingPackage, RobotFault, UnknownName
from palmar.units import check_unit

LEROBOT = "lerobot:"
UNITS_SETTING = "units"
"""The one setting that is palmar's own: units that lerobot does not tell."""
TRIES = 3
"""How often a device is tried to be connected whose bus misses an answer."""
Room = Literal["robots", "teleoperators"]
WORDS: dict[Room, tuple[str, str, str]] = {
    "robots": ("RobotConfig", "make_robot_from_config", "robot"),
    "teleoperators": ("TeleoperatorConfig", "make_teleoperator_from_config", "teleop"),
}


@dataclass(frozen=True)
class Asked:
    """`where` taken apart. kind: lerobot's type. settings: of its configuration, as they were written. units: {name: unit} of what
    lerobot does not tell, "*" for all."""

    where: str
    kind: str
    settings: dict[str, Any] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """For messages."""
        port = self.settings.get("port")
        return f"{LEROBOT}{self.kind}" + (f" at {port}" if isinstance(port, str) else "")


def asked(where: str) -> Asked:
    """What `lerobot:TYPE?NAME=VALUE&…` asks for; a VALUE in braces or brackets is YAML, as lerobot reads it. Nothing is imported of
    lerobot. Raises `BadValue`, and `MissingPackage` where lerobot is not installed."""
    kind, _, query = where.removeprefix(LEROBOT).partition("?")
    if not kind.isidentifier():
        raise BadValue(
            f"'{where}' names no type of lerobot; expected {LEROBOT}TYPE?NAME=VALUE&NAME=VALUE, in quotation marks. Next: "
            f"'{LEROBOT}so101_follower?port=/dev/ttyACM0&id=left'"
        )
    if importlib.util.find_spec("lerobot") is None:
        raise MissingPackage(
            f"'lerobot' is not installed; '{where}' needs it. Next: pip install lerobot, with what its page on this robot "
            "adds, such as 'lerobot[feetech]'"
        )
    settings: dict[str, Any] = {}
    for word in query.split("&") if query else ():
        name, equals, text = word.partition("=")
        if not equals or not name or not text:
            raise BadValue(
                f"'{where}' has the setting '{word}'; expected NAME=VALUE. Next: {LEROBOT}{kind}?{name or 'port'}=VALUE"
            )
        if name in settings:
            raise BadValue(f"'{where}' has '{name}' twice; expected each setting once. Next: leave one out")
        settings[name] = _value(where, name, text)
    stated = settings.pop(UNITS_SETTING, {})
    units = {"*": stated} if isinstance(stated, str) else stated
    if not isinstance(units, dict):
        raise BadValue(
            f"'{where}' has {UNITS_SETTING}={stated}; expected a unit, or {{NAME: UNIT, …}}. Next: units=deg"
        )
    for name, unit in units.items():
        check_unit(str(unit), "unit" if name == "*" else f"unit of '{name}'")
    return Asked(where, kind, settings, {str(n): str(u) for n, u in units.items()})


def _value(where: str, name: str, text: str) -> Any:
    if text[0] not in "{[":
        return text
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadValue(
            f"'{where}': {name} cannot be read ({' '.join(str(error).split())}); expected YAML. Next: such as cameras="
            "{front: {type: opencv, index_or_path: 0, width: 640, height: 480, fps: 30}}"
        ) from error


def digest(asked: Asked) -> str:
    """SHA-256 of what decides what a command means: the release of lerobot, the settings, and the calibration files of this id."""
    try:
        release = importlib.metadata.version("lerobot")
    except importlib.metadata.PackageNotFoundError:
        release = ""
    found = hashlib.sha256(f"{release} {asked.where}".encode())
    if name := asked.settings.get("id"):
        for file in sorted(_calibrations(asked, str(name))):
            with suppress(OSError):
                found.update(file.read_bytes())
    return found.hexdigest()


def _calibrations(asked: Asked, name: str) -> list[Path]:
    """Calibration files of robots with this id, where lerobot keeps them."""
    if given := asked.settings.get("calibration_dir"):
        return list(Path(given).glob(f"{glob.escape(name)}.json"))
    hub = os.environ.get("HF_HOME") or str(Path.home() / ".cache" / "huggingface")
    home = os.environ.get("HF_LEROBOT_HOME") or str(Path(hub) / "lerobot")
    base = Path(os.environ.get("HF_LEROBOT_CALIBRATION") or str(Path(home) / "calibration")).expanduser()
    return list((base / "robots").glob(f"*/{glob.escape(name)}.json"))


# ------------------------------------------------------------------------------------------------ making a device


def make(asked: Asked, room: Room) -> Any:
    """The device, not connected yet. Raises `BadValue` and `UnknownName` for a type or settings that lerobot does not have,
    `MissingPackage` for what the type needs."""
    base_name, maker, word = WORDS[room]
    module = _imported(f"lerobot.{room}", asked.name)
    base = getattr(module, base_name)
    kind = _choice(base, module, asked.kind, f"{word} type of lerobot")
    settings = dict(asked.settings)
    known = {f.name: f for f in fields(kind) if f.init}
    for name in settings:
        if name not in known:
            raise UnknownName(f"setting of '{LEROBOT}{asked.kind}'", name, [*known, UNITS_SETTING])
    lacking = [
        n for n, f in known.items() if f.default is MISSING and f.default_factory is MISSING and n not in settings
    ]
    if lacking:
        more = "&".join(f"{n}=VALUE" for n in (*settings, *lacking))
        raise BadValue(
            f"'{asked.name}' lacks {', '.join(lacking)}. Next: '{LEROBOT}{asked.kind}?{more}' (lerobot-find-port tells a port)"
        )
    cameras = settings.get("cameras") or {}
    if not isinstance(cameras, dict) or not all(isinstance(c, dict) for c in cameras.values()):
        raise BadValue(
            f"'{asked.name}' has cameras={cameras}; expected {{NAME: {{type: …, width: …, height: …, fps: …}}}}. Next: "
            "cameras={front: {type: opencv, index_or_path: 0, width: 640, height: 480, fps: 30}}"
        )
    if cameras:
        rooms = _imported("lerobot.cameras", asked.name)
        for name, camera in cameras.items():
            _choice(rooms.CameraConfig, rooms, str(camera.get("type", "")), f"type of camera '{name}' in lerobot")
    draccus = _imported("draccus", asked.name)
    try:
        config = draccus.decode(base, {"type": asked.kind, **settings})
    except Exception as error:
        why = " ".join(f"{error} {error.__cause__ or ''}".split())
        raise BadValue(f"lerobot does not take the settings of '{asked.name}': {why}. Next: mend them") from error
    try:
        return getattr(module, maker)(config)
    except ImportError as error:
        raise MissingPackage(
            f"'{asked.kind}' of lerobot needs '{error.name or error}', which is not installed. Next: pip install what lerobot's "
            "page on it names, such as 'lerobot[feetech]'"
        ) from error
    except Exception as error:
        raise BadValue(f"lerobot cannot make '{asked.name}': {said(error)}. Next: mend its settings") from error


def _imported(name: str, where: str) -> Any:
    try:
        return importlib.import_module(name)
    except Exception as error:  # a broken installation raises whatever it likes
        raise BadValue(
            f"'{name}' cannot be imported, which '{where}' needs: {said(error)}. Next: mend the installation of lerobot"
        ) from error


def _choice(base: Any, package: Any, kind: str, what: str) -> Any:
    """The class registered under a name; modules of the package are imported until it is, those of like names first, then packages
    that extend lerobot. Raises `UnknownName`."""
    names = [m.name for m in pkgutil.iter_modules(package.__path__) if m.ispkg]
    failed: dict[str, Exception] = {}
    for name in sorted(names, key=lambda n: -difflib.SequenceMatcher(None, n, kind).ratio()):
        if kind in base.get_known_choices():
            break
        try:
            importlib.import_module(f"{package.__name__}.{name}")
        except Exception as error:  # of a robot whose packages are not there
            failed[name] = error
    if kind not in base.get_known_choices():
        with suppress(ImportError):
            importlib.import_module("lerobot.utils.import_utils").register_third_party_plugins()
    known = base.get_known_choices()
    if kind not in known:
        if kind in failed:
            raise MissingPackage(
                f"'{kind}' of lerobot cannot be imported: {said(failed[kind])}. Next: pip install what lerobot's page on it names"
            )
        raise UnknownName(what, kind, sorted(known))
    return known[kind]


def connect(device: Any, wanted: Asked, where: str, option: str, let_go: Callable[[], object]) -> None:
    """Connect a device, without calibrating it, which asks a person. It waits for a hundred answers, of which a busy machine may
    miss one: so it is tried `TRIES` times, each after `let_go`. option: robot or teleop, as lerobot's commands call it.

    Raises `RobotFault` for what lerobot raises, `BadValue` for a device that is not calibrated as its file says.
    """
    try:
        calibrated = _connected(device, let_go)
    except Exception as error:
        raise RobotFault(
            f"'{where}' cannot be connected: {said(error)}. Next: cable, power, and the port (lerobot-find-port)"
        ) from error
    if not calibrated:
        let_go()
        words = [f"--{option}.{n}={v}" for n, v in wanted.settings.items() if n in ("port", "id", "calibration_dir")]
        file = getattr(device, "calibration_fpath", "its calibration file")
        command = " ".join((f"--{option}.type={wanted.kind}", *words))
        raise BadValue(f"'{where}' is not calibrated as '{file}' says. Next: lerobot-calibrate {command}")


def _connected(device: Any, let_go: Callable[[], object]) -> bool:
    """Whether it is calibrated. Raises what lerobot raises."""
    for left in range(TRIES - 1, -1, -1):
        try:
            device.connect(calibrate=False)
            return bool(device.is_calibrated)
        except Exception as error:
            let_go()
            if not left or not isinstance(error, ConnectionError):
                raise
    raise ConnectionError("not connected")


def answered(device: Any, call: Callable[[], Any]) -> Any:
    """What the call of a device answers; it is made once more where a connected bus misses an answer, as a serial line does now and
    then. Raises what lerobot raises."""
    try:
        return call()
    except ConnectionError:
        if not device.is_connected:
            raise
    return call()


def said(error: BaseException) -> str:
    """An error of lerobot in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split()) or 'no message'}"
