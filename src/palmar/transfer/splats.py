"""A scanned scene as Gaussian splats: a value, and the .ply that 3D Gaussian splatting programs write.

Source: Kerbl, Kopanas, Leimkühler, Drettakis 2023, "3D Gaussian splatting for real-time radiance field rendering". The file is
read by its header alone, as plain numbers: nothing in it is run.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from palmar.errors import BadFile, BadValue, regular_file
from palmar.files import write_bytes
from palmar.kinematics import matrix_to_quat, quat_to_matrix
from palmar.types import Array

TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "<i2", "int16": "<i2", "ushort": "<u2", "uint16": "<u2",
    "int": "<i4", "int32": "<i4", "uint": "<u4", "uint32": "<u4",
    "float": "<f4", "float32": "<f4", "double": "<f8", "float64": "<f8",
}  # fmt: skip
NEEDED = (
    "x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3",
)  # fmt: skip
MOST_HEADER = 65_536  # bytes
MOST_SPLATS = 20_000_000
REST = {0: 0, 9: 1, 24: 2, 45: 3}
"""Degree of the spherical harmonics by the number of `f_rest` columns."""
FIRST = 0.28209479177387814  # the harmonic of degree 0
BIGGEST = 20.0  # of a logarithm of a size: more is no number of a scan


@dataclass(frozen=True)
class Splats:
    """positions: float[G, 3] [m]. sizes: float[G, 3], standard deviations along each splat's own axes [m]. quats: float[G, 4]
    wxyz of these axes. opacity: float[G] 0 … 1. harmonics: float[G, K, 3] of the colour RGB seen from a direction, K 1, 4, 9 or
    16; with K = 1 from everywhere the same. turned: float[3, 3], how the scene was turned since its colours were learned.

    Raises `BadValue` for other shapes, numbers that are not finite, sizes that are not above 0.
    """

    positions: Array
    sizes: Array
    quats: Array
    opacity: Array
    harmonics: Array
    turned: Array = field(default_factory=lambda: np.eye(3))

    def __post_init__(self) -> None:
        G = len(self.positions)
        shapes = (
            self.positions.shape,
            self.sizes.shape,
            self.quats.shape,
            self.opacity.shape,
            self.harmonics.shape[::2],
        )
        if shapes != ((G, 3), (G, 3), (G, 4), (G,), (G, 3)) or self.harmonics.shape[1] not in (1, 4, 9, 16):
            raise BadValue(
                f"splats have positions {list(self.positions.shape)}, sizes {list(self.sizes.shape)}, quats "
                f"{list(self.quats.shape)}, "
                f"opacity {list(self.opacity.shape)}, harmonics {list(self.harmonics.shape)}; expected [G, 3], [G, 3], [G, 4], "
                "[G], [G, K, 3]. Next: one row of each for a splat"
            )
        for name in ("positions", "sizes", "quats", "opacity", "harmonics"):
            if not np.isfinite(getattr(self, name)).all():
                raise BadValue(f"{name} of splats are not all finite. Next: scan again, or leave those out")
        if G and (self.sizes.min() <= 0 or np.linalg.norm(self.quats, axis=1).min() < 1e-9):
            raise BadValue("a splat has size 0 or no orientation; expected sizes above 0. Next: leave it out")

    def __len__(self) -> int:
        return len(self.positions)

    @classmethod
    def coloured(
        cls, positions: Array, sizes: Array, colours: Array, opacity: Array | float = 1.0, quats: Array | None = None
    ) -> Splats:
        """Splats of one colour from all sides. colours: float[G, 3], 0 … 1."""
        positions = np.atleast_2d(np.asarray(positions, float))
        G = len(positions)
        q = np.tile([1.0, 0, 0, 0], (G, 1)) if quats is None else np.asarray(quats, float)
        sizes = np.broadcast_to(np.asarray(sizes, float), (G, 3)).copy()
        harmonics = (np.broadcast_to(np.asarray(colours, float), (G, 3)) - 0.5)[:, None] / FIRST
        return cls(positions, sizes, q, np.broadcast_to(np.asarray(opacity, float), (G,)).copy(), harmonics)

    def covariances(self) -> Array:
        """float[G, 3, 3] [m²]."""
        spread = quat_to_matrix(self.quats) * self.sizes[:, None, :]
        return np.asarray(spread @ np.swapaxes(spread, 1, 2))

    def colours(self, eye: Array) -> Array:
        """float[G, 3], 0 or more: what is seen of each from a point [3] [m]."""
        K = self.harmonics.shape[1]
        direction = (self.positions - eye) @ self.turned
        direction /= np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-12)
        seen = np.einsum("gk,gkc->gc", harmonics(direction, K), self.harmonics)
        return np.maximum(seen + 0.5, 0.0)

    def moved(self, rotation: Array, translation: Array, scale: float = 1.0) -> Splats:
        """In another frame: scale · rotation · p + translation. A scan knows neither metres nor the robot's base (`aligned`)."""
        if not (np.isfinite(scale) and scale > 0):
            raise BadValue(f"scale is {scale}; expected a number above 0. Next: metres in one unit of the scan")
        R = np.asarray(rotation, float)
        turned = R @ quat_to_matrix(self.quats)
        quats = np.array([matrix_to_quat(r) for r in turned]).reshape(-1, 4)
        positions = scale * self.positions @ R.T + np.asarray(translation, float)
        return replace(self, positions=positions, sizes=self.sizes * scale, quats=quats, turned=R @ self.turned)

    def within(self, low: Array, high: Array) -> Splats:
        """Those whose centre is in a box [m]: a scan has stray ones, and the table is the simulator's."""
        kept = ((self.positions >= low) & (self.positions <= high)).all(1)
        return self.of(np.asarray(kept))

    def of(self, which: Array) -> Splats:
        """Some of them: bool[G] or indices."""
        names = ("positions", "sizes", "quats", "opacity", "harmonics")
        return replace(self, **{n: getattr(self, n)[which] for n in names})


def aligned(scan: Array, base: Array) -> tuple[Array, Array, float]:
    """(rotation [3, 3], translation [3] [m], scale) that take points [n, 3] of a scan to the same points [n, 3] in the base
    frame, n ≥ 3 and not on a line, such as the corners of the table. Source: Umeyama 1991. Raises `BadValue`."""
    a, b = np.asarray(scan, float), np.asarray(base, float)
    if a.shape != b.shape or a.ndim != 2 or a.shape[1] != 3 or len(a) < 3 or not np.isfinite([a, b]).all():
        raise BadValue(
            f"points are {list(a.shape)} and {list(b.shape)}; expected two of [n, 3], n ≥ 3. Next: corners of the table"
        )
    ca, cb = a - a.mean(0), b - b.mean(0)
    U, s, V = np.linalg.svd(cb.T @ ca)
    if s[1] < 1e-9 * max(s[0], 1e-300) or s[0] == 0:
        raise BadValue("the points lie on a line, about which a scene could turn. Next: a third point beside it")
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(U @ V))])
    R = (U * sign) @ V
    scale = float((s * sign).sum() / (ca**2).sum())
    return R, b.mean(0) - scale * R @ a.mean(0), scale


def harmonics(direction: Array, count: int) -> Array:
    """float[G, count]: real spherical harmonics of unit directions [G, 3], in the order and signs of 3D Gaussian splatting."""
    x, y, z = direction.T
    out = [np.full(len(direction), FIRST)]
    if count > 1:
        out += [-0.4886025119029199 * y, 0.4886025119029199 * z, -0.4886025119029199 * x]
    if count > 4:
        out += [
            1.0925484305920792 * x * y, -1.0925484305920792 * y * z, 0.31539156525252005 * (2 * z * z - x * x - y * y),
            -1.0925484305920792 * x * z, 0.5462742152960396 * (x * x - y * y),
        ]  # fmt: skip
    if count > 9:
        out += [
            -0.5900435899266435 * y * (3 * x * x - y * y), 2.890611442640554 * x * y * z,
            -0.4570457994644658 * y * (4 * z * z - x * x - y * y), 0.3731763325901154 * z * (2 * z * z - 3 * x * x - 3 * y * y),
            -0.4570457994644658 * x * (4 * z * z - x * x - y * y), 1.445305721320277 * z * (x * x - y * y),
            -0.5900435899266435 * x * (x * x - 3 * y * y),
        ]  # fmt: skip
    return np.stack(out, 1)


# ------------------------------------------------------------------------------------------------ files


def read_splats(path: str | Path) -> Splats:
    """The splats of a binary .ply. Raises `BadFile` for any other file, with what is wrong."""

    def bad(why: str) -> BadFile:
        return BadFile(
            f"'{path}' is no file of Gaussian splats ({why}). Next: export the scan as a binary .ply of 3D Gaussian splatting"
        )

    try:
        with regular_file(path).open("rb") as file:
            start = file.read(MOST_HEADER)
            size = file.seek(0, 2)
            dtype, count, begin = _header(start, bad)
            if size - begin < count * dtype.itemsize:
                raise bad(f"{size} bytes; its header promises {begin + count * dtype.itemsize}")
            file.seek(begin)
            rows = np.frombuffer(file.read(count * dtype.itemsize), dtype, count)
    except FileNotFoundError:
        raise BadFile(f"there is no '{path}'. Next: a .ply of 3D Gaussian splatting") from None
    columns = lambda *names: np.stack([rows[n].astype(np.float32) for n in names], 1)  # noqa: E731
    rest = sorted((n for n in dtype.names or () if n.startswith("f_rest_")), key=lambda n: int(n.rpartition("_")[2]))
    colour = columns("f_dc_0", "f_dc_1", "f_dc_2")[:, None]
    if rest:  # all of red, then green, then blue
        colour = np.concatenate([colour, columns(*rest).reshape(count, 3, -1).swapaxes(1, 2)], 1)
    logs = columns("scale_0", "scale_1", "scale_2")
    if count and (not np.isfinite(logs).all() or np.abs(logs).max() > BIGGEST):
        raise bad("a scale is no logarithm of a size")
    with np.errstate(over="ignore"):
        opacity = 1 / (1 + np.exp(-rows["opacity"].astype(np.float64)))
    try:
        return Splats(
            columns("x", "y", "z").astype(float), np.exp(logs.astype(float)),
            columns("rot_0", "rot_1", "rot_2", "rot_3").astype(float), opacity, colour.astype(float),
        )  # fmt: skip
    except BadValue as error:
        raise bad(str(error).partition(" Next: ")[0]) from error


def _header(start: bytes, bad: object) -> tuple[np.dtype, int, int]:
    """(row, number of rows, where they begin)."""
    fail = bad if callable(bad) else BadFile
    end = start.find(b"end_header\n")
    if not start.startswith(b"ply") or end < 0:
        raise fail("it has no PLY header of at most 64 kB")
    try:
        lines = start[:end].decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise fail("its header is no ASCII") from None
    words = [line.split() for line in lines if line.split() and line.split()[0] not in ("comment", "obj_info", "ply")]
    if ["format", "binary_little_endian", "1.0"] not in words:
        raise fail("its format is not binary_little_endian 1.0")
    elements = [w for w in words if w[0] == "element"]
    if not elements or elements[0][1:2] != ["vertex"] or len(elements[0]) != 3 or not elements[0][2].isdecimal():
        raise fail("its first element is not 'vertex'")
    count = int(elements[0][2][:12])
    if count > MOST_SPLATS:
        raise fail(f"{count} splats; at most {MOST_SPLATS} are read")
    fields: list[tuple[str, str]] = []
    for w in words[words.index(elements[0]) + 1 :]:
        if w[0] != "property":
            break
        if len(w) != 3 or w[1] not in TYPES or w[2] in dict(fields):
            raise fail(f"property '{' '.join(w[1:])}'")
        fields.append((w[2], TYPES[w[1]]))
    names = [n for n, _ in fields]
    if lost := [n for n in NEEDED if n not in names]:
        raise fail(f"no property {lost[0]}")
    rest = [n for n in names if n.startswith("f_rest_")]
    if len(rest) not in REST or sorted(rest) != sorted(f"f_rest_{i}" for i in range(len(rest))):
        raise fail(f"{len(rest)} properties f_rest; expected {', '.join(map(str, REST))}")
    return np.dtype(fields), count, end + len(b"end_header\n")


def write_splats(path: str | Path, splats: Splats) -> None:
    """A .ply that `read_splats` and viewers of Gaussian splats read. A scene that was turned keeps the colours of its old
    directions only where they are the same from everywhere: raises `BadValue` for the others."""
    K = splats.harmonics.shape[1]
    if K > 1 and not np.allclose(splats.turned, np.eye(3)):
        raise BadValue(
            "the splats were turned and their colours depend on the direction. Next: write them before `moved`"
        )
    rest = [f"f_rest_{i}" for i in range(3 * (K - 1))]
    names = [
        "x",
        "y",
        "z",
        "f_dc_0",
        "f_dc_1",
        "f_dc_2",
        *rest,
        "opacity",
        "scale_0",
        "scale_1",
        "scale_2",
        "rot_0",
        "rot_1",
        "rot_2",
        "rot_3",
    ]
    opacity = np.clip(splats.opacity, 1e-7, 1 - 1e-7)
    more = splats.harmonics[:, 1:].swapaxes(1, 2).reshape(len(splats), -1)
    rows = np.concatenate(
        [
            splats.positions,
            splats.harmonics[:, 0],
            more,
            np.log(opacity / (1 - opacity))[:, None],
            np.log(splats.sizes),
            splats.quats,
        ],
        1,
    )
    header = [
        "ply",
        "format binary_little_endian 1.0",
        f"element vertex {len(splats)}",
        *(f"property float {n}" for n in names),
    ]
    write_bytes(path, "\n".join([*header, "end_header\n"]).encode() + rows.astype("<f4").tobytes())
