"""Does a test fail when a guard is taken away? Each is made to say nothing in a copy of the source, and the tests of the
runtime run until the first that fails.

    python tests/guards_removed.py [NAME …]        about 20 s each; exit code 1 when no test notices one
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SAFETY, WATCH = "runtime/safety/", "runtime/supervision/"
REMOVED: dict[str, tuple[str, str, str]] = {
    **{
        name: (f"{SAFETY}guards.py", name, "None")
        for name in (
            "stale", "tracking", "effort", "jump", "nan", "saturation", "position", "velocity", "acceleration", "jerk", "braking",
        )
    },
    "limits of a tick": (f"{SAFETY}limits.py", "Limits.interval", "np.full(len(q), -1e9), np.full(len(q), 1e9)"),
    "zones": (f"{SAFETY}filter.py", "_Bounded.keeps", "True"),
    "collision": (f"{SAFETY}collision.py", "Clearance.keeps", "True, -1, np.zeros(0)"),
    "cameras": (f"{WATCH}cameras.py", "CameraWatch._look", "None"),
    "deadman": (f"{WATCH}deadman.py", "Signs.seen", "True"),
    "stall": (f"{WATCH}controller.py", "Controller._stall", "0.0"),
    "push in vain": (f"{WATCH}controller.py", "Controller._moving_in_vain", "0.0"),
    "states of the controller": (f"{WATCH}controller.py", "Controller.__call__", "None"),
    "E-STOP latch": (f"{WATCH}estop.py", "Latch.latched", "False"),
    "watchdog process": (f"{WATCH}watchdog.py", "Host.watch", "None"),
}  # fmt: skip
"""{guard: (file, function, what it answers instead)}."""
TESTS = ("tests/runtime/safety", "tests/runtime/supervision", "tests/runtime")


def without(file: Path, function: str, answer: str) -> None:
    """Rewrite a file so that a function, or CLASS.METHOD, answers at once."""
    text = file.read_text()
    nodes: list[ast.stmt] = ast.parse(text).body
    for part in function.split("."):
        found = next(n for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name == part)
        nodes = found.body
    first = nodes[1] if isinstance(nodes[0], ast.Expr) and len(nodes) > 1 else nodes[0]
    lines = text.splitlines(keepends=True)
    lines.insert(first.lineno - 1, f"{' ' * first.col_offset}return {answer}\n")
    file.write_text("".join(lines))


def noticed(name: str) -> str:
    """The first test that fails without this guard; "" when none does."""
    file, function, answer = REMOVED[name]
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "src", Path(folder) / "src")
        without(Path(folder) / "src" / "palmar" / file, function, answer)
        environment = os.environ | {"PYTHONPATH": f"{folder}/src", "OMP_NUM_THREADS": "1", "LP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", "-p", "no:randomly", *TESTS]
        ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if ran.returncode == 0:
        return ""
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", ran.stdout, re.MULTILINE)
    if failed is None:
        raise SystemExit(f"{name}: pytest did not run:\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}")
    return failed.group(1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(REMOVED))
    names = parser.parse_args().names or list(REMOVED)
    if unknown := [n for n in names if n not in REMOVED]:
        parser.error(f"'{unknown[0]}' is none of {', '.join(REMOVED)}")
    missed = 0
    for name in names:
        found = noticed(name)
        missed += not found
        print(f"{name:26} {found or 'NO TEST FAILS'}", flush=True)
    print(f"{len(names) - missed} of {len(names)} are noticed")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
