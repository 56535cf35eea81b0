"""What a policy loses between simulation and a reality, and which step wins back how much: paired on the same tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from palmar.errors import BadValue
from palmar.eval.results import Results, shared
from palmar.eval.stats import Paired, Rate, paired, points


@dataclass(frozen=True)
class Arm:
    """A policy in the reality. step: what was done for it, in words."""

    step: str
    results: Results


@dataclass(frozen=True)
class Change:
    """From one arm to another on the same tables. before, after: their rates there. difference: with its 95 % interval and p."""

    step: str
    before: Rate
    after: Rate
    difference: Paired

    @property
    def told(self) -> bool:
        """Whether so many trials tell the two apart."""
        return self.difference.told

    @property
    def sentence(self) -> str:
        """Difference in points with its interval, and what it allows to be said."""
        d = self.difference
        size = f"{points(d.difference)} points [{points(d.low)}, {points(d.high)}]"
        p = f"p = {d.p:.2g}" if d.p >= 0.001 else "p < 0.001"
        if not self.told:
            return f"{size}: {d.n} tables cannot tell it from no change ({p})."
        return f"{size}: {'better' if d.difference > 0 else 'worse'} ({p}, {d.n} tables)."


@dataclass(frozen=True)
class Recovery:
    """simulation: the plain policy there. arms: in the reality, the plain policy first, then one more step each; the arm before is
    the control of the next, and the second one, which practised without anything measured, is the control of all that follow.

    Raises `BadValue` for fewer than three arms, and where arms do not share their tables.
    """

    simulation: Results
    arms: Sequence[Arm]

    def __post_init__(self) -> None:
        if len(self.arms) < 3:
            raise BadValue(
                f"{len(self.arms)} arms; expected the plain policy, a control and at least one more. Next: evaluate those too"
            )
        tables = {(t.task, t.split, t.seed) for t in self.simulation.trials}
        for arm in self.arms:
            if not tables or {(t.task, t.split, t.seed) for t in arm.results.trials} != tables:
                raise BadValue(
                    f"'{arm.step}' was tried on other tables than the plain policy in simulation; expected the same, or nothing is "
                    "paired. Next: equal seeds, tasks and splits"
                )

    @cached_property
    def lost(self) -> Change:
        """From simulation to reality, the plain policy."""
        return _change(self.arms[0].step, self.simulation, self.arms[0].results)

    @cached_property
    def steps(self) -> tuple[Change, ...]:
        """Each arm against the one before it."""
        return tuple(_change(b.step, a.results, b.results) for a, b in zip(self.arms, self.arms[1:], strict=False))

    @cached_property
    def measured(self) -> Change:
        """The last arm against the control: what all that was measured is worth over the same practice without it."""
        return _change(
            "all that was measured, against the same practice without", self.arms[1].results, self.arms[-1].results
        )

    @cached_property
    def whole(self) -> Change:
        """The last arm against the plain policy."""
        return _change("everything together, against the plain policy", self.arms[0].results, self.arms[-1].results)

    @property
    def sentences(self) -> list[tuple[str, str]]:
        """(what, what it came to), in the order of the steps. What is left of the loss comes last."""
        rows = [(c.step, c.sentence) for c in (self.lost, *self.steps, self.measured, self.whole)]
        if not self.lost.told or self.lost.difference.difference > 0:
            return [*rows, ("won back", f"{self.lost.difference.n} tables do not tell that anything was lost.")]
        won, lost = self.whole.difference.difference, -self.lost.difference.difference
        return [*rows, ("won back", f"{points(won)} of the {100 * lost:.0f} points that were lost.")]

    def to_dict(self) -> dict[str, Any]:
        """For JSON: every difference, and the rates it is of."""
        return {
            "lost": _row(self.lost), "steps": [_row(c) for c in self.steps], "measured": _row(self.measured),
            "whole": _row(self.whole),
        }  # fmt: skip


def _change(step: str, a: Results, b: Results) -> Change:
    left, right = shared(a, b)
    return Change(step, Rate(sum(left), len(left)), Rate(sum(right), len(right)), paired(left, right))


def _row(c: Change) -> dict[str, Any]:
    return {"step": c.step, "before": c.before.to_dict(), "after": c.after.to_dict(), "told": c.told} | asdict(
        c.difference
    )
