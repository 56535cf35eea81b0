"""A ChArUco board: drawn for printing, found in pictures. A chessboard tells corners to a fraction of a pixel, the markers in its
white squares tell which corner is which, so that a part of the board is enough.

Source: Garrido-Jurado et al. 2014, "Automatic generation and detection of highly reliable fiducial markers under occlusion".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from palmar.errors import BadValue, UnknownName, need
from palmar.ranges import Range, check_ranges
from palmar.types import Array

DICTIONARIES = ("4X4_50", "4X4_100", "5X5_50", "5X5_100", "6X6_50", "6X6_250", "APRILTAG_36h11")
MOST_PIXELS = 10_000  # of a side of the picture of a board

Squares = Annotated[int, Range(3, 40)]
Metres = Annotated[float, Range(0.002, 1, unit="m")]


def load_cv2() -> Any:
    """OpenCV. Raises `MissingPackage` with the install command."""
    need("cv2", "calibration")
    import cv2

    return cv2


@dataclass(frozen=True)
class MarkerBoard:
    """columns, rows: of squares. square, marker: their sides [m], as measured on the board that is used. dictionary: of the
    markers.

    Its frame: origin in the middle, x along the columns, y along the rows as printed downwards, z into the board: away from who
    looks at it. Raises `BadValue` and `UnknownName`.
    """

    columns: Squares = 7
    rows: Squares = 5
    square: Metres = 0.03
    marker: Metres = 0.022
    dictionary: str = "4X4_50"

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.dictionary not in DICTIONARIES:
            raise UnknownName("dictionary of markers", self.dictionary, DICTIONARIES)
        if not self.marker < self.square:
            raise BadValue(
                f"markers of {self.marker} m in squares of {self.square} m; expected smaller markers. "
                f"Next: --marker {0.73 * self.square:.3g}"
            )
        room = int(self.dictionary.rpartition("_")[2]) if self.dictionary[0].isdigit() else 500
        if (count := self.columns * self.rows // 2) > room:
            raise BadValue(
                f"{self.columns}×{self.rows} squares have {count} markers; {self.dictionary} has {room}. Next: 6X6_250, or "
                "fewer squares"
            )

    @property
    def corners(self) -> Array:
        """float64[N, 3]: the inner corners in its own frame, row by row [m]."""
        x, y = np.meshgrid(np.arange(1, self.columns), np.arange(1, self.rows))
        flat = np.stack([x - self.columns / 2, y - self.rows / 2, 0.0 * x], -1).reshape(-1, 3)
        return np.asarray(flat * self.square, float)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height [m]."""
        return self.columns * self.square, self.rows * self.square

    def _board(self, cv2: Any) -> Any:
        dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, f"DICT_{self.dictionary}"))
        return cv2.aruco.CharucoBoard((self.columns, self.rows), self.square, self.marker, dictionary)

    def draw(self, pixels_a_square: int = 100) -> Array:
        """uint8[rows·n, columns·n, 3]: the board without a margin."""
        width, height = self.columns * pixels_a_square, self.rows * pixels_a_square
        if not pixels_a_square >= 8 or max(width, height) > MOST_PIXELS:
            raise BadValue(
                f"a picture of {width}×{height} px; expected at least 8 px a square and at most {MOST_PIXELS} px. Next: 100 px "
                "a square"
            )
        grey = self._board(load_cv2()).generateImage((width, height), marginSize=0)
        return np.repeat(np.asarray(grey, np.uint8)[:, :, None], 3, axis=2)

    def find(self, picture: Array) -> Array:
        """float64[N, 2]: where the corners are in a picture uint8[H, W, 3] [px], NaN for those that were not found."""
        cv2 = load_cv2()
        grey = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY)
        ids, corners = self._detect(cv2, grey)
        out = np.full((len(self.corners), 2), np.nan)
        if ids is not None and len(ids):
            out[np.asarray(ids).ravel()] = np.asarray(corners, float).reshape(-1, 2)
        return out

    def _detect(self, cv2: Any, grey: Array) -> tuple[Any, Any]:
        parameters = cv2.aruco.DetectorParameters()
        parameters.adaptiveThreshWinSizeMin, parameters.adaptiveThreshWinSizeStep = 3, 4  # small markers too
        detector = cv2.aruco.CharucoDetector(self._board(cv2), cv2.aruco.CharucoParameters(), parameters)
        corners, ids, _, _ = detector.detectBoard(grey)
        return ids, corners

    def to_dict(self) -> dict[str, Any]:
        return {k: getattr(self, k) for k in ("columns", "rows", "square", "marker", "dictionary")}
