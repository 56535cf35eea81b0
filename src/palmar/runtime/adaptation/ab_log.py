"""The episodes of an A/B comparison in a file, one line each, so that it goes on from run to run."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

from palmar.errors import BadFile, BadValue, brief
from palmar.runtime.adaptation.ab import ABConfig, Arm, Decision, Episodes
from palmar.runtime.adaptation.lines import append, whole
from palmar.types import Reason


class ABLog:
    """a, b: the two policies, by name. config: of a new file; one that is there keeps its own.

    Raises `BadFile` for a file that holds something else, `BadValue` for one of other policies.
    """

    def __init__(self, path: str | Path, a: str, b: str, config: ABConfig | None = None) -> None:
        self.path, self.a, self.b = Path(path), a, b
        self.fault: Reason | None = None
        if not self.path.exists():
            self.episodes = Episodes(config or ABConfig())
            self._append({"a": a, "b": b} | asdict(self.episodes.config))
            return
        try:
            first, *rest = [json.loads(x) for x in whole(self.path)]
            names = {k: first.pop(k) for k in ("a", "b")}
            self.episodes = Episodes.of(ABConfig(**first), [bool(r["success"]) for r in rest if "success" in r])
            self.fault = next((Reason("a/b", over=None, note=r["fault"]) for r in rest if "fault" in r), None)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise BadFile(f"'{self.path}' is no A/B comparison ({brief(error)}). Next: another --ab-log") from error
        if names != {"a": a, "b": b}:
            raise BadValue(
                f"'{self.path}' compares '{names['a']}' with '{names['b']}', and not '{a}' with '{b}'. Next: another --ab-log"
            )

    @property
    def decision(self) -> Decision:
        found = self.episodes.decision
        return found if self.fault is None else replace(found, what="roll back", reason=self.fault)

    @property
    def arm(self) -> Arm:
        """Who drives the next episode: the one that is drawn, after a decision the winner."""
        decision = self.decision
        return self.episodes.next if decision.what == "go on" else "b" if decision.what == "promote" else "a"

    def ended(self, success: bool, fault: str = "") -> Decision:
        """The episode is over. fault: what happened that must not, such as an E-STOP; of B it ends the comparison."""
        arm = self.arm
        if self.decision.what == "go on":
            self.episodes = self.episodes.add(success)
            self._append({"arm": arm, "success": success})
        if fault and arm == "b" and self.fault is None:
            self.fault = Reason("a/b", over=None, note=fault)
            self._append({"arm": arm, "fault": fault})
        return self.decision

    def _append(self, row: dict[str, object]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        append(self.path, row)
