"""Adapting a policy from corrections to a version that acts: train, gate, promote, all in one folder (`adaptation.versions`).

begin (copy of the policy) → adapt (corrections + replay) → gate (held-out tables, old and new) → promote or not
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from palmar.data.durable import WriterLock
from palmar.data.language import Paraphrases
from palmar.data.reader import Dataset
from palmar.data.split import episode_digests
from palmar.errors import BadValue
from palmar.eval.gate import GateConfig, GateVerdict
from palmar.models import checkpoint
from palmar.policy import checkpoint_of
from palmar.runtime.adaptation.versions import Versions, is_history
from palmar.train.adapt import Adapted, adapt, checked
from palmar.train.adapt_config import AdaptConfig

Gate = Callable[[str, str], GateVerdict]
"""(checkpoint before, checkpoint after) → the verdict of held-out trials."""


@dataclass(frozen=True)
class NewVersion:
    """name: of the version. adapted: its training. verdict: None when nobody tried it. promoted: it acts now; one that passed
    its gate and needs a certificate as well does not yet."""

    name: str
    parent: str
    path: Path
    adapted: Adapted
    verdict: GateVerdict | None
    promoted: bool
    seconds: float


@dataclass(frozen=True)
class AdaptRequest:
    """policy: a checkpoint folder, "shipped", or a folder of versions, whose current one is adapted; then `out` may be the same.
    corrections, replay: folders of data sets. out: folder of the versions. tables: seeds of the gate's held-out tables, the first
    and the one after the last, for the manifest. certified: the robot for which every version needs a certificate from now on
    (`Versions.require_certificates`), "" for none."""

    policy: str
    corrections: Sequence[Path]
    replay: Sequence[Path]
    out: Path
    config: AdaptConfig = field(default_factory=AdaptConfig)
    tables: tuple[int, int] | None = None
    gate: GateConfig = field(default_factory=GateConfig)
    certified: str = ""

    def __post_init__(self) -> None:
        for option, folders in (("--corrections", self.corrections), ("--replay", self.replay)):
            real = [Path(f).resolve() for f in folders]
            if twice := next((f for f, r in zip(folders, real, strict=True) if real.count(r) > 1), None):
                raise BadValue(f"{option} names '{twice}' twice; expected each set once. Next: leave one out")


def adapted_version(
    request: AdaptRequest,
    judged: Gate | None,
    paraphrases: Paraphrases | None = None,
    say: Callable[[str], None] = print,
) -> NewVersion:
    """One round. judged: runs the held-out trials; None: the version is kept as a candidate and does not act.

    Raises `BadValue` when corrections or replay do not fit the policy, before a version is made; `BadFile` when `out` holds
    something else, or another process adapts in it.
    """
    began = time.perf_counter()
    source = checkpoint_of(request.policy)
    face = checkpoint.check(source)[1]
    sets = [
        [Dataset(p, cache=False, image_size=face.cameras or None) for p in given]
        for given in (request.corrections, request.replay)
    ]
    checked(face, sets[0], sets[1], request.config)
    versions = Versions(request.out)
    with WriterLock(versions.root):  # two at once would write the same version
        there = versions.names()
        if not there:
            versions.begin(source, request.policy)
        elif not is_history(request.policy) or Path(request.policy).resolve() != versions.root.resolve():
            raise BadValue(
                f"'{request.out}' holds versions of a policy already ({', '.join(there)}), and '{request.policy}' is not it. "
                f"Next: palmar adapt {request.out}, or another --out"
            )
        if request.certified:
            versions.require_certificates(request.certified)
        parent = versions.current
        where = versions.room()
        done = adapt(versions.path(parent), sets[0], sets[1], where, request.config, paraphrases)
        who = "who drove is not recorded" if done.person is None else f"{done.person:.0f} s of a person"
        say(
            f"{where.name}: adapted from {parent} in {done.seconds:.1f} s on {done.corrected} frames of corrections "
            f"({who}) and {done.replayed} of old data"
        )
        verdict = None if judged is None else judged(str(versions.path(parent)), str(where))
        versions.add(
            where.name, parent, _about(request, sets), None if verdict is None else verdict.to_dict(),
            asdict(request.config) | {"seconds": round(done.seconds, 2), "tables": request.tables},
        )  # fmt: skip
        promoted = verdict is not None and verdict.passed and not versions.certified
        if promoted:
            versions.promote(where.name)
        return NewVersion(where.name, parent, where, done, verdict, promoted, time.perf_counter() - began)


def _about(request: AdaptRequest, sets: Sequence[Sequence[Dataset]]) -> dict[str, Any]:
    """What a version was trained on: folders, and of corrections every episode by its content."""
    return {
        "corrections": [str(p) for p in request.corrections],
        "replay": [str(p) for p in request.replay],
        "episodes": [d for s in sets[0] for d in episode_digests(s)],
    }
