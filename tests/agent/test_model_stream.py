"""Reading an answer: events however they are cut, and JSON that is what it should be."""

from __future__ import annotations

import time
from typing import Any

import pytest

from palmar.agent.model_stream import (
    DEEPEST,
    AnswerInParts,
    encodable,
    index_in,
    nested,
    object_in,
    objects_in,
    read_json,
    server_events,
    text_in,
)
from palmar.agent.model_wire import Deadline
from palmar.errors import ModelUnreachable


def test_events_arrive_however_they_are_cut() -> None:
    stream = b"event: a\r\ndata: one\r\ndata: two\r\n\r\n: comment\n\ndata: three\n\nid: 4\nretry: 9\n\ndata\n\n"
    for size in range(1, len(stream) + 1):
        pieces = [stream[i : i + size] for i in range(0, len(stream), size)]
        events = list(server_events(pieces, Deadline("here", time.monotonic() + 100)))
        assert events == [("a", "one\ntwo"), ("", "three"), ("", "")]


def test_numbers_that_are_none_are_no_json() -> None:
    for text in ("NaN", "[-Infinity]", "[" * 100_000):
        with pytest.raises(ValueError):
            read_json(text)


@pytest.mark.parametrize(
    ("read", "good", "empty", "bad"),
    [
        (object_in, {"a": 1}, {}, [[], "a", 0, False]), (objects_in, [{"a": 1}], [], [{}, "a", 0, [None], [{}, 3]]),
        (text_in, "a", "", [0, False, [], {}]), (lambda w, s, n: index_in(w, s, 7), 3, 7, [-1, True, 1.0, "1", [], {}]),
    ],
)  # fmt: skip
def test_a_part_is_of_its_kind_or_left_out(read: Any, good: Any, empty: Any, bad: list[Any]) -> None:
    assert read("here", {"index": good}, "index") == good
    assert read("here", {}, "index") == read("here", {"index": None}, "index") == empty
    for value in bad:
        with pytest.raises(ModelUnreachable, match=r"^here answers with .* Next: "):
            read("here", {"index": value}, "index")


def test_what_is_sent_has_no_lone_surrogates() -> None:
    said = encodable({"a\ud800": ["b\udfff", {"c": ("d ☃", 1.5, None, True)}]})
    assert said == {"a?": ["b?", {"c": ["d ☃", 1.5, None, True]}]}


def test_what_a_tool_is_given_is_nested_only_so_deep() -> None:
    def read(depth: int) -> Any:
        parts = AnswerInParts("here", None)
        parts.call(0, "1", "plan")
        parts.input(0, '{"a":' * depth + "1" + "}" * depth)
        return parts.read(0)

    assert read(DEEPEST).input and not read(DEEPEST).fault
    assert read(DEEPEST + 1).input == {} and "nested too deeply" in read(DEEPEST + 1).fault
    assert nested([[]], 1) and not nested([[]], 2) and not nested(1, 0)
