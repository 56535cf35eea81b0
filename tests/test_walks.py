"""docs/walks.md is as the code goes: its files run when the walk is taken, and a walk is at most nine of them."""

import re
import sys
import threading
from pathlib import Path

import pytest

import palmar
from palmar.lab.collect import CollectConfig, collect
from palmar.policy import load_policy
from palmar.robots.arm7 import arm7
from palmar.runtime.clock import SimClock
from palmar.runtime.deploy import deploy
from palmar.runtime.fitting import fitted
from palmar.runtime.mock import MockBody
from palmar.train.loop import train
from palmar.train.prepare import TrainSettings, prepare

SOURCE = Path(palmar.__file__).parent
PAGE = SOURCE.parents[1] / "docs" / "walks.md"
BESIDE = pytest.mark.skipif(
    not PAGE.exists(), reason="the documentation lies beside the source, not in the installed package"
)


def walks() -> list[list[str]]:
    """The files of each walk, in its order."""
    parts = PAGE.read_text().split("\n## ")[1:]
    return [re.findall(r"^\| `((?:\w+/)*\w+\.py)` \|", part, flags=re.MULTILINE) for part in parts]


@BESIDE
def test_the_walks_name_files_that_exist():
    for name in re.findall(r"`((?:\w+/)*\w+\.py)", PAGE.read_text()):
        assert (SOURCE / name).exists(), name
    assert len(walks()) == 2
    for rows in walks():
        assert 5 <= len(rows) <= 9 and len(set(rows)) == len(rows)


def ran(work):
    """Files of palmar of which a function runs meanwhile, in any thread, in the order in which each is first entered."""
    seen: dict[str, None] = {}
    prefix = str(SOURCE) + "/"

    def look(frame, event, argument):
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(prefix) and frame.f_code.co_name != "<module>":
            seen.setdefault(name.removeprefix(prefix))

    before = sys.getprofile()
    threading.setprofile(look)
    sys.setprofile(look)
    try:
        work()
    finally:
        sys.setprofile(before)
        threading.setprofile(None)
    return list(seen)


@BESIDE
def test_the_walks_are_as_the_code_goes(tmp_path):
    def demonstrations_become_weights():
        sets = tuple(
            collect(
                tmp_path / f"set{i}", CollectConfig(2, ("reach",), seed=10 * i, timeout=4.0), 1, progress=False
            ).root
            for i in range(2)
        )
        settings = TrainSettings(preset="palmar-nano", data=sets, steps=1, batch_size=8)
        load_policy(str(train(prepare(settings), tmp_path / "run", progress=False)))

    def pictures_become_commands():
        body = MockBody(arm7())
        fit = fitted(load_policy(str(tmp_path / "run")), body.embodiment, cameras={"front": "wrist", "wrist": "front"})
        deploy(body, fit.policy, "reach the red cube", body.reset(), timeout=0.5, clock=SimClock(), blackbox=tmp_path)

    second = ran(demonstrations_become_weights)
    first = ran(pictures_become_commands)
    for rows, files in zip(walks(), (first, second), strict=True):
        assert [name for name in rows if name not in files] == []
