"""Numbers of a scene that follow from the parameters: colours, light, friction, where the ground and the things lie.

`scenes.py` builds a model with them, `edits.py` writes them into one that is compiled.
"""

from __future__ import annotations

import colorsys
from functools import lru_cache

import numpy as np

from palmar.kinematics import matrix_to_quat, rotvec_to_matrix
from palmar.links import Mount
from palmar.robot_parts import Camera
from palmar.sim.params import SPACE, WorldParams
from palmar.sim.rooms import Room
from palmar.sim.space import DEAD, SPREAD
from palmar.sim.things import COLOURS, DESTINATIONS, Item
from palmar.types import Array

Colour = tuple[float, float, float]
FRICTION = 0.8  # sliding friction of things, ground and pads in plain simulation
SOLREF = 0.02  # time constant of a contact [s], MuJoCo's own


def ground(room: Room, params: WorldParams) -> float:
    """Height of the middle of the ground that things stand on [m]."""
    return params["table_height"] if room.rises else 0.0


def surface(room: Room, params: WorldParams, x: float, y: float, height: float) -> tuple[Array, Array]:
    """Position [3] [m] and rotation [3, 3], base frame, of what lies `height` over the ground at x, y: turned with a tilted
    table about its middle, rolled first and then pitched."""
    top = ground(room, params)
    roll, pitch = (float(np.deg2rad(params[n])) if room.rises else 0.0 for n in ("table_roll", "table_pitch"))
    if not (roll or pitch):
        return np.array([x, y, top + height]), np.eye(3)
    R = _tilt(roll, pitch)
    middle = np.array([*room.centre, top])
    return middle + R @ np.array([x - room.centre[0], y - room.centre[1], height]), R


@lru_cache(8)
def _tilt(roll: float, pitch: float) -> Array:
    turned = rotvec_to_matrix(np.array([0.0, pitch, 0.0])) @ rotvec_to_matrix(np.array([roll, 0.0, 0.0]))
    turned.setflags(write=False)
    return turned


def lamp(params: WorldParams) -> tuple[Colour, Colour, Colour, tuple[float, float, float], tuple[float, float, float]]:
    """Ambient and diffuse colour of the light all around, diffuse colour, place [m] and direction of the lamp."""
    warm = np.array(kelvin(params["temperature"]))
    level = params["light"] ** 0.5
    x = params["light_x"]
    ambient, around, direct = (tuple((share * warm * level).tolist()) for share in (0.28, 0.22, 0.5))
    return ambient, around, direct, (0.6, x, 1.6), (-0.1, -x * 0.5, -1.0)


def table_colours(params: WorldParams) -> tuple[Colour, Colour]:
    """The two colours of the table's pattern, alike without one."""
    one = colorsys.hsv_to_rgb(params["table_hue"] % 1.0, params["table_saturation"], params["table_value"])
    dim = 1.0 - 0.35 * params["table_pattern"]
    return one, (one[0] * dim, one[1] * dim, one[2] * dim)


def wall_colours(params: WorldParams) -> tuple[Colour, Colour, int]:
    """The two colours of the walls, and their squares."""
    b = params["background"]
    wall = colorsys.hsv_to_rgb((0.58 + 3.1 * b) % 1.0, 0.12 + 0.4 * b, 0.72)
    other = colorsys.hsv_to_rgb((0.3 + 7.7 * b) % 1.0, 0.3, 0.72 - 0.5 * b)
    return wall, other, 2 + int(6 * b)


def line_colour(params: WorldParams) -> tuple[float, float, float, float]:
    r, g, b = table_colours(params)[0]
    return (r * 0.45, g * 0.45, b * 0.45, 1.0)


def paint(colour: str, params: WorldParams) -> tuple[float, float, float, float]:
    """RGBA of a thing."""
    h, s, v = COLOURS[colour]
    return (*colorsys.hsv_to_rgb((h + params["object_hue"]) % 1.0, s, min(1.0, v * params["object_value"])), 1.0)


def kelvin(temperature: float) -> Colour:
    """RGB of a black body, green = 1 at daylight. Piecewise-linear through tabulated points of the Planckian locus."""
    t = [3000, 4000, 5500, 6500, 8000]
    r, g, b = [1.12, 1.08, 1.0, 0.97, 0.92], [0.9, 0.97, 1.0, 1.0, 0.99], [0.6, 0.8, 1.0, 1.06, 1.14]
    return tuple(float(np.interp(temperature, t, c)) for c in (r, g, b))  # type: ignore[return-value]


def camera_pose(mount: Mount, camera: Camera, params: WorldParams) -> tuple[Array, Array, float]:
    """Position [3] [m], quaternion wxyz and vertical field of view [deg] of a camera: as it is mounted on the robot; one that
    stands beside the robot is moved and turned by the parameters, and has a field of view of its own."""
    if mount.link:
        return np.array(mount.pos), matrix_to_quat(mount.rotation), camera.fov
    eye = np.array(mount.pos) + [params["camera_x"], params["camera_y"], params["camera_z"]]
    pitch, yaw, roll = (np.deg2rad(params[f"camera_{n}"]) for n in ("pitch", "yaw", "roll"))
    R = mount.rotation @ rotvec_to_matrix(np.array([pitch, 0, 0])) @ rotvec_to_matrix(np.array([0, yaw, 0]))
    if roll:
        R = R @ rotvec_to_matrix(np.array([0, 0, roll]))
    return eye, matrix_to_quat(R), params["fov"] + (camera.fov - SPACE["fov"].nominal)


def share(i: int) -> float:
    """Which share of a spread the i-th thing of a scene takes, -1 … 1."""
    return SPREAD[i % len(SPREAD)]


def item_pose(item: Item, i: int, room: Room, params: WorldParams) -> tuple[Array, Array]:
    """Position [3] [m] and rotation [3, 3] of the i-th thing as it is laid down."""
    x, y = item.x + params["object_x"], item.y + params["object_y"]
    height = 0.0 if item.kind.foot else item.rest_height * item_scale(i, params) + 0.0005
    pos, R = surface(room, params, x, y, height)
    if item.shape in DESTINATIONS:  # they stand straight
        return pos, R
    return pos, R @ rotvec_to_matrix(np.array([0.0, 0.0, item.yaw]))


def item_scale(i: int, params: WorldParams) -> float:
    """Size of the i-th thing over its size in plain simulation."""
    return params["object_scale"] * (1.0 + share(i) * params["size_spread"])


def item_mass(i: int, params: WorldParams) -> float:
    """Mass of the i-th thing over its mass in plain simulation."""
    return params["mass"] * (1.0 + share(i) * params["mass_spread"])


def sliding(params: WorldParams, i: int | None = None) -> float:
    """Sliding friction, of the i-th thing or of what is none. The rougher of two surfaces counts in MuJoCo, so that things are
    rougher than the ground where they differ, never smoother."""
    rougher = 0.0 if i is None else max(share(i), 0.0) * params["friction_spread"]
    return FRICTION * params["friction"] * (1.0 + rougher)


def contact(params: WorldParams) -> tuple[float, float]:
    """MuJoCo's time constant [s] and damping ratio ζ of contacts. A mass that meets a damped spring and leaves it as soon as that
    would pull keeps e = exp(-2 ζ / √(1 - ζ²) · atan(√(1 - ζ²) / ζ)) of its speed (Nagurka and Huang 2004), exp(-2) at ζ = 1,
    which is as dead as contacts get here."""
    e = params["restitution"]
    return SOLREF, 1.0 if e <= DEAD else float(np.interp(e, _KEPT, _ZETA))


_ZETA = np.linspace(0.9995, 0.02, 400)
_KEPT = np.exp(-2 * _ZETA / np.sqrt(1 - _ZETA**2) * np.arctan(np.sqrt(1 - _ZETA**2) / _ZETA))
