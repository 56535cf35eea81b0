"""A run as an MCAP file, for Foxglove and whatever else reads MCAP: JSON messages with their schemas, pictures as JPEG.

    /state /target /command    {"timestamp": …, "joint1": 0.31, …}   every tick, in the robot's units
    /verdict                   what the guards changed, and why      ticks in which they did
    /mode                      mode and reason                       at every change
    /policy                    confidence, latency, done …           at every chunk
    /camera/NAME               foxglove.CompressedImage              at every policy step

Times are those of the wall clock at which the run began, plus the loop's. Messages are encoded and written on a thread of its own
(`background`). The format is written in chunks of `CHUNK` bytes: a process that is killed loses the chunk that was being filled and
what waits to be written, which is about a second. What is there before reads as a stream (`read_messages`); the index at the end,
without which Foxglove asks for a repair (`mcap recover`), is written when the run ends.
"""

from __future__ import annotations

import base64
import io
import json
import math
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from palmar.description.write import robot_text
from palmar.embodiments import Embodiment
from palmar.errors import need, regular_file
from palmar.runtime.loop import Body, Subscriber, Tick
from palmar.runtime.records.background import PATIENCE, Background
from palmar.runtime.records.modes import Modes
from palmar.runtime.records.operations import reason_values
from palmar.runtime.supervision.controller import Controller
from palmar.types import Array, Observation

CHUNK = 128 * 1024
WAITING = 64 * 1024 * 1024
"""Bytes of pictures and numbers that may wait to be written; what is more is dropped."""
QUALITY = 90
TIMESTAMP = {"type": "object", "properties": {"sec": {"type": "integer"}, "nsec": {"type": "integer"}}}
IMAGE = "foxglove.CompressedImage"
COMPRESSED_IMAGE = {
    "type": "object", "title": IMAGE,
    "properties": {
        "timestamp": TIMESTAMP, "frame_id": {"type": "string"}, "format": {"type": "string"},
        "data": {"type": "string", "contentEncoding": "base64"},
    },
}  # fmt: skip
NUMBER = {"type": ["number", "null"]}
FREE: Mapping[str, Mapping[str, Any]] = {
    "verdict": {"stop": {"type": "boolean"}, "reasons": {"type": "array", "items": {"type": "object"}}},
    "mode": {"mode": {"type": "string"}, "source": {"type": "string"}, "reason": {"type": "string"}},
    "policy": {
        "confidence": NUMBER, "done": NUMBER, "latency": NUMBER, "seam": NUMBER, "speed": NUMBER,
        "intervention": {"type": "boolean"},
    },
}  # fmt: skip


@dataclass(frozen=True)
class _Message:
    """topic. t: on the loop's clock [s]. value: JSON, or a picture uint8[H, W, 3]."""

    topic: str
    t: float
    value: Mapping[str, Any] | Array


class McapRecorder(Subscriber):
    """Writes one run to `path`, replacing what is there. about: words for the file's metadata. controller: whose modes are written.

    Raises `MissingPackage` without mcap or Pillow. `close` ends the file; lost: what is not in it, in words.
    """

    wants_frames = True

    def __init__(
        self, path: str | Path, about: Mapping[str, Any] | None = None, controller: Controller | None = None
    ) -> None:
        need("mcap", "mcap")
        need("PIL", "mcap")
        self.path, self.about, self.controller = Path(path), dict(about or {}), controller
        self._line: Background[_Message] | None = None

    @property
    def lost(self) -> str:
        return "" if self._line is None else self._line.lost

    def on_start(self, obs: Observation, body: Body) -> None:
        self._robot = body.embodiment
        self._modes = Modes(self.controller)
        file = _File(self.path, self._robot, self.about, time.time() - obs.time)
        self._line = Background(file.write, str(self.path), WAITING, again=False, finish=file.close)
        self._t = obs.time

    def on_tick(self, tick: Tick) -> None:
        t = self._t = tick.time
        robot, obs = self._robot, tick.observation
        self._put("/state", t, dict(zip(robot.state_names, obs.state.tolist(), strict=True)))
        self._put("/target", t, dict(zip(robot.channel_names, tick.target.tolist(), strict=True)))
        self._put("/command", t, dict(zip(robot.channel_names, tick.verdict.command.tolist(), strict=True)))
        if tick.verdict.reasons or tick.verdict.stop:
            reasons = [reason_values(r) | {"words": str(r)} for r in tick.verdict.reasons]
            self._put("/verdict", t, {"stop": tick.verdict.stop, "reasons": reasons})
        if tick.new_chunk and tick.chunk is not None:
            c = tick.chunk
            said = {
                "confidence": c.confidence,
                "done": c.done,
                "latency": tick.latency,
                "seam": tick.seam,
                "speed": tick.speed,
            }
            self._put("/policy", t, said | {"intervention": c.intervention})
        if tick.looked:
            for camera, picture in obs.images.items():
                if self._line is not None:  # copied: a body may draw into the same buffer again
                    self._line.put(_Message(f"/camera/{camera}", obs.time, picture.copy()), picture.nbytes)
        self._changes(tick)

    def on_end(self, reason: str) -> None:
        self._changes(None)

    def close(self, patience: float = PATIENCE) -> None:
        """Write what waits, and the index."""
        if self._line is not None:
            self._line.close(patience)

    def _changes(self, tick: Tick | None) -> None:
        for c in self._modes.changes(tick):
            self._put("/mode", self._t, {"mode": c.mode.name, "source": c.source, "reason": c.words})

    def _put(self, topic: str, t: float, value: Mapping[str, Any]) -> None:
        if self._line is not None:
            self._line.put(_Message(topic, t, value), 64 * (1 + len(value)))


class _File:
    """An MCAP file as it is written, on the thread that writes. epoch: wall clock of the loop's zero [s]."""

    def __init__(self, path: Path, robot: Embodiment, about: Mapping[str, Any], epoch: float) -> None:
        self.path, self.robot, self.about, self.epoch = path, robot, about, epoch
        self._stream: IO[bytes] | None = None
        self._writer: Any = None
        self._channels: dict[str, int] = {}
        self._count = 0

    def write(self, message: _Message) -> None:
        if self._writer is None:
            self._open()
        nanoseconds = max(round((self.epoch + message.t) * 1e9), 0)
        sec, nsec = divmod(nanoseconds, 10**9)
        stamp = {"timestamp": {"sec": sec, "nsec": nsec}}
        if isinstance(message.value, Mapping):
            body = stamp | {k: _number(v) for k, v in message.value.items()}
        else:
            data = base64.b64encode(_jpeg(message.value)).decode()
            body = stamp | {"frame_id": message.topic.rpartition("/")[2], "format": "jpeg", "data": data}
        channel = self._channels.get(message.topic) or self._register(message.topic)
        self._count += 1
        self._writer.add_message(
            channel, nanoseconds, json.dumps(body, allow_nan=False).encode(), nanoseconds, self._count
        )

    def close(self, whole: bool) -> None:
        """whole: nothing failed, so that the index can be written."""
        if self._stream is None:
            return
        if not whole:  # what is buffered did not fit and will not
            with suppress(OSError):
                self._stream.close()
            return
        with self._stream:
            self._writer.finish()

    def _open(self) -> None:
        from mcap.writer import CompressionType, Writer

        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = self.path.open("wb")
        self._writer = Writer(self._stream, CHUNK, CompressionType.ZSTD)
        self._writer.start("", "palmar")
        words = {k: str(v) for k, v in self.about.items() if v not in (None, "")}
        self._writer.add_metadata("palmar", words | {"robot": self.robot.name})
        self._writer.add_attachment(0, 0, "robot.toml", "application/toml", robot_text(self.robot).encode())

    def _register(self, topic: str) -> int:
        kind = topic.strip("/").partition("/")[0]
        name = IMAGE if kind == "camera" else f"palmar.{kind}"
        units = self._units(kind)
        schema = COMPRESSED_IMAGE if kind == "camera" else {
            "type": "object", "title": name,
            "properties": {"timestamp": TIMESTAMP} | (
                {n: NUMBER | {"description": u} for n, u in units} if units else dict(FREE[kind])
            ),
        }  # fmt: skip
        made = self._writer.register_schema(name, "jsonschema", json.dumps(schema).encode())
        self._channels[topic] = self._writer.register_channel(topic, "json", made)
        return self._channels[topic]

    def _units(self, kind: str) -> Sequence[tuple[str, str]]:
        """(name, unit) of each number of a message of this kind; none for messages of another form."""
        if kind == "state":
            return [(m.name, m.unit) for m in self.robot.state]
        return [(c.name, c.unit) for c in self.robot.channels] if kind in ("target", "command") else []


def read_messages(path: str | Path) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """(topic, time [ns], message) in the order in which they were written; of a file that is cut off, as far as it goes.

    Raises `MissingPackage` without mcap, `BadFile` for what is no file.
    """
    need("mcap", "mcap")
    from mcap.exceptions import McapError
    from mcap.records import Channel, Message
    from mcap.stream_reader import StreamReader

    topics: dict[int, str] = {}
    with regular_file(path).open("rb") as file:
        try:
            for record in StreamReader(file).records:
                if isinstance(record, Channel):
                    topics[record.id] = record.topic
                elif isinstance(record, Message):
                    yield topics[record.channel_id], record.log_time, json.loads(record.data)
        except (McapError, struct.error, ValueError):  # cut off in the middle of a record
            return


def _number(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _jpeg(picture: Array) -> bytes:
    from PIL import Image

    sink = io.BytesIO()
    Image.fromarray(picture).save(sink, "JPEG", quality=QUALITY)
    return sink.getvalue()
