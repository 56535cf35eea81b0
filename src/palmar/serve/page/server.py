"""What a policy server tells its page."""

from __future__ import annotations

import threading
import time

from palmar.serve.metrics import SECONDS
from palmar.serve.page.config import PageConfig
from palmar.serve.page.messages import Head
from palmar.serve.page.process import PageProcess
from palmar.serve.server import PolicyServer

EVERY = 0.5
"""Between two states that are shown [s]."""


class ServerPage:
    """The page of `server`, until `close`; people look on, and can stop nothing: the robot is elsewhere."""

    def __init__(self, config: PageConfig, server: PolicyServer, policy: str) -> None:
        self.server, self._began = server, time.monotonic()
        self._ended = threading.Event()
        self.process = PageProcess(config, self._heard)
        self.address = self.process.address
        self.process.about({"kind": "server", "policy": policy})
        threading.Thread(target=self._tell, name="palmar-server-page", daemon=True).start()

    def close(self) -> None:
        self._ended.set()
        self.process.close()

    def _heard(self, head: Head) -> None:
        """Nothing that is asked for there concerns a server."""

    def _tell(self) -> None:
        answered, before = 0, time.monotonic()
        while not self._ended.is_set():
            metrics, now = self.server.metrics, time.monotonic()
            rate = (metrics.count - answered) / max(now - before, 1e-3)
            answered, before = metrics.count, now
            facts = {
                "clients": self.server.sessions, "requests": metrics.count, "requests a second": round(rate, 1),
                "refused": metrics.refusals, "minutes": round((now - self._began) / 60, 1),
            }  # fmt: skip
            hangs = self.server.engine.computing > self.server.config.patience
            mode = "HANGS" if hangs else "SERVING" if self.server.address else "STARTING"
            state: Head = {
                "mode": mode, "reason": "inference has hung" if hangs else "", "running": False, "server": facts,
                "latency": {"edges": SECONDS, "counts": metrics.latencies()},
            }  # fmt: skip
            self.process.state(state)
            self._ended.wait(EVERY)
