"""A certificate as one page that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from palmar.errors import need
from palmar.runtime.adaptation.certificate import Certificate

TITLES = {g: g.capitalize() for g in ("evaluation", "safety", "performance", "operations", "improvement")}
WORDS = {True: "met", False: "not met", None: "not applicable"}


def page(certificate: Certificate) -> str:
    """The HTML text. Raises `MissingPackage` without jinja2."""
    need("jinja2", "report")
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    groups = [(title, [i for i in certificate.items if i["group"] == g]) for g, title in TITLES.items()]
    written = certificate.to_dict()
    return environment.get_template("page.html").render(
        c=certificate,
        written=written,
        groups=[(t, items) for t, items in groups if items],
        words=WORDS,
        rows=rows,
        met=sum(i["met"] is True for i in certificate.items),
        policy=Path(certificate.policy).name,
        robot=Path(certificate.robot).name,
    )


def rows(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """(name, words) of evidence, one row a figure."""
    out: list[tuple[str, str]] = []
    for name, inner in value.items():
        called = f"{prefix} · {name}" if prefix else name
        if isinstance(inner, Mapping):
            out += rows(inner, called) or [(called, "none")]
        elif isinstance(inner, list) and inner and all(isinstance(x, Mapping) for x in inner):
            out += [
                (f"{called} {k + 1}", ", ".join(f"{n} {_word(x)}" for n, x in row.items()))
                for k, row in enumerate(inner)
            ]
        else:
            out.append((called, _word(inner)))
    return out


def _word(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_word(v) for v in value) or "none"
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
