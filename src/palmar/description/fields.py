"""Fields of a file that a person edits, read one by one: each is of its type and in its range, and none is left over."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NoReturn

from palmar.errors import BadFile, UnknownName

MOST_TABLES = 10_000
MOST_LETTERS = 200


class Table:
    """A table of a TOML file. where: what it is, for messages. Every method raises `BadFile` or `UnknownName` that names
    the field, the value found and what was expected. `done` refuses fields that nothing read."""

    def __init__(self, values: Any, where: str) -> None:
        if not isinstance(values, dict):
            raise BadFile(f"{where} is {_short(values)}; expected a table. Next: mend it in the file (docs/robots.md)")
        self.values, self.where = values, where
        self.read: set[str] = set()

    def called(self, where: str) -> Table:
        """The same table under a better name."""
        self.where = where
        return self

    def has(self, key: str) -> bool:
        return key in self.values

    def refuse(self, key: str, value: Any, expected: str) -> NoReturn:
        raise BadFile(
            f"{self._at(key)} is {_short(value)}; expected {expected}. Next: mend it in the file (docs/robots.md)"
        )

    def lacks(self, key: str, expected: str) -> NoReturn:
        raise BadFile(f"{self._at(key)} is missing; expected {expected}. Next: mend it in the file (docs/robots.md)")

    def done(self) -> None:
        """Raise `UnknownName` for a field that is not one of those that were read."""
        for key in self.values:
            if key not in self.read:
                raise UnknownName(f"field of {self.where or 'the file'}", key[:MOST_LETTERS], sorted(self.read))

    def number(
        self,
        key: str,
        default: float | None = None,
        low: float = -math.inf,
        high: float = math.inf,
        infinite: bool = False,
    ) -> float:
        """A number low … high, finite unless `infinite`."""
        value = self._get(key, default, "a number")
        return self._number(key, value, low, high, infinite)

    def whole(self, key: str, default: int, low: int, high: int) -> int:
        """A whole number low … high."""
        value = self._get(key, default, "a whole number")
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.refuse(key, value, f"a whole number {low} … {high}")
        return value

    def yes(self, key: str, default: bool) -> bool:
        value = self._get(key, default, "true or false")
        if not isinstance(value, bool):
            self.refuse(key, value, "true or false")
        return value

    def text(self, key: str, default: str | None = None, empty: bool = False, lines: bool = False) -> str:
        """A text of printable letters, with line breaks where `lines`."""
        value = self._get(key, default, "a text")
        if not isinstance(value, str) or not (value.strip() or empty):
            self.refuse(key, value, "a text")
        if not lines and (len(value) > MOST_LETTERS or not value.isprintable()):
            self.refuse(key, value, f"at most {MOST_LETTERS} printable letters")
        return value

    def one_of(self, key: str, known: Sequence[str], default: str | None = None) -> str:
        value = self._get(key, default, f"one of {', '.join(k or repr(k) for k in known)}")
        if not isinstance(value, str):
            self.refuse(key, value, f"one of {', '.join(k or repr(k) for k in known)}")
        if value not in known:
            raise UnknownName(self._at(key), value[:MOST_LETTERS], [k or "''" for k in known])
        return value

    def numbers(self, key: str, count: int) -> list[float]:
        """So many finite numbers."""
        value = self._get(key, None, f"{count} numbers")
        if not isinstance(value, list) or len(value) != count:
            self.refuse(key, value, f"{count} numbers")
        return [self._number(f"{key}[{i}]", v, -math.inf, math.inf, False) for i, v in enumerate(value)]

    def texts(self, key: str) -> list[str]:
        value = self._get(key, None, "a list of texts")
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            self.refuse(key, value, "a list of texts")
        return value

    def lists(self, key: str) -> list[list[Any]]:
        """The lists of a list, none where it is absent."""
        value = self._get(key, [], "a list of lists")
        if not isinstance(value, list) or len(value) > MOST_TABLES or not all(isinstance(v, list) for v in value):
            self.refuse(key, value, "a list of lists")
        return value

    def table(self, key: str) -> Table:
        return Table(self._get(key, None, "a table"), self._at(key))

    def tables(self, key: str) -> list[Table]:
        """The tables of a list, none where it is absent."""
        value = self._get(key, [], f"a list of tables ([[{key}]])")
        if not isinstance(value, list) or len(value) > MOST_TABLES:
            self.refuse(key, value, f"a list of tables ([[{key}]])")
        return [Table(v, f"{self._at(key)} {i + 1}") for i, v in enumerate(value)]

    def _at(self, key: str) -> str:
        return f"{self.where}: {key}" if self.where else key

    def _get(self, key: str, default: Any, expected: str) -> Any:
        self.read.add(key)
        if key not in self.values:
            if default is None:
                self.lacks(key, expected)
            return default
        return self.values[key]

    def _number(self, key: str, value: Any, low: float, high: float, infinite: bool) -> float:
        kind = "a number" if infinite else "a finite number"
        expected = kind if math.isinf(low) and math.isinf(high) else f"{kind} {low:g} … {high:g}"
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.refuse(key, value, expected)
        try:
            number = float(value)
        except OverflowError:
            self.refuse(key, value, expected)
        if math.isnan(number) or (math.isinf(number) and not infinite) or not low <= number <= high:
            self.refuse(key, value, expected)
        return number


def _short(value: Any) -> str:
    """A value as it may stand in a message."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    try:
        text = repr(value)
    except ValueError:  # a whole number of more digits than Python prints
        return "a very large number"
    return text if len(text) <= 60 else text[:57] + "…"
