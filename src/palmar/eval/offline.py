"""How far a policy's actions are from recorded ones, on episodes it was not trained on: open loop, without a robot.

Low errors do not prove success on a robot; errors no lower than holding still, or that stay the same without pictures,
prove that something is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from palmar.data.quality import Kept, finite_episodes
from palmar.data.split import Split, episode_digests, held_out
from palmar.errors import BadValue
from palmar.eval.bootstrap import Estimate, means
from palmar.eval.offline_results import (
    BASELINES,
    MOMENTS,
    POLICY,
    Ablation,
    ChannelErrors,
    EpisodeErrors,
    Execution,
    OfflineResults,
    Trace,
    judge,
)
from palmar.eval.open_loop import Fit, Scale, Seen, Work, overall
from palmar.types import STILL, Array, Policy

ABLATIONS = ("black pictures", "other pictures", "other words")


def evaluate(
    policy: Policy,
    dataset: Any,
    *,
    episodes: int | None = 20,
    frames: int = 24,
    execute: int = 4,
    every: bool = False,
    ablate: bool = True,
    seed: int = 0,
    progress: bool = False,
    name: str = "",
) -> OfflineResults:
    """Compare the chunks of `policy` with the recorded actions.

    dataset: `Dataset`, or what has its states, actions, names, episodes, fps and `batch`. episodes: most of the held-out ones to
    look at, drawn with `seed`; None for all. frames: most frames of each, evenly over it. execute: actions carried out of a chunk
    (for the seams). every: also the episodes it was trained on. ablate: also act with black pictures, with pictures of another
    episode and with another episode's words, which takes four times as long. name: of the policy, for the record.

    Episodes that hold a number that is not finite are left out, which the text of the split says. Raises `BadValue` when policy
    and set do not fit by name, number of channels or rate, or when no episode is held out.
    """
    for what, value in (("frames", frames), ("execute", execute), ("episodes", 1 if episodes is None else episodes)):
        if value < 1:
            raise BadValue(f"{what} is {value}; expected 1 or more. Next: leave it out for the default")
    fit = Fit.of(policy, dataset)
    split = held_out(dataset, _info(policy))
    if len(finite := finite_episodes(dataset)) < (count := len(dataset.episodes)):
        if not finite:
            raise BadValue("every episode holds NaN or infinity. Next: palmar inspect SET, which names the first")
        sound = set(finite)
        split = replace(
            split, held_out=tuple(i for i in split.held_out if i in sound),
            text=f"{split.text}; of the {count} episodes {count - len(finite)} hold NaN or infinity and are left out",
        )  # fmt: skip
    chosen = _chosen(dataset, split, finite if every else split.held_out, episodes, seed)
    dataset = Kept(dataset, finite)
    work = Work(policy, dataset, fit, Scale.of(dataset), frames, execute, seed)
    with Progress(
        TextColumn("evaluate"), BarColumn(), TextColumn("{task.completed} of {task.total} episodes"), TimeRemainingColumn(),
        disable=not progress, refresh_per_second=2,
    ) as bar:  # fmt: skip
        shown = bar.add_task("evaluate", total=len(chosen))
        seen = []
        for e in chosen:
            seen.append(work.episode(e, ablate))
            bar.advance(shown)
    typical = overall(np.stack([s.errors[POLICY]["chunk"] for s in seen]), work.scale)
    traced = chosen[int(np.argsort(typical)[(len(typical) - 1) // 2])]
    config = {
        "policy": name, "data": str(getattr(dataset, "root", "") or ""), "frames": frames, "execute": execute, "seed": seed,
        "every": every, "fps": fit.fps, "later_seconds": work.later / fit.fps, "act_ms_median": 1000 * float(np.median(work.took)),
        "frames_seen": sum(s.frames for s in seen),
    }  # fmt: skip
    return _results(work, seen, chosen, split, config, work.trace(traced))


def _info(policy: Any) -> Mapping[str, Any]:
    """What the policy, or the one it wraps, says of its training."""
    while not hasattr(policy, "info") and hasattr(policy, "inner"):
        policy = policy.inner
    info = getattr(policy, "info", None)
    return info if isinstance(info, Mapping) else {}


def _chosen(dataset: Any, split: Split, places: Sequence[int], most: int | None, seed: int) -> list[Any]:
    """Episodes to look at, of those at `places`, in the set's order. Raises `BadValue` when there are none."""
    found = [dataset.episodes[i] for i in places]
    found = [e for e in found if getattr(e, "source", "") != STILL and e.stop > e.start]
    if not found:
        raise BadValue(
            f"no episode to evaluate on: {split.text}. Next: record more, or --every to look at those it was trained on too"
        )
    if most is not None and len(found) > most:
        found = [found[i] for i in np.sort(np.random.default_rng(seed).permutation(len(found))[:most])]
    return found


# ------------------------------------------------------------------------------------------------ figures


def _results(
    work: Work, seen: list[Seen], chosen: list[Any], split: Split, config: dict[str, Any], trace: Trace
) -> OfflineResults:
    dataset, s = work.dataset, work.scale
    names = tuple(dataset.action_names)
    who_all = (POLICY, *BASELINES)
    stacked = {who: {m: np.stack([x.errors[who][m] for x in seen]) for m in MOMENTS} for who in who_all}
    by_channel = {who: {m: means(v) for m, v in by.items()} for who, by in stacked.items()}
    less_hold = means(stacked[POLICY]["later"] - stacked["hold still"]["later"])
    channels = tuple(
        ChannelErrors(
            n, float(s.sd[i]), bool(s.moving[i]), s.hold_name(i, dataset.state_names),
            {who: {m: by_channel[who][m][i] for m in MOMENTS} for who in who_all}, less_hold[i],
        )
        for i, n in enumerate(names)
    )  # fmt: skip
    totals = {who: {m: means(overall(v, s)[:, None])[0] for m, v in by.items()} for who, by in stacked.items()}
    versus = {}
    for who in BASELINES:
        both = {m: stacked[POLICY][m] - stacked[who][m] for m in MOMENTS}
        versus[who] = {m: means(overall(v, s)[:, None])[0] for m, v in both.items()}
    chunk = overall(stacked[POLICY]["chunk"], s)
    ablations = (
        tuple(_ablation(a, seen, chunk, work) for a in ABLATIONS) if any(x.ablated or x.words for x in seen) else ()
    )
    by_step = {w: tuple(means(np.stack([x.by_step[w] for x in seen]))) for w in who_all}
    curves = np.stack([x.by_step[POLICY] for x in seen])
    cumulated = np.nancumsum(curves, 1) / np.maximum(np.isfinite(curves).cumsum(1), 1)
    by_execute = tuple(means(cumulated))
    execution = Execution(
        work.execute, recommended([x.value for x in by_execute]), work.horizon, by_step, by_execute,
        means(np.array([[x.seam] for x in seen]))[0],
    )  # fmt: skip
    digests = dict(zip((id(e) for e in dataset.episodes), episode_digests(dataset), strict=True))
    rows = tuple(
        EpisodeErrors(
            x.index, digests[id(e)], x.frames,
            {m: tuple(float(v) if np.isfinite(v) else None for v in x.errors[POLICY][m]) for m in MOMENTS},
        )
        for x, e in zip(seen, chosen, strict=True)
    )  # fmt: skip
    about = {
        "text": split.text, "known": split.known, "held_out": len(split.held_out), "trained": split.trained,
        "evaluated": [x.index for x in seen],
    }  # fmt: skip
    found = OfflineResults(config, about, channels, totals, versus, ablations, execution, rows, trace)
    return replace(found, notes=tuple(notes(found)))


def _ablation(name: str, seen: list[Seen], chunk: Array, work: Work) -> Ablation:
    what = "cameras" if "pictures" in name else "words"
    rows = [x.ablated.get(name) for x in seen]
    if not any(r is not None for r in rows):
        why = {
            "cameras": "not tested: the set has no pictures, or no other episode",
            "words": "not tested: every episode has the same instruction",
        }[what]
        return Ablation(name, False, Estimate(None, None, None, 0), None, why)
    error = np.array([np.nan if r is None else r[0] for r in rows])
    change = means((error - chunk)[:, None], np.where(np.isfinite(error), chunk, 0.0))[0]
    moved = float(np.nanmean([np.nan if r is None else r[1] for r in rows]))
    answer = judge(change)
    verdict = {
        "yes": f"uses its {what}: the error rises",
        "no": f"does not need its {what}: the error does not rise",
        "cannot tell": f"cannot tell from {change.n} episode{'s' if change.n != 1 else ''}",
    }[answer]
    return Ablation(name, True, change, moved, verdict)


def recommended(by_execute: Sequence[float | None], allowed: float = 1.25) -> int:
    """How many actions of a chunk to carry out: the most whose mean error is at most a quarter above that of the first alone, and
    no more than half the chunk, so that a late answer finds actions left. by_execute: error when 1, 2, … are carried out."""
    first = by_execute[0] if by_execute else None
    if first is None:
        return 1
    fits = [k for k, x in enumerate(by_execute, start=1) if x is not None and x <= allowed * first + 1e-9]
    unbroken = next((k for k, n in enumerate(fits) if n != k + 1), len(fits))
    return max(1, min(unbroken, len(by_execute) // 2))


def notes(r: OfflineResults) -> Iterator[str]:
    """What a reader must know before the figures, in sentences."""
    n, later = len(r.episodes), r.config["later_seconds"]
    if not r.split["known"]:
        yield r.split["text"]
    if n < 5:
        yield f"only {n} episode{'s were' if n != 1 else ' was'} looked at: the intervals say little about others"
    if later < 0.99:
        yield f"a chunk is {r.execution.horizon} actions, so the error at 1 s is not known; the later moment is {later:.2g} s"
    if r.ignores_cameras:
        yield "THE POLICY IGNORES ITS CAMERAS: with pictures of another episode its error is the same"
    if r.ignores_words:
        yield "THE POLICY IGNORES ITS WORDS: with another instruction its error is the same"
    for baseline, moment in (("hold still", "later"), ("last action", "later"), ("mean action", "chunk")):
        gap = r.versus[baseline][moment]
        when = "over the chunk" if moment == "chunk" else f"at {later:.2g} s"
        if gap.value is not None and gap.value >= 0:
            yield f"it is no better than '{baseline}' ({when})"
        elif gap.high is not None and gap.high >= 0:
            yield f"its error is below that of '{baseline}' ({when}), but these {gap.n} episodes do not tell it apart"
    if r.execution.execute > r.execution.horizon:
        left = r.execution.execute - r.execution.horizon
        yield (
            f"a chunk has {r.execution.horizon} actions and execute is {r.execution.execute}: {left} of "
            f"{r.execution.execute} ticks have no action"
        )
