"""From what was perceived to actions. Every action head has two verbs:

    loss(context, batch) → what to minimise, and its parts (`action` among them: mean absolute error, normalised)
    act(context, prior)  → actions float32[B, T, A], normalised; prior: the chunk that runs meanwhile, None for none

What a head makes of a prior: flow and diffusion are guided (`guidance.integrate`), tokens one after the other and the GRU are
told the committed actions as if they had said them, all others are blended with the running chunk (`guidance.blended`).

context: [B, N, D], one or more vectors of what was perceived; a head that needs only one takes their mean. A frozen
configuration builds its head for a width and an `Interface`. Axis legend: B batch · N vectors · T horizon · A action.
"""

from __future__ import annotations

from palmar.models.heads.base import Head, over_chunk, over_steps
from palmar.models.heads.chunk import ChunkConfig, ChunkHead
from palmar.models.heads.denoised import DiffusionConfig, FlowConfig, GenerativeHead
from palmar.models.heads.done import DoneHead
from palmar.models.heads.ensemble import EnsembleConfig, EnsembleHead
from palmar.models.heads.gru import GRUConfig
from palmar.models.heads.joints import JointPositionConfig, JointVelocityConfig
from palmar.models.heads.pose import PoseConfig
from palmar.models.heads.tasks import TASK_WORDS, TaskHeadsConfig, task_of
from palmar.models.heads.tokens import TokenConfig, TokenHead

__all__ = [
    "TASK_WORDS",
    "ChunkConfig",
    "ChunkHead",
    "DiffusionConfig",
    "DoneHead",
    "EnsembleConfig",
    "EnsembleHead",
    "FlowConfig",
    "GRUConfig",
    "GenerativeHead",
    "Head",
    "HeadConfig",
    "JointPositionConfig",
    "JointVelocityConfig",
    "PoseConfig",
    "TaskHeadsConfig",
    "TokenConfig",
    "TokenHead",
    "over_chunk",
    "over_steps",
    "task_of",
]

HeadConfig = (
    ChunkConfig
    | JointPositionConfig
    | JointVelocityConfig
    | PoseConfig
    | GRUConfig
    | TokenConfig
    | DiffusionConfig
    | FlowConfig
    | TaskHeadsConfig
    | EnsembleConfig
)
