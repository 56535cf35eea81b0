"""A body for other computers: each driver gets a watchdog process of its own here, beside the robot, one at a time."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from palmar.description.guesses import check_deployable
from palmar.description.write import robot_text
from palmar.embodiments import Embodiment
from palmar.errors import BadValue, RobotFault
from palmar.ranges import Port, Seconds, check_ranges
from palmar.runtime.bodies.approval import require_checked
from palmar.runtime.bodies.find import Found
from palmar.runtime.bodies.remote import PORT, tuned
from palmar.runtime.loop import LONGEST
from palmar.runtime.supervision.estop import Latch
from palmar.runtime.supervision.handshake import Entry, challenge
from palmar.runtime.supervision.hosted import PERIOD, check_period, watchdog_process
from palmar.runtime.supervision.watchdog import CLOSES, LINGERS
from palmar.serve.reach import check_reach

ENDS = 1.0
"""How long a watchdog's process may take to end after its driver has closed the body [s]."""


@dataclass(frozen=True)
class BodyConfig:
    """host, port: where to listen; port 0 for any that is free. period: of the watchdog [s]. key: what drivers must have, "" for
    none. open: other computers may connect without a key. patience: seconds that a handshake may take."""

    host: str = "127.0.0.1"
    port: Port = PORT
    period: Seconds = PERIOD
    key: str = ""
    open: bool = False
    patience: Seconds = 5.0

    def __post_init__(self) -> None:
        check_ranges(self)
        check_reach(self.host, self.key, self.open, "drive the robot")


class BodyServer:
    """found, robot: the body, which must have passed its check as this robot, and its description: limits are those of here,
    whatever a driver thinks. asked: how the robot was asked for. `run` serves until `stop`.

    Raises `BadValue` for a body that has not been checked, limits that are guesses, a latched E-STOP and a period out of range.
    """

    def __init__(self, found: Found, robot: Embodiment, config: BodyConfig | None = None, asked: str = "ROBOT") -> None:
        self.found, self.robot, self.config = found, robot, config or BodyConfig()
        if found.remote:
            raise BadValue(f"'{found.where}' is served already. Next: its own address, tcp://HOST:PORT")
        check_deployable(robot)
        check_period(self.config.period, robot)
        require_checked(robot, found, asked)
        self.latch = Latch(robot.name)
        self.latch.require_released()
        self.latch.prepare()
        self.address, self.drivers = "", 0
        self._driver: subprocess.Popen[bytes] | None = None
        self._entering, self._over = threading.Lock(), False
        self._listening: socket.socket | None = None

    def run(self, ready: Callable[[str], None] | None = None) -> None:
        """ready: called with the address once drivers can connect. Raises `BadValue` where it cannot listen there."""
        family = socket.AF_INET6 if ":" in self.config.host else socket.AF_INET
        with TemporaryDirectory() as folder, socket.socket(family, socket.SOCK_STREAM) as listening:
            file = Path(folder) / "robot.toml"
            file.write_text(robot_text(self.robot), "utf-8")
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listening.bind((self.config.host, self.config.port))
                listening.listen(8)
            except OSError as error:
                where, why = f"{self.config.host}:{self.config.port}", error.strerror or error
                raise BadValue(
                    f"cannot listen on {where} ({why}). Next: another --port, or 0 for any that is free"
                ) from error
            self._listening = listening
            host, port = listening.getsockname()[:2]
            self.address = f"tcp://{f'[{host}]' if ':' in host else host}:{port}"
            if ready is not None:
                ready(self.address)
            try:
                while True:
                    try:
                        line, _ = listening.accept()
                    except OSError:  # closed by `stop`
                        return
                    threading.Thread(target=self._enter, args=(line, file), daemon=True).start()
            finally:
                self._end()

    def stop(self) -> None:
        """No more drivers; the one that drives is braked. From any thread or signal handler."""
        if self._listening is not None:
            try:
                self._listening.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # it does not listen any more
            finally:
                self._listening.close()

    def _enter(self, line: socket.socket, file: Path) -> None:
        """One who would drive: told why not, or given to a watchdog process."""
        with line:
            line.settimeout(self.config.patience)
            try:
                tuned(line)
                knows = challenge(line, self.config.key)
                with self._entering:
                    if self._over:
                        return
                    entry = self._entry() if knows else Entry.KEY
                    line.sendall(bytes([entry]))
                    if entry is Entry.WELCOME:
                        line.settimeout(None)
                        self._driver = watchdog_process(
                            line, self.found.where, self.config.period, "--robot", str(file)
                        )
                        self.drivers += 1
            except OSError:
                return  # it left, or said nothing in time

    def _entry(self) -> Entry:
        """For one who has the key."""
        if self.latch.latched:
            return Entry.ESTOP
        return Entry.BUSY if self._driven() else Entry.WELCOME

    def _driven(self) -> bool:
        """Whether somebody drives; one who has just closed the body is waited for."""
        if self._driver is None:
            return False
        try:
            self._driver.wait(ENDS)
        except subprocess.TimeoutExpired:
            return True
        return False

    def _end(self) -> None:
        """The watchdog brakes, lets go of the body and ends; who is still in a handshake drives no more."""
        with self._entering:
            self._over = True
        if self._driver is not None and self._driver.poll() is None:
            self._driver.terminate()
            try:
                self._driver.wait(LONGEST + CLOSES + LINGERS)
            except subprocess.TimeoutExpired:
                self._driver.kill()
                raise RobotFault(
                    "the watchdog process did not end: its body may hang. Next: look at the robot, and switch it off"
                ) from None
