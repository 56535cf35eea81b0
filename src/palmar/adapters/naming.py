"""Names and units that published checkpoints leave unsaid, by one rule for all adapters, and what an answer must hold.

The rule: a number without a name in the files is `state0`, `state1`, … or `action0`, `action1`, … in the files' order, its
unit not known. Seven actions of a data set of Open X-Embodiment are end-effector steps as its loaders standardise them
(`STEPS`); their units are known for the data sets of `UNITS_OF`. A person joins such names to a robot's by
`Mapping.between(..., names={"state0": "shoulder_pan.pos"})` or `palmar run --names state0=shoulder_pan.pos`.
"""

from __future__ import annotations

from palmar.mapping import Interface
from palmar.types import Array

STEPS = ("dx", "dy", "dz", "drx", "dry", "drz", "gripper")
METRES = ("m", "m", "m", "rad", "rad", "rad", "opening")
SHARES = ("1",) * 6 + ("opening",)  # of the largest step that the simulator's controller makes
UNITS_OF = {
    "bridge_orig": METRES, "bridge_dataset": METRES, "fractal20220817_data": METRES,
    "libero_spatial": SHARES, "libero_object": SHARES, "libero_goal": SHARES, "libero_10": SHARES,
}  # fmt: skip
"""Units of `STEPS` by data set. Gripper: 1 is open, 0 closed. Source: `oxe/configs.py` and `oxe/transforms.py` of
github.com/openvla/openvla (octo has the same), and LIBERO's OSC_POSE controller, whose input is -1 … 1."""
TRAINED_AS = "_no_noops"  # ending of a LIBERO set without its idle frames


def numbered(what: str, count: int) -> tuple[str, ...]:
    """("state0", "state1", …)."""
    return tuple(f"{what}{i}" for i in range(count))


def steps(count: int, dataset: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(names, units) of the actions of a data set of Open X-Embodiment; units empty where they are not known."""
    if count != len(STEPS):
        return numbered("action", count), ()
    return STEPS, UNITS_OF.get(dataset.removesuffix(TRAINED_AS), ())


def misfit(actions: Array, interface: Interface) -> str:
    """In which way an answer [T, A] is not what the interface says, in words; "" for one with its width and its horizon or
    more."""
    wanted = [interface.horizon, len(interface.action_names)]
    if actions.ndim != 2 or len(actions) < wanted[0] or actions.shape[1] != wanted[1]:
        return f"actions of shape {list(actions.shape)}; expected [{wanted[0]} or more, {wanted[1]}]"
    return ""
