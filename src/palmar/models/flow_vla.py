"""Actions by flow matching beside a vision-language model: π₀ and SmolVLA.

pictures, instruction → VLM, once → keys and values → expert, ten times: noise → chunk. With the VLM frozen (stage one of
their recipes) no gradient is kept for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmar.errors import BadValue
from palmar.mapping import Interface
from palmar.models.base import Batch, Inputs, Prediction, PriorChunk, check_pictures
from palmar.models.conventions import flow_point, flow_times, flow_velocity
from palmar.models.expert import Cache, Expert, ExpertConfig, block_causal
from palmar.models.guidance import Guidance, integrate
from palmar.models.heads import DoneHead, over_chunk
from palmar.models.objects import objects_loss
from palmar.models.speaking import Prefix, Speaking, SpeakingConfig
from palmar.models.token_vla import DONE, mean_over
from palmar.models.transformer import time_features
from palmar.models.vlm import VLM, VLMConfig


@dataclass(frozen=True)
class FlowVLAConfig(SpeakingConfig):
    """state_in: where the joint state goes, as a token of the `expert` (π₀) or of the `vlm` (SmolVLA). steps: of the
    integration when acting. guidance: how a chunk is made to fit a running one; None: as published."""

    vlm: VLMConfig = field(default_factory=VLMConfig)
    expert: ExpertConfig = field(default_factory=ExpertConfig)
    state_in: Literal["expert", "vlm"] = "expert"
    steps: int = 10
    prompt: str = "{instruction}"
    preset: str = "pi0"
    guidance: Guidance | None = None

    def __post_init__(self) -> None:
        if self.state_in not in ("expert", "vlm") or self.steps < 1:
            raise BadValue(f"state_in '{self.state_in}', steps {self.steps}; expected 'expert' or 'vlm', and steps ≥ 1")

    def build(self, interface: Interface) -> FlowVLA:
        return FlowVLA(self, interface)


class FlowVLA(Speaking):
    """See the module's head."""

    roles: ClassVar[Mapping[str, Sequence[str]]] = {
        **Speaking.roles,
        "head": ("expert", "action_in", "action_out", "time_in", "time_out", "state_in", "finished"),
    }

    def __init__(self, config: FlowVLAConfig, interface: Interface) -> None:
        super().__init__()
        check_pictures(interface)
        self.config: FlowVLAConfig = config
        self.interface, self.guidance = interface, config.guidance or Guidance()
        width, actions = config.expert.width, len(interface.action_names)
        self.vlm = VLM(config.vlm)
        self.objects = self.build_objects(config, interface)
        self.expert = Expert(config.expert, config.vlm.decoder)
        to = width if config.state_in == "expert" else self.vlm.width
        self.state_in = nn.Linear(len(interface.state_names), to)
        self.action_in, self.action_out = nn.Linear(actions, width), nn.Linear(width, actions)
        self.time_in, self.time_out = nn.Linear(2 * width, width), nn.Linear(width, width)
        self.finished = DoneHead(self.vlm.width)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error of the velocity over real steps; parts: flow, action (mean absolute error of the actions that the
        velocity leads to), done, loss."""
        cache, (_, there, found), hidden = self._look(batch)
        noise = torch.randn_like(batch.actions)
        t = flow_times(len(noise), noise)
        at = t[:, None, None]
        x = flow_point(noise, batch.actions, at)
        velocity = self._velocity(x, t, batch.state, cache, there).float()
        flow = over_chunk((velocity - flow_velocity(noise, batch.actions)).square(), batch)
        done = DoneHead.loss(self.finished(mean_over(hidden, there)), batch)
        objects, more = objects_loss(self.objects, found, batch)
        total = flow + DONE * done + objects
        with torch.no_grad():
            reached = x + (1 - at) * velocity
            action = over_chunk((reached - batch.actions).abs(), batch)
        parts = {"flow": flow, "action": action, "done": done, "loss": total} | more
        return total, {k: v.detach() for k, v in parts.items()}

    def act(self, inputs: Inputs, prior: PriorChunk | None = None) -> Prediction:
        """A sample, guided by what runs meanwhile."""
        cache, (_, there, _), hidden = self._look(inputs)
        shape = (len(inputs.state), self.interface.horizon, len(self.interface.action_names))
        noise = torch.randn(shape, device=inputs.state.device, dtype=self.action_in.weight.dtype)
        actions = integrate(
            lambda x, t: self._velocity(x, t, inputs.state, cache, there),
            noise,
            self.config.steps,
            prior,
            self.guidance,
        )
        features = mean_over(hidden, there)
        return Prediction(actions, self.finished(features), features=features)

    def _look(self, inputs: Inputs) -> tuple[Cache, Prefix, Tensor]:
        """What the VLM makes of pictures and words: keys and values a layer, the prefix, hidden [B, P, D]."""
        learning = torch.is_grad_enabled() and any(p.requires_grad for p in self.vlm.parameters())
        state = self.state_in(inputs.state)[:, None] if self.config.state_in == "vlm" else None
        with torch.set_grad_enabled(learning or (state is not None and torch.is_grad_enabled())):
            prefix = self.prefix(inputs, self.config.prompt, state)
            hidden, cache = self.vlm.run(prefix.embeddings, prefix.there, prefix.embeddings.shape[1], keep=True)
        return [(layer.keys, layer.values) for layer in cache.layers], prefix, hidden

    def _velocity(self, x: Tensor, t: Tensor, state: Tensor, cache: Cache, there: Tensor) -> Tensor:
        """[B, T, A] at flow times t [B]."""
        horizon, width = x.shape[1], self.config.expert.width
        when = time_features(t, width).to(x.dtype)[:, None].expand(-1, horizon, -1)
        tokens = self.time_out(F.silu(self.time_in(torch.cat([self.action_in(x), when], -1))))
        blocks = [horizon]
        if self.config.state_in == "expert":
            tokens, blocks = torch.cat([self.state_in(state)[:, None], tokens], 1), [1, horizon]
        see = block_causal(blocks, self.config.expert.causal).to(x.device)
        return self.action_out(self.expert(tokens, cache, there, see)[:, -horizon:])
