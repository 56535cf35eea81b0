"""Pictures with questions and answers, made offline from the simulator (`data/webdata.py` says how they lie on disk).

kinds: caption (what is there, from left to right), count, colour, shape, position (left or right of, in the picture). Held-out
tables come from test seeds, so no question of theirs is about a table that was trained on.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from palmar.data.webdata import PICTURES, TABLE, WebData
from palmar.errors import BadFile, BadValue
from palmar.lab.worlds import Loaded
from palmar.ranges import COLLECTED, Processes
from palmar.runtime.pool import spread
from palmar.sim import tasks
from palmar.sim.params import Randomization
from palmar.sim.scenario import check_seed
from palmar.sim.things import COLOURS, DESTINATIONS, SHAPES
from palmar.types import Array

NUMBERS = ("no", "one", "two", "three", "four", "five", "six")
KINDS = ("caption", "count", "colour", "shape", "position")


@dataclass(frozen=True)
class WebConfig:
    """tables: how many pictures. held_out: share of them kept for asking only. seed: of the first table."""

    tables: int = 500
    held_out: float = 0.1
    seed: int = 600_000
    strength: float = COLLECTED
    camera: str = "front"

    def __post_init__(self) -> None:
        if self.tables < 2 or not 0 < self.held_out < 1:
            raise BadValue(
                f"{self.tables} tables, {self.held_out} held out; expected at least 2 and a share between 0 and 1. "
                "Next: --tables 500 --held-out 0.1"
            )
        check_seed(self.seed, self.tables)


@dataclass(frozen=True)
class Question:
    """choices: candidate answers, `answer` among them."""

    kind: str
    prompt: str
    answer: str
    choices: tuple[str, ...]


@dataclass(frozen=True)
class Thing:
    """Something seen: u is its place in the picture, 0 left … 1 right."""

    colour: str
    shape: str
    u: float

    @property
    def name(self) -> str:
        return f"{self.colour} {self.shape}"


def make(
    out: str | Path, config: WebConfig | None = None, processes: Processes = None, progress: bool = False
) -> WebData:
    """Write a folder of questions. Raises `BadFile` when `out` is there already; a run cut short leaves nothing."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image
    from rich.progress import track

    config, root = config or WebConfig(), Path(out)
    if root.exists() and any(root.iterdir()):
        raise BadFile(f"'{root}' is not empty. Next: another folder, or remove it")
    aside = root.with_name(f".{root.name}.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    (aside / PICTURES).mkdir(parents=True)
    held = max(1, round(config.held_out * config.tables))
    rows: list[dict[str, object]] = []
    jobs = ((config, i, i >= config.tables - held) for i in range(config.tables))
    for i, (picture, questions) in enumerate(
        track(spread(look, Loaded, jobs, processes), "questions", total=config.tables, disable=not progress)
    ):
        Image.fromarray(picture).save(aside / PICTURES / f"{i:06d}.png")
        split = "held-out" if i >= config.tables - held else "train"
        for q in questions:
            rows.append(
                {"picture": i, "kind": q.kind, "prompt": q.prompt, "answer": q.answer, "choices": list(q.choices),
                 "split": split}
            )  # fmt: skip
    kinds = {"picture": pa.int64(), "choices": pa.list_(pa.string())}
    schema = pa.schema([(n, kinds.get(n, pa.string())) for n in rows[0]])
    pq.write_table(pa.Table.from_pylist(rows, schema), aside / TABLE)
    if root.exists():
        root.rmdir()
    aside.rename(root)
    return WebData(root)


def look(loaded: Loaded, job: tuple[WebConfig, int, bool]) -> tuple[Array, list[Question]]:
    """One table's picture and all questions about it, from its number alone."""
    config, number, held_out = job
    rng = np.random.default_rng([43, config.seed, number])
    names = tasks.usual("arm7")
    task = names[number % len(names)]
    scenario = tasks.sample(task, "layout" if held_out else "seen", config.seed + number, distractors=3)
    world = loaded.world()
    obs = world.load(scenario, Randomization(config.strength).sample(rng), config.seed + number)
    u, visible = (world.truth_names.index(f"{config.camera}.target.{x}") for x in ("u", "visible"))
    things = []
    for i, item in enumerate(scenario.items):
        world.scenario = scenario.ask_for(i, scenario.instruction)
        truth = world.privileged()
        if truth[visible] > 0.5:
            things.append(Thing(item.colour, item.shape, float(truth[u])))
    return obs.images[config.camera], list(about(sorted(things, key=lambda t: t.u), rng))


def about(things: Sequence[Thing], rng: np.random.Generator) -> Iterator[Question]:
    """Every question that what is seen allows; things come from left to right."""
    yield Question("count", "how many things are on the table?", NUMBERS[len(things)], NUMBERS)
    if not things:
        return
    true = caption(things)
    wrong = {caption(changed(things, rng)) for _ in range(8)} - {true}
    yield Question("caption", "what is on the table?", true, (true, *sorted(wrong)[:3]))
    colours = [t.colour for t in things]
    asked = str(rng.choice(list(COLOURS)))
    yield Question("count", f"how many {asked} things are on the table?", NUMBERS[colours.count(asked)], NUMBERS)
    shapes = [t.shape for t in things]
    for t in things:
        if shapes.count(t.shape) == 1:
            yield Question("colour", f"what colour is the {t.shape}?", t.colour, tuple(COLOURS))
        if colours.count(t.colour) == 1:
            yield Question("shape", f"what is the {t.colour} thing?", t.shape, (*SHAPES, *DESTINATIONS))
    names = [t.name for t in things]
    for a, b in pairwise(things):
        if abs(a.u - b.u) > 0.05 and names.count(a.name) == names.count(b.name) == 1:
            first, second = (a, b) if rng.uniform() < 0.5 else (b, a)
            answer = "left" if first.u < second.u else "right"
            prompt = f"is the {first.name} left or right of the {second.name} in the picture?"
            yield Question("position", prompt, answer, ("left", "right"))


def caption(things: Sequence[Thing]) -> str:
    """ "a red cube, a blue ball and a green plate": what is seen from left to right."""
    names = [f"a {t.name}" for t in things]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def changed(things: Sequence[Thing], rng: np.random.Generator) -> list[Thing]:
    """The same things but for one colour or one shape."""
    out = list(things)
    i = int(rng.integers(len(out)))
    if rng.uniform() < 0.5:
        others = [c for c in COLOURS if c != out[i].colour]
        out[i] = Thing(others[rng.integers(len(others))], out[i].shape, out[i].u)
    else:
        shapes = [s for s in (*SHAPES, *DESTINATIONS) if s != out[i].shape]
        out[i] = Thing(out[i].colour, shapes[rng.integers(len(shapes))], out[i].u)
    return out
