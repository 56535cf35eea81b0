"""What a person or a program may hand to the command line by mistake: numbers without end, names that are no names, files
that are none. Each ends in a message and exit code 2: no traceback, no wait."""

import io
import json
import os
import shutil
import signal
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from synthetic import episode

from palmar.cli.commands import COMMANDS
from palmar.cli.main import guarded, main
from palmar.cli.shared import writable
from palmar.data.writer import DatasetWriter
from palmar.errors import BadFile
from palmar.ranges import numbers_in, ranges
from palmar.robots.arm7 import arm7

MARKUP = "[bold]<b>[/red]"
VALUES = ("nan", "inf", "-inf", "-1", "1e308", str(2**70), "9" * 300)
TAKEN = {("train", "temperature", value) for value in VALUES if float(value) > 0}
"""An infinite temperature is every task alike."""


def numeric(command: str) -> list[str]:
    kind: Any = COMMANDS[command]
    hints = get_type_hints(kind, include_extras=True)
    return [f.name for f in fields(kind) if numbers_in(hints[f.name])]


OPTIONS = [(command, name) for command in COMMANDS for name in numeric(command)]


def test_every_number_of_every_command_has_a_range() -> None:
    assert len(OPTIONS) > 25
    for command in COMMANDS:
        assert {name for name, _, _ in ranges(COMMANDS[command])} == set(numeric(command)), command  # type: ignore[arg-type]


@pytest.mark.parametrize(("command", "name"), OPTIONS)
@pytest.mark.usefixtures("wide")
def test_a_number_without_sense_is_told_by_its_value(command: str, name: str, monkeypatch, capsys) -> None:
    """At the door: no command begins to work."""
    ran: list[Any] = []
    kind: Any = COMMANDS[command]
    monkeypatch.setattr(kind, "run", lambda self, console: (ran.append(getattr(self, name)), (0, {}))[1])
    needed = {
        "run": ["reach"], "replay": ["x"], "check-body": ["--body", "mock:"], "train": ["--data", "x"], "collect": ["--out", "x"],
        "questions": ["--out", "x"], "doctor": ["x"], "export": ["x", "--out", "y"], "adapt": ["x", "--out", "y"],
        "preflight": ["--data", "x"], "serve-body": ["mock:", "--robot", "arm7"], "monitor": ["x"],
        "transfer": ["shipped"],
        "ros2": ["--robot", "arm7"], "ros2-monitor": ["--robot", "arm7"], "bag": ["x", "--out", "y", "--robot", "arm7"],
        "student": ["x"], "agent": ["x"], "label": ["x", "--model", "anthropic"],
    }  # fmt: skip
    whole = {n: w for n, _, w in ranges(kind)}[name]
    for value in VALUES:
        words = [command, *needed.get(command, []), f"--{name.replace('_', '-')}", value]
        try:
            code = main(words)
        except SystemExit as end:  # the parser's own message
            code = int(str(end.code))
        out, err = capsys.readouterr()
        if (command, name, value) in TAKEN:
            assert code == 0 and ran.pop()
            continue
        assert code == 2 and not ran, (words, code)
        shown = value if whole else str(float(value))
        assert shown[:20] in out + err, (words, out + err)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["eval", "--policy", "expert", "--world", f"twin:{2**70}"],
            f"world is 'twin:{2**70}'; expected sim, twin:SEED",
        ),
        (["eval", "--policy", "expert", "--world", f"twins:{'9' * 5000}"], "world is 'twins:999"),
        (["ground", "--world", "twin:1e308"], "world is 'twin:1e308'; expected sim, twin:SEED"),
        (["run", "reach", "--world", "twin:-1"], "world is 'twin:-1'; expected sim, twin:SEED"),
        (["eval", "--policy", "openpi://x:99999999"], "is no address of a policy server; expected //HOST:PORT"),
        (["eval", "--policy", "openpi://x:-1"], "is no address of a policy server; expected //HOST:PORT"),
    ],
)
def test_a_number_inside_a_name_is_bounded_too(words: list[str], message: str, capsys) -> None:
    assert main(words) == 2
    assert message in capsys.readouterr().err


def test_more_digits_than_python_reads_are_no_traceback() -> None:
    with pytest.raises(SystemExit) as end:
        main(["eval", "--seed", "9" * 5000])
    assert end.value.code == 2


def test_a_name_that_is_no_text_is_told_before_it_is_used(capsys) -> None:
    for words in (["inspect", "bad\udcff"], ["run", "pick up \udcff"], ["eval", "--out", "\udcff.json", "--json"]):
        assert main(words) == 2
        out, err = capsys.readouterr()
        assert r"\udcff" in err and "holds bytes that are no UTF-8; expected a name in UTF-8. Next: rename" in err
        assert bool(out) is ("--json" in words) and (not out or json.loads(out)["kind"] == "BadValue")


def test_an_emergency_stop_is_pressed_whatever_its_reason_holds(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for i, reason in enumerate(["bad\udcff", "", "twice"]):
        assert main(["estop", f"robot{i}", "--reason", reason]) == 0
        assert (tmp_path / f"palmar/estop/robot{i}.json").exists()


def test_an_option_given_twice_is_refused(capsys) -> None:
    """The parser would take the last in silence."""
    for words in (["eval", "--seed", "1", "--seed=2"], ["replay", "x", "--without", "tracking", "--without", "jump"]):
        assert main(words) == 2
        named = "--seed" if "eval" in words else "--without"
        assert f"{named} is given 2 times; expected once. Next: where" in " ".join(capsys.readouterr().err.split())


def test_a_terminal_without_our_characters_shows_their_codes(monkeypatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    assert main([]) == 0
    sys.stdout.flush()
    assert rb"demonstrations \u2192 a LeRobot" in raw.getvalue()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two demonstrations in a folder whose name and whose words Rich and HTML would read as their own."""
    root = tmp_path_factory.mktemp("faults") / MARKUP
    for name in ("a", "b"):
        with DatasetWriter(root / name, arm7(), 10) as writer:
            for seed in range(4):
                made = episode(12, seed=seed, instruction=f"lift {MARKUP}")
                made.task = made.source = "[/red] lift"
                writer.add(made)
    return root


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("faults") / "[/red]" / "run"
    told = ["train", "palmar-nano", "--data", str(data / "a"), "--steps", "2", "--batch-size", "4", "--out", str(out)]
    assert main(told) == 0
    return out


def test_names_with_markup_are_printed_as_they_are(data: Path, trained: Path, tmp_path: Path, capsys) -> None:
    page, odd = tmp_path / MARKUP / "page.html", tmp_path / "[/bold]" / "x"
    capsys.readouterr()
    told: list[tuple[list[str], int, list[str]]] = [
        (["inspect", str(data / "a"), "--html", str(page), "--quality"], 0, [f"page: {page}", "[/red] lift"]),
        (["repair", str(data / "a")], 0, [f"4 episodes in '{data / 'a'}'"]),
        (["preflight", "--data", str(data / "a"), "--policy", str(trained)], 0, ["checks passed"]),
        (["doctor", str(trained)], 1, ["too short"]),
        (["doctor", str(odd)], 2, [f"in '{odd}'"]),
        (["inspect", str(odd)], 2, [str(odd)]),
        (["eval", "--policy", str(odd)], 2, [f"no checkpoint at '{odd}'"]),
        (["eval", "--policy", "[/red]:x"], 2, ["'[/red]:x'"]),
        (["eval", "--world", "[/red]"], 2, ["world is '[/red]'"]),
        (["run", "[/red]"], 2, ["'red' in '[/red]' is the colour of nothing"]),
        (["train", "[/red]", "--data", str(data / "a"), "--out", str(tmp_path / "no")], 2, ["'[/red]'"]),
        (["train", "--data", str(data / "a"), "--recipe", "[/red]", "--out", str(tmp_path / "no")], 2, ["'[/red]'"]),
        (["train", "--data", str(data / "a"), "--device", "[/red]", "--out", str(tmp_path / "no")], 2, ["'[/red]'"]),
        (["train", "bcz-tiny", "--data", str(data / "a"), "--others", "[/red]=x", "--steps", "1",
          "--out", str(tmp_path / "no")], 2, ["'[/red]'"]),
        (["convert", str(odd), str(tmp_path / "x.safetensors")], 2, [str(odd)]),
        (["compare", str(odd), str(odd / "b")], 2, [str(odd)]),
    ]  # fmt: skip
    for words, code, messages in told:
        assert main(words) == code, words
        text = "".join(capsys.readouterr())
        for message in messages:
            assert message in text, (words, text)


@pytest.mark.usefixtures("wide")
def test_the_parser_prints_markup_as_it_is_too(capsys) -> None:
    for words in (
        ["[/red]"],
        ["eval", "--split", "[/red]"],
        ["eval", "--tasks", "[/red]"],
        ["eval", "--seed", "[/red]"],
    ):
        try:
            code = main(words)
        except SystemExit as end:  # the parser's own message
            code = int(str(end.code))
        assert code == 2 and "[/red]" in "".join(capsys.readouterr())


class Waited(Exception):
    """A test opened a pipe, and would have waited for ever."""


@pytest.fixture
def alarm():
    def ring(*_: object) -> None:
        raise Waited

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def pipe(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return path


@pytest.mark.usefixtures("alarm")
def test_a_pipe_in_place_of_a_file_is_named(data: Path, trained: Path, tmp_path: Path, capsys) -> None:
    odd = pipe(tmp_path / "pipe")
    out = str(tmp_path / "out")
    told = [
        ["compare", str(odd), str(odd.with_name("b"))],
        ["convert", str(odd), str(tmp_path / "x.safetensors")],
        ["collect", "--out", out, "--identified", str(odd)],
        ["eval", "--policy", str(odd)],
        ["inspect", str(odd)],
        ["train", "--data", str(data / "a"), "--init", str(odd), "--out", out],
        ["eval", "--out", str(odd)],
        ["sysid", "--out", str(odd)],
        ["inspect", str(data / "a"), "--html", str(odd)],
        ["run", "reach the red cube", "--video", str(pipe(tmp_path / "film.mp4"))],
    ]
    for words in told:
        assert main(words) == 2, words
        assert "pipe" in capsys.readouterr().err, words


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "train.safetensors", "metrics.jsonl"])
@pytest.mark.usefixtures("alarm")
def test_a_pipe_in_a_checkpoint_is_named(name: str, trained: Path, data: Path, tmp_path: Path, capsys) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    odd = str(pipe(run / name))
    told = {
        "config.json": (["eval", "--policy"], ["preflight", "--robot", "arm7", "--policy"], ["doctor"]),
        "model.safetensors": (["eval", "--policy"], ["ground", "--policy"]),
        "train.safetensors": (["train", "palmar-nano", "--data", str(data / "a"), "--steps", "2", "--batch-size", "4",
                               "--resume", "--out"],),
        "metrics.jsonl": (["doctor"],),
    }  # fmt: skip
    for words in told[name]:
        assert main([*words, str(run)]) == 2, words
        assert f"'{odd}' is a pipe (FIFO); expected a file. Next:" in capsys.readouterr().err, words


@pytest.mark.usefixtures("alarm")
def test_a_pipe_in_place_of_a_video_is_named(data: Path, tmp_path: Path, capsys) -> None:
    root = shutil.copytree(data / "b", tmp_path / "set")
    odd = pipe(next(root.rglob("*.mp4")))
    told = [
        "train",
        "palmar-nano",
        "--data",
        str(root),
        "--steps",
        "2",
        "--batch-size",
        "4",
        "--out",
        str(tmp_path / "run"),
    ]
    for words in (["inspect", str(root), "--html", str(tmp_path / "x.html")], told):
        assert main(words) == 2, words
        assert f"'{odd}' is a pipe (FIFO); expected a file. Next:" in capsys.readouterr().err, words


def test_what_does_not_fit_in_memory_is_no_traceback(capsys) -> None:
    def work(console: Any) -> Any:
        raise MemoryError("Unable to allocate 25.7 GiB")

    assert guarded(work) == 2
    assert "does not fit in memory (Unable to allocate 25.7 GiB); expected less. Next: " in capsys.readouterr().err


def test_what_this_process_writes_to_is_no_pipe_to_wait_for(tmp_path: Path) -> None:
    writable(Path("/dev/null"))
    read, write = os.pipe()
    writable(Path(f"/dev/fd/{write}"))  # as `palmar eval --out /dev/stdout | jq`, or --out >(gzip)
    os.close(read)
    os.close(write)
    with pytest.raises(BadFile, match="is a pipe"):
        writable(pipe(tmp_path / "pipe"))


def test_a_folder_above_may_have_any_name(data: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    """What is given relative to it can be opened, and what is printed or written of the whole path shows its bytes."""
    above = tmp_path / os.fsdecode(b"\xff\x1b[31m")
    root = shutil.copytree(data / "a", above / "set")
    (root / "videos" / os.fsdecode(b"\xfe.mp4")).touch()
    monkeypatch.chdir(root)
    assert main(["inspect", ".", "--html", "../page.html"]) == 0
    assert "4 episodes" in capsys.readouterr().out and (above / "page.html").stat().st_size > 10_000
    monkeypatch.chdir(above)
    told = ["train", "palmar-nano", "--data", "set", "--steps", "1", "--batch-size", "4", "--out", "run", "--json"]
    assert main(told) == 0 and json.loads(capsys.readouterr().out)["checkpoint"] == "run"
    assert main(["repair", "set", "--json"]) == 0 and json.loads(capsys.readouterr().out)["dropped"] == []
