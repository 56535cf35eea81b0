"""Where a policy computes: on the loop's own thread with a chosen latency (simulation), or on a thread of its own (a robot)."""

from __future__ import annotations

import threading
import time
from typing import Protocol

from palmar.policy import Policy
from palmar.types import ActionChunk, Observation, Prefix


class Worker(Protocol):
    latency: float  # of the last answer [s]

    def request(self, obs: Observation, now: float, prefix: Prefix | None = None) -> None: ...

    def poll(self, now: float) -> ActionChunk | None:
        """The finished chunk, once; None while there is none. Raises what the policy raised, once."""
        ...

    def forget(self) -> None:
        """What is being computed, or was and was not polled, is never handed over: a new epoch begins."""
        ...

    @property
    def busy(self) -> bool: ...

    def close(self) -> None: ...


class Remote(Protocol):
    """A policy that computes elsewhere."""

    @property
    def unreachable(self) -> Exception | None:
        """Why no answer can be expected now, although nobody has asked. Costs nothing, from any thread."""
        ...


def remote_of(policy: object) -> Remote | None:
    """The remote policy among a policy and those it wraps; None when it computes here."""
    while policy is not None:
        if hasattr(policy, "unreachable"):
            return policy
        policy = getattr(policy, "inner", None)
    return None


class Inline:
    """Computes at once and hands the chunk over `delay` seconds of the loop's clock later."""

    def __init__(self, policy: Policy, delay: float = 0.0) -> None:
        self.policy, self.delay, self.latency = policy, delay, 0.0
        self._ready: tuple[float, ActionChunk | Exception] | None = None

    def request(self, obs: Observation, now: float, prefix: Prefix | None = None) -> None:
        start = time.perf_counter()
        try:
            answer: ActionChunk | Exception = self.policy.act(obs, prefix)
        except Exception as error:  # handed to the loop by poll, as from a thread
            answer = error
        self.latency = time.perf_counter() - start
        self._ready = (now + self.delay, answer)

    def poll(self, now: float) -> ActionChunk | None:
        if self._ready is None or now < self._ready[0] - 1e-9:
            return None
        answer, self._ready = self._ready[1], None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def forget(self) -> None:
        self._ready = None

    @property
    def busy(self) -> bool:
        return self._ready is not None

    def close(self) -> None:
        self._ready = None


class Threaded:
    """Computes on a daemon thread; `request` and `poll` return at once, whatever the policy does."""

    def __init__(self, policy: Policy) -> None:
        self.policy, self.latency = policy, 0.0
        self._wake, self._done, self._closed = threading.Event(), threading.Event(), False
        self._job: tuple[Observation, Prefix | None] | None = None
        self._result: ActionChunk | BaseException | None = None
        self._epoch, self._asked = 0, 0
        self._done.set()
        self._remote, self._lost = remote_of(policy), False
        self._thread = threading.Thread(target=self._work, name="palmar-policy", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            if self._closed:
                return
            job, self._job = self._job, None
            if job is None:
                continue
            start = time.perf_counter()
            try:
                self._result = self.policy.act(*job)
            except Exception as error:  # handed to the loop by poll, which raises it there
                self._result = error
            self.latency = time.perf_counter() - start
            self._done.set()

    def request(self, obs: Observation, now: float, prefix: Prefix | None = None) -> None:
        self._asked = self._epoch
        self._done.clear()
        self._job = (obs, prefix)
        self._wake.set()

    def wait(self, seconds: float) -> bool:
        """Until what was asked for is computed, at most `seconds`; whether it is. For who may wait: the loop does not."""
        return self._done.wait(seconds)

    def poll(self, now: float) -> ActionChunk | None:
        if self.busy:  # the slot is the thread's now: not even to be read and put back
            return None
        result, self._result = self._result, None
        if result is None and self._remote is not None:
            lost, before = self._remote.unreachable, self._lost
            self._lost = lost is not None
            if lost is not None and not before:  # told once, although nobody has asked
                raise lost
        if self._asked != self._epoch:
            return None
        if isinstance(result, BaseException):
            raise result
        return result

    def forget(self) -> None:
        """The policy goes on computing what it was asked, and is busy until then."""
        self._epoch += 1

    @property
    def busy(self) -> bool:
        return not self._done.is_set()

    def close(self) -> None:
        self._closed = True
        self._wake.set()
        self._thread.join(timeout=2.0)
