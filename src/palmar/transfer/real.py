"""Trials of a policy in reality, or in what stands in for it, as they were recorded: `palmar eval --out`, `palmar run
--log`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from palmar.errors import BadValue, PalmarError, regular_file, unusable
from palmar.eval.results import Results
from palmar.eval.stats import Rate
from palmar.policy import checkpoint_of
from palmar.runtime.records.operations import is_row
from palmar.runtime.records.runs import Run, read_log


@dataclass(frozen=True)
class Recording:
    """Successes in the order in which they were made. source: the file, or the world. robot: its name. tasks: sorted; empty
    where the source knows instructions only. where: the world or the body. notes: what was left out."""

    source: str
    robot: str
    tasks: tuple[str, ...]
    where: str
    successes: tuple[bool, ...]
    notes: tuple[str, ...] = ()

    @property
    def rate(self) -> Rate:
        return Rate(sum(self.successes), len(self.successes))


def of_results(results: Results, source: str, policy: str = "") -> Recording:
    """policy: whose they have to be; any where empty. Raises `BadValue` where there is no trial, and where they are of another
    policy."""
    of = str(results.config.get("policy", ""))
    if policy and of and not _same(of, policy):
        raise BadValue(
            f"'{source}' holds trials of the policy '{of}'; expected those of '{policy}'. Next: palmar eval --policy {policy} "
            "--out FILE.json, or name the policies in the order of their files"
        )
    if not results.trials:
        raise BadValue(
            f"'{source}' holds no trial; expected at least one. Next: palmar eval --episodes 10 --out {source}"
        )
    c = results.config
    where = (
        ", ".join(dict.fromkeys(t.world for t in results.trials))
        if str(c.get("world", "")).startswith("twins")
        else c.get("world", "")
    )
    return Recording(
        source, str(c.get("robot", "arm7")), tuple(sorted({t.task for t in results.trials})), str(where),
        tuple(t.success for t in results.trials),
    )  # fmt: skip


def recorded(path: str | Path, policy: str = "") -> Recording:
    """The trials in a results file, or those of `policy` in an operations log. Raises `BadFile`, or `BadValue` when there are
    none that count: they are of another policy, nobody but the policy itself has said that a run succeeded, or the log has no run
    of it."""
    try:
        with regular_file(path).open("rb") as file:
            first = file.readline(1 << 20)
    except FileNotFoundError:
        first = b""
    except OSError as error:
        raise unusable(error, path) from error
    return _of_log(Path(path), policy) if is_row(first) else of_results(Results.load(path), str(path), policy)


def _of_log(path: Path, policy: str) -> Recording:
    log = read_log(path)
    runs = [r for r in log.runs if _is_of(r, policy)]
    if not runs:
        known = ", ".join(sorted({r.version for r in log.runs})) or "nobody"
        raise BadValue(
            f"'{path}' has no run of '{policy}'; it has runs of {known}. "
            f"Next: palmar run --policy {policy or 'POLICY'} --log {path}"
        )
    own = [r for r in runs if r.by == "policy"]
    if own:
        raise BadValue(
            f"in '{path}' {len(own)} runs were judged by the policy itself; expected a person or a simulator, for a policy may be "
            "wrong about itself. Next: palmar run in a terminal, where a person is asked"
        )
    kept = [r for r in runs if r.ended or not r.judging]
    for what in ("robot", "where"):
        if len(found := sorted({getattr(r, what) for r in kept})) > 1:
            raise BadValue(
                f"the runs of '{path}' are of several {what}s: {', '.join(found)}; expected one. Next: a log of each"
            )
    open_ = len(runs) - len(kept)
    notes = (
        (f"{open_} runs of '{path}' wait for somebody to say whether they succeeded, and do not count",)
        if open_
        else ()
    )
    if not kept:
        raise BadValue(f"no run of '{path}' has been judged; expected at least one. Next: say whether they succeeded")
    return Recording(str(path), kept[0].robot, (), kept[0].where, tuple(r.success for r in kept), notes)


def _is_of(run: Run, policy: str) -> bool:
    if not policy or run.policy == policy:
        return True
    return bool(run.fingerprint) and run.fingerprint == _fingerprint(policy)


def _same(a: str, b: str) -> bool:
    """Whether two names are of one policy: alike, of one folder, or of checkpoints with the same fingerprint."""
    if a == b or Path(a).resolve() == Path(b).resolve():
        return True
    found = _fingerprint(a)
    return bool(found) and found == _fingerprint(b)


def _fingerprint(policy: str) -> str:
    try:
        from palmar.models.checkpoint import fingerprint

        return fingerprint(str(checkpoint_of(policy)))
    except (PalmarError, OSError):
        return ""


def check_alike(recordings: Sequence[Recording], what: str = "real trials") -> None:
    """Raise `BadValue` unless all are of one robot, of the same tasks where they are known, and in one place."""
    for of, values in (
        ("robot", [r.robot for r in recordings]),
        ("tasks", [r.tasks for r in recordings if r.tasks]),
        ("place", [r.where for r in recordings]),
    ):
        different = [v for v in values if v != values[0]]
        if different:
            a, b = (", ".join(v) if isinstance(v, tuple) else v for v in (values[0], different[0]))
            raise BadValue(
                f"the {what} are of different {of}: {a} and {b}; expected one, or rates cannot be compared. "
                f"Next: files of the same {of}"
            )
