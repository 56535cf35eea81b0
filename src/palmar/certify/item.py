"""An item of the checklist as a value, and what every check is given."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from palmar.embodiments import Embodiment
from palmar.errors import BadFile, BadValue
from palmar.eval.report import plain
from palmar.files import write_text
from palmar.models.acting import NeuralPolicy
from palmar.policy import Policy, load_policy
from palmar.ranges import Count, Processes, Range, Seed, check_ranges
from palmar.runtime.adaptation.certificate import Fingerprints, sha256
from palmar.runtime.adaptation.lines import finite

AGE = 30.0
"""Oldest evidence that is taken [days]."""


@dataclass(frozen=True)
class Item:
    """One line of the checklist. met: None where it does not apply to this robot. finding: what was found, in a sentence. evidence:
    figures, intervals, counts, seeds, and the SHA-256 of files. how: the way to it, where it is not met."""

    name: str
    group: str
    requirement: str
    met: bool | None
    finding: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    how: str = ""

    def to_dict(self) -> dict[str, Any]:
        out: dict[str, Any] = json.loads(
            json.dumps(asdict(self) | {"evidence": finite(plain(self.evidence))}, allow_nan=False)
        )
        return out


@dataclass(frozen=True)
class Found:
    """What a check found; the rest of an `Item` is written beside the check."""

    met: bool | None
    finding: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """name: of the item. requirement: a sentence. how: the way to it where it is not met. run: finds out."""

    name: str
    requirement: str
    how: str
    run: Callable[[Case], Found]


@dataclass(frozen=True)
class CertifyConfig:
    """What is certified, and how much is run. policy: a checkpoint folder or "shipped". robot: a name or a robot file. data: the
    training data. evidence: folder where results are kept, and taken from. episodes: tables a task in each split. hostile: commands
    of the attack. quick: a tenth, which certifies nothing. days: oldest evidence that is taken. commands: {command: its options}
    that the command line has."""

    policy: str = "shipped"
    robot: str = "arm7"
    data: Path | None = None
    evidence: Path | None = None
    episodes: Count = 50
    hostile: Annotated[int, Range(100, 10**8)] = 20_000
    quick: bool = False
    seed: Seed = 20_000
    days: Annotated[float, Range(0, 36_500)] = AGE
    processes: Processes = None
    commands: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_ranges(self)

    @property
    def weaker(self) -> tuple[str, ...]:
        """The options that ask for less evidence, or take older, than the defaults."""
        less = {
            "episodes": self.episodes < CertifyConfig.episodes,
            "hostile": self.hostile < CertifyConfig.hostile,
            "days": self.days > CertifyConfig.days,
        }
        return tuple(name for name, so in less.items() if so)

    @property
    def certifies(self) -> bool:
        """Whether what is found can certify anything."""
        return not self.quick and not self.weaker

    @property
    def tables(self) -> int:
        return max(self.episodes // 10, 1) if self.quick else self.episodes

    @property
    def attacks(self) -> int:
        return max(self.hostile // 10, 100) if self.quick else self.hostile


@dataclass
class Case:
    """One certification as it goes. robot: what is certified on. prints: of everything. folder: for files of evidence. scratch: for
    what is thrown away. progress: bars are shown."""

    config: CertifyConfig
    robot: Embodiment
    prints: Fingerprints
    folder: Path
    scratch: Path
    progress: bool = True
    say: Callable[[str], None] = lambda text: None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    shared: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def policy(self) -> Policy:
        return load_policy(self.config.policy)

    @property
    def neural(self) -> NeuralPolicy:
        """Raises `BadValue` for a policy whose model is not here."""
        if not isinstance(self.policy, NeuralPolicy):
            raise BadValue(
                f"'{self.config.policy}' is a {type(self.policy).__name__}; expected a palmar checkpoint. Next: its folder"
            )
        return self.policy

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """What several items need, made once."""
        if name not in self.shared:
            self.shared[name] = make()
        return self.shared[name]

    def kept(self, name: str, make: Callable[[Path], None]) -> Path:
        """A file of evidence: the one in the folder when it is of the same checkpoint, robot, data and palmar, and not too old, or
        else made anew. A file that was changed after it was stamped is made anew. Raises `Changed`."""
        path, stamp = self.folder / name, self.folder / f"{name}.stamp"
        if path.exists() and self._stamped(path, stamp):
            self.say(f"taken from the evidence: {name}")
            return path
        path.unlink(missing_ok=True)
        stamp.unlink(missing_ok=True)
        make(path)
        write_stamp(path, self.config, self.prints, self.now())
        return path

    def _stamped(self, path: Path, stamp: Path) -> bool:
        try:
            said = json.loads(stamp.read_text("utf-8"))
            old = self.now() - datetime.fromisoformat(said["made"]) > timedelta(days=self.config.days)
            return not old and said["of"] == asdict(self.prints) and said["sha256"] == sha256(path)
        except (OSError, ValueError, KeyError, TypeError, BadFile):
            return False


class Changed(BadFile):
    """What is certified was changed while it was looked at."""


def check_unchanged(config: CertifyConfig, prints: Fingerprints) -> None:
    """Raise `Changed` where checkpoint, robot or data are not those of these fingerprints any more."""
    if changes := prints.changes(Fingerprints.of(config.policy, config.robot, config.data)):
        raise Changed(
            f"'{config.policy}' on '{config.robot}' was changed while it was certified: {'; '.join(changes)}. Next: palmar certify "
            "again, while nothing writes to it"
        )


def write_stamp(path: Path, config: CertifyConfig, prints: Fingerprints, now: datetime) -> None:
    """Beside a file of evidence: of what it is, and when it was made. Raises `Changed`."""
    check_unchanged(config, prints)
    about = {"of": asdict(prints), "made": now.isoformat(timespec="seconds"), "sha256": sha256(path)}
    write_text(path.with_name(f"{path.name}.stamp"), json.dumps(about, indent=1))
