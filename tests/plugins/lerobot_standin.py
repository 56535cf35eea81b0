"""What the plugins use of LeRobot, in its own module tree: registries, feature types, the base classes of a policy and of an
environment's configuration, the processors by name. Without the package itself: tests/conformance runs that."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar

from safetensors.torch import load_file, save_file
from torch import nn

PLUGINS = ("lerobot_policy_palmar", "lerobot_env_palmar")


class FeatureType(StrEnum):
    STATE, VISUAL, ENV, ACTION = "STATE", "VISUAL", "ENV", "ACTION"


class NormalizationMode(StrEnum):
    IDENTITY, MEAN_STD = "IDENTITY", "MEAN_STD"


@dataclass
class PolicyFeature:
    type: FeatureType
    shape: tuple[int, ...]


class Choices:
    known: ClassVar[dict[str, type]]

    @classmethod
    def register_subclass(cls, name: str) -> Any:
        def keep(kind: type) -> type:
            cls.known[name] = kind
            return kind

        return keep

    @property
    def type(self) -> str:
        return next(name for name, kind in self.known.items() if kind is type(self))


@dataclass
class PreTrainedConfig(Choices):
    known: ClassVar[dict[str, type]] = {}
    input_features: dict[str, PolicyFeature] | None = field(default_factory=dict)
    output_features: dict[str, PolicyFeature] | None = field(default_factory=dict)
    device: str | None = "cpu"
    push_to_hub: bool = True

    def __post_init__(self) -> None: ...

    @property
    def image_features(self) -> dict[str, PolicyFeature]:
        return {k: f for k, f in (self.input_features or {}).items() if f.type is FeatureType.VISUAL}

    @property
    def robot_state_feature(self) -> PolicyFeature | None:
        return (self.input_features or {}).get("observation.state")

    @property
    def action_feature(self) -> PolicyFeature | None:
        return (self.output_features or {}).get("action")

    def save(self, folder: Path) -> None:
        (folder / "config.json").write_text(json.dumps({"type": self.type} | asdict(self)))

    @classmethod
    def from_pretrained(cls, folder: str | Path, cli_overrides: list[str] | None = None) -> Any:
        about = json.loads((Path(folder) / "config.json").read_text())
        kind = cls.known[about.pop("type")]
        for part in ("input_features", "output_features"):
            about[part] = {k: PolicyFeature(FeatureType(f["type"]), tuple(f["shape"])) for k, f in about[part].items()}
        return kind(**about)


class PreTrainedPolicy(nn.Module):
    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__()
        self.config = config

    def save_pretrained(self, folder: str | Path) -> None:
        Path(folder).mkdir(parents=True)
        self.config.save(Path(folder))
        save_file(self.state_dict(), Path(folder) / "model.safetensors")

    @classmethod
    def from_pretrained(
        cls, pretrained_name_or_path: str | Path, config: Any = None, strict: bool = False, **more: Any
    ) -> Any:
        made = cls(PreTrainedConfig.from_pretrained(pretrained_name_or_path) if config is None else config, **more)
        made.load_state_dict(load_file(Path(pretrained_name_or_path) / "model.safetensors"), strict=strict)
        return made.eval()


@dataclass
class EnvConfig(Choices):
    known: ClassVar[dict[str, type]] = {}
    task: str | None = None
    fps: int = 30
    features: dict[str, PolicyFeature] = field(default_factory=dict)
    features_map: dict[str, str] = field(default_factory=dict)


@dataclass
class AdamWConfig:
    lr: float
    betas: tuple[float, float]
    weight_decay: float
    grad_clip_norm: float


@dataclass
class CosineDecayWithWarmupSchedulerConfig:
    num_warmup_steps: int
    num_decay_steps: int
    peak_lr: float
    decay_lr: float


class Step:
    def __init__(self, **options: Any) -> None:
        self.options = options


class Pipeline:
    def __init__(self, steps: list[Step], name: str, **more: Any) -> None:
        self.steps, self.name = steps, name

    def save_pretrained(self, folder: Path) -> None:
        (Path(folder) / f"{self.name}.json").write_text(json.dumps([type(s).__name__ for s in self.steps]))


STEPS = (
    "AddBatchDimensionProcessorStep", "DeviceProcessorStep", "NormalizerProcessorStep", "RenameObservationsProcessorStep",
    "UnnormalizerProcessorStep",
)  # fmt: skip
TREE: dict[str, dict[str, Any]] = {
    "configs.types": {"FeatureType": FeatureType, "NormalizationMode": NormalizationMode, "PolicyFeature": PolicyFeature},
    "configs.policies": {"PreTrainedConfig": PreTrainedConfig},
    "envs.configs": {"EnvConfig": EnvConfig},
    "optim.optimizers": {"AdamWConfig": AdamWConfig},
    "optim.schedulers": {"CosineDecayWithWarmupSchedulerConfig": CosineDecayWithWarmupSchedulerConfig},
    "policies.pretrained": {"PreTrainedPolicy": PreTrainedPolicy},
    "processor": {name: type(name, (Step,), {}) for name in STEPS} | {"PolicyProcessorPipeline": Pipeline},
    "processor.converters": {"policy_action_to_transition": None, "transition_to_policy_action": None},
    "utils.constants": {
        "ACTION": "action", "OBS_STATE": "observation.state", "OBS_IMAGES": "observation.images",
        "OBS_ENV_STATE": "observation.environment_state", "POLICY_PREPROCESSOR_DEFAULT_NAME": "policy_preprocessor",
        "POLICY_POSTPROCESSOR_DEFAULT_NAME": "policy_postprocessor",
    },
}  # fmt: skip


@contextmanager
def lerobot_standin() -> Iterator[None]:
    """LeRobot's modules are these inside, and what is imported of the plugins is forgotten afterwards."""

    def ours() -> dict[str, Any]:
        return {n: m for n, m in sys.modules.items() if n.split(".")[0] in ("lerobot", *PLUGINS)}

    before = ours()
    for name in before:
        del sys.modules[name]
    for path, values in TREE.items():
        parts = ["lerobot", *path.split(".")]
        for i in range(1, len(parts) + 1):
            sys.modules.setdefault(".".join(parts[:i]), types.ModuleType(".".join(parts[:i])))
        vars(sys.modules[".".join(parts)]).update(values)
    try:
        yield
    finally:
        for name in ours():
            del sys.modules[name]
        sys.modules.update(before)


__all__ = ["PLUGINS", "EnvConfig", "FeatureType", "PolicyFeature", "PreTrainedConfig", "lerobot_standin"]
