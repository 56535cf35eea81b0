"""How long from a press of the stop in a browser to the first command that brakes, while everything else is busy?

    python benchmarks/page.py --stops 200

A mock body in real time at 50 Hz with two cameras of 480 × 640, a policy that computes a quarter of the time, a second browser that
shows all of it, and a viewer that never reads. A press is timed in Chromium, the command in the process that runs the loop, both on
the wall clock of this machine. Then the page's own process is killed: how long until the robot is held. Needs playwright and
Chromium (tests/browser).
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

for helpers in ("serve", "browser"):
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / helpers))

from chromium import browser_path  # noqa: E402
from paged import Browser, Waves, operated, robot, until  # noqa: E402
from websockets.sync.client import connect  # noqa: E402

from palmar.runtime.mock import MockBody  # noqa: E402
from palmar.runtime.supervision.controller import Mode  # noqa: E402
from palmar.serve.page import process  # noqa: E402

PRESSED = """() => {
  const pressed = () => { window.pressedWall = performance.timeOrigin + performance.now(); };
  addEventListener("keydown", e => { if (e.key === "Escape" && !e.repeat) pressed(); }, {capture: true});
  document.getElementById("stop").addEventListener("pointerdown", pressed, {capture: true});
}"""


def told(name: str, seconds: list[float]) -> None:
    if not seconds:
        return
    ms = 1e3 * np.array(seconds)
    p50, p99 = np.percentile(ms, [50, 99])
    print(f"{name:44} n {len(ms):4}  p50 {p50:6.1f}  p99 {p99:6.1f}  max {ms.max():6.1f} ms", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--stops", type=int, default=200)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--busy", type=float, default=0.1, help="seconds of computing for each answer")
    args = parser.parse_args()
    from playwright.sync_api import sync_playwright

    process.MOST_AGAIN = process.AGAIN  # it is killed often here, and would be started anew ever later
    with operated(body=MockBody(robot(480, 640), noise=False)) as session, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser_path(), args=["--no-sandbox"])
        page, other = chromium.new_page(), chromium.new_page()
        for p in (page, other):
            p.goto(session.address)
        page.evaluate(PRESSED)
        took: dict[str, list[float]] = {"Escape": [], "click": []}
        for i in range(args.stops):
            session.run(Waves(session.body.embodiment, args.busy))
            with connect(session.address.replace("http", "ws", 1) + "/live", max_size=None) as lazy:
                lazy.send("{}")  # and never reads
                page.wait_for_selector("#mode:text-is('RUNNING')")
                page.wait_for_timeout(100 + 137 * (i % 7))  # anywhere in a tick, an answer, a picture
                how = "Escape" if i % 2 else "click"
                page.keyboard.press("Escape") if how == "Escape" else page.click("#stop")
                session.over()
            assert session.controller.mode is Mode.ESTOP
            took[how].append(session.brakes.wall - page.evaluate("window.pressedWall") / 1e3)
        told("stop by the Escape key → brake command", took["Escape"])
        told("stop by a click → brake command", took["click"])
        told("both", took["Escape"] + took["click"])
        held: list[float] = []
        for _ in range(args.kills):
            session.run(Waves(session.body.embodiment, args.busy))
            watching = Browser(session.address)
            until(lambda seen=watching: seen.state, "no page")
            pid, began = session.page.process.pid, time.time()
            os.kill(pid, signal.SIGKILL)
            until(lambda: session.brakes.wall, "not held")
            held.append(session.brakes.wall - began)
            session.controller.finish()
            session.over()
            alive = session.page.process
            until(lambda before=pid, page=alive: page.pid != before and page.silent < 0.5, "no new page")
        told("the page's process killed → brake command", held)
        chromium.close()


if __name__ == "__main__":
    main()
