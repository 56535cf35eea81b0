"""What a run counts, for Prometheus: `palmar run --metrics PORT`.

The loop adds to plain numbers, of which it is the only writer, and takes no lock; what is read over HTTP is made of them on the
thread that answers. A reader that is slow, hangs or sends nothing costs a thread for `PATIENCE` seconds and the robot nothing.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from palmar.errors import BadValue, need
from palmar.runtime.loop import Body, Subscriber, Tick
from palmar.runtime.records.modes import emergency_stops
from palmar.runtime.records.runs import Run
from palmar.runtime.records.takeovers import Takeovers
from palmar.runtime.safety.filter import guard_name
from palmar.runtime.safety.guards import GUARDS
from palmar.runtime.supervision.controller import Controller, Mode
from palmar.runtime.timing import SLACK
from palmar.serve.metrics import SECONDS, Buckets
from palmar.serve.reach import own_host
from palmar.types import Observation

if TYPE_CHECKING:
    from prometheus_client.core import Metric

PATIENCE = 5.0
"""How long a reader may take for its request, and for taking the answer [s]."""
READERS = 8
"""Readers that are answered at a time; others are turned away."""
TICKS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)


class RunMetrics(Subscriber):
    """Of all runs of this process. about: labels of `palmar_run_info`.

    `ended` counts the episode. begun: one has begun that has not `ended`. `go_on` says what to count on from; until then no count
    is told, since one that began at 0 and then jumped would be taken for a restart, and counted twice. went_on: it was called,
    which one process does once.
    """

    def __init__(self, about: Mapping[str, str] | None = None) -> None:
        self.about = dict(about or {})
        self.controller: Controller | None = None
        self.running = self.begun = self.went_on = False
        self.modes: Counter[str] = Counter()
        self.ticks = self.late = self.changed = self.slowed = 0
        self.work, self.lateness, self.inference = Buckets(TICKS), Buckets(TICKS), Buckets(SECONDS)
        self.guards: Counter[str] = Counter(
            {guard_name(g): 0 for g in GUARDS}
        )  # 0: what is absent has no rate in Prometheus
        self.confidence: float | None = None
        self.failures = 0
        self.episodes: Counter[str] = Counter()
        self.successes = self._stops = 0
        self.takeovers = Takeovers()

    def watch(self, controller: Controller) -> None:
        """Its mode is told and its emergency stops are counted from now on, those that are pressed between two runs too."""
        if controller is not self.controller:
            self._stops, self.controller = self.stops, controller

    @property
    def stops(self) -> int:
        """Emergency stops."""
        return self._stops + (0 if self.controller is None else emergency_stops(self.controller))

    def go_on(self, before: Iterable[Run] = ()) -> None:
        """Episodes, successes, interventions and E-STOPs count on from earlier runs of the robot, such as of its operations log:
        what a short run ends with is between two scrapes, and the next run's process still tells it."""
        for r in (r for r in before if r.ended):
            self.ended(r.outcome, r.success)
            self._stops += r.estops
            self.takeovers.n += r.takeovers
            self.takeovers.seconds += r.driven
        self.went_on = True

    def on_start(self, obs: Observation, body: Body) -> None:
        self._tick_time = 1.0 / body.embodiment.control_rate
        self._now = obs.time
        self.takeovers.start(obs.time)
        self.running = self.begun = True

    def on_tick(self, tick: Tick) -> None:
        passed = max(tick.time - self._now, 0.0) or self._tick_time
        self._now = tick.time
        mode = Mode.RUN if self.controller is None else self.controller.mode
        self.modes[mode.name] += passed  # type: ignore[assignment]
        self.ticks += 1
        self.late += tick.late > SLACK
        self.slowed += tick.acting and tick.speed < 1.0
        self.work.add(tick.took)
        self.lateness.add(tick.late)
        if tick.verdict.reasons:
            self.changed += 1
            self.guards.update(r.guard for r in tick.verdict.reasons)
        if tick.new_chunk and tick.chunk is not None and not tick.chunk.intervention:
            self.inference.add(tick.latency)
            self.confidence = tick.chunk.confidence
        if tick.failure is not None:
            self.failures += 1
        self.takeovers.add(tick)

    def on_end(self, reason: str) -> None:
        self.running = False
        self.takeovers.end()

    def ended(self, outcome: str, success: bool) -> None:
        """An episode is over. outcome: done, timeout, stopped or fault."""
        self.begun = False
        self.episodes[outcome] += 1
        self.successes += success

    def collect(self) -> Iterator[Metric]:
        """As prometheus_client's collectors. Read while the loop adds: each number is whole, two may be of different ticks."""
        yield from self._states()
        if self.went_on:
            yield from self._counts()

    def _states(self) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily

        yield InfoMetricFamily("palmar_run", "What runs", {k: str(v) for k, v in self.about.items()})
        yield GaugeMetricFamily("palmar_run_active", "1 while the loop runs", float(self.running))
        now = (Mode.RUN if self.controller is None else self.controller.mode).name
        mode = GaugeMetricFamily("palmar_run_mode", "1 for the mode of the controller", labels=["mode"])
        for m in Mode:
            mode.add_metric([m.name], float(m.name == now))
        yield mode
        yield GaugeMetricFamily("palmar_run_estop", "1 while the E-STOP holds the robot", float(now == Mode.ESTOP.name))
        if self.confidence is not None:
            yield GaugeMetricFamily("palmar_run_confidence", "Of the newest chunk, 0 to 1", float(self.confidence))

    def _counts(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        for name, words, value in (
            ("ticks", "Turns of the control loop", self.ticks), ("late_ticks", f"Ticks over {SLACK:g} s late", self.late),
            ("slowed_ticks", "Ticks in which a chunk was followed below its own speed", self.slowed),
            ("changed_commands", "Commands that a guard changed", self.changed),
            ("policy_failures", "Times the policy raised", self.failures), ("estops", "Emergency stops", self.stops),
            ("interventions", "Times a person took over", self.takeovers.n),
            ("intervention_seconds", "Time that a person drove", self.takeovers.seconds),
            ("successes", "Runs that succeeded", self.successes),
        ):  # fmt: skip
            yield CounterMetricFamily(f"palmar_run_{name}", words, float(value))
        for name, words, label, counts in (
            ("mode_seconds", "Time in each mode", "mode", {m.name: self.modes[m.name] for m in Mode}),
            ("guard_changes", "Commands that each guard changed", "guard", self.guards),
            ("episodes", "Runs that ended, by outcome", "outcome", self.episodes),
        ):
            family = CounterMetricFamily(f"palmar_run_{name}", words, labels=[label])
            for key, n in tuple(counts.items()):
                family.add_metric([key], float(n))
            yield family
        for name, words, b in (
            ("tick_seconds", "Work of a tick", self.work), ("tick_late_seconds", "How late a tick began", self.lateness),
            ("inference_seconds", "From the question to the policy to its chunk", self.inference),
        ):  # fmt: skip
            yield HistogramMetricFamily(f"palmar_run_{name}", words, buckets=b.cumulative(), sum_value=b.total)


@contextmanager
def scraped(metrics: RunMetrics, port: int, host: str = "127.0.0.1") -> Iterator[str]:
    """Serve the metrics at /metrics while the block runs; the address. port: 0 for any that is free.

    Who asks for it by a name that is not this computer's is refused (`own_host`).
    Raises `BadValue` where it cannot listen there, `MissingPackage` without prometheus-client.
    """
    need("prometheus_client", "serve")
    from prometheus_client import CollectorRegistry

    registry = CollectorRegistry(auto_describe=False)
    registry.register(metrics)
    try:
        server = _Server((host, port), registry)
    except OSError as error:
        raise BadValue(
            f"cannot serve metrics on {host}:{port} ({error.strerror or error}). Next: another --metrics, or 0 for any that is free"
        ) from error
    thread = threading.Thread(
        target=server.serve_forever, name="palmar-metrics", kwargs={"poll_interval": 0.1}, daemon=True
    )
    thread.start()
    try:
        yield f"http://{host}:{server.server_address[1]}/metrics"
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = READERS

    def __init__(self, address: tuple[str, int], registry: Any) -> None:
        self.registry, self.listens, self._free = registry, address[0], threading.BoundedSemaphore(READERS)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader that went away is nobody's error."""


class _Handler(BaseHTTPRequestHandler):
    timeout = PATIENCE
    server_version, sys_version = "palmar", ""

    def do_GET(self) -> None:
        from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

        if self.path.partition("?")[0] != "/metrics":
            self.send_error(404, "Next: /metrics")
            return
        if not own_host(self.headers.get("Host", ""), self.server.listens):  # type: ignore[attr-defined]
            self.send_error(421, "not known by that name. Next: localhost")
            return
        text = generate_latest(self.server.registry)  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE_LATEST)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        """Not to the terminal of a run."""
