"""Metrics and dashboard beside a real Prometheus (Debian: apt-get install prometheus).

    OMP_NUM_THREADS=1 python tests/conformance/prometheus_check.py

Starts `palmar serve` with a client, `palmar run --metrics` and Prometheus with the scrape file that ships, then asks Prometheus
every query of the dashboard that ships: each has to be valid, and to answer where something happened. Exits with 1 when one does
not.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

import palmar
from palmar.errors import PolicyUnreachable
from palmar.policy import load_policy
from palmar.types import Observation

ASSETS = Path(palmar.__file__).parent / "assets" / "monitoring"
EMPTY = {"reason"}
"""Labels of what need not have happened: nobody was refused."""


def expressions() -> list[tuple[str, str]]:
    """(panel, query) with the dashboard's variables filled in."""
    panels = json.loads((ASSETS / "grafana.json").read_text())["panels"]
    found = [(p["title"], t["expr"]) for p in panels for t in p.get("targets", [])]
    return [(title, q.replace("$__rate_interval", "20s").replace("$instance", ".*")) for title, q in found]


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def ask(port: int, query: str) -> dict[str, Any]:
    url = f"http://127.0.0.1:{port}/api/v1/query?" + urllib.parse.urlencode({"query": query})
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        return dict(json.load(error))


def client(address: str, over: threading.Event) -> None:
    policy = load_policy(address)
    rng = np.random.default_rng(0)
    cameras = policy.interface.cameras.items()
    while not over.is_set():
        images = {c: rng.integers(0, 256, (*size, 3), np.uint8) for c, size in cameras}
        with suppress(PolicyUnreachable):  # the first answer of a busy machine may be late
            policy.act(
                Observation(images, np.zeros(len(policy.interface.state_names), np.float32), "pick up the red cube")
            )
        over.wait(0.2)


def main() -> int:
    if shutil.which("prometheus") is None:
        print("prometheus is not installed. Next: apt-get install prometheus")
        return 1
    over, started = threading.Event(), []
    with tempfile.TemporaryDirectory() as folder:
        run_port, web = free_port(), free_port()
        serve = [sys.executable, "-m", "palmar.cli", "serve", "shipped", "--port", "0"]
        started.append(server := subprocess.Popen(serve, stdout=subprocess.PIPE, text=True))
        try:
            said = ""
            while "ws://" not in said:
                said = server.stdout.readline()  # type: ignore[union-attr]
            address = re.search(r"ws://[\d.]+:(\d+)", said)
            assert address is not None
            threading.Thread(target=client, args=(address[0], over), daemon=True).start()
            config = (ASSETS / "prometheus.yml").read_text()
            config = config.replace("scrape_interval: 5s", "scrape_interval: 1s").replace("9470", str(run_port))
            (Path(folder) / "prometheus.yml").write_text(config.replace(":8000", f":{address[1]}"))
            started.append(subprocess.Popen([
                "prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{web}", "--log.level=error",
            ]))  # fmt: skip
            # a table on which the policy is still busy when it is asked: an unlikely word of "done"
            log = f"{folder}/log.jsonl"
            run = [
                sys.executable,
                "-m",
                "palmar.cli",
                "run",
                "put the green ball on the blue plate",
                "--video",
                "None",
                "--log",
                log,
            ]
            subprocess.run([*run, "--timeout", "1"], check=False, stdout=subprocess.DEVNULL)  # a run before this one
            code = "import palmar.runtime.monitor as m; m.Finished.__call__ = lambda *_: False; "
            code += "import sys; from palmar.cli.main import main; sys.exit(main(sys.argv[1:]))"
            words = [*run[3:], "--timeout", "60", "--metrics", str(run_port)]
            started.append(subprocess.Popen([sys.executable, "-c", code, *words], stdout=subprocess.DEVNULL))
            deadline = time.monotonic() + 90
            while time.monotonic() < deadline:
                time.sleep(1.0)
                if _ticks(web) > 1000:
                    break
            wrong, empty = 0, 0
            for title, query in expressions():
                said_ = ask(web, query)
                values = said_.get("data", {}).get("result", [])
                good = said_["status"] == "success"
                none = good and not values and not any(f"by ({label})" in query for label in EMPTY)
                wrong += not good
                empty += none
                shown = [f"{v['value'][1][:8]}" for v in values[:3]]
                print(
                    f"{'WRONG' if not good else 'EMPTY' if none else 'ok':5} {title:32} {', '.join(shown):30} {query}"
                )
                if not good:
                    print("      ", said_.get("error"))
            print(
                f"{len(expressions())} queries: {wrong} wrong, {empty} without an answer; {_ticks(web):.0f} ticks were scraped"
            )
            return int(bool(wrong or empty))
        finally:
            over.set()
            for process in reversed(started):
                process.terminate()
                process.wait(30)


def _ticks(port: int) -> float:
    try:
        values = ask(port, "palmar_run_ticks_total").get("data", {}).get("result", [])
    except OSError:
        return 0.0  # Prometheus is not there yet
    return float(values[0]["value"][1]) if values else 0.0


if __name__ == "__main__":
    sys.exit(main())
