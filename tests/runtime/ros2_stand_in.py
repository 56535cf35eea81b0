"""ROS 2 without ROS: a node that keeps what is published, and message classes with any fields."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


class Message(SimpleNamespace):
    """Of any kind: the fields that it is made with."""

    Request, Response = SimpleNamespace, SimpleNamespace


class Node:
    """In place of `Spinning`: nothing runs by itself. sent: (topic, message) in order. heard: {topic: who takes its messages}.
    services: {name: who answers}."""

    def __init__(self, name: str) -> None:
        self.name, self.failed = name, None
        self.sent: list[tuple[str, Any]] = []
        self.heard: dict[str, Callable[[Any], None]] = {}
        self.services: dict[str, Callable[[Any, Any], Any]] = {}

    def publisher(self, message: Any, topic: str, kind: str) -> Any:
        return SimpleNamespace(publish=lambda said: self.sent.append((topic, said)))

    def subscribe(self, message: Any, topic: str, kind: str, heard: Callable[[Any], None], alone: bool = False) -> None:
        self.heard[topic] = heard

    def service(self, service: Any, name: str, answer: Callable[[Any, Any], Any], alone: bool = False) -> None:
        self.services[name] = answer

    def every(self, period: float, call: Callable[[], None]) -> None: ...

    def start(self) -> None: ...

    def close(self) -> None: ...


def without_ros(patch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """What `module` imports of ROS, and its `Spinning`, are the stand-ins."""
    for package, names in (
        ("sensor_msgs", ("Image", "JointState")), ("std_msgs", ("Bool", "String")), ("std_srvs", ("Trigger",)),
    ):  # fmt: skip
        kind = "srv" if package == "std_srvs" else "msg"
        made = ModuleType(f"{package}.{kind}")
        for name in names:
            setattr(made, name, Message)
        patch.setitem(sys.modules, package, ModuleType(package))
        patch.setitem(sys.modules, made.__name__, made)
    patch.setattr(module, "Spinning", Node)
