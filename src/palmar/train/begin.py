"""From which weights a run begins, and the data in the order of what it begins from.

What must fit is compared by name: cameras and channels that come in another order are put into the order of the checkpoint,
what differs otherwise is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from palmar.data.mapped import MappedData, interface_of
from palmar.data.normalize import Normalizer
from palmar.errors import BadValue
from palmar.mapping import Interface
from palmar.models import checkpoint
from palmar.models.assets import without_names
from palmar.models.base import Model
from palmar.train.feed import Source


def in_order(sets: Sequence[Source], wanted: Interface | None = None) -> list[Source]:
    """The data sets with cameras, states and actions in the order of `wanted`, or of the first set when there is none, and in
    its units where both say them. A set with other names stays as it is: whoever compares names says what to do."""
    if not sets or not all(len(s) for s in sets):
        return list(sets)
    like, truth = interface_of(sets[0]) if wanted is None else wanted, sets[0].privileged_names
    return [_ordered(s, like, truth if set(truth) == set(s.privileged_names) else s.privileged_names) for s in sets]


def _ordered(source: Source, like: Interface, truth: Sequence[str]) -> Source:
    own = interface_of(source)
    if any(
        set(mine) != set(theirs)
        for mine, theirs in (
            (own.cameras, like.cameras), (own.state_names, like.state_names), (own.action_names, like.action_names),
        )
    ):  # fmt: skip
        return source

    def units(
        names: Sequence[str], theirs: Sequence[str], own_names: Sequence[str], mine: Sequence[str]
    ) -> tuple[str, ...]:
        """Theirs where they say one, else the set's own; none where nobody says any."""
        known = dict(zip(own_names, mine or [""] * len(own_names), strict=True))
        said = tuple(unit or known[name] for name, unit in zip(names, theirs or [""] * len(names), strict=True))
        return said if any(said) else ()

    goal = replace(
        own, cameras={c: own.cameras[c] for c in like.cameras}, state_names=like.state_names, action_names=like.action_names,
        state_units=units(like.state_names, like.state_units, own.state_names, own.state_units),
        action_units=units(like.action_names, like.action_units, own.action_names, own.action_units),
    )  # fmt: skip
    mapped = MappedData(source, like=goal, truth=truth)
    same = list(own.cameras) == list(goal.cameras) and list(source.privileged_names) == list(truth)
    return source if same and mapped.mapping.identity else mapped


def start_from(model: Model, init: str | Path, texts: Sequence[str] = ()) -> dict[str, Normalizer]:
    """Copy the weights of a checkpoint into `model`; its normalisers, by name. texts: the instructions to be trained on, for
    which the model may have a larger limit than the checkpoint. Raises `BadValue` when they differ."""
    policy = checkpoint.load(init)
    for what in ("state_names", "action_names", "horizon", "offsets"):
        theirs, ours = getattr(policy.interface, what), getattr(model.interface, what)
        if theirs != ours:
            raise BadValue(f"checkpoint '{init}' has {what} {theirs}, the data has {ours}. Next: train without --init")
    seen, given = [*policy.interface.cameras.items()], [*model.interface.cameras.items()]
    if seen != given:
        raise BadValue(f"checkpoint '{init}' has cameras {seen}, the data has {given}. Next: train without --init")
    before = policy.model.config.for_texts(texts)
    its, mine = (without_names(c) | {"weights": 0} for c in (before, model.config))  # losses may weigh anew
    if its != mine:
        theirs, ours = policy.model.config.preset, model.config.preset
        differs = "the same preset with other settings" if theirs == ours else f"a '{theirs}', asked for '{ours}'"
        raise BadValue(f"checkpoint '{init}' is {differs}. Next: palmar train {theirs} --init {init}")
    try:
        model.load_state_dict(policy.model.state_dict())
    except RuntimeError as e:
        raise BadValue(
            f"the weights of checkpoint '{init}' are of another size ({str(e).splitlines()[-1].strip()}). Next: instructions "
            "no longer than those it was trained on, or train without --init"
        ) from e
    return {k: Normalizer.from_dict(n) for k, n in checkpoint.read_config(init)[2].items()}
