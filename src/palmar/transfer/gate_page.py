"""What the gate found as one self-contained page."""

from __future__ import annotations

from html import escape

from palmar.eval import ranking_plot
from palmar.eval.bootstrap import Estimate
from palmar.eval.pages import table, whole
from palmar.eval.report import plain
from palmar.eval.sequential import GoVerdict
from palmar.transfer.gate import TransferGate


def outlook_words(v: GoVerdict) -> str:
    """How many more trials a verdict takes, in a sentence; "" when there is one."""
    o = v.outlook
    if o is None:
        return ""
    half = "more than 2000" if o.median is None else str(o.median)
    most = "more than 2000" if o.most is None else str(o.most)
    return (
        f"A go takes at least {o.least} more if every one succeeds; by what is known a verdict comes within {half} more trials "
        f"with a chance of a half, within {most} with nine tenths (go {100 * o.go:.0f} %, no-go {100 * o.no_go:.0f} %)."
    )


def figure_words(e: Estimate) -> str:
    return str(e) if e.known else "cannot be told: all rates are equal"


def page(gate: TransferGate, title: str = "From simulation to reality") -> str:
    """The HTML text. Raises `MissingPackage` without matplotlib."""
    v, first = gate.verdict, gate.policies[0].evidence
    kind = {"go": "good", "no-go": "bad", "not yet": "soft"}[v.verdict]
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p style="color:var(--{kind})"><b>{escape(first.name)}: {escape(str(v))}.</b></p><p>{escape(outlook_words(v))}</p>',
        f"<p>A go to a policy whose real success rate is {100 * v.config.need:g} % or less, and a no-go to one whose rate is "
        f"{100 * v.config.want:g} % or more, each have a chance of at most {100 * v.config.risk:g} %, however often the trials are "
        "looked at.</p>",
        "".join(f"<p>{escape(n)}.</p>" for n in gate.notes),
        "<h2>Policies</h2>",
        table(("policy", "verdict", "simulation", "predicted", "real", "in its interval"), _rows(gate)),
    ]
    if gate.held.n:
        parts.append(
            f"<p>What was observed lies in the predicted 95 % interval of {gate.held.successes} of {gate.held.n} policies. "
            "The interval holds the chance of the trials, few worlds and what the identification left open; not what the "
            "simulator has no parameter for.</p>"
        )
    if (r := gate.ranking) is not None:
        rows = [
            [name, escape(figure_words(e)), escape(figure_words(r.perfect[key])) if key in r.perfect else "–"]
            for name, key, e in (
                ("Pearson r", "pearson", r.pearson), ("Spearman ρ", "spearman", r.spearman), ("MMRV", "mmrv", r.mmrv),
            )
        ]  # fmt: skip
        parts += [
            "<h2>Order</h2>", ranking_plot.scatter(r), table(("", "measured [95 %]", "a perfect simulator, as many trials"), rows),
            f"<p>Over {len(r.policies)} policies. MMRV is a success rate: what the worst wrong order costs, on average.</p>",
        ]  # fmt: skip
    if gate.about:
        parts.append(
            "<h2>Settings</h2>"
            + table(
                ("", ""), [[escape(k), f'<td class="text">{escape(str(plain(x)))}</td>'] for k, x in gate.about.items()]
            )
        )
    return whole(title, "".join(parts))


def _rows(gate: TransferGate) -> list[list[str]]:
    out = []
    for i, j in enumerate(gate.policies):
        e = j.evidence
        held = {True: "yes", False: "no", None: "–"}[j.held]
        cells = [str(e.sim), "–" if e.predicted is None else str(e.predicted), str(e.real.rate)]
        out.append([f"{i + 1} · {escape(e.name)}", escape(j.verdict.verdict), *map(_under, cells), held])
    return out


def _under(text: str) -> str:
    """A rate, with its interval under it in small print."""
    rate, bracket, rest = text.partition(" [")
    return f"{escape(rate)}<small>{escape(bracket.strip() + rest)}</small>" if bracket else escape(text)
