"""What was found when a body was checked, kept so that no policy moves one that has not passed as it is now."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from palmar.checks import Check, failed
from palmar.embodiments import Embodiment
from palmar.errors import BadValue, unusable
from palmar.files import write_text
from palmar.runtime.bodies.find import Attached, Found


@dataclass(frozen=True)
class Approval:
    """The last check of one body as one robot: when, and the names of the checks that failed (none: it passed)."""

    robot: str
    body: str
    when: str
    failed: tuple[str, ...]


def state_folder() -> Path:
    """Where results of checks are kept: `$XDG_STATE_HOME/palmar/bodies`, by default `~/.local/state/palmar/bodies`."""
    given = os.environ.get("XDG_STATE_HOME", "")
    base = Path(given) if given and Path(given).is_absolute() else Path.home() / ".local" / "state"
    return base / "palmar" / "bodies"


def key(robot: Embodiment, where: str, digest: str) -> str:
    """A name for this body, this source file of it and this robot: another limit, another name."""
    value = asdict(replace(robot, notes="", action_space="channels", policy_rate=robot.control_rate))
    text = json.dumps([value, where, digest], default=_plain, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def write_result(body: Attached, checks: Sequence[Check]) -> Path:
    """Keep what `check_body` found of a body; the file it is in. Raises `BadFile` when it cannot be written."""
    robot = body.embodiment
    path = state_folder() / f"{key(robot, body.where, body.digest)}.json"
    value = {
        "robot": robot.name, "body": body.where, "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": body.digest, "passed": not failed(checks), "checks": [asdict(c) for c in checks],
    }  # fmt: skip
    try:
        write_text(path, json.dumps(value, indent=1, ensure_ascii=False))
    except OSError as error:
        raise unusable(error, path, writing=True) from error
    return path


def require_checked(robot: Embodiment, body: Found | Attached, asked: str = "ROBOT") -> None:
    """Raise `BadValue` unless this body, its source file as it is now, has passed as this robot. What comes with palmar
    has. asked: how the robot was asked for, for the message."""
    if not body.digest:
        return
    where = shlex.quote(body.where)
    command = f"palmar check-body --robot {asked} --body {where}" if asked else f"palmar check-body --body {where}"
    found = _read(state_folder() / f"{key(robot, body.where, body.digest)}.json")
    if found is not None and not found.failed:
        return
    said = f"the body '{body.where}' has not passed its check as robot '{robot.name}'"
    if found is not None:
        raise BadValue(f"{said}: on {found.when} it failed {', '.join(found.failed)}. Next: mend it, then {command}")
    before = [a.when for p in sorted(state_folder().glob("*.json")) if (a := _read(p)) and a.body == body.where]
    why = f" since its source file or the robot changed (last check {max(before)})" if before else ""
    raise BadValue(f"{said}{why}; no policy moves it before. Next: {command}")


def _read(path: Path) -> Approval | None:
    """None for no file, and for one that `write_result` has not written."""
    try:
        value = json.loads(path.read_text("utf-8"))
        bad = tuple(str(c["name"]) for c in value["checks"] if not c["ok"])
        return Approval(str(value["robot"]), str(value["body"]), str(value["when"]), bad)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} in a robot description")
