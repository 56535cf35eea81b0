"""Pictures that have not changed are not encoded again.

A policy keeps one `Sights`; its model asks it before it encodes a camera. What is kept belongs to one picture and one
instruction: another picture, another instruction or `clear` makes it void.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from palmar.errors import BadValue
from palmar.types import Array

V = TypeVar("V")


class Sights:
    """The newest picture of each camera that was encoded, and what the encoder made of it.

    bound: a picture counts as unchanged when no value of any pixel is further than this from the picture that was encoded, in
    steps of 8 bits (0 … 255). 0, the default, is exact: the answer is bit for bit the same as without. The comparison is with
    the picture that was encoded, never with the one before, so small changes do not add up unseen. Raises `BadValue`.
    """

    def __init__(self, bound: float = 0.0) -> None:
        if not 0 <= bound <= 255:
            raise BadValue(f"bound is {bound}; expected 0 … 255 steps of 8 bits. Next: 0 for an exact comparison")
        self.bound = bound
        self.encoded = self.spared = 0  # pictures, since the start
        self._pictures: dict[str, tuple[Array, Tensor]] = {}
        self._made: dict[str, tuple[Tensor, tuple[Tensor, ...], Any]] = {}

    def clear(self) -> None:
        self._pictures.clear()
        self._made.clear()

    def picture(self, camera: str, image: Array, made: Callable[[Array], Tensor]) -> Tensor:
        """`made(image)`, or the very tensor of the picture before where it is unchanged. image: uint8[..., H, W, 3], copied:
        a camera may write the next picture into the same memory."""
        if camera in self._pictures and self._unchanged(self._pictures[camera][0], image):
            return self._pictures[camera][1]
        tensor = made(image)
        self._pictures[camera] = (image.copy(), tensor)
        return tensor

    def recall(self, camera: str, picture: Tensor, language: tuple[Tensor, ...], make: Callable[[], V]) -> V:
        """What `make` returned the last time for this very picture and this very language; else what it returns now."""
        if camera in self._made:
            was, words, value = self._made[camera]
            same = was is picture and len(words) == len(language)
            if same and all(a is b for a, b in zip(words, language, strict=True)):
                self.spared += 1
                out: V = value
                return out
        self.encoded += 1
        new = make()
        self._made[camera] = (picture, language, new)
        return new

    def _unchanged(self, before: Array, now: Array) -> bool:
        if before.shape != now.shape:
            return False
        if self.bound == 0:
            return bool(np.array_equal(before, now))
        return int(np.abs(before.astype(np.int16) - now).max()) <= self.bound
