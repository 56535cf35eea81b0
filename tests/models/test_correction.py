"""A residual correction: it learns what the frozen policy's late chunks lack, it is stored beside it, and the loop applies it."""

import json

import numpy as np
import pytest
import torch

from palmar.data.normalize import Normalizer
from palmar.embodiments import Embodiment
from palmar.errors import BadFile, BadValue
from palmar.mapping import Interface
from palmar.models import correction as c
from palmar.policy import load_policy
from palmar.robot_parts import Camera, Channel, Measurement
from palmar.runtime.chunks import ChunkBuffer
from palmar.runtime.correcting import corrector
from palmar.runtime.loop import rollout
from palmar.runtime.mock import MockBody
from palmar.runtime.worker import Inline
from palmar.train.correct import Asked, CorrectConfig, _first_held_out, ask, train_correction
from palmar.types import ActionChunk, Observation

HORIZON = 8


class Wave:
    """One episode: the right action is the state of that very moment, which nobody can plan ahead."""

    cameras, state_names, action_names, privileged_names, tasks = ("eye",), ("x",), ("x",), (), ("follow",)
    image_sizes, fps = {"eye": (16, 16)}, 10.0

    def __init__(self, length=400):
        self.states = np.random.default_rng(0).normal(size=(length, 1)).astype(np.float32)
        self.actions = self.states.copy()
        self.episodes = [type("Piece", (), {"start": 0, "stop": length})()]

    def __len__(self):
        return len(self.states)

    def batch(self, indices, horizon):
        at = np.asarray(indices)[:, None] + np.arange(horizon)
        images = np.zeros((len(at), 16, 16, 3), np.uint8)
        return {
            "images": {"eye": images}, "state": self.states[indices],
            "actions": self.actions[np.minimum(at, len(self) - 1)], "pad": at >= len(self),
            "task": np.zeros(len(at), np.int64), "done": np.zeros(len(at), bool),
        }  # fmt: skip


class Stale:
    """What is seen now, for the whole chunk."""

    interface = Interface({"eye": (16, 16)}, ("x",), ("x",), HORIZON, 0.1)

    def act(self, obs, prefix=None):
        return ActionChunk(np.tile(obs.state.astype(np.float32), (HORIZON, 1)), 0.1, obs.time)

    def reset(self):
        pass


SMALL = c.CorrectionConfig(width=32, blocks=1, channels=(4, 4), side=16)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("correction")
    config = CorrectConfig(frames=300, steps=200, batch_size=64, lr=3e-3, noise=0.0)
    return folder, train_correction(Stale(), "stale", [Wave()], folder, config, SMALL)


def test_it_learns_to_put_late_chunks_right(trained):
    folder, told = trained
    assert told["after"] < 0.3 * told["before"]
    stored = c.read(folder)
    corrected = c.Corrected(Stale(), stored.correction, stored.state, stored.action)
    eye = {"eye": np.zeros((16, 16, 3), np.uint8)}
    got = corrected.correct(Observation(eye, np.array([0.8], np.float32)), np.array([-0.5], np.float32), 5)
    assert got == pytest.approx(0.8, abs=0.3)
    again = corrected.correct(Observation({}, np.array([0.8], np.float32)), np.array([-0.5], np.float32), 5)
    assert again == pytest.approx(got)  # by the newest picture
    corrected.reset()
    with pytest.raises(BadValue, match="seen no picture of camera 'eye'"):
        corrected.correct(Observation({}, np.array([0.8], np.float32)), np.array([-0.5], np.float32), 5)
    chunk = corrected.act(Observation(eye, np.array([0.3], np.float32)))
    assert chunk.actions[:, 0].tolist() == pytest.approx([0.3] * HORIZON)  # the chunk itself stays the policy's


def test_the_same_training_gives_the_same_weights(trained, tmp_path):
    config = CorrectConfig(frames=300, steps=200, batch_size=64, lr=3e-3, noise=0.0)
    assert train_correction(Stale(), "stale", [Wave()], tmp_path, config, SMALL) == trained[1]


def test_residuals_stay_within_what_training_asked_for():
    net = SMALL.build(Stale.interface)
    net.fit(torch.tensor([[-0.2], [0.4]]))
    torch.nn.init.constant_(net.leave.bias, 9.0)
    picture = {"eye": torch.zeros(1, 3, 16, 16)}
    assert float(net(picture, torch.zeros(1, 1), torch.zeros(1, 1), torch.tensor([0]))) == pytest.approx(0.4)
    missing = net(picture, torch.full((1, 1), torch.nan), torch.zeros(1, 1), torch.tensor([0]))
    assert torch.isfinite(missing).all()


def test_the_policy_is_asked_in_order_and_only_for_its_own_channels():
    asked = ask(Stale(), Wave(100), 0.1, 50)
    assert asked.frame.tolist() == list(range(0, 100, 2)) and asked.chunks.shape == (50, HORIZON, 1)
    wide = Wave(100)
    wide.action_names = ("x", "y")
    with pytest.raises(BadValue, match="answers 1 numbers an action, the data hold 2"):
        ask(Stale(), wide, 0.1, 50)


def test_data_of_another_rate_are_refused(tmp_path):
    fast = Wave(100)
    fast.fps = 20.0
    with pytest.raises(BadValue, match="the data hold 20 actions a second, the policy answers 10"):
        train_correction(Stale(), "stale", [fast], tmp_path, CorrectConfig(frames=50, steps=1), SMALL)


@pytest.mark.parametrize(("stops", "first"), [((50, 100), 50), ((10, 85, 100), 85), ((100,), 90), ((95, 98, 100), 95)])
def test_whole_episodes_are_held_out(stops, first):
    stop = np.repeat(stops, np.diff([0, *stops]))
    assert _first_held_out(Asked(Wave(100), np.arange(100), stop, np.zeros((100, HORIZON, 1))), 0.1) == first


def test_a_policy_of_other_channels_is_refused(trained, monkeypatch):
    """Policies of other systems have no fingerprint to tell them apart."""
    folder, _ = trained
    other = Stale()
    monkeypatch.setattr(c, "load_policy", lambda where: other)
    assert c.load(folder, base="openpi:other").inner is other
    other.interface = Interface({"eye": (16, 16)}, ("x",), ("y",), HORIZON, 0.1)
    with pytest.raises(BadFile, match="has action_names x; the policy 'openpi:other' has y"):
        c.load(folder, base="openpi:other")


def test_the_loop_corrects_every_step_from_the_newest_observation():
    channel = Channel("x", "prismatic", "m", -1.0, 1.0, 50.0)
    robot = Embodiment(
        "slide", (channel,), cameras=(Camera("eye", 16, 16),), state=(Measurement("x.pos", "m", "position", "x"),)
    )
    body, seen = MockBody(robot), []

    class Ahead:
        interface, wants_images = None, True

        def act(self, obs, prefix=None):
            return ActionChunk(np.zeros((16, 1), np.float32), 0.1, obs.time)

        def correct(self, obs, action, position):
            seen.append((round(obs.time, 3), position, "eye" in obs.images))
            if position == 3:
                raise RuntimeError("no correction here")
            return action + np.float32(0.1 * position)

        def reset(self):
            pass

    outcome = rollout(body, Inline(Ahead()), body.reset(), chunks=ChunkBuffer(execute=16), timeout=0.6)
    assert seen == [(round(0.1 * i, 3), i, True) for i in range(6)]
    ends = [float(command[0]) for command in body.commands[4::5]]
    assert ends == pytest.approx([0.0, 0.1, 0.2, 0.0, 0.4, 0.5], abs=1e-6)
    assert outcome.failures == 1 and "no correction here" in str(outcome.error)


def test_who_corrects_is_found_inside_wrappers():
    class Wrapper:
        def __init__(self, inner):
            self.inner = inner

    stored = c.Corrected(Stale(), SMALL.build(Stale.interface), *(Normalizer(np.zeros(1), np.ones(1)),) * 2)
    assert corrector(Wrapper(Wrapper(stored))) is stored
    assert corrector(Wrapper(Stale())) is None and corrector(None) is None


def test_a_damaged_correction_is_told(trained, tmp_path):
    folder, _ = trained
    raw = json.loads((folder / c.FILE).read_text())
    for broken in (
        {**raw, "format": "other"},
        {**raw, "config": {}},
        {k: v for k, v in raw.items() if k != "base"},
        [],
    ):
        (tmp_path / c.FILE).write_text(json.dumps(broken))
        (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
        with pytest.raises(BadFile, match=r"is damaged: .* Next: "):
            load_policy(str(tmp_path))


def test_it_comes_back_with_its_policy_and_refuses_another(tmp_path, monkeypatch):
    from toy import face

    from palmar.models import checkpoint
    from palmar.models.presets import preset

    config = preset("palmar-nano")
    shape = face(config)
    base = tmp_path / "base"
    scales = {
        "state": Normalizer(np.zeros(4), np.ones(4), names=shape.state_names),
        "action": Normalizer(np.zeros(3), np.ones(3), names=shape.action_names),
    }
    checkpoint.save(base, config.build(shape).state_dict(), config, shape, scales)
    net = SMALL.build(shape)
    made = c.save(tmp_path / "correction", net, scales["state"], scales["action"], str(base), {})
    policy = load_policy(str(made))
    assert isinstance(policy, c.Corrected) and policy.interface == shape
    monkeypatch.chdir(tmp_path)
    for told, from_here in (("base@gantry", f"{made / '../base'}@gantry"), ("lerobot:other", "lerobot:other")):
        monkeypatch.setattr(c, "fingerprint", lambda base: "")
        there = c.save(tmp_path / "of a robot", net, scales["state"], scales["action"], told, {})
        monkeypatch.chdir("/")
        where = c.read(there).base.replace("of a robot", "correction")
        assert where == from_here
        monkeypatch.chdir(tmp_path)
    monkeypatch.undo()
    moved = tmp_path / "moved"
    base.rename(moved)
    assert c.load(made, base=str(moved)).inner is not None
    checkpoint.save(moved, config.build(shape).state_dict(), config, shape, scales)  # other weights
    with pytest.raises(BadFile, match="was trained on another policy"):
        c.load(made, base=str(moved))
