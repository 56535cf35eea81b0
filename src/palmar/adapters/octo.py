"""Octo checkpoints (`octo:FOLDER`), run by the `octo` package (JAX): palmar feeds it a window and reads its chunk.

The folder is the published one: config.json, dataset_statistics.json, example_batch.msgpack and one folder a step.
Source: github.com/octo-models/octo, arXiv 2405.12213.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from palmar.errors import BadFile, BadValue, MissingPackage, UnknownName
from palmar.models.published import read_json
from palmar.types import ActionChunk, Array, Observation, Prefix

FILES = ("config.json", "dataset_statistics.json", "example_batch.msgpack")
HINT = (
    "Next: pip install 'git+https://github.com/octo-models/octo' jax flax, in an environment of its own (it wants old "
    "versions of both), and serve it from there, or use `octo-small` trained by palmar"
)


def load(
    where: str | Path, dataset: str | None = None, cameras: Mapping[str, str] | None = None, rate: float = 5.0,
    seed: int = 0,
) -> OctoPolicy:  # fmt: skip
    """dataset: whose action statistics to use; may be left out when there is one. cameras: {its name: ours}, by default
    primary: the first one, wrist: 'wrist'. rate: actions a second of that data set [Hz]."""
    folder = Path(where)
    if not folder.is_dir():
        raise BadFile(
            f"no Octo checkpoint at '{folder}'. Next: download one (rail-berkeley/octo-small-1.5) and give its folder"
        )
    for name in FILES:
        if not (folder / name).exists():
            raise BadFile(f"'{folder}' has no {name}; expected an Octo checkpoint. Next: copy the whole folder")
    stats = statistics(folder, dataset)
    try:
        import jax
        from octo.model.octo_model import OctoModel
    except ImportError as e:
        raise MissingPackage(f"'{e.name or e}' is not installed; an Octo checkpoint needs octo and jax. {HINT}") from e
    return OctoPolicy(OctoModel.load_pretrained(str(folder)), stats, dict(cameras or {}), 1 / rate, jax.random, seed)


class OctoPolicy:
    """Keeps the last pictures of its window; the oldest are marked as missing when an episode begins."""

    interface = None  # the published files do not name its numbers; a `Mapping` does

    def __init__(
        self,
        model: Any,
        stats: Mapping[str, Mapping[str, Array]],
        cameras: Mapping[str, str],
        dt: float,
        random: Any,
        seed: int,
    ) -> None:
        self.model, self.stats, self.cameras, self.dt, self.random = model, stats, cameras, dt, random
        self.wanted: Mapping[str, Array] = model.example_batch["observation"]
        pictures = [k for k in self.wanted if k.startswith("image_")]
        if not pictures:
            raise BadFile("the Octo model's example batch has no image_*; expected at least image_primary")
        self.sizes = {k: tuple(self.wanted[k].shape[2:4]) for k in pictures}
        self.window = int(self.wanted[pictures[0]].shape[1])
        self.key = random.PRNGKey(seed)
        self._past: deque[Mapping[str, Array]] = deque(maxlen=self.window)
        self._task: tuple[str, Any] | None = None

    def reset(self) -> None:
        """Forget the past pictures."""
        self._past.clear()

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        """Raises `BadValue` when a camera is missing. `prefix` is not used."""
        self._past.append(self._frame(obs))
        if self._task is None or self._task[0] != obs.instruction:
            self._task = (obs.instruction, self.model.create_tasks(texts=[obs.instruction]))
        self.key, draw = self.random.split(self.key)
        actions = self.model.sample_actions(
            self.observation(), self._task[1], unnormalization_statistics=self.stats["action"], rng=draw
        )
        return ActionChunk(np.asarray(actions, np.float32)[0], self.dt, obs.time)

    def observation(self) -> dict[str, Any]:
        """The window, batch of one; where there is no past yet, the first frame again, marked as padding."""
        missing = self.window - len(self._past)
        frames = [self._past[0]] * missing + list(self._past)
        out: dict[str, Any] = {k: np.stack([f[k] for f in frames])[None] for k in frames[0]}
        there = np.array([False] * missing + [True] * len(self._past))[None]
        for name in ("timestep_pad_mask", "pad_mask"):  # the second is version 1.0's name
            if name in self.wanted:
                out[name] = there
        if "timestep" in self.wanted:
            out["timestep"] = np.arange(self.window, dtype=np.int32)[None]
        if "pad_mask_dict" in self.wanted:
            out["pad_mask_dict"] = {k: there for k in frames[0]}
        return out

    def _frame(self, obs: Observation) -> dict[str, Array]:
        out: dict[str, Array] = {}
        for i, (name, size) in enumerate(self.sizes.items()):
            short = name.removeprefix("image_")
            ours = self.cameras.get(short) or (short if short in obs.images or i else next(iter(obs.images), short))
            if ours not in obs.images:
                raise BadValue(
                    f"camera '{ours}' ({name}) is missing (given: {', '.join(obs.images) or 'none'}). "
                    "Next: cameras={its name: yours}"
                )
            out[name] = resized(obs.images[ours], (int(size[0]), int(size[1])))
        if "proprio" in self.wanted:
            width = int(self.wanted["proprio"].shape[-1])
            if len(obs.state) != width:
                raise BadValue(f"state has {len(obs.state)} values; this Octo was trained on {width}")
            scale = self.stats.get("proprio")
            state = np.asarray(obs.state, np.float32)
            out["proprio"] = state if scale is None else (state - scale["mean"]) / (scale["std"] + 1e-8)
        return out


def statistics(folder: Path, dataset: str | None) -> dict[str, dict[str, Array]]:
    """{action: {mean, std, mask}} and the same of `proprio` if there, of one data set."""
    known = read_json(folder / "dataset_statistics.json")
    chosen = known
    if "action" not in known:  # several data sets; a fine-tuned checkpoint has one, without a name
        if dataset is None and len(known) != 1:
            raise BadValue(
                f"'{folder}' has statistics of {len(known)} data sets; name one as dataset=: {', '.join(known)}"
            )
        name = dataset or next(iter(known))
        if name not in known:
            raise UnknownName("data set", name, known)
        chosen = known[name]
    try:
        out: dict[str, dict[str, Array]] = {}
        for what in ("action", "proprio"):
            if what == "action" or what in chosen:
                out[what] = {k: np.asarray(chosen[what][k], np.float32) for k in ("mean", "std")}
                if "mask" in chosen[what]:
                    out[what]["mask"] = np.asarray(chosen[what]["mask"], bool)
        return out
    except (KeyError, TypeError, ValueError) as e:
        raise BadFile(f"'{folder / 'dataset_statistics.json'}' lacks or misspells {e}") from e


def resized(image: Array, size: tuple[int, int]) -> Array:
    """uint8[H, W, 3] → uint8[*size, 3], Lanczos, as Octo's data loader does."""
    if image.shape[:2] == size:
        return image
    from PIL import Image

    return np.asarray(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.LANCZOS))
