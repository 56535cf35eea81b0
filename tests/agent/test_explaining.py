"""Why a skill was not done is told from the black box of its last seconds."""

import re
from pathlib import Path

import pytest

from palmar.agent.carry_out import AgentLimits, AgentRun, carry_out
from palmar.agent.chat import Talk
from palmar.agent.explaining import explained, next_step, outcome
from palmar.agent.retrieval import Index
from palmar.agent.rules.planner import RulePlanner
from palmar.agent.skills import Skill, SkillResult
from palmar.agent.table import simulated_table
from palmar.cli import main
from palmar.runtime.records.blackbox import read_dump

THINGS, PLACES = ("red cube",), ("blue plate",)


class Sleeps:
    """The expert, which never moves: nothing it is told is done."""

    def __init__(self, expert):
        self.interface, self.world = expert.interface, expert.world

    def act(self, obs, prefix=None):
        from palmar.sim.experts import Expert

        chunk = Expert(self.world).act(obs)
        chunk.actions[:, :6] = 0.0
        return chunk

    def reset(self):
        pass


@pytest.fixture
def performer(tmp_path):
    made = simulated_table("expert", THINGS, PLACES, blackbox=tmp_path / "boxes")
    made.policies[""] = Sleeps(made.policies[""])
    made.slow = 0.2
    return made


def test_every_skill_that_was_not_done_leaves_a_black_box_that_can_be_played_again(performer, tmp_path, capsys):
    run = carry_out("put the red cube on the blue plate", RulePlanner(), performer, AgentLimits(replans=1))
    assert run.ending == "failed"
    stalled = [r for r in run.results if r.status == "stalled"]
    assert len(stalled) >= 2 and all(r.record is not None for r in stalled)
    assert len({r.record for r in stalled}) == len(stalled)
    assert all(r.record is None for r in run.results if r.done)
    dump = read_dump(stalled[0].record)
    assert dump.ticks[-1].time - dump.ticks[0].time == pytest.approx(3.0, abs=0.1)  # 15 s at a fifth
    assert main(["replay", str(stalled[0].record)]) == 0  # the commands come out bit for bit
    capsys.readouterr()


def test_the_explanation_cites_lines_that_are_there(performer):
    run = carry_out("put the red cube on the blue plate", RulePlanner(), performer, AgentLimits(replans=1))
    said = explained(run)
    record = next(r.record for r in reversed(run.results) if r.record is not None)
    assert f"the black box of {run.results[-1].skill}" in said and f"palmar replay {record}" in said
    assert "stood still, and was not commanded to move" in said
    cited = re.findall(rf"{re.escape(str(record))}:(\d+)(?:-(\d+))?", said)
    lines = len(record.read_text().splitlines())
    assert cited and all(2 <= int(first) <= int(last or first) <= lines for first, last in cited)
    record.unlink()
    assert "replay" not in explained(run) and "Next:" in explained(run)  # and goes on without it


def test_chat_tells_why_from_the_black_box(performer, tmp_path):
    (tmp_path / "docs.md").write_text("# Docs\n\nNothing about it.\n")
    talk = Talk(
        Index((tmp_path / "docs.md",), None, embed=None, quiet=True), RulePlanner(), performer, confirm=lambda plan: plan,
        limits=AgentLimits(replans=1),
    )  # fmt: skip
    assert talk.say("put the red cube on the blue plate").startswith("failed")
    assert "the black box of" in talk.say("why did it fail?")
    kept = [e for e in talk.log.events if e["event"] == "result" and "record" in e]
    assert kept and Path(kept[-1]["record"]).is_file()


def test_a_run_that_is_not_done_has_a_next_step(tmp_path):
    assert "Next: other words" in outcome(AgentRun("fly", "refused", "there is no moon here"))
    assert next_step(AgentRun("fly", "refused", "no key. Next: set one")) == ""
    assert "Next: the instruction with the answer in it" in outcome(AgentRun("push", "not answered", "Which way?"))
    assert next_step(AgentRun("push", "not confirmed")) == next_step(AgentRun("push", "done")) == ""
    failed = SkillResult(Skill("home"), "stalled", record=tmp_path / "skill-000.jsonl")
    assert str(tmp_path / "skill-000.jsonl") in next_step(AgentRun("home", "failed", results=(failed,)))
    assert next_step(AgentRun("home", "failed", results=(SkillResult(Skill("home"), "stalled"),))) == ""
