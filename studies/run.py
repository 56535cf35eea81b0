"""Run a study: train and test its arms, then write its table, its figure and what they allow to be said.

    python studies/run.py --list                                   the studies, each with its question
    python studies/run.py stages --quick --out runs/studies        minutes: to see that it runs, not to believe the figures
    python studies/run.py stages --full --out runs/studies         the figures of docs/studies.md
    python studies/run.py all --full --out runs/studies --docs     all of them, into docs/
    python studies/run.py leaderboard --full --out runs/studies --arms act-tiny bcz-tiny
    python studies/run.py all --full --out runs/studies --processes ray:10.0.0.5:6379    rollouts over a Ray cluster

An arm whose result lies in --out, made with the same settings, is not run again; a run that was stopped goes on where it was.
OUT/SIZE/NAME holds results/ARM.json, table.md and figure.svg; OUT/SIZE/data what several studies share.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from study import Row, Rows, Study, slug

from palmar.console import Screen
from palmar.errors import BadFile, BadValue, UnknownName, UserError, regular_file
from palmar.eval.stats import Rate
from palmar.ranges import PROCESSES, Processes

HERE = Path(__file__).resolve().parent
NOT_STUDIES = ("run", "study", "making", "chains", "pursuit", "pretended", "trainings")


def names() -> list[str]:
    """Of the studies: the files of this folder."""
    return sorted(p.stem for p in HERE.glob("*.py") if p.stem not in NOT_STUDIES)


def load(name: str) -> Study:
    """The study in the file NAME.py. Raises `UnknownName`."""
    if name not in names():
        raise UnknownName("study", name, names())
    found: Study = importlib.import_module(name).STUDY
    return found


def run(
    study: Study, name: str, size: str, out: Path, arms: Sequence[str] = (), screen: Screen | None = None,
    processes: Processes = None,
) -> Rows:  # fmt: skip
    """Rows of the arms (all when none is named), in the order of the study; those not in OUT/SIZE/NAME yet are measured.

    Raises `UnknownName` for an arm the study lacks, `BadValue` when a kept result was made with other settings, `BadFile` when
    it cannot be read.
    """
    for arm in arms:
        if arm not in study.arms:
            raise UnknownName(f"arm of {name}", arm, study.arms)
    from making import Lab

    lab = Lab(out / size / name, out / size / "data", study.size(size), processes)
    results = lab.out / "results"  # apart from what a study keeps for itself
    results.mkdir(parents=True, exist_ok=True)
    rows: dict[str, Row] = {}
    for arm in study.arms:
        if arms and arm not in arms:
            continue
        path, about = results / f"{slug(arm)}.json", settings(study, size, arm)
        if path.exists():
            rows[arm] = kept(path, about)
            continue
        if screen:
            screen.rule(f"{name}: {arm}")
        row = study.measure(lab, arm)
        part = path.with_suffix(".part")
        part.write_text(json.dumps({"settings": about, "row": plain(row)}, indent=1))
        part.replace(path)
        rows[arm] = kept(path, about)  # as a later run reads it
    return rows


def settings(study: Study, size: str, arm: str) -> dict[str, Any]:
    """What a row depends on, as it comes back from a file."""
    about = {"arm": arm, "size": asdict(study.size(size)), "settings": dict(study.settings)}
    out: dict[str, Any] = json.loads(json.dumps(about))
    return out


def kept(path: Path, about: dict[str, Any]) -> Row:
    """The row in a result file of these settings."""
    try:
        there = json.loads(regular_file(path).read_text())
        made, row = there["settings"], there["row"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadFile(
            f"'{path}' is no result of a study ({error!r}); expected what this runner writes. Next: remove it, and the arm is "
            "measured again"
        ) from error
    if made != about:
        keys = about.keys() | made.keys() if isinstance(made, dict) else {"settings"}
        differ = [k for k in sorted(keys) if not isinstance(made, dict) or made.get(k) != about.get(k)]
        was = {k: made.get(k) for k in differ} if isinstance(made, dict) else made
        raise BadValue(
            f"'{path}' was made with other settings: {was}; this study has {[about.get(k) for k in differ]}. "
            "Next: --out another folder, or remove the file to measure the arm again"
        )
    out: Row = revived(row)
    return out


def plain(value: Any) -> Any:
    """For JSON: a `Rate` becomes its successes of n."""
    if isinstance(value, Rate):
        return {"successes": value.successes, "n": value.n}
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, list | tuple) else value


def revived(value: Any) -> Any:
    """The inverse of `plain`."""
    if isinstance(value, dict):
        return Rate(**value) if value.keys() == {"successes", "n"} else {k: revived(v) for k, v in value.items()}
    return [revived(v) for v in value] if isinstance(value, list) else value


def markdown(rows: Sequence[Row]) -> str:
    """A table; rates with their 95 % intervals, numbers with three digits after the point."""
    columns = [c for c in rows[0] if not c.startswith("_")]
    cells = [[f"{v:.3f}" if isinstance(v, float) else str(v) for v in (row[c] for c in columns)] for row in rows]
    lines = [columns, ["---"] * len(columns), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def into_page(page: Path, name: str, text: str) -> None:
    """Put `text` between the two marks of a study in a page. Raises `BadFile` when they are not there, once and in order."""
    first, last = f"<!-- study {name} -->\n", f"<!-- end {name} -->"
    there = page.read_text() if page.exists() else ""
    begin, end = there.find(first), there.find(last)
    if there.count(first) != 1 or there.count(last) != 1 or end < begin:
        raise BadFile(
            f"'{page}' lacks the place of study '{name}'; expected the lines {first.strip()} and {last} once each. "
            "Next: write them where the table shall stand"
        )
    page.write_text(there[: begin + len(first)] + text.rstrip() + "\n" + there[end:])


def report(study: Study, name: str, size: str, rows: Rows, out: Path, screen: Screen, docs: Path | None = None) -> str:
    """Write OUT/SIZE/NAME/table.md and figure.svg, print them, and with `docs` (the root of the repository) fill its page.

    Only some arms: a table of these alone, without an answer.
    """
    folder, whole = out / size / name, set(rows) == set(study.arms)
    text = f"{study.question}\n\nExpected: {study.expectation}\n\n"
    body = markdown(study.table(rows) if whole else [{"arm": arm} | row for arm, row in rows.items()])
    if whole:
        figure = study.figure(rows)
        (folder / "figure.svg").write_text(figure)
        body += f"\n**Answer.** {study.answer(rows)}\n"
    if size == "quick":
        text += "A quick run shows that the study runs; its figures say nothing.\n\n"
    (folder / "table.md").write_text(text + body)
    screen.print(text + body)
    if docs is not None:
        (docs / "docs" / "figures" / f"{name}.svg").write_text(figure)
        into_page(docs / study.page, name, f"{body}\n![{study.question}](figures/{name}.svg)\n")
    screen.print(f"Written to {folder}")
    return body


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*", metavar="NAME", help="studies, or all")
    parser.add_argument("--list", action="store_true", help="the studies, each with its question")
    sizes = parser.add_mutually_exclusive_group()
    for name, what in (("quick", "minutes, to see that it runs"), ("full", "the figures of the docs")):
        sizes.add_argument(f"--{name}", dest="size", action="store_const", const=name, help=what)
    parser.add_argument("--out", type=Path, help="folder for data, policies and results")
    parser.add_argument("--arms", nargs="+", default=[], help="only these; no answer is written")
    parser.add_argument("--docs", action="store_true", help="write table, answer and figure into docs/; with --full")
    parser.add_argument(
        "--processes", help="who shares the rollouts: a number, or a Ray cluster (ray, ray:HOST:PORT, ray:local)"
    )
    given, screen = parser.parse_args(argv), Screen()
    try:
        wanted = names() if "all" in given.studies or (given.list and not given.studies) else given.studies
        chosen = {name: load(name) for name in wanted}
        if given.list:
            for name, study in chosen.items():
                screen.print(f"{name}: {study.question} ({len(study.arms)} arms)")
            return 0
        if not chosen or given.size is None or given.out is None:
            raise BadValue(
                f"studies {given.studies}, size {given.size}, --out {given.out}; expected NAME, --quick or --full, and --out. "
                "Next: python studies/run.py --list"
            )
        if given.arms and (len(chosen) > 1 or given.docs):
            raise BadValue(
                f"--arms with {list(chosen)}{' and --docs' if given.docs else ''}; expected one study, without --docs"
                ". Next: leave --arms out"
            )
        if given.docs and given.size != "full":
            raise BadValue("--docs with --quick; a quick run's figures say nothing. Next: --full --docs")
        processes = int(given.processes) if given.processes and given.processes.isdecimal() else given.processes
        if processes is not None and processes not in PROCESSES:
            raise BadValue(f"--processes is {processes}; expected {PROCESSES}. Next: leave it out for one a core")
        for name, study in chosen.items():
            rows = run(study, name, given.size, given.out, given.arms, screen, processes)
            report(study, name, given.size, rows, given.out, screen, HERE.parent if given.docs else None)
    except UserError as error:
        Screen(stderr=True).print(str(error))
        return error.exit_code
    return 0


if __name__ == "__main__":  # collect and evaluate start a process for each core
    sys.exit(main())
