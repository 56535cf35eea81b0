"""`--policy.type=palmar`: which of palmar's models, and how it is trained."""

from dataclasses import dataclass, field

from lerobot.configs.policies import PreTrainedConfig
from lerobot.configs.types import NormalizationMode
from lerobot.optim.optimizers import AdamWConfig
from lerobot.optim.schedulers import CosineDecayWithWarmupSchedulerConfig

from palmar.errors import BadValue
from palmar.mapping import interface_from_dict


@PreTrainedConfig.register_subclass("palmar")
@dataclass
class PalmarConfig(PreTrainedConfig):
    """preset: which model (`palmar models` lists them). checkpoint: folder of a palmar checkpoint to begin from instead, whose
    model, horizon and normalisation are taken. chunk_size: actions of a chunk. n_action_steps: how many of them are carried out
    before the next is asked for. image_size: short side [px] to which pictures are resized, 0 for what suits the preset.
    augment: shift and recolour the pictures in training, as palmar does.

    built: JSON of the model, written when the policy is made; what is saved needs no preset and no checkpoint any more.
    Normalisation happens inside the policy, so that the processors leave numbers as they are.
    """

    preset: str = "palmar-tiny"
    checkpoint: str | None = None
    chunk_size: int = 16
    n_action_steps: int = 8
    image_size: int = 0
    augment: bool = True
    built: str = ""
    normalization_mapping: dict[str, NormalizationMode] = field(
        default_factory=lambda: dict.fromkeys(("VISUAL", "STATE", "ACTION", "ENV"), NormalizationMode.IDENTITY)
    )
    optimizer_lr: float = 1e-3
    optimizer_weight_decay: float = 0.01
    optimizer_grad_clip_norm: float = 1.0
    scheduler_warmup_steps: int = 500
    scheduler_decay_steps: int = 30_000

    def __post_init__(self) -> None:
        from palmar.models import presets  # torch: only once a policy of this type is asked for

        super().__post_init__()
        if self.built:
            import json

            try:
                interface = interface_from_dict(json.loads(self.built)["interface"])
            except (ValueError, KeyError, TypeError) as e:
                raise BadValue(
                    f"`built` is damaged ({type(e).__name__}). Next: copy the folder again from its source"
                ) from e
            self.chunk_size, self._offsets = interface.horizon, interface.offsets
        elif self.checkpoint:
            from palmar.models.checkpoint import read_interface

            interface = read_interface(self.checkpoint)
            self.chunk_size, self._offsets = interface.horizon, interface.offsets
            self.n_action_steps = min(self.n_action_steps, self.chunk_size)
        else:
            self._offsets = presets.preset(self.preset).offsets
        if not 1 <= self.chunk_size <= 1024:
            raise BadValue(f"chunk_size is {self.chunk_size}; expected 1 … 1024. Next: --policy.chunk_size=16")
        if not 1 <= self.n_action_steps <= self.chunk_size:
            raise BadValue(
                f"n_action_steps is {self.n_action_steps}; expected 1 … chunk_size ({self.chunk_size}). Next: "
                f"--policy.n_action_steps={max(1, self.chunk_size // 2)}"
            )
        if self.image_size and not 16 <= self.image_size <= 8192:
            raise BadValue(f"image_size is {self.image_size}; expected 0 or 16 … 8192 px. Next: --policy.image_size=96")
        if any(mode != NormalizationMode.IDENTITY for mode in self.normalization_mapping.values()):
            raise BadValue(
                "normalization_mapping is not IDENTITY; expected it to be, because the policy normalises inside and twice would "
                "be wrong. Next: leave it out"
            )

    def validate_features(self) -> None:
        if self.robot_state_feature is None or not self.image_features or self.action_feature is None:
            given = ", ".join([*(self.input_features or {}), *(self.output_features or {})]) or "none"
            raise BadValue(
                f"features are {given}; expected observation.state, one camera or more, and action. Next: a data set with these"
            )

    def get_optimizer_preset(self) -> AdamWConfig:
        return AdamWConfig(
            lr=self.optimizer_lr, betas=(0.9, 0.99), weight_decay=self.optimizer_weight_decay,
            grad_clip_norm=self.optimizer_grad_clip_norm,
        )  # fmt: skip

    def get_scheduler_preset(self) -> CosineDecayWithWarmupSchedulerConfig:
        return CosineDecayWithWarmupSchedulerConfig(
            num_warmup_steps=self.scheduler_warmup_steps, num_decay_steps=self.scheduler_decay_steps, peak_lr=self.optimizer_lr,
            decay_lr=self.optimizer_lr / 100,
        )  # fmt: skip

    @property
    def observation_delta_indices(self) -> list[int] | None:
        return None if self._offsets == (0,) else list(self._offsets)

    @property
    def action_delta_indices(self) -> list[int]:
        return list(range(self.chunk_size))

    @property
    def reward_delta_indices(self) -> None:
        return None
