"""What far and other realities consist of: causes outside the ranges, and effects, with their sizes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from palmar.embodiments import Embodiment
from palmar.sim import faults
from palmar.sim.effects import Fault
from palmar.sim.space import ZEROS

FAR: dict[str, dict[str, tuple[float, float]]] = {
    "calibration": {
        **{f"zero_{i}": (1.0, 2.0) for i in range(1, ZEROS + 1)},
        "camera_x": (0.03, 0.05), "camera_y": (0.03, 0.05), "camera_z": (0.02, 0.04), "camera_pitch": (6.0, 8.0),
        "camera_yaw": (6.0, 9.0), "camera_roll": (6.0, 9.0),
    },
    "optics": {
        "lens_k1": (0.15, 0.25), "lens_k2": (0.03, 0.05), "vignetting": (0.4, 0.7), "exposure": (0.8, 1.2),
        "white_balance": (0.2, 0.35), "rolling_shutter": (0.025, 0.035), "image_noise": (0.04, 0.07),
    },
    "timing": {
        "action_delay": (3.6, 6.4), "action_jitter": (1.2, 2.0), "image_latency": (3.0, 4.4), "image_jitter": (1.2, 2.0),
        "frame_drop": (0.15, 0.3),
    },
    "joints": {
        "backlash": (0.4, 1.0), "joint_friction": (0.025, 0.04), "stribeck": (0.015, 0.03), "servo_strength": (0.35, 0.5),
        "servo_lag": (0.035, 0.06), "rate_limit": (0.45, 0.55), "gain": (0.25, 0.4), "grip_strength": (0.35, 0.45),
    },
    "things": {
        "object_scale": (0.12, 0.18), "size_spread": (0.055, 0.09), "mass": (0.3, 0.6), "mass_spread": (0.2, 0.35),
        "friction": (0.52, 0.6), "table_roll": (0.6, 1.0), "table_pitch": (0.6, 1.0), "table_height": (0.011, 0.015),
        "grip_strength": (0.35, 0.45),
    },
    "surroundings": {
        "light": (2.5, 4.0), "people": (0.35, 0.6), "clutter": (6.0, 8.0), "shadow": (0.5, 0.7), "object_value": (0.2, 0.35),
        "object_hue": (0.035, 0.05), "table_saturation": (0.25, 0.6), "table_value": (0.4, 0.5), "contrast": (0.25, 0.4),
    },
}  # fmt: skip
"""Causes of far realities: how far each parameter is from nominal, all of it outside its range or at its end."""
CAUSES = 2
"""Of the causes, a far reality has so many; all else is as near."""

FAULTS: dict[str, tuple[Callable[[Embodiment, np.random.Generator, float], Fault], float, float]] = {
    "eccentric gears": (faults.Eccentric, 1.2, 2.0),
    "dead band": (faults.DeadBand, 0.6, 1.2),
    "lost commands": (faults.Lost, 0.15, 0.35),
    "late positions": (faults.Late, 4.0, 8.0),
    "drifting encoders": (faults.Drift, 3.0, 5.0),
    "slipping mount": (faults.Sagging, 0.06, 0.12),
    "hunting exposure": (faults.Hunting, 0.8, 1.4),
    "frozen camera": (faults.Frozen, 0.4, 0.9),
    "glare": (faults.Glare, 0.35, 0.55),
    "dirt": (faults.Dirt, 0.6, 0.9),
    "compression": (faults.Compression, 0.6, 0.9),
    "somebody": (faults.Somebody, 0.25, 0.4),
}
"""Effects of other realities with the least and the largest size of each."""
SEVERAL = 4
"""Of these effects, another reality has so many, beside pads that are worn and a table that the simulator cannot make."""
