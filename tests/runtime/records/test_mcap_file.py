"""A run as an MCAP file: every number read back by the mcap package, and what a kill or a full disk leaves."""

import base64
import io
import json
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mcap")

from mcap.reader import make_reader
from PIL import Image

from palmar.description.file import parse_robot
from palmar.robots.arm7 import arm7
from palmar.runtime.chunks import ChunkBuffer
from palmar.runtime.control.path import Control
from palmar.runtime.loop import Subscriber, Tick, rollout
from palmar.runtime.mock import MockBody
from palmar.runtime.records import mcap_file
from palmar.runtime.records.mcap_file import McapRecorder, read_messages
from palmar.runtime.safety.filter import Safety
from palmar.runtime.safety.guards import GUARDS
from palmar.runtime.supervision.controller import Controller
from palmar.runtime.worker import Inline
from palmar.types import ActionChunk, Array

ROBOT = arm7("channels")


class Reaching:
    """Asks for more than the guards allow."""

    interface = ROBOT.interface(8)

    def act(self, obs, prefix=None) -> ActionChunk:
        far = np.append(ROBOT.home[:7] + 1.0, 1.0)
        actions = np.tile(far, (8, 1))
        return ActionChunk(actions.astype(np.float32), 0.1, obs.time, confidence=0.25, done=0.5)

    def reset(self) -> None: ...


class Kept(Subscriber):
    def __init__(self) -> None:
        self.ticks: list[Tick] = []
        self.states: list[Array] = []
        self.pictures: list[dict[str, Array]] = []

    def on_tick(self, tick: Tick) -> None:
        self.ticks.append(tick)
        self.states.append(tick.observation.state.copy())
        self.pictures.append({c: p.copy() for c, p in tick.observation.images.items()} if tick.looked else {})


class Jams(MockBody):
    """Its joints stay where they were after half a second."""

    def observe(self, images: bool = True):
        obs = super().observe(images)
        if obs.time < 0.5:
            self.last = obs.state
        return replace(obs, state=self.last)


def recorded(path: Path, timeout: float = 1.0, recorder: McapRecorder | None = None) -> tuple[Kept, McapRecorder]:
    body, kept, controller = Jams(ROBOT, noise=True), Kept(), Controller()
    recorder = recorder or McapRecorder(path, {"policy": "mine", "seed": 3})
    recorder.controller = controller
    safety = Safety(ROBOT, guards=(*GUARDS, controller))
    rollout(
        body, Inline(Reaching()), body.reset(0), chunks=ChunkBuffer(), control=Control(ROBOT, safety),
        subscribers=(controller, recorder, kept), timeout=timeout,
    )  # fmt: skip
    return kept, recorder


def test_every_number_is_read_back_by_the_mcap_package(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "run.mcap"
    kept, recorder = recorded(path)
    recorder.close()
    assert recorder.lost == ""
    found: dict[str, list[tuple[int, dict]]] = {}
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        for schema, channel, message in reader.iter_messages():
            assert schema is not None and schema.encoding == "jsonschema" and channel.message_encoding == "json"
            value = json.loads(message.data)
            assert set(value) <= set(json.loads(schema.data)["properties"])
            assert value["timestamp"]["sec"] * 10**9 + value["timestamp"]["nsec"] == message.log_time
            found.setdefault(channel.topic, []).append((message.log_time, value))
        (attachment,) = reader.iter_attachments()
        metadata = {m.name: m.metadata for m in reader.iter_metadata()}
    assert parse_robot(attachment.data.decode(), "x").channel_names == ROBOT.channel_names
    assert metadata["palmar"] == {"policy": "mine", "seed": "3", "robot": "arm7"}
    epoch = found["/state"][0][0]
    for topic, names, values in (
        ("/state", ROBOT.state_names, kept.states),
        ("/target", ROBOT.channel_names, [t.target for t in kept.ticks]),
        ("/command", ROBOT.channel_names, [t.verdict.command for t in kept.ticks]),
    ):
        assert len(found[topic]) == len(kept.ticks) == 50
        for (when, message), expected, tick in zip(found[topic], values, kept.ticks, strict=True):
            assert abs((when - epoch) - 1e9 * tick.time) < 1000
            got = np.array([np.nan if message[n] is None else message[n] for n in names])
            np.testing.assert_array_equal(got, np.asarray(expected, float))
    changed = [t for t in kept.ticks if t.verdict.reasons or t.verdict.stop]
    assert len(changed) == len(found["/verdict"]) > 10
    for (_, message), tick in zip(found["/verdict"], changed, strict=True):
        assert message["stop"] is tick.verdict.stop
        for got, reason in zip(message["reasons"], tick.verdict.reasons, strict=True):
            assert (got["guard"], got["words"]) == (reason.guard, str(reason))
            if np.isfinite(reason.value):
                assert (got["value"], got["bound"]) == (reason.value, reason.bound)
    chunks = [t for t in kept.ticks if t.new_chunk]
    assert [m["confidence"] for _, m in found["/policy"]] == [0.25] * len(chunks)
    assert [(m["mode"], m["source"]) for _, m in found["/mode"]] == [("ESTOP", "tracking")]
    for camera in ("front", "wrist"):
        looks = [p[camera] for p in kept.pictures if p]
        assert len(looks) == len(found[f"/camera/{camera}"]) == 10  # each policy step
        for (_, message), picture in zip(found[f"/camera/{camera}"], looks, strict=True):
            raw = base64.b64decode(message["data"])
            assert message["format"] == "jpeg" and message["frame_id"] == camera
            image = np.asarray(Image.open(io.BytesIO(raw)))
            again = io.BytesIO()
            Image.fromarray(picture).save(again, "JPEG", quality=mcap_file.QUALITY)
            np.testing.assert_array_equal(image, np.asarray(Image.open(again)))


@pytest.mark.parametrize("share", [0.3, 0.7, 0.99])
def test_a_file_that_is_cut_off_reads_as_far_as_it_goes(tmp_path: Path, monkeypatch, share: float) -> None:
    monkeypatch.setattr(mcap_file, "CHUNK", 4096)
    _, recorder = recorded(path := tmp_path / "run.mcap")
    recorder.close()
    whole = list(read_messages(path))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    cut = list(read_messages(path))
    assert cut == whole[: len(cut)] and len(cut) > 0.6 * share * len(whole)


def test_a_killed_process_loses_a_chunk_and_no_more(tmp_path: Path) -> None:
    """The process ends without a word: what had been handed over, less the chunk that was being filled, is on the disk."""
    path = tmp_path / "run.mcap"
    code = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_mcap_file import recorded
kept, recorder = recorded(Path({str(path)!r}), timeout=6.0)
while recorder._line._waiting:
    pass
print(len(kept.ticks), flush=True)
os._exit(9)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 9, done.stderr
    raw = path.read_bytes()
    got = sum(topic == "/state" for topic, _, _ in read_messages(path))
    per_tick = sum(len(json.dumps(m)) for _, _, m in read_messages(path)) / got
    lost = int(done.stdout) - got
    assert len(raw) > 0 and 0 < lost * per_tick < 1.2 * mcap_file.CHUNK


def test_a_full_disk_ends_the_file_and_not_the_run(tmp_path: Path) -> None:
    path = tmp_path / "run.mcap"
    code = f"""
import resource, signal, sys
sys.dont_write_bytecode = True  # it would be cut off at the limit, and stay
sys.path.insert(0, {str(Path(__file__).parent)!r})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
from pathlib import Path
from test_mcap_file import recorded
kept, recorder = recorded(Path({str(path)!r}), timeout=10.0)
recorder.close()
print(len(kept.ticks), recorder.lost)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.startswith("500 "), done.stderr
    assert "records could not be written (OSError: [Errno 27]" in done.stdout
    assert "the robot goes on" in done.stderr
    assert sum(topic == "/state" for topic, _, _ in read_messages(path)) > 10


def test_a_disk_that_is_slower_than_the_run_drops_and_counts(tmp_path: Path, monkeypatch) -> None:
    go_on = threading.Event()
    real = mcap_file._File.write
    monkeypatch.setattr(mcap_file, "WAITING", 100_000)
    monkeypatch.setattr(mcap_file._File, "write", lambda self, m: (go_on.wait(), real(self, m))[1])
    kept, recorder = recorded(tmp_path / "run.mcap", timeout=2.0)
    assert len(kept.ticks) == 100  # the loop did not wait for what never came
    go_on.set()
    recorder.close()
    assert "records were dropped, for it was written too slowly" in recorder.lost
    assert 0 < len(list(read_messages(tmp_path / "run.mcap"))) < 300
