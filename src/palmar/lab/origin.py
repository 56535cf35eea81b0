"""Which worlds the episodes of a data set were made in, so that a set that is added to does not mix two kinds of them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from palmar.data.durable import Staging
from palmar.data.format import json_bytes, read_json
from palmar.errors import BadFile
from palmar.sim.draws import Worlds

FILE = "collected.json"
"""At the root of a data set, beside meta/: {"demonstrations": settings of their worlds, "stills": …}."""


class Origin:
    """The note of one kind of episodes in a data set, and the worlds that more of them are to be made in.

    kind: "demonstrations" or "stills". there: how many the set holds; where there are none, the note of an earlier run does not
    count. Raises `BadFile` when the set holds episodes of other worlds, or when the note cannot be read. A set without a note,
    of an older palmar or another recorder, is added to.
    """

    def __init__(self, root: Path, kind: str, there: int, world: str, randomization: Worlds) -> None:
        self.root, self.kind = root, kind
        drawn = asdict(randomization)  # type: ignore[call-overload]
        self.now = {"world": world, "drawn": json.loads(json.dumps(drawn, default=dict))}
        self.noted: Any = read_json(root / FILE) if (root / FILE).exists() else {}
        if not isinstance(self.noted, dict):
            raise BadFile(f"'{root / FILE}' holds no object; expected the worlds of this set. Next: remove the file")
        before = self.noted.get(kind)
        if there and before is not None and before != self.now:
            raise BadFile(
                f"'{root}' holds {kind} of {_named(before)}; these would be of {_named(self.now)}. "
                "Next: another --out, since `palmar train --data` takes several, or the same worlds"
            )

    def note(self) -> None:
        """Write it, once an episode is on the disk."""
        if self.noted.get(self.kind) != self.now:
            self.noted = self.noted | {self.kind: self.now}
            staging = Staging(self.root)
            staging.put(FILE, json_bytes(self.noted))
            staging.commit()


def _named(settings: Any) -> str:
    """ "world sim at strength 0.7" """
    drawn = settings.get("drawn", {}) if isinstance(settings, dict) else {}
    strength = drawn.get("strength") if isinstance(drawn, dict) else None
    which = f"world {settings.get('world', 'unknown')}" if isinstance(settings, dict) else "worlds unknown"
    moved = drawn.get("names") if isinstance(drawn, dict) else None
    more = f" of {', '.join(map(str, moved))}" if moved else ""
    return which + (f" at strength {strength:g}{more}" if isinstance(strength, int | float) else ", drawn otherwise")
