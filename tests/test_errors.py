"""What is opened is a file: a pipe, a device, a socket or a folder in its place is named, and not waited for."""

import copy
import os
import socket
from pathlib import Path

import pytest

from palmar.errors import BadFile, BadValue, UnknownName, check_names, regular_file, regular_files


def test_a_file_and_a_place_where_nothing_is_pass(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "link").symlink_to("a")
    for name in ("a", "link", "nothing", "deeper/nothing"):
        assert regular_file(str(tmp_path / name)) == tmp_path / name
    assert regular_files(tmp_path) == tmp_path and regular_files("") == Path()


def test_what_is_no_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket may have 108 bytes
    os.mkfifo("pipe")
    Path("link").symlink_to("pipe")
    (Path("full") / "deeper").mkdir(parents=True)
    os.mkfifo("full/config.json")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        for name, kind in (
            ("pipe", "pipe (FIFO)"), ("link", "pipe (FIFO)"), ("socket", "socket"), ("/dev/null", "device"), ("full", "folder"),
        ):  # fmt: skip
            with pytest.raises(BadFile) as error:
                regular_file(name)
            assert f"'{name}' is a {kind}; expected a file. Next: " in str(error.value)
    with pytest.raises(BadFile, match=r"config.json' is a pipe \(FIFO\)"):
        regular_files("full")


def test_of_a_long_list_the_nearest_names_are_said_and_where_the_others_are() -> None:
    known = [f"joint_{i}" for i in range(70)] + ["friction", "stiction"]
    said = UnknownName("parameter", "frictoin", known, where="docs/list.md")
    assert str(said).startswith("unknown parameter 'frictoin'. Did you mean 'friction'? Known: friction, stiction")
    assert (
        str(said).endswith(" … (72 in all; docs/list.md lists them).") and said.known == known and len(str(said)) < 220
    )
    assert str(copy.copy(said)) == str(said)  # as it crosses from a worker
    with pytest.raises(BadValue, match=r"expected one or more of joint_0, .* … \(72 in all\)\. Next"):
        check_names("parameter", [], known)


@pytest.mark.parametrize(("name", "message"), [("a\0b", "is no name of a file"), ("x" * 300, "file name too long")])
def test_a_name_that_no_file_can_have_is_told(name: str, message: str) -> None:
    with pytest.raises(BadFile, match=message):
        regular_file(name)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(BadFile, match="a' is a file; expected a folder"):
        regular_file(tmp_path / "a/config.json")
