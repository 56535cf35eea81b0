"""The gate between simulation and reality: the order of policies, what simulation predicts, and go, no-go or not yet for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from palmar.errors import BadValue
from palmar.eval.ranking import LEAST, Ranking, Scored, ranking
from palmar.eval.sequential import GoConfig, GoVerdict, go_test
from palmar.eval.stats import Rate
from palmar.transfer.predict import Predicted
from palmar.transfer.real import Recording, check_alike


@dataclass(frozen=True)
class Evidence:
    """Of one policy. sim: successes in simulation; predicted: of the real rate, None where simulation was one world. real: its
    trials."""

    name: str
    sim: Rate
    real: Recording
    predicted: Predicted | None = None


@dataclass(frozen=True)
class Judged:
    """verdict: on the real trials. held: what was observed lies in the interval that simulation predicted for as many trials; None
    without a prediction or a trial."""

    evidence: Evidence
    verdict: GoVerdict
    held: bool | None


@dataclass(frozen=True)
class TransferGate:
    """policies: the first is the one that is to go. ranking: None for fewer than 3. held: of the policies with a prediction."""

    policies: tuple[Judged, ...]
    ranking: Ranking | None
    notes: tuple[str, ...] = ()
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> GoVerdict:
        """Of the first policy."""
        return self.policies[0].verdict

    @property
    def held(self) -> Rate:
        known = [j.held for j in self.policies if j.held is not None]
        return Rate(sum(known), len(known))

    def to_dict(self) -> dict[str, Any]:
        """For `--json` and `--out`."""
        return {
            "format": "palmar transfer 1", "verdict": self.verdict.verdict, "why": str(self.verdict), "about": self.about,
            "ranking": None if self.ranking is None else self.ranking.to_dict(), "held": self.held.to_dict(),
            "policies": [_figures(j) for j in self.policies], "notes": list(self.notes),
        }  # fmt: skip


def transfer_gate(
    evidence: Sequence[Evidence], config: GoConfig | None = None, about: dict[str, Any] | None = None
) -> TransferGate:
    """Judge policies of which the first is to go.

    Raises `BadValue` for no policy, one that is named twice, and real trials of different robots, tasks or places.
    """
    if not evidence:
        raise BadValue("no policy to judge; expected one or more. Next: name the one that is to go")
    names = [e.name for e in evidence]
    if twice := next((n for n in names if names.count(n) > 1), None):
        raise BadValue(f"'{twice}' is named twice; expected each policy once. Next: leave one out")
    check_alike([e.real for e in evidence])
    policies = []
    for e in evidence:
        rates = None if e.predicted is None or e.real.successes else e.predicted.rates
        held = None if e.predicted is None or not e.real.rate.n else e.predicted.holds(e.real.rate)
        policies.append(Judged(e, go_test(e.real.successes, config, rates), held))
    notes = [n for e in evidence for n in e.real.notes]
    order = None
    if len(evidence) >= LEAST and all(e.real.rate.n and e.sim.n for e in evidence):
        order = ranking([Scored(e.name, e.sim, e.real.rate) for e in evidence])
    elif len(evidence) < LEAST:
        notes.append(f"no rank correlation: it takes {LEAST} policies or more, and 8 for one that says much")
    return TransferGate(tuple(policies), order, tuple(dict.fromkeys(notes)), about or {})


def _figures(j: Judged) -> dict[str, Any]:
    e = j.evidence
    return {
        "policy": e.name, "sim": e.sim.to_dict(), "real": e.real.rate.to_dict(), "source": e.real.source, "where": e.real.where,
        "predicted": None if e.predicted is None else e.predicted.to_dict(), "held": j.held, "verdict": j.verdict.to_dict(),
    }  # fmt: skip
