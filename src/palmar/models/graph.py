"""A model as a function of plain tensors, which compilers and other runtimes can take: `Graph`; and back: `Traced`.

Two functions make a policy. words: the vectors of an instruction → what depends on the instruction alone, computed once an
instruction. policy: state, pictures and that → actions and what else the model says, computed at every step. Batch 1.

feeds of `policy` by name   state float32[1, S] normalised · image.CAMERA float32[1, H, W, 3] or [1, K, H, W, 3] from `pixels` ·
                            language.I of `words` · noise float32[1, T, A] where the model draws
answers by name             actions float32[1, T, A] · done float32[1] · confidence float32[1] · features float32[1, D] ·
                            attention.NAME float32[1, h, w]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmar.errors import BadValue
from palmar.mapping import Interface
from palmar.models.base import Batch, Inputs, Model, ModelConfig, Prediction, PriorChunk
from palmar.models.guidance import blended
from palmar.models.heads.tokens import TokenHead

Run = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
"""Feeds by name to answers by name. Feeds that the function does not use are passed over."""
ATTENTION = "attention."


def feeds(inputs: Inputs) -> dict[str, Tensor]:
    """What `policy` is fed. Pictures go channels last, as they lie in memory."""
    out = {"state": inputs.state} | {f"language.{i}": t for i, t in enumerate(inputs.language)}
    out |= {f"image.{camera}": x.movedim(-3, -1) for camera, x in inputs.images.items()}
    return out if inputs.noise is None else out | {"noise": inputs.noise}


def fed(given: Mapping[str, Tensor]) -> Inputs:
    """The inverse of `feeds`; the words themselves are not there."""
    state = given["state"]
    images = {n.partition(".")[2]: x.movedim(-1, -3) for n, x in given.items() if n.startswith("image.")}
    language = tuple(given[f"language.{i}"] for i in range(sum(n.startswith("language.") for n in given)))
    empty = state.new_zeros(len(state), 0)
    return Inputs(images, state, empty[..., None], empty.bool(), (), language, None, given.get("noise"))


def answers(said: Prediction) -> dict[str, Tensor]:
    """float32, by name."""
    out = {"actions": said.actions, "done": said.done, "confidence": said.confidence, "features": said.features}
    maps = {ATTENTION + name: x for name, x in (said.attention or {}).items()}
    return {name: x.float() for name, x in (out | maps).items() if x is not None}


def prediction(out: Mapping[str, Tensor]) -> Prediction:
    """The inverse of `answers`."""
    maps = {n.removeprefix(ATTENTION): x for n, x in out.items() if n.startswith(ATTENTION)}
    return Prediction(
        out["actions"], out.get("done"), out.get("confidence"), maps or None, features=out.get("features")
    )


class Graph(nn.Module):
    """`policy` of a model: tensors in the order of `names` → tensors in the order of `said`."""

    def __init__(self, model: Model, example: Inputs) -> None:
        super().__init__()
        self.model, self.names = model, tuple(feeds(example))
        with torch.no_grad():
            self.said = tuple(answers(model.act(example)))

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        out = answers(self.model.act(fed(dict(zip(self.names, tensors, strict=True)))))
        return tuple(out[name] for name in self.said)


class Words(nn.Module):
    """`words` of a model: tokens float32[1, L, 384] and mask bool[1, L] → `Model.encode_language`."""

    names = ("tokens", "mask")

    def __init__(self, model: Model, example: Inputs) -> None:
        super().__init__()
        self.model = model
        self.said = tuple(f"language.{i}" for i in range(len(example.language)))

    def forward(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        return self.model.encode_language(Inputs({}, tokens.new_zeros(1, 1), tokens, mask))


@dataclass(frozen=True)
class Traces:
    """Both functions of a model with an example of what each is fed: tensors in the order of `names`."""

    policy: Graph
    words: Words
    feeds: tuple[Tensor, ...]
    text: tuple[Tensor, ...]


def check_traceable(model: Model) -> None:
    """Raise `BadValue` for a model that is no function of plain tensors of fixed sizes."""
    name, head = model.config.preset, getattr(model, "head", None)
    if model.config.max_tokens == 0:
        raise BadValue(
            f"preset '{name}' reads the words itself, in Python; expected one that takes the sentence encoder's vectors. Next: "
            "palmar bench for its other forms, or a model such as palmar-tiny, act, octo, diffusion, bcz, gr2 or humanoid"
        )
    if isinstance(head, TokenHead) and not head.config.parallel:
        raise BadValue(
            f"preset '{name}' says its actions one token after the other, each depending on the last; expected a head that answers "
            "at once. Next: a head with parallel=True, or another preset"
        )


def traces(model: Model, inputs: Inputs) -> Traces:
    """inputs: of one observation, with its words (`NeuralPolicy.inputs`). Raises what `check_traceable` does."""
    check_traceable(model)
    tokens, mask = filled(inputs, model.config.max_tokens)
    with torch.no_grad():
        language = model.encode_language(replace(inputs, tokens=tokens, mask=mask))
        noise = torch.randn(1, *model.noise) if model.noise else None
        example = replace(inputs, language=language, sights=None, noise=noise)
        policy, words = Graph(model, example).eval(), Words(model, example).eval()
    return Traces(policy, words, tuple(feeds(example).values()), (tokens, mask))


def filled(inputs: Inputs, length: int) -> tuple[Tensor, Tensor]:
    """(float32[1, length, 384], bool[1, length]): the words, filled up with tokens that the mask hides."""
    lacking = length - inputs.tokens.shape[1]
    return F.pad(inputs.tokens.float(), (0, 0, 0, lacking)), F.pad(inputs.mask, (0, lacking))


@dataclass(frozen=True)
class TracedConfig:
    """What of a model's configuration matters when acting. noise: shape of what is drawn, () for nothing. ensemble: see
    `VLAConfig`."""

    preset: str
    max_tokens: int
    offsets: tuple[int, ...] = (0,)
    noise: tuple[int, ...] = ()
    ensemble: float | None = None

    def for_texts(self, texts: Sequence[str]) -> ModelConfig:
        raise BadValue(f"'{self.preset}' is a policy for acting; it cannot be trained. Next: train its checkpoint")

    def build(self, interface: Interface) -> Model:
        raise BadValue(f"'{self.preset}' is a policy for acting; it cannot be built anew. Next: load its folder")

    @classmethod
    def of(cls, model: Model) -> TracedConfig:
        c = model.config
        return cls(c.preset, c.max_tokens, tuple(c.offsets), tuple(model.noise), getattr(c, "ensemble", None))


class Traced(Model):
    """A model whose two functions something else computes. It acts and does not learn.

    A running chunk is blended with the answer (`guidance.blended`), whatever the head of the original does with it: a function
    of fixed tensors cannot be guided.
    """

    alone = True

    def __init__(self, config: TracedConfig, interface: Interface, policy: Run, words: Run) -> None:
        super().__init__()
        self.config: TracedConfig = config
        self.interface, self.policy, self.words = interface, policy, words

    @property
    def noise(self) -> tuple[int, ...]:
        return self.config.noise

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        raise BadValue(f"'{self.config.preset}' is a policy for acting; it has no loss. Next: its checkpoint")

    def encode_language(self, inputs: Inputs) -> tuple[Tensor, ...]:
        tokens, mask = filled(inputs, self.config.max_tokens)
        out = self.words({"tokens": tokens, "mask": mask})
        return tuple(out[f"language.{i}"] for i in range(len(out)))

    def act(self, inputs: Inputs, prior: PriorChunk | None = None) -> Prediction:
        if not inputs.language:
            inputs = replace(inputs, language=self.encode_language(inputs))
        if self.noise and inputs.noise is None:
            inputs = replace(inputs, noise=torch.randn(1, *self.noise))
        said = prediction(self.policy(feeds(inputs)))
        return replace(said, actions=blended(said.actions, prior))


def by_name(function: Graph | Words, call: Callable[..., tuple[Tensor, ...]]) -> Run:
    """A `Run` of something that is called as `function` is."""

    def run(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return dict(zip(function.said, call(*(given[n] for n in function.names)), strict=True))

    return run
