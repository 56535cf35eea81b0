"""How fast a policy is in each of its forms, and whether it is still the same policy: latency, memory, size, parity, success.

One process, one thread: the forms take turns on the same observations, so that what else the machine does falls on all alike.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from palmar.errors import PalmarError
from palmar.eval.results import Results, shared
from palmar.eval.stats import Paired, Rate, paired
from palmar.lab.recorded import driven
from palmar.lab.suite import EvalConfig
from palmar.models.acting import NeuralPolicy
from palmar.models.checkpoint import fingerprint
from palmar.models.form_names import EAGER, EXPORTS, precision_of
from palmar.models.forms import in_form
from palmar.models.parity import BOUNDS, Parity, parity
from palmar.policy import load_policy
from palmar.types import Observation

ROUNDS, WARM = 5, 5
STILL = "eager, nothing moves"  # the same picture again: only the state is new


@dataclass(frozen=True)
class Latency:
    """From an observation to its chunk [ms]: wall clock, and what the thread itself computed (what the wall clock would show on
    an idle core). count: observations."""

    count: int
    p50: float
    p90: float
    p99: float
    cpu_p50: float
    cpu_p99: float

    @classmethod
    def of(cls, wall: Sequence[float], cpu: Sequence[float]) -> Latency:
        """wall, cpu: seconds of each."""
        p50, p90, p99 = (float(x) for x in np.percentile(1000 * np.array(wall), [50, 90, 99]))
        cpu_p50, cpu_p99 = (float(x) for x in np.percentile(1000 * np.array(cpu), [50, 99]))
        return cls(len(wall), p50, p90, p99, cpu_p50, cpu_p99)


@dataclass(frozen=True)
class Row:
    """One form. megabytes: of its files, None where it has none of its own. memory: what a process grows by that loads it and acts
    [MB]. parity: of its actions, None for the original; kept: whether within the bound of its precision. success, versus,
    seconds: in closed loop, of the same trials as the original (versus: difference from it; seconds: median of a success). why:
    it is not there."""

    form: str
    latency: Latency | None = None
    megabytes: float | None = None
    memory: float | None = None
    parity: Parity | None = None
    kept: bool = True
    success: Rate | None = None
    versus: Paired | None = None
    seconds: float | None = None
    why: str = ""

    def to_dict(self) -> dict[str, Any]:
        out = asdict(self)
        out["success"] = None if self.success is None else self.success.to_dict()
        return out


@dataclass(frozen=True)
class BenchConfig:
    """policy: as `load_policy` takes it. forms: of `models.forms`; eager is always there. repeats: chunks of each form. trials: in
    closed loop, 0 for none; of `tasks` on tables from `seed` on, `timeout` [s] at most.
    folder: where exported forms are written, and found again."""

    policy: str
    forms: tuple[str, ...]
    folder: Path
    repeats: int = 300
    trials: int = 0
    tasks: tuple[str, ...] = ("all",)
    robot: str = "arm7"
    seed: int = 1000
    memory: bool = True
    timeout: float = 15.0


@dataclass
class Bench:
    """Rows as far as they are known. say: progress, in words."""

    config: BenchConfig
    observations: Sequence[Observation]
    say: Callable[[str], None] = lambda text: None
    forms: dict[str, NeuralPolicy] = field(default_factory=dict)
    rows: dict[str, Row] = field(default_factory=dict)

    def run(self) -> list[Row]:
        """Everything, in the order of the forms. Torch stays on one thread, which is what the figures are about."""
        import torch

        torch.set_num_threads(1)
        self._open()
        self._time()
        if self.config.trials:
            self._drive()
        if self.config.memory:
            for name in self.forms:
                self.say(f"memory of {name}")
                self._set(name, memory=self._memory(name))
        return list(self.rows.values())

    def _set(self, name: str, **values: Any) -> None:
        self.rows[name] = replace(self.rows.get(name, Row(name)), **values)

    def _open(self) -> None:
        policy = load_policy(self.config.policy)
        assert isinstance(policy, NeuralPolicy)
        made_of = fingerprint(self.config.policy)
        for name in dict.fromkeys((EAGER, *self.config.forms)):
            self.say(f"making {name}")
            folder = self.config.folder / name
            try:
                self.forms[name] = in_form(policy, name, self.observations, folder, made_of)
                if name == EAGER:
                    self._set(name)
                    continue
                found = parity(policy, self.forms[name], self.observations)
                self._set(name, parity=found, kept=found.within(BOUNDS[precision_of(name)]))
            except PalmarError as error:
                self.forms.pop(name, None)
                self._set(name, why=str(error), kept=False)
                continue
            if name in EXPORTS:
                self._set(name, megabytes=sum(f.stat().st_size for f in folder.iterdir()) / 1e6)

    def _time(self) -> None:
        """In turns: `ROUNDS` times every form in sequence."""
        each = -(-self.config.repeats // ROUNDS)
        times: dict[str, tuple[list[float], list[float]]] = {}
        for turn in range(ROUNDS):
            self.say(f"latency, turn {turn + 1} of {ROUNDS}")
            for name, policy in self.forms.items():
                wall, cpu = times.setdefault(name, ([], []))
                timed(policy, self.observations, each, turn * each, wall, cpu)
                if name == EAGER:
                    wall, cpu = times.setdefault(STILL, ([], []))
                    timed(policy, self.observations[:1], each, 0, wall, cpu)
        for name, (wall, cpu) in times.items():
            self._set(name, latency=Latency.of(wall, cpu))

    def _drive(self) -> None:
        c = self.config
        first: Results | None = None
        for name, policy in self.forms.items():
            self.say(f"closed loop of {name}")
            config = EvalConfig(name, c.trials, c.tasks, seed=c.seed, timeout=c.timeout, robot=c.robot)
            results = driven(policy, config)
            first = first or results
            took = results.to_dict()["seconds_median"]
            versus = None if results is first else paired(*shared(first, results))
            self._set(name, success=results.rate(), versus=versus, seconds=took)

    def _memory(self, name: str) -> float | None:
        """In a process of its own, so that no other form's memory is counted."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe(duplex=False)
        job = (self.config.policy, name, str(self.config.folder / name), list(self.observations[:8]), theirs)
        process = context.Process(target=_grown, args=job)
        process.start()
        theirs.close()
        try:
            grown: float = ours.recv()
            return grown
        except EOFError:
            return None
        finally:
            process.join()


def timed(
    policy: NeuralPolicy,
    observations: Sequence[Observation],
    count: int,
    start: int,
    wall: list[float],
    cpu: list[float],
) -> None:
    """Append the seconds of `count` chunks, observations from `start` on in turn, after some that are not counted."""
    policy.reset()
    for i in range(-WARM, count):
        obs = observations[(start + i) % len(observations)]
        began, spent = time.perf_counter(), time.thread_time()
        policy.act(obs)
        if i >= 0:
            cpu.append(time.thread_time() - spent)
            wall.append(time.perf_counter() - began)


def _grown(where: str, form: str, folder: str, observations: list[Observation], pipe: Any) -> None:
    """Send how many MB this process grows by when it opens the policy in this form and acts. What is alike for all forms, torch and
    the sentence encoder, is loaded before."""
    import torch

    from palmar.models import exported
    from palmar.models.encoders import SentenceTokens

    torch.set_num_threads(1)
    SentenceTokens(256)([observations[0].instruction])
    before = _resident()
    if form in EXPORTS:
        policy = exported.load(folder)
    else:
        base = load_policy(where)
        assert isinstance(base, NeuralPolicy)
        policy = in_form(base, form, observations, Path(folder), fingerprint(where))
    for obs in observations:
        policy.act(obs)
    pipe.send(_resident() - before)


def _resident() -> float:
    """Resident memory of this process [MB]; NaN where the system does not say (Linux does)."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return float("nan")
    import resource

    return pages * resource.getpagesize() / 1e6
