"""Tries of a request: how long they last, on which thread what is called, and what a message repeats."""

from __future__ import annotations

import threading
import time
from email.utils import formatdate
from typing import Any

import pytest
from model_stand_ins import SECRET

from palmar.agent import model_wire
from palmar.agent.language_model import ModelAnswer
from palmar.agent.model_wire import (
    READ,
    Deadline,
    OnText,
    Patience,
    TryAgain,
    either,
    failed,
    said_by,
    seconds_to_wait,
    with_retries,
)
from palmar.errors import BadValue, ModelUnreachable


def test_how_long_to_wait() -> None:
    assert seconds_to_wait("3") == 3 and seconds_to_wait("-3") == 0
    assert seconds_to_wait(None) is seconds_to_wait("") is seconds_to_wait("soon") is seconds_to_wait("nan") is None
    assert 50 < (seconds_to_wait(formatdate(time.time() + 60, usegmt=True)) or 0) < 70


@pytest.mark.parametrize("options", [{"limit": 0}, {"silence": float("nan")}, {"retries": 11}, {"longest_wait": 1e9}])
def test_patience_has_bounds(options: dict[str, Any]) -> None:
    with pytest.raises(BadValue, match="expected"):
        Patience(**options)


def test_a_try_that_does_not_end_is_abandoned() -> None:
    """Whatever it waits for: here nothing that has a time limit of its own."""
    ended, deadlines = threading.Event(), list[Deadline]()

    def once(deadline: Deadline, on_text: OnText) -> ModelAnswer:
        deadlines.append(deadline)
        ended.wait(60)
        return ModelAnswer("too late")

    try:
        with pytest.raises(ModelUnreachable, match=r"did not finish its answer in time\..* or --planner rules"):
            with_retries("here", Patience(limit=0.1, silence=0.1), once, instead="--planner rules")
    finally:
        ended.set()
    assert len(deadlines) == 1 and deadlines[0].over.is_set()


def test_a_try_that_nobody_waits_for_ends_at_its_next_piece() -> None:
    deadline = Deadline("here", time.monotonic() + 100)
    deadline.check()
    deadline.over.set()
    with pytest.raises(ModelUnreachable):
        deadline.check()


def test_text_and_pauses_are_on_the_thread_that_asks() -> None:
    threads, pieces = list[threading.Thread](), list[str]()

    def here(said: Any) -> None:
        threads.append(threading.current_thread())
        pieces.append(str(said))

    def once(deadline: Deadline, on_text: OnText) -> ModelAnswer:
        if not pieces:
            raise TryAgain("is busy")
        assert on_text is not None
        for piece in ("one", "two"):
            on_text(piece)
        return ModelAnswer("one two")

    assert with_retries("here", Patience(sleep=here), once, here).text == "one two"
    assert pieces == ["1.0", "one", "two"] and set(threads) == {threading.current_thread()}


@pytest.mark.parametrize("error", [KeyError("x"), BadValue("x. Next: y"), KeyboardInterrupt(), SystemExit(3)])
def test_what_a_try_raises_is_raised_where_it_was_asked(error: BaseException) -> None:
    def once(deadline: Deadline, on_text: OnText) -> ModelAnswer:
        raise error

    with pytest.raises(type(error)) as raised:
        with_retries("here", Patience(), once)
    assert raised.value is error


def test_a_message_names_the_next_step_that_was_given() -> None:
    for status in (400, 401, 500):
        error = failed(Deadline("here", 0, "another --model"), status, "", None, "KEY")
        assert isinstance(error, TryAgain) or str(error).endswith("or another --model")
        error = failed(Deadline("here", 0), status, "", None, "KEY")
        assert isinstance(error, TryAgain) or ("Next: " in str(error) and "--planner" not in str(error))

    def once(deadline: Deadline, on_text: OnText) -> ModelAnswer:
        raise TryAgain("is busy")

    for instead, said in (("--planner rules", "--planner rules"), ("", "another model")):
        with pytest.raises(ModelUnreachable, match=f"Next: ask again later, or {said}$"):
            with_retries("here", Patience(retries=0), once, instead=instead)


def test_steps_in_words() -> None:
    assert either("a", "", "b", "c") == "a, b, or c"
    assert (either("a", "b"), either("a", ""), either()) == ("a, or b", "a", "")


def test_what_a_server_says_is_cut_without_half_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for at in range(READ - len(SECRET) - 1, READ + 1):
        assert SECRET[:3] not in said_by(" " * at + SECRET, SECRET)
    seen = list[int]()
    monkeypatch.setattr(model_wire, "printable", lambda text: seen.append(len(text)) or text)
    assert len(said_by(b"x" * 1_000_000, SECRET)) <= 200
    assert seen == [READ]
