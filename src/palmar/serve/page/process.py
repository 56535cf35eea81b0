"""The side of a run: starts the page's process, tells it what happens and hears what people want, and waits for neither."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from palmar.errors import need
from palmar.serve.page.config import PageConfig
from palmar.serve.page.messages import Broken, Head, framed, receive
from palmar.serve.reach import tls_context
from palmar.types import Array

STALLS = 2.0
"""How long the page's process may take nothing of what it is told before it is ended and started anew [s]."""
AGAIN = 0.5
"""Between the end of one process and the start of the next [s]."""
MOST = 256
"""Messages that wait for the page's process: the oldest are dropped."""


class PageProcess:
    """A process that serves the page on a socket which is bound here, so that another can take its place.

    heard: called with every message of the page, on a thread of its own. lost: called when the process has died or hangs; it is
    started anew. address: of the page. silent: seconds since its last sign of life, 0 before the first.
    Raises `BadValue` where it cannot listen, `BadFile` for a certificate that cannot be used.
    """

    def __init__(
        self, config: PageConfig, heard: Callable[[Head], None], lost: Callable[[], None] = lambda: None
    ) -> None:
        for package in ("starlette", "uvicorn", "websockets", "PIL"):
            need(package, "page")
        tls_context(config.certificate, config.private_key)
        self.config, self.heard, self.lost = config, heard, lost
        self._listening = config.listen()
        self.address = config.address(self._listening)
        self._changed = threading.Condition()
        self._said: deque[tuple[Head, bytes]] = deque(maxlen=MOST)
        self._about: Head = {"t": "about"}
        self._state: Head | None = None
        self._pictures: dict[str, tuple[Head, Array]] = {}
        self._closed, self._alive = False, 0.0
        self._start()
        for work in (self._write, self._read):
            threading.Thread(target=work, name="palmar-page", daemon=True).start()

    # ------------------------------------------------------------------------------------------------ what is said

    def about(self, about: Head) -> None:
        """What does not change while a run goes on."""
        with self._changed:
            self._about = about | {"t": "about"}
            self._said.append((self._about, b""))
            self._changed.notify()

    def state(self, state: Head) -> None:
        """The newest takes the place of one that was not sent yet."""
        with self._changed:
            self._state = state | {"t": "state"}
            self._changed.notify()

    def picture(self, camera: str, image: Array, attention: dict[str, Head] | None = None) -> None:
        """image: uint8[H, W, 3]; the newest of each camera takes the place of one that was not sent yet."""
        head = {"t": "picture", "camera": camera, "height": image.shape[0], "width": image.shape[1]}
        with self._changed:
            self._pictures[camera] = head | {"attention": attention or {}}, image
            self._changed.notify()

    def say(self, head: Head) -> None:
        with self._changed:
            self._said.append((head, b""))
            self._changed.notify()

    def close(self) -> None:
        """What was said is sent first, for a second at most."""
        until = time.monotonic() + 1.0
        while (self._said or self._state) and time.monotonic() < until:
            time.sleep(0.01)
        self._closed = True
        with self._changed:
            self._changed.notify()
        self._listening.close()
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        try:
            self._process.wait(3.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._sock.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def silent(self) -> float:
        return time.monotonic() - self._alive if self._alive else 0.0

    # ------------------------------------------------------------------------------------------------ threads

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        config = {
            "host": self.config.host, "key": self.config.key, "viewers": self.config.viewers,
            "patience": self.config.patience, "certificate": str(self.config.certificate or ""),
            "private_key": str(self.config.private_key or ""),
        }  # fmt: skip
        files = (self._listening.fileno(), theirs.fileno())
        words = [sys.executable, "-m", "palmar.serve.page.served", *map(str, files)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            words, pass_fds=files, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True, env=environment
        )  # fmt: skip
        theirs.close()
        ours.sendall(b"".join(framed({"t": "config"} | config)))  # the key is on no command line
        ours.settimeout(STALLS)
        with self._changed:
            self._sock = ours
            self._said.append((self._about, b""))
            self._alive = 0.0
            self._changed.notify()

    def _write(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._said or self._state or self._pictures)
                if self._closed:
                    return
                sock, messages = self._sock, [*self._said]
                self._said.clear()
                if self._state is not None:
                    messages.append((self._state, b""))
                    self._state = None
                pictures, self._pictures = self._pictures, {}
            try:
                for head, payload in messages:
                    sock.sendall(b"".join(framed(head, payload)))
                for head, image in pictures.values():
                    first, rest = framed(head, np.ascontiguousarray(image).reshape(-1).data)
                    sock.sendall(first)
                    sock.sendall(rest)
            except OSError:  # gone, or takes nothing: the reader starts another
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
                time.sleep(AGAIN / 4)

    def _read(self) -> None:
        while not self._closed:
            sock = self._sock
            receiving = sock.dup()
            receiving.settimeout(None)
            try:
                while True:
                    head, _ = receive(receiving)
                    self._alive = time.monotonic()
                    if head["t"] != "alive":
                        self.heard(head)
            except Broken:
                pass
            finally:
                receiving.close()
            if self._closed:
                return
            self._alive = 0.0
            self.lost()
            self._process.kill()
            self._process.wait()
            sock.close()
            time.sleep(AGAIN)
            if not self._closed:
                self._start()


def attention_of(attention: Any, camera: str) -> dict[str, Head]:
    """{what is looked at: its grid, 0 … 255 of its greatest value} of a camera, of `ActionChunk.attention`."""
    import base64

    found: dict[str, Head] = {}
    for name, heat in (attention or {}).items():
        where, _, what = name.partition(".")
        if where == camera and np.isfinite(heat).all() and heat.max() > 0:
            grid = np.round(heat / heat.max() * 255).clip(0, 255).astype(np.uint8)
            found[what or "attention"] = {
                "h": grid.shape[0], "w": grid.shape[1], "v": base64.b64encode(grid.tobytes()).decode(),
            }  # fmt: skip
    return found
