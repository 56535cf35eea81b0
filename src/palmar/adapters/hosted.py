"""A model of palmar inside somebody else's training loop: plain tensors in the robot's units, pictures in 0 … 1, texts.

The normalisers are buffers of the module, so that its `state_dict` is all there is to keep. Used by the LeRobot plugin
(`plugins/lerobot_policy_palmar`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from palmar.data.augment import Augment, recoloured, shifted
from palmar.data.normalize import Normalizer
from palmar.errors import BadValue
from palmar.mapping import Interface, interface_from_dict, interface_to_dict
from palmar.models import checkpoint
from palmar.models.assets import without_names
from palmar.models.base import Batch, Inputs, Labels, Model, ModelConfig, pixels, skip_pretrained
from palmar.models.config import from_dict, to_dict
from palmar.models.encoders import SentenceTokens
from palmar.models.fits import check_interface
from palmar.models.presets import KINDS
from palmar.pictures import fit
from palmar.sim import truth
from palmar.types import Array
from palmar.units import BOUNDS

Images = Mapping[str, Tensor]


class HostedModel(nn.Module):
    """model: as a configuration builds it. truth_names: of the simulator's truth that `loss` may be given, () for none.

    Pictures are float[B, 3, H, W] in 0 … 1, or [B, K, 3, H, W] where the interface has more than one offset, of the interface's
    size or of one it was recorded in; they are resized as palmar resizes them.
    """

    def __init__(self, model: Model, normalizers: Mapping[str, Normalizer], truth_names: Sequence[str] = ()) -> None:
        super().__init__()
        self.model = model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # safetensors wants it so
        self.interface = model.interface
        self.sentences = SentenceTokens(model.config.max_tokens)
        self.label_maker = truth.decoder(truth_names, tuple(model.interface.cameras), model.interface.state_names)
        self.state_offset: Tensor
        self.state_scale: Tensor
        self.action_offset: Tensor
        self.action_scale: Tensor
        for what in ("state", "action"):
            self.register_buffer(f"{what}_offset", torch.from_numpy(normalizers[what].offset).float())
            self.register_buffer(f"{what}_scale", torch.from_numpy(normalizers[what].scale).float())

    @classmethod
    def fresh(
        cls,
        config: ModelConfig,
        interface: Interface,
        stats: Mapping[str, Mapping[str, Array]],
        actions: Array | None = None,
        truth_names: Sequence[str] = (),
    ) -> HostedModel:
        """A new one. stats: of `state` and `action` as `Normalizer.from_stats` wants them; a missing one leaves the numbers as
        they are. actions: float[n, A] of the training data, for heads that take bins or limits from them."""
        check_no_folder(config)
        model = config.build(interface)
        names = {"state": interface.state_names, "action": interface.action_names}
        normalizers = {
            what: Normalizer.from_stats(stats[what], names=of) if what in stats else Normalizer(np.zeros(len(of)), np.ones(len(of)))
            for what, of in names.items()
        }  # fmt: skip
        for what, of in names.items():
            if len(normalizers[what].scale) != len(of):
                raise BadValue(
                    f"the statistics of {what} have {len(normalizers[what].scale)} numbers; expected {len(of)}, one for each of "
                    f"{', '.join(of)}. Next: palmar inspect SET"
                )
        if actions is not None:
            model.fit(actions, normalizers["action"])
        return cls(model, normalizers, truth_names)

    @classmethod
    def of_checkpoint(cls, folder: str | Path, truth_names: Sequence[str] = ()) -> HostedModel:
        """The model of a palmar checkpoint with its normalisers. Raises `BadFile`."""
        policy = checkpoint.load(folder)
        return cls(policy.model, policy.normalizers, truth_names)

    @classmethod
    def described(cls, text: str, truth_names: Sequence[str] = ()) -> HostedModel:
        """One built as `description` says, its weights not yet loaded. Raises `BadValue`."""
        try:
            about = json.loads(text)
            config: ModelConfig = from_dict(KINDS[about["kind"]], about["config"])
            interface = interface_from_dict(check_interface(about["interface"]))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
            raise BadValue(
                f"the description of the model is damaged ({type(e).__name__}: {e}). Next: copy the folder again from its source"
            ) from e
        check_no_folder(config)
        with skip_pretrained():
            model = config.build(interface)
        blank = {
            what: Normalizer(np.zeros(n), np.ones(n))
            for what, n in (("state", len(interface.state_names)), ("action", len(interface.action_names)))
        }
        return cls(model, blank, truth_names)

    @property
    def description(self) -> str:
        """JSON from which `described` builds an equal one."""
        config = self.model.config
        about = {
            "kind": type(config).__name__, "config": to_dict(config), "interface": interface_to_dict(self.interface),
        }  # fmt: skip
        return json.dumps(about, allow_nan=False)

    def save_checkpoint(self, folder: str | Path, info: Mapping[str, Any] | None = None) -> Path:
        """As a checkpoint of palmar, for `palmar eval`, `run` and `serve`."""
        normalizers = {
            what: Normalizer(
                getattr(self, f"{what}_offset").double().cpu().numpy(), getattr(self, f"{what}_scale").double().cpu().numpy(),
                names=names,
            )
            for what, names in (("state", self.interface.state_names), ("action", self.interface.action_names))
        }  # fmt: skip
        weights = {name: value.detach().cpu() for name, value in self.model.state_dict().items()}
        return checkpoint.save(folder, weights, self.model.config, self.interface, normalizers, info)

    def loss(
        self,
        images: Images,
        state: Tensor,
        actions: Tensor,
        pad: Tensor,
        texts: Sequence[str],
        truths: Tensor | None = None,
        done: Tensor | None = None,
        augment: Augment | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What to minimise and its parts by name (detached). augment: how pictures are shifted and recoloured in training mode.

        state [B, S], actions [B, T, A] in the robot's units; pad: bool[B, T], True after the end of the episode; truths: [B, P] of
        `truth_names`; done: bool[B], already fulfilled. Raises `BadValue` for what does not fit the interface.
        """
        horizon, width = self.interface.horizon, len(self.interface.action_names)
        if actions.shape[1:] != (horizon, width):
            raise BadValue(
                f"actions are {list(actions.shape)}; expected [batch, {horizon}, {width}]. Next: a chunk of {horizon} actions"
            )
        still = self.action_scale == 0
        importance = torch.where(still, 0.0, 1.0) if not bool(still.all()) else torch.ones_like(self.action_scale)
        made = None
        if truths is not None and self.label_maker is not None:
            made = self.label_maker(truths.detach().cpu().numpy(), state.detach().cpu().numpy())
        raw = {camera: self._picture(camera, images) for camera in self.interface.cameras}
        changed = augment if self.training else None
        if changed is not None and changed.shift:
            rng = np.random.default_rng(int(torch.randint(2**31, ())))
            moved, made = shifted({c: x.cpu().numpy() for c, x in raw.items()}, made, changed.shift, rng)
            raw = {c: torch.from_numpy(x).to(state.device) for c, x in moved.items()}
        inputs = self._inputs(raw, state, texts, changed)
        labels = None
        if made is not None:
            labels = Labels(**{k: torch.from_numpy(np.ascontiguousarray(v)).to(state.device) for k, v in made.items()})
        batch = Batch(
            inputs.images, inputs.state, inputs.tokens, inputs.mask, inputs.texts,
            actions=normal(actions, self.action_offset, self.action_scale), pad=pad.bool(),
            done=torch.zeros(len(state), dtype=torch.bool, device=state.device) if done is None else done.bool(),
            importance=importance, labels=labels,
        )  # fmt: skip
        return self.model.loss(batch)

    def act(self, images: Images, state: Tensor, texts: Sequence[str]) -> Tensor:
        """float32[B, T, A], the next actions in the robot's units. Raises `BadValue` for what does not fit the interface."""
        with torch.no_grad():
            if self.model.alone and len(state) > 1:
                rows = [
                    ({c: x[i : i + 1] for c, x in images.items()}, state[i : i + 1], [t]) for i, t in enumerate(texts)
                ]
                return torch.cat([self.act(*row) for row in rows])
            raw = {camera: self._picture(camera, images) for camera in self.interface.cameras}
            said = self.model.act(self._inputs(raw, state, texts)).actions.float()
            actions = said * self.action_scale + self.action_offset
            for i in range(actions.shape[-1]):
                if (ends := BOUNDS.get(self.interface.unit("action", i))) is not None:
                    actions[..., i] = actions[..., i].clip(*ends)
            return actions

    def _inputs(self, raw: Images, state: Tensor, texts: Sequence[str], augment: Augment | None = None) -> Inputs:
        if state.ndim != 2 or state.shape[1] != len(self.interface.state_names) or len(texts) != len(state):
            raise BadValue(
                f"state is {list(state.shape)} with {len(texts)} texts; expected [batch, {len(self.interface.state_names)}] and a "
                f"text each. Next: the state of {', '.join(self.interface.state_names)}"
            )
        tokens, mask = self.sentences(list(texts))
        seen = {c: pixels(x) for c, x in raw.items()}
        if augment is not None:
            seen = {c: recoloured(x, augment) for c, x in seen.items()}
        return Inputs(
            seen,
            normal(state, self.state_offset, self.state_scale), tokens.to(state.device), mask.to(state.device), tuple(texts),
        )  # fmt: skip

    def _picture(self, camera: str, images: Images) -> Tensor:
        """uint8[B, (K,) H, W, 3] of the interface's size."""
        if camera not in images:
            raise BadValue(
                f"camera '{camera}' is missing (given: {', '.join(images) or 'none'}). Next: rename or add the camera"
            )
        given, size = images[camera], tuple(self.interface.cameras[camera])
        known = (size, *(tuple(s) for s in self.interface.recorded.get(camera, ())))
        if given.ndim not in (4, 5) or given.shape[-3] != 3 or tuple(given.shape[-2:]) not in known:
            sizes = " or ".join("×".join(map(str, s)) for s in known)
            raise BadValue(
                f"camera '{camera}' gives {list(given.shape)}; expected [batch, 3, height, width] of {sizes} px. Next: pictures of "
                "that size"
            )
        raw = (given.detach() * 255).round().clamp(0, 255).to(torch.uint8).movedim(-3, -1)
        if tuple(given.shape[-2:]) != size:
            raw = torch.from_numpy(fit(raw.cpu().numpy(), size[0], size[1])).to(given.device)
        return raw


def check_no_folder(config: ModelConfig) -> None:
    """Raise `BadValue` for a model that stands on a folder of this machine, which another does not have."""
    if without_names(config) != to_dict(config):
        raise BadValue(
            f"'{config.preset}' stands on a folder of pretrained weights or words, which a policy of another tool cannot carry. "
            "Next: a preset without one, such as palmar-tiny, or palmar train"
        )


def normal(x: Tensor, offset: Tensor, scale: Tensor) -> Tensor:
    """[..., width] in natural units → unit scale; dimensions of scale 0 are constant, and 0."""
    still = scale == 0
    return torch.where(
        still, torch.zeros_like(x), (x - offset) / torch.where(still, torch.ones_like(scale), scale)
    ).float()
