"""LeRobot checkpoints (`lerobot:FOLDER`): model.safetensors, config.json and the two processor files.

ACT runs in palmar's own code (`lerobot_act`); other kinds (diffusion, SmolVLA, π₀, …) run in the `lerobot` package where
it is installed. Either way an `Observation` becomes LeRobot's names: `observation.images.CAMERA`, `observation.state`.
Layout: LeRobot 0.4 and later, which keeps statistics in policy_preprocessor.json and its state file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from palmar.adapters import lerobot_act
from palmar.errors import BadFile, BadValue, MissingPackage
from palmar.models.published import checkpoint_folder, read_json, read_weights
from palmar.types import ActionChunk, Observation, Prefix

STATE, ACTION, IMAGES = "observation.state", "action", "observation.images."
PRE, POST = "policy_preprocessor.json", "policy_postprocessor.json"
HARMLESS = ("to_batch_processor", "device_processor")  # steps that have nothing left to do here


def load(
    where: str | Path, rate: float = 30.0, cameras: Mapping[str, str] | None = None, device: str = "cpu"
) -> LeRobotPolicy:
    """rate: actions a second of the data it was trained on [Hz]; the checkpoint does not say. cameras: {its name: our
    name} for those that differ."""
    folder = Path(where)
    if (folder / "pretrained_model").is_dir():
        folder = folder / "pretrained_model"
    folder = checkpoint_folder(folder, "LeRobot checkpoint")
    config = read_json(folder / "config.json")
    if "type" not in config or "input_features" not in config:
        raise BadFile(f"'{folder / 'config.json'}' is not LeRobot's: it has no type or input_features")
    if not (folder / PRE).exists() or not (folder / POST).exists():
        raise BadFile(
            f"'{folder}' has no {PRE} and {POST}: it is older than LeRobot 0.4. Next: python -m "
            f"lerobot.processor.migrate_policy_normalization --pretrained-path {folder}"
        )
    engine: Engine = Own(folder, config, device) if config["type"] == "act" else Package(folder, config, device)
    return LeRobotPolicy(engine, Features.of(config, engine.renamed, cameras or {}, folder), 1 / rate)


class Engine(Protocol):
    """renamed: {name in the data: name in the model}, where they differ."""

    renamed: Mapping[str, str]

    def chunk(self, frame: Mapping[str, Any]) -> Tensor:
        """One frame (pictures float32[1, 3, H, W] 0 … 1, state [1, S], task) → actions [T, A], un-normalised."""
        ...

    def reset(self) -> None: ...


@dataclass(frozen=True)
class Features:
    """What a checkpoint looks at. cameras: {name in the data: (our camera, height, width)}. state: how many values."""

    cameras: Mapping[str, tuple[str, int, int]]
    state: int | None

    @classmethod
    def of(
        cls, config: Mapping[str, Any], renamed: Mapping[str, str], ours: Mapping[str, str], folder: Path
    ) -> Features:
        back, cameras, state = {v: k for k, v in renamed.items()}, {}, None
        try:
            for name, feature in config["input_features"].items():
                name = back.get(name, name)
                if feature["type"] == "VISUAL":
                    _, height, width = feature["shape"]
                    short = name.removeprefix(IMAGES)
                    cameras[name] = (ours.get(short, short), int(height), int(width))
                elif name == STATE:
                    state = int(feature["shape"][0])
                elif feature["type"] == "ENV":
                    raise BadFile(f"'{folder}' wants {name}, which only its own simulator knows")
        except (KeyError, TypeError, ValueError) as e:
            raise BadFile(f"'{folder / 'config.json'}': input_features lack or misspell {e}") from e
        known = {n.removeprefix(IMAGES) for n in cameras}
        if unknown := sorted(set(ours) - known):
            raise BadValue(f"cameras= names '{unknown[0]}'; the checkpoint has {', '.join(sorted(known)) or 'none'}")
        return cls(cameras, state)

    def frame(self, obs: Observation) -> dict[str, Any]:
        """LeRobot's names and shapes, batch of one. Raises `BadValue` naming what does not fit."""
        out: dict[str, Any] = {"task": [obs.instruction]}
        for name, (ours, height, width) in self.cameras.items():
            if ours not in obs.images:
                have = ", ".join(obs.images) or "none"
                raise BadValue(
                    f"camera '{ours}' ({name}) is missing (given: {have}). Next: cameras={{its name: yours}}"
                )
            image = obs.images[ours]
            if image.shape[:2] != (height, width):
                raise BadValue(
                    f"camera '{ours}' gives {image.shape[0]}×{image.shape[1]} px; this policy was trained on {height}×{width}"
                )
            picture = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
            out[name] = picture.contiguous().float() / 255
        if self.state is not None:
            if len(obs.state) != self.state:
                raise BadValue(f"state has {len(obs.state)} values; this policy was trained on {self.state}")
            out[STATE] = torch.from_numpy(np.asarray(obs.state, np.float32))[None]
        return out


class LeRobotPolicy:
    """See the module's head. A chunk is the whole of what the network says; how much of it runs is the controller's."""

    interface = None  # the published files do not name its numbers; a `Mapping` does

    def __init__(self, engine: Engine, features: Features, dt: float) -> None:
        self.engine, self.features, self.dt = engine, features, dt

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        """Raises `BadValue` when the observation does not fit. `prefix` is not used."""
        with torch.inference_mode():
            actions = self.engine.chunk(self.features.frame(obs)).float().cpu().numpy()
        return ActionChunk(actions, self.dt, obs.time)

    def reset(self) -> None:
        self.engine.reset()


class Own:
    """ACT in palmar's code."""

    def __init__(self, folder: Path, config: Mapping[str, Any], device: str) -> None:
        self.renamed, self.before = read_processor(folder, PRE, "normalizer_processor")
        _, self.after = read_processor(folder, POST, "unnormalizer_processor")
        self.model = lerobot_act.build(config, read_weights(folder)).to(device)
        self.device = device

    def chunk(self, frame: Mapping[str, Any]) -> Tensor:
        given = {self.renamed.get(k, k): v for k, v in frame.items() if isinstance(v, Tensor)}
        normal = {k: self.before.forward(k, v).to(self.device) for k, v in given.items()}
        return self.after.inverse(ACTION, self.model(normal)[0].float().cpu())

    def reset(self) -> None:
        """Nothing: ACT remembers nothing between chunks."""


class Package:
    """Any other kind, in the `lerobot` package."""

    def __init__(self, folder: Path, config: Mapping[str, Any], device: str) -> None:
        kind = config["type"]
        try:
            from lerobot.policies.factory import get_policy_class, make_pre_post_processors
        except (ImportError, RuntimeError) as e:  # a torchvision that does not fit raises RuntimeError
            raise MissingPackage(
                f"'{folder}' is a LeRobot '{kind}' policy; palmar runs 'act' itself and needs the package 'lerobot' for "
                f"others ({type(e).__name__}: {e}). Next: pip install lerobot"
            ) from e
        self.policy = get_policy_class(kind).from_pretrained(str(folder), strict=True).to(device).eval()
        moved = {"device_processor": {"device": device}}
        self.pre, self.post = make_pre_post_processors(
            self.policy.config, pretrained_path=str(folder), preprocessor_overrides=moved
        )
        self.renamed, _ = _rename_map(read_json(folder / PRE).get("steps", []))

    def chunk(self, frame: Mapping[str, Any]) -> Tensor:
        batch = self.pre(dict(frame))
        queues = getattr(self.policy, "_queues", None)
        if (
            isinstance(queues, dict) and len(queues) > 1
        ):  # it looks back (diffusion): its own call keeps the past pictures
            queues[ACTION].clear()
            first = self.policy.select_action({k: v for k, v in batch.items() if isinstance(v, Tensor)})
            actions = torch.stack([first, *queues[ACTION]], 1)
        else:
            actions = self.policy.predict_action_chunk(batch)
        return torch.stack([self.post(a)[0] for a in actions.transpose(0, 1)])

    def reset(self) -> None:
        self.policy.reset()


@dataclass(frozen=True)
class Scales:
    """LeRobot's normalisation. modes: {feature: MEAN_STD, MIN_MAX, QUANTILES, QUANTILE10 or IDENTITY}."""

    modes: Mapping[str, str]
    stats: Mapping[str, Mapping[str, Tensor]]
    eps: float = 1e-8

    def forward(self, feature: str, x: Tensor) -> Tensor:
        return self._map(feature, x, lambda x, a, b: (x - a) / b, lambda x, a, b: 2 * (x - a) / b - 1, self.eps)

    def inverse(self, feature: str, x: Tensor) -> Tensor:
        return self._map(feature, x, lambda x, a, b: x * b + a, lambda x, a, b: (x + 1) / 2 * b + a, 0.0)

    def _map(
        self, feature: str, x: Tensor, by_std: Callable[[Tensor, Tensor, Tensor], Tensor],
        by_range: Callable[[Tensor, Tensor, Tensor], Tensor], eps: float,
    ) -> Tensor:  # fmt: skip
        mode, stats = self.modes.get(feature, "IDENTITY"), self.stats.get(feature)
        if mode == "IDENTITY" or stats is None:
            return x
        if mode == "MEAN_STD":
            return by_std(x, stats["mean"], stats["std"] + eps)
        low, high = RANGES[mode]
        width = stats[high] - stats[low]
        return by_range(x, stats[low], torch.where(width == 0, torch.full_like(width, self.eps), width))


RANGES = {"MIN_MAX": ("min", "max"), "QUANTILES": ("q01", "q99"), "QUANTILE10": ("q10", "q90")}


def read_processor(folder: Path, name: str, wanted: str) -> tuple[Mapping[str, str], Scales]:
    """The renaming and the scales of a processor file and its state file. Raises `BadFile` for a step it cannot do."""
    steps = read_json(folder / name).get("steps", [])
    renamed, rest = _rename_map(steps)
    scales = None
    for step in rest:
        kind = step.get("registry_name", step.get("class"))
        if kind == wanted:
            scales = _scales(folder, step)
        elif kind not in HARMLESS:
            raise BadFile(f"'{folder / name}' has the step '{kind}', which palmar does not know")
    if scales is None:
        raise BadFile(f"'{folder / name}' has no {wanted}: the policy would see un-normalised numbers")
    return renamed, scales


def _rename_map(steps: list[dict[str, Any]]) -> tuple[Mapping[str, str], list[dict[str, Any]]]:
    renamed: dict[str, str] = {}
    rest = []
    for step in steps:
        if step.get("registry_name") == "rename_observations_processor":
            renamed |= step.get("config", {}).get("rename_map", {})
        else:
            rest.append(step)
    return renamed, rest


def _scales(folder: Path, step: Mapping[str, Any]) -> Scales:
    from palmar.models.tensors import read_tensors

    try:
        config, state = step["config"], step["state_file"]
        if Path(state).name != state:
            raise BadFile(f"state_file '{state}' is outside '{folder}'")
        types = {k: f["type"] for k, f in config["features"].items()}
        modes = {k: config["norm_map"].get(t, "IDENTITY") for k, t in types.items()}
        stats: dict[str, dict[str, Tensor]] = {}
        for key, tensor in read_tensors(folder / state)[0].items():
            feature, _, stat = key.rpartition(".")
            stats.setdefault(feature, {})[stat] = tensor.float()
        for feature, mode in modes.items():
            needed = ("mean", "std") if mode == "MEAN_STD" else RANGES.get(mode, ())
            if mode != "IDENTITY" and (not needed or (feature in stats and not set(needed) <= set(stats[feature]))):
                raise BadFile(
                    f"'{folder / state}': {feature} is scaled by {mode}, which needs {', '.join(needed) or 'what?'}"
                )
        if ACTION in modes and modes[ACTION] != "IDENTITY" and ACTION not in stats:
            raise BadFile(f"'{folder / state}' has no statistics of the actions")
        return Scales(modes, stats, float(config.get("eps", 1e-8)))
    except (KeyError, TypeError, AttributeError) as e:
        raise BadFile(f"the scaling step in '{folder}' lacks or misspells {e}. Next: copy the checkpoint again") from e
