"""Frames to MP4 and back, with PyAV: constant rate, no B-frames, every other frame a key: two decodes to any frame."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from palmar.data.format import NEXT
from palmar.errors import BadFile, BadValue, regular_file
from palmar.types import Array

# Pictures of 96×96 from the simulator, PSNR [dB] and bytes a frame (front camera):
#   h264 yuv420p crf 23: 33.8, 892 · crf 18: 34.8, 1257 · yuv444p crf 18: 39.3, 1286 · AV1 yuv420p crf 30: 34.0, 1061
# Halved colour (yuv420p) is what costs; it stays the default: every lerobot set has it, and joins need one format.
OPTIONS: dict[str, dict[str, str]] = {
    "libx264": {"crf": "18", "preset": "veryfast", "bf": "0"},
    "libsvtav1": {"crf": "30", "preset": "10"},
}
CANONICAL = {"libx264": "h264", "libsvtav1": "av1", "libaom-av1": "av1", "libx265": "hevc", "libvpx-vp9": "vp9"}
KEYFRAME_EVERY = 2
AHEAD = 8  # decoding this many frames onward is cheaper than a seek


def encode(frames: Sequence[Array], fps: int, codec: str = "libx264", pix_fmt: str = "yuv420p") -> bytes:
    """uint8[H, W, 3] frames as an MP4 file in memory. H and W must be even (for yuv420p)."""
    import av

    height, width = frames[0].shape[:2]
    if pix_fmt == "yuv420p" and (height % 2 or width % 2):
        raise BadValue(f"frames are {width}×{height}; video needs an even width and height. Next: resize the camera")
    sink = io.BytesIO()
    with av.open(sink, "w", format="mp4") as out:
        stream: Any = out.add_stream(codec, rate=fps, options=OPTIONS.get(codec, {}))
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.codec_context.gop_size = KEYFRAME_EVERY
        stream.codec_context.thread_count = 1  # pictures are small, and two cameras already encode side by side
        stream.codec_context.time_base = Fraction(1, fps)
        for i, array in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), "rgb24")
            frame.pts, frame.time_base = i, Fraction(1, fps)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return sink.getvalue()


def join(sources: Sequence[Path], path: Path, fps: float) -> list[tuple[float, float]]:
    """Copy the packets of several files one after another into `path`. Returns each one's (from, to) in the result [s].

    Nothing is decoded. Raises `BadFile` when a source cannot be read or is of another kind than the first.
    """
    import av

    spans: list[tuple[float, float]] = []
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(url(path), "w", format="mp4") as out:
        target: Any = None
        frames = 0
        for source in sources:
            with opened(source) as inp:
                stream = inp.streams.video[0]
                if target is None:
                    target, kind = out.add_stream_from_template(stream), kind_of(stream)
                    target.time_base = stream.time_base
                elif kind_of(stream) != kind:
                    raise BadFile(f"'{source}' is encoded differently from '{sources[0]}' and cannot be joined to it")
                offset, count = Fraction(frames) / Fraction(fps).limit_denominator(100_000), 0
                for packet in inp.demux(stream):
                    if packet.dts is None:
                        continue
                    shift = round(offset / packet.time_base)
                    packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, target
                    out.mux(packet)
                    count += 1
            spans.append((frames / fps, (frames + count) / fps))
            frames += count
    return spans


def kind_of(stream: Any) -> tuple[Any, ...]:
    """What must be equal for two streams to live in one file."""
    c = stream.codec_context
    return c.name, c.width, c.height, c.pix_fmt, bytes(c.extradata or b""), stream.time_base


SAFE = {"protocol_whitelist": "file", "format_whitelist": "mov,matroska,webm,avi"}
"""What FFmpeg may do with a file that is read: no playlist or list of parts, which name other files and addresses."""


def url(path: Path) -> str:
    """The name of a file for FFmpeg, to which "concat:a.mp4" and "http:b.mp4" alone are no files but protocols."""
    return f"file:{path}"


def opened(path: Path) -> Any:
    """An open container. Raises `BadFile` with the next step."""
    import av

    try:
        container = av.open(url(regular_file(path)), options=SAFE)
        if container.streams.video:
            return container
        container.close()
        raise ValueError("it holds no video")
    except FileNotFoundError:
        raise BadFile(f"'{path}' is missing. {NEXT}") from None
    except (av.FFmpegError, ValueError) as error:
        raise BadFile(f"'{path}' is damaged or not a video ({error}). {NEXT}") from error


def count_frames(path: Path) -> int:
    """Number of video packets, without decoding."""
    with opened(path) as container:
        return sum(packet.size > 0 for packet in container.demux(video=0))


class Rgb:
    """Decoded frames to uint8[H, W, 3]. One converter for all: making one costs more than the conversion."""

    def __init__(self) -> None:
        from av.video.reformatter import VideoReformatter

        self._converter: Any = VideoReformatter()
        self._options = {"threads": 1}  # a thread pool for so small a picture costs more than it gives

    def __call__(self, frame: Any) -> Array:
        try:
            array: Array = self._converter.reformat(frame, format="rgb24", **self._options).to_ndarray()
        except TypeError:  # an older PyAV has no such choice
            self._options = {}
            array = self._converter.reformat(frame, format="rgb24").to_ndarray()
        return array


def decode(path: Path, start: float, count: int, fps: float) -> Iterator[tuple[int, Array]]:
    """(i, uint8[H, W, 3]) of `count` frames in a row from time `start` [s] on. Raises `BadFile` when one is missing."""
    import av

    with opened(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        rgb = Rgb()
        try:
            if start > 0:
                container.seek(round((start + 0.25 / fps) / stream.time_base), stream=stream)
            done = 0
            for frame in container.decode(stream):
                i = round((frame.pts * float(stream.time_base) - start) * fps)
                if i < 0:
                    continue
                if i != done:
                    break
                yield i, rgb(frame)
                done += 1
                if done == count:
                    return
        except av.FFmpegError as error:
            raise BadFile(f"'{path}' cannot be decoded near {start:.2f} s ({error}). {NEXT}") from error
    raise BadFile(f"'{path}' holds {done} of {count} frames from {start:.2f} s on. {NEXT}")


class FrameReader:
    """Single frames at any time of any file, with the last few containers kept open. Threads take turns."""

    def __init__(self, keep_open: int = 16) -> None:
        self.keep_open = keep_open
        self._open: OrderedDict[Path, _Seeker] = OrderedDict()
        self._turn = threading.Lock()  # a seek and the decoding after it belong together

    def __reduce__(self) -> tuple[Any, ...]:
        return FrameReader, (self.keep_open,)

    def read(self, path: Path, time: float, fps: float) -> Array:
        """uint8[H, W, 3] of the frame shown at `time` [s]."""
        with self._turn:
            seeker = self._open.get(path)
            if seeker is None:
                if len(self._open) >= self.keep_open:
                    self._open.popitem(last=False)[1].close()
                seeker = self._open[path] = _Seeker(path)
            self._open.move_to_end(path)
            return seeker.read(time, fps)

    def close(self) -> None:
        with self._turn:
            while self._open:
                self._open.popitem()[1].close()


class _Seeker:
    def __init__(self, path: Path) -> None:
        self.path, self.container = path, opened(path)
        self.stream = self.container.streams.video[0]
        self.stream.codec_context.thread_count = 1  # frame threads would delay every single frame
        self.tick = float(self.stream.time_base)
        self.rgb = Rgb()
        self._frames: Iterator[Any] | None = None
        self._at = -1

    def read(self, time: float, fps: float) -> Array:
        import av

        wanted = round(time * fps)
        try:
            if self._frames is None or not 0 < wanted - self._at <= AHEAD:
                self.container.seek(round((wanted + 0.25) / fps / self.tick), stream=self.stream)
                self._frames = self.container.decode(self.stream)
            for frame in self._frames:
                self._at = round(frame.pts * self.tick * fps)
                if self._at >= wanted:
                    break
        except av.FFmpegError as error:
            self._frames = None
            raise BadFile(f"'{self.path}' cannot be decoded at {time:.3f} s ({error}). {NEXT}") from error
        if self._at != wanted:
            self._frames = None
            raise BadFile(f"'{self.path}' has no frame at {time:.3f} s. {NEXT}")
        return self.rgb(frame)

    def close(self) -> None:
        self._frames = None
        self.container.close()
