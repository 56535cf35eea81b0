"""What goes wrong with a policy server: killed, silent, cut off, flooded, without a valid certificate."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import pytest
import websockets.exceptions
import websockets.sync.client
from serving import FACE, ROBOT, Counting, seen, serving
from websockets.sync.client import connect

from palmar.adapters import wire
from palmar.errors import PolicyUnreachable
from palmar.policy import load_policy
from palmar.runtime.deploy import deploy
from palmar.runtime.loop import Subscriber, Tick
from palmar.runtime.mock import MockBody
from palmar.runtime.supervision.controller import Controller, Mode
from palmar.serve.server import ServeConfig
from palmar.types import ActionChunk, Observation

CERTS = Path(__file__).parent / "certs"


class Fitting:
    """The served policy for a body whose pictures are of another size."""

    def __init__(self, inner) -> None:
        self.inner, self.interface = inner, ROBOT.interface(8)

    def reset(self) -> None:
        self.inner.reset()

    def act(self, obs: Observation, prefix=None) -> ActionChunk:
        return self.inner.act(Observation(seen().images, obs.state, obs.instruction, obs.time))


def process(port: int) -> tuple[subprocess.Popen, str]:
    words = [sys.executable, str(Path(__file__).parent / "serving.py"), str(port)]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    return server, server.stdout.readline().strip()


class Watching(Subscriber):
    def __init__(self, controller: Controller) -> None:
        self.controller, self.seen = controller, []

    def on_tick(self, tick: Tick) -> None:
        self.seen.append((time.monotonic(), self.controller.mode, float(np.abs(tick.verdict.command).sum())))


def test_a_server_that_is_killed_holds_the_robot_at_once_and_comes_back():
    server, address = process(0)
    port = int(address.rpartition(":")[2])
    policy, controller, body = load_policy(address), Controller(watchdog=30.0), MockBody(ROBOT)
    watching, said = Watching(controller), {}

    def kill() -> None:
        until = time.monotonic() + 60.0
        while not getattr(controller, "acted", False) and time.monotonic() < until:  # it drives
            time.sleep(0.05)
        said["killed"] = time.monotonic()
        server.send_signal(signal.SIGKILL)
        server.wait()
        time.sleep(0.7)
        said["again"], _ = process(port)
        said["up"] = time.monotonic()

    def over(*_: object) -> bool:
        """It has driven again for a while."""
        return "up" in said and time.monotonic() > said["up"] + 0.5 and watching.seen[-1][1] is Mode.RUN

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        deploy(
            body, Fitting(policy), "reach", body.reset(), controller=controller, subscribers=(watching,), timeout=90.0,
            until=over,
        )  # fmt: skip
    finally:
        thread.join()
        said["again"].kill()
        said["again"].wait()
        server.stdout.close()
        said["again"].stdout.close()
        policy.close()
    held = [when for when, mode, _ in watching.seen if mode is Mode.HOLD]
    assert held and said["killed"] < held[0] < said["killed"] + 5.0  # at the next tick; a busy machine is no failure
    assert watching.seen[-1][1] is Mode.RUN
    assert [mode for _, mode, _ in controller.history] == [Mode.HOLD, Mode.RUN]
    assert "policy server" in controller.history[0][2] and controller.history[1][2] == "released"


def test_a_server_that_is_silent_is_no_answer_in_time():
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        address = f"ws://127.0.0.1:{deaf.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(PolicyUnreachable, match=r"no policy server at .*(timed out|Timeout)"):
            load_policy(address, timeout=0.3)
        assert time.monotonic() - began < 3.0


@pytest.mark.skipif(os.name != "posix", reason="stops a process by a signal")
def test_a_network_that_is_cut_is_noticed_although_nobody_asks():
    """The other side does not close, it answers no more: a stopped process."""
    server, address = process(0)
    policy = load_policy(address, timeout=1.0)
    try:
        policy.act(seen())
        server.send_signal(signal.SIGSTOP)
        until = time.monotonic() + 15
        while policy.unreachable is None and time.monotonic() < until:
            time.sleep(0.05)
        assert policy.unreachable is not None
    finally:
        server.send_signal(signal.SIGCONT)
        server.kill()
        server.wait()
        server.stdout.close()
        policy.close()


def test_a_client_that_never_reads_is_left(monkeypatch):
    """It sends on and on; answers pile up in its socket, and the server's patience ends."""

    class Large(Counting):
        def act(self, obs, prefix=None):
            chunk = super().act(obs, prefix)
            chunk.attention["front.target"] = np.ones((1000, 1000), np.float32)
            return chunk

    with serving(Large(), ServeConfig(port=0, patience=0.5, rate=10_000)) as server:
        lines = ExitStack()
        line = lines.enter_context(connect(server.address, compression=None, proxy=None, max_queue=1, max_size=None))
        line.recv()
        first = seen()
        pictures = {f"observation/{c}": x for c, x in first.images.items()}
        mine = {"observation/state": first.state, "prompt": "x"}
        until = time.monotonic() + 20
        try:
            for i in range(1, 10_000):
                line.send(wire.pack(pictures | mine | {"palmar": {"id": i, "reset": False, "time": 0.1 * i}}))
                if time.monotonic() > until:
                    break
        except Exception as error:  # the server left: a broken pipe, a reset, a closed connection
            assert "closed" in type(error).__name__.lower() or isinstance(error, OSError)
        while server.sessions and time.monotonic() < until:
            time.sleep(0.02)
        assert server.sessions == 0 and 'reason="not reading"' in server.metrics.text()
        with suppress(Exception):
            lines.close()


def test_connections_that_say_nothing_do_not_keep_others_out():
    with serving(config=ServeConfig(port=0, patience=0.3)) as server:
        port = int(server.address.rpartition(":")[2])
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]
        client = load_policy(server.address)
        assert client.act(seen()).done == 0.01
        client.close()
        silent[0].settimeout(5)
        assert silent[0].recv(100) == b""  # it was left
        for s in silent:
            s.close()


def test_the_certificate_is_checked(monkeypatch):
    good = ServeConfig(port=0, certificate=CERTS / "cert.pem", private_key=CERTS / "key.pem")
    assert good.context().num_tickets == 0  # a ticket in the client's first words breaks the connection
    with serving(config=good) as server:
        assert server.address.startswith("wss://")
        with pytest.raises(PolicyUnreachable, match="certificate verify failed"):
            load_policy(server.address, wait=0.1)
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTS / "cert.pem"))
        client = load_policy(server.address)
        assert client.act(seen()).done == 0.01
        client.close()
    old = ServeConfig(port=0, certificate=CERTS / "expired.pem", private_key=CERTS / "key.pem")
    with serving(config=old) as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTS / "expired.pem"))
        with pytest.raises(PolicyUnreachable, match="certificate has expired"):
            load_policy(server.address, wait=0.1)


def test_a_connection_that_threads_broke_in_its_opening_is_tried_again(monkeypatch):
    connect, asked = websockets.sync.client.connect, []

    def breaks_once(*args, **options):
        asked.append(1)
        if len(asked) == 1:
            raise websockets.exceptions.ConnectionClosedError(None, None) from ssl.SSLError("internal error")
        return connect(*args, **options)

    monkeypatch.setattr(websockets.sync.client, "connect", breaks_once)
    with serving() as server:
        client = load_policy(server.address)
        assert client.act(seen()).done == 0.01
        client.close()
    assert len(asked) == 2


def mutated(rng: np.random.Generator, message: bytes) -> bytes:
    """A message with some bytes changed, cut off, doubled or made up."""
    kind = rng.integers(4)
    if kind == 0:
        data = bytearray(message)
        for _ in range(rng.integers(1, 6)):
            data[rng.integers(len(data))] = rng.integers(256)
        return bytes(data)
    if kind == 1:
        return message[: rng.integers(len(message))]
    if kind == 2:
        k = int(rng.integers(len(message)))
        return message[:k] + rng.bytes(int(rng.integers(1, 9))) + message[k:]
    return rng.bytes(int(rng.integers(1, 200)))


def test_no_message_ends_the_server():
    """A few hundred of what `benchmarks/serving.py --fuzz` sends."""
    first = seen()
    good = {f"observation/{c}": x[:4, :4] for c, x in first.images.items()}
    good |= {"observation/state": first.state, "prompt": "x", "palmar": {"id": 1, "reset": False, "time": 0.0}}
    message, rng = wire.pack(good), np.random.default_rng(0)
    with serving(config=ServeConfig(port=0, connections=64)) as server:
        for _ in range(300):
            with connect(server.address, compression=None, proxy=None) as line:
                line.recv()
                line.send(mutated(rng, message))
                assert isinstance(line.recv(timeout=5), str | bytes)
        client = load_policy(server.address)
        assert client.act(seen()).done == 0.01 and client.interface == FACE
        client.close()
