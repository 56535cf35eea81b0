"""Everything the page's process knows: what is shown, who looks on, and who of them drives."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from palmar.serve.page.messages import Head, framed, text_of

LAG = 0.3
"""How old what a driver holds may be, there and back [s]: on a slower line nothing counts as held."""
IN_FLIGHT = 2
"""Rounds of what is shown that a browser has not confirmed yet, at most: a slow line shows fewer, not older ones."""
SURE = 600
"""Confidences that are kept for who opens the page later."""
COMMANDS = 60.0
"""Messages a second that one browser may send on average."""
DRIVES = frozenset({"keys", "press", "go on", "finish", "take", "give", "instruct", "end", "answer"})
ANYBODY = frozenset({"stop", "hold"})


@dataclass(eq=False)
class Viewer:
    """A browser that looks on. shown: of which states and pictures it has the newest. confirmed: rounds it has taken."""

    name: str
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    state: int = -1
    about: int = -1
    pictures: dict[str, int] = field(default_factory=dict)
    sent: int = 0
    confirmed: int = 0


@dataclass(eq=False)
class Hand:
    """A browser that may want something. told: what it is to hear next."""

    name: str
    told: asyncio.Queue[Head] = field(default_factory=lambda: asyncio.Queue(64))


class Hub:
    """writer: to the run, None before it is there (tests)."""

    def __init__(self, writer: asyncio.StreamWriter | None = None) -> None:
        self.writer = writer
        self.viewers: set[Viewer] = set()
        self.hands: dict[str, Hand] = {}
        self.driver: Hand | None = None
        self.about: Head = {}
        self.state: Head = {}
        self.pictures: dict[str, tuple[int, bytes]] = {}
        self.sure: deque[list[float]] = deque(maxlen=SURE)
        self.turn = itertools.count()
        self.state_turn = self.about_turn = next(self.turn)
        self.over = False
        self._names = itertools.count(1)

    # ------------------------------------------------------------------------------------------------ from the run

    def told(self, head: Head) -> None:
        """What the run says, all but pictures."""
        kind = head.pop("t")
        if kind == "about":
            self.about, self.about_turn = head, next(self.turn)
        elif kind == "state":
            self._new_state(head)
        elif kind == "did":
            name, _, number = str(head.get("id")).rpartition("/")
            if (hand := self.hands.get(name)) is not None:
                self._tell(hand, head | {"t": "did", "id": int(number) if number.isdecimal() else None})
        self.wake()

    def _new_state(self, head: Head) -> None:
        newest = self.sure[-1][0] if self.sure else -1.0
        sure = head.pop("confidence", [])
        if sure and sure[-1][0] < newest:  # another run
            self.sure.clear()
            newest = -1.0
        self.sure.extend(x for x in sure if x[0] > newest)
        self.state, self.state_turn = head, next(self.turn)

    def picture(self, camera: str, data: bytes) -> None:
        """data: as it is sent to browsers (`shown`)."""
        self.pictures[camera] = next(self.turn), data
        self.wake()

    def ended(self) -> None:
        """The run's process is gone."""
        self.over = True
        self.state = self.state | {
            "mode": "ENDED",
            "reason": "the process that ran the robot has ended",
            "running": False,
        }
        self.state_turn = next(self.turn)
        self.wake()

    # ------------------------------------------------------------------------------------------------ from browsers

    def say(self, head: Head) -> None:
        """To the run."""
        if self.writer is not None and not self.writer.is_closing():
            self.writer.write(b"".join(framed(head)))

    def enter(self, name: str) -> Hand:
        """A browser that may want something; its name is made unique."""
        name = "".join(c for c in name if c.isprintable())[:24].strip() or "viewer"
        while name in self.hands:
            name = f"{name.rstrip('0123456789 ')[:20]} {next(self._names)}"
        self.hands[name] = hand = Hand(name)
        self._roles()
        return hand

    def leave(self, hand: Hand) -> None:
        self.hands.pop(hand.name, None)
        if self.driver is hand:
            self.driver = None
            self.say({"t": "gone", "who": hand.name})
        self._roles()

    def wants(self, hand: Hand, head: Head) -> None:
        """A message of a browser; what it may not do it is told."""
        kind = str(head.get("t"))
        said: Head = {"t": kind, "who": hand.name}
        if kind == "stop":
            self.say(said | {"id": f"{hand.name}/{_number(head.get('id'))}"})
        elif kind == "hold":
            self.say(said)
        elif kind == "drive":
            self._drive(hand, bool(head.get("on")))
        elif kind in DRIVES:
            if kind == "keys" and not self._fresh(head.get("beat")):
                return
            if self.driver is not hand:
                if kind != "keys":
                    who = "nobody drives" if self.driver is None else f"{self.driver.name} drives"
                    self._tell(hand, {"t": "refused", "what": kind, "why": f"{who}; press Drive first"})
                return
            self.say(said | _checked(kind, head))
        else:
            self._tell(hand, {"t": "refused", "what": kind[:20], "why": "there is no such request"})

    def beat(self) -> None:
        """Who drives is told the time, to be said again with what is held."""
        if self.driver is not None:
            self._tell(self.driver, {"t": "beat", "n": round(time.monotonic() * 1000)})

    @staticmethod
    def _fresh(beat: Any) -> bool:
        return isinstance(beat, int) and 0 <= time.monotonic() - beat / 1000 + 0.001 <= LAG

    def _drive(self, hand: Hand, on: bool) -> None:
        if on and self.driver is None:
            self.driver = hand
        elif on and self.driver is not hand:
            assert self.driver is not None
            self._tell(hand, {"t": "refused", "what": "drive", "why": f"{self.driver.name} drives"})
        elif not on and self.driver is hand:
            self.driver = None
            self.say({"t": "gone", "who": hand.name})
        self._roles()

    def _roles(self) -> None:
        driver = None if self.driver is None else self.driver.name
        for hand in self.hands.values():
            self._tell(hand, {"t": "role", "you": hand.name, "driver": driver, "present": len(self.hands)})

    def _tell(self, hand: Hand, head: Head) -> None:
        if hand.told.full():  # it does not read: the newest counts
            hand.told.get_nowait()
        hand.told.put_nowait(head)

    # ------------------------------------------------------------------------------------------------ to browsers

    def wake(self) -> None:
        for viewer in self.viewers:
            viewer.wake.set()

    def round(self, viewer: Viewer) -> list[str | bytes]:
        """What this browser has not seen, the newest of each; [] for nothing, or while it has not confirmed what it was sent."""
        if viewer.sent - viewer.confirmed >= IN_FLIGHT:
            return []
        messages: list[str | bytes] = []
        if viewer.about < self.about_turn:
            viewer.about = self.about_turn
            messages.append(text_of({"t": "about", "confidence": list(self.sure)} | self.about))
        if viewer.state < self.state_turn:
            viewer.state = self.state_turn
            people = {"present": len(self.hands), "driver": None if self.driver is None else self.driver.name}
            messages.append(text_of({"t": "state", "confidence": list(self.sure)[-20:]} | people | self.state))
        for camera, (turn, data) in self.pictures.items():
            if viewer.pictures.get(camera, -1) < turn:
                viewer.pictures[camera] = turn
                messages.append(data)
        if messages:
            viewer.sent += 1
            messages.append(text_of({"t": "round", "n": viewer.sent}))
        return messages


def _number(value: Any) -> int:
    return value if isinstance(value, int) and 0 <= value < 2**53 else 0


def _checked(kind: str, head: Head) -> Head:
    """The fields of a request that are handed on."""
    if kind == "keys":
        down = head.get("down")
        return {"down": [k for k in down[:16] if isinstance(k, str) and len(k) <= 16] if isinstance(down, list) else []}
    if kind == "press":
        key = head.get("key")
        return {"key": key if isinstance(key, str) and len(key) == 1 and key.isalpha() else ""}
    if kind == "instruct":
        return {"text": " ".join(str(head.get("text", "")).split())[:500]}
    if kind == "answer":
        return {"id": _number(head.get("id")), "yes": bool(head.get("yes"))}
    return {}
