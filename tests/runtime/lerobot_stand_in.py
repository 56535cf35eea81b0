"""The stand-in for lerobot in `stand_in/`, as if it were installed, and what its simulated devices do."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from palmar.robot_parts import Camera
from palmar.robots.so101 import so101

ROBOT = replace(so101(), cameras=())
SEEING = replace(ROBOT, cameras=(Camera("front", 48, 64),))
FOLLOWER = "lerobot:so101_follower?port=follower&use_degrees=false"
LEADER = "lerobot:so101_leader?port=leader&use_degrees=false"
FRONT = "&cameras={front: {type: fake, width: 64, height: 48, fps: 30}}"


def _forget() -> None:
    for name in [n for n in sys.modules if n.partition(".")[0] in ("lerobot", "draccus")]:
        del sys.modules[name]


@contextmanager
def standing_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """lerobot can be imported inside; its module `simulated` is given."""
    _forget()
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "stand_in"))
    try:
        import lerobot.simulated

        yield lerobot.simulated
    finally:
        _forget()
