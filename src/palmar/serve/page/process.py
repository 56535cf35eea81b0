"""The side of a run: starts the page's process, tells it what happens and hears what people want, and waits for neither."""

from __future__ import annotations

import math
import os
import select
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

from palmar.console import warn
from palmar.errors import RobotFault, need
from palmar.serve.page.config import PageConfig
from palmar.serve.page.messages import Broken, Head, framed, receive
from palmar.serve.reach import tls_context
from palmar.types import Array

STALLS = 2.0
"""How long the page's process may say nothing, or take nothing of what it is told, before it is ended and started anew [s]."""
STARTS = 60.0
"""How long it may take to start [s]."""
AGAIN, MOST_AGAIN = 0.5, 30.0
"""Between the end of one process and the start of the next, the first time and at most: it doubles [s]."""
LIVES = 10.0
"""A process that lived so long is followed by another at once [s]."""
MOST = 256
"""Messages that wait for the page's process: the oldest are dropped."""
GRID = 64
"""Rows and columns of attention that are shown, at most."""


class PageProcess:
    """A process that serves the page on a socket which is bound here, so that another can take its place.

    heard: called with every message of the page, on a thread of its own. lost: called when the process has died or hangs; it is
    started anew. address: of the page. silent: seconds since its last sign of life, inf while there is none.
    Raises `BadValue` where it cannot listen, `BadFile` for a certificate that cannot be used, `RobotFault` when it does not start.
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
        self._changed, self._life = threading.Condition(), threading.Lock()
        self._said: deque[tuple[Head, bytes]] = deque(maxlen=MOST)
        self._about: Head = {"t": "about"}
        self._state: Head | None = None
        self._last_state: Head | None = None
        self._pictures: dict[str, tuple[Head, Array]] = {}
        self._closed, self._alive, self._ready = False, 0.0, threading.Event()
        try:
            self._start()
        except OSError as error:
            self._listening.close()
            raise RobotFault(f"the page's process cannot be started ({error}). Next: end other programs") from error
        self._threads = [threading.Thread(target=w, name="palmar-page", daemon=True) for w in (self._write, self._read)]
        for thread in self._threads:
            thread.start()
        if not self._ready.wait(STARTS):
            self.close()
            raise RobotFault(f"the page's process did not start within {STARTS:g} s. Next: see its words above")

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
            self._state = self._last_state = state | {"t": "state"}
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
        while (self._said or self._state) and self._alive and time.monotonic() < until:
            time.sleep(0.01)
        with self._life:  # nobody starts another meanwhile
            self._closed = True
            with suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)
        with self._changed:
            self._changed.notify()
        for thread in self._threads:
            thread.join(STALLS + 1.0)
        try:
            self._process.wait(3.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listening.close()
        self._sock.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def silent(self) -> float:
        return time.monotonic() - self._alive if self._alive else math.inf

    # ------------------------------------------------------------------------------------------------ threads

    def _start(self) -> None:
        """Raises OSError."""
        ours, theirs = socket.socketpair()
        with theirs:
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
        ours.settimeout(STALLS)
        with suppress(OSError):  # it has died already: the reader sees it
            ours.sendall(b"".join(framed({"t": "config"} | config)))  # the key is on no command line
        with self._changed:
            self._sock = ours
            self._said.append((self._about, b""))
            self._state = self._last_state
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
                    self._send(sock, head, payload)
                for head, image in pictures.values():
                    self._send(sock, head, np.ascontiguousarray(image).reshape(-1).data)
            except OSError:  # gone, or takes nothing: the reader starts another
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
                time.sleep(AGAIN / 4)

    @staticmethod
    def _send(sock: socket.socket, head: Head, payload: bytes | memoryview) -> None:
        """Raises OSError. What is larger than the page takes is left out, and somebody is told."""
        try:
            parts = framed(head, payload)
        except ValueError as error:
            warn("the page does not show it: {}", error)
            return
        for part in parts:
            sock.sendall(part)

    def _read(self) -> None:
        pause = AGAIN
        while not self._closed:
            began = time.monotonic()
            self._listen(self._sock)
            if self._closed:
                return
            self._alive = 0.0
            self._told(self.lost)
            self._process.kill()
            self._process.wait()
            pause = AGAIN if time.monotonic() - began > LIVES else min(2 * pause, MOST_AGAIN)
            if pause >= 8 * AGAIN:
                warn("the page's process ended again; the next is started in {} s. Next: see its words above", pause)
            while not self._closed and not self._again(pause):
                pause = min(2 * pause, MOST_AGAIN)

    def _again(self, pause: float) -> bool:
        """Whether another process has been started, after a pause."""
        until = time.monotonic() + pause
        while time.monotonic() < until and not self._closed:
            time.sleep(0.05)
        with self._life:
            if self._closed:
                return True
            self._sock.close()
            try:
                self._start()
            except OSError as error:
                warn("the page's process cannot be started ({}); it is tried again", error)
                return False
        return True

    def _listen(self, sock: socket.socket) -> None:
        """Until the process is gone or silent."""
        wait = STARTS
        try:
            while select.select([sock], [], [], wait)[0]:
                head, _ = receive(sock)
                self._alive, wait = time.monotonic(), STALLS
                self._ready.set()
                if head["t"] != "alive":
                    self._told(self.heard, head)
        except (Broken, OSError, ValueError):
            return

    @staticmethod
    def _told(whom: Callable[..., None], *what: Any) -> None:
        """What goes wrong there ends no thread of the page: it goes on hearing stops."""
        try:
            whom(*what)
        except Exception as error:
            warn("a request of the page failed: {}", f"{type(error).__name__}: {error}")


def attention_of(attention: Any, camera: str) -> dict[str, Head]:
    """{what is looked at: its grid, 0 … 255 of its greatest value} of a camera, of `ActionChunk.attention`."""
    import base64

    found: dict[str, Head] = {}
    for name, heat in (attention or {}).items():
        where, _, what = name.partition(".")
        if where == camera and np.isfinite(heat).all() and heat.max() > 0:
            rows, columns = (math.ceil(n / GRID) for n in heat.shape)
            grid = np.round(heat[::rows, ::columns] / heat.max() * 255).clip(0, 255).astype(np.uint8)
            found[what or "attention"] = {
                "h": grid.shape[0], "w": grid.shape[1], "v": base64.b64encode(grid.tobytes()).decode(),
            }  # fmt: skip
    return found
