"""The forms that a trained policy can be computed in: eager PyTorch, bf16, `torch.compile`, and what `export` writes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from palmar.errors import BadValue, UnknownName
from palmar.models import export, exported
from palmar.models.acting import NeuralPolicy
from palmar.models.form_names import BF16, EAGER, EXPORTS, FORMS
from palmar.models.graph import Graph, Run, Traced, TracedConfig, Words, by_name, traces
from palmar.models.parity import Bound
from palmar.types import Observation

ANY = Bound(1e6, 1e6)  # finite, for JSON


def in_form(
    policy: NeuralPolicy, form: str, observations: Sequence[Observation], folder: Path, made_of: str = ""
) -> NeuralPolicy:
    """The policy in another form; an exported one lies in `folder` afterwards, whatever its actions differ by. made_of: what
    tells the policy from others, such as its fingerprint.

    Raises `UnknownName`, `BadValue` where `folder` holds an export of another policy, and what `export.export` and
    `graph.check_traceable` do.
    """
    if form not in FORMS:
        raise UnknownName("form", form, FORMS)
    if form == EAGER:
        return policy
    if form in EXPORTS:
        if not exported.is_exported(folder):
            to, precision = EXPORTS[form]
            export.export(policy, folder, observations, to, precision, ANY, made_of)
        found = exported.load(folder)
        if (other := found.info.get("made_of", "")) != made_of:
            raise BadValue(
                f"'{folder}' was exported of another policy ({other or 'it does not say which'}) than this "
                f"({made_of or 'unnamed'}). Next: another --out, or remove that folder"
            )
        return found
    export.check_exportable(policy)
    policy.reset()
    with policy.drawing(observations[0]):
        both = traces(policy.model, policy.inputs(observations[0]))
    made = _bf16 if form == BF16 else _compiled
    model = Traced(TracedConfig.of(policy.model), policy.model.interface, made(both.policy), made(both.words))
    return NeuralPolicy(model, policy.normalizers["state"], policy.normalizers["action"], policy.info)


def _compiled(function: Graph | Words) -> Run:
    call = cast(Callable[..., tuple[Tensor, ...]], torch.compile(function, dynamic=False))

    def checked(*tensors: Tensor) -> tuple[Tensor, ...]:
        try:
            return call(*(t.contiguous() for t in tensors))
        except torch._dynamo.exc.TorchDynamoException as error:
            said = (str(error).splitlines() or [type(error).__name__])[0]
            raise BadValue(f"torch.compile cannot take this model: {said:.200}. Next: another form") from error

    return by_name(function, checked)


def _bf16(function: Graph | Words) -> Run:
    """Weights and activations in bfloat16, answers in float32."""
    low = copy.deepcopy(function).to(torch.bfloat16)

    def call(*tensors: Tensor) -> tuple[Tensor, ...]:
        given = (t.to(torch.bfloat16) if t.is_floating_point() else t for t in tensors)
        try:
            return tuple(x.float() if x.is_floating_point() else x for x in low(*given))
        except RuntimeError as error:
            raise BadValue(
                f"this model cannot act in bf16: {str(error).splitlines()[0]:.200}. Next: another form"
            ) from error

    return by_name(function, call)
