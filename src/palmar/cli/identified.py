"""Worlds drawn from a file of `palmar sysid --out`, as commands take it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from palmar.errors import BadFile, BadValue, UnknownName, regular_file

if TYPE_CHECKING:
    from palmar.transfer.posterior import Posterior


def identified(path: Path, strength: float, widen: float = 1.0) -> Posterior:
    """The posterior of an identification; strength and widen as of `transfer.posterior.posterior`. Raises `BadFile`, which
    names the file."""
    from palmar.transfer.identification import Identification
    from palmar.transfer.posterior import posterior

    regular_file(path)
    why = "it is not JSON"
    try:
        if path.exists():
            json.loads(path.read_text("utf-8"))
        why = "it lacks what one has, or holds something else in its place"
        found = Identification.load(path)
        for name, e in found.estimates.items():
            if not e.low <= e.value <= e.high:
                why = f"{name} is {e.value}, outside its interval {e.low} … {e.high}"
                raise BadValue(why)
        return posterior(found, strength, widen=widen)
    except (ValueError, TypeError, LookupError, AttributeError, BadFile) as error:  # whatever an edited file holds
        if not path.exists():
            raise
        why = str(error) if isinstance(error, UnknownName) else why
        raise BadFile(
            f"'{path}' is no identification: {why}. Next: palmar sysid --out FILE.json, which writes one"
        ) from error
