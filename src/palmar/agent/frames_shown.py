"""How many pictures of a recorded episode a language model is shown. Light: the command line reads it before numpy is there."""

from __future__ import annotations

from typing import Annotated

from palmar.ranges import Range

MOST_PICTURES = 24
"""Of one episode, all cameras together."""
Frames = Annotated[int, Range(2, MOST_PICTURES)]
