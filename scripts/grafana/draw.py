"""The dashboard that ships, drawn by Grafana's own React components over a real Prometheus: docs/figures/grafana.png.

    OMP_NUM_THREADS=1 LP_NUM_THREADS=1 python scripts/grafana/draw.py
    python scripts/grafana/draw.py --prometheus http://127.0.0.1:9090 --minutes 60 --out mine.png     # of your own robots

Grafana's server is not always at hand; the components that it draws panels with are (npm: @grafana/ui and @grafana/data, see
package.json). Without --prometheus a server with two clients, runs and Prometheus with the scrape file that ships are started
here: a run that the policy ends; one whose policy is the server, which goes away and comes back; one that is broken off; one
that a person takes over and stops in the browser, and the next in that session, which goes on when the picture is taken.
Needs npm, Chromium (playwright) and prometheus (Debian: apt-get install npm chromium prometheus).
"""

from __future__ import annotations

import argparse
import io
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "tests" / room) for room in ("browser", "conformance")]

from chromium import browser_path  # noqa: E402
from PIL import Image  # noqa: E402
from playwright.sync_api import Browser, Route, sync_playwright  # noqa: E402
from prometheus_check import ASSETS, client, free_port  # noqa: E402

from palmar.errors import PalmarError  # noqa: E402

FILES = {
    "public/build/": "node_modules/@grafana/ui/dist/public/",
    "public/fonts/inter/Inter-Regular.woff2": "node_modules/@fontsource/inter/files/inter-latin-400-normal.woff2",
    "public/fonts/inter/Inter-Medium.woff2": "node_modules/@fontsource/inter/files/inter-latin-500-normal.woff2",
}
"""Where Grafana's server has what its components ask for, and where it is here."""
PAGE = """<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="main.css"><body style="margin: 0"></body>
<script src="main.js"></script>"""
GOES_ON = (
    "import palmar.runtime.monitor as m; m.Finished.__call__ = lambda *_: False; "
    "import sys; from palmar.cli.main import main; sys.exit(main(sys.argv[1:]))"
)
"""A run that the policy does not end."""
PATIENCE = 600.0
"""For a process to be ready, on a machine that is busy with other work [s]."""


def until(true: Callable[[], bool], words: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(words)
        time.sleep(0.5)


def read(address: str) -> str:
    with suppress(OSError), urllib.request.urlopen(address, timeout=5) as answer:
        return str(answer.read().decode())
    return ""


@contextmanager
def lived(folder: Path, chromium: Browser) -> Iterator[tuple[str, float]]:
    """The address of a Prometheus that has scraped a server and runs, the last of which goes on; and for how many minutes."""
    over, started = threading.Event(), list[subprocess.Popen[bytes]]()
    run_port, port, web, page_port = (free_port() for _ in range(4))
    metrics, server = f"http://127.0.0.1:{run_port}/metrics", f"ws://127.0.0.1:{port}"

    def start(*words: str) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL))
        return started[-1]

    def serve() -> subprocess.Popen[bytes]:
        process = start(sys.executable, "-m", "palmar.cli", "serve", "shipped", "--port", str(port))
        until(lambda: "palmar_sessions" in read(f"http://127.0.0.1:{port}/metrics"), "the server does not answer")
        return process

    def run(instruction: str, *more: str, ends: bool = False) -> subprocess.Popen[bytes]:
        how = ["-m", "palmar.cli"] if ends else ["-c", GOES_ON]
        words = ["--video", "None", "--log", "log.jsonl", "--metrics", str(run_port), "--seed", str(len(started))]
        process = start(sys.executable, *how, "run", instruction, *words, "--timeout", "120", *more)
        until(lambda: "palmar_run_active 1.0" in read(metrics) or process.poll() is not None, f"{instruction}: no run")
        print(f"{time.strftime('%H:%M:%S')} {instruction}", flush=True)
        return process

    def asks() -> None:
        while not over.wait(1.0):
            with suppress(PalmarError, OSError):  # the server may be away
                client(server, over)

    try:
        config = (ASSETS / "prometheus.yml").read_text().replace("9470", str(run_port)).replace("8000", str(port))
        (folder / "prometheus.yml").write_text(config)
        where = ["--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address=127.0.0.1:{web}"]
        start("prometheus", *where, "--log.level=error")
        gone, began = serve(), time.monotonic()
        for _ in range(2):
            threading.Thread(target=asks, daemon=True).start()
        run("pick up the red cube", ends=True).wait()
        asking = run("push the green ball left", "--policy", server)
        time.sleep(20)
        gone.terminate()
        gone.wait()
        serve()
        asking.wait()
        broken_off = run("pick up the blue ball")
        time.sleep(20)
        broken_off.send_signal(signal.SIGINT)
        broken_off.wait()
        run("pick up the red cube", "--page", "--page-address", f"127.0.0.1:{page_port}")
        page = chromium.new_page()
        page.set_default_timeout(1000 * PATIENCE)
        page.goto(f"http://127.0.0.1:{page_port}")
        page.click("#drive")
        page.wait_for_selector("#drive[aria-pressed='true']")
        time.sleep(10)
        page.keyboard.press("t")  # a person drives
        page.keyboard.down("w")
        time.sleep(8)
        page.keyboard.up("w")
        page.keyboard.press("b")
        time.sleep(8)
        page.keyboard.press("Escape")
        page.wait_for_selector("#mode:text-is('WAITING')")
        time.sleep(15)
        page.fill("#text", "put the green ball on the blue plate")
        page.keyboard.press("Enter")
        page.wait_for_selector("#mode:text-is('RUNNING')")
        time.sleep(45)
        yield f"http://127.0.0.1:{web}", (time.monotonic() - began) / 60
    finally:
        over.set()
        for process in reversed(started):
            process.terminate()
            process.wait()


def draw(chromium: Browser, prometheus: str, minutes: float, out: Path) -> None:
    page = chromium.new_page(viewport={"width": 1400, "height": 900})
    place, errors = f"{prometheus}/drawn/", list[str]()  # an address of Prometheus, so that the page may ask it
    page.on("pageerror", lambda error: errors.append(str(error)))

    def answer(route: Route) -> None:
        name = route.request.url.removeprefix(place).partition("?")[0]
        for there, here in FILES.items():
            name = name.replace(there, here)
        if not name:
            route.fulfill(body=PAGE, content_type="text/html")
        elif (file := HERE / name).is_file() or (file := HERE / "build" / name).is_file():
            route.fulfill(path=file)
        else:
            route.fulfill(status=404)

    page.route(f"{place}**", answer)
    page.goto(f"{place}?minutes={minutes}")
    page.wait_for_selector("canvas", timeout=1000 * PATIENCE)
    page.wait_for_timeout(3000)
    if errors:
        raise RuntimeError("; ".join(errors))
    picture = Image.open(io.BytesIO(page.screenshot(full_page=True)))
    picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE).save(
        out, optimize=True
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prometheus", default="", help="address of one that has scraped; else all is started here")
    parser.add_argument("--minutes", type=float, default=0.0, help="how far back; 0 for all that was started here")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/figures/grafana.png")
    options = parser.parse_args()
    for program in ("npm", *(() if options.prometheus else ("prometheus",))):
        if shutil.which(program) is None:
            sys.exit(f"{program} is not installed. Next: apt-get install {program}")
    if not (HERE / "node_modules").is_dir():
        subprocess.run(["npm", "install", "--no-package-lock", "--no-audit", "--no-fund"], cwd=HERE, check=True)
    build = ["main.tsx", "--bundle", "--minify", "--jsx=automatic", "--outdir=build", "--loader:.ttf=empty"]
    constants = ['--define:process.env.NODE_ENV="production"', "--define:global=window"]
    subprocess.run(["node_modules/.bin/esbuild", *build, *constants, "--log-level=error"], cwd=HERE, check=True)
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        chromium = playwright.chromium.launch(executable_path=browser_path(), args=["--no-sandbox"])
        if options.prometheus:
            draw(chromium, options.prometheus, options.minutes or 60.0, options.out)
        else:
            with lived(Path(folder), chromium) as (prometheus, minutes):
                draw(chromium, prometheus, options.minutes or minutes, options.out)
        chromium.close()
    print(f"{options.out}: {options.out.stat().st_size / 1e3:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
