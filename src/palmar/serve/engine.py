"""Where a server's policy computes: one thread for all sessions, several that wait answered together where the policy can."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from palmar.errors import BadValue
from palmar.types import ActionChunk, Observation, Policy, Prefix


@dataclass(frozen=True)
class Answer:
    """seconds: of computing, shared by `together` sessions."""

    chunk: ActionChunk
    seconds: float
    together: int = 1


@dataclass
class _Job:
    policy: Policy
    observation: Observation
    prefix: Prefix | None
    reset: bool
    answer: Future[Answer] = field(default_factory=Future)

    def take(self) -> bool:
        """Whether somebody still waits for it; begins the episode that it asks to begin."""
        if not self.answer.set_running_or_notify_cancel():
            return False
        if self.reset:
            self.policy.reset()
        return True


class Engine:
    """Sessions of one policy, each with a memory of its own, computed on one thread.

    A policy that has `session` (`models.acting.NeuralPolicy`) serves any number of sessions. Any other is one session itself, and
    serves one client at a time. most: sessions that are answered with one pass through the network, where the policy is `together`.
    """

    def __init__(self, policy: Policy, most: int = 8) -> None:
        if most < 1:
            raise BadValue(f"most is {most}; expected 1 or more sessions a pass. Next: 8")
        self.policy, self.most = policy, most
        self.shares = hasattr(policy, "session")
        self._taken = False
        self._began: float | None = None
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="palmar-engine", daemon=True)
        self._thread.start()

    def open(self) -> Policy:
        """A session. Raises `BadValue` where the policy has none to give."""
        if self.shares:
            made: Policy = self.policy.session()  # type: ignore[attr-defined]
            return made
        if self._taken:
            raise BadValue("this policy has one memory, and a client uses it. Next: wait until that one is gone")
        self._taken = True
        return self.policy

    def release(self, session: Policy) -> None:
        """A session is over."""
        self._taken = self._taken and session is not self.policy

    @property
    def computing(self) -> float:
        """How long the pass that goes on has taken so far [s]; 0 when none does."""
        began = self._began
        return 0.0 if began is None else time.perf_counter() - began

    def ask(
        self, session: Policy, obs: Observation, prefix: Prefix | None = None, reset: bool = False
    ) -> Future[Answer]:
        """What the session answers, or what it raises. reset: it forgets its episode first."""
        job = _Job(session, obs, prefix, reset)
        self._jobs.put(job)
        return job.answer

    def close(self) -> None:
        """What was asked for before is computed first; waits for it 2 s."""
        self._jobs.put(None)
        self._thread.join(2.0)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            jobs, ended = [job], False
            while len(jobs) < self.most:
                try:
                    more = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    ended = True
                    break
                jobs.append(more)
            self._answer([j for j in jobs if self._begun(j)])
            if ended:
                return

    @staticmethod
    def _begun(job: _Job) -> bool:
        try:
            return job.take()
        except Exception as error:
            job.answer.set_exception(error)
            return False

    def _answer(self, jobs: Sequence[_Job]) -> None:
        plain = [j for j in jobs if j.prefix is None]
        if len(plain) > 1 and getattr(self.policy, "together", False):
            self._computed(plain, lambda: self._pass(plain))
        for job in jobs:
            if not job.answer.done():
                self._computed([job], lambda job=job: [job.policy.act(job.observation, job.prefix)])  # type: ignore[misc]

    @staticmethod
    def _pass(jobs: Sequence[_Job]) -> list[ActionChunk]:
        from palmar.models.acting import act_together

        return act_together([(j.policy, j.observation) for j in jobs])  # type: ignore[misc]

    def _computed(self, jobs: Sequence[_Job], compute: Callable[[], Sequence[ActionChunk]]) -> bool:
        """Whether the jobs are answered. What one alone raises is its answer; of several, each is to be asked alone."""
        began = self._began = time.perf_counter()
        try:
            chunks = compute()
        except Exception as error:
            if len(jobs) == 1:
                jobs[0].answer.set_exception(error)
            return False
        finally:
            self._began = None
        took = time.perf_counter() - began
        for job, chunk in zip(jobs, chunks, strict=True):
            job.answer.set_result(Answer(chunk, took, len(jobs)))
        return True
