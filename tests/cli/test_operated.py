"""A session on a page: what is run, what an error of one run does to the next, and where files go."""

import threading
from pathlib import Path

import pytest
from paged import PATIENCE, Browser, until

from palmar.cli import operated as session
from palmar.cli.runs import RunConfig, RunResult
from palmar.console import Screen
from palmar.errors import BadValue
from palmar.runtime.supervision.controller import Controller
from palmar.serve.page.config import PageConfig

TIMING: dict[str, float] = {"late_ticks": 0.0, "ticks": 1.0}


def result(instruction, success=True, by="simulator"):
    return RunResult(instruction, True, success, 1.0, "RUN", "done", TIMING, {}, by=by)


class Session:
    """`operated` on a thread, its runs replaced: `runs` has the configuration of each; `answer` says what comes of it."""

    def __init__(self, monkeypatch, answer, config):
        self.runs, self.results, self.raised, self.told = [], None, None, []
        addresses = []

        def run(one, console, page, metrics):
            self.runs.append(one)
            page.began(one.instruction, Controller())
            return answer(one)

        class Telling(Screen):
            def print(self, *objects, **options):
                addresses.extend(w for o in objects for w in str(o).split() if w.startswith("http"))

        monkeypatch.setattr(session, "run", run)

        def work():
            try:
                self.results = session.operated(
                    config, PageConfig(port=0), Telling(), lambda result, console: self.told.append(result)
                )
            except BaseException as error:
                self.raised = error

        self.thread = threading.Thread(target=work, daemon=True)
        self.thread.start()
        until(lambda: addresses or self.raised, "no page")
        self.browser = None
        if addresses and not self.raised:
            self.browser = Browser(addresses[0])
            self.browser.say("drive", on=True)

    def ask(self, text):
        before = len(self.runs)
        self.browser.say("instruct", text=text)
        until(lambda: len(self.runs) > before, f"'{text}' is not run")

    def end(self):
        self.browser.say("end")
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()
        self.browser.close()
        if self.raised:
            raise self.raised
        return self.results


def test_one_run_after_another_and_how_they_went(monkeypatch):
    held = Session(monkeypatch, lambda one: result(one.instruction, "red" in one.instruction), RunConfig("the first"))
    held.ask("red cube")
    held.ask("blue cube")
    until(lambda: held.browser.state.get("of") == 3, "not shown")
    assert held.browser.state["success"]["k"] == 1 and held.browser.state["success"]["n"] == 3
    results = held.end()
    assert [r.instruction for r in results] == ["the first", "red cube", "blue cube"] and held.told == results


@pytest.mark.parametrize("error", [BadValue("no such thing. Next: another"), RuntimeError("shapes do not match")])
def test_a_run_that_an_error_ends_is_shown_and_the_next_goes_on(monkeypatch, error, capsys):
    def answer(one):
        if one.instruction == "dance":
            raise error
        return result(one.instruction)

    held = Session(monkeypatch, answer, RunConfig())
    held.ask("dance")
    until(lambda: str(error) in held.browser.state.get("note", ""), "not shown")
    held.ask("reach")
    assert [r.instruction for r in held.end()] == ["reach"]
    assert str(error) in capsys.readouterr().err


def test_an_error_of_the_instruction_of_the_command_line_ends_it(monkeypatch):
    def answer(one):
        raise BadValue("no such thing. Next: another")

    held = Session(monkeypatch, answer, RunConfig("dance"))
    held.thread.join(PATIENCE)
    assert isinstance(held.raised, BadValue)


def test_every_run_has_files_of_its_own(monkeypatch, tmp_path):
    """Also after one that failed: its recording is the one that somebody wants to see."""

    def answer(one):
        Path(one.mcap).write_text(one.instruction)
        Path(one.video).with_suffix(".jpg").write_text("")
        if one.instruction == "fail":
            raise BadValue("broken. Next: mend it")
        return result(one.instruction)

    (tmp_path / "a-2.mcap").write_text("of somebody")
    config = RunConfig(mcap=tmp_path / "a.mcap", video=tmp_path / "a.mp4")
    held = Session(monkeypatch, answer, config)
    for text in ("one", "fail", "three"):
        held.ask(text)
    held.end()
    names = [one.mcap.name for one in held.runs]
    assert len(set(names)) == 3 and names[0] == "a.mcap" and (tmp_path / "a-2.mcap").read_text() == "of somebody"
    assert [one.mcap.read_text() for one in held.runs] == ["one", "fail", "three"]
    assert len({one.video for one in held.runs}) == 3
