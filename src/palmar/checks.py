"""The outcome of one check, in the words a person reads: preflight, and the check of a body."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """name: what was compared. ok. found: what differs or was seen. next: what to do when it is not well."""

    name: str
    ok: bool
    found: str
    next: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "ok", bool(self.ok))  # a numpy bool is no JSON


def failed(checks: Iterable[Check]) -> list[Check]:
    """Those that are not ok."""
    return [c for c in checks if not c.ok]
