"""From the options of a training to what `train` takes: data sets opened, preset, recipe, mixture and questions chosen.

    train(prepare(TrainSettings(preset="act-tiny", data=(Path("data/mine"),))), "runs/mine")

`palmar train` is these two calls; its options are the fields of `TrainSettings`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from palmar.choices import Scale
from palmar.errors import BadValue, UnknownName
from palmar.ranges import BATCH, COUNT, MINUTES, PATIENCE, RATE, TEMPERATURE, Range, Seed

if TYPE_CHECKING:
    from palmar.data.webdata import WebData
    from palmar.models.base import ModelConfig
    from palmar.pictures import ImageSize
    from palmar.train.recipe import Recipe
    from palmar.train.request import TrainRequest

Say = Callable[[str], None]
MINUTES_IF_UNSAID = 40.0


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """Train a policy on one or more data sets, from scratch or from a checkpoint, under a recipe."""

    preset: str | None = None
    """Which model; `palmar models` lists them. Not given: the model of --init, or palmar-tiny."""
    data: tuple[Path, ...]
    """Folders of LeRobot data sets, v2.0 to v3."""
    keys: tuple[str, ...] = ()
    """Which features are what in all of them, where that is not clear: state=FEATURE action=FEATURE images.CAMERA=FEATURE."""
    out: Path = Path("runs/palmar")
    """Folder of the checkpoint; metrics.jsonl lies beside it."""
    recipe: str = "one-stage"
    """one-stage, three-stage (align, co-fine-tune, specialise), unfreeze (head, top layers, all), head, lora, co-train or video."""
    minutes: Annotated[float | None, MINUTES] = None
    """Train this long (the learning rate follows the clock)."""
    steps: Annotated[int | None, COUNT] = None
    """Or this many steps (reproducible bit for bit)."""
    batch_size: Annotated[int, BATCH] = 128
    image_size: Annotated[tuple[int, ...], Range(16, 8192, unit="px")] = ()
    """Resize the pictures to HEIGHT WIDTH, or to one number for the short side. Not given: what suits the preset (96 for the
    tiny ones), never larger than recorded. The policy then acts on pictures of the recorded size."""
    horizon: Annotated[int | None, Range(1, 1024)] = None
    """Actions of a chunk. Not given: as many as last 1.6 s at the set's rate (16 at 10 Hz, 48 at 30 Hz), at most 64, or what the
    run to go on with, or --init, has."""
    validation: Annotated[float, Range(0, 1, below=True)] = 0.03
    """Share of the episodes that is held out, for validation and for `palmar eval --data`. Of a small set take more: 0.3."""
    lr: Annotated[float, RATE] = 1e-3
    """Highest learning rate, of stages that have none of their own."""
    temperature: Annotated[float | None, TEMPERATURE] = None
    """Sample tasks by size^(1/T): 1 every frame alike, inf every task alike. Not given: every frame once an epoch."""
    weights: Annotated[tuple[float, ...], Range(0, 10**6)] = ()
    """How much each data set counts, in the order of --data."""
    web: Path | None = None
    """Folder of questions about pictures (palmar questions), for models that answer."""
    others: tuple[str, ...] = ()
    """ROBOT=FOLDER: data of another robot that shares the model, by its name there, such as arm7-joints of bcz-tiny."""
    good_only: bool = False
    """Leave out the demonstrations that `palmar inspect --quality` would: too idle, jerky, long, short or stuck."""
    success_only: bool = False
    """Leave out the episodes that were marked as failures."""
    freeze: tuple[str, ...] = ()
    """Parts that no stage trains, by role or name: @vision, @language, fusion.blocks.0 (beside what the recipe freezes)."""
    frozen_features: bool = False
    """Of a preset whose vision tower is frozen (imagenet-tiny): look at every frame once and keep what the tower makes of it."""
    no_objects: bool = False
    """The preset without locating the objects that the instruction names, which the tiny sizes add to the published system."""
    free_words: bool = False
    """Beside the wordings of palmar's own tasks (reach, pick, place and push of the arm) sentences in free words: synonyms, other
    constructions, politeness, typing errors."""
    web_share: Annotated[float, Range(0, 1, below=True)] = 0.5
    """Share of a batch that is questions, with --web."""
    accumulate: Annotated[int, BATCH] = 1
    """Backward passes a step, each with a part of the batch: less memory."""
    patience: Annotated[int, PATIENCE] = 0
    """Stop a stage after that many validations without a better one, and keep the best; 0 for never."""
    device: str = "cpu"
    """cpu, cuda or cuda:N."""
    shard: bool = False
    """Cut the weights over the processes of torchrun, instead of keeping all of them in each: for models that do not fit."""
    init: str | None = None
    """Start from the weights of this checkpoint (a folder, or "shipped"); its normalisers are kept."""
    normalizer: Scale = "check"
    """With --init: check keeps the checkpoint's normalisers and refuses data of another scale; keep keeps them even so, such as for
    data that wander further; new fits them to the data, after which the weights have to learn what a number means."""
    pretrained: Path | None = None
    """Start from published weights of a vision-language model (a local folder of `transformers`, or of OpenVLA), or from
    what fits of a palmar checkpoint for another robot (a folder, or "shipped"); the rest begins anew."""
    correction: str | None = None
    """Train no policy but a small correction of this frozen one (a checkpoint folder, "shipped", or another system), which
    corrects each action of a running chunk from the newest observation. Of the other options it takes --data, --keys, --out,
    --steps (2000), --batch-size, --lr and --seed; --out is then a policy like any other, the corrected one."""
    resume: bool = False
    """Go on where a run in --out stopped."""
    seed: Seed = 0


def prepare(settings: TrainSettings, say: Say = lambda text: None) -> TrainRequest:
    """What `train` takes. say: told what a person should know, such as that pictures are resized.

    Raises `BadValue`, `BadFile` or `UnknownName` for the first thing that does not fit, before any training.
    """
    from palmar.sim.instructions import free_paraphrases, paraphrases
    from palmar.train.loop import TrainConfig, TrainRequest
    from palmar.types import STILL

    plan, init = checked(settings)
    model = model_of(settings, init)
    web = questions(settings, model, plan)
    size = image_size(settings, model, init)
    sets = [read(settings, settings.data[0], size, say)]
    size = getattr(sets[0], "image_sizes", size)
    sets += [read(settings, d, size, say) for d in settings.data[1:]]
    for text in dict.fromkeys(resized for data in sets for resized in _resizes(data)):
        say(text)
    if all(e.source == STILL for data in sets for e in data.episodes) and any(data.episodes for data in sets):
        raise BadValue(
            "--data holds only stills, in which nobody acts. Next: demonstrations beside them: --data DEMOS STILLS"
        )
    others = others_of(settings, model, size, say)
    minutes, steps = settings.minutes, settings.steps
    if minutes is None and steps is None:
        if plan.epochs:
            steps = max(1, round(plan.epochs * sum(len(s) for s in sets) / max(1, settings.batch_size)))
        else:
            minutes = MINUTES_IF_UNSAID
    length = horizon(settings, init, float(getattr(sets[0], "fps", 0.0) or 10.0))
    chosen: dict[str, Any] = {"steps": steps, "minutes": minutes, "horizon": length}
    same = [f.name for f in fields(TrainConfig) if f.name not in chosen and hasattr(settings, f.name)]
    config = TrainConfig(**chosen, **{name: getattr(settings, name) for name in same})
    if config.steps is not None:
        plan.lengths(config.steps)  # too few are told now, and not after the pictures are read
    request = TrainRequest(
        model, sets, config, plan, web, others, embodiment=sets[0].robot_type or "", init=init,
        paraphrases=free_paraphrases if settings.free_words else paraphrases, normalizer=settings.normalizer,
        pretrained=_pretrained(settings.pretrained),
    )  # fmt: skip
    if not settings.frozen_features:
        return request
    from palmar.train.features import with_features

    return with_features(request)


def _pretrained(given: Path | None) -> Path | None:
    from palmar.policy import shipped

    return shipped() if given is not None and str(given) == "shipped" else given


def checked(settings: TrainSettings) -> tuple[Recipe, Path | None]:
    """The recipe and the checkpoint to start from, when the options do not contradict each other. Raises `BadValue`."""
    from palmar.policy import shipped
    from palmar.train import recipe as recipes

    plan = recipes.recipe(settings.recipe, settings.web_share if settings.web else None)
    if settings.freeze:
        plan = replace(plan, stages=tuple(replace(s, freeze=(*s.freeze, *settings.freeze)) for s in plan.stages))
    if settings.temperature is not None:
        plan = recipes.with_data(plan, temperature=settings.temperature)
    if settings.weights:
        plan = recipes.with_data(plan, sources=settings.weights)
    init = None if settings.init is None else shipped() if settings.init == "shipped" else Path(settings.init)
    if settings.pretrained is not None and init is not None:
        raise BadValue("--init and --pretrained both say where to begin. Next: one of them")
    if settings.normalizer != "check" and init is None:
        raise BadValue(
            f"--normalizer {settings.normalizer} goes with --init: from scratch, normalisers are new. Next: leave it out"
        )
    check_data(settings)
    return plan, init


def check_data(settings: TrainSettings) -> None:
    """Raise `BadValue` when --data lacks a folder or took the preset for one, or has not as many as --weights."""
    from palmar.models.presets import PRESETS

    if not settings.data:
        raise BadValue("--data names no folder. Next: palmar train --data FOLDER, which palmar collect records")
    for taken in (d for d in settings.data if str(d) in PRESETS and not d.exists()):
        rest = " ".join(str(d) for d in settings.data if d != taken) or "FOLDER"
        raise BadValue(
            f"'{taken}' is a preset, and --data took it for a folder. Next: put the preset before --data: "
            f"palmar train {taken} --data {rest}"
        )
    if len(settings.weights) not in (0, len(settings.data)):
        raise BadValue(
            f"--weights has {len(settings.weights)} numbers for {len(settings.data)} data sets; expected one for each. "
            "Next: one number for each --data, or no --weights"
        )


def model_of(settings: TrainSettings, init: Path | None) -> ModelConfig:
    """What to train. Raises `BadValue` when the preset is not that of --init."""
    from palmar.models.checkpoint import read_config
    from palmar.models.presets import preset, without_objects

    if init is None:
        model = preset(settings.preset or "palmar-tiny")
        return without_objects(model) if settings.no_objects else model
    if settings.no_objects:
        raise BadValue(f"--no-objects with --init: '{init}' says what it locates. Next: leave one of the two out")
    theirs = read_config(init)[0]
    if settings.preset is None:
        return theirs
    if (ours := preset(settings.preset)).preset != theirs.preset:
        raise BadValue(
            f"--init '{init}' is a '{theirs.preset}', asked for '{ours.preset}'. Next: leave the preset out to train a "
            f"'{theirs.preset}', or leave --init out to begin a '{ours.preset}' anew"
        )
    return theirs


def questions(settings: TrainSettings, model: ModelConfig, plan: Recipe) -> WebData | None:
    """The questions of --web. Raises `BadValue` when the model cannot answer them, or the recipe lacks them."""
    from palmar.data.webdata import WebData
    from palmar.models.catalogue import speakers, speaks

    wants = next((s for s in plan.stages if s.data is not None and s.data.web > 0), None)
    if settings.web is None:
        if wants is None:
            return None
        raise BadValue(
            f"stage '{wants.name}' of recipe '{settings.recipe}' learns from questions, and none are given. "
            "Next: palmar questions --out FOLDER, then --web FOLDER"
        )
    if not speaks(model):
        raise BadValue(
            f"'{getattr(model, 'preset', model)}' cannot answer questions, so it cannot learn from --web '{settings.web}'. "
            f"Next: leave --web out, or a preset that can: {', '.join(speakers())}"
        )
    return WebData(settings.web)


def image_size(settings: TrainSettings, model: ModelConfig, init: Path | None) -> ImageSize:
    """As asked for; else that of the run to go on with, or of --init; else what suits the preset. Raises `BadValue`."""
    from palmar.models import checkpoint
    from palmar.models.presets import picture_side

    if len(settings.image_size) > 2:
        given = " ".join(map(str, settings.image_size))
        raise BadValue(
            f"--image-size is {given}; expected HEIGHT WIDTH, or one number for the short side. "
            "Next: --image-size 96 128, or --image-size 96"
        )
    if settings.image_size:
        return (
            settings.image_size[0]
            if len(settings.image_size) == 1
            else (settings.image_size[0], settings.image_size[1])
        )
    before = settings.out if settings.resume and (settings.out / checkpoint.CONFIG).exists() else init
    if before is not None:
        return checkpoint.read_config(before)[1].cameras
    return picture_side(getattr(model, "preset", ""))


def horizon(settings: TrainSettings, init: Path | None, fps: float) -> int:
    """As asked for; else that of the run to go on with, or of --init; else what lasts as long as the field's chunks."""
    from palmar.models import checkpoint
    from palmar.train.run import chunk_length

    if settings.horizon is not None:
        return settings.horizon
    before = settings.out if settings.resume and (settings.out / checkpoint.CONFIG).exists() else init
    return chunk_length(fps) if before is None else checkpoint.read_config(before)[1].horizon


def read(settings: TrainSettings, folder: Path, size: ImageSize, say: Say) -> Any:
    """A data set, without what a policy did before a person took over, and without bad demonstrations where these are not wanted.
    What does not fit within it is said; numbers that are not finite are refused, and so are frames at another rate than fps says:
    the policy would act at another speed."""
    from palmar.data.corrections import Corrections
    from palmar.data.findings import at_another_rate, frame_rate
    from palmar.data.inspect import warnings
    from palmar.data.quality import Kept, assess, check_numbers
    from palmar.data.reader import Dataset
    from palmar.data.roles import parse_keys

    data: Any = Dataset(folder, image_size=size, keys=parse_keys(settings.keys))
    if at_another_rate(data):
        raise BadValue(f"{folder}: {frame_rate(data)}. Next: palmar repair {folder}")
    if settings.good_only:
        quality = assess(data)
        say(f"{folder}: {quality}")
        data = Kept(data, quality.kept)
    driven = Corrections(data, own="all")
    check_numbers([driven])
    for text in warnings(driven):  # type: ignore[arg-type]
        say(f"warning: {folder}: {text}")
    if driven.episodes == tuple(data.episodes):
        return data
    left = sum(e.stop - e.start for e in data.episodes) - driven.frames
    frames = f"{left} frames of {left + driven.frames}"
    say(f"{folder}: people took over; what a policy did before they gave back is left out ({frames})")
    return driven


def correction_data(settings: TrainSettings, folder: Path, policy: Any, say: Say) -> Any:
    """A data set of --data for a correction of a policy, its pictures in the policy's sizes. Raises `BadValue` when the two do not
    mean the same by their numbers."""
    face = policy.interface
    data = read(settings, folder, face.cameras, say)
    for what in ("state_names", "action_names"):
        if tuple(getattr(data, what)) != tuple(getattr(face, what)):
            raise BadValue(
                f"'{folder}' has {what} {', '.join(getattr(data, what))}; the policy of --correction has "
                f"{', '.join(getattr(face, what))}. Next: the data that the policy was trained on"
            )
    return data


def others_of(settings: TrainSettings, model: ModelConfig, size: ImageSize, say: Say) -> dict[str, list[Any]]:
    """Data of --others, in joint space where the robot takes joint positions and the data hold something else."""
    from palmar.data.joints import JointTargets
    from palmar.robots.arm7 import arm7

    found: dict[str, list[Any]] = {}
    robots = {r.name: r for r in getattr(model, "robots", ())}
    for pair in settings.others:
        name, equals, folder = pair.partition("=")
        if not equals or not name or not folder:
            raise BadValue(
                f"--others is '{pair}'; expected ROBOT=FOLDER, such as arm7-joints=data/mine. "
                "Next: --others arm7-joints=data/mine"
            )
        if name not in robots:
            raise UnknownName("robot of this model", name, robots or ["none: take a model such as bcz-tiny"])
        data = read(settings, Path(folder), size, say)
        body = arm7("channels")
        turned = tuple(robots[name].action_names) == body.action_names != tuple(data.action_names)
        found.setdefault(name, []).append(JointTargets(data, body) if turned else data)
    return found


def _resizes(data: Any) -> list[str]:
    """What happens to the pictures of a data set, in words; nothing where they stay as recorded."""
    before, after = getattr(data, "recorded_sizes", {}), getattr(data, "image_sizes", {})
    return [
        f"camera {c}: pictures of {before[c][0]}×{before[c][1]} px are resized to {h}×{w} (--image-size), as when acting"
        for c, (h, w) in after.items()
        if before.get(c, (h, w)) != (h, w)
    ]
