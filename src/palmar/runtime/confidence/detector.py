"""A small learned detector of failure over signals, as a value and one JSON file.

    signals → forms over time → normal deviations → weighted sum, and half of its largest so far → conformal band → confidence

It holds no task: everything is compared with successes at the same step. `fit` needs seconds; a step needs microseconds.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from palmar.errors import BadFile, BadValue, brief, regular_file
from palmar.files import write_text
from palmar.runtime.confidence.conformal import Band
from palmar.runtime.confidence.distance import Gaussian
from palmar.runtime.confidence.evidence import FORMS, Running, Usual, forms
from palmar.runtime.confidence.learn import Rollouts, weights
from palmar.types import Array

FORMAT = "palmar failure detector 4"
KEPT = 0.5
"""Weight of the largest score so far beside the present one: what has gone wrong once is not forgotten."""
FITTED = 0.6
"""Share of the successes that fit the detector; the others give the threshold."""


@dataclass(frozen=True)
class Detector:
    """names: the signals, K. floor: float64[K], see `Running`. usual: of their forms, M = len(FORMS)·K, in successes.
    weights: float64[M]. band: None before calibration. familiar: of the features of training, where `distance` is a signal. policy:
    fingerprint of the policy it was fitted to; "" when nobody said. every: seconds between two of its chunks, which the
    signals compare one by one; 0 when nobody said."""

    names: tuple[str, ...]
    floor: Array
    usual: Usual
    weights: Array
    band: Band | None = None
    familiar: Gaussian | None = None
    policy: str = ""
    every: float = 0.0

    @classmethod
    def fit(
        cls, rollouts: Rollouts, seed: int = 0, share: float = FITTED, k: int = 3, n: int = 5, familiar: Gaussian | None = None,
        policy: str = "", every: float = 0.0,
    ) -> Detector:  # fmt: skip
        """From episodes with known ends: all failures and a share of the successes fit it, the rest calibrate it. familiar: which
        the signal `distance` of the episodes was computed with. policy: its fingerprint (`models.checkpoint.fingerprint`).
        every: see the class.

        Raises `BadValue` without a failure, or with fewer than 10 successes (no rate of false alarms can be promised then).
        """
        good = np.flatnonzero(~rollouts.failed)
        if len(good) < 10:
            raise BadValue(f"{len(good)} successes; expected 10 or more. Next: collect more successful episodes")
        good = np.random.default_rng(seed).permutation(good)
        cut = min(max(round(share * len(good)), 1), len(good) - 1)
        own = rollouts.take(np.sort(np.concatenate([np.flatnonzero(rollouts.failed), good[:cut]])))
        made = cls.learned(own, seed).calibrated(own.successes(), rollouts.take(np.sort(good[cut:])), k, n)
        return replace(made, familiar=familiar, policy=policy, every=every)

    @classmethod
    def learned(cls, rollouts: Rollouts, seed: int = 0) -> Detector:
        """Weights only, from all episodes given."""
        floor = floors(rollouts)
        shaped = forms(rollouts.values, floor)
        usual = Usual.fit(shaped[~rollouts.failed], rollouts.lengths[~rollouts.failed])
        return cls(rollouts.names, floor, usual, weights(usual.normal_all(shaped), rollouts, seed))

    def calibrated(self, shape: Rollouts, calibration: Rollouts, k: int = 3, n: int = 5) -> Detector:
        """With a band from successes: `shape` may have been fitted on, `calibration` may not."""
        band = Band.fit(self.scores(shape), shape.lengths, self.scores(calibration), calibration.lengths, k, n)
        return replace(self, band=band)

    def scores(self, rollouts: Rollouts) -> Array:
        """float64[N, T]: higher is worse; each from what had been seen by then. After an episode's end meaningless."""
        if rollouts.names != self.names:
            raise BadValue(f"signals {rollouts.names}; expected {self.names}. Next: those of the fit, in its order")
        now = self.usual.normal_all(forms(rollouts.values, self.floor)) @ self.weights
        return now + KEPT * np.maximum.accumulate(now, axis=1)

    def check_policy(self, fingerprint: str, called: str) -> None:
        """Raise `BadValue` for another policy than it was fitted to: its thresholds promise nothing there. Where one of the two
        has no fingerprint, nothing can be compared."""
        if self.policy and fingerprint and self.policy != fingerprint:
            raise BadValue(
                f"the detector was fitted to another policy (fingerprint {self.policy}) than '{called}' ({fingerprint}). "
                f"Next: palmar detect {called} --out FILE, which fits one to it"
            )

    def check_every(self, every: float) -> None:
        """Raise `BadValue` where the policy is asked more or less often than in the episodes it was fitted to: after as many chunks
        another time has passed. every: seconds between two questions."""
        if self.every and abs(every - self.every) > 0.01 * self.every:
            raise BadValue(
                f"the policy is asked every {every:g} s; the detector was fitted to chunks {self.every:g} s apart. Next: "
                f"an --execute that makes it {self.every:g} s, or palmar detect with this one"
            )

    def watch(self) -> Watch:
        """For one episode, chunk by chunk. Raises `BadValue` before calibration."""
        return Watch(self)

    def save(self, path: str | Path) -> None:
        """One JSON file, replaced at once."""
        band = self.band
        about = {
            "format": FORMAT, "signals": list(self.names), "forms": list(FORMS), "floor": self.floor.tolist(),
            "mean": self.usual.mean.tolist(), "std": self.usual.std.tolist(), "weights": self.weights.tolist(),
            "band": None if band is None else {
                "centre": band.centre.tolist(), "width": band.width.tolist(),
                "worst": [None if np.isneginf(x) else float(x) for x in band.worst], "k": band.k, "n": band.n,
            },
            "familiar": None if self.familiar is None else self.familiar.to_dict(), "policy": self.policy,
            "every": self.every,
        }  # fmt: skip
        write_text(path, json.dumps(about))

    @classmethod
    def load(cls, path: str | Path) -> Detector:
        """Raises `BadFile` for a file that is missing, damaged or of another format."""
        try:
            a = json.loads(regular_file(path).read_text())
            if a["format"] != FORMAT or tuple(a["forms"]) != FORMS:
                raise ValueError(f"format {a['format']!r} with forms {a['forms']}")
            b, usual = a["band"], Usual(np.array(a["mean"]), np.array(a["std"]))
            band = None if b is None else _band(b)
            familiar = None if a["familiar"] is None else Gaussian.from_dict(a["familiar"])
            names = tuple(map(str, a["signals"]))
            policy, every = str(a["policy"]), float(a["every"])
            found = cls(names, np.array(a["floor"]), usual, np.array(a["weights"]), band, familiar, policy, every)
            width = len(FORMS) * len(found.names)
            shapes = (found.weights.shape, usual.mean.shape[1:], usual.std.shape[1:])
            if shapes != ((width,),) * 3 or len(usual.mean) != len(usual.std) or not len(usual.mean):
                raise ValueError(f"arrays of shapes {shapes} for {len(found.names)} signals")
            numbers = [found.floor, found.weights, usual.mean, usual.std]
            if not all(np.isfinite(x).all() for x in numbers) or found.floor.shape != (len(found.names),):
                raise ValueError("numbers that are not finite, or a floor of another length")
            if not 0 <= every < np.inf:
                raise ValueError(f"chunks {every} s apart")
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise BadFile(
                f"'{path}' is no detector ({brief(error)}); expected '{FORMAT}'. Next: fit it again and save it"
            ) from error
        return found


class Watch:
    """One episode as it goes. score, residual and confidence are of the chunks so far; confidence 1 before the first."""

    def __init__(self, detector: Detector) -> None:
        if detector.band is None:
            raise BadValue(
                "the detector has no band; expected a calibrated one. Next: Detector.fit, or calibrated(...)"
            )
        self.detector, self.band = detector, detector.band
        self._running = Running(detector.floor)
        self.reset()

    def reset(self) -> None:
        self._running.reset()
        self._step, self._largest, self._recent = 0, -np.inf, [-np.inf] * self.band.n
        self.score, self.residual, self.confidence = 0.0, -np.inf, 1.0

    def add(self, values: Array) -> float:
        """values: float[K], the signals of a new chunk. Returns the confidence 0 … 1 (`Band.confidence`)."""
        d = self.detector
        now = float(d.usual.normal(self._running.add(values), self._step) @ d.weights)
        self._largest = max(self._largest, now)
        self.score = now + KEPT * self._largest
        self._recent = [*self._recent[1:], float(self.band.raw(np.array(self.score), self._step))]
        self.residual = sorted(self._recent)[-self.band.k]
        self.confidence = self.band.confidence(self.residual)
        self._step += 1
        return self.confidence


def _band(b: dict[str, Any]) -> Band:
    """From a file. Raises `ValueError` and its like when it is none."""
    worst = np.array([-np.inf if x is None else float(x) for x in b["worst"]])
    band = Band(np.array(b["centre"], float), np.array(b["width"], float), worst, int(b["k"]), int(b["n"]))
    fits = band.centre.ndim == 1 and band.centre.shape == band.width.shape and len(band.centre)
    if (
        not fits
        or not np.isfinite(band.centre).all()
        or not (band.width > 0).all()
        or not (np.sort(worst) == worst).all()
    ):
        raise ValueError("a band whose centre, width or worst residuals do not fit")
    return band


def floors(rollouts: Rollouts) -> Array:
    """float64[K] > 0: a twentieth of each signal's mean, so that values near 0 do not rule its logarithm."""
    inside = np.arange(rollouts.values.shape[1]) < rollouts.lengths[:, None]
    x = np.where(inside[..., None], rollouts.values, np.nan)
    with np.errstate(invalid="ignore"):
        known = np.isfinite(x)
        mean = np.where(known, np.abs(x), 0.0).sum((0, 1)) / np.maximum(known.sum((0, 1)), 1)
    return 0.05 * mean + 1e-12
