"""What does a policy server cost beside inference, does it stay small and awake for hours, and does any message end it?

    OMP_NUM_THREADS=1 python benchmarks/serving.py                                  # the wire's own share of a request; a bare echo
    OMP_NUM_THREADS=1 python benchmarks/serving.py --clients 8 --minutes 60         # memory, and whether any session gets stuck
    OMP_NUM_THREADS=1 python benchmarks/serving.py --fuzz 100000                    # malformed, oversized, deeply nested messages
    OMP_NUM_THREADS=1 python benchmarks/serving.py --openpi /path/to/venv/bin/python   # the stock openpi-client, installed there

The server is `palmar serve`, a process of its own; the echo is `websockets` alone, answering as many bytes at once, asked in turn
with it: what this machine's loopback costs. Exits with 1 when a session was stuck, memory grew by more than a tenth after
the first tenth of the time, or the server did not answer after what was sent.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from palmar.adapters import wire
from palmar.errors import PolicyUnreachable
from palmar.policy import load_policy
from palmar.serve.client import RemotePolicy
from palmar.serve.protocol import Asked, reply
from palmar.types import Observation

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "serve"))
from test_server_faults import mutated

STOCK = """
import sys, time, numpy as np
from openpi_client.websocket_client_policy import WebsocketClientPolicy
client = WebsocketClientPolicy("127.0.0.1", int(sys.argv[1]))
said = client.get_server_metadata()["palmar"]
face, keys = said["interface"], said["keys"]
rng = np.random.default_rng(0)
for i in range(100):
    obs = {key: rng.integers(0, 256, (*face["cameras"][c], 3), dtype=np.uint8) for c, key in keys["images"].items()}
    obs |= {k: rng.normal(size=n).astype(np.float32) for k, n in keys["state"].items()} | {keys["prompt"]: "pick up the red cube"}
    answer = client.infer(obs)
print(answer["actions"].shape, answer["actions"].dtype, sorted(answer), answer["server_timing"])
"""

ECHO = """
import sys
from websockets.sync.server import serve
reply = bytes(int(sys.argv[1]))
def answer(line):
    for message in line:
        line.send(reply)
with serve(answer, "127.0.0.1", 0, compression=None) as server:
    print(server.socket.getsockname()[1], flush=True)
    server.serve_forever()
"""


@contextmanager
def echo(size: int) -> Iterator[ClientConnection]:
    """A line to a server that answers so many bytes at once, and does nothing else."""
    server = subprocess.Popen([sys.executable, "-c", ECHO, str(size)], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        with connect(f"ws://127.0.0.1:{server.stdout.readline().strip()}", compression=None, proxy=None) as line:
            yield line
    finally:
        server.terminate()
        server.wait()


@contextmanager
def served(policy: str, connections: int) -> Iterator[tuple[subprocess.Popen[str], str]]:
    words = [sys.executable, "-m", "palmar.cli", "serve", policy, "--port", "0", "--connections", str(connections)]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        said = ""
        while "ws://" not in said:
            line = server.stdout.readline()
            if not line:
                raise SystemExit("the server did not start")
            said += line.strip()
        yield server, "ws://" + said.partition("ws://")[2].split()[0].rstrip(";")
    finally:
        server.terminate()
        server.wait()


def observation(policy: RemotePolicy, rng: np.random.Generator, when: float) -> Observation:
    face = policy.interface
    images = {c: rng.integers(0, 256, (*size, 3), np.uint8) for c, size in face.cameras.items()}
    return Observation(images, rng.normal(size=len(face.state_names)).astype(np.float32), "pick up the red cube", when)


def resident(pid: int) -> float:
    """MB."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) / 1024


def wire_share(address: str, count: int) -> dict[str, float]:
    """Of a request, what is not inference [ms]: packing, both ways over loopback, queueing, unpacking and checking. Beside it a
    bare echo of as many bytes, asked after every request."""
    policy, rng = load_policy(address), np.random.default_rng(0)
    own, whole, bare = [], [], []
    obs = observation(policy, rng, 0.0)
    answer = reply(policy.act(obs), Asked(obs, 1), policy.timing)
    message = bytes(len(wire.pack(policy.env.request(obs))))
    with echo(len(wire.pack(answer))) as line:
        for i in track(range(1, count + 21), "requests"):
            obs = observation(policy, rng, 0.1 * i)
            began = time.perf_counter()
            policy.act(obs)
            took = (time.perf_counter() - began) * 1e3
            time.sleep(0.005)
            began = time.perf_counter()
            line.send(message)
            line.recv()
            if i > 20:
                bare.append((time.perf_counter() - began) * 1e3)
                whole.append(took)
                own.append(took - policy.timing["policy_timing"]["infer_ms"])
            time.sleep(0.005)
    policy.close()
    return {
        f"{name} p{p}": float(np.percentile(x, p))
        for name, x in (("wire", own), ("whole", whole), ("bare echo", bare))
        for p in (50, 90, 99)
    }


def driven(address: str, number: int, until: float, hertz: float, found: list[dict[str, float]]) -> None:
    """A client that acts so many times a second, begins an episode now and then, and connects anew now and then."""
    rng, policy, asked, failures, slowest = np.random.default_rng(number), load_policy(address), 0, 0, 0.0
    while time.monotonic() < until:
        began = time.perf_counter()
        try:
            policy.act(observation(policy, rng, asked * 0.1))
        except PolicyUnreachable:
            failures += 1
        slowest = max(slowest, time.perf_counter() - began)
        asked += 1
        if asked % 100 == 0:
            policy.reset()
        if asked % 500 == 0:
            policy.close()
        time.sleep(max(0.0, 1 / hertz - (time.perf_counter() - began)))
    policy.close()
    found.append({"asked": asked, "failures": failures, "slowest": slowest})


def endured(
    pid: int, address: str, clients: int, minutes: float, hertz: float
) -> tuple[list[dict[str, float]], list[float]]:
    """What each client saw, and the server's memory over time [MB]."""
    until, found, memory = time.monotonic() + 60 * minutes, [], []
    threads = [threading.Thread(target=driven, args=(address, n, until, hertz, found)) for n in range(clients)]
    for t in threads:
        t.start()
    for _ in track(range(100), f"{clients} clients"):
        time.sleep(max(0.6 * minutes, 0.0))
        memory.append(resident(pid))
    for t in threads:
        t.join(30)
    return found, memory


def fuzzed(pid: int, address: str, count: int) -> tuple[dict[str, int], float]:
    """How the connections ended that each sent one message: with words, with an answer, or at once; memory before [MB]."""
    policy, rng = load_policy(address), np.random.default_rng(0)
    obs = observation(policy, rng, 0.0)
    policy.act(obs)
    before = resident(pid)
    small = {key: obs.images[c][:8, :8] for c, key in policy.env.images.items()} | {
        "observation/state": obs.state,
        "prompt": "x",
    }
    message, whole = wire.pack(small | {"palmar": {"id": 1, "reset": False, "time": 0.0}}), policy.env.request(obs)
    ends = {"words": 0, "answer": 0, "closed": 0}
    for i in track(range(count), "messages"):
        with connect(address, compression=None, proxy=None) as line:
            line.recv()
            try:
                if i % 1000 == 0:
                    line.send(bytes(10**7))  # too large
                elif i % 100 == 0:
                    line.send(mutated(rng, wire.pack(whole)))
                elif i % 100 == 1:
                    line.send(bytes([0x91]) * int(rng.integers(1, 20_000)))  # nested
                else:
                    line.send(mutated(rng, message))
                ends["words" if isinstance(line.recv(timeout=10), str) else "answer"] += 1
            except WebSocketException:
                ends["closed"] += 1
    policy.act(observation(policy, rng, 1.0))
    policy.close()
    return ends, before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policy", default="shipped")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--hertz", type=float, default=10.0, help="of each client")
    parser.add_argument("--fuzz", type=int, default=0)
    parser.add_argument("--openpi", default="")
    args = parser.parse_args()
    console, failed = Console(width=110), False
    with served(args.policy, args.clients + 4) as (server, address):
        if args.openpi:
            port = address.rpartition(":")[2]
            subprocess.run([args.openpi, "-c", STOCK, port], check=True)
        elif args.fuzz:
            ends, before = fuzzed(server.pid, address, args.fuzz)
            after = resident(server.pid)
            failed = server.poll() is not None or after > 1.1 * before
            console.print(f"{args.fuzz} messages: {ends}; memory {before:.0f} → {after:.0f} MB; alive and answering")
        elif args.clients:
            found, memory = endured(server.pid, address, args.clients, args.minutes, args.hertz)
            asked, failures = (sum(f[k] for f in found) for k in ("asked", "failures"))
            early, late = np.median(memory[10:20]), np.median(memory[-10:])
            failed = len(found) < args.clients or failures > 0 or late > 1.1 * early
            slowest, stuck = max(f["slowest"] for f in found), args.clients - len(found)
            console.print(
                f"{args.clients} clients, {args.minutes:g} minutes at {args.hertz:g} Hz: {asked:.0f} requests, {failures:.0f} "
                f"failures, slowest {slowest:.2f} s; {stuck} stuck; memory {early:.0f} → {late:.0f} MB"
            )
        else:
            console.print({k: round(v, 2) for k, v in wire_share(address, args.requests).items()})
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
