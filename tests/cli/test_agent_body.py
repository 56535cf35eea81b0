"""`palmar agent --body` from the command line, with a person at a terminal who is made up."""

import json
import os
import signal
from dataclasses import replace

import faulty_bodies as bodies
import numpy as np
import pytest

from palmar.agent.conversation import read_conversation
from palmar.cli import attended
from palmar.cli.main import main
from palmar.description.write import write_robot
from palmar.runtime.clock import SimClock
from palmar.runtime.mock import MockBody
from palmar.runtime.supervision.estop import Latch
from palmar.runtime.worker import Inline
from palmar.types import ActionChunk

BOTH = "put the red cube on the blue plate, then push the green ball left"
TOLD = ["--things", "red cube", "green ball", "--places", "blue plate"]
ON_MOCK = ["--policy", "ws://x:1", "--body", "mock:", "--robot", "gadget.toml"]


class Waves:
    """A policy for the gadget that says it is done from its third chunk on. told: every instruction it was given."""

    told: tuple[str, ...] = ()

    def __init__(self, done=0.9, heat=None, during=None, **changes):
        self.interface = replace(bodies.gadget().interface(8), **changes)
        self.done, self.heat, self.during, self.calls = done, heat, during, 0
        Waves.told = ()

    def act(self, obs, prefix=None):
        self.calls += 1
        Waves.told += (obs.instruction,)
        if self.during is not None and self.calls == 3:
            self.during(obs.instruction)
        actions = np.tile(np.float32([0.5, 0.5, 20.0, 0.0]), (8, 1))
        done = self.done if self.done is None else self.done if self.calls >= 3 else 0.1
        if self.heat is None:
            return ActionChunk(actions, 0.1, obs.time, done=done)
        sure, row = self.heat.get(obs.instruction.removeprefix("pick up the "), (0.2, 0))
        grid = np.zeros((10, 10), np.float32)
        grid[row, row] = 1.0
        return ActionChunk(actions, 0.1, obs.time, sure, done, {"top.target": grid})

    def reset(self):
        self.calls = 0


class Logged(MockBody):
    """events: what was called, in order; a command is one of them."""

    events: tuple[object, ...] = ()
    breaks_at = 10**9

    def __init__(self, *args, **options):
        self.ready = False
        super().__init__(*args, **options)
        self.ready = True
        Logged.events += ("opened",)

    def reset(self, seed=None):
        if self.ready:
            Logged.events += ("reset",)
        return super().reset(seed)

    def apply(self, command):
        if sum(isinstance(e, np.ndarray) for e in Logged.events) >= self.breaks_at:
            raise OSError("the bus does not answer")
        Logged.events += (np.array(command),)
        super().apply(command)

    def close(self):
        Logged.events += ("closed",)


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    """A state folder, a clock that does not wait, a policy without a checkpoint, a body that keeps what it was told."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("palmar.runtime.deploy.WallClock", SimClock)
    monkeypatch.setattr("palmar.runtime.deploy.Threaded", Inline)
    monkeypatch.setattr("palmar.runtime.bodies.find.MockBody", Logged)
    monkeypatch.setattr(Logged, "events", ())
    monkeypatch.setattr(Waves, "told", ())
    monkeypatch.setattr(attended, "load_policy", lambda where: Waves())
    monkeypatch.chdir(tmp_path)
    write_robot(bodies.gadget(), tmp_path / "gadget.toml")


@pytest.fixture
def person(monkeypatch):
    """Somebody at the terminal: gives these answers in turn, whatever is asked. asked: the questions."""
    asked = []

    def sits_down(*answers):
        left = list(answers)

        def typed(prompt=""):
            asked.append(prompt.strip())
            if not left:
                pytest.fail(f"asked for more: {asked}")
            said = left.pop(0)
            if isinstance(said, BaseException):
                raise said
            return said

        monkeypatch.setattr("palmar.cli.agent_body.keyboard", lambda: 0)
        monkeypatch.setattr("palmar.cli.talking.keyboard", lambda: 0)
        monkeypatch.setattr("builtins.input", typed)
        return asked

    return sits_down


def run(*more, instruction=BOTH, watchdog="None", told=TOLD):
    return main(["agent", instruction, *ON_MOCK, "--watchdog", watchdog, *told, *more])


def commands():
    return np.array([e for e in Logged.events if isinstance(e, np.ndarray)])


def calls():
    return [e for e in Logged.events if isinstance(e, str)]


def at_rest():
    return len(commands()) > 2 and np.allclose(commands()[-1], commands()[-2])


def test_a_whole_instruction_with_a_persons_answers(person, capsys, tmp_path):
    asked = person("y", "y", "y", "yes")
    assert run("--log", "talk.jsonl") == 0
    out = capsys.readouterr().out
    assert calls() == ["opened", "reset", "closed"] and at_rest()
    assert asked == [
        "The robot goes to where it begins: the reset of the body may move it. Go on? [y/n]",
        ">",
        "Was place_on(red cube, blue plate) done? [y/n] (the policy says yes)",
        "Was push(green ball, left) done? [y/n] (the policy says yes)",
    ]
    assert {"put the red cube on the blue plate", "push the green ball left"} < set(Waves.told)
    assert "1. place_on(red cube, blue plate)" in out and "push(green ball, left): done" in out
    assert "not guarded: " in out and "the person says whether a skill was done" in out
    events = read_conversation(tmp_path / "talk.jsonl")
    assert [e["status"] for e in events if e["event"] == "result"] == ["done", "done"]
    assert events[-1]["event"] == "end" and events[-1]["ending"] == "done"


def test_the_body_lives_in_a_watchdogs_process_as_in_palmar_run(person, monkeypatch, capsys):
    monkeypatch.setattr("palmar.runtime.bodies.find.MockBody", None)  # not in this process
    person("y", "y", "y")
    assert run(instruction="push the green ball left", watchdog="5", told=TOLD) == 0
    assert "push(green ball, left): done" in capsys.readouterr().out


def test_nothing_moves_before_the_person_agrees(person, capsys):
    person("n")
    assert run() == 1 and calls() == ["opened", "closed"] and not len(commands())
    assert "not confirmed" in capsys.readouterr().out
    Logged.events = ()
    person("y", "n")
    assert run() == 1 and calls() == ["opened", "reset", "closed"] and not len(commands())
    Logged.events = ()
    asked = person("y", "perhaps", "yyyn", KeyboardInterrupt())  # neither is taken for a yes
    assert run() == 130 and calls()[-1] == "closed" and not len(commands()) and len(asked) == 7


def test_what_was_not_done_is_planned_anew_within_bounds(person, capsys):
    person("y", "y", "n", "y", "y")
    assert run("--json", instruction="push the green ball left") == 0
    figures = json.loads(capsys.readouterr().out)
    assert [(r["skill"], r["status"]) for r in figures["results"]] == [
        ("push", "stalled"),
        ("home", "done"),
        ("push", "done"),
    ]
    assert figures["replans"] == 1 and figures["ending"] == "done"
    person("y", *["y", "n"] * 3)
    assert run("--json", instruction="push the green ball left") == 1
    out, err = capsys.readouterr()
    figures = json.loads(out)
    assert sum(r["skill"] == "push" for r in figures["results"]) == 3 and "has failed 3 times" in figures["why"]
    assert err.count("Was push(green ball, left) done? [y/n] (the policy says yes)") == 3 and at_rest()


def test_an_edited_plan_is_what_is_carried_out(person, capsys):
    person("y", "e", "open_gripper()", "push(green ball, left)", "", "y", "y", "y")
    assert run("--json", instruction="push the green ball left") == 0
    assert [r["skill"] for r in json.loads(capsys.readouterr().out)["results"]][:2] == ["open_gripper", "push"]


@pytest.mark.parametrize("breaks", [KeyboardInterrupt(), EOFError()])
def test_who_breaks_the_question_off_ends_the_instruction(person, capsys, breaks):
    person("y", "y", breaks)
    assert run("--json") == 3 and calls()[-1] == "closed" and at_rest()
    figures = json.loads(capsys.readouterr().out)
    assert figures["ending"] == "stopped" and [r["status"] for r in figures["results"]] == ["stopped"]


def test_ctrl_c_in_a_skill_ends_the_instruction(person, monkeypatch, capsys):
    def typed(instruction):
        if instruction.startswith("put"):
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(attended, "load_policy", lambda where: Waves(during=typed))
    asked = person("y", "y")
    assert run("--json") == 3 and calls() == ["opened", "reset", "closed"] and at_rest()
    figures = json.loads(capsys.readouterr().out)
    assert figures["ending"] == "stopped" and len(figures["results"]) == 1 and len(asked) == 2
    assert "push the green ball left" not in Waves.told


def test_an_emergency_stop_in_a_skill_ends_the_instruction_and_the_next_is_refused(person, monkeypatch, capsys):
    def pressed(instruction):
        if instruction.startswith("put"):
            Latch("gadget").press("a hand is there")

    monkeypatch.setattr(attended, "load_policy", lambda where: Waves(during=pressed))
    asked = person("y", "y")
    assert run("--json") == 3 and calls() == ["opened", "reset", "closed"] and at_rest()
    figures = json.loads(capsys.readouterr().out)
    assert "ESTOP: E-STOP a hand is there" in figures["why"] and len(asked) == 2
    assert figures["results"] == [figures["results"][0]] and figures["results"][0]["status"] == "fault"
    assert "push the green ball left" not in Waves.told
    sent = len(commands())
    assert run() == 2 and "palmar estop --release gadget" in capsys.readouterr().err and len(commands()) == sent


def test_a_body_that_fails_ends_the_instruction(person, monkeypatch, capsys):
    monkeypatch.setattr(Logged, "breaks_at", 20)
    asked = person("y", "y")
    assert run("--json") == 3 and calls() == ["opened", "reset", "closed"] and len(commands()) == 20
    figures = json.loads(capsys.readouterr().out)
    assert "raised in apply: OSError: the bus does not answer" in figures["why"] and len(asked) == 2


def test_without_a_terminal_it_is_refused_before_anything_is_opened(capsys):
    assert run() == 2 and "Next: a terminal, or --yes" in capsys.readouterr().err
    assert run("--yes") == 2 and "--done-by policy" in capsys.readouterr().err
    assert run("--done-by", "policy") == 2 and "or --yes" in capsys.readouterr().err
    assert Logged.events == () and Waves.told == ()


def test_the_policys_own_word_counts_where_it_is_asked_for(monkeypatch, capsys):
    assert run("--yes", "--done-by", "policy") == 0
    assert "the policy says whether a skill was done" in capsys.readouterr().out and len(commands())
    Logged.events = ()
    monkeypatch.setattr(attended, "load_policy", lambda where: Waves(done=None))
    assert run("--yes", "--done-by", "policy") == 2
    assert "Next: --done-by person" in capsys.readouterr().err and not len(commands()) and calls()[-1] == "closed"


def test_the_scene_is_what_the_policy_finds_or_has_to_be_said(person, monkeypatch, capsys):
    person("y")
    assert run(told=["--places", "blue plate"]) == 2
    said = capsys.readouterr().err
    assert "tells no confidence" in said and 'Next: say it, such as --things "red cube"' in said and not len(commands())
    heat = {"red cube": (0.95, 2), "green ball": (0.9, 7)}
    monkeypatch.setattr(attended, "load_policy", lambda where: Waves(heat=heat))
    person("y", "y", "y", "y")
    assert run(told=["--places", "blue plate"]) == 0
    out = capsys.readouterr().out
    assert "- red cube, confidence 0.95" in out and "push(green ball, left): done" in out
    person("y")
    assert run(instruction="push the yellow ball left", told=["--places", "blue plate"]) == 1
    assert "there is no yellow ball here" in capsys.readouterr().out


def test_a_deadman_switch_that_is_let_go_holds_and_ends_it(person, monkeypatch, capsys):
    class Switch:
        held, closed = 60, 0

        def __call__(self):
            self.held -= 1
            return self.held > 0

        def close(self):
            self.closed += 1

    switch = Switch()
    monkeypatch.setattr("palmar.cli.opened.deadman_of", lambda words: switch)
    monkeypatch.setattr("palmar.runtime.supervision.deadman.time.sleep", lambda seconds: None)
    asked = person("y", "y")
    assert run("--deadman", "udp:5005", "--json") == 3 and switch.closed == 2 and at_rest()
    assert "deadman released" in json.loads(capsys.readouterr().out)["why"] and len(asked) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--world", "twin:0", "--body", "mock:"], "--world twin:0 counts only without --body"),
        (["--seed", "3", "--body", "mock:"], "--seed 3 counts only without --body"),
        (["--perceive", "--body", "mock:"], "--perceive counts only without --body"),
        (["--confirm", "--yes", "--body", "mock:"], "--confirm counts only without --yes"),
        (["--body", "mock:", "--replay", "--log", "x"], "--body mock: counts only without --replay"),
        (["--robot", "arm7"], "--robot arm7 counts only with --body"),
        (["--yes"], "--yes counts only with --body"),
        (["--done-by", "policy"], "--done-by policy counts only with --body"),
        (["--watchdog", "1"], "--watchdog 1.0 counts only with --body"),
        (["--slow", "2"], "--slow 2.0 counts only with --body"),
        (["--body", "sim:"], "--body sim: is a simulated table"),
        (["--body", "twin:3"], "--body twin:3 is a simulated table"),
        (["--body", "mock:", "--policy", "expert"], "in simulation alone"),
        (["--body", "mock:", "--deadman", "keys"], "Next: --deadman udp:PORT or a file"),
        (["--body", "mock:", "--deadman", "page"], "Next: --deadman udp:PORT or a file"),
        (["--body", "mock:", "--planner", "magic"], "planner 'magic'"),
        (["--body", "mock:"], "is of no robot; expected one"),
        (["--body", "mock:", "--robot", "gadgett"], "unknown robot 'gadgett'"),
        (["--body", "no_such_thing:Arm"], "there is no module 'no_such_thing'"),
        (["--body", "faulty_bodies:Good", "--robot", "gadget.toml"], "Next: palmar check-body"),
        (["--body", "mock:", "--robot", "gadget.toml", "--watchdog", "0.01"], "the watchdog's period is 0.01 s"),
        (["--body", "mock:", "--robot", "gadget.toml", "--execute", "9", *TOLD], "execute is 9"),
        (["--body", "mock:", "--robot", "gadget.toml", "--things", "red cube", "red cube"], "more than once"),
        (["--body", "mock:", "--robot", "gadget.toml", "--log", "."], "'.' is a folder; expected a file"),
    ],
)
def test_a_mistake_is_told_before_anything_moves(person, words, said, capsys):
    person("y")
    assert main(["agent", BOTH, *words]) == 2
    assert said in capsys.readouterr().err and not len(commands())


def test_guessed_limits_block_the_agent(person, tmp_path, capsys):
    robot = bodies.gadget()
    guessed = replace(robot.channels[0], sources={"velocity": "guess"})
    (tmp_path / "gadget.toml").unlink()
    write_robot(replace(robot, channels=(guessed, *robot.channels[1:])), tmp_path / "gadget.toml")
    person()
    assert run() == 2 and "shoulder (velocity)" in capsys.readouterr().err and Logged.events == ()
