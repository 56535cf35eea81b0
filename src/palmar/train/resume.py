"""Going on where a run stopped, and refusing to go on with another."""

from __future__ import annotations

import hashlib
import json
import signal
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np

from palmar.errors import BadFile, BadValue, regular_file
from palmar.files import replace_file
from palmar.models import checkpoint

if TYPE_CHECKING:
    from palmar.train.feed import Source

STATE = "train.safetensors"


def refuse_occupied(folder: Path, resume: bool) -> None:
    """Raises `BadFile` where training into `folder` would overwrite somebody's weights."""
    if resume and (folder / STATE).exists():
        return
    if any((folder / name).exists() for name in (checkpoint.WEIGHTS, checkpoint.CONFIG, STATE)):
        way = f"it has no {STATE} to resume from: " if resume else "--resume to go on, "
        raise BadFile(f"'{folder}' holds a checkpoint. Next: {way}another --out, or remove it")


class CtrlC:
    """While entered, the first Ctrl-C is only remembered in `asked`, so that no step is cut in two and what is saved is whole;
    the second raises `KeyboardInterrupt` at once. Outside the main thread, or where somebody else listens, it does nothing."""

    def __init__(self) -> None:
        self.asked = False
        self._mine = False

    def __enter__(self) -> CtrlC:
        main = threading.current_thread() is threading.main_thread()
        self._mine = main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._mine:
            signal.signal(signal.SIGINT, self._heard)
        return self

    def __exit__(self, *_: object) -> None:
        if self._mine:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


def forget_after(path: Path, step: int) -> None:
    """Drop the rows of metrics.jsonl after `step`, which a killed run logged but did not save (and half a last line)."""
    if not path.exists():
        return
    kept = []
    for line in regular_file(path).read_text("utf-8", errors="replace").split("\n"):
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue
    replace_file(path, lambda p: p.write_text("".join(kept), "utf-8"))


def fingerprint(data: Source) -> dict[str, Any]:
    """What a data set was when training began: other frames under the same path are another data set."""
    table = [
        (int(e.start), int(e.stop), None if e.success is None else bool(e.success), getattr(e, "source", ""))
        for e in data.episodes
    ]
    return {
        "frames": len(data),
        "episodes": len(table),
        "episode table": digest(json.dumps(table)),
        "states": digest(np.ascontiguousarray(data.states).tobytes()),
        "actions": digest(np.ascontiguousarray(data.actions).tobytes()),
        "tasks": digest("\n".join(data.tasks)),
    }


def digest(content: str | bytes) -> str:
    return "#" + hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()[:12]


def check_same(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise `BadValue` when the run in `path` was begun with other settings or data than those given now."""
    differ = differences(before, now)
    if not differ:
        return
    shown = ", ".join(differ[:6]) + (f" and {len(differ) - 6} more" if len(differ) > 6 else "")
    raise BadValue(
        f"'{path}' was trained with another {shown}. Next: resume with the settings and data it began with, or begin anew "
        f"from its weights: --init {path.parent} and another --out"
    )


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """'lr (0.001, now 0.002)' for every leaf that differs. What `before` does not know (an older palmar) is not compared:
    a name at the top, or deeper a value that is now empty or a yes or no."""

    def leaves(value: Any, path: str) -> dict[str, Any]:
        if isinstance(value, Mapping) and value:
            return {k: v for name, part in value.items() for k, v in leaves(part, f"{path}.{name}").items()}
        if isinstance(value, list) and value and all(isinstance(part, Mapping) for part in value):  # such as stages
            return {k: v for i, part in enumerate(value) for k, v in leaves(part, f"{path}.{i}").items()}
        return {path: value}

    out = []
    for name in sorted(set(before) & set(now)):
        old, new = leaves(before[name], name), leaves(now[name], name)
        for k in dict.fromkeys([*old, *new]):
            was, is_now = old.get(k, "none"), new.get(k, "none")
            plain = is_now is None or isinstance(is_now, bool)
            later = k not in old and (plain or (isinstance(is_now, Sequence | Mapping) and not is_now))
            if was != is_now and not later:
                digests = any(str(v).startswith("#") for v in (was, is_now))  # say nothing to a reader
                out.append(k if digests else f"{k} ({was}, now {is_now})")
    return out
