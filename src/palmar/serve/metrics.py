"""What a server counts, for Prometheus. Needs prometheus-client."""

from __future__ import annotations

from bisect import bisect_left

from palmar.errors import need

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Buckets:
    """Counts of durations up to each bound [s]."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds, self.counts, self.total = bounds, [0] * (len(bounds) + 1), 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds

    def cumulative(self) -> list[tuple[str, float]]:
        out, seen = [], 0
        for bound, n in zip([*map(str, self.bounds), "+Inf"], tuple(self.counts), strict=True):
            seen += n
            out.append((bound, float(seen)))
        return out


class Metrics:
    """Of one server, in a registry of its own. count: requests that were answered, refusals: that were not."""

    def __init__(self) -> None:
        need("prometheus_client", "serve")
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
        from prometheus_client.exposition import CONTENT_TYPE_LATEST

        self.content_type, self.count, self.refusals = CONTENT_TYPE_LATEST, 0, 0
        self._latencies = Buckets(SECONDS)
        self._registry = r = CollectorRegistry()
        self.sessions = Gauge("palmar_sessions", "Clients that are connected", registry=r)
        self.requests = Counter("palmar_requests", "Requests that were answered", registry=r)
        self.slowed = Counter("palmar_slowed_requests", "Requests that waited for the rate of their client", registry=r)
        self._refused = Counter("palmar_refused", "What was refused, by reason", ["reason"], registry=r)
        self.inference = Histogram("palmar_inference_seconds", "Inference, one pass", buckets=SECONDS, registry=r)
        self.total = Histogram("palmar_request_seconds", "From arrival to the answer sent", buckets=SECONDS, registry=r)
        self.together = Histogram(
            "palmar_sessions_a_pass", "Sessions that shared a pass", buckets=(1, 2, 4, 8, 16), registry=r
        )

    def answered(self, total: float, inference: float, together: int) -> None:
        """A request: seconds in all and of inference, and how many shared the pass."""
        self.count += 1
        self.requests.inc()
        self.total.observe(total)
        self._latencies.add(inference)
        self.inference.observe(inference)
        self.together.observe(together)

    def refused(self, reason: str) -> None:
        """reason: key, connections, request, size, timeout, failed, not reading."""
        self.refusals += 1
        self._refused.labels(reason).inc()

    def latencies(self) -> list[int]:
        """Requests by seconds of inference: up to each of `SECONDS`, and above."""
        return list(self._latencies.counts)

    def text(self) -> str:
        """In Prometheus' text format."""
        from prometheus_client import generate_latest

        return generate_latest(self._registry).decode()
