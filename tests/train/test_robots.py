"""Two robots that share a model: each step trains the head of one, the checkpoint acts as either."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from squares import Squares
from training import train

from palmar.data.joints import JointTargets
from palmar.data.mixture import Mixture
from palmar.errors import BadFile, BadValue, UnknownName
from palmar.models import checkpoint
from palmar.models.heads import ChunkConfig, JointPositionConfig, TokenConfig
from palmar.models.presets import palmar_nano
from palmar.models.sequence import PooledConfig
from palmar.models.tensors import read_tensors
from palmar.models.vision import SmallConvConfig
from palmar.models.vla import OWN, Robot, VLAConfig
from palmar.policy import check_policy, load_policy
from palmar.robots.arm7 import arm7
from palmar.train.job import Job
from palmar.train.loop import TrainConfig
from palmar.train.lora import Lora
from palmar.train.preflight import preflight
from palmar.train.recipe import Recipe, Stage
from palmar.train.request import TrainRequest
from palmar.train.validation import score
from palmar.types import Observation

OTHER = Robot("gantry", ("tcp.x", "tcp.y", "tcp.z"), ("x", "y"), ChunkConfig())
MODEL = VLAConfig(
    vision=SmallConvConfig(channels=(8, 16), out=32), fusion=PooledConfig(width=48, blocks=1), robots=(OTHER,)
)
SMALL = TrainConfig(
    steps=120, horizon=4, batch_size=32, threads=1, log_every=20, lr=3e-3, augment=None, validate=2, validation=0.1
)


class Gantry(Squares):
    """Says where to be and not how far to go."""

    action_names = ("x", "y")

    def __init__(self, frames=600, seed=5, size=48):
        super().__init__(frames, size, seed=seed)
        self.actions = (self.states + self.actions)[:, :2]


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("robots") / "run"
    return train(MODEL, Squares(600), out, SMALL, others={"gantry": [Gantry()]}, progress=False)


def test_both_learn(run):
    mine, others = ([r[k] for r in rows(run) if k in r] for k in ("val_action/own", "val_action/gantry"))
    assert mine[-1] < 0.8 and others[-1] < 0.4  # 0.8 is what the mean answers; the gantry begins where it stands


def test_validation_is_the_mean_of_the_robots_and_early_stopping_looks_at_those_that_are_trained(run):
    for row in (r for r in rows(run) if "val_action" in r):
        assert row["val_action"] == pytest.approx((row["val_action/own"] + row["val_action/gantry"]) / 2, abs=2e-6)
    plan = Recipe("two", (Stage(), Stage(data=Mixture(robots=("gantry",)))))
    job = Job.start(
        TrainRequest(MODEL, [Squares(200)], SMALL, plan, others={"gantry": [Gantry(200)]}, embodiment="arm")
    )
    row = {"val_action": 5.0, "val_action/arm": 8.0, "val_action/gantry": 2.0}
    assert score(job, row) == 5.0 and score(job, {"val_loss": 3.0}) == 3.0
    job.run.stage = 1
    assert score(job, row) == 2.0


def test_a_stage_may_leave_robots_out(run, tmp_path):
    """The last stage of three: the target robot only."""
    slow = replace(SMALL, steps=1, lr=1e-12, ema=0.0, weight_decay=0.0)
    given = {"others": {"gantry": [Gantry(200)]}, "progress": False}
    before = read_tensors(train(MODEL, Squares(200), tmp_path / "a", slow, init=run, **given) / "model.safetensors")[0]
    few = replace(SMALL, steps=8, log_every=1)
    for robot in ("gantry", "own"):
        only = Recipe("specialise", (Stage(data=Mixture(robots=(robot,))),))
        out = train(MODEL, Squares(200), tmp_path / robot, few, recipe=only, init=run, **given)
        after = read_tensors(out / "model.safetensors")[0]
        moved = {n for n in after if not torch.allclose(before[n], after[n], atol=1e-7)}
        heads = {n.split(".")[1] for n in moved if n.startswith("heads.")}
        assert heads == {OWN if robot == "own" else robot}
        told = {k for r in rows(out) if "lr" in r for k in r if k.startswith("action")}
        assert told == {"action/gantry" if robot == "gantry" else "action"}
    wrong = Recipe("r", (Stage(), Stage(data=Mixture(robots=("gantri",)))))
    with pytest.raises(UnknownName, match=r"robot of this run 'gantri'. Did you mean 'gantry'.*Known: own, gantry"):
        train(MODEL, Squares(200), tmp_path / "x", few, recipe=wrong, **given)
    with pytest.raises(UnknownName, match="Known: own"):
        train(MODEL, Squares(200), tmp_path / "x", few, recipe=wrong, progress=False)
    assert not (tmp_path / "x").exists()


def test_every_frame_of_every_robot_comes_once_an_epoch(tmp_path):
    drawn = {"own": [], "gantry": []}

    def noted(data, name):
        plain = data.batch

        def batch(indices, horizon):
            if horizon == SMALL.horizon:
                drawn[name].extend(np.asarray(indices).tolist())
            return plain(indices, horizon)

        data.batch = batch
        return data

    def stop(row):
        if row["step"] == 15:
            raise KeyboardInterrupt

    config = replace(SMALL, steps=40, batch_size=20, validation=0.0, log_every=5)
    given = {"others": {"gantry": [noted(Gantry(70), "gantry")]}, "progress": False}
    train(MODEL, noted(Squares(300), "own"), tmp_path / "a", config, **given)
    for name, frames in (("own", 300), ("gantry", 70)):
        assert len(drawn[name]) > frames, "more than an epoch, or the test says nothing"
        often = np.bincount(drawn[name], minlength=frames)
        assert often.max() - often.min() <= 1, name
    whole = {name: list(d) for name, d in drawn.items()}
    with pytest.raises(KeyboardInterrupt):
        train(MODEL, noted(Squares(300), "own"), tmp_path / "b", config, watch=stop, **given)
    for d in drawn.values():
        d.clear()
    train(MODEL, noted(Squares(300), "own"), tmp_path / "b", config, resume=True, **given)
    for name, d in drawn.items():  # and after a cut, as if there had been none
        assert d and whole[name][-len(d) :] == d


def test_adapters_serve_both_robots(run, tmp_path):
    plan = Recipe("lora", (Stage(lr=1e-2, lora=Lora(2, 2.0, targets=("fusion",))),))
    given = {"others": {"gantry": [Gantry()]}, "progress": False}
    config = replace(SMALL, steps=30, ema=0.9, log_every=10)
    out = train(MODEL, Squares(600), tmp_path / "lora", config, recipe=plan, init=run, **given)
    before, after = (read_tensors(folder / "model.safetensors")[0] for folder in (run, out))
    assert before.keys() == after.keys()
    moved = {n for n in before if not torch.allclose(before[n], after[n], atol=1e-7)}
    assert moved and all(n.startswith("fusion.") and before[n].ndim == 2 for n in moved)
    for n in moved:
        assert torch.linalg.matrix_rank((after[n] - before[n]).double(), rtol=1e-4) <= 2
    data = Gantry(10)
    obs = Observation({"front": data.images[0]}, data.states[0], data.tasks[0], 0.0)
    for robot in ("", "gantry"):
        old, new = (checkpoint.load(c, robot=robot).act(obs).actions for c in (run, out))
        assert np.abs(old - new).max() > 1e-5
    assert [r["val_action/gantry"] for r in rows(out) if "val_action" in r][-1] < 0.4


def test_the_checkpoint_acts_as_either(run):
    mine, other = checkpoint.load(run), checkpoint.load(run, robot="gantry")
    data = Gantry(10)
    obs = Observation({"front": data.images[0]}, data.states[0], data.tasks[data._task[0]], 0.0)
    assert mine.act(obs).actions.shape == (4, 3) and mine.interface.action_names == Squares.action_names
    chunk = other.act(obs).actions
    assert (
        chunk.shape == (4, 2) and np.abs(chunk[0] - data.states[0, :2]).max() < 0.35
    )  # a place near the hand, in its units
    with pytest.raises(UnknownName, match="Did you mean 'gantry'"):
        checkpoint.load(run, robot="gantri")


def test_it_resumes_bit_for_bit(run, tmp_path):
    def stop(row):
        if row["step"] == 60:
            raise KeyboardInterrupt

    given = {"others": {"gantry": [Gantry()]}, "progress": False}
    with pytest.raises(KeyboardInterrupt):
        train(MODEL, Squares(600), tmp_path / "cut", SMALL, watch=stop, **given)
    train(MODEL, Squares(600), tmp_path / "cut", SMALL, resume=True, **given)
    one, two = (read_tensors(folder / "model.safetensors")[0] for folder in (run, tmp_path / "cut"))
    assert one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


def test_steps_go_to_robots_by_their_frames():
    config = replace(SMALL, steps=2)
    job = Job.start(TrainRequest(MODEL, [Squares(900)], config, others={"gantry": [Gantry(300)]}))
    share = np.mean([job.robot_of(i) for i in range(2000)])
    assert 0.2 < share < 0.3


def test_data_that_do_not_fit_are_refused(tmp_path):
    small = replace(SMALL, steps=2)
    with pytest.raises(
        BadValue, match=r"robot 'gantry' has action_names \('dx', 'dy', 'still'\); the model expects \('x', 'y'\)"
    ):
        train(MODEL, Squares(200), tmp_path / "a", small, others={"gantry": [Squares(200)]})
    with pytest.raises(UnknownName, match="robot"):
        train(MODEL, Squares(200), tmp_path / "b", small, others={"crane": [Gantry(200)]})
    with pytest.raises(BadValue, match="'palmar-nano' has one robot"):
        train(palmar_nano(), Squares(200), tmp_path / "c", small, others={"gantry": [Gantry(200)]})
    assert not any(tmp_path.iterdir())


def test_joint_targets_are_where_the_joints_were_next():
    robot = arm7()
    states = np.arange(6 * len(robot.state_names), dtype=np.float32).reshape(6, -1)
    source = SimpleNamespace(
        cameras=(), state_names=robot.state_names, action_names=robot.action_names, privileged_names=(), tasks=("go",),
        episodes=[SimpleNamespace(start=0, stop=4), SimpleNamespace(start=4, stop=6)], states=states,
        actions=np.full((6, 7), 0.25, np.float32), batch=lambda i, horizon: {"actions": None, "task": i},
    )  # fmt: skip
    data = JointTargets(source, robot)
    at = [robot.state_names.index(f"{j}.pos") for j in robot.frame().joints]
    assert data.action_names == robot.with_action_space("channels").action_names
    chunk = data.batch(np.array([2, 4]), 3)["actions"]
    np.testing.assert_array_equal(chunk[0, :, :7], states[[3, 3, 3]][:, at])  # the last holds its place
    np.testing.assert_array_equal(chunk[1, :, :7], states[[5, 5, 5]][:, at])
    assert (chunk[..., 7] == 0.25).all()
    source.action_names = ("dx",)
    with pytest.raises(BadValue, match="have no gripper"):
        JointTargets(source, robot)


def test_the_policy_after_an_at_is_that_robot(run):
    assert load_policy(f"{run}@gantry").interface.action_names == ("x", "y")
    check_policy(f"{run}@gantry")
    for ask in (load_policy, check_policy):
        with pytest.raises(UnknownName, match="Did you mean 'gantry'"):
            ask(f"{run}@gantri")
        with pytest.raises(BadFile, match="no checkpoint at"):
            ask(f"{run}x@gantry")


def test_another_rate_or_picture_is_refused(tmp_path):
    fast, large = Gantry(200), Gantry(200, size=64)
    fast.fps = 30
    for data, said in ((fast, "recorded at 30 Hz, the first at 10"), (large, "has cameras")):
        with pytest.raises(BadValue, match=said):
            train(MODEL, Squares(200), tmp_path / "a", replace(SMALL, steps=2), others={"gantry": [data]})


def test_a_checkpoint_passes_its_robots_on(run, tmp_path):
    """Fine-tuned for one robot it still serves the other; a robot that joins later gets a head fitted to its data."""
    short = replace(SMALL, steps=2)
    alone = train(MODEL, Squares(200), tmp_path / "alone", short, init=run, progress=False)
    kept, was = (checkpoint.load(c, robot="gantry").normalizers["action"] for c in (alone, run))
    np.testing.assert_array_equal(kept.offset, was.offset)

    tanh = Robot("gantry", OTHER.state_names, OTHER.action_names, JointPositionConfig(max_velocity=1.0))
    model = replace(MODEL, robots=(tanh,))
    first = train(model, Squares(200), tmp_path / "first", short, progress=False)
    joined = Job.start(TrainRequest(model, [Squares(200)], short, others={"gantry": [Gantry(200)]}, init=first))
    head = joined.run.model.heads["gantry"]
    scale = joined.robots_data[1].action.scale
    torch.testing.assert_close(head.step, torch.from_numpy(1.0 * 0.1 / scale).float())
    assert head.low.min() > -5


def test_parts_of_one_robots_loss_are_not_thinned_by_the_others(tmp_path):
    tokens = Robot("gantry", OTHER.state_names, OTHER.action_names, TokenConfig(bins=16))
    few = replace(SMALL, steps=20, validation=0.0)
    out = train(
        replace(MODEL, robots=(tokens,)),
        Squares(900),
        tmp_path / "a",
        few,
        others={"gantry": [Gantry(300)]},
        progress=False,
    )
    last = rows(out)[-1]
    assert 1.5 < last["tokens/gantry"] < 4 and "tokens" not in last  # ln 16 = 2.8 is chance
    assert last["action"] > 0


def test_preflight_judges_the_robot_that_is_asked_for(run):
    for where in (str(run), f"{run}@gantry"):
        checks = preflight(None, where, arm7())
        assert all(c.ok for c in checks if "normaliser" in c.name), where
        assert len([c for c in checks if "normaliser" in c.name]) == 2
