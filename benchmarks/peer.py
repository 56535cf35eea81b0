"""lerobot in a venv of its own (`tests/conformance/run.sh` makes it), as a second process that is asked one thing at a time."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

REPO = Path(__file__).parents[1]
VENV = REPO / ".venv-lerobot"
MARK = "RESULT "


def environment(venv: Path, home: Path) -> dict[str, str]:
    """What lerobot needs around it: FFmpeg's libraries from PyAV for torchcodec, no network, caches in `home`."""
    find = "import av, pathlib; print(pathlib.Path(av.__file__).parents[1] / 'av.libs')"
    done = subprocess.run([venv / "bin/python", "-c", find], capture_output=True, text=True, check=True)
    return os.environ | {
        "LD_LIBRARY_PATH": f"{venv / 'ffmpeg'}:{done.stdout.strip()}",
        "PYTHONPATH": str(REPO / "tests/conformance"),  # lerobot_shim
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(home),
    }


class Peer:
    """A script under the venv's Python. It reads a line for each request and answers with a line from `answer`."""

    def __init__(self, venv: Path, command: Sequence[str | Path], home: Path) -> None:
        if not (venv / "bin/python").exists():
            raise SystemExit(
                f"no lerobot at {venv}: make it with tests/conformance/run.sh (about 2 GB), or give --lerobot FOLDER"
            )
        self.process = subprocess.Popen(
            [venv / "bin/python", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=environment(venv, home),
        )  # fmt: skip

    def ask(self, request: str = "") -> Any:
        """The answer to one request; the peer does nothing before and after it."""
        assert self.process.stdin is not None and self.process.stdout is not None
        print(request, file=self.process.stdin, flush=True)
        for line in self.process.stdout:
            if line.startswith(MARK):
                return json.loads(line.removeprefix(MARK))
        raise SystemExit("lerobot failed; what it said is above")

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()


def answer(value: Any) -> None:
    """For the script inside the venv."""
    print(MARK + json.dumps(value), flush=True)
