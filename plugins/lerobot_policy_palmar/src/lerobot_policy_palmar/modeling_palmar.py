"""A model of palmar as a policy of LeRobot."""

from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.policies.pretrained import PreTrainedPolicy
from lerobot.utils.constants import ACTION, OBS_ENV_STATE, OBS_STATE
from torch import Tensor

from lerobot_policy_palmar.configuration_palmar import PalmarConfig
from lerobot_policy_palmar.features import check_scale, checked, column, described, interface_of
from palmar.adapters.hosted import HostedModel
from palmar.data import format as fmt
from palmar.data.augment import Augment
from palmar.models import presets

Batch = dict[str, Any]


class PalmarPolicy(PreTrainedPolicy):
    """Made from a preset and a data set, from a palmar checkpoint, or as `config.built` says, with the weights to come.

    dataset_meta, dataset_stats: of the data set, as LeRobot gives them. The simulator's truth, where the data set holds some
    (observation.environment_state, as `palmar collect` records it), teaches where to look; it is never an input.
    """

    config_class = PalmarConfig
    name = "palmar"

    def __init__(
        self, config: PalmarConfig, dataset_stats: Any = None, dataset_meta: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(config)
        truths = () if dataset_meta is None else described(dataset_meta.features, fmt.PRIVILEGED)
        if config.built:
            hosted = HostedModel.described(config.built, truths)
        elif config.checkpoint:
            hosted = HostedModel.of_checkpoint(config.checkpoint, truths)
        else:
            config.validate_features()
            model, texts = (
                presets.preset(config.preset),
                () if dataset_meta is None else tuple(dataset_meta.tasks.index),
            )
            model = model.for_texts(texts)
            interface = interface_of(config, model.offsets, dataset_meta)
            stats = {
                what: dataset_stats[key] for what, key in (("state", OBS_STATE), ("action", ACTION)) if dataset_stats
            }
            stats = {what: {k: np.asarray(v) for k, v in rows.items()} for what, rows in stats.items()}
            actions = None if dataset_meta is None else column(Path(dataset_meta.root), ACTION)
            hosted = HostedModel.fresh(model, interface, stats, actions, truths)
        checked(config, hosted.interface, None if dataset_meta is None else dataset_meta.features)
        if config.checkpoint and dataset_meta is not None:
            check_scale(Path(dataset_meta.root), hosted, config.checkpoint)
        self.hosted = hosted
        config.built, config.checkpoint, config._offsets = hosted.description, None, hosted.interface.offsets
        self.cameras = {fmt.camera_name(key): key for key in config.image_features}
        self.reset()

    def get_optim_params(self) -> list[dict[str, Any]]:
        """Biases and norms are not decayed."""
        trained = [p for p in self.parameters() if p.requires_grad]
        sets = [{"params": [p for p in trained if p.ndim > 1]}]
        return [*sets, {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0}]

    def reset(self) -> None:
        """Forget the actions that are left and the pictures of before."""
        self._left: deque[Tensor] = deque(maxlen=self.config.n_action_steps)
        self._seen: deque[dict[str, Tensor]] = deque(maxlen=1 - self.hosted.interface.past[0])

    def forward(self, batch: Batch, **kwargs: Any) -> tuple[Tensor, dict[str, float]]:
        """The loss, and its parts as plain numbers."""
        now = self.hosted.interface.offsets.index(0)
        state, truths = (_at(batch[key], now) if key in batch else None for key in (OBS_STATE, OBS_ENV_STATE))
        actions = batch[ACTION]
        pad = batch.get(f"{ACTION}_is_pad")
        pad = torch.zeros(actions.shape[:2], dtype=torch.bool, device=actions.device) if pad is None else pad
        augment = Augment() if self.config.augment else None
        images, texts = self._images(batch), self._texts(batch)
        loss, parts = self.hosted.loss(images, state, actions, pad, texts, truths, augment=augment)
        return loss, {name: float(value) for name, value in parts.items()}

    @torch.no_grad()
    def predict_action_chunk(self, batch: Batch, **kwargs: Any) -> Tensor:
        """float32[B, T, A]."""
        self.eval()
        return self._chunk(batch, self._remembered(batch))

    @torch.no_grad()
    def select_action(self, batch: Batch, **kwargs: Any) -> Tensor:
        """float32[B, A]: the next of the chunk, or the first of a new one after `n_action_steps`."""
        self.eval()
        images = self._remembered(batch)
        if not self._left:
            self._left.extend(self._chunk(batch, images)[:, : self.config.n_action_steps].unbind(1))
        return self._left.popleft()

    def _chunk(self, batch: Batch, images: dict[str, Tensor]) -> Tensor:
        state = batch[OBS_STATE]
        return self.hosted.act(images, state[:, -1] if state.ndim == 3 else state, self._texts(batch))

    def _images(self, batch: Batch) -> dict[str, Tensor]:
        return {camera: batch[key] for camera, key in self.cameras.items() if key in batch}

    def _remembered(self, batch: Batch) -> dict[str, Tensor]:
        """The pictures of now, with those of before where the model has some: the first again before there were any."""
        images, past = self._images(batch), self.hosted.interface.past
        if past == (0,) or any(x.ndim == 5 for x in images.values()):
            return images
        self._seen.append(images)
        chosen = [max(0, len(self._seen) - 1 + offset) for offset in past]
        return {camera: torch.stack([self._seen[i][camera] for i in chosen], 1) for camera in images}

    @staticmethod
    def _texts(batch: Batch) -> list[str]:
        rows = len(batch[OBS_STATE])
        given = batch.get("task", "")
        return [given] * rows if isinstance(given, str) else [str(text) for text in given]


def _at(values: Tensor, index: int) -> Tensor:
    """[B, width] of [B, width] or [B, K, width]."""
    return values[:, index] if values.ndim == 3 else values
