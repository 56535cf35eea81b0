"""What a run is refused for before its first step: a recipe that the model, the data or the processes cannot follow."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from palmar.errors import BadValue
from palmar.models.base import Model, ModelConfig
from palmar.train.recipe import Recipe
from palmar.train.web import speaker

if TYPE_CHECKING:
    from palmar.data.webdata import WebData

C = TypeVar("C")


def check_web(model: Model, recipe: Recipe, web: WebData | None) -> None:
    """Raises `BadValue` when a stage wants questions and there are none, or the model cannot answer them."""
    wants = next((s for s in recipe.stages if s.data is not None and s.data.web > 0), None)
    if wants is not None and wants.data is not None and web is None:
        raise BadValue(
            f"stage '{wants.name}' of recipe '{recipe.name}' takes {100 * wants.data.web:g} % of its batches from web data "
            "and none is given. Next: palmar questions --out FOLDER, then --web FOLDER"
        )
    if web is not None:
        speaker(model)


def check_shard(recipe: Recipe, own_loss: bool) -> None:
    """Raise `BadValue` for what would have the processes pass through the model unequally often, and wait for ever."""
    weighed = next((s.name for s in recipe.stages if s.data is not None and s.data.losses), None)
    if weighed is not None:
        raise BadValue(
            f"stage '{weighed}' weighs the losses of tasks, which sharded weights cannot do: each process would pass through "
            "the model as often as its rows have weights. Next: Mixture(tasks=...) to draw them more often, or without --shard"
        )
    if not own_loss:
        raise BadValue(
            "sharded weights learn from the model's own loss only, and another objective is given. Next: without --shard"
        )


def check_video(config: ModelConfig, recipe: Recipe) -> None:
    """Raises `BadValue` when a stage hides the actions from a model that has nothing else to learn from pictures."""
    hides = next((s for s in recipe.stages if not s.actions), None)
    if hides is not None and getattr(config, "video", None) is None:
        raise BadValue(
            f"stage '{hides.name}' of recipe '{recipe.name}' shows no actions, and '{getattr(config, 'preset', config)}' "
            "predicts no pictures to learn from. Next: gr2, or a VLAConfig with video="
        )


def smoothed(config: C, value: float) -> C:
    """The configuration with every field called label_smoothing at `value`. Raises `BadValue` when there is none."""

    def inside(part: Any) -> tuple[Any, int]:
        if not is_dataclass(part) or isinstance(part, type):
            return part, 0
        changed: dict[str, Any] = {}
        found = 0
        for f in fields(part):
            if f.name == "label_smoothing":
                changed[f.name], found = value, found + 1
            else:
                new, n = inside(getattr(part, f.name))
                if n:
                    changed[f.name], found = new, found + n
        return replace(part, **changed) if changed else part, found

    out, found = inside(config)
    if not found:
        raise BadValue(
            f"'{getattr(config, 'preset', config)}' has no head that classifies; smoothing has nothing to smooth. "
            "Next: leave --smoothing out"
        )
    return out
