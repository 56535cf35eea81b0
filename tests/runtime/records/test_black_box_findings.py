"""What a black box shows is said with the lines that hold it."""

import json
import re

import numpy as np
import pytest

from palmar.errors import BadFile
from palmar.robots.arm7 import arm7
from palmar.runtime.clock import SimClock
from palmar.runtime.control.path import Control
from palmar.runtime.loop import rollout
from palmar.runtime.mock import MockBody
from palmar.runtime.records.blackbox import BlackBox
from palmar.runtime.records.findings import findings
from palmar.runtime.safety.filter import Safety
from palmar.runtime.worker import Inline
from palmar.types import ActionChunk

ROBOT = arm7("channels")


class Script:
    """Joint 1 goes to `to` [rad] away from home within a tenth of a second; the confidence falls."""

    interface = ROBOT.interface(8)

    def __init__(self, to, confidence=None):
        self.to, self.confidence = to, confidence

    def act(self, obs, prefix=None):
        target = np.append(ROBOT.home[:7], 1.0).astype(np.float32)
        target[0] += self.to
        sure = None if self.confidence is None else max(self.confidence - 0.1 * obs.time, 0.0)
        return ActionChunk(np.tile(target, (8, 1)), 0.1, obs.time, sure)

    def reset(self):
        pass


class Stuck(MockBody):
    """Joint 1 is measured where it began."""

    def observe(self, images=True):
        obs = super().observe(images)
        obs.state[0] = ROBOT.home[0]
        return obs


def told(tmp_path, policy, body=MockBody, seconds=3.0):
    body, safety = body(ROBOT), Safety(ROBOT)
    box = BlackBox(tmp_path, safety=safety)
    rollout(
        body, Inline(policy), body.reset(), clock=SimClock(), control=Control(ROBOT, safety), subscribers=(box,), timeout=seconds
    )  # fmt: skip
    path = box.dump(tmp_path / "box.jsonl")
    return path, findings(path)


def holds(path, sentence):
    """The rows that a sentence cites."""
    place = re.search(r"\(([^()]*):(\d+)(?:-(\d+))?\)$|, [^()]*:(\d+)\)", sentence)
    assert place, sentence
    first = int(place.group(2) or place.group(4))
    rows = path.read_text().splitlines()
    return [json.loads(r) for r in rows[first - 1 : int(place.group(3) or first)]]


def test_what_a_guard_changed_is_told_with_its_first_line_and_the_line_holds_it(tmp_path):
    path, said = told(tmp_path, Script(1.0))
    (velocity,) = [s for s in said if s.startswith("velocity changed")]
    (row,) = holds(path, velocity)
    assert next(r["words"] for r in row["reasons"] if r["guard"] == "velocity") in velocity
    n = sum(
        any(r["guard"] == "velocity" for r in json.loads(line)["reasons"]) for line in path.read_text().splitlines()[1:]
    )
    assert f"changed {n} of 150 commands" in velocity
    assert len(holds(path, said[0])) == 150 and said[0].startswith("its last 3.0 s")
    assert not any("no guard" in s or "confidence" in s for s in said)


@pytest.mark.parametrize(
    ("to", "body", "expected"),
    [
        (0.0, MockBody, "stood still, and was not commanded to move"),
        (30.0, MockBody, r"still moved, joint1 most, by \d"),
        (30.0, Stuck, "stood still although joint1 was commanded to move"),
    ],
)
def test_whether_it_still_moved_is_told(tmp_path, to, body, expected):
    _, said = told(tmp_path, Script(to), body, 1.5)
    assert re.search(expected, said[-1]), said[-1]


def test_without_any_change_the_policy_itself_is_told_with_its_confidence(tmp_path):
    path, said = told(tmp_path, Script(0.0, confidence=0.9))
    assert "no guard changed a command: what was commanded is what was asked for" in said
    (sure,) = [s for s in said if "confidence" in s]
    assert sure.startswith("the policy's confidence was 0.90 at first, 0.6")
    (row,) = holds(path, sure)
    assert f"{row['confidence']:.2f} at least" in sure


def test_lines_are_those_that_hold_it_whatever_a_policy_said(tmp_path):
    class Fails(Script):
        def act(self, obs, prefix=None):
            if obs.time > 1.0:
                raise RuntimeError("a\u2028b\u0085c")
            return super().act(obs, prefix)

    path, said = told(tmp_path, Fails(0.0, confidence=0.9))
    rows = path.read_text("utf-8").split("\n")
    (failed,) = [s for s in said if s.startswith("the policy failed")]
    line = int(failed.removesuffix(")").rpartition(":")[2])
    assert json.loads(rows[line - 1])["failure"] == "RuntimeError: a\u2028b\u0085c"
    assert said[-1].endswith(f"-{len(rows) - 1})")


def test_what_is_no_black_box_is_refused(tmp_path):
    (tmp_path / "x.jsonl").write_text("{}\n")
    with pytest.raises(BadFile, match=r"no black box.*Next:"):
        findings(tmp_path / "x.jsonl")
