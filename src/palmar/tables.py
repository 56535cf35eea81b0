"""Tables on a narrow terminal: columns share the width, no number is broken, and nothing is cut off.

What fits is a table as it was made. Else cells are folded between words; then its frame goes; then long words are folded; and
where even its numbers do not fit beside each other, each row becomes a few lines, one value each.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from palmar.console import Screen

WHOLE = 40  # letters of a word that is not broken while there is another way
NARROW = 14  # letters of a word that is not broken at all
NUMBER = re.compile(r"[\[(+\-−±]*\d")


def laid_out(table: Table, console: Screen) -> RenderableType:
    """The table for the width of this console, without loss of a value. The table that is given stays as it is."""
    width = console.width
    cells = [[as_text(c, console) for c in (column.header, *column.cells)] for column in table.columns]
    if not cells or not all(len(c) == len(cells[0]) for c in cells):
        return table
    most = [max(widest(c.plain.splitlines()) for c in column) for column in cells]
    for one, narrow in ((table, WHOLE), (framed_less(table), WHOLE), (framed_less(table), NARROW)):
        least = [
            m if column.no_wrap else max(unbroken(c.plain, narrow) for c in of)
            for column, of, m in zip(table.columns, cells, most, strict=True)
        ]
        frame = Measurement.get(console, console.options.update(width=10_000), with_widths(one, least)).maximum - sum(
            least
        )
        if sum(least) + frame <= width:
            return with_widths(one, shared(least, most, width - frame))
    return Group(*lines(table, cells))


def as_text(cell: RenderableType, console: Screen) -> Text:
    return cell if isinstance(cell, Text) else console.render_str(str(cell))


def widest(words: Sequence[str]) -> int:
    return max((cell_len(w) for w in words), default=0)


def unbroken(text: str, narrow: int) -> int:
    """How wide a cell must be at least: as its longest number, or as its longest word up to `narrow`."""
    return max((cell_len(w) if NUMBER.match(w) else min(cell_len(w), narrow) for w in text.split()), default=0)


def shared(least: Sequence[int], most: Sequence[int], width: int) -> list[int]:
    """Widths between least and most with a sum of at most `width`: what is left goes to the narrowest that wants more."""
    widths = list(least)
    left = width - sum(widths)
    while left > 0 and (wanting := [i for i, w in enumerate(widths) if w < most[i]]):
        widths[min(wanting, key=widths.__getitem__)] += 1
        left -= 1
    return widths


def with_widths(table: Table, widths: Sequence[int]) -> Table:
    """A copy whose columns have these widths and fold what is longer."""
    new = copy.copy(table)
    new.columns = [
        replace(c, width=max(w, 1), min_width=None, no_wrap=False, overflow="fold")
        for c, w in zip(table.columns, widths, strict=True)
    ]
    return new


def framed_less(table: Table) -> Table:
    """A copy without vertical lines, with one space between columns."""
    new = copy.copy(table)
    new.box, new.padding, new.pad_edge = SIMPLE_HEAD, (0, 1, 0, 0), False
    return new


def lines(table: Table, cells: Sequence[Sequence[Text]]) -> list[Text]:
    """Each row as its first value and, below it, the others with their headers; empty cells are left out."""
    out = [Text(str(table.title), style="bold")] if table.title else []
    for k, row in enumerate(zip(*(c[1:] for c in cells), strict=True)):
        shown = [(c[0], value) for c, value in zip(cells, row, strict=True) if value.plain.strip()]
        style = table.rows[k].style or ""
        for i, (header, value) in enumerate(shown):
            flat = Text(" ").join(value.split("\n"))
            if not i:
                flat.stylize("bold")
            begin = f"  {header.plain}: " if i and header.plain.strip() else "  " if i else ""
            out.append(Text.assemble(begin, flat, style=style))
        if table.rows[k].end_section and k + 1 < len(table.rows):
            out.append(Text())
    return out
