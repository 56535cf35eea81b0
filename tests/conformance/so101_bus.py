"""SO-101 arms on pseudo terminals: six STS3215 servos each that speak Feetech's protocol 0, so that lerobot's own bus drives them.

    python so101_bus.py FOLDER

FOLDER/follower and FOLDER/leader are the ports; FOLDER/state holds the follower's six positions [ticks] as float64, for a camera.
The leader is moved as by a hand, a slow wave. Creating FOLDER/unplug closes the follower's port, as a cable that is pulled does.
It ends when its standard input does.
"""

import contextlib
import math
import os
import select
import struct
import sys
import threading
import time
import tty
from pathlib import Path

MODEL, IDS, MIDDLE, SPEED = 777, range(1, 7), 2047.0, 2600.0  # speed [ticks/s]
PING, READ, WRITE, SYNC_READ, SYNC_WRITE, ALL = 1, 2, 3, 0x82, 0x83, 0xFE
FIRMWARE, NUMBER, LOWEST, HIGHEST, HOMING, TORQUE, GOAL, PRESENT = 0, 3, 9, 11, 31, 40, 42, 56
RANGES = {i: (900, 3200) for i in IDS} | {5: (0, 4095), 6: (2000, 3400)}


class Servo:
    """128 registers; the position follows the goal while there is torque. waved: a hand moves it."""

    def __init__(self, number: int, waved: bool) -> None:
        low, high = RANGES[number]
        self.number, self.waved, self.memory = number, waved, bytearray(128)
        self.middle, self.width = (low + high) / 2, (high - low) / 2
        self.at, self.since = self.middle, time.monotonic()
        self.memory[FIRMWARE : FIRMWARE + 2] = bytes((3, 10))
        for place, value in ((NUMBER, MODEL), (LOWEST, low), (HIGHEST, high), (GOAL, round(self.at))):
            self.memory[place : place + 2] = struct.pack("<H", value)
        self.memory[5] = number

    def moved(self) -> None:
        now = time.monotonic()
        if self.waved:
            self.at = self.middle + 0.25 * self.width * math.sin(0.7 * now + self.number)
        elif self.memory[TORQUE]:
            goal = struct.unpack_from("<H", self.memory, GOAL)[0]
            way = SPEED * (now - self.since)
            self.at += min(max(goal - self.at, -way), way)
        self.since = now
        struct.pack_into("<H", self.memory, PRESENT, round(self.at))

    def write(self, place: int, data: bytes) -> None:
        self.moved()
        if place == TORQUE and data[0] and not self.memory[TORQUE]:
            struct.pack_into("<H", self.memory, GOAL, round(self.at))  # it holds where it is
        self.memory[place : place + len(data)] = data

    def read(self, place: int, length: int) -> bytes:
        self.moved()
        return bytes(self.memory[place : place + length])


class Bus:
    """Servos behind a port, a link to a pseudo terminal."""

    def __init__(self, port: Path, waved: bool) -> None:
        self.servos = {i: Servo(i, waved) for i in IDS}
        self.main, child = os.openpty()
        tty.setraw(child)
        self.kept, self.buffer = child, b""  # open here too: a driver that leaves is no hang-up
        port.unlink(missing_ok=True)
        port.symlink_to(os.ttyname(child))

    def serve(self) -> None:
        while True:
            try:
                if select.select([self.main], [], [], 0.2)[0]:
                    self.buffer += os.read(self.main, 4096)
                    self._packets()
            except (OSError, ValueError):
                return

    def unplug(self) -> None:
        for descriptor in (self.kept, self.main):
            os.close(descriptor)

    def _packets(self) -> None:
        while (start := self.buffer.find(b"\xff\xff")) >= 0 and len(self.buffer) >= start + 4:
            end = start + 4 + self.buffer[start + 3]
            if len(self.buffer) < end:
                return
            packet, self.buffer = self.buffer[start + 2 : end], self.buffer[end:]
            if sum(packet) & 0xFF == 0xFF:
                self._obey(packet[0], packet[2], packet[3:-1])

    def _obey(self, who: int, what: int, data: bytes) -> None:
        if what == SYNC_WRITE:
            place, length = data[0], data[1]
            for i in range(2, len(data), length + 1):
                self.servos[data[i]].write(place, data[i + 1 : i + 1 + length])
            return
        if what == SYNC_READ:
            for i in data[2:]:
                self._answer(i, self.servos[i].read(data[0], data[1]))
            return
        for i in IDS if who == ALL else (who,):
            if i not in self.servos:
                continue
            if what == WRITE:
                self.servos[i].write(data[0], data[1:])
            self._answer(i, self.servos[i].read(data[0], data[1]) if what == READ else b"")

    def _answer(self, who: int, data: bytes) -> None:
        body = bytes((who, len(data) + 2, 0)) + data
        os.write(self.main, b"\xff\xff" + body + bytes((~sum(body) & 0xFF,)))


def main() -> None:
    folder = Path(sys.argv[1])
    with contextlib.suppress(OSError):  # servos do not wait for a core
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(3))
    buses = {name: Bus(folder / name, name == "leader") for name in ("follower", "leader")}
    for bus in buses.values():
        threading.Thread(target=bus.serve, daemon=True).start()
    print("ready", flush=True)
    state, plugged = folder / "state", True
    while not select.select([sys.stdin], [], [], 0.01)[0]:
        for servo in buses["follower"].servos.values():
            servo.moved()
        aside = folder / "state.new"
        aside.write_bytes(struct.pack("<6d", *(s.at for s in buses["follower"].servos.values())))
        aside.replace(state)
        if plugged and (folder / "unplug").exists():
            plugged = False
            buses["follower"].unplug()


if __name__ == "__main__":
    main()
