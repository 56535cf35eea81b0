"""Which parameters a stage trains, by name.

A pattern is one of
    a name or the beginning of one        "head", "fusion.blocks.1"
    a shell pattern over whole names      "*.bias"
    a role                                "@vision", "@language", "@head", "@lora", "@top2" (the last two layers of the
                                          last stack of numbered layers outside vision and language)
A model may say itself what a role is, in an attribute `roles: {role: patterns}`; otherwise the usual names decide.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from torch import nn

from palmar.errors import BadValue, UnknownName

USUAL = {
    "vision": r"trunks?|vision\w*|visual\w*|image_encoder\w*|pictures?|backbones?|cnn|vit|siglip|dino\w*|\w*resnet\w*|"
    r"\w*efficientnet\w*",
    "language": r"reader|language\w*|text\w*|sentences?|lm|llm|vlm",
    "head": r"heads?|action\w*|\w*_heads?|finished|expert\w*",
}
TOP = re.compile(r"top(\d+)")
LAYER = re.compile(r"(.+?)\.(\d+)(?=\.)")


def plain(name: str) -> str:
    """A parameter's name without what LoRA puts into it."""
    return name.replace(".base_layer.", ".")


def is_lora(name: str) -> bool:
    return ".lora_" in name


def groups(model: nn.Module) -> dict[str, int]:
    """{part of the model: how many numbers}, one level deep: what a recipe can name."""
    counts: dict[str, int] = {}
    for name, p in model.named_parameters():
        part = plain(name).split(".")[0]
        counts[part] = counts.get(part, 0) + p.numel()
    return counts


def select(model: nn.Module, patterns: Sequence[str], freeze: Sequence[str] = ()) -> set[str]:
    """Names of the parameters that match a pattern and none of `freeze`.

    Raises `UnknownName` for a pattern that matches nothing, `BadValue` when nothing is left to train.
    """
    names = [n for n, _ in model.named_parameters()]
    chosen = set().union(*(_matching(model, names, p) for p in patterns))
    left = chosen - set().union(*(_matching(model, names, p) for p in freeze))
    if not left:
        raise BadValue(
            f"train={list(patterns)} less freeze={list(freeze)} leaves nothing to train. "
            f"Parameter groups: {', '.join(groups(model))}. "
            "Next: a train= that names one of them"
        )
    return left


def _matching(model: nn.Module, names: list[str], pattern: str) -> set[str]:
    found = _role(model, names, pattern[1:]) if pattern.startswith("@") else _named(names, pattern)
    if not found:
        roles = [f"@{r}" for r in dict.fromkeys([*_roles(model), *USUAL]) if _role(model, names, r)]
        raise UnknownName("parameter group", pattern, [*groups(model), *roles])
    return found


def _named(names: Iterable[str], pattern: str) -> set[str]:
    def matches(name: str) -> bool:
        return name == pattern or name.startswith(pattern + ".") or fnmatchcase(name, pattern)

    return {n for n in names if matches(plain(n))}


def _roles(model: nn.Module) -> Mapping[str, Sequence[str]]:
    found = getattr(model, "roles", {})
    return found if isinstance(found, Mapping) else {}


def _role(model: nn.Module, names: list[str], role: str) -> set[str]:
    if role in _roles(model):
        return set().union(*(_named(names, p) for p in _roles(model)[role]))
    if role == "lora":
        return {n for n in names if is_lora(n)}
    if top := TOP.fullmatch(role):
        return _top(model, names, int(top[1]))
    if role not in USUAL:
        return set()
    found = {n for n in names if any(re.fullmatch(USUAL[role], part) for part in plain(n).split(".")[:-1])}
    # a vision tower may hold a "head" of its own, and a language model inside a "vlm" stands beside its vision
    return found if role == "vision" else found - _role(model, names, "vision")


def _top(model: nn.Module, names: list[str], count: int) -> set[str]:
    """Of the last stack of two or more numbered layers, in the order of the model: the last `count`."""
    outside = set(names) - _role(model, names, "vision") - _role(model, names, "head")
    body = outside - _role(model, names, "language")
    for allowed in (body, outside, set(names)):
        stacks: dict[str, dict[int, set[str]]] = {}
        for n in names:
            if n in allowed and (m := LAYER.match(plain(n))):
                stacks.setdefault(m[1], {}).setdefault(int(m[2]), set()).add(n)
        deep = [layers for layers in stacks.values() if len(layers) > 1]
        if deep:
            return set().union(*(deep[-1][i] for i in sorted(deep[-1])[-count:]))
    return set()
