"""Every version of a policy that learns on the job: one folder each with a manifest, and which of them acts now.

runs/adapted/
    v000/ v001/ …      a checkpoint each, and manifest.json
    current.json       the version that acts, replaced at once
    history.jsonl      what happened: added, promoted, rejected, rolled back, each with time and reason
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from palmar.errors import BadFile, BadValue, PalmarError, UnknownName, regular_file
from palmar.files import locked
from palmar.policy import CURRENT, current_version
from palmar.runtime.adaptation.certificate import read_certificate, require_certificate, robot_digest
from palmar.runtime.adaptation.lines import append, whole

MANIFEST, HISTORY, DECIDING = "manifest.json", "history.jsonl", ".deciding"
CERTIFIED = ".certified"
"""In a folder of versions: none is promoted without a certificate (`palmar certify`) for the robot whose SHA-256 it holds."""


@dataclass(frozen=True)
class Version:
    """name: v000, v001, … parent: the version it was trained from, "" for the first. made: UTC, ISO 8601. data: what it was
    trained on, by name. gate: figures of its gate (`GateVerdict.to_dict`), None when it had none. training: how."""

    name: str
    parent: str
    made: str
    data: Mapping[str, Any] = field(default_factory=dict)
    gate: Mapping[str, Any] | None = None
    training: Mapping[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return self.gate is not None and bool(self.gate.get("passed"))


def _utc() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class Versions:
    """The history in the folder `root`, made when it is not there. now: the time as text, of manifests and events."""

    def __init__(self, root: str | Path, now: Callable[[], str] = _utc) -> None:
        self.root, self.now = Path(root), now
        if self.root.exists() and any(p.name[0] != "." for p in self.root.iterdir()) and not is_history(self.root):
            raise BadFile(f"'{self.root}' holds something else than a policy's versions. Next: a new folder for --out")
        self.root.mkdir(parents=True, exist_ok=True)

    # ------------------------------------------------------------------------------------------------ reading

    def names(self) -> list[str]:
        """Oldest first; only those with a manifest, which is written last."""
        return sorted(p.parent.name for p in self.root.glob(f"v*/{MANIFEST}"))

    def path(self, name: str) -> Path:
        """The checkpoint folder of a version. Raises `UnknownName`."""
        if name not in self.names():
            raise UnknownName("version", name, self.names() or ["none yet"])
        return self.root / name

    def version(self, name: str) -> Version:
        """Raises `UnknownName`, and `BadFile` for a damaged manifest."""
        file = self.path(name) / MANIFEST
        try:
            return Version(**json.loads(regular_file(file).read_text("utf-8")))
        except (ValueError, TypeError) as error:
            raise BadFile(
                f"'{file}' is no manifest ({error}); expected one of palmar. Next: copy the folder again"
            ) from error

    @property
    def current(self) -> str:
        """The version that acts; "" before the first."""
        return current_version(self.root)

    def history(self) -> list[dict[str, Any]]:
        """Events, oldest first: time, event, version, reason."""
        file = self.root / HISTORY
        return [json.loads(line) for line in whole(file)] if file.exists() else []

    # ------------------------------------------------------------------------------------------------ writing

    def begin(self, checkpoint: str | Path, source: str) -> str:
        """The first version, a copy of a checkpoint that acts already; it needs no gate. source: where it is from."""
        if self.names():
            raise BadValue(f"'{self.root}' has versions already. Next: go on from {self.current}")
        where = self.room()
        shutil.copytree(checkpoint, where, dirs_exist_ok=True)
        name = self.add(where.name, parent="", data={"copy of": source})
        self._act(name)
        self._note("began", name, f"copy of {source}")
        return name

    def room(self) -> Path:
        """The folder for the next version. What a run that was cut off left in it is removed."""
        number = 1 + max((int(n[1:]) for n in self.names()), default=-1)
        where = self.root / f"v{number:03d}"
        shutil.rmtree(where, ignore_errors=True)
        return where

    def add(self, name: str, parent: str, data: Mapping[str, Any], gate: Mapping[str, Any] | None = None,
            training: Mapping[str, Any] | None = None) -> str:  # fmt: skip
        """Write the manifest of a version whose checkpoint lies in its folder already. It does not act yet."""
        version = Version(name, parent, self.now(), dict(data), gate, dict(training or {}))
        _replace(self.root / name / MANIFEST, json.dumps(asdict(version), indent=1))
        return name

    @property
    def certified(self) -> bool:
        """Whether a version needs a certificate to act, beside its gate."""
        return (self.root / CERTIFIED).exists()

    def require_certificates(self, robot: str) -> None:
        """From now on a version needs a certificate for this robot (a name or a robot file) as it is now to act; it stays so.
        Raises what `find_robot` does."""
        _replace(self.root / CERTIFIED, json.dumps({"robot": robot, "sha256": robot_digest(robot)}))

    def _certified_robot(self) -> tuple[str, str]:
        """The robot as it was named, and its SHA-256. Raises `BadFile`."""
        file = self.root / CERTIFIED
        try:
            said = json.loads(regular_file(file).read_text("utf-8"))
            return str(said["robot"]), str(said["sha256"])
        except (ValueError, KeyError, TypeError) as error:
            raise BadFile(
                f"'{file}' does not say for which robot certificates are needed ({error}). Next: palmar adapt --certified ROBOT"
            ) from error

    def promote(self, name: str, certificate: Path | None = None) -> None:
        """Let a version act from now on. Raises `BadValue` for one without a gate on held-out tables, that failed it, or whose gate
        compared it with another version than the one that acts, such as after a rollback; and for one without a certificate that
        holds, where one is given or needed (`require_certificates`)."""
        with locked(self.root / DECIDING):  # which version acts is read and written by one process at a time
            self._promote(name, certificate)

    def _check_certificate(self, name: str, certificate: Path | None) -> None:
        if certificate is None and not self.certified:
            return
        try:
            robot, digest = self._certified_robot() if self.certified else ("", "")
            if certificate is None:
                raise BadValue(
                    f"version {name} has no certificate, which every version in '{self.root}' needs. Next: palmar certify "
                    f"{self.path(name)} --robot {robot} --out FILE.json, then palmar adapt {self.root} --promote {name} "
                    "--certificate FILE.json"
                )
            robot = robot or read_certificate(certificate).robot
            require_certificate(certificate, str(self.path(name)), robot, digest=digest)
        except PalmarError as error:
            self._note("rejected", name, str(error))
            raise

    def _promote(self, name: str, certificate: Path | None = None) -> None:
        version = self.version(name)
        if version.gate is None:
            self._note("rejected", name, "no gate")
            raise BadValue(
                f"version {name} has not been tried on held-out tables; expected a gate that it passed. Next: palmar adapt with "
                "--new and --trials, or keep what acts now"
            )
        if not version.passed:
            why = "; ".join(version.gate.get("reasons", ())) or "its gate was not passed"
            self._note("rejected", name, why)
            raise BadValue(f"version {name} did not pass its gate: {why}. Next: more corrections, or more trials")
        if version.parent != self.current:
            why = f"its gate compared it with {version.parent or 'none'}, and {self.current or 'none'} acts now"
            self._note("rejected", name, why)
            raise BadValue(
                f"version {name} cannot act: {why}. Next: palmar adapt {self.root}, from the version that acts"
            )
        self._check_certificate(name, certificate)
        self._act(name)
        self._note("promoted", name, f"gate passed, after {version.parent}" + (", certified" if certificate else ""))

    def roll_back(self, reason: str, alarmed: str | None = None) -> str:
        """Let the parent of the version that acts act again; its name. alarmed: the version that it is about; where another acts by
        now nothing is done, and the answer is "". Raises `BadValue` when it has no parent."""
        with locked(self.root / DECIDING):  # which version acts is read and written by one process at a time
            return self._roll_back(reason, alarmed)

    def _roll_back(self, reason: str, alarmed: str | None) -> str:
        name = self.current
        if alarmed is not None and name != alarmed:
            return ""
        parent = self.version(name).parent if name else ""
        if not parent:
            raise BadValue(f"version '{name}' has no parent to go back to. Next: begin with another checkpoint")
        self._act(parent)
        self._note("rolled back", name, reason)
        return parent

    def _act(self, name: str) -> None:
        _replace(self.root / CURRENT, json.dumps({"version": name}))

    def _note(self, event: str, version: str, reason: str) -> None:
        append(self.root / HISTORY, {"time": self.now(), "event": event, "version": version, "reason": reason})


def is_history(folder: str | Path) -> bool:
    """Whether a folder holds the versions of a policy."""
    root = Path(folder)
    return (root / CURRENT).is_file() or any(root.glob(f"v*/{MANIFEST}"))


def _replace(path: Path, text: str) -> None:
    """Write a file at once and durably."""
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
