"""The training loop: behaviour cloning with auxiliary grounding, on one machine.

feed (a thread ahead) → colours → loss → backward → clip → AdamW → EMA → log → checkpoint → validate
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from palmar.data.language import Paraphrases
from palmar.data.normalize import Normalizer
from palmar.errors import BadFile, BadValue
from palmar.models import checkpoint
from palmar.models.vla import VLA, Interface, VLAConfig
from palmar.train.feed import Augment, Feed, Source, ahead, rng_of
from palmar.train.speed import all_threads, bf16_is_fast, keep_memory
from palmar.types import Array

STATE = "train.safetensors"
METRICS = "metrics.jsonl"
HARMLESS = ("threads", "checkpoint_minutes", "validate", "log_every")  # may differ when a run is resumed
FAINT = 2e-3  # [m] or [rad] a step


@dataclass(frozen=True)
class TrainConfig:
    """How long, how fast, and what is kept.

    steps or minutes: exactly one; with minutes the learning rate follows the clock. ema: decay of the averaged weights,
    which are the ones that ship. validation: share of episodes held out. precision: auto, fp32 or bf16. threads: 0 for
    all cores. checkpoint_minutes: between saves. validate: how many times over the run.
    """

    steps: int | None = None
    minutes: float | None = None
    horizon: int = 16
    batch_size: int = 128
    lr: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.03
    clip: float = 1.0
    ema: float = 0.999
    seed: int = 0
    validation: float = 0.03
    validate: int = 12
    augment: Augment | None = field(default_factory=Augment)
    success_only: bool = False
    precision: str = "auto"
    threads: int = 0
    checkpoint_minutes: float = 5.0
    log_every: int = 20

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise BadValue(f"steps={self.steps}, minutes={self.minutes}; give exactly one of them")
        long = self.steps >= 1 if self.steps is not None else 0 < (self.minutes or 0) < math.inf
        if not long or self.batch_size < 1 or not self.lr > 0:
            raise BadValue(f"steps, minutes, batch_size and lr must be positive: {self}")
        if self.precision not in ("auto", "fp32", "bf16"):
            raise BadValue(f"precision is '{self.precision}'; expected auto, fp32 or bf16")


class Run:
    """What changes while training: weights, their average, the optimiser, the step and the time spent."""

    def __init__(self, model: VLA, config: TrainConfig) -> None:
        self.model, self.config = model, config
        self.names = [n for n, _ in model.named_parameters()]
        self.weights = [p for _, p in model.named_parameters()]
        self.average = [p.detach().clone() for p in self.weights]
        decayed = [p for p in self.weights if p.ndim > 1]
        plain = [p for p in self.weights if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.99), fused=True)
        self.step, self.elapsed = 0, 0.0

    @property
    def progress(self) -> float:
        if self.config.steps is not None:
            return self.step / self.config.steps
        assert self.config.minutes is not None
        return self.elapsed / (60 * self.config.minutes)

    def rate(self) -> float:
        """Linear warm-up, then a cosine to a hundredth."""
        p, warm = min(self.progress, 1.0), self.config.warmup
        if p < warm:
            return self.config.lr * max(p / warm, 0.01)
        return self.config.lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (p - warm) / max(1 - warm, 1e-9))))

    def update(self) -> float:
        """One optimiser step from the gradients at hand; the norm of the gradient before clipping."""
        norm = torch.nn.utils.clip_grad_norm_(self.weights, self.config.clip, foreach=True)
        if not torch.isfinite(norm):  # skip the step rather than poison every weight
            self.optimizer.zero_grad(set_to_none=True)
            return float("nan")
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, [p.detach() for p in self.weights], 1 - decay)
        return float(norm)

    def averaged(self) -> dict[str, Tensor]:
        return dict(zip(self.names, self.average, strict=True))

    def save(self, path: Path, about: Mapping[str, Any]) -> None:
        tensors: dict[str, Tensor] = {}
        for name, weight, mean in zip(self.names, self.weights, self.average, strict=True):
            tensors[f"weight/{name}"], tensors[f"average/{name}"] = weight, mean
            for key, value in self.optimizer.state.get(weight, {}).items():
                tensors[f"{key}/{name}"] = value
        meta = {"step": self.step, "elapsed": self.elapsed, "about": dict(about)}
        checkpoint.write_tensors(path, tensors, {"format": "palmar-train", "run": json.dumps(meta)})

    def load(self, path: Path, about: Mapping[str, Any]) -> None:
        tensors, meta = checkpoint.read_tensors(path)
        if meta.get("format") != "palmar-train":
            raise BadFile(f"'{path}' is not the state of a training run. Next: remove it or train into another folder")
        run = json.loads(meta["run"])
        if differ := differences(run["about"], about):
            shown = ", ".join(differ[:6]) + (f" and {len(differ) - 6} more" if len(differ) > 6 else "")
            raise BadFile(f"'{path}' was trained with another {shown}. Next: resume as it began, or use init=")
        with torch.no_grad():
            for name, weight, mean in zip(self.names, self.weights, self.average, strict=True):
                weight.copy_(tensors[f"weight/{name}"])
                mean.copy_(tensors[f"average/{name}"])
                if f"step/{name}" in tensors:
                    kept = {k: tensors[f"{k}/{name}"] for k in ("step", "exp_avg", "exp_avg_sq")}
                    for k in ("exp_avg", "exp_avg_sq"):  # in the memory layout of the weight
                        kept[k] = torch.empty_like(weight).copy_(kept[k])
                    self.optimizer.state[weight] = kept
        self.step, self.elapsed = run["step"], run["elapsed"]


def train(
    model: VLAConfig,
    data: Source | Sequence[Source],
    out: str | Path,
    config: TrainConfig,
    *,
    dt: float | None = None,
    embodiment: str = "",
    paraphrases: Paraphrases | None = None,
    init: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    watch: Callable[[dict[str, float]], None] | None = None,
) -> Path:
    """Train `model` on `data` and return the checkpoint folder `out` (averaged weights, config, metrics.jsonl).

    dt: seconds an action lasts; 1 / data.fps when not given. paraphrases: instruction → other wordings to train on.
    init: checkpoint to start from (fine-tuning; its normalisation is kept). resume: go on from `out` where it stopped;
    on a CPU with `steps` the result is the same bit for bit. watch: called with each logged row.
    Ctrl-C saves and raises KeyboardInterrupt. Raises `BadValue`; `BadFile` when `out` holds a checkpoint already (without
    resume), or one of other settings or data (with it).
    """
    folder = Path(out)
    refuse_occupied(folder, resume)
    folder.mkdir(parents=True, exist_ok=True)
    sets = list(data) if isinstance(data, Sequence) else [data]
    keep_memory()
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads or all_threads())
    try:
        with torch.random.fork_rng():
            return _train(model, sets, folder, config, dt, embodiment, paraphrases, init, resume, progress, watch)
    finally:
        torch.set_num_threads(before)


def _train(
    model_config: VLAConfig,
    sets: Sequence[Source],
    folder: Path,
    config: TrainConfig,
    dt: float | None,
    embodiment: str,
    paraphrases: Paraphrases | None,
    init: str | Path | None,
    resume: bool,
    progress: bool,
    watch: Callable[[dict[str, float]], None] | None,
) -> Path:
    feed = Feed(
        sets, config.horizon, seed=config.seed, validation=config.validation, paraphrases=paraphrases,
        max_tokens=model_config.language.max_tokens, augment=config.augment, success_only=config.success_only,
    )  # fmt: skip
    step_time = dt if dt is not None else 1.0 / float(getattr(sets[0], "fps", 10.0))
    interface = feed.interface(config.horizon, step_time)
    if embodiment:
        interface = Interface(**{**interface.__dict__, "embodiment": embodiment})
    state, action, importance = fit_normalizers(feed)
    torch.manual_seed(config.seed)
    model = VLA(model_config, interface)
    if init is not None:
        state, action = start_from(model, init)
    run = Run(model, config)
    normalizers = {"state": state, "action": action}
    about = {k: v for k, v in asdict(config).items() if k not in HARMLESS} | {
        "model": model_config.to_dict(),
        "interface": asdict(interface),
        "normalization (init=)": digest(json.dumps({k: n.to_dict() for k, n in normalizers.items()})),
        "wording": digest("\n".join(feed.wordings.texts)),
        "frames": len(feed.training),
        "data": {str(i): fingerprint(s) for i, s in enumerate(sets)},
    }
    about = json.loads(json.dumps(about))
    if resume and (folder / STATE).exists():
        run.load(folder / STATE, about)
    forget_after(folder / METRICS, run.step)
    bf16 = config.precision == "bf16" or (config.precision == "auto" and bf16_is_fast())

    def save() -> None:
        info = {
            "step": run.step,
            "minutes": round(run.elapsed / 60, 2),
            "train": asdict(config),
            "frames": len(feed.training),
        }
        run.save(folder / STATE, about)  # first: a checkpoint without it could not be gone on from
        checkpoint.save(folder, run.averaged(), model_config, interface, normalizers, info)

    def log(row: dict[str, float]) -> None:
        with (folder / METRICS).open("a") as f:
            f.write(json.dumps({k: (round(v, 6) if math.isfinite(v) else None) for k, v in row.items()}) + "\n")
        if watch is not None:
            watch(row)

    clock = time.perf_counter
    began, saved, waited, logged, sums = clock() - run.elapsed, clock(), 0.0, (clock(), run.step), dict[str, float]()
    validated = int(run.progress * config.validate)
    bar = Progress(
        TextColumn("train"), BarColumn(), TextColumn("{task.percentage:5.1f} %"), TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"), disable=not progress, refresh_per_second=2,
    )  # fmt: skip
    steps = ahead(lambda s: feed.step(s, config.batch_size), run.step, config.steps)
    with bar, closing(steps):
        shown = bar.add_task("train", total=1.0, note="")
        try:
            while run.progress < 1.0:
                asked = clock()
                raw = next(steps)
                waited += clock() - asked
                torch.manual_seed(int(rng_of(config.seed, run.step, 4).integers(2**62)))
                batch = feed.tensors(raw, state, action, importance, config.augment)
                model.train()
                with torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext():
                    loss, parts = model.loss(batch)
                loss.backward()
                norm = run.update()
                run.step += 1
                run.elapsed = clock() - began
                for name, value in (parts | {"gradient": torch.tensor(norm)}).items():
                    sums[name] = sums.get(name, 0.0) + float(value)
                bar.update(shown, completed=run.progress)
                ended = run.progress >= 1.0
                if run.step % config.log_every == 0 or ended:
                    took, count = clock() - logged[0], run.step - logged[1]
                    row = {"step": float(run.step), "minutes": run.elapsed / 60, "lr": run.rate()}
                    row |= {name: total / count for name, total in sums.items()}
                    row |= {"samples_per_s": count * config.batch_size / took, "loader_share": waited / took}
                    note = f"loss {row['loss']:.3f} · action {row['action']:.3f} · pixel {row['pixel']:.1f}"
                    bar.update(shown, note=f"{note} · {row['samples_per_s']:.0f} samples/s")
                    waited, logged, sums = 0.0, (clock(), run.step), {}
                    log(row)
                if int(run.progress * config.validate) > validated or ended:
                    validated = int(run.progress * config.validate)
                    if len(feed.validation):
                        log(
                            {"step": float(run.step), "minutes": run.elapsed / 60}
                            | validate(run, feed, state, action, importance)
                        )
                    logged = (clock(), run.step) if not sums else logged
                if clock() - saved > 60 * config.checkpoint_minutes or ended:
                    save()
                    saved = clock()
        except KeyboardInterrupt:
            save()
            raise
    return folder


def refuse_occupied(folder: Path, resume: bool) -> None:
    """Raises `BadFile` where training into `folder` would overwrite somebody's weights."""
    if resume and (folder / STATE).exists():
        return
    if any((folder / name).exists() for name in (checkpoint.WEIGHTS, checkpoint.CONFIG, STATE)):
        way = f"it has no {STATE} to resume from: " if resume else "--resume to go on, "
        raise BadFile(f"'{folder}' holds a checkpoint. Next: {way}another --out, or remove it")


def forget_after(path: Path, step: int) -> None:
    """Drop the rows of metrics.jsonl after `step`, which a killed run logged but did not save (and half a last line)."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text("utf-8", errors="replace").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue
    checkpoint.replace_file(path, lambda p: p.write_text("".join(kept), "utf-8"))


def fingerprint(data: Source) -> dict[str, Any]:
    """What a data set was when training began: other frames under the same path are another data set."""
    table = [
        (int(e.start), int(e.stop), None if e.success is None else bool(e.success), getattr(e, "source", ""))
        for e in data.episodes
    ]
    return {
        "frames": len(data),
        "episodes": len(table),
        "episode table": digest(json.dumps(table)),
        "states": digest(np.ascontiguousarray(data.states).tobytes()),
        "actions": digest(np.ascontiguousarray(data.actions).tobytes()),
        "tasks": digest("\n".join(data.tasks)),
    }


def digest(content: str | bytes) -> str:
    return "#" + hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()[:12]


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """'lr (0.001, now 0.002)' for every leaf that differs. What `before` does not know (an older palmar) is not compared."""

    def leaves(value: Any, path: str) -> dict[str, Any]:
        if not isinstance(value, Mapping) or not value:
            return {path: value}
        return {k: v for name, part in value.items() for k, v in leaves(part, f"{path}.{name}").items()}

    out = []
    for name in sorted(set(before) & set(now)):
        old, new = leaves(before[name], name), leaves(now[name], name)
        for k in dict.fromkeys([*old, *new]):
            was, is_now = old.get(k, "none"), new.get(k, "none")
            if was != is_now:
                digests = any(str(v).startswith("#") for v in (was, is_now))  # say nothing to a reader
                out.append(k if digests else f"{k} ({was}, now {is_now})")
    return out


def fit_normalizers(feed: Feed) -> tuple[Normalizer, Normalizer, Array]:
    """State and action normalisers from the training frames, and float32[A], how much each action dimension counts.

    A dimension that never moves counts nothing. One that hardly does (std below FAINT: the expert's tiny corrections of
    a rotation that is otherwise constant) counts a tenth: at unit scale its noise would weigh as much as the way to go.
    """
    states, actions = (
        np.concatenate([getattr(s, what) for s in feed.sets])[frames]
        for what, frames in (("states", feed.training), ("actions", feed.moving))
    )
    state = Normalizer.fit(states, names=feed.sets[0].state_names)
    action = Normalizer.fit(actions, names=feed.sets[0].action_names)
    importance = np.where(actions.std(0) < FAINT, 0.1, 1.0).astype(np.float32)
    importance[action.constant] = 0.0
    return state, action, importance if importance.any() else np.ones_like(importance)


def start_from(model: VLA, init: str | Path) -> tuple[Normalizer, Normalizer]:
    """Copy the weights of a checkpoint into `model`; returns its normalisers. Raises `BadValue` when they differ."""
    policy = checkpoint.load(init)
    for what in ("cameras", "state_names", "action_names", "horizon"):
        theirs, ours = getattr(policy.interface, what), getattr(model.interface, what)
        if theirs != ours:
            raise BadValue(f"checkpoint '{init}' has {what} {theirs}, the data has {ours}")
    if replace(policy.model.config, weights=model.config.weights) != model.config:  # losses may be weighed anew
        raise BadValue(f"checkpoint '{init}' is a '{policy.model.config.preset}', asked for '{model.config.preset}'")
    model.load_state_dict(policy.model.state_dict())
    return policy.normalizers["state"], policy.normalizers["action"]


@torch.no_grad()
def validate(
    run: Run, feed: Feed, state: Normalizer, action: Normalizer, importance: Array, frames: int = 512
) -> dict[str, float]:
    """Averaged weights on held-out episodes: val_action [normalised], val_pixel [px], val_done (balanced accuracy)."""
    model, live = run.model, [p.detach().clone() for p in run.weights]
    picked = feed.validation[np.linspace(0, len(feed.validation) - 1, min(frames, len(feed.validation))).astype(int)]
    try:
        for weight, mean in zip(run.weights, run.average, strict=True):
            weight.copy_(mean)
        model.eval()
        sums: dict[str, float] = {}
        logits, truth = [], []
        for start in range(0, len(picked), 128):
            batch = feed.tensors(feed.plain(picked[start : start + 128]), state, action, importance)
            out, parts = model.evaluate(batch)
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + float(value) * len(batch.state)
            logits.append(out.done)
            truth.append(batch.done)
    finally:
        for weight, mine in zip(run.weights, live, strict=True):
            weight.copy_(mine)
    said, was = torch.cat(logits) > 0, torch.cat(truth)
    hits = [float((said[was == v] == v).float().mean()) for v in (True, False) if (was == v).any()]
    return {f"val_{k}": v / len(picked) for k, v in sums.items() if k != "done"} | {"val_done": sum(hits) / len(hits)}
