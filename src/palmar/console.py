"""What palmar says to a person: each message one line whatever the terminal's width, and names printed as they are.

`Screen` is the console of every command. It differs from a plain Rich console in three ways:

- a message (a string, or what `styled` makes) is never cut into lines: the terminal folds it where it is too long, and a
  file, a pipe or a test reads it whole. Tables are laid out to the width without loss of a value (`tables.laid_out`);
- a string is printed as it stands: "[/red]" in a path is no markup. Colours come from `styled` alone;
- control characters and undecodable bytes of a name are printed as escapes (`\\x1b`, `\\udcff`).
"""

from __future__ import annotations

import re
import sys
import unicodedata
from contextlib import suppress
from typing import Any

import rich
from rich.console import Console
from rich.table import Table
from rich.text import Span, Text

from palmar.tables import laid_out

PLACE = re.compile(r"\{\}")


class Screen(Console):
    """A Rich console for messages. options: as those of `rich.console.Console`; stderr=True for standard error."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**({"markup": False, "emoji": False} | options))

    def print(self, *objects: Any, **options: Any) -> None:
        """As `Console.print`; a message of strings and texts is one line."""
        if all(isinstance(o, str | Text) for o in objects):
            options.setdefault("soft_wrap", True)
        super().print(*(laid_out(o, self) if isinstance(o, Table) else o for o in objects), **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """As `Console.render_str`, of a message as of a cell of a table, with `printable` characters alone."""
        return super().render_str(printable(text), **options)


def styled(template: str, *values: object) -> Text:
    """A message with Rich markup in its template alone: each `{}` becomes the next value, printed as it is, in the style
    around it. A value that is a `Text` keeps its own style as well.

    Raises IndexError when there are not as many values as places.
    """
    text, given = Text.from_markup(template, emoji=False), list(values)
    if len(PLACE.findall(text.plain)) != len(given):
        raise IndexError(f"{len(given)} values for the places of '{template}'; expected one for each")
    pieces = text.divide(at for match in PLACE.finditer(text.plain) for at in match.span())
    return Text.assemble(*(_filled(p, given.pop(0)) if p.plain == "{}" else p for p in pieces))


def _filled(place: Text, value: object) -> Text:
    """The value in the style of its place."""
    text = value.copy() if isinstance(value, Text) else Text(printable(str(value)))
    text.spans[:0] = [Span(0, len(text.plain), span.style) for span in place.spans]
    return text


def printable(text: str) -> str:
    """The text with control characters (other than line feed and tab), marks that change the direction of what follows, and lone
    surrogates as escapes."""
    if text.isprintable():
        return text
    return "".join(_escape(c) if _controls(c) else c for c in text)


def _controls(character: str) -> bool:
    if unicodedata.category(character) in ("Cc", "Cs"):
        return character not in "\n\t"
    return unicodedata.bidirectional(character) in ("LRE", "LRO", "RLE", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def keyboard() -> int | None:
    """File descriptor of the terminal that a person types at; None where there is none: no standard input, or no terminal."""
    try:
        return sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
    except ValueError:  # closed, or a stand-in without a descriptor
        return None


def say(template: str, *values: object) -> None:
    """A message from inside a room, to where progress is shown: standard output, or standard error with `--json`."""
    message = styled(template, *values)
    rich.get_console().print(message, soft_wrap=True)


def asked_line(prompt: str) -> str:
    """The line that a person types at the terminal after a prompt, which is shown where `say` writes: with `--json` not among the
    figures. Raises EOFError where the terminal is gone."""
    console = rich.get_console()
    with suppress(ImportError):  # Windows has none
        import readline  # noqa: F401  what is typed can be edited, and found again with the arrow keys
    if not console.stderr:
        return input(prompt)
    console.print(prompt, end="", soft_wrap=True, markup=False, highlight=False)
    return input("")


def warn(template: str, *values: object) -> None:
    """A message on standard error: something is not as it ought to be, and the work goes on."""
    Screen(stderr=True).print(styled(template, *values))
