"""The frame and the tables of self-contained pages: light and dark, no scripts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

STYLE = """
:root { --ground: #fbfaf8; --card: #fff; --ink: #1c1b19; --soft: #6f6b64; --line: #e4e0d9; --good: #2f6f62; --bad: #b4532a;
  --c0: #2f6f62; --c1: #b4692a; --c2: #44699f; --c3: #9c4672; --c4: #6f7326; }
@media (prefers-color-scheme: dark) { :root { --ground: #151413; --card: #1d1c1a; --ink: #eceae6; --soft: #9b968d; --line: #33312d;
  --good: #7cc4b3; --bad: #e58f63; --c0: #7cc4b3; --c1: #e0a35c; --c2: #8fb0e6; --c3: #dd8db6; --c4: #bfc36a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.5 "Inter", "Helvetica Neue", "Segoe UI", sans-serif;
  font-variant-numeric: tabular-nums; }
main { max-width: 960px; margin: 0 auto; padding: 48px 24px 72px; }
h1 { font-size: 30px; line-height: 1.2; letter-spacing: -.02em; font-weight: 650; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 18px; font-weight: 650; margin: 44px 0 6px; }
p { color: var(--soft); margin: 0 0 14px; max-width: 72ch; overflow-wrap: anywhere; }
ul { padding: 0; margin: 20px 0; list-style: none; }
li { padding: 3px 0 3px 14px; border-left: 3px solid var(--bad); margin-bottom: 8px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: 7px 14px 7px 0; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { color: var(--soft); font-weight: 400; font-size: 13px; }
td small { color: var(--soft); display: block; font-size: 12px; }
td.text { text-align: left; white-space: normal; }
tr.still td { color: var(--soft); }
svg { width: 100%; max-width: 760px; height: auto; display: block; }
"""


def whole(title: str, body: str) -> str:
    """The HTML text of a page; needs nothing else to be shown."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, '
        f'initial-scale=1"><meta name="color-scheme" content="light dark"><title>{escape(title)}</title><style>{STYLE}</style>'
        f"</head><body><main>{body}</main></body></html>\n"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]], still: Sequence[bool] = ()) -> str:
    """Cells are HTML; one that begins with <td is taken as it is. still: rows to be greyed."""
    lines = []
    for k, row in enumerate(rows):
        kind = ' class="still"' if k < len(still) and still[k] else ""
        cells = "".join(c if c.startswith("<td") else f"<td>{c}</td>" for c in row)
        lines.append(f"<tr{kind}>{cells}</tr>")
    names = "".join(f"<th>{escape(h)}</th>" for h in head)
    return f'<div class="wide"><table><thead><tr>{names}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
