"""Stages as values: what is trained, from where, how fast, and that a cut run ends the same to the last bit."""

import dataclasses
import json
import math

import pytest
import torch
from squares import Squares
from torch import nn
from training import train

from palmar.data.mixture import Mixture
from palmar.errors import BadValue, UnknownName
from palmar.mapping import Interface
from palmar.models import checkpoint
from palmar.models.presets import palmar_nano
from palmar.models.tensors import read_tensors
from palmar.train import groups, lora, recipe
from palmar.train.feed import Augment
from palmar.train.loop import TrainConfig
from palmar.train.recipe import Recipe, Stage
from palmar.train.run import Run
from palmar.train.schedule import Schedule

SMALL = TrainConfig(steps=6, horizon=4, batch_size=16, threads=1, log_every=1, augment=Augment(shift=1), validate=3)
FACE = Interface({"front": (48, 48)}, ("tcp.x", "tcp.y", "tcp.z"), ("dx", "dy", "still"), 4)


def nano():
    torch.manual_seed(0)
    return palmar_nano().build(FACE)


def weights(folder):
    return read_tensors(folder / "model.safetensors")[0]


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def timeless(folder):
    timing = ("minutes", "samples_per_s", "loader_share", "validation_share")
    return [{k: v for k, v in row.items() if k not in timing} for row in rows(folder)]


def changed(before, after):
    return {n.split(".")[0] for n in before if not torch.equal(before[n], after[n])}


@pytest.mark.parametrize("kind", ["cosine", "restarts", "constant"])
def test_schedules_begin_small_and_end_as_they_say(kind):
    s = Schedule(kind, warmup=0.1, floor=0.01, cycles=3)
    assert s.factor(0.0) == 0.01 and s.factor(0.1) == 1.0
    assert s.factor(1.0) == pytest.approx(1.0 if kind == "constant" else 0.01)
    again = [s.factor(0.1 + 0.9 * c / 3) for c in (1, 2)]
    assert (min(again) > 0.99) == (kind != "cosine")
    with pytest.raises(UnknownName, match="Known: cosine, restarts, constant"):
        Schedule("step")


def test_groups_have_the_names_people_use():
    model = nano()
    names = {n for n, _ in model.named_parameters()}
    assert {n.split(".")[0] for n in groups.select(model, ["@head"])} == {"head", "finished"}
    assert {n.split(".")[0] for n in groups.select(model, ["@vision"])} == {"trunks"}
    assert groups.select(model, ["*"], ["@vision"]) == names - groups.select(model, ["trunks"])
    assert groups.select(model, ["fusion.enter"]) == {"fusion.enter.weight", "fusion.enter.bias"}
    with pytest.raises(
        UnknownName, match=r"unknown parameter group 'heads'. Did you mean 'head'\? Known: reader, trunks"
    ):
        groups.select(model, ["heads"])
    with pytest.raises(BadValue, match="leaves nothing to train"):
        groups.select(model, ["head"], ["@head"])


def test_the_top_layers_are_the_last_of_the_last_stack():
    layer = {f"layers_{i}": nn.Linear(2, 2) for i in range(2)}
    model = nn.ModuleDict(
        {"vision": nn.ModuleDict({"blocks": nn.ModuleList([nn.Linear(2, 2)] * 1)}), "body": nn.ModuleDict(layer)}
    )
    model["body"]["layers"] = nn.ModuleList(nn.Linear(2, 2) for _ in range(4))
    model["head"] = nn.Linear(2, 2)
    assert groups.select(model, ["@top2"]) == {f"body.layers.{i}.{p}" for i in (2, 3) for p in ("weight", "bias")}


def test_a_model_may_say_itself_what_its_head_is():
    model = nano()
    model.roles = {"head": ("place",)}
    assert {n.split(".")[0] for n in groups.select(model, ["@head"])} == {"place"}


def test_only_what_a_stage_names_is_trained(tmp_path):
    data = Squares(200)
    fixed = dataclasses.replace(SMALL, steps=1, lr=1e-12, ema=0.0, weight_decay=0.0)
    start = train(palmar_nano(), data, tmp_path / "start", fixed, progress=False)
    out = train(palmar_nano(), data, tmp_path / "head", SMALL, recipe=recipe.head_only(), init=start, progress=False)
    assert changed(weights(start), weights(out)) == {"head", "finished"}


def test_a_later_stage_begins_where_the_one_before_would_have_shipped(tmp_path):
    data = Squares(200)
    two = Recipe("two", (Stage("head", 1, 1e-3, ("@head",)), Stage("all", 1, 1e-4, ("*",))))
    both = train(palmar_nano(), data, tmp_path / "both", SMALL, recipe=two, progress=False)
    half = dataclasses.replace(SMALL, steps=3)
    only = Recipe("one", two.stages[:1])
    first = train(palmar_nano(), data, tmp_path / "first", half, recipe=only, progress=False)
    log = [r for r in rows(both) if "loss" in r]
    assert [r["stage"] for r in log] == [0, 0, 0, 1, 1, 1] and log[3]["lr"] <= 1e-4 < log[0]["lr"] <= 1e-3
    assert changed(weights(first), weights(both)) > {"trunks", "reader", "head"}
    frozen = nano()  # the same seed: what the first stage did not train is as it was built
    torch.testing.assert_close(weights(first)["words.weight"], dict(frozen.named_parameters())["words.weight"].data)


def test_a_run_of_many_stages_resumes_bit_for_bit(tmp_path):
    data = Squares(200)
    for i, e in enumerate(data.episodes):
        e.task = ("near", "far", "far")[i % 3]
    many = Recipe(
        "many",
        (
            Stage("align", 1, 1e-3, ("*",), freeze=("@vision", "@language"), data=Mixture(temperature=2.0)),
            Stage("adapters", 1, 1e-3, lora=lora.Lora(rank=2, alpha=2.0, dropout=0.1)),
            Stage("all", 1, 1e-4, data=Mixture(losses=(("far", 3.0),)), losses=(("heat", 0.1),)),
        ),
    )
    config = dataclasses.replace(SMALL, patience=9, augment=Augment(shift=1, mixup=0.2, action_noise=0.01, holes=2))
    whole = train(palmar_nano(), data, tmp_path / "whole", config, recipe=many, progress=False)
    for stop in (2, 3, 5):  # at the end of a stage, among adapters, after them
        out = tmp_path / f"cut{stop}"

        def cut(row, stop=stop):
            if row["step"] == stop and "loss" in row:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(palmar_nano(), data, out, config, recipe=many, progress=False, watch=cut)
        assert checkpoint.load(out).info["step"] == stop
        train(palmar_nano(), data, out, config, recipe=many, progress=False, resume=True)
        a, b = weights(whole), weights(out)
        assert all(torch.equal(a[k], b[k]) for k in a)
        assert timeless(whole) == timeless(out)


def test_adapters_change_nothing_until_trained_and_merge_into_plain_layers(tmp_path):
    model = nano()
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    chosen = lora.inject(model, lora.Lora(rank=2, alpha=4.0, targets=("fusion", "head")))
    assert set(chosen) == {n for n in chosen if n.startswith(("fusion", "head"))} and "head.out" in chosen
    x = [torch.randn(3, model.fusion.enter.in_features)]
    there = nano().fusion(x)
    torch.testing.assert_close(model.fusion(x), there)
    with torch.no_grad():
        for n, p in model.named_parameters():
            if ".lora_B." in n:
                p.normal_()
    adapted = model.fusion(x)
    assert not torch.allclose(adapted, there)
    told = lora.merged(dict(model.named_parameters()), model)
    live = {n: p.detach().clone() for n, p in model.named_parameters()}
    with lora.Folded(model):
        torch.testing.assert_close(model.fusion(x), adapted)
    assert all(torch.equal(p, live[n]) for n, p in model.named_parameters())
    lora.merge(model)
    torch.testing.assert_close(model.fusion(x), adapted)
    after = dict(model.named_parameters())
    assert set(after) == set(before) == set(told)
    for n in after:
        torch.testing.assert_close(after[n], told[n])
    assert {n.split(".")[0] for n in after if not torch.equal(after[n], before[n])} == {"fusion", "head"}
    with pytest.raises(UnknownName, match=r"linear layer 'attention'. .*Known: .*fusion"):
        lora.inject(nano(), lora.Lora(targets=("attention",)))


def test_a_checkpoint_trained_with_adapters_is_a_plain_one(tmp_path):
    data = Squares(200)
    fixed = dataclasses.replace(SMALL, steps=1, lr=1e-12, ema=0.0, weight_decay=0.0)
    start = train(palmar_nano(), data, tmp_path / "start", fixed, progress=False)
    plan = Recipe("lora", (Stage("lora", lr=1e-2, lora=lora.Lora(rank=2, alpha=2.0)),))
    out = train(palmar_nano(), data, tmp_path / "lora", SMALL, recipe=plan, init=start, progress=False)
    before, after = weights(start), weights(out)
    assert before.keys() == after.keys()
    moved = [n for n in before if not torch.allclose(before[n], after[n], atol=1e-9)]
    assert moved and all(n.endswith("weight") and before[n].ndim == 2 for n in moved)
    rank = torch.linalg.matrix_rank((after["fusion.enter.weight"] - before["fusion.enter.weight"]).double(), rtol=1e-4)
    assert rank <= 2
    assert checkpoint.load(out).info["recipe"] == "lora"


def test_misspelt_stages_are_told_before_the_first_step(tmp_path):
    data = Squares(100)

    def refused(match, *stages, kind=UnknownName, sets=data):
        with pytest.raises(kind, match=match):
            train(palmar_nano(), sets, tmp_path / "x", SMALL, recipe=Recipe("r", stages), progress=False)

    refused(r"parameter group 'haed'.*'head'.*Known: reader, trunks.*@vision", Stage(), Stage(train=("haed",)))
    refused("loss weight of stage 'all' 'heet'.*'heat'", Stage(losses=(("heet", 1.0),)))
    refused("the mixture weighs 1 sources", Stage(data=Mixture(sources=(1.0,))), kind=BadValue, sets=[data, data])
    refused("gets none of 6 steps. Next: --steps 501 or more", Stage(share=1e-3), Stage(), kind=BadValue)
    with pytest.raises(UnknownName, match="Known: one-stage, three-stage, unfreeze, head, lora, co-train"):
        recipe.recipe("two-stage")


def test_named_recipes_are_what_the_field_uses():
    three = recipe.three_stage(web=0.5, target=(0.0, 1.0))
    assert [s.lr for s in three.stages] == [1e-3, 2e-5, 1e-5] and three.shares == pytest.approx((0.05, 0.80, 0.15))
    assert three.stages[1].data.web == 0.5 and three.stages[2].data.sources == (0.0, 1.0)
    assert recipe.three_stage(robots=("gantry",)).stages[2].data.robots == ("gantry",)
    assert three.lengths(100) == (5, 80, 15) and three.lengths(11) == (1, 8, 2)
    steps = recipe.unfreeze()
    assert (
        steps.lengths(35) == (5, 10, 20) and steps.epochs == 35 and [s.lr for s in steps.stages] == [1e-3, 1e-4, 1e-5]
    )
    for name in recipe.RECIPES:
        Run(nano(), dataclasses.replace(SMALL, steps=100), recipe.recipe(name))
    assert recipe.recipe("three-stage", 0.3).stages[1].data.web == 0.3


def test_a_stage_ends_early_and_its_best_weights_ship():
    class Config:
        weights = None

    model = nn.Linear(1, 1)
    model.config = Config()
    two = Recipe("two", (Stage("a", 1), Stage("b", 1)))
    run = Run(model, TrainConfig(steps=100, patience=3), two)
    for run.step, score in enumerate([3.0, 1.0, 2.0, 2.0], 1):
        run.average = [torch.full_like(a, run.step) for a in run.average]
        run.judge(score)
        assert run.stage_progress < 1
    run.step = 5
    run.judge(1.5)
    assert run.stage_progress == 1.0 and not run.finished
    run.advance()
    assert (run.stage, run.began[0], run.stage_progress) == (1, 5, 0.0) and not run.best
    assert all((p == 2).all() for p in model.parameters())
    run.step = 55
    assert run.finished and run.progress == 1.0


def test_patience_ends_a_run_that_does_not_get_better(tmp_path):
    still = dataclasses.replace(
        SMALL, steps=40, validate=40, validate_share=0.95, lr=1e-12, weight_decay=0.0, patience=2, ema=0.0, log_every=5
    )
    out = train(palmar_nano(), Squares(100), tmp_path / "run", still, progress=False)
    assert checkpoint.load(out).info["step"] < 40
    again = train(palmar_nano(), Squares(100), tmp_path / "run", still, progress=False, resume=True)
    assert checkpoint.load(again).info["step"] == checkpoint.load(out).info["step"]


def test_what_ships_holds_buffers_and_tied_weights():
    model = nn.ModuleDict({"a": nn.Linear(2, 2, bias=False), "b": nn.Linear(2, 2, bias=False), "n": nn.BatchNorm1d(2)})
    model["b"].weight = model["a"].weight
    run = Run(model, TrainConfig(steps=1))
    run.average = [torch.full_like(a, 7.0) for a in run.average]
    out = run.averaged()
    assert out.keys() == model.state_dict().keys() and (out["b.weight"] == 7).all()
    assert out["a.weight"].data_ptr() != out["b.weight"].data_ptr() and (out["n.running_var"] == 1).all()


def test_numbers_that_are_not_are_found_by_episode_and_frame(tmp_path):
    data = Squares(100)
    data.actions = data.actions.copy()
    data.actions[37, 1] = math.nan
    with pytest.raises(BadValue, match=r"data set 1: action 'dy' is nan in episode 3, frame 7\. Next"):
        train(palmar_nano(), [Squares(100), data], tmp_path / "x", SMALL, progress=False)


def test_out_of_memory_says_what_would_fit(tmp_path, monkeypatch):
    from palmar.models.grounded import Grounded

    whole = Grounded.loss

    def small(self, batch):
        if len(batch.state) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB")
        return whole(self, batch)

    monkeypatch.setattr(Grounded, "loss", small)
    with pytest.raises(BadValue, match=r"with 16 samples at once .*; 4 fit. Next: --batch-size 4, or --accumulate 4"):
        train(palmar_nano(), Squares(100), tmp_path / "x", SMALL, progress=False)
    fits = dataclasses.replace(SMALL, accumulate=4, steps=2, validation=0.0)
    out = train(palmar_nano(), Squares(100), tmp_path / "y", fits, progress=False)
    assert checkpoint.load(out).info["step"] == 2


def test_smoothing_needs_a_head_that_classifies(tmp_path):
    from palmar.train.checks import smoothed

    @dataclasses.dataclass(frozen=True)
    class Head:
        label_smoothing: float = 0.0

    @dataclasses.dataclass(frozen=True)
    class Config:
        head: Head = dataclasses.field(default_factory=Head)
        preset: str = "x"

    assert smoothed(Config(), 0.1).head.label_smoothing == 0.1
    with pytest.raises(BadValue, match="'palmar-nano' has no head that classifies"):
        train(palmar_nano(), Squares(100), tmp_path / "x", dataclasses.replace(SMALL, smoothing=0.1), progress=False)


def test_tasks_in_validation_are_told_apart(tmp_path):
    data = Squares(400)
    for i, e in enumerate(data.episodes):
        e.task = "ab"[i % 2]
    out = train(palmar_nano(), data, tmp_path / "x", dataclasses.replace(SMALL, validation=0.3), progress=False)
    last = rows(out)[-1]
    assert last["val_spread"] > 0 and last["val_jitter"] >= 0
    apart = sorted(last[f"val_error/{name}"] for name in "ab")
    assert 0 < apart[0] < last["val_action"] * 1.5 and apart[0] < apart[1] < 3
