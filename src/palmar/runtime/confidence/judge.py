"""From confidence to what to do: slow down, pause, ask, escalate. Values only; the controller carries them out.

    GO → (novel, or nearly an alarm) CAREFUL → (alarm) PAUSE → (alarm goes on) ASK → (asked too often) ESCALATE

`Controller.pause` is for PAUSE, `Controller.hold` for ASK, `Controller.handoff` for ESCALATE. An alarm already means k of the
last n chunks (`Band`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from palmar.errors import BadValue
from palmar.types import Reason


class Level(IntEnum):
    GO = 0
    CAREFUL = 1
    PAUSE = 2
    ASK = 3
    ESCALATE = 4


@dataclass(frozen=True)
class Advice:
    """level. speed: share of full speed to carry the chunk out at, 0 … 1. execute: actions to carry out before the policy is
    asked again. reason: None at GO."""

    level: Level
    speed: float
    execute: int
    reason: Reason | None = None


@dataclass(frozen=True)
class JudgeConfig:
    """When to do what. Confidence is a conformal p-value: alpha is the share of successes that ever raise an alarm."""

    alpha: float = 0.1
    """rate of false alarms on successes: confidence at or below it is an alarm"""
    careful: float = 0.3
    """confidence at or below it is carried out carefully"""
    pause: int = 3
    """chunks of alarm, counted from the first, after which a person is asked; until then the robot rests and looks again"""
    asks: int = 2
    """times a person is asked in an episode; the next alarm hands the robot over"""
    execute: int = 4
    """actions of a chunk that are carried out at full confidence"""
    slow: float = 0.5
    """share of full speed in the careful mode"""

    def __post_init__(self) -> None:
        if not 0 < self.alpha <= self.careful <= 1:
            raise BadValue(
                f"alpha {self.alpha}, careful {self.careful}; expected 0 < alpha ≤ careful ≤ 1. Next: 0.1 and 0.3"
            )
        if self.pause < 1 or self.asks < 0 or self.execute < 1 or not 0 < self.slow <= 1:
            raise BadValue(
                f"{self}; expected pause ≥ 1, asks ≥ 0, execute ≥ 1, slow in (0, 1]. Next: mend the one outside"
            )


class Judge:
    """Advice for each chunk of an episode. `answered` when a person has looked and lets it go on."""

    def __init__(self, config: JudgeConfig | None = None) -> None:
        self.config = config or JudgeConfig()
        self.reset()

    def reset(self) -> None:
        """A new episode."""
        self._alarms, self._asked, self._level = 0, 0, Level.GO

    def answered(self) -> None:
        """Go on after ASK. ESCALATE stays: only `reset` leads out of it."""
        if self._level is not Level.ESCALATE:
            self._alarms, self._level = 0, Level.GO

    def __call__(self, confidence: float | None, novel: bool = False) -> Advice:
        """confidence: 0 … 1 of the newest chunk, None when nobody says one. novel: the object or scene is not one of training.

        ASK and ESCALATE are latched. Raises `BadValue` for a confidence outside 0 … 1.
        """
        c = self.config
        if confidence is not None and not 0 <= confidence <= 1:
            raise BadValue(f"confidence is {confidence}; expected 0 … 1. Next: what `Confident` answers")
        if self._level < Level.ASK:
            alarm = confidence is not None and confidence <= c.alpha
            self._alarms = self._alarms + 1 if alarm else 0
            if self._alarms >= c.pause:
                self._level = Level.ASK if self._asked < c.asks else Level.ESCALATE
                self._asked += 1
            elif alarm:
                self._level = Level.PAUSE
            else:
                careful = novel or (confidence is not None and confidence <= c.careful)
                self._level = Level.CAREFUL if careful else Level.GO
        return self._advice(confidence, novel)

    def _advice(self, confidence: float | None, novel: bool) -> Advice:
        c, level = self.config, self._level
        if level is Level.GO:
            return Advice(level, 1.0, c.execute)
        value = float("nan") if confidence is None else confidence
        if level is Level.CAREFUL:
            reason = Reason("confidence", "confidence", value, c.careful, over=False)
            if novel:
                reason = Reason("confidence", over=None, note="novel object or scene")
            return Advice(level, c.slow, max(1, c.execute // 2), reason)
        note = {
            Level.PAUSE: "pause",
            Level.ASK: "ask a person",
            Level.ESCALATE: f"asked {self._asked - 1} times, hand over",
        }[level]
        return Advice(level, 0.0, 1, Reason("confidence", "confidence", value, c.alpha, over=False, note=note))
