"""The file of an ADR run: its configuration and the state after every iteration. Written whole each time, and never half."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from palmar.errors import BadFile, PalmarError, regular_file
from palmar.files import write_text
from palmar.sim.params import SPACE
from palmar.transfer.adr import AdrConfig, AdrState, Moved, start

FORMAT = "palmar adr 1"


@dataclass
class AdrHistory:
    """config, about: of the run (about: policy, robot, tasks: what the outcomes depend on beside the config). rows: state,
    successes and moved ends of each iteration; the first is the start."""

    path: Path
    config: AdrConfig
    about: Mapping[str, Any]
    rows: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def begin(cls, path: str | Path, config: AdrConfig, about: Mapping[str, Any]) -> AdrHistory:
        """A new history, with its start; nothing is written yet."""
        first = start(config, str(about.get("policy", "")))
        return cls(Path(path), config, _plain(about), [first.to_dict() | {"successes": 0, "n": 0, "moved": []}])

    @classmethod
    def resume(cls, path: str | Path, config: AdrConfig, about: Mapping[str, Any]) -> AdrHistory:
        """The history in a file. Raises `BadFile` for a file that is none or damaged, or that was begun with another
        configuration."""
        row = read(path)
        mine, theirs = _flat(_plain(config.to_dict() | dict(about))), _flat(dict(row["config"]) | row["about"])
        for name in sorted(mine.keys() | theirs.keys()):
            if mine.get(name) != theirs.get(name):
                raise BadFile(
                    f"'{path}' is the history of another run: {name} was {_short(theirs.get(name))} and is "
                    f"{_short(mine.get(name))}; expected the same. Next: the settings it was begun with, or another --out"
                )
        found = cls(Path(path), config, row["about"], row["rows"])
        if set(found.state.ranges) != set(config.parameters):
            raise BadFile(
                f"'{path}' is damaged: its ranges are of other parameters than its settings. Next: another --out"
            )
        return found

    @property
    def state(self) -> AdrState:
        return AdrState.from_dict(self.rows[-1])

    def add(self, state: AdrState, successes: Sequence[bool], moved: Sequence[Moved]) -> None:
        """One more iteration, on the disk when this returns."""
        done = {"successes": sum(successes), "n": len(successes), "moved": [asdict(m) for m in moved]}
        self.rows.append(state.to_dict() | done)
        self.save()

    def save(self) -> None:
        body = {"format": FORMAT, "config": self.config.to_dict(), "about": self.about, "rows": self.rows}
        write_text(self.path, json.dumps(body))

    def table(self) -> list[tuple[str, str, str, str]]:
        """(parameter with its unit, hand-tuned range, final range, final width as a share of the hand-tuned one)."""
        out, state = [], self.state
        for name, share in state.widths().items():
            p, (low, high) = SPACE[name], state.ranges[name]
            out.append(
                (
                    f"{name} [{p.unit}]" if p.unit else name,
                    f"{p.low:g} … {p.high:g}",
                    f"{low:.4g} … {high:.4g}",
                    f"{share:.2f}",
                )
            )
        return out


def read(path: str | Path) -> dict[str, Any]:
    """The content of a history file. Raises `BadFile`."""
    try:
        row = json.loads(regular_file(path).read_text("utf-8"))
        if row["format"] != FORMAT or not row["rows"]:
            raise ValueError("another format")
        for one in row["rows"]:
            AdrState.from_dict(one)
        dict(row["config"]), dict(row["about"])
    except FileNotFoundError:
        raise BadFile(f"no history at '{path}'. Next: palmar adr --out {path}") from None
    except BadFile:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, PalmarError) as error:
        raise BadFile(
            f"'{path}' is no history of palmar adr ({str(error).partition('. Next: ')[0]}); expected the JSON that it writes. "
            "Next: another --out, or remove the file"
        ) from error
    return dict(row)


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _flat(row: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """{"trials.timeout": …}: what is nested, by its whole name."""
    out: dict[str, Any] = {}
    for name, value in row.items():
        out |= _flat(value, f"{before}{name}.") if isinstance(value, dict) and value else {f"{before}{name}": value}
    return out


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 80 else f"{text[:77]}…"
