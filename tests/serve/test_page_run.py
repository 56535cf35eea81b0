"""A page and its run: what people want is done, and a page that dies, hangs or goes silent holds the robot."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from paged import PATIENCE, Browser, Waves, operated, robot, until
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from palmar.errors import BadFile, BadValue, RobotFault
from palmar.runtime.mock import MockBody
from palmar.runtime.supervision.controller import Controller, Mode
from palmar.runtime.supervision.estop import Latch
from palmar.serve.page import process as page_process
from palmar.serve.page.config import PageConfig, host_and_port
from palmar.serve.page.messages import framed


@pytest.fixture(scope="module")
def shown():
    """One page for the tests that leave it as it was."""
    with operated() as session:
        yield session


@pytest.fixture
def browser(shown):
    made = Browser(shown.address)
    yield made
    made.close()


def driving(browser):
    browser.say("drive", on=True)
    until(lambda: any(m.get("driver") == m.get("you") for m in browser.told if m["t"] == "role"), "no driver")


def test_what_the_robot_does_is_shown(shown, browser):
    shown.run()
    until(lambda: browser.state.get("mode") == "RUN" and browser.state.get("confidence"), "no state")
    until(lambda: browser.pictures.get("front", 0) > 3 and browser.pictures.get("wrist", 0) > 3, "no pictures")
    assert browser.jpeg[:2] == b"\xff\xd8"
    grid = browser.heads["front"]["attention"]["target"]
    assert (grid["h"], grid["w"]) == (4, 4)
    assert browser.about["policy"] == "waves" and browser.about["takeover"] is True
    state = browser.state
    assert state["instruction"] == "wave" and [c[0] for c in state["channels"]] == [c.name for c in robot().channels]
    assert sum(state["latency"]["counts"]) > 0 and state["ticks"]["n"] > 0
    before = browser.state["time"]
    until(lambda: browser.state["time"] > before, "time stands still")
    shown.controller.finish()
    assert shown.over().outcome.reason == "stopped"
    until(lambda: browser.state["mode"] == "WAITING", "the end is not shown")
    assert browser.state["success"]["n"] >= 1 and browser.state["runs"][-1]["instruction"] == "wave"


def test_anybody_may_stop(shown, browser):
    """No driver, no key of the keyboard: the stop is for everybody who looks on."""
    shown.run()
    browser.say("stop", id=7)
    done = browser.heard("did")
    report = shown.over()
    assert done["id"] == 7 and done["what"] == "the robot brakes" and done["ms"] >= 0
    assert report.mode is Mode.ESTOP and "stopped from the page (test" in report.reason
    assert shown.brakes.when


def test_a_stop_while_nothing_moves_is_answered(browser):
    browser.say("stop", id=1)
    assert browser.heard("did")["what"] == "nothing moves"


def test_a_stop_without_a_websocket(shown):
    shown.run()
    request = urllib.request.Request(shown.address + "/stop", b'{"name": "phone"}', {"Origin": shown.address})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        assert json.loads(answer.read())["did"] == "told the run to stop"
    assert shown.over().reason == "stopped from the page (phone)"


def test_hold_and_go_on(shown, browser):
    shown.run()
    browser.say("hold")
    until(lambda: browser.state.get("mode") == "HOLD", "not held")
    assert browser.state["reason"].startswith("held from the page (test")
    browser.say("go on")
    assert "press Drive first" in browser.heard("refused")["why"]
    assert shown.controller.mode is Mode.HOLD
    driving(browser)
    browser.say("go on")
    until(lambda: shown.controller.mode is Mode.RUN, "it does not go on")
    browser.say("finish")
    assert shown.over().mode is Mode.RUN


def test_a_person_takes_over_drives_and_gives_back(shown, browser):
    shown.run()
    driving(browser)
    browser.say("take")
    end = time.monotonic() + PATIENCE
    while not browser.state.get("driving"):
        browser.say("keys", down=[])
        assert time.monotonic() < end, "nobody drives"
        time.sleep(0.05)
    frame = shown.body.embodiment.frame()
    before = shown.body.embodiment.pose(frame, shown.body.commands[-1])[0]
    end = time.monotonic() + PATIENCE
    while shown.body.embodiment.pose(frame, shown.body.commands[-1])[0][0] < before[0] + 0.01:
        browser.say("keys", down=["w"])
        assert time.monotonic() < end, "it does not move"
        time.sleep(0.05)
    for _ in range(3):
        browser.say("keys", down=[])
        browser.say("give")
        time.sleep(0.1)
    until(lambda: not browser.state["driving"], "it was not given back")
    assert shown.controller.mode is Mode.RUN
    browser.say("finish")
    shown.over()


def test_who_drives_and_is_not_heard_any_more_holds_the_robot(shown):
    shown.run()
    browser = Browser(shown.address)
    driving(browser)
    browser.say("keys", down=[])
    browser.say("take")
    until(lambda: shown.controller.mode is Mode.HOLD, "not held")
    assert shown.controller.reason == "who drives from the page is not heard any more"
    browser.close()
    shown.controller.finish()
    shown.over()


def test_one_drives_at_a_time(shown):
    shown.run()
    one, two = Browser(shown.address, name="ann"), Browser(shown.address, name="ann")
    driving(one)
    two.say("drive", on=True)
    assert two.heard("refused")["why"].endswith("drives")
    two.say("instruct", text="something else")
    until(lambda: sum(m["t"] == "refused" for m in two.told) == 2, "the other may instruct")
    one.close()
    until(lambda: any(m["t"] == "role" and m["driver"] is None for m in two.told[-3:]), "it stays with who left")
    driving(two)
    two.say("instruct", text="  wave\n twice ")
    assert shown.over().outcome.reason == "stopped"
    assert shown.page.instruction() == "wave twice"
    two.close()


def test_a_question_is_answered_by_who_drives(shown, browser):
    import threading

    driving(browser)
    answers = []
    asking = threading.Thread(target=lambda: answers.append(shown.page.ask("Did it succeed?", PATIENCE)), daemon=True)
    asking.start()
    question = until(lambda: browser.state.get("question"), "no question")
    assert question["words"] == "Did it succeed?"
    browser.say("answer", id=question["id"] + 100, yes=False)
    browser.say("answer", id=question["id"], yes=True)
    asking.join(PATIENCE)
    assert answers == [True]
    assert shown.page.ask("And now?", 0.05) is None


def test_the_page_is_killed_and_comes_back(shown):
    """The robot rests until somebody lets it go on; the page is where it was."""
    shown.run()
    before = shown.page.process.pid
    os.kill(before, signal.SIGKILL)
    until(lambda: shown.controller.mode is Mode.HOLD, "not held")
    assert shown.controller.reason == "the page's process has ended: nobody could stop the robot from there"
    until(lambda: shown.page.process.pid != before, "no new page")
    browser = Browser(shown.address)
    until(lambda: browser.state.get("mode") == "HOLD", "the new page does not say that the robot is held")
    assert browser.about["policy"] == "waves"
    driving(browser)
    browser.say("go on")
    until(lambda: shown.controller.mode is Mode.RUN, "it does not go on")
    browser.say("stop", id=3)
    assert browser.heard("did")["id"] == 3
    assert shown.over().mode is Mode.ESTOP
    browser.close()


def test_a_page_that_hangs_holds_the_robot_and_is_started_anew(shown):
    shown.run()
    before = shown.page.process.pid
    os.kill(before, signal.SIGSTOP)
    try:
        until(lambda: shown.controller.mode is Mode.HOLD, "not held")
        assert "nobody could stop the robot from there" in shown.controller.reason
        until(lambda: shown.page.process.pid != before, "no new page")
        with pytest.raises(ProcessLookupError):
            os.kill(before, 0)
    finally:
        shown.controller.finish()
        shown.over()


def test_a_stop_latches_the_emergency_stop_of_a_real_robot(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with operated(latch="mock") as session:
        browser = Browser(session.address)
        until(lambda: browser.about, "nothing is known")
        browser.say("stop", id=1)
        assert "palmar estop --release" in browser.heard("did")["what"]
        pressed = until(Latch("mock").read, "not latched")
        assert pressed.reason == "stopped from the page" and pressed.who.startswith("test")
        browser.close()


def test_the_loop_waits_for_no_page():
    """A page's process that takes nothing costs the loop no time: what is shown is dropped, not queued; and another takes its
    place, also where a picture is larger than what the line holds."""
    with operated(body=MockBody(robot(720, 1280), noise=False)) as session:
        session.run()
        before = session.page.process.pid
        os.kill(before, signal.SIGSTOP)
        ticks = session.page.ticks
        until(lambda: session.page.ticks > ticks + 100, "the loop stands still")
        assert len(session.page.process._pictures) <= 2
        until(lambda: session.page.process.pid != before, "no new page")
        session.controller.finish()
        session.over()


def test_a_session_ends_from_the_page(shown):
    with operated() as session:
        browser = Browser(session.address)
        driving(browser)
        browser.say("end")
        assert session.page.instruction() is None and session.page.over
        assert session.page.ask("anybody?", PATIENCE) is None
        browser.close()


def test_the_end_of_a_run_is_said_before_the_page_is_gone():
    with operated() as session:
        browser = Browser(session.address)
        until(lambda: browser.state, "no state")
    assert browser.closed.wait(PATIENCE) and browser.state["mode"] == "ENDED"


@pytest.mark.parametrize(
    ("words", "expected"),
    [("8080", ("127.0.0.1", 8080)), ("0.0.0.0:80", ("0.0.0.0", 80)), ("[::1]:0", ("::1", 0)), (":9", ("127.0.0.1", 9))],
)
def test_an_address(words, expected):
    assert host_and_port(words) == expected


@pytest.mark.parametrize("words", ["", "localhost", "host:port", "1:99999", "1:-1"])
def test_no_address(words):
    with pytest.raises(BadValue, match=r"Next: 127\.0\.0\.1:8080"):
        host_and_port(words)


def test_who_may_reach_it():
    with pytest.raises(BadValue, match="for anybody to stop and drive the robot"):
        PageConfig("0.0.0.0")
    with pytest.raises(BadValue, match="TLS needs --certificate and --private-key"):
        PageConfig(certificate="a.pem")
    assert PageConfig("0.0.0.0", key="abc").host == "0.0.0.0"


def test_it_cannot_listen(shown):
    port = int(shown.address.rpartition(":")[2])
    with pytest.raises(BadValue, match=r"the page cannot listen on 127\.0\.0\.1"):
        page_process.PageProcess(PageConfig(port=port), lambda head: None)


def test_a_certificate_that_is_none(tmp_path):
    (tmp_path / "a.pem").write_text("nothing")
    with pytest.raises(BadFile, match="are no certificate with its key"):
        page_process.PageProcess(
            PageConfig(port=0, certificate=tmp_path / "a.pem", private_key=tmp_path / "a.pem"), print
        )


def test_attention_of_a_camera():
    heat = {"front.target": np.array([[0, 1], [2, 4]]), "front.goal": np.zeros((2, 2)), "wrist.target": np.ones((1, 1))}
    found = page_process.attention_of(heat, "front")
    assert list(found) == ["target"] and found["target"] == {"h": 2, "w": 2, "v": "AECA/w=="}
    assert page_process.attention_of(None, "front") == {}


def test_a_slow_policy_is_no_slow_stop(shown, browser):
    shown.run(Waves(shown.body.embodiment, busy=0.3))
    browser.say("stop", id=11)
    browser.heard("did")
    assert shown.over().mode is Mode.ESTOP


def test_a_wrong_key_and_a_right_one():
    with operated(PageConfig(port=0, key="secret")) as session:
        where = session.address.replace("http", "ws", 1) + "/hand"
        for said in ('{"key": "wrong"}', "{}", "[]", "nonsense", '{"key": "\\ud800"}', '{"key": null}'):
            with connect(where) as line:
                line.send(said)
                with pytest.raises(ConnectionClosed) as closed:
                    line.recv(PATIENCE)
            assert closed.value.rcvd.code == 4401
        request = urllib.request.Request(session.address + "/stop", b'{"key": "wrong"}')
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(request, timeout=PATIENCE)
        browser = Browser(session.address, "secret")
        assert browser.heard("role")["you"].startswith("test")
        browser.close()


def test_a_stop_while_a_run_is_prepared_stops_it(shown, browser):
    """The policy is loaded, the body connected; nothing has a controller yet."""
    browser.say("stop", id=5)
    assert browser.heard("did")["what"] == "nothing moves"
    controller = Controller()
    shown.page.began("wave", controller)
    assert controller.mode is Mode.ESTOP and controller.reason.startswith("stopped from the page (test")
    shown.page.failed("stopped")
    until(lambda: browser.state.get("note") == "stopped", "not shown")


def test_a_stop_takes_back_what_was_asked_for_and_an_instruction_after_it_counts(shown, browser):
    driving(browser)
    browser.say("instruct", text="one")
    browser.say("stop", id=6)
    browser.heard("did")
    browser.say("instruct", text="two")
    assert shown.page.instruction() == "two"
    controller = Controller()
    shown.page.began("two", controller)
    assert controller.mode is Mode.RUN
    shown.page.failed("")


def test_a_stop_after_the_end_of_the_loop_is_answered(shown, browser):
    """While the film is made, and somebody is asked whether it succeeded."""
    shown.run()
    shown.controller.finish()
    shown.thread.join(PATIENCE)
    browser.say("stop", id=9)
    assert browser.heard("did")["what"] == "nothing moves"
    shown.over()


def test_a_hold_is_not_taken_back_by_an_older_go_on(shown):
    controller = Controller()
    shown.page.began("wave", controller)
    shown.page._heard({"t": "go on"})
    shown.page._heard({"t": "hold"})
    assert controller.mode is Mode.HOLD and not shown.page._taken("go on")
    shown.page.failed("")


def test_who_drives_from_a_terminal_is_not_waited_for_on_the_page(shown):
    page = shown.page
    page._heard({"t": "take"})
    assert page.take() and page._by_page
    assert page.take(elsewhere=True) and not page._by_page
    assert not page.take() and page.give(elsewhere=True) and not page.give()


def test_a_request_that_fails_does_not_end_the_page(shown, browser, monkeypatch, capsys):
    def fails(head):
        raise RuntimeError("not that")

    heard = shown.page.process.heard
    shown.page.process.heard = fails
    browser.say("hold")
    until(lambda: "a request of the page failed: RuntimeError: not that" in capsys.readouterr().err, "nobody is told")
    shown.page.process.heard = heard
    browser.say("stop", id=2)
    assert browser.heard("did")["what"] == "nothing moves"


def test_a_page_that_cannot_start(monkeypatch):
    monkeypatch.setattr(page_process.sys, "executable", "/bin/false")
    monkeypatch.setattr(page_process, "STARTS", 0.5)
    with pytest.raises(RobotFault, match="the page's process did not start within"):
        page_process.PageProcess(PageConfig(port=0), print)


def test_large_maps_of_attention_are_shown_coarsely_and_large_messages_not_at_all():
    found = page_process.attention_of({"front.target": np.ones((700, 900))}, "front")["target"]
    assert found["h"] <= page_process.GRID and found["w"] <= page_process.GRID
    with pytest.raises(ValueError, match="expected at most"):
        framed({"t": "state", "x": "y" * 2_000_000})


def test_a_stop_while_a_run_is_being_prepared_says_so(shown, browser):
    driving(browser)
    browser.say("instruct", text="wave")
    assert shown.page.instruction() == "wave"
    until(lambda: browser.state.get("mode") == "STARTING", "it does not say that it starts")
    browser.say("stop", id=1)
    assert browser.heard("did")["what"] == "the run that is being prepared does not begin"
    controller = Controller()
    shown.page.began("wave", controller)
    assert controller.mode is Mode.ESTOP
    shown.page.failed("stopped")


def test_the_newest_instruction_takes_the_place_of_one_that_is_being_prepared(shown, browser):
    driving(browser)
    browser.say("instruct", text="one")
    assert shown.page.instruction() == "one"
    browser.say("instruct", text="two")
    until(lambda: shown.page._wanted, "not heard")
    controller = Controller()
    shown.page.began("one", controller)
    assert controller._finishing  # it ends before its first command
    shown.page.failed("")
    assert shown.page.instruction() == "two"
    shown.page.failed("")


def test_a_stop_empties_what_waits_and_so_does_leaving(shown):
    shown.run()
    browser = Browser(shown.address)
    driving(browser)
    browser.say("instruct", text="two")
    until(lambda: shown.page._wanted, "not heard")
    browser.say("stop", id=1)
    until(lambda: not shown.page._wanted, "it waits on")
    shown.over()
    browser.say("instruct", text="three")
    until(lambda: shown.page._wanted, "not heard")
    browser.close()
    until(lambda: not shown.page._wanted, "it waits for nobody")


def test_after_its_end_a_run_is_finished_and_not_running(shown, browser):
    shown.run()
    shown.controller.finish()
    shown.thread.join(PATIENCE)
    until(lambda: browser.state.get("mode") == "FINISHED", "it seems to run on")
    shown.over()


def test_a_latched_emergency_stop_is_the_heading(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    Latch("mock").press("a test")
    with operated(latch="mock") as session:
        browser = Browser(session.address)
        session.page.failed("x" * 10_000)
        until(lambda: browser.state.get("mode") == "ESTOP", "not shown")
        assert "palmar estop --release mock" in browser.state["reason"] and len(browser.state["note"]) < 500
        browser.close()


def cpu(pid):
    """Seconds of processor time."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def test_a_viewer_that_has_not_confirmed_yet_costs_nothing(shown):
    """The page's process waits for it, and does not ask over and over."""
    with connect(shown.address.replace("http", "ws", 1) + "/live", max_size=None) as lazy:
        lazy.send("{}")
        shown.page.failed("something new")  # a round, of which no confirmation comes
        lazy.recv(PATIENCE)
        pid = shown.page.process.pid
        before, began = cpu(pid), time.monotonic()
        time.sleep(2.0)
        assert cpu(pid) - before < 0.5 * (time.monotonic() - began)


def test_the_page_ends_with_its_run():
    """Whatever its viewers do, also where the run's process is killed."""
    script = (
        "import sys, time; sys.path.insert(0, sys.argv[1])\n"
        "from paged import operated\n"
        "with operated() as s:\n"
        "    print(s.address, s.page.process.pid, flush=True); time.sleep(600)"
    )
    words = [sys.executable, "-c", script, str(Path(__file__).parent)]
    run = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    address, pid = run.stdout.readline().split()
    with connect(address.replace("http", "ws", 1) + "/live", max_size=None) as lazy:
        lazy.send("{}")
        lazy.recv(PATIENCE)
        run.kill()
        run.wait()
        run.stdout.close()
        until(lambda: not Path(f"/proc/{pid}").exists(), "it lives on")
