"""Tries of a request: how long they last, on which thread what is called, and what a message repeats."""

from __future__ import annotations

import math
import threading
import time
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_stand_ins import SECRET

from palmar.agent import model_wire
from palmar.agent.language_model import ModelAnswer
from palmar.agent.model_wire import (
    DAY,
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


def test_how_long_to_wait_of_dates_at_the_ends_of_the_calendar() -> None:
    assert seconds_to_wait("Mon, 01 Jan 0001 00:00:00 +2300") == 0
    assert (seconds_to_wait("Fri, 31 Dec 9999 23:59:59 -2300") or 0) > DAY
    assert (seconds_to_wait("Fri, 31 Dec 9999 23:59:59 -0000") or 0) > DAY
    for date in (
        "Mon, 01 Jan 2030 00:00:00 +99999999",
        "Mon, 32 Jan 2030 00:00:00 GMT",
        "Mon, 01 Jan 99999 00:00:00 GMT",
    ):
        assert seconds_to_wait(date) is None


@given(
    st.one_of(
        st.text(max_size=40),
        st.from_regex(r"\w{3}, \d{1,3} (Jan|Dec) \d{1,6} \d\d?:\d\d?:\d\d? [-+]?\d{0,9}", fullmatch=True),
    )
)
def test_any_header_is_a_wait_or_none(header: str) -> None:
    seconds = seconds_to_wait(header)
    assert seconds is None or (seconds >= 0 and math.isfinite(seconds))


@pytest.mark.parametrize(
    ("after", "said"), [(3600.0, "3600 s"), (DAY, "86400 s"), (DAY + 1, "more than a day"), (1e308, "more than a day")]
)
def test_a_wait_is_shown_as_a_day_at_most(after: float, said: str) -> None:
    def once(deadline: Deadline, on_text: OnText) -> ModelAnswer:
        raise TryAgain("is busy", after)

    with pytest.raises(ModelUnreachable, match=rf"^here is busy, and asks to wait {said} \(1 try\)\."):
        with_retries("here", Patience(), once)


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


class Clock:
    """Stands in for the module time. now: on the monotonic clock [s]."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize(("ends", "comes"), [(119.0, True), (120.0, False), (150.0, False)])
def test_an_answer_has_come_at_the_limit_with_all_its_tries(
    ends: float, comes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, abandoned, naps = Clock(), threading.Event(), list[float]()
    monkeypatch.setattr(model_wire, "time", clock)
    began = clock.now

    def once(deadline: Deadline, on_text: OnText) -> ModelAnswer:
        if not naps:
            clock.now = began + 100
            raise TryAgain("is busy")
        clock.now = began + ends
        if not comes:
            abandoned.wait(5)
        return ModelAnswer("it came")

    patience = Patience(sleep=naps.append)
    assert patience.limit == 120 and patience.silence == 60
    try:
        if comes:
            assert with_retries("here", patience, once).text == "it came"
        else:
            with pytest.raises(ModelUnreachable, match="did not finish its answer in time"):
                with_retries("here", patience, once)
    finally:
        abandoned.set()


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
