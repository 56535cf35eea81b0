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

from palmar.adapters.naming import misfit, numbered, steps
from palmar.errors import BadFile, BadValue, MissingPackage, UnknownName
from palmar.mapping import Interface
from palmar.models.published import read_json
from palmar.types import ActionChunk, Array, Observation, Prefix

FILES = ("config.json", "dataset_statistics.json", "example_batch.msgpack")
PICTURE = "image_"
HINT = (
    "Next: pip install 'git+https://github.com/octo-models/octo' jax flax, in an environment of its own (it wants old "
    "versions of both), and serve it from there, or use `octo-small` trained by palmar"
)


def load(where: str | Path, dataset: str | None = None, rate: float = 5.0, seed: int = 0) -> OctoPolicy:
    """dataset: whose action statistics to use; may be left out when there is one. rate: actions a second of that data set
    [Hz]. The policy's interface: `interface_of`."""
    folder = Path(where)
    if not folder.is_dir():
        raise BadFile(
            f"no Octo checkpoint at '{folder}'. Next: download one (rail-berkeley/octo-small-1.5) and give its folder"
        )
    for name in FILES:
        if not (folder / name).exists():
            raise BadFile(f"'{folder}' has no {name}; expected an Octo checkpoint. Next: copy the whole folder")
    name, stats = statistics(folder, dataset)
    horizon = horizon_of(read_json(folder / "config.json"), folder)
    try:
        import jax
        from octo.model.octo_model import OctoModel
    except ImportError as e:
        raise MissingPackage(f"'{e.name or e}' is not installed; an Octo checkpoint needs octo and jax. {HINT}") from e
    model = OctoModel.load_pretrained(str(folder))
    return OctoPolicy(model, stats, interface_of(model, stats, name, horizon, 1 / rate), jax.random, seed)


def interface_of(
    model: Any, stats: Mapping[str, Mapping[str, Array]], dataset: str, horizon: int, dt: float
) -> Interface:
    """What an Octo takes and answers: cameras called as in its example batch without `image_` (primary, wrist), its window of
    pictures, `state0` … where it has a proprioceptive input, and the actions of the data set (`naming.steps`)."""
    wanted = model.example_batch["observation"]
    pictures = {k: wanted[k].shape for k in wanted if k.startswith(PICTURE)}
    if not pictures:
        raise BadFile(
            "the Octo model's example batch has no image_*; expected at least image_primary. Next: an Octo checkpoint, whole"
        )
    window = int(next(iter(pictures.values()))[1])
    names, units = steps(len(stats["action"]["mean"]), dataset)
    return Interface(
        {k.removeprefix(PICTURE): (int(s[2]), int(s[3])) for k, s in pictures.items()},
        numbered("state", int(wanted["proprio"].shape[-1]) if "proprio" in wanted else 0),
        names, horizon, dt, offsets=tuple(range(1 - window, 1)), action_units=units,
    )  # fmt: skip


def horizon_of(config: Mapping[str, Any], folder: Path) -> int:
    """How many actions it answers at once: `action_horizon` of its head (`pred_horizon` in version 1.0). Raises `BadFile`."""
    try:
        about = config["model"]["heads"]["action"]["kwargs"]
        return int(about["action_horizon"] if "action_horizon" in about else about["pred_horizon"])
    except (KeyError, TypeError, ValueError) as e:
        raise BadFile(
            f"'{folder / 'config.json'}' lacks or misspells {e}; expected model.heads.action.kwargs.action_horizon. "
            "Next: copy the whole folder"
        ) from e


class OctoPolicy:
    """Keeps the last pictures of its window; the oldest are marked as missing when an episode begins."""

    def __init__(
        self, model: Any, stats: Mapping[str, Mapping[str, Array]], interface: Interface, random: Any, seed: int
    ) -> None:
        self.model, self.stats, self.interface, self.random = model, stats, interface, random
        self.wanted: Mapping[str, Array] = model.example_batch["observation"]
        self.window = len(interface.offsets)
        self.key = random.PRNGKey(seed)
        self._past: deque[Mapping[str, Array]] = deque(maxlen=self.window)
        self._task: tuple[str, Any] | None = None

    def reset(self) -> None:
        """Forget the past pictures."""
        self._past.clear()

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        """Raises `BadValue` when the observation does not fit `interface`, `BadFile` when the answer does not. `prefix` is
        not used."""
        self._past.append(self._frame(obs))
        if self._task is None or self._task[0] != obs.instruction:
            self._task = (obs.instruction, self.model.create_tasks(texts=[obs.instruction]))
        self.key, draw = self.random.split(self.key)
        drawn = self.model.sample_actions(
            self.observation(), self._task[1], unnormalization_statistics=self.stats["action"], rng=draw
        )
        actions = np.asarray(drawn, np.float32)[0]
        if wrong := misfit(actions, self.interface):
            raise BadFile(f"the Octo model answers {wrong}. Next: its config.json belongs to other weights")
        return ActionChunk(actions[: self.interface.horizon], self.interface.dt, obs.time)

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
        self.interface.check(obs)
        out: dict[str, Array] = {PICTURE + c: obs.images[c] for c in self.interface.cameras}
        if self.interface.state_names:
            scale = self.stats.get("proprio")
            state = np.asarray(obs.state, np.float32)
            out["proprio"] = state if scale is None else (state - scale["mean"]) / (scale["std"] + 1e-8)
        return out


def statistics(folder: Path, dataset: str | None) -> tuple[str, dict[str, dict[str, Array]]]:
    """(name of a data set, "" where the file has one without a name; {action: {mean, std, mask}} and the same of `proprio` if
    there)."""
    known = read_json(folder / "dataset_statistics.json")
    chosen, name = known, ""
    if "action" not in known:  # several data sets; a fine-tuned checkpoint has one, without a name
        if dataset is None and len(known) != 1:
            raise BadValue(
                f"'{folder}' has statistics of {len(known)} data sets; name one as dataset=: {', '.join(known)}. "
                "Next: dataset= one of them"
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
        return name, out
    except (KeyError, TypeError, ValueError) as e:
        raise BadFile(
            f"'{folder / 'dataset_statistics.json'}' lacks or misspells {e}. Next: download the checkpoint again, whole"
        ) from e
