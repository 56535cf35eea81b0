"""Instructions as plans: the skills that carry one out, in words. Labels for a model that plans, made without a person.

Skills are those of the language planner: move to, grasp, lift, place on, open gripper, close gripper, push.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

SKILLS: dict[str, tuple[str, ...]] = {
    "pick": ("move to {what}", "grasp {what}", "lift {what}"),
    "place": ("move to {what}", "grasp {what}", "move to {where}", "place on {where}", "open gripper"),
    "push": ("move to {what}", "close gripper", "push {what} {where}"),
    "pull": ("move to {what}", "grasp {what}", "pull {what}"),
    "open": ("move to {what}", "grasp {what}", "open {what}"),
    "close": ("move to {what}", "close {what}"),
    "reach": ("move to {what}",),
}
_VERBS = {
    "pick": "pick up lift grasp grab take raise get hold fetch",
    "place": "put place set drop lay deposit stack move bring",
    "push": "push slide shove sweep nudge",
    "pull": "pull drag",
    "open": "open",
    "close": "close shut",
    "reach": "reach go touch approach hover point",
}
_WHERE = re.compile(r"\s+(?:on(?:to)?(?: top of)?|in(?:to|side)?|to(?:wards?)?)\s+")
DONE = ("done",)


def plan_of(instruction: str) -> tuple[str, ...]:
    """ "put the red cube on the plate" → ("move to the red cube", "grasp the red cube", "move to the plate", …).

    An instruction whose verb is not known is one skill, in its own words.
    """
    text = " ".join(re.sub(r"[^\w\s]", " ", instruction.lower()).split())
    kinds = {verb: kind for kind, verbs in _VERBS.items() for verb in verbs.split()}
    words = text.split()
    at = next((i for i, w in enumerate(words) if w in kinds), None)
    if at is None or at + 1 == len(words):
        return (text,) if text else DONE
    kind = kinds[words[at]]
    rest = " ".join(words[at + 1 :]).removeprefix("up ").removeprefix("for ").removeprefix("to ").removeprefix("over ")
    what, *where = _WHERE.split(rest, maxsplit=1)
    if kind in ("pick", "reach") and where:
        kind = "place" if kind == "pick" else kind
    if kind == "place" and not where:
        kind = "pick"
    if kind == "push":
        way = re.fullmatch(r"(.+) (left|right|forwards?|backwards?|back|away)", rest)
        what, where = (way[1], [way[2]]) if way and not where else (what, [f"to {where[0]}"] if where else [])
    return tuple(s.format(what=what, where=where[0] if where else "").strip() for s in SKILLS[kind])


def remaining(plan: Sequence[str], holding: bool, done: bool) -> tuple[str, ...]:
    """What is left of a plan: nothing when done, and what comes after the grasp when something is held."""
    if done:
        return DONE
    grasped = next((i for i, step in enumerate(plan) if step.startswith(("grasp", "close gripper"))), None)
    return tuple(plan[grasped + 1 :] if holding and grasped is not None else plan) or DONE
