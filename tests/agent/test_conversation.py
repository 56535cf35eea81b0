"""A log of conversations is added to and read again, also one whose last line was cut off."""

import json
import os

import pytest

from palmar.agent.conversation import Conversation, read_conversation
from palmar.errors import BadFile, BadValue


def said(file, *texts):
    log = Conversation(file)
    for text in texts:
        log.add("note", text=text)
    log.close()


def texts(file):
    return [e["text"] for e in read_conversation(file)]


@pytest.mark.parametrize("lost", [1, 2, 9, 20])
def test_a_last_line_that_was_cut_off_is_removed_before_more_is_written(tmp_path, lost, capsys):
    file = tmp_path / "talk.jsonl"
    said(file, "one", "two ü")
    file.write_bytes(file.read_bytes()[:-lost])
    kept = ["one", "two ü"] if lost == 1 else ["one"]  # of the one nothing but the end of the line is lost
    assert texts(file) == kept
    said(file, "three")
    told = capsys.readouterr().err
    assert ("was cut off" in told and str(file) in told) == (lost > 1)
    said(file, "four")
    assert texts(file) == [*kept, "three", "four"]
    assert all(json.loads(line) for line in file.read_text("utf-8").splitlines())


@pytest.mark.parametrize(
    "tail", [b"\0" * 500, b'{"event": "note", "text": "\xc3', b"[" * 100_000, b'{"event": "plan"', b"x" * (1 << 21)]
)
def test_whatever_a_crash_leaves_behind_the_last_whole_line_is_removed(tmp_path, tail):
    file = tmp_path / "talk.jsonl"
    said(file, "one")
    whole = file.read_bytes()
    file.write_bytes(whole + tail)
    assert texts(file) == ["one"]
    said(file)
    assert file.read_bytes() == whole


@pytest.mark.parametrize(
    "content", [b"not a conversation\n", b"notes without an end", b'{"event": "note"}\n{"a": 1}\n{"event": "no', b"7\n"]
)
def test_what_is_no_conversation_is_left_as_it_is(tmp_path, content):
    file = tmp_path / "mine.txt"
    file.write_bytes(content)
    with pytest.raises(BadFile, match=r"is no event of a conversation\. Next: "):
        Conversation(file)
    assert file.read_bytes() == content


def test_an_event_of_another_kind_is_refused():
    with pytest.raises(BadValue, match="event 'shout' is unknown; expected person, model"):
        Conversation().add("shout")


def test_reading_tells_of_a_line_that_was_cut_off_and_of_an_empty_file(tmp_path, capsys):
    file = tmp_path / "talk.jsonl"
    said(file, "one", "two")
    file.write_bytes(file.read_bytes()[:-9])
    assert texts(file) == ["one"] and "line 2 of" in capsys.readouterr().err
    file.write_bytes(b"")
    with pytest.raises(BadFile, match=r"holds no conversation.*Next: a file that --log wrote"):
        read_conversation(file)
    said(file, "three")
    assert texts(file) == ["three"]


def test_two_conversations_do_not_write_one_file(tmp_path):
    first = Conversation(tmp_path / "log.jsonl")
    first.add("person", text="one")
    with pytest.raises(BadFile, match=r"is written by another conversation now\. Next: another --log"):
        Conversation(tmp_path / "log.jsonl")
    first.close()
    Conversation(tmp_path / "log.jsonl").close()
    assert [e["text"] for e in read_conversation(tmp_path / "log.jsonl")] == ["one"]


def test_a_pipe_is_no_log(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadFile, match="pipe"):
        Conversation(tmp_path / "pipe")
