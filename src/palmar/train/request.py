"""A training run as one value: what is trained, on what, and from where it begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from palmar.choices import Scale
from palmar.data.language import Paraphrases
from palmar.errors import BadValue, check_names
from palmar.models.base import ModelConfig
from palmar.train.feed import Source
from palmar.train.losses import Objective, own_loss
from palmar.train.recipe import Recipe
from palmar.train.run import TrainConfig

if TYPE_CHECKING:
    from palmar.data.webdata import WebData


@dataclass(frozen=True, eq=False)
class TrainRequest:
    """What `train` needs to know.

    data: one data set, or more of one robot; their cameras and channels may come in any order. recipe: the stages; one, of
    everything, when not given. web: questions about pictures, for stages whose mixture has some. others: data of other robots
    that share the model, by their names in it (`VLAConfig.robots`). objective: what to minimise (`train.distill`);
    one that has `bound` is given the action normaliser of the run. dt:
    seconds an action lasts; 1 / fps of the data when not given. embodiment: name of the robot. paraphrases: instruction →
    other wordings to train on. init: checkpoint to start from; its normalisers are kept as `normalizer` says.
    pretrained: folder of published weights for a model that stands on a vision-language model (`adapters.pretrained`), or of a
    palmar checkpoint for another robot, of which what fits is taken (`models.transplant`).

    Raises `BadValue` for a request that cannot be: no data, two places to begin from.
    """

    model: ModelConfig
    data: Source | Sequence[Source]
    config: TrainConfig
    recipe: Recipe = field(default_factory=Recipe)
    web: WebData | None = None
    others: Mapping[str, Sequence[Source]] = field(default_factory=dict)
    objective: Objective = own_loss
    dt: float | None = None
    embodiment: str = ""
    paraphrases: Paraphrases | None = None
    init: str | Path | None = None
    normalizer: Scale = "check"
    pretrained: str | Path | None = None

    def __post_init__(self) -> None:
        if not self.sets or any(not sets for sets in self.others.values()):
            raise BadValue(
                "a training run without data. Next: data=[Dataset(FOLDER)], and as many for each of `others`"
            )
        if self.pretrained is not None and self.init is not None:
            raise BadValue(
                f"init is '{self.init}' and pretrained '{self.pretrained}': both say where to begin. Next: --init or "
                "--pretrained"
            )
        check_names("normalizer", [self.normalizer], get_args(Scale))
        if self.normalizer != "check" and self.init is None:
            raise BadValue(
                f"normalizer is '{self.normalizer}' without init: a run from scratch fits its own. Next: leave it out"
            )
        if self.dt is not None and not self.dt > 0:
            raise BadValue(f"dt is {self.dt}; expected seconds > 0. Next: 1 / fps of the data")

    @property
    def sets(self) -> tuple[Source, ...]:
        """The data sets, one or more."""
        return tuple(self.data) if isinstance(self.data, Sequence) else (self.data,)
