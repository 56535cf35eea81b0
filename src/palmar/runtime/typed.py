"""What is typed in a terminal, key by key."""

from __future__ import annotations

import os
import select
from contextlib import suppress
from typing import Any

from palmar.console import keyboard
from palmar.errors import BadValue


class Typed:
    """A terminal that gives each key as it is typed: no echo, no line; Ctrl-C stays what it is. `close` puts it back.

    option: what asks for it, in the message. otherwise: what else there is to do. file: its descriptor, None for standard input.
    Raises `BadValue` where there is no terminal.
    """

    def __init__(self, option: str, otherwise: str, file: int | None = None) -> None:
        where = keyboard() if file is None else file
        if where is None or not os.isatty(where):
            raise BadValue(f"{option} needs a terminal, and there is none. Next: {otherwise}")
        import termios
        import tty

        self._file = where
        self._before: list[Any] | None = termios.tcgetattr(where)
        tty.setcbreak(where)

    def read(self) -> str:
        """What has been typed since the last time, "" when nothing was, or the terminal is gone."""
        try:
            return (
                os.read(self._file, 4096).decode(errors="ignore") if select.select([self._file], [], [], 0.0)[0] else ""
            )
        except (OSError, ValueError):
            return ""

    def close(self) -> None:
        if self._before is not None:
            import termios

            with suppress(termios.error):  # the terminal may be gone
                termios.tcflush(self._file, termios.TCIFLUSH)  # what was typed is not for the shell
                termios.tcsetattr(self._file, termios.TCSADRAIN, self._before)
            self._before = None
