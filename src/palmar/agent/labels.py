"""Labels that a language model gave recorded episodes: what was done, and whether it was done. They lie beside a data set, say who
made them, and replace nothing that a person or the simulator recorded.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from palmar.data.format import read_json
from palmar.data.reader import Dataset, EpisodeInfo
from palmar.errors import BadFile, BadValue, UnknownName
from palmar.eval.stats import Rate
from palmar.files import locked, write_text

LABELS = "meta/labels.json"
"""Where the labels of a data set are."""
FORMAT = 1
LARGEST = 256 << 20  # bytes of a file of labels
LONGEST_TEXT = 300  # characters of an instruction, and of a reason
NOTE = "Made by language models (by). What was recorded is in the data set itself, and counts before these."


@dataclass(frozen=True, slots=True)
class EpisodeLabel:
    """What a model says of one episode.

    episode: its index. instruction: what was to be done, in words. success: it was. confidence: 0 … 1 by the model's own measure.
    by: which model, such as "anthropic:claude-sonnet-5-5". why: the model's reason. Raises `BadValue` for a value of another kind.
    """

    episode: int
    instruction: str
    success: bool
    confidence: float
    by: str
    why: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.episode, bool) or not isinstance(self.episode, int) or self.episode < 0:
            raise BadValue(f"episode is {str(self.episode)[:40]}; expected 0 or more. Next: the index of an episode")
        for name, least in (("instruction", 1), ("by", 1), ("why", 0)):
            text = getattr(self, name)
            if not isinstance(text, str) or not least <= len(text.strip()) or len(text) > LONGEST_TEXT:
                raise BadValue(
                    f"{name} is {str(text)[:60]!r}; expected {least} … {LONGEST_TEXT} characters. Next: a sentence"
                )
        if not isinstance(self.success, bool):
            raise BadValue(f"success is {str(self.success)[:40]!r}; expected true or false. Next: one of them")
        number = self.confidence
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= 1:
            raise BadValue(f"confidence is {str(number)[:40]}; expected 0 … 1. Next: how sure, as a share")
        object.__setattr__(self, "confidence", float(number))


# --------------------------------------------------------------------------------------------------------------------- kept

Settings = Mapping[str, Any]
"""How the episodes were shown and asked about: values that JSON has. `told` is among them."""


class KeptLabels:
    """The labels in a file, by who made them and how they were asked for.

    Labels of other models, settings and episodes in the same file are kept. Raises `BadFile` for a file that is no file of labels.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._runs = self._read()

    def of(self, by: str, settings: Settings) -> dict[str, EpisodeLabel]:
        """By `fingerprint` of the episode."""
        return dict(self._runs.get(_key(by, settings), {}))

    def runs(self) -> list[tuple[str, dict[str, Any], dict[str, EpisodeLabel]]]:
        """(model, settings, labels by `fingerprint`) of each."""
        return [(by, json.loads(settings), dict(labels)) for (by, settings), labels in self._runs.items()]

    def add(self, label: EpisodeLabel, settings: Settings, fingerprint: str) -> None:
        """Put a label in and write the file, whole or not at all. What another process has put in since stays: one at a time
        reads and writes. Raises `OSError`, `BadFile`."""
        with locked(_lock(self.path)):
            self._add(label, settings, fingerprint)

    def _add(self, label: EpisodeLabel, settings: Settings, fingerprint: str) -> None:
        self._runs = self._read()
        self._runs.setdefault(_key(label.by, settings), {})[fingerprint] = label
        runs = [
            {
                "by": by,
                "settings": json.loads(said),
                "labels": [_row(label, of) for of, label in sorted(labels.items(), key=lambda kept: kept[1].episode)],
            }
            for (by, said), labels in self._runs.items()
        ]
        text = json.dumps({"format": FORMAT, "note": NOTE, "runs": runs}, indent=1, ensure_ascii=False, allow_nan=False)
        write_text(self.path, text + "\n", "backslashreplace")

    def _read(self) -> dict[tuple[str, str], dict[str, EpisodeLabel]]:
        if not self.path.exists():
            return {}
        try:
            said = read_json(self.path, LARGEST)
            if said["format"] != FORMAT:
                raise BadValue(f"its format is {str(said['format'])[:40]}; expected {FORMAT}. Next: a newer palmar")
            return {
                _key(run["by"], run["settings"]): {str(row["of"]): _label(run["by"], row) for row in run["labels"]}
                for run in said["runs"]
            }
        except (BadFile, KeyError, TypeError, ValueError, AttributeError) as error:  # BadValue too
            why = f"no {error}" if isinstance(error, KeyError) else str(error).partition("\n")[0]
            raise BadFile(
                f"'{self.path}' is no file of labels (“{why[:300]}”). Next: another --out, or move it away; palmar overwrites "
                "no file that it did not write"
            ) from error


def _lock(path: Path) -> Path:
    """Beside the file that is meant, where a link leads to it."""
    real = Path(os.path.realpath(path))
    return real.with_name(f".{real.name[:100]}.lock")


def _key(by: str, settings: Settings) -> tuple[str, str]:
    return by, json.dumps(dict(settings), sort_keys=True)


def _row(label: EpisodeLabel, of: str) -> dict[str, Any]:
    row = asdict(label) | {"of": of}
    del row["by"]
    return row


def _label(by: str, row: Mapping[str, Any]) -> EpisodeLabel:
    own = {f.name: row[f.name] for f in fields(EpisodeLabel) if f.name != "by"}
    return EpisodeLabel(by=by, **own)


def fingerprint(dataset: Dataset, episode: EpisodeInfo, told: bool = False) -> str:
    """Of what an episode holds: its index, length, states and actions, and with told its instruction. A label whose episode has
    another one by now is of something else."""
    part = slice(episode.start, episode.stop)
    content = hashlib.blake2b(f"{episode.index} {episode.length} {dataset.fps}".encode(), digest_size=12)
    for values in (dataset.states[part], dataset.actions[part]):
        content.update(np.ascontiguousarray(values, "<f4").tobytes())
    if told:
        content.update(episode.instruction.encode("utf-8", "surrogatepass"))
    return content.hexdigest()


# ---------------------------------------------------------------------------------------------------------------- agreement


@dataclass(frozen=True, slots=True)
class LabelAgreement:
    """Labels beside what was recorded.

    success: said as recorded. false_success: a success, of those recorded as failures. false_failure: a failure, of those recorded
    as successes. task, thing, whole: the task, the colour and shape of the thing, and all of a `palmar.sim.sentences.Request`, of
    those whose instruction `parse` reads on both sides. unread: instructions that it does not read on one side or both.
    """

    success: Rate
    false_success: Rate
    false_failure: Rate
    task: Rate
    thing: Rate
    whole: Rate
    unread: int

    def to_dict(self) -> dict[str, Any]:
        return {f.name: v.to_dict() if isinstance(v := getattr(self, f.name), Rate) else v for f in fields(self)}


def agreement(dataset: Dataset, labels: Iterable[EpisodeLabel], told: bool = False) -> LabelAgreement:
    """told: the model was given the recorded instruction, so that its own says nothing about agreement."""
    from palmar.sim.sentences import Request, parse

    def read(text: str) -> Request | None:
        try:
            return parse(text)
        except (BadValue, UnknownName):
            return None

    labels = list(labels)
    recorded = {label.episode: dataset.episodes[label.episode] for label in labels}
    judged = [(recorded[x.episode].success, x.success) for x in labels if recorded[x.episode].success is not None]
    of_failures, of_successes = ([said for truth, said in judged if truth is kind] for kind in (False, True))
    named = [] if told else [(read(recorded[x.episode].instruction), read(x.instruction)) for x in labels]
    both = [(a, b) for a, b in named if a is not None and b is not None]
    return LabelAgreement(
        Rate(sum(truth == said for truth, said in judged), len(judged)),
        Rate(sum(of_failures), len(of_failures)),
        Rate(sum(not said for said in of_successes), len(of_successes)),
        Rate(sum(a.task == b.task for a, b in both), len(both)),
        Rate(sum((a.colour, a.shape) == (b.colour, b.shape) for a, b in both), len(both)),
        Rate(sum(a == b for a, b in both), len(both)),
        len(named) - len(both),
    )
