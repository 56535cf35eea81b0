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

from palmar.data.paths import NEXT
from palmar.data.schema import SIDE
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
OFF = 0.25  # frames by which a time may be off and still be that of its frame


def encode(frames: Sequence[Array], fps: float, codec: str = "libx264", pix_fmt: str = "yuv420p") -> bytes:
    """uint8[H, W, 3] frames as an MP4 file in memory. H and W must be even (for yuv420p)."""
    import av

    height, width = frames[0].shape[:2]
    if pix_fmt == "yuv420p" and (height % 2 or width % 2):
        raise BadValue(
            f"pictures are {height}×{width} px; video needs an even height and width. Next: resize the camera"
        )
    sink, rate = io.BytesIO(), Fraction(fps).limit_denominator(100_000)
    with av.open(sink, "w", format="mp4") as out:
        stream: Any = out.add_stream(codec, rate=rate, options=OPTIONS.get(codec, {}))
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.codec_context.gop_size = KEYFRAME_EVERY
        stream.codec_context.thread_count = 1  # pictures are small, and two cameras already encode side by side
        stream.codec_context.time_base = 1 / rate
        for i, array in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), "rgb24")
            frame.pts, frame.time_base = i, 1 / rate
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
                    target, kind = out.add_stream_from_template(stream, opaque=True), kind_of(stream)
                    target.time_base = stream.time_base
                elif kind_of(stream) != kind:
                    raise BadFile(
                        f"'{source}' is encoded differently from '{sources[0]}' and cannot be joined to it. "
                        "Next: palmar import without --join, which keeps each file"
                    )
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
        context = container.streams.video[0].codec_context if container.streams.video else None
        if context is not None and 0 < context.width <= SIDE and 0 < context.height <= SIDE:
            return container
        container.close()
        if context is None:
            raise ValueError("it holds no video")
        raise ValueError(f"its pictures are {context.height}×{context.width} px; expected 1 … {SIDE} a side")
    except FileNotFoundError:
        raise BadFile(f"'{path}' is missing. {NEXT}") from None
    except (av.FFmpegError, ValueError, OverflowError) as error:
        raise BadFile(f"'{path}' is damaged or not a video ({error}). {NEXT}") from error


def size_of(path: Path) -> tuple[int, int]:
    """(height, width) [px] that the header says, without decoding. Raises `BadFile` above `SIDE`."""
    with opened(path) as container:
        context = container.streams.video[0].codec_context
        return int(context.height), int(context.width)


def count_frames(path: Path) -> int:
    """Number of video packets, without decoding."""
    with opened(path) as container:
        return sum(packet.size > 0 for packet in container.demux(video=0))


def begins(path: Path) -> float:
    """When the first frame is shown [s]: 0 but for files that were cut out of longer ones."""
    with opened(path) as container:
        stream = container.streams.video[0]
        return float((stream.start_time or 0) * stream.time_base)


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
    """(i, uint8[H, W, 3]) of `count` frames in a row from time `start` [s] on.

    Where the file's own times are not those of `fps`, its frames are counted from the one nearest to `start`. Raises
    `BadFile` when one is missing.
    """
    done = 0
    for frame in _regular(path, start, count, fps):
        yield done, frame
        done += 1
    if done < count:
        for frame in _counted(path, start, done, count, fps):
            yield done, frame
            done += 1


def _regular(path: Path, start: float, count: int, fps: float) -> Iterator[Array]:
    """Frames from `start` on, up to the first that is not shown when `fps` says."""
    import av

    with opened(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        rgb, done, tick = Rgb(), 0, float(stream.time_base)
        try:
            if start > 0:
                container.seek(round((start + 0.25 / fps) / stream.time_base), stream=stream)
            for frame in container.decode(stream):
                late = (frame.pts * tick - start) * fps - done
                if done == 0 and late < -OFF:
                    continue
                if abs(late) > OFF:
                    return
                yield rgb(frame)
                done += 1
                if done == count:
                    return
        except av.FFmpegError as error:
            raise BadFile(f"'{path}' cannot be decoded near {start:.2f} s ({error}). {NEXT}") from error


def _counted(path: Path, start: float, skip: int, count: int, fps: float) -> Iterator[Array]:
    """Frames skip … count-1, counted from the one nearest to `start`."""
    seeker = _Seeker(path, fps, counted=True)
    try:
        first = seeker.nearest(start)
        if first + count > len(seeker):
            raise BadFile(f"'{path}' holds {len(seeker) - first} of {count} frames from {start:.2f} s on. {NEXT}")
        for i in range(skip, count):
            yield seeker.read(first + i)
    finally:
        seeker.close()


class FrameReader:
    """Single frames at any time of any file, with the last few containers kept open. Threads take turns."""

    def __init__(self, keep_open: int = 16) -> None:
        self.keep_open = keep_open
        self._open: OrderedDict[Path, _Seeker] = OrderedDict()
        self._turn = threading.Lock()  # a seek and the decoding after it belong together

    def __reduce__(self) -> tuple[Any, ...]:
        return FrameReader, (self.keep_open,)

    def read(self, path: Path, start: float, i: int, fps: float) -> Array:
        """uint8[H, W, 3] of frame `i` after the one shown at `start` [s]. Raises `BadFile`."""
        with self._turn:
            seeker = self._open.get(path)
            if seeker is None:
                if len(self._open) >= self.keep_open:
                    self._open.popitem(last=False)[1].close()
                seeker = self._open[path] = _Seeker(path, fps)
            self._open.move_to_end(path)
            return seeker.read(seeker.nearest(start) + i)

    def close(self) -> None:
        with self._turn:
            while self._open:
                self._open.popitem()[1].close()


class _Seeker:
    """Frames of one file by their number. counted: by the table of all times in the file, which is also made where the times
    are not those of `fps`."""

    def __init__(self, path: Path, fps: float, counted: bool = False) -> None:
        self.path, self.fps, self.container = path, fps, opened(path)
        self.stream = self.container.streams.video[0]
        self.stream.codec_context.thread_count = 1  # frame threads would delay every single frame
        self.tick = float(self.stream.time_base)
        self.rgb = Rgb()
        self._frames: Iterator[Any] | None = None
        self._at = -1
        even = not counted and _even(self.stream, fps)
        self._times = None if even else np.array(_shown(path), np.int64)

    def __len__(self) -> int:
        return self.stream.frames if self._times is None else len(self._times)

    def nearest(self, start: float) -> int:
        """Number of the frame shown at `start` [s]."""
        if self._times is None:
            return round(start * self.fps)
        return int(np.abs(self._times * self.tick - start).argmin()) if len(self._times) else 0

    def read(self, wanted: int) -> Array:
        import av

        if self._times is not None and not 0 <= wanted < len(self._times):
            raise BadFile(f"'{self.path}' has {len(self._times)} frames; expected more than {wanted}. {NEXT}")
        try:
            if self._frames is None or not 0 < wanted - self._at <= AHEAD:
                when = (wanted + 0.25) / self.fps / self.tick if self._times is None else float(self._times[wanted])
                self.container.seek(round(when), stream=self.stream)
                self._frames, self._at = self.container.decode(self.stream), -1
            for frame in self._frames:
                if self._times is None:
                    self._at = round(frame.pts * self.tick * self.fps)
                else:  # times may repeat: only the first after a seek is looked up
                    self._at = self._at + 1 if self._at >= 0 else int(np.searchsorted(self._times, frame.pts))
                if self._at >= wanted:
                    break
        except av.FFmpegError as error:
            self._frames = None
            raise BadFile(f"'{self.path}' cannot be decoded at {wanted / self.fps:.3f} s ({error}). {NEXT}") from error
        if self._at != wanted:
            self._frames = None
            raise BadFile(f"'{self.path}' has no frame {wanted}, at {wanted / self.fps:.3f} s. {NEXT}")
        return self.rgb(frame)

    def close(self) -> None:
        self._frames = None
        self.container.close()


def _even(stream: Any, fps: float) -> bool:
    """Whether the index of the file says that frame i is shown at i / fps."""
    entries = getattr(stream, "index_entries", None)  # PyAV 15
    if not entries:
        return False
    times = np.sort(np.array([e.timestamp for e in entries], np.int64)) * float(stream.time_base) * fps
    shift = times[0] if stream.start_time in (0, None) else np.inf  # B-frames are decoded earlier than shown
    return bool((np.abs(times - shift - np.arange(len(times))) < OFF).all())


def _shown(path: Path) -> list[int]:
    """Times at which the frames of a file are shown, in its ticks and in order. Reads the file, decodes nothing."""
    import av

    with opened(path) as container:
        try:
            packets = [p for p in container.demux(video=0) if p.size > 0 and not p.is_discard]
        except av.FFmpegError as error:
            raise BadFile(f"'{path}' cannot be read ({error}). {NEXT}") from error
    return sorted(p.pts if p.pts is not None else p.dts for p in packets)


def about(path: Path) -> dict[str, Any]:
    """frames, size (height, width), fps, even, times [ticks], tick [s] and what info.json says of a file, without decoding."""
    with opened(path) as container:
        stream = container.streams.video[0]
        context, rate = stream.codec_context, float(stream.average_rate or 0)
        size, tick = (int(context.height), int(context.width)), float(stream.time_base or 0)
        codec, layout = CANONICAL.get(context.name, context.name), context.pix_fmt
    times = np.array(_shown(path), np.int64)
    steps = np.diff(times)
    if len(steps):  # the rate of a header is rounded, and wrong where times are irregular
        rate = 1 / (float(np.median(steps)) * tick) if np.median(steps) > 0 else rate
        rate = nice_rate(rate)
    even = bool(len(times) == 0 or (np.abs(times * tick * rate - np.arange(len(times))) < OFF).all())
    words = {
        "video.height": size[0], "video.width": size[1], "video.codec": codec, "video.pix_fmt": layout,
        "video.is_depth_map": False, "video.fps": rate, "video.channels": 3, "has_audio": False, "is_depth_map": False,
    }  # fmt: skip
    return {
        "frames": len(times), "size": size, "fps": rate, "even": even, "times": times, "tick": tick, "about": words,
    }  # fmt: skip


def nice_rate(rate: float) -> float:
    """The nearest whole rate, or NTSC's whole · 1000 / 1001, when it is within 1 in 1 000 [frames a second]."""
    near = round(rate)
    for one in (near, near * 1000 / 1001):
        if near and abs(rate - one) < 1e-4 * one:
            return int(one) if one == near else round(one, 4)
    return int(near) if near and abs(rate - near) < 1e-3 * near else round(rate, 4)


def retime(source: Path, target: Path, fps: float) -> None:
    """Copy a video with frame i shown at i / fps. Nothing is decoded. Raises `BadFile` when the copy comes out otherwise."""
    import av

    with opened(source) as inp, av.open(url(target), "w", format="mp4") as out:
        stream = inp.streams.video[0]
        packets = [p for p in inp.demux(stream) if p.size > 0 and not p.is_discard]
        shown = np.array([p.pts if p.pts is not None else (p.dts or 0) for p in packets], np.int64)
        rank = np.empty(len(packets), np.int64)
        rank[np.argsort(shown, kind="stable")] = np.arange(len(packets))
        late = int((np.arange(len(packets)) - rank).max(initial=0))  # frames are stored earlier than shown, never later
        made: Any = out.add_stream_from_template(stream)
        step = Fraction(1) / Fraction(fps).limit_denominator(100_000)
        made.time_base = base = step / 1000
        for i, packet in enumerate(packets):
            packet.time_base = base
            packet.pts, packet.dts, packet.stream = int(rank[i]) * 1000, (i - late) * 1000, made
            packet.duration = 1000
            out.mux(packet)
    after = about(target)
    if after["frames"] != len(packets) or not after["even"]:
        raise BadFile(f"'{source}' cannot be given regular times. Next: encode it anew at {fps:g} frames a second")
