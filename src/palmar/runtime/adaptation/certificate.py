"""The certificate of a release: what `palmar certify` found of a policy on a robot, and whether it still holds.

It names the SHA-256 of every file of the checkpoint, of the robot's file and of the data. `digest` is the SHA-256 of the
certificate's own canonical JSON; where the environment variable PALMAR_CERTIFICATE_KEY holds a key, `hmac` is its HMAC-SHA-256
with that key. A digest tells a damaged or mistyped certificate; only the HMAC tells one that somebody else made.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import NoneType
from typing import Any

import palmar
from palmar.description.find import find_robot
from palmar.description.write import robot_text
from palmar.errors import BadFile, BadValue, brief, regular_file
from palmar.policy import checkpoint_of

FORMAT = "palmar certificate 1"
KEY = "PALMAR_CERTIFICATE_KEY"
ITEMS = (
    "success", "objects", "light", "failure-modes", "calibration",
    "position-limits", "velocity-limits", "acceleration-limits", "estop", "deadman", "collision", "force",
    "latency", "quantised", "profile", "fallbacks",
    "logging", "success-tracking", "attention", "dashboard",
    "data-collection", "retraining", "ab", "feedback",
)  # fmt: skip
"""The release checklist: every item has to be met, or to be not applicable."""
OWN = ("manifest.json", "current.json")
"""Files beside a checkpoint that say what became of it, and are no part of it."""


@dataclass(frozen=True)
class Fingerprints:
    """SHA-256, hexadecimal. checkpoint: {file: of it}. robot: of the robot as the text of its file. data: of the training data,
    "" where none was given. palmar: its version."""

    checkpoint: Mapping[str, str]
    robot: str
    data: str
    palmar: str

    @classmethod
    def of(cls, policy: str, robot: str, data: Path | None = None) -> Fingerprints:
        """Of what is there now. Raises `BadFile`, `BadValue` or `UnknownName` for what is not."""
        of_data = "" if data is None else folder_digest(data)
        return cls(checkpoint_files(policy), robot_digest(robot), of_data, palmar.__version__)

    def changes(self, now: Fingerprints) -> list[str]:
        """What differs from these, in words."""
        out = []
        for name in sorted({*self.checkpoint, *now.checkpoint}):
            before, after = self.checkpoint.get(name), now.checkpoint.get(name)
            if before != after:
                said = "is new" if before is None else "is gone" if after is None else "has changed"
                out.append(f"checkpoint: {name} {said}")
        if self.robot != now.robot:
            out.append("robot: its description has changed")
        if self.data != now.data:
            said = "not given" if not now.data else "given now, and none was then" if not self.data else "have changed"
            out.append(f"data: {said}")
        if self.palmar != now.palmar:
            out.append(f"palmar: version {self.palmar} then, {now.palmar} now")
        return out


def robot_digest(robot: str) -> str:
    """SHA-256 of a robot, by its name or its file, as the text of its file. Raises what `find_robot` does."""
    return hashlib.sha256(robot_text(find_robot(robot)).encode()).hexdigest()


def checkpoint_files(policy: str) -> dict[str, str]:
    """{name: SHA-256} of the files of a policy's folder. Logs of its training (.jsonl), hidden files and `OWN` are no part of it.
    Raises `BadFile` where there is no folder, such as for a server's policy: what it acts with cannot be told."""
    where = checkpoint_of(policy)
    folder = where.parent if where.is_file() else where
    if not folder.is_dir():
        raise BadFile(
            f"'{policy}' is no folder of a checkpoint; expected one, of which every file can be read. Next: its folder"
        )
    found = {n: p for n, p in _files(folder).items() if n not in OWN and not n.endswith(".jsonl")}
    if not found:
        raise BadFile(f"'{folder}' holds no files of a checkpoint. Next: the folder that palmar train wrote")
    return {name: sha256(path) for name, path in found.items()}


def folder_digest(folder: Path) -> str:
    """SHA-256 of the names and contents of all files in a folder but hidden ones. Raises `BadFile` where there is none."""
    if not folder.is_dir() or not (files := _files(folder)):
        raise BadFile(f"'{folder}' is no folder with files; expected a data set. Next: the --out of palmar collect")
    return digest_of({name: sha256(path) for name, path in files.items()})


def _files(folder: Path) -> dict[str, Path]:
    found = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    return {n: found[n] for n in sorted(found) if not any(part.startswith(".") for part in n.split("/"))}


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with regular_file(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def canonical(value: Any) -> bytes:
    """JSON with sorted names, no spaces and ASCII alone: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def digest_of(value: Any) -> str:
    return hashlib.sha256(canonical(value)).hexdigest()


@dataclass(frozen=True)
class Certificate:
    """made: UTC, ISO 8601. policy, robot: as they were asked for. quick: with too few episodes to certify anything. items: of the
    checklist, each with name, met (None: not applicable), finding and evidence. about: machine, command, notes."""

    made: str
    policy: str
    robot: str
    quick: bool
    fingerprints: Fingerprints
    items: tuple[Mapping[str, Any], ...]
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def missing(self) -> list[str]:
        """Names of the checklist's items that are not met, or not there once."""
        verdicts = {name: [i["met"] for i in self.items if i["name"] == name] for name in ITEMS}
        return [name for name, met in verdicts.items() if len(met) != 1 or not (met[0] is True or met[0] is None)]

    @property
    def certified(self) -> bool:
        return not self.quick and not self.missing

    def to_dict(self) -> dict[str, Any]:
        """As it is written, with `digest`, and `hmac` where there is a key."""
        body = {"format": FORMAT, "certified": self.certified} | json.loads(canonical(asdict(self)))
        signed = body | {"digest": digest_of(body)}
        key = os.environ.get(KEY, "")
        return signed | {"hmac": hmac.new(key.encode(), canonical(body), "sha256").hexdigest() if key else None}

    def problems(self, now: Fingerprints, compare_data: bool = True) -> list[str]:
        """Why it does not hold for what is there now; empty when it does."""
        was = self.fingerprints
        if not compare_data:
            now = Fingerprints(now.checkpoint, now.robot, was.data, now.palmar)
        out = was.changes(now)
        if self.quick:
            out.append("made with --quick, or with less than the defaults, which certifies nothing")
        return out + [f"item not met: {name}" for name in self.missing]


def read_certificate(path: str | Path) -> Certificate:
    """Raises `BadFile` for a file that is none, was changed after it was made, or is not signed with this environment's key."""
    try:
        read = json.loads(regular_file(path).read_text("utf-8"))
        if read["format"] != FORMAT:
            raise ValueError(f"format {read['format']!r:.40}")
        digest, code = str(read.pop("digest")), read.pop("hmac")
        body = dict(read)
        del read["format"]
        said = read.pop("certified")
        read["fingerprints"] = Fingerprints(**read["fingerprints"])
        items = read["items"]
        if not all(isinstance(i["name"], str) and type(i["met"]) in (bool, NoneType) for i in items):
            raise ValueError("items without name or verdict")
        if len({i["name"] for i in items}) < len(items):
            raise ValueError("an item is there twice")
        found = Certificate(**read | {"items": tuple(items)})
    except FileNotFoundError:
        raise BadFile(f"no certificate at '{path}'. Next: palmar certify --out {path}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadFile(
            f"'{path}' is no certificate ({brief(error)}); expected '{FORMAT}'. Next: palmar certify --out FILE"
        ) from error
    if not hmac.compare_digest(digest, digest_of(body)) or said is not found.certified:
        raise BadFile(
            f"'{path}' was changed after it was made: its digest is of other contents. Next: palmar certify --out FILE"
        )
    if key := os.environ.get(KEY, ""):
        expected = hmac.new(key.encode(), canonical(body), "sha256").hexdigest()
        if not isinstance(code, str) or not hmac.compare_digest(code, expected):
            signed = "signed with another key" if code else "not signed"
            raise BadFile(f"'{path}' is {signed}; expected the key of {KEY}. Next: palmar certify with that key")
    return found


def require_certificate(
    path: str | Path, policy: str, robot: str, data: Path | None = None, digest: str = ""
) -> Certificate:
    """The certificate in a file, once it is known to hold for this policy and this robot; the data are compared where they are
    given. digest: `robot_digest` of the robot where it is known; its file is then not read. Raises `BadValue` with what is missing
    or has changed, and what `read_certificate` does."""
    found = read_certificate(path)
    now = Fingerprints(checkpoint_files(policy), digest or robot_digest(robot), "", palmar.__version__)
    if data is not None:
        now = replace(now, data=folder_digest(data))
    if problems := found.problems(now, data is not None):
        raise BadValue(
            f"the certificate '{path}' does not hold for '{policy}' on '{robot}': {'; '.join(problems)}. "
            f"Next: palmar certify {policy} --robot {robot}, and mend what is not met"
        )
    return found
