"""Two robots that share a model: each step trains the head of one, the checkpoint acts as either."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from squares import Squares

from palmar.data.joints import InJoints
from palmar.embodiments import arm7
from palmar.errors import BadFile, BadValue, UnknownName
from palmar.models import checkpoint
from palmar.models.heads import ChunkConfig, JointPositionConfig, TokenConfig
from palmar.models.presets import palmar_nano
from palmar.models.sequence import PooledConfig
from palmar.models.tensors import read_tensors
from palmar.models.vision import SmallConvConfig
from palmar.models.vla import Robot, VLAConfig
from palmar.policy import check_policy, load_policy
from palmar.train.job import Job
from palmar.train.loop import TrainConfig, train
from palmar.train.preflight import preflight
from palmar.train.recipe import Recipe
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
    mine, others = ([r[k] for r in rows(run) if k in r] for k in ("val_action", "val_action/gantry"))
    assert mine[-1] < 0.8 and others[-1] < 0.4  # 0.8 is what the mean answers; the gantry begins where it stands


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
    job = Job.start(MODEL, [Squares(900)], config, Recipe(), others={"gantry": [Gantry(300)]})
    share = np.mean([job.lane(i) for i in range(2000)])
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
    data = InJoints(source, robot)
    at = [robot.state_names.index(f"{j}.pos") for j in robot.joints]
    assert data.action_names == robot.with_action_space("joint_position").action_names
    chunk = data.batch(np.array([2, 4]), 3)["actions"]
    np.testing.assert_array_equal(chunk[0, :, :7], states[[3, 3, 3]][:, at])  # the last holds its place
    np.testing.assert_array_equal(chunk[1, :, :7], states[[5, 5, 5]][:, at])
    assert (chunk[..., 7] == 0.25).all()
    source.action_names = ("dx",)
    with pytest.raises(BadValue, match="no gripper"):
        InJoints(source, robot)


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
    joined = Job.start(model, [Squares(200)], short, Recipe(), others={"gantry": [Gantry(200)]}, init=first)
    head = joined.run.model.heads["gantry"]
    scale = joined.lanes[1].action.scale
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
