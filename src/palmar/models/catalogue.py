"""What there is to build, counted: every system at its sizes beside what was published. Nothing is allocated for it."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, fields
from typing import Any, cast, get_type_hints

import torch

from palmar.mapping import Interface
from palmar.models.base import ModelConfig, parameters
from palmar.models.presets import PRESETS, PUBLISHED, preset

TABLE = Interface(  # what the tiny sizes are counted for: palmar's own arm
    {"front": (96, 96), "wrist": (96, 96)},
    tuple(f"s{i}.pos" for i in range(22)),
    ("dx", "dy", "dz", "drx", "dry", "drz", "gripper"),
)


@dataclass(frozen=True)
class Listed:
    """One system. tiny, paper: parameters of our presets, None when there is none of that size. published: parameters, None
    when not published. cameras: of the published system, such as "2 × 96×96 px"."""

    system: str
    tiny: int | None
    paper: int | None
    published: float | None
    cameras: str
    head: str
    recipe: str
    source: str


def listed() -> list[Listed]:
    """A row for every system, and one for every further published size of it."""
    rows = []
    for name, row in PUBLISHED.items():
        system, size = name.rsplit("-", 1)
        tiny = f"{system}-tiny" if size in ("paper", "tiny") else ""  # a further size has no tiny of its own
        rows.append(
            Listed(
                system if tiny else name,
                size_of(tiny) if tiny in PRESETS else None,
                size_of(name) if size != "tiny" else None,
                row.parameters,
                views(row.cameras),
                row.head,
                row.recipe,
                row.source,
            )
        )
    return rows


def size_of(name: str) -> int:
    """Trained parameters of a preset, for the robot it was published with, or for palmar's arm."""
    config = preset(name)
    interface = PUBLISHED[name].interface(config) if name in PUBLISHED else fitted(config)
    with torch.device("meta"):
        return parameters(config.build(interface))


@dataclass(frozen=True)
class Described:
    """One preset. about: in words, with what departs from the paper. parameters: trained. parts: {part: its configuration}."""

    preset: str
    about: str
    parameters: int
    published: float | None
    source: str
    parts: dict[str, str]


def described(name: str) -> Described:
    """Raises `UnknownName`."""
    config = preset(name)
    row = PUBLISHED.get(name)
    about = " ".join((inspect.getdoc(PRESETS[name]) or "").split())
    parts = {f.name: f"{getattr(config, f.name)}" for f in fields(cast(Any, config)) if f.name != "preset"}
    return Described(
        name, about, size_of(name), None if row is None else row.parameters, row.source if row else "", parts
    )


def speaks(config: ModelConfig) -> bool:
    """Whether what it builds answers questions about pictures (`language_loss`; see `train.web`)."""
    return hasattr(get_type_hints(type(config).build)["return"], "language_loss")


def speakers() -> list[str]:
    """The presets that do."""
    return [name for name in PRESETS if speaks(preset(name))]


def fitted(config: ModelConfig) -> Interface:
    return Interface(TABLE.cameras, TABLE.state_names, TABLE.action_names, offsets=config.offsets)


def views(cameras: tuple[tuple[int, int], ...]) -> str:
    """ "2 × 96×96 px"; different sizes one by one."""
    kinds = dict.fromkeys(cameras)
    return ", ".join(f"{cameras.count(k)} × {k[0]}×{k[1]}" for k in kinds) + " px"


def short(count: float | None) -> str:
    """ "1.2 M" or "7.5 B"; "–" for none."""
    if count is None:
        return "–"
    return f"{count / 1e9:.1f} B" if count >= 1e9 else f"{count / 1e6:.3g} M"
