"""A file is written whole or not at all."""

import ast
import os
import stat
import threading
from pathlib import Path

import pytest

import palmar
from palmar.files import locked, replace_file, write_text

SOURCE = Path(palmar.__file__).parent
OWN = {
    "runtime", "data/durable.py", "data/cache.py", "data/importer.py", "train/sharded.py", "serve/bodies.py", "lab/film.py",
    "transfer/translate.py", "files.py",
}  # fmt: skip
"""Logs that grow, files beside which another is renamed, folders that are whole only when they get their name."""


def test_what_was_there_stays_until_the_new_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.json"
    assert write_text(path, "one") == path and path.read_text() == "one"

    def fails(aside: Path) -> None:
        aside.write_text("half")
        raise RuntimeError("power")

    with pytest.raises(RuntimeError):
        replace_file(path, fails)
    assert path.read_text() == "one" and [p.name for p in path.parent.iterdir()] == ["a.json"]


def test_a_link_stays_a_link_and_a_sink_takes_what_is_written(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "there")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "there").read_text() == "new"
    write_text(os.devnull, "gone")
    assert Path(os.devnull).is_char_device()


def test_a_file_keeps_its_permissions(tmp_path: Path) -> None:
    path = write_text(tmp_path / "secret", "old")
    path.chmod(0o600)
    write_text(path, "new")
    assert path.read_text() == "new" and stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_must_not_be_written_to_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_text(tmp_path / "kept", "old")
    may = os.access
    monkeypatch.setattr(os, "access", lambda p, mode: Path(p) != path and may(p, mode))  # root may write to all
    written: list[Path] = []
    replace_file(path, written.append)
    assert written == [path]


def test_two_threads_may_write_the_same_file(tmp_path: Path) -> None:
    path, both, failed = tmp_path / "a", threading.Barrier(2, timeout=60), []

    def write(text: str) -> None:
        def waits(aside: Path) -> None:
            aside.write_text(text)
            both.wait()

        try:
            replace_file(path, waits)
        except OSError as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(t,)) for t in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed and path.read_text() in ("one", "two")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_an_error_is_about_the_path_that_was_given(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError) as raised:
        write_text(tmp_path / "file" / "a.json", "x")
    assert str(raised.value.filename).startswith(str(tmp_path / "file"))
    with pytest.raises(OSError) as raised:
        write_text(tmp_path / ("n" * 300), "x")
    assert raised.value.filename == str(tmp_path / ("n" * 300))
    write_text(tmp_path / ("n" * 250), "x")  # a name that is whole, and has no room for more


def test_one_at_a_time_holds_a_lock_and_nothing_stays(tmp_path: Path) -> None:
    path, inside, most = tmp_path / "new" / ".lock", [], []

    def work() -> None:
        for _ in range(50):
            with locked(path):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(30)
    assert len(most) == 200 and set(most) == {1} and not path.exists()


def test_every_file_that_is_written_is_written_so() -> None:
    """`Path.write_text` and its like are called on what `replace_file` hands over alone."""
    found = []
    for file in sorted(SOURCE.rglob("*.py")):
        name = file.relative_to(SOURCE).as_posix()
        if any(name == own or name.startswith(f"{own}/") for own in OWN):
            continue
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                of = node.func.value
                if node.func.attr in ("write_text", "write_bytes") and not (
                    isinstance(of, ast.Name) and of.id in ("p", "aside")
                ):
                    found.append(f"{name}:{node.lineno}")
    assert not found, found
