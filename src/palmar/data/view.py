"""A data set seen through another: all is the source's but what a view says itself."""

from __future__ import annotations

from typing import Any


class View:
    """source: a data set. A view of it adds or replaces attributes; every other is the source's."""

    def __init__(self, source: Any) -> None:
        self.source = source

    def __getattr__(self, name: str) -> Any:
        if name == "source":  # while it is copied or unpickled there is none yet
            raise AttributeError(name)
        return getattr(self.source, name)

    def __len__(self) -> int:
        return len(self.source)
