"""Reading an answer: events however they are cut, and JSON that is what it should be."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from palmar.agent.model_stream import (
    DEEPEST,
    LONGEST_EVENT,
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


def read_events(pieces: Iterable[bytes]) -> list[tuple[str, str]]:
    return list(server_events(pieces, Deadline("here", time.monotonic() + 100)))


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n:\ndata: b\n\n", [("", "a\nb")]), (b"data: a\n: b\n:c\n: data: d\n\n", [("", "a")]),
        (b"\xef\xbb\xbfdata: a\n\n", [("", "a")]), (b"\xef\xbb\xbf\n\xef\xbb\xbfdata: b\n\n", []),
        (b"event: e\rdata: a\rdata: b\r\rdata: c\r\r", [("e", "a\nb"), ("", "c")]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [("", "a"), ("", "b")]), (b"data: a\r\n\rdata: b\n\r", [("", "a"), ("", "b")]),
        (b"data:a\n\ndata:  b\n\ndata:c:d\n\n", [("", "a"), ("", " b"), ("", "c:d")]),
        (b"data:\n\nevent: e\n\nid\n\ndata: a\n\n", [("", ""), ("", "a")]), (b"dataa: a\nDATA: b\n data: c\n\n", []),
        (b"data: a\n\ndata: b\n", [("", "a")]), (b"data: a\n\ndata: b", [("", "a")]), (b"", []),
        ("data: ☃\u2028\x0b\x85é\n\n".encode(), [("", "☃\u2028\x0b\x85é")]),
    ],
)  # fmt: skip
def test_events_are_read_by_their_specification_however_they_are_cut(
    stream: bytes, events: list[tuple[str, str]]
) -> None:
    """https://html.spec.whatwg.org/multipage/server-sent-events.html"""
    for size in range(1, len(stream) + 1):
        cut = [stream[i : i + size] for i in range(0, len(stream), size)]
        assert read_events(cut) == read_events(p for piece in cut for p in (b"", piece)) == events


def test_an_event_comes_with_the_end_of_its_empty_line() -> None:
    """And not only with the byte after it: the server may wait for what is done with it."""
    for end in (b"\n\n", b"\r\r", b"\r\n\r"):
        taken = list[bytes]()
        pieces = (taken.append(p) or p for p in (b"data: a" + end, b"data: b" + end))
        assert next(server_events(pieces, Deadline("here", time.monotonic() + 100))) == ("", "a")
        assert len(taken) == 1


@pytest.mark.parametrize("begin", [b"data: ", b": ", b"", b"data: a\n\ndata: "])
def test_a_line_that_does_not_end_is_cut_off_at_the_longest_event(begin: bytes) -> None:
    taken = 0

    def pieces() -> Iterator[bytes]:
        nonlocal taken
        yield begin
        while True:
            taken += 1024
            yield b"x" * 1024

    with pytest.raises(ModelUnreachable, match="more than 64 KiB"):
        read_events(pieces())
    assert taken <= LONGEST_EVENT + 1024


def test_an_event_of_many_lines_is_cut_off_at_the_longest_event() -> None:
    line = b"data: " + b"x" * 1000 + b"\n"
    most = LONGEST_EVENT // (len(line) - 1)
    assert len(read_events([line] * most + [b"\n"])) == 1
    with pytest.raises(ModelUnreachable, match="more than 64 KiB"):
        read_events([line] * (most + 1))


def test_many_events_and_comments_may_be_longer_than_one_event() -> None:
    event = b": nothing\n" * 1000 + b"data: " + b"x" * 10_000 + b"\n\n"
    assert len(read_events([event] * 100)) == 100


class CountedPiece(bytes):
    """Counts the bytes that are copied to put it behind others."""

    copied = 0

    def __radd__(self, begun: bytes) -> bytes:
        CountedPiece.copied += len(begun)
        return bytes(begun) + bytes(self)


def test_a_line_in_many_pieces_is_not_copied_for_each_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CountedPiece, "copied", 0)
    count = 5000
    pieces = [b"data: ", *(CountedPiece(b"x") for _ in range(count)), b"\n\n"]
    assert read_events(pieces) == [("", "x" * count)]
    assert CountedPiece.copied <= 10 * count


@pytest.mark.parametrize("text", ["NaN", "[-Infinity]", "[" * 100_000])
def test_numbers_that_are_none_are_no_json(text: str) -> None:
    with pytest.raises(ValueError):
        read_json(text)


@pytest.mark.parametrize(
    "text", ["1e400", "-1e309", "1" + "0" * 309, "-1" + "0" * 309, "9" * 4301, "1.5E+999", "1" * 400 + ".5"]
)
def test_numbers_that_are_too_large_for_a_float_are_refused(text: str) -> None:
    for said in (text, f'{{"a": [{text}]}}'):
        with pytest.raises(ValueError, match=r"^-?1?[0-9.eE+…]* is too large for a number$"):
            read_json(said)


def test_numbers_are_read_as_they_are() -> None:
    assert read_json("[1e308, 1e-400, -0.5, 12345678901234567890, 1.0]") == [
        1e308,
        0.0,
        -0.5,
        12345678901234567890,
        1.0,
    ]
    assert [type(n) for n in read_json("[1, 1.0, 1e0]")] == [int, float, float]


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
