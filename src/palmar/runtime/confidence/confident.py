"""A policy that says how sure it is: any policy, also one on another computer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from palmar.errors import BadValue
from palmar.runtime.confidence.detector import Detector
from palmar.runtime.confidence.distance import DISTANCE
from palmar.runtime.confidence.signals import SIGNALS, SPAN, signals
from palmar.types import ActionChunk, Array, Observation, Policy, Prefix

Extra = Callable[[Observation, ActionChunk], float]


class Speed:
    """How fast the body moved between the last two observations: a signal for `Confident(extra={"speed": Speed()})`.

    Mean over channels of the state's change [units/s]; NaN for the first observation of an episode.
    """

    def __init__(self) -> None:
        self._last: Observation | None = None

    def reset(self) -> None:
        self._last = None

    def __call__(self, obs: Observation, chunk: ActionChunk) -> float:
        last, self._last = self._last, obs
        if last is None or obs.time <= last.time or last.state.shape != obs.state.shape or not obs.state.size:
            return float("nan")
        return float(np.abs(obs.state - last.state).mean() / (obs.time - last.time))


class Confident:
    """The inner policy, whose chunks carry the detector's confidence: the share of successful episodes that ever looked as bad
    (`Band.confidence`). It needs the chunks alone, so the inner policy may be remote; its own confidence, if it says one,
    is the signal `doubt`.

    extra: {name: value of an observation and its chunk} for signals that are not of `SIGNALS`; one with a `reset` is reset with
    the policy. The signal `distance` needs a policy that gives features, and a detector that holds those of training.
    Raises `BadValue` for a detector without a band, or one whose signals nobody computes.
    """

    def __init__(self, inner: Policy, detector: Detector, extra: Mapping[str, Extra] | None = None) -> None:
        self.inner, self.detector, self.extra = inner, detector, dict(extra or {})
        self.interface = inner.interface
        known = (*SIGNALS, *self.extra, *([] if detector.familiar is None else [DISTANCE]))
        missing = [n for n in detector.names if n not in known]
        if missing:
            raise BadValue(
                f"the detector was fitted on {', '.join(missing)}; computed are {', '.join(known)}. "
                "Next: give them as extra, or fit on others"
            )
        self.watch = detector.watch()
        self._history: list[ActionChunk] = []

    def reset(self) -> None:
        self.inner.reset()
        self.watch.reset()
        self._history = []
        for signal in self.extra.values():
            reset = getattr(signal, "reset", None)
            if reset is not None:
                reset()

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        """As the inner policy, with `confidence`. An answer that is not finite has confidence 0 and does not enter the history.

        Raises `BadValue` for an answer without features where the detector compares them."""
        chunk = self.inner.act(obs, prefix)
        if not np.isfinite(chunk.actions).all():
            return replace(chunk, confidence=0.0)
        if DISTANCE in self.detector.names and DISTANCE not in self.extra and chunk.features is None:
            raise BadValue(
                "the detector compares the policy's features, and the policy gives none. Next: a detector fitted to this "
                "policy (palmar detect)"
            )
        self._history = [*self._history, chunk][-SPAN:]
        return replace(chunk, confidence=self.watch.add(self.values(obs, chunk)))

    def values(self, obs: Observation, chunk: ActionChunk) -> Array:
        """float64[K]: the detector's signals of the newest chunk."""
        own = [n for n in self.detector.names if n not in self.extra]
        found = dict(zip(own, signals(self._history, own, self.detector.familiar), strict=True)) if own else {}
        found |= {n: self.extra[n](obs, chunk) for n in self.detector.names if n in self.extra}
        return np.array([found[n] for n in self.detector.names])
