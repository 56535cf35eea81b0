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
from palmar.adapters.naming import misfit, numbered
from palmar.errors import BadFile, MissingPackage
from palmar.mapping import Interface
from palmar.models.published import checkpoint_folder, read_json, read_weights
from palmar.types import ActionChunk, Observation, Prefix

STATE, ACTION, IMAGES = "observation.state", "action", "observation.images."
PADDED = IMAGES + "empty_camera_"  # a camera that nobody has; the policy puts black pictures in its place
PRE, POST = "policy_preprocessor.json", "policy_postprocessor.json"
HARMLESS = ("to_batch_processor", "device_processor")  # steps that have nothing left to do here


def load(where: str | Path, rate: float = 30.0, device: str = "cpu") -> LeRobotPolicy:
    """rate: actions a second of the data it was trained on [Hz]; the checkpoint does not say. Its interface: `interface_of`."""
    folder = Path(where)
    if (folder / "pretrained_model").is_dir():
        folder = folder / "pretrained_model"
    folder = checkpoint_folder(folder, "LeRobot checkpoint")
    config = read_json(folder / "config.json")
    if "type" not in config or "input_features" not in config:
        raise BadFile(
            f"'{folder / 'config.json'}' is not LeRobot's: it has no type or input_features. "
            "Next: a folder that lerobot-train wrote, its pretrained_model"
        )
    if not (folder / PRE).exists() or not (folder / POST).exists():
        raise BadFile(
            f"'{folder}' has no {PRE} and {POST}: it is older than LeRobot 0.4. Next: python -m "
            f"lerobot.processor.migrate_policy_normalization --pretrained-path {folder}"
        )
    engine: Engine = Own(folder, config, device) if config["type"] == "act" else Package(folder, config, device)
    return LeRobotPolicy(engine, interface_of(config, engine.renamed, 1 / rate, folder))


class Engine(Protocol):
    """renamed: {name in the data: name in the model}, where they differ."""

    renamed: Mapping[str, str]

    def chunk(self, frame: Mapping[str, Any]) -> Tensor:
        """One frame (pictures float32[1, 3, H, W] 0 … 1, state [1, S], task) → actions [T, A], un-normalised."""
        ...

    def reset(self) -> None: ...


def interface_of(config: Mapping[str, Any], renamed: Mapping[str, str], dt: float, folder: Path) -> Interface:
    """What a checkpoint takes and answers, by its config.json: cameras as its data set called them (renamed: {there: in the
    model}), state and actions `state0` … and `action0` …, because it has their number only. Raises `BadFile` for an input
    that is no camera and no `observation.state`."""
    back, cameras, width = {v: k for k, v in renamed.items()}, {}, 0
    try:
        for name, feature in config["input_features"].items():
            name = back.get(name, name)
            if name.startswith(PADDED):
                continue
            if feature["type"] == "VISUAL":
                _, height, across = feature["shape"]
                cameras[name.removeprefix(IMAGES)] = (int(height), int(across))
            elif name == STATE:
                width = int(feature["shape"][0])
            else:
                raise BadFile(
                    f"'{folder}' looks at {name}, which no robot gives: palmar hands on cameras and {STATE}. Next: a policy "
                    "trained without it"
                )
        many = int(config["output_features"][ACTION]["shape"][0])
        return Interface(cameras, numbered("state", width), numbered("action", many), horizon_of(config), dt)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as e:
        raise BadFile(
            f"'{folder / 'config.json'}': input_features or output_features lack or misspell {e}. Next: copy it again"
        ) from e


def horizon_of(config: Mapping[str, Any]) -> int:
    """How many actions it answers at once: the whole chunk, or, of a policy that looks back (diffusion, VQ-BeT), those that
    it means to be carried out."""
    back = config.get("n_obs_steps", 1) > 1
    keys = ("n_action_steps", "action_chunk_size") if back else ("chunk_size", "n_action_steps", "action_chunk_size")
    return int(next((config[k] for k in keys if config.get(k)), 1))


class LeRobotPolicy:
    """See the module's head. A chunk is the whole of what the network says; how much of it runs is the controller's."""

    def __init__(self, engine: Engine, interface: Interface) -> None:
        self.engine, self.interface = engine, interface

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        """Raises `BadValue` when the observation does not fit `interface`, `BadFile` when the answer does not. `prefix` is
        not used."""
        with torch.inference_mode():
            actions = self.engine.chunk(self.frame(obs)).float().cpu().numpy()
        if wrong := misfit(actions, self.interface):
            raise BadFile(f"the LeRobot policy answers {wrong}. Next: its config.json belongs to other weights")
        return ActionChunk(actions[: self.interface.horizon], self.interface.dt, obs.time)

    def frame(self, obs: Observation) -> dict[str, Any]:
        """LeRobot's names and shapes, batch of one. Raises `BadValue` naming what does not fit."""
        self.interface.check(obs)
        out: dict[str, Any] = {"task": [obs.instruction]}
        for camera in self.interface.cameras:
            picture = torch.from_numpy(np.ascontiguousarray(obs.images[camera])).permute(2, 0, 1)[None]
            out[camera if camera.startswith("observation.") else IMAGES + camera] = picture.contiguous().float() / 255
        if self.interface.state_names:
            out[STATE] = torch.from_numpy(np.asarray(obs.state, np.float32))[None]
        return out

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
            raise BadFile(
                f"'{folder / name}' has the step '{kind}', which palmar does not know. "
                "Next: another checkpoint, or write its step down as an issue"
            )
    if scales is None:
        raise BadFile(
            f"'{folder / name}' has no {wanted}: the policy would see un-normalised numbers. "
            "Next: download the checkpoint again, whole"
        )
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
            raise BadFile(f"state_file '{state}' is outside '{folder}'. Next: download the checkpoint again, whole")
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
                    f"'{folder / state}': {feature} is scaled by {mode}, which needs {', '.join(needed) or 'what?'}. "
                    "Next: download the checkpoint again, whole"
                )
        if ACTION in modes and modes[ACTION] != "IDENTITY" and ACTION not in stats:
            raise BadFile(
                f"'{folder / state}' has no statistics of the actions. Next: download the checkpoint again, whole"
            )
        return Scales(modes, stats, float(config.get("eps", 1e-8)))
    except (KeyError, TypeError, AttributeError) as e:
        raise BadFile(f"the scaling step in '{folder}' lacks or misspells {e}. Next: copy the checkpoint again") from e
