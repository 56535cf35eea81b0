"""A policy, or a robot, for other computers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tyro.conf import Positional

from palmar.cli.shared import Answer, configured, one_thread
from palmar.console import Screen, styled
from palmar.ranges import Bytes, Clients, Hertz, Port, Seconds

if TYPE_CHECKING:
    from palmar.serve.page.server import ServerPage
    from palmar.serve.server import PolicyServer


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
    page: bool = False
    """Show in a browser how the server does."""
    page_address: str = "127.0.0.1:8080"
    """With --page: HOST:PORT where it listens; port 0 for any that is free. The same key, certificate and --open count."""
    json: bool = False
    """One JSON object with every figure on stdout."""
    only_with: ClassVar = {"page_address": "page"}

    def run(self, console: Screen) -> Answer:
        import asyncio
        import os
        import sys

        from palmar.policy import check_policy, load_policy
        from palmar.runtime.supervision.handshake import KEY
        from palmar.serve.server import PolicyServer, ServeConfig, serve

        config = configured(ServeConfig, self, key=os.environ.get(KEY, ""))
        config.context()  # before the policy is loaded
        check_policy(self.policy)
        one_thread(self.policy)
        server = PolicyServer(load_policy(self.policy), config, self.policy, _fingerprint(self.policy))
        server.warm()
        page = self._page(server, config.key, console) if self.page else None
        figures: dict[str, Any] = {"policy": self.policy}

        def ready(address: str) -> None:
            figures["address"] = address
            console.print(styled("[bold]{}[/] is served at [bold]{}[/]", self.policy, address))
            who = "with the key in " + KEY if config.key else "without a key"
            console.print(styled("clients {}; palmar run --policy {}; Ctrl-C ends it", who, address))
            sys.stdout.flush()  # whoever started it in the background reads it here

        try:
            asyncio.run(serve(server, ready))
        finally:
            if page is not None:
                page.close()
        figures["answered"] = server.metrics.count
        console.print(f"stopped; {server.metrics.count} requests were answered")
        return 0, figures

    def _page(self, server: PolicyServer, key: str, console: Screen) -> ServerPage:
        from palmar.serve.page.config import PageConfig, host_and_port
        from palmar.serve.page.server import ServerPage

        host, port = host_and_port(self.page_address)
        page = ServerPage(configured(PageConfig, self, host=host, port=port, key=key), server, self.policy)
        console.print(styled("the page is at [bold]{}[/]", page.address))
        return page


@dataclass(frozen=True)
class ServeBody:
    """Serve a robot over the network, to palmar run --body tcp://HOST:PORT, one driver at a time, until Ctrl-C.

    The watchdog is here, with the robot: it brakes when a command is missed, and when the connection ends. Limits are those of the
    description here. The body must have passed palmar check-body on this computer. Drivers need a key where the environment
    variable PALMAR_API_KEY holds one. It never travels, but what is said is not encrypted: beyond your own network use a tunnel
    (SSH, WireGuard).
    """

    body: Positional[str]
    """module:Class, from the current folder or an installed package, "lerobot:TYPE?NAME=VALUE&…", gym:ENV, or mock:."""
    robot: str
    """Name of a robot that comes with palmar, or a robot file (.toml)."""
    host: str = "127.0.0.1"
    """Where to listen. Other computers reach 0.0.0.0, which wants a key or --open."""
    port: Port = 8800
    """0 for any that is free."""
    period: Seconds = 0.2
    """Longest time between two commands while the robot moves [s]; then it is braked, and its E-STOP latched."""
    open: bool = False
    """Other computers may drive it without a key."""
    json: bool = False
    """One JSON object with every figure on stdout."""

    def run(self, console: Screen) -> Answer:
        import os
        import signal
        import sys

        from palmar.description.find import find_robot
        from palmar.runtime.bodies.find import find_body
        from palmar.runtime.supervision.handshake import KEY
        from palmar.serve.bodies import BodyConfig, BodyServer

        config = configured(BodyConfig, self, key=os.environ.get(KEY, ""))
        robot = find_robot(self.robot)
        server = BodyServer(find_body(self.body), robot, config, self.robot)
        figures: dict[str, Any] = {"body": self.body, "robot": robot.name}

        def ready(address: str) -> None:
            figures["address"] = address
            console.print(styled("[bold]{}[/] ({}) is served at [bold]{}[/]", self.body, robot.name, address))
            who = "with the key in " + KEY if config.key else "without a key"
            console.print(styled("drivers {}; palmar run --body {}; Ctrl-C ends it", who, address))
            sys.stdout.flush()  # whoever started it in the background reads it here

        before = {n: signal.signal(n, lambda *_: server.stop()) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            server.run(ready)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        figures["drivers"] = server.drivers
        console.print(f"stopped; it was driven {server.drivers} times")
        return 0, figures


def _fingerprint(policy: str) -> str:
    from importlib.util import find_spec

    if ":" in policy or find_spec("torch") is None:
        return ""
    from palmar.models.checkpoint import fingerprint

    return fingerprint(policy)
