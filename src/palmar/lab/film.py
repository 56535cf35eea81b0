"""One rollout as a small film: the scene, what the policy looked at, where it attended, what was asked and how it ended.

The film is made after the rollout, from joint angles kept at every tick and from the pictures the policy was given. So
filming takes none of the loop's time and changes nothing about a trial: not even the noise it draws.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from palmar.choices import WHERE, Split
from palmar.data.video import url
from palmar.errors import BadValue, need
from palmar.eval.results import Film, Results, Trial
from palmar.lab.suite import EvalConfig, run
from palmar.lab.worlds import Loaded
from palmar.runtime.loop import Body, Subscriber, Tick
from palmar.sim.rooms import Viewpoint
from palmar.types import Array, Observation

if TYPE_CHECKING:
    from PIL import Image as Pillow

    Picture = Pillow.Image

SCENE = (480, 360)  # width, height of the view of the scene [px]; the policy's views stand beside it
VIEW = 180  # width and height of one of the policy's views [px]
STRIP = 52  # height of the caption, on top: players lay their buttons over the bottom [px]
FPS = 12.5  # at most; a divisor of the control rate
CRF = "27"  # about 20 kB a second of film
LAST = 1.0  # how long the last picture stands, with the outcome [s]
GOOD, BAD, INK, SOFT, GROUND = (47, 138, 118), (196, 88, 40), (240, 238, 234), (170, 165, 156), (24, 23, 21)
HEAT = ((255, 122, 26), (40, 190, 255))  # target, goal


class Filmmaker(Subscriber):
    """Watches a rollout and makes its film in `save`, while the world is still loaded.

    world: for the scene; taken from the rollout when not given. A body without a simulated model (a robot) is shown by
    its first camera. instruction: the observation's own when not given. label: a few words beside the time.
    """

    def __init__(self, world: Body | None = None, instruction: str = "", label: str = "", fps: float = FPS) -> None:
        if not fps > 0:
            raise BadValue(f"fps is {fps}; expected more than 0. Next: 10, as policies act")
        self._body, self.instruction, self.label, self._wanted = world, instruction, label, fps

    def on_start(self, obs: Observation, body: Body) -> None:
        self._body, robot = body, body.embodiment
        self._model, self._data = copy.copy(getattr(body, "model", None)), getattr(body, "data", None)
        self._view = getattr(body, "view", Viewpoint())
        self._every = max(1, round(robot.control_rate / self._wanted))
        self.fps, self._tick_time = robot.control_rate / self._every, 1.0 / robot.control_rate
        self.instruction = self.instruction or obs.instruction
        self._poses: list[Array] = []
        self._commands: list[Array] = []
        self._looked: list[int] = []
        self._seen: dict[float, Mapping[str, Array]] = {}
        self._views: list[tuple[Mapping[str, Array], Mapping[str, Array]]] = [(dict(obs.images), {})]
        self._time = 0.0

    def on_frame(self, obs: Observation, action: Array) -> None:
        if obs.images:
            self._seen[obs.time] = obs.images

    def on_tick(self, tick: Tick) -> None:
        if tick.new_chunk and tick.chunk is not None and self._seen:
            t0 = min(self._seen, key=lambda t: abs(t - tick.chunk.t0))  # type: ignore[union-attr]
            self._views.append((self._seen[t0], dict(tick.chunk.attention or {})))
            self._seen = {t: v for t, v in self._seen.items() if t > t0}
        self._time = (tick.index + 1) * self._tick_time
        if tick.index % self._every == 0:
            self._keep(tick.verdict.command)

    def on_end(self, reason: str) -> None:
        if self._commands:
            self._keep(self._commands[-1])  # where it ended

    def _keep(self, command: Array) -> None:
        self._poses.append(np.zeros(0) if self._data is None else self._data.qpos.copy())
        self._commands.append(command)
        self._looked.append(len(self._views) - 1)

    def save(
        self, path: str | Path, success: bool | None = None, world: str = "", note: str = "", **about: Any
    ) -> Film:
        """Write the MP4 (H.264, starts before it is fully loaded) and a JPEG of its last picture beside it.

        about: further fields of `Film` (task, split, seed, arm). Raises `BadValue` when nothing was watched.
        """
        need("PIL", "data")
        need("av", "data")
        if not getattr(self, "_poses", None):
            raise BadValue(
                "there is nothing to save: this filmmaker has watched no rollout. "
                "Next: watch a rollout first, rollout(…, subscribers=[camera])"
            )
        path = Path(path)
        poster = path.with_suffix(".jpg")
        path.parent.mkdir(parents=True, exist_ok=True)
        last = _encode(self._pictures(success), path, self.fps)
        poster.write_bytes(_jpeg(last))
        assert self._body is not None
        robot = self._body.embodiment
        tcp = np.zeros((0, 3), np.float32)
        if robot.frames:
            tcp = robot.pose(robot.frame(), np.array(self._commands))[0].astype(np.float32)
        return Film(path, poster, self.instruction, world, success, self._time, note=note, tcp=tcp, **about)

    def _pictures(self, success: bool | None) -> Iterator[Array]:
        """uint8[H, W, 3], one after the other."""
        views: dict[int, Picture] = {}
        n = len(self._poses)
        with _Scene(self._model, self._view) as scene:
            for i, (pose, looked) in enumerate(zip(self._poses, self._looked, strict=True)):
                if looked not in views:
                    views = {looked: _column(*self._views[looked])}
                front = scene(pose) if self._model is not None else _letterbox(self._views[looked][0])
                end = i == n - 1
                time = self._time if end else i / self.fps
                picture = self._compose(front, views[looked], time, success if end else None)
                yield from [picture] * (1 + end * round(LAST * self.fps))

    def _compose(self, scene: Picture, column: Picture, time: float, success: bool | None) -> Array:
        from PIL import Image, ImageDraw, ImageFont

        width, height = SCENE[0] + VIEW, SCENE[1] + STRIP
        sheet = Image.new("RGB", (width, height), GROUND)
        sheet.paste(scene, (0, STRIP))
        sheet.paste(column, (SCENE[0], STRIP))
        draw = ImageDraw.Draw(sheet)
        draw.line((SCENE[0], STRIP, SCENE[0], height), GROUND, 3)
        draw.line((SCENE[0], STRIP + VIEW, width, STRIP + VIEW), GROUND, 3)
        big, small = ImageFont.load_default(20), ImageFont.load_default(16)
        y, right = STRIP // 2, width - 16
        if success is not None:
            word = "success" if success else "failed"
            w = draw.textlength(word, small) + 22
            draw.rounded_rectangle((right - w, y - 14, right, y + 14), 7, GOOD if success else BAD)
            draw.text((right - w / 2, y), word, (255, 255, 255), small, "mm")
            right -= int(w) + 12
        said = f"{self.label} · {time:4.1f} s" if self.label else f"{time:4.1f} s"
        draw.text((right, y), said, SOFT, small, "rm")
        room = right - draw.textlength(said, small) - 16 - 18
        draw.text((16, y), _fit(draw, self.instruction, big, room), INK, big, "lm")
        return np.asarray(sheet)


def film(
    config: EvalConfig,
    task: str,
    split: Split,
    seed: int,
    path: str | Path,
    arm: str = "",
    fps: float = FPS,
    loaded: Loaded | None = None,
) -> Film:
    """Film one trial of an evaluation: the same trial, to the last digit, as `evaluate` counts it. loaded: worlds and policies
    of the caller, for many films."""
    kind = config.stage(seed).partition(":")[0]
    camera = Filmmaker(label=WHERE[kind] + (f", {arm}" if arm else ""), fps=fps)
    trial = run(loaded or Loaded(), (config, task, split, seed), (camera,))
    return camera.save(path, trial.success, kind, why(trial), task=task, split=split, seed=seed, arm=arm)


def why(trial: Trial) -> str:
    """What went wrong in a failed trial, in words; "" for a success."""
    if trial.success:
        return ""
    return (
        "went to the right object, did not finish in time"
        if trial.approached
        else f"went to the {trial.nearest} instead"
    )


def telling(results: Results, most: int = 4) -> list[Trial]:
    """Trials worth a film: failures and successes alternately, every task before any twice."""
    wins, losses = (_task_by_task([t for t in results.trials if t.success is ok]) for ok in (True, False))
    chosen: list[Trial] = []
    while len(chosen) < most and (wins or losses):
        chosen += [pile.pop(0) for pile in (wins, losses) if pile]
    return chosen[:most]


def side_by_side(arms: Mapping[str, EvalConfig], trials: Iterable[Trial], folder: str | Path) -> list[Film]:
    """Film the same tables under every config. arms: {name, such as "before": its config}; "" for the only one."""
    films, loaded = [], Loaded()
    for t in trials:
        for arm, config in arms.items():
            words = [t.task, t.split, str(t.seed), config.world.replace(":", "-"), arm.replace(" ", "-")]
            name = "_".join(w for w in words if w)
            path = Path(folder) / f"{name}.mp4"
            films.append(film(config, t.task, t.split, t.seed, path, arm, loaded=loaded))  # type: ignore[arg-type]
    return films


def _task_by_task(trials: Sequence[Trial]) -> list[Trial]:
    turn: dict[str, int] = {}
    order = []
    for i, t in enumerate(trials):
        turn[t.task] = turn.get(t.task, 0) + 1
        order.append((turn[t.task], i))
    return [trials[i] for _, i in sorted(order)]


class _Scene:
    """Renders poses of a model with a camera of its own, so that the world it belongs to is left as it is."""

    def __init__(self, model: Any, view: Viewpoint) -> None:
        self.model, self.view = model, view

    def __enter__(self) -> _Scene:
        if self.model is not None:
            from palmar.sim.camera import Renderer, mujoco

            self._mujoco, self._data = mujoco, mujoco.MjData(self.model)
            self._renderer = Renderer(self.model, SCENE[1], SCENE[0], quality=True)
            self._camera = mujoco.MjvCamera()
            self._camera.azimuth, self._camera.elevation = self.view.azimuth, self.view.elevation
            self._camera.distance, self._camera.lookat[:] = self.view.distance, self.view.at
        return self

    def __call__(self, pose: Array) -> Picture:
        from PIL import Image

        self._data.qpos[:] = pose
        self._mujoco.mj_kinematics(self.model, self._data)
        self._mujoco.mj_camlight(self.model, self._data)
        return Image.fromarray(self._renderer(self._data, self._camera))

    def __exit__(self, *_: object) -> None:
        if self.model is not None:
            self._renderer.close()


def _column(images: Mapping[str, Array], attention: Mapping[str, Array]) -> Picture:
    """The policy's first two views, one over the other, each with its heat."""
    from PIL import Image, ImageDraw, ImageFont

    column = Image.new("RGB", (VIEW, SCENE[1]), GROUND)
    draw = ImageDraw.Draw(column, "RGBA")
    font = ImageFont.load_default(13)
    for i, (name, image) in enumerate(list(images.items())[:2]):
        heats = [h for key, h in attention.items() if key.partition(".")[0] == name]
        column.paste(overlay(image, heats, VIEW), (0, i * VIEW))
        words = f"policy, {name}"
        draw.rectangle((0, i * VIEW, draw.textlength(words, font) + 14, i * VIEW + 21), (0, 0, 0, 150))
        draw.text((8, i * VIEW + 11), words, INK, font, "lm")
    return column


def overlay(image: Array, heats: Sequence[Array], size: int) -> Picture:
    """An image uint8[H, W, 3] at `size` pixels square, under heat maps float32[h, w]: the first orange, the next blue."""
    from PIL import Image

    shown = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC), np.float32)
    for heat, colour in zip(heats, HEAT, strict=False):
        peak = float(np.max(heat, initial=0.0))
        if not peak > 0:
            continue
        soft = Image.fromarray((np.clip(heat / peak, 0, 1) * 255).astype(np.uint8)).resize(
            (size, size), Image.Resampling.BICUBIC
        )
        alpha = 0.75 * np.asarray(soft, np.float32)[..., None] / 255.0
        shown = shown * (1 - alpha) + alpha * np.array(colour, np.float32)
    return Image.fromarray(np.clip(shown, 0, 255).astype(np.uint8))


def _letterbox(images: Mapping[str, Array]) -> Picture:
    from PIL import Image, ImageOps

    scene = Image.new("RGB", SCENE, GROUND)
    if images:
        first = ImageOps.contain(Image.fromarray(next(iter(images.values()))), SCENE)
        scene.paste(first, ((SCENE[0] - first.width) // 2, (SCENE[1] - first.height) // 2))
    return scene


def _fit(draw: Any, text: str, font: Any, room: float) -> str:
    text = " ".join(text.split())
    if draw.textlength(text, font) <= room:
        return text
    while text and draw.textlength(text + "…", font) > room:
        text = text[:-1]
    return text.rstrip() + "…"


def _encode(pictures: Iterable[Array], path: Path, fps: float) -> Array:
    """H.264 in yuv420p with the index in front; returns the last picture. A film is whole or it is not there."""
    from fractions import Fraction

    import av

    rate = Fraction(fps).limit_denominator(1000)
    aside = path.with_name(f".{path.name}.tmp")
    picture = np.zeros((0, 0, 3), np.uint8)
    try:
        with av.open(url(aside), "w", format="mp4", options={"movflags": "+faststart"}) as out:
            stream: Any = None
            for i, picture in enumerate(pictures):
                if stream is None:
                    stream = out.add_stream("libx264", rate=rate, options={"crf": CRF, "preset": "medium"})
                    stream.height, stream.width = picture.shape[:2]
                    stream.pix_fmt, stream.codec_context.thread_count = "yuv420p", 1
                    stream.codec_context.time_base = 1 / rate
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")
                frame.pts, frame.time_base = i, 1 / rate
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return picture


def _jpeg(picture: Array) -> bytes:
    from PIL import Image

    sink = io.BytesIO()
    Image.fromarray(picture).save(sink, "JPEG", quality=78, optimize=True, progressive=True)
    return sink.getvalue()
