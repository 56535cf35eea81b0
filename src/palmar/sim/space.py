"""The rows of the parameter space: everything that may differ between simulation and reality, with its range and its source.

A new parameter is a row here and the place that reads it: `scenes.py` and `edits.py` (the model), `delays.py` (commands and
pictures in time), `actuators.py` (joints), `lens.py` (what a camera makes of light). No row changes what is drawn for another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Group = Literal["visual", "dynamics", "sensor", "geometric", "task"]
GROUPS: tuple[Group, ...] = ("visual", "dynamics", "sensor", "geometric", "task")
ZEROS = 14
"""Joints that have a zero offset of their own, counted along the channels that turn joints: as many as the robot of palmar with
the most has. Joints beyond have none."""


@dataclass(frozen=True)
class Param:
    """One parameter: what it is in plain simulation, the range reality may lie in, and the bounds beyond which it means
    nothing (a damping below 0 makes energy). source: of the range: specification §4.2, a data sheet, or a publication."""

    name: str
    group: Group
    nominal: float
    low: float
    high: float
    unit: str
    meaning: str
    least: float
    most: float
    source: str


SPEC = "specification §4.2"
CHOSEN = "chosen: the pictures stay recognisable"
CELLS = "chosen: what a cell that nobody calibrated may show; worse ones are the far realities"
GAZ = "Gaz et al. 2019, Panda: Coulomb friction 0.3 … 1.3 N·m of joints of 12 … 87 N·m"
WEBCAM = "data sheets of webcams: 30 or 60 pictures a second, 0 … 2 ticks from shutter to program"
MACHINE = "DIN ISO 2768-m and a machinist's level: 0.5° of a table that nobody levelled"
SHUTTER = "data sheets of CMOS sensors: 10 … 33 ms to read out a picture"

DEAD = 0.13533528323661270  # exp(-2): what a critically damped contact keeps, MuJoCo's own

SPACE: dict[str, Param] = {
    p.name: p
    for p in (
        Param("light", "visual", 1.0, 0.3, 3.0, "×", "light intensity", 0, 20, SPEC),
        Param("light_x", "visual", 0.0, -0.6, 0.6, "m", "where the lamp hangs, sideways", -5, 5, CHOSEN),
        Param("temperature", "visual", 5500.0, 3000.0, 8000.0, "K", "colour temperature of the light", 300, 40000, SPEC),
        Param("shadow", "visual", 0.0, 0.0, 0.4, "of 1", "depth of the shadows of things on the ground", 0, 1, SPEC),
        Param("shadow_softness", "visual", 0.5, 0.0, 1.0, "radii", "half-shadow around a shadow", 0, 3, SPEC),
        Param("people", "visual", 0.0, 0.0, 0.2, "of 1", "depth of a person's shadow that walks over it", 0, 1, CHOSEN),
        Param("camera_x", "visual", 0.0, -0.02, 0.02, "m", "front camera, towards the robot", -1, 1, SPEC),
        Param("camera_y", "visual", 0.0, -0.02, 0.02, "m", "front camera, sideways", -1, 1, SPEC),
        Param("camera_z", "visual", 0.0, -0.02, 0.02, "m", "front camera, height", -1, 1, SPEC),
        Param("camera_pitch", "visual", 0.0, -5.0, 5.0, "deg", "front camera, up and down", -90, 90, SPEC),
        Param("camera_yaw", "visual", 0.0, -5.0, 5.0, "deg", "front camera, left and right", -90, 90, SPEC),
        Param("camera_roll", "visual", 0.0, -5.0, 5.0, "deg", "front camera, about its axis", -90, 90, SPEC),
        Param("fov", "visual", 60.0, 55.0, 75.0, "deg", "front camera, vertical field of view", 5, 150, SPEC),
        Param("lens_k1", "visual", 0.0, -0.08, 0.08, "", "radial distortion of every camera, r²", -0.5, 1, WEBCAM),
        Param("lens_k2", "visual", 0.0, -0.02, 0.02, "", "radial distortion of every camera, r⁴", -0.2, 1, WEBCAM),
        Param("vignetting", "visual", 0.0, 0.0, 0.25, "of 1", "light that is lost in the corners", 0, 1, WEBCAM),
        Param("table_hue", "visual", 0.08, 0.0, 1.0, "turn", "table colour", -10, 10, SPEC),
        Param("table_saturation", "visual", 0.15, 0.0, 0.35, "", "table colour", 0, 1, SPEC),
        Param("table_value", "visual", 0.75, 0.35, 0.95, "", "table colour", 0, 1.5, SPEC),
        Param("table_pattern", "visual", 0.0, 0.0, 1.0, "", "strength of a pattern on the table", 0, 2.8, SPEC),
        Param("table_grain", "visual", 6.0, 3.0, 12.0, "squares", "fineness of the pattern on the table", 0.1, 60, CHOSEN),
        Param("background", "visual", 0.0, 0.0, 1.0, "", "which of the procedural walls stands behind it", 0, 10, SPEC),
        Param("clutter", "visual", 0.0, 0.0, 4.0, "things", "things that stand around the scene", 0, 8, CHOSEN),
        Param("object_hue", "visual", 0.0, -0.03, 0.03, "turn", "paint of the objects", -10, 10, SPEC),
        Param("object_value", "visual", 1.0, 0.8, 1.15, "×", "paint of the objects, brightness", 0, 3, SPEC),
        Param("brightness", "visual", 1.0, 0.7, 1.3, "×", "camera brightness", 0, 5, SPEC),
        Param("contrast", "visual", 1.0, 0.8, 1.2, "×", "camera contrast", 0, 5, SPEC),
        Param("hue", "visual", 0.0, -0.1, 0.1, "turn", "camera hue", -10, 10, SPEC),
        Param("exposure", "visual", 0.0, -0.5, 0.5, "stops", "light the camera takes in", -10, 10, WEBCAM),
        Param("white_balance", "visual", 0.0, -0.15, 0.15, "of 1", "too much red and too little blue", -0.9, 0.9, WEBCAM),
        Param("friction", "dynamics", 1.0, 0.5, 1.5, "×", "friction of objects, table and pads", 0, 10, SPEC),
        Param("friction_spread", "dynamics", 0.0, 0.0, 0.3, "×", "how much rougher the roughest object is", 0, 5, CELLS),
        Param("restitution", "dynamics", DEAD, DEAD, 0.3, "of 1", "speed kept in a bounce", 0, 0.9, CELLS),
        Param("mass", "dynamics", 1.0, 0.8, 1.2, "×", "mass of the objects", 0.001, 1000, SPEC),
        Param("mass_spread", "dynamics", 0.0, -0.15, 0.15, "×", "how much objects differ in mass", -0.9, 0.9, CELLS),
        Param("link_mass", "dynamics", 1.0, 0.8, 1.2, "×", "mass and inertia of the arm's links", 0.01, 100, SPEC),
        Param("damping", "dynamics", 1.0, 0.9, 1.1, "×", "joint damping", 0, 100, SPEC),
        Param("joint_friction", "dynamics", 0.0, 0.0, 0.02, "of force", "dry (Coulomb) friction of joints", 0, 1, GAZ),
        Param("stribeck", "dynamics", 0.0, 0.0, 0.01, "of force", "more friction of a joint at rest", 0, 1, GAZ),
        Param("backlash", "dynamics", 0.0, 0.0, 0.2, "deg", "play of the gears of turning joints", 0, 20, CELLS),
        Param("gain", "dynamics", 1.0, 0.8, 1.2, "×", "stiffness of the joint servos", 0.001, 100, SPEC),
        Param("servo_strength", "dynamics", 1.0, 0.7, 1.0, "×", "largest force of the joint servos", 0.01, 100, CELLS),
        Param("servo_lag", "dynamics", 0.0, 0.0, 0.03, "s", "time constant of the joint servos", 0, 2, CELLS),
        Param("rate_limit", "dynamics", 1.0, 0.6, 1.0, "×", "fastest the servos follow, of joint speed", 0.01, 10, CELLS),
        Param("grip_strength", "dynamics", 1.0, 0.7, 1.0, "×", "largest force of grippers", 0.01, 100, CELLS),
        Param("action_noise", "dynamics", 0.0, 0.0, 0.01, "rad", "standard deviation on joint commands", 0, 1, SPEC),
        Param("action_delay", "dynamics", 0.0, 0.0, 3.0, "ticks", "control ticks a command is late", 0, 100, SPEC),
        Param("action_jitter", "dynamics", 0.0, 0.0, 1.0, "ticks", "ticks a command may be later still", 0, 100, CELLS),
        Param("image_noise", "sensor", 0.0, 0.0, 0.02, "of 1", "standard deviation on pixels", 0, 1, SPEC),
        Param("depth_noise", "sensor", 0.0, 0.0, 0.005, "m", "standard deviation on depth", 0, 1, SPEC),
        Param("proprio_noise", "sensor", 0.0, 0.0, 0.01, "rad", "standard deviation on joint angles", 0, 1, SPEC),
        Param("image_latency", "sensor", 0.0, 0.0, 2.0, "ticks", "control ticks a picture is late", 0, 100, SPEC),
        Param("image_jitter", "sensor", 0.0, 0.0, 1.0, "ticks", "ticks a picture may be later still", 0, 100, WEBCAM),
        Param("frame_drop", "sensor", 0.0, 0.0, 0.1, "of 1", "share of pictures that are lost", 0, 0.99, WEBCAM),
        Param("rolling_shutter", "sensor", 0.0, 0.0, 0.02, "s", "from a picture's first row to its last", 0, 1, SHUTTER),
        Param("object_scale", "geometric", 1.0, 0.9, 1.1, "×", "size of the objects", 0.2, 5, SPEC),
        Param("size_spread", "geometric", 0.0, -0.05, 0.05, "×", "how much objects differ in size", -0.7, 0.7, CELLS),
        Param("object_x", "geometric", 0.0, -0.01, 0.01, "m", "things stand further away", -1, 1, SPEC),
        Param("object_y", "geometric", 0.0, -0.01, 0.01, "m", "things stand further left", -1, 1, SPEC),
        Param("table_height", "geometric", 0.0, -0.01, 0.01, "m", "table under the robot's idea of it", -0.5, 0.5, CELLS),
        Param("table_roll", "geometric", 0.0, -0.5, 0.5, "deg", "table tilted sideways, about x", -20, 20, MACHINE),
        Param("table_pitch", "geometric", 0.0, -0.5, 0.5, "deg", "table tilted away, about y", -20, 20, MACHINE),
        *(
            Param(f"zero_{i}", "geometric", 0.0, -0.5, 0.5, "deg", f"encoder of turning joint {i} reads too much", -45, 45,
                  CELLS)
            for i in range(1, ZEROS + 1)
        ),
        Param("hold", "task", 0.3, 0.2, 0.5, "s", "how long a task's test must have held", 0.02, 10, SPEC),
    )
}  # fmt: skip

# Ticks are those of the robot's control rate: at 50 Hz one tick is 20 ms.

LISTED = "docs/realities.md"
"""Where people find all rows: messages name it instead of the rows."""
SPREAD = (1.0, -1.0, 0.5, -0.5, 0.25, -0.25, 0.75, -0.75)
"""Which share of a spread each object of a scene takes, the object asked for first."""


def table() -> str:
    """The space as a Markdown table for docs/realities.md; the zero offsets, alike but for their number, in one row."""
    rows = ["| parameter | nominal | range | unit | what it is | range from |", "|---|---|---|---|---|---|"]
    for group in GROUPS:
        rows.append(f"| **{group}** | | | | | |")
        for p in SPACE.values():
            if p.group == group and not (p.name.startswith("zero_") and p.name != "zero_1"):
                name = f"`zero_1` … `zero_{ZEROS}`" if p.name == "zero_1" else f"`{p.name}`"
                meaning = p.meaning.replace("joint 1 reads", "joint 1, 2 … reads")
                rows.append(f"| {name} | {p.nominal:g} | {p.low:g} … {p.high:g} | {p.unit} | {meaning} | {p.source} |")
    return "\n".join(rows)
