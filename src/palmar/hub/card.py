"""The card of a checkpoint or a data set: what is known of it, as README.md with the header that hubs read."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from palmar.errors import BadFile, BadValue
from palmar.eval.results import Results
from palmar.eval.stats import Rate
from palmar.mapping import Interface, interface_from_dict
from palmar.robots import with_units

LICENCES = ("apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc0-1.0", "other")
Row = tuple[str, str]


def check_licence(licence: str) -> str:
    """Raises `BadValue` where none is given, or what is given is no identifier."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,40}", licence):
        raise BadValue(
            f"the licence is '{licence}'; expected under which one others may use it, and only you know. Next: --license with one "
            f"of {', '.join(LICENCES)}, or another identifier of SPDX in small letters"
        )
    return licence


def model_card(folder: Path, name: str, licence: str, results: Results | None = None) -> str:
    """Of a checkpoint of palmar, or of a policy folder of LeRobot. Raises `BadFile` for a checkpoint that does not load."""
    about = json.loads((folder / "config.json").read_text("utf-8"))
    if about.get("format") != "palmar-checkpoint":
        kind = about.get("type")
        rows = [("policy type of LeRobot", kind if isinstance(kind, str) else "not stated")]
        if kind == "palmar":
            rows += _of_interface(with_units(_built(folder / "config.json", about)))
        use = f"lerobot-eval --policy.path={name} --env.type=…"
        return _card(
            name, ["library_name: lerobot", *_tags("robotics", "lerobot")], licence, rows, _measured(results), use
        )
    from palmar.models import checkpoint

    config, interface, _, info, _ = checkpoint.check(folder)
    rows = [("model", config.preset), *_of_interface(with_units(interface))]
    rows += [
        (key, str(info[key]))
        for key in ("frames", "step", "minutes", "palmar")
        if isinstance(info.get(key), int | float | str)
    ]
    use = f"palmar pull {name} --out runs/{name.partition('/')[2]}"
    return _card(name, ["library_name: palmar", *_tags("robotics", "palmar")], licence, rows, _measured(results), use)


def _built(path: Path, about: dict[str, Any]) -> Interface:
    """The interface of a policy that the LeRobot plugin saved."""
    try:
        return interface_from_dict(json.loads(about["built"])["interface"])
    except (KeyError, TypeError, ValueError, RecursionError) as e:
        raise BadFile(
            f"'{path}' does not say what the policy is built for ({type(e).__name__}). Next: copy it again"
        ) from e


def dataset_card(folder: Path, name: str, licence: str) -> str:
    """Of a LeRobot v3 data set. Raises `BadFile` for one that does not open."""
    from palmar.data.mapped import interface_of
    from palmar.data.reader import Dataset

    found = Dataset(folder)
    try:
        judged = [e.success for e in found.episodes if e.success is not None]
        rows: list[Row] = [
            ("robot", str(found.robot_type or "not stated")),
            *_of_interface(interface_of(found, 1))[1:],
        ]
        rows += [("episodes", str(len(found.episodes))), ("frames", str(len(found)))]
        texts = [" ".join(t.split()) for t in found.tasks[:8]]
        more = f" … and {len(found.tasks) - 8} more" if len(found.tasks) > 8 else ""
        rows.append(("instructions", "; ".join(texts) + more))
    finally:
        found.close()
    said = f"{Rate(sum(judged), len(judged))} of the episodes succeed, by their own marks." if judged else "Not marked."
    head = [
        "task_categories:", "- robotics", *_tags("LeRobot", "robotics", "palmar"), "configs:", "- config_name: default",
        "  data_files: data/*/*.parquet",
    ]  # fmt: skip
    use = f"palmar pull datasets/{name} --out data/{name.partition('/')[2]}"
    return _card(name, head, licence, rows, said, use)


def _tags(*tags: str) -> list[str]:
    return ["tags:", *(f"- {t}" for t in tags)]


def _of_interface(interface: Interface) -> list[Row]:
    def named(names: Sequence[str], units: Sequence[str]) -> str:
        shown = [f"{n} [{u}]" if u else n for n, u in zip(names, units or [""] * len(names), strict=True)]
        return ", ".join(shown)

    cameras = "; ".join(f"{c} {h}×{w} px" for c, (h, w) in interface.cameras.items())
    return [
        ("robot", interface.embodiment or "not stated"), ("cameras", cameras or "none"), ("rate", f"{1 / interface.dt:g} Hz"),
        ("state", named(interface.state_names, interface.state_units)),
        ("action", named(interface.action_names, interface.action_units)),
        *([("chunk", f"{interface.horizon} actions")] if interface.horizon > 1 else []),
    ]  # fmt: skip


def _measured(results: Results | None) -> str:
    """Success with its 95 % interval, split by split."""
    if results is None or not results.trials:
        return "Not measured."
    config = results.config
    where = f"world {config.get('world', 'sim')}, robot {config.get('robot', 'arm7')}"
    splits = list(dict.fromkeys(t.split for t in results.trials))
    lines = [f"| {' '.join(s.split())} | {results.rate(split=s)} |" for s in splits]
    return "\n".join(
        [f"In simulation ({where}), 95 % intervals by Wilson:", "", "| split | success |", "|---|---|", *lines]
    )


def _card(name: str, head: Sequence[str], licence: str, rows: Sequence[Row], success: str, use: str) -> str:
    def cell(text: Any) -> str:
        return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")

    table = [f"| {cell(key)} | {cell(value)} |" for key, value in rows]
    parts = [
        "---", f"license: {licence}", *head, "---", "", f"# {name.partition('/')[2]}", "", "| | |", "|---|---|", *table, "",
        "## Success", "", success, "", "## Use", "", f"    {use}", "",
    ]  # fmt: skip
    return "\n".join(parts)
