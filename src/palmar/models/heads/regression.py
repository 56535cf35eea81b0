"""The heads that regress, which others are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from palmar.models.heads.chunk import ChunkConfig
from palmar.models.heads.gru import GRUConfig
from palmar.models.heads.joints import JointPositionConfig, JointVelocityConfig

if TYPE_CHECKING:
    pass


RegressionConfig = ChunkConfig | JointPositionConfig | JointVelocityConfig | GRUConfig
