"""A policy for other computers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from palmar.cli.shared import Answer, configured, one_thread
from palmar.console import Screen, styled
from palmar.ranges import Bytes, Clients, Hertz, Port, Seconds


@dataclass(frozen=True)
class Serve:
    """Serve a policy over the network, to palmar (--policy ws://HOST:PORT) and to clients of openpi, until Ctrl-C.

    Clients need a key where the environment variable PALMAR_API_KEY holds one, here and there. The robot's limits, guards and
    watchdog are where the robot is: what a server answers goes through them like any other policy's. GET /healthz and /metrics
    (Prometheus) on the same port.
    """

    policy: Positional[str] = "shipped"
    """Checkpoint folder, exported policy, "shipped", or KIND:WHERE of another system."""
    host: str = "127.0.0.1"
    """Where to listen. Other computers reach 0.0.0.0, which wants a key or --open."""
    port: Port = 8000
    """0 for any that is free."""
    connections: Clients = 16
    """Clients at a time, each with a memory of its own."""
    rate: Hertz = 200.0
    """Requests that one client may send on average; it waits for what is more."""
    largest: Bytes = None
    """Largest request. Not given: twice what the policy's pictures need."""
    patience: Seconds = 10.0
    """How long inference, a handshake, and a client that does not read may take [s]."""
    certificate: Path | None = None
    """PEM file, for TLS (wss://)."""
    private_key: Path | None = None
    """PEM file, not encrypted."""
    open: bool = False
    """Other computers may connect without a key."""
    json: bool = False
    """One JSON object with every figure on stdout."""

    def run(self, console: Screen) -> Answer:
        import asyncio
        import os
        import sys

        from palmar.policy import check_policy, load_policy
        from palmar.serve.protocol import KEY
        from palmar.serve.server import PolicyServer, ServeConfig, serve

        config = configured(ServeConfig, self, key=os.environ.get(KEY, ""))
        config.context()  # before the policy is loaded
        check_policy(self.policy)
        one_thread(self.policy)
        server = PolicyServer(load_policy(self.policy), config, self.policy, _fingerprint(self.policy))
        figures: dict[str, Any] = {"policy": self.policy}

        def ready(address: str) -> None:
            figures["address"] = address
            console.print(styled("[bold]{}[/] is served at [bold]{}[/]", self.policy, address))
            who = "with the key in " + KEY if config.key else "without a key"
            console.print(styled("clients {}; palmar run --policy {}; Ctrl-C ends it", who, address))
            sys.stdout.flush()  # whoever started it in the background reads it here

        asyncio.run(serve(server, ready))
        figures["answered"] = server.metrics.count
        console.print(f"stopped; {server.metrics.count} requests were answered")
        return 0, figures


def _fingerprint(policy: str) -> str:
    from importlib.util import find_spec

    if ":" in policy or find_spec("torch") is None:
        return ""
    from palmar.models.checkpoint import fingerprint

    return fingerprint(policy)
