"""A policy made to fit a robot: by its action space where that is enough, by a mapping of names, units and pictures else."""

from __future__ import annotations

from collections.abc import Mapping as Dictionary
from dataclasses import dataclass

from palmar.choices import FIT, Fit
from palmar.embodiments import Embodiment
from palmar.errors import BadValue
from palmar.mapping import Interface, MappedPolicy, Mapping
from palmar.policy import Policy
from palmar.robot_parts import Channel


@dataclass(frozen=True)
class Fitted:
    """robot: in the action space of the policy. policy: behind a mapping where the two differ. notes: what the
    mapping leaves out or could not compare, in words."""

    robot: Embodiment
    policy: Policy
    notes: tuple[str, ...] = ()


def fitted(
    policy: Policy,
    robot: Embodiment,
    names: Dictionary[str, str] | None = None,
    cameras: Dictionary[str, str] | None = None,
    held: Dictionary[str, float] | None = None,
    how: Fit = FIT,
    called: str = "",
) -> Fitted:
    """names, cameras: {of the policy: of the robot} where they are called differently; names of joints in the robot's
    description (`Channel.joint`) need not be given. held: {action of the robot that the policy lacks: its value}. how:
    pictures of another size are made to fit. called: the policy, in messages.

    Raises `BadValue` or `UnknownName` with the first name, unit or rate that does not fit.
    """
    theirs = policy.interface
    spaces = dict.fromkeys((robot.action_space, *robot.action_spaces))
    if any(r.action_names == theirs.action_names for r in map(robot.with_action_space, spaces)):
        robot = robot.fitting(theirs.action_names)
        spaces = dict.fromkeys((robot.action_space,))
    first: BadValue | None = None
    for space in spaces:
        candidate = robot.with_action_space(space)
        ours = candidate.interface(theirs.horizon)
        given = by_joint(candidate, theirs) | dict(names or {})
        spans = {n: c.span for n, c in _channels(candidate, theirs, given).items() if c.span is not None}
        try:
            mapping = Mapping.between(ours, theirs, given, cameras, how, held, spans)
        except BadValue as error:
            first = first or error
            continue
        if mapping.identity:
            return Fitted(candidate, policy)
        notes = (
            [f"unit not stated on one side, taken as it is: {', '.join(mapping.unchecked)}"]
            if mapping.unchecked
            else []
        )
        if mapping.dropped:
            notes.append(f"the policy does not use: {', '.join(mapping.dropped)}")
        return Fitted(candidate, MappedPolicy(policy, mapping), tuple(notes))
    assert first is not None
    who = f"the policy '{called}'" if called else "the policy"
    raise BadValue(f"{who} does not fit {robot.name}: {first}") from first


def check_fits(interface: Interface, robot: Embodiment, execute: int = 1) -> None:
    """Raise `BadValue` naming the first thing in which a policy and a robot do not mean the same by their numbers: names,
    units, cameras, rate, or a chunk shorter than the part of it that is carried out."""
    ours = robot.interface(interface.horizon)
    for what in ("action_names", "state_names"):
        theirs, mine = getattr(interface, what), getattr(ours, what)
        if tuple(theirs) != tuple(mine):
            raise BadValue(
                f"the policy's {what} are {', '.join(theirs)}; {robot.name} has {', '.join(mine)}. "
                "Next: a policy trained for this robot and action space"
            )
    for what, names in (("state", ours.state_names), ("action", ours.action_names)):
        for i, name in enumerate(names):
            a, b = interface.unit(what, i), ours.unit(what, i)  # type: ignore[arg-type]
            if a and b and a != b:
                raise BadValue(
                    f"the policy's {what} '{name}' is in '{a}'; {robot.name}'s is in '{b}'. Next: a robot file with the "
                    "policy's unit, or a mapping (palmar.mapping.Mapping)"
                )
    for camera in interface.cameras:
        if camera not in ours.cameras:
            raise BadValue(
                f"the policy looks through camera '{camera}'; {robot.name} has {', '.join(ours.cameras) or 'none'}. "
                "Next: name the camera alike in the robot file"
            )
    if abs(interface.dt * robot.policy_rate - 1) > 0.01:
        raise BadValue(
            f"an action of the policy lasts {interface.dt:g} s ({1 / interface.dt:g} Hz); {robot.name} takes "
            f"{robot.policy_rate:g} actions a second. Next: policy_rate = {1 / interface.dt:g} in the robot file"
        )
    check_execute(interface, execute)


def check_execute(interface: Interface, execute: int) -> None:
    """Raise `BadValue` when more actions are to be carried out than a chunk has."""
    if execute > interface.horizon:
        raise BadValue(
            f"execute is {execute}, the policy answers {interface.horizon} actions at once: the robot would stand still for "
            f"the rest. Next: --execute {interface.horizon} or less"
        )


def by_joint(robot: Embodiment, policy: Interface) -> dict[str, str]:
    """{name of the policy: name of the robot} of channels that the policy calls as the robot's description calls the joint."""
    wanted = (*policy.action_names, *policy.state_names)
    found = {}
    for c in robot.channels:
        for end in ("", ".pos", ".vel"):
            ours = (*robot.action_names, *robot.state_names)
            known = c.joint + end not in ours and c.name + end in ours
            if c.joint and c.joint != c.name and known and c.joint + end in wanted and c.name + end not in wanted:
                found[c.joint + end] = c.name + end
    return found


def _channels(robot: Embodiment, policy: Interface, names: Dictionary[str, str]) -> dict[str, Channel]:
    """{name of the policy: the channel of the robot that it is about}."""
    about = {c.name: c for c in robot.channels}
    about |= {m.name: about[m.of] for m in robot.state if m.quantity == "position"}
    wanted = (*policy.action_names, *policy.state_names)
    return {n: about[names.get(n, n)] for n in wanted if names.get(n, n) in about}
