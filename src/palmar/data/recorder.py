"""A rollout becomes an Episode. With a labeler, every step also holds what an expert would do: DAgger, noisy demos."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from palmar.policy import Policy
from palmar.runtime.loop import Body, Subscriber, Tick
from palmar.types import Array, Episode, Observation, Step


class EpisodeRecorder(Subscriber):
    """Collects the steps of one rollout; `on_start` forgets the last.

    labeler: asked at every step, its first action is the label (`Step.action`); `Step.executed` is what was done.
    Without one both are the executed action. done: asked at every step whether the instruction is fulfilled by now.
    Pictures are copied: bodies may draw into the same buffer again. A step during which a chunk of a person runs is an
    intervention (`Step.intervention`). One that begins while the guards hold the robot (`Tick.held`) is recorded as what was done,
    to stay, and is nobody's.
    """

    wants_frames = True

    def __init__(self, labeler: Policy | None = None, done: Callable[[], bool] | None = None) -> None:
        self.labeler, self.done = labeler, done
        self.steps: list[Step] = []
        self.reason, self._new = "", False

    def on_start(self, obs: Observation, body: Body) -> None:
        self.steps, self.reason, self._new = [], "", False
        if self.labeler is not None:
            self.labeler.reset()

    def on_frame(self, obs: Observation, action: Array) -> None:
        kept = replace(obs, images={cam: image.copy() for cam, image in obs.images.items()}, state=obs.state.copy())
        label = action if self.labeler is None else self.labeler.act(obs).actions[0]
        self.steps.append(Step(kept, label.copy(), action.copy(), self.done is not None and self.done()))
        self._new = True

    def on_tick(self, tick: Tick) -> None:
        if self._new and tick.held is not None:
            own = self.steps[-1].action if self.labeler is not None else tick.held
            self.steps[-1] = replace(self.steps[-1], action=own, executed=tick.held)
        elif self._new and tick.chunk is not None and tick.chunk.intervention:
            self.steps[-1] = replace(self.steps[-1], intervention=True)
        self._new = False

    def on_end(self, reason: str) -> None:
        self.reason = reason

    def episode(
        self,
        task: str,
        seed: int,
        source: str,
        success: bool = False,
        reason: str = "",
        duration: float = 0.0,
        metrics: dict[str, float] | None = None,
    ) -> Episode:
        """What was recorded since the last start. reason: as the loop said when not given; duration [s]."""
        text = self.steps[0].observation.instruction if self.steps else ""
        return Episode(
            text, task, seed, source, list(self.steps), success, reason or self.reason, duration, dict(metrics or {})
        )
