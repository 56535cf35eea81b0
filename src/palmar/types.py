"""The nouns that travel through every room, and who drives a robot with them. They need only numpy and are
validated where they are made.

Axis legend used in every docstring: T steps of a chunk · A action width · S state width · H, W image height, width ·
P privileged width · N channels of a command · J joints on the path to a frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from palmar.errors import BadValue

if TYPE_CHECKING:
    from palmar.mapping import Interface

Array = np.ndarray


@dataclass(frozen=True, slots=True)
class Observation:
    """What a policy may look at.

    images: {camera: uint8[H, W, 3]} RGB; empty when nobody asked for a picture.
    state: float32[S], in the order and units of `Embodiment.state_names`.
    instruction: what the person asked for.
    time: capture time on the loop's clock [s].
    privileged: float32[P] simulator truth in the order of `sim.truth.names`, None on a real robot. Never an input
        of a deployed policy; it labels data for auxiliary losses and feeds teachers.
    """

    images: Mapping[str, Array]
    state: Array
    instruction: str = ""
    time: float = 0.0
    privileged: Array | None = None

    def __post_init__(self) -> None:
        for name, image in self.images.items():
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise BadValue(
                    f"image '{name}' is {image.dtype}{list(image.shape)}; expected uint8[H, W, 3] RGB. "
                    "Next: RGB pictures as uint8, height first"
                )
        if self.state.ndim != 1:
            raise BadValue(f"state has shape {list(self.state.shape)}; expected a vector [S]. Next: a flat array")


@dataclass(frozen=True, slots=True)
class ActionChunk:
    """T future actions: action i is meant for the time interval [t0 + i·dt, t0 + (i+1)·dt).

    actions: float32[T, A] in the units of the embodiment's action space (not normalised).
    dt: seconds an action lasts. t0: capture time of the observation it answers [s].
    confidence: how sure the policy is of these actions, 0 … 1 by its own measure, or None when it has no opinion.
    done: probability 0 … 1 that the instruction is already fulfilled, or None.
    attention: {name: float32[h, w]} where the policy looked, or None.
    spread: float32[T, A], standard deviation of each action in its own units, or None (`models.uncertainty`).
    execute: actions to carry out before the policy is asked again, ≥ 1; None for as many as the loop carries out of each chunk.
    intervention: made by a person, or an expert in their place, who took over from a policy.
    features: float32[D], what the policy made of what it saw before it chose the actions, to be compared with that of training
    (`runtime.confidence.distance`), or None.
    """

    actions: Array
    dt: float
    t0: float
    confidence: float | None = None
    done: float | None = None
    attention: Mapping[str, Array] | None = None
    spread: Array | None = None
    execute: int | None = None
    intervention: bool = False
    features: Array | None = None

    def __post_init__(self) -> None:
        if self.actions.ndim != 2 or len(self.actions) == 0:
            raise BadValue(
                f"actions has shape {list(self.actions.shape)}; expected [T, A] with T ≥ 1. "
                "Next: an array with a row for each step"
            )
        if self.spread is not None and self.spread.shape != self.actions.shape:
            raise BadValue(
                f"spread has shape {list(self.spread.shape)}; expected {list(self.actions.shape)}, one an action. "
                "Next: an array with a row for each step"
            )
        if self.execute is not None and self.execute < 1:
            raise BadValue(
                f"execute is {self.execute}; expected 1 or more. Next: None for as many as the loop carries out"
            )
        if not self.dt > 0:
            raise BadValue(f"dt is {self.dt}; expected seconds > 0. Next: the seconds an action lasts, such as 0.1")


@dataclass(frozen=True, slots=True)
class Prefix:
    """What the running chunk will do from the moment an observation was captured on (real-time chunking).

    actions: float32[n, A], n ≥ 1, the rest of the running chunk, in steps of the policy's dt. committed: the first so many of
    them run before the answer can be there, 0 … n.
    """

    actions: Array
    committed: int

    def __post_init__(self) -> None:
        if self.actions.ndim != 2 or len(self.actions) == 0:
            raise BadValue(
                f"prefix has shape {list(self.actions.shape)}; expected [n, A] with n ≥ 1. Next: None for no prefix"
            )
        if not 0 <= self.committed <= len(self.actions):
            raise BadValue(
                f"{self.committed} committed of {len(self.actions)} prefix actions; expected 0 … all. Next: a number of its rows"
            )


@runtime_checkable
class Policy(Protocol):
    """A scripted expert, a neural policy, a person with a joystick, or a wrapper around one of them.

    interface: what it takes and answers. That of one that serves any robot, such as a person or a script, is the robot's
    (`Embodiment.interface`).
    """

    @property
    def interface(self) -> Interface: ...

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        """The next T actions for what is seen now.

        prefix: the rest of the chunk that runs while this call computes (real-time chunking), None when the answer need not
        fit on to anything. A policy may ignore it.
        """
        ...

    def reset(self) -> None:
        """Forget the past: a new episode begins."""
        ...


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a guard changed a command or stopped the robot: a value, turned into words where a person reads it.

    guard: its name. quantity: what was looked at, such as a channel. value, bound: found and allowed, in `unit`.
    note: words for what numbers do not say. over: the value is above the bound (False: below it; None: neither).
    """

    guard: str
    quantity: str = ""
    value: float = float("nan")
    bound: float = float("nan")
    unit: str = ""
    over: bool | None = True
    note: str = ""

    def __str__(self) -> str:
        """Such as "velocity joint3 2.41 > 2.17 rad/s", with as many digits as tell both numbers apart."""
        words = [self.guard, self.quantity, self.note]
        if self.over is not None:
            pairs = ((f"{self.value:.{n}g}", f"{self.bound:.{n}g}") for n in range(4, 18))
            value, bound = next((p for p in pairs if p[0] != p[1]), (f"{self.value:.4g}", f"{self.bound:.4g}"))
            words += [value, ">" if self.over else "<", bound]
        words.append(self.unit if self.over is not None else "")
        return " ".join(w for w in words if w)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the safety layer made of one command.

    command: float64[N] of the robot's channels, in their units: always safe to send.
    reasons: of the guards that changed it; empty when it passed untouched.
    stop: the guard asks the controller to leave RUN (hold, and wait for a person).
    """

    command: Array
    reasons: tuple[Reason, ...] = ()
    stop: bool = False

    @property
    def fault(self) -> Reason:
        """Why it asks to stop: the first reason that is a guard's own. The controller only repeats what latched it before."""
        return next((r for r in self.reasons if r.guard != "controller"), Reason("a guard", over=None))


@dataclass(frozen=True, slots=True)
class Step:
    """One policy step as recorded: what was seen, and the action that should follow it.

    action: float32[A], the label (an expert's, when one is watching). executed: float32[A], what was really asked for.
    done: the instruction was already fulfilled when this was seen. intervention: a person drove (`ActionChunk.intervention`).
    """

    observation: Observation
    action: Array
    executed: Array
    done: bool = False
    intervention: bool = False


STILL = "still"
"""Source of an episode that is only to look at: its actions mean nothing (`lab/stills.py`)."""


@dataclass(slots=True)
class Episode:
    """What happened from a reset to an end. `source` names who drove (expert, policy, human)."""

    instruction: str
    task: str
    seed: int
    source: str
    steps: Sequence[Step] = field(default_factory=list)
    success: bool = False
    reason: str = ""
    duration: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)
