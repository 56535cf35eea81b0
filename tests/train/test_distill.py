"""Students learn from teachers, and learners from experts that watch them drive."""

import dataclasses
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from speaking import SpeakingConfig
from squares import Squares
from training import train

from palmar.data.normalize import Normalizer
from palmar.errors import BadValue, UnknownName
from palmar.models import checkpoint
from palmar.models.acting import NeuralPolicy
from palmar.models.presets import palmar_nano
from palmar.train.dagger import Dagger, dagger
from palmar.train.distill import Distill, NeuralTeacher, PolicyTeacher
from palmar.train.feed import Feed
from palmar.train.loop import TrainConfig
from palmar.train.request import TrainRequest
from palmar.train.robot_data import fit_normalizers
from palmar.types import ActionChunk

SMALL = TrainConfig(steps=80, horizon=4, batch_size=32, threads=1, log_every=20, lr=5e-3, augment=None, validate=1)


class Shy(Squares):
    """Demonstrations that are only noise; the truth is in `privileged`."""

    def __init__(self, frames=400, seed=0):
        super().__init__(frames, seed=seed)
        self.truth = self.actions
        self.actions = np.random.default_rng(1).normal(0, 0.05, self.actions.shape).astype(np.float32)


def privileged(raw, texts):
    """Goes a tenth of the way to the target that the simulator knows."""
    step = 0.1 * (raw["privileged"][:, :2] - raw["state"][:, :2])
    action = np.concatenate([step, np.full((len(step), 1), 0.5)], -1).astype(np.float32)
    return np.repeat(action[:, None], raw["actions"].shape[1], 1)


@pytest.mark.parametrize("distance", ["own", "l1", "kl"])
def test_a_student_follows_a_teacher_who_knows_more(tmp_path, distance):
    data = Shy()
    normal = Normalizer.fit(data.actions, names=data.action_names)
    objective = Distill(privileged, normal, weight=1.0, distance=distance)
    out = train(SpeakingConfig(), data, tmp_path / "run", SMALL, objective=objective, progress=False)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    away = [r["teacher"] for r in rows if "teacher" in r]
    assert away[-1] < 0.8 * away[0], away


def test_weight_mixes_the_teacher_with_the_demonstrator():
    data = Shy(100)
    feed = Feed([data], 4, max_tokens=0)
    state, action, importance = fit_normalizers(feed)
    raw = feed.plain(np.arange(10))
    batch = feed.tensors(raw, state, action, importance)
    model = SpeakingConfig().build(feed.interface(4, 0.1))
    cloned, taught, half = (Distill(privileged, action, w)(model, batch, raw)[0].item() for w in (0.0, 1.0, 0.5))
    assert half == pytest.approx((cloned + taught) / 2, rel=1e-5) and cloned == pytest.approx(
        model.loss(batch)[0].item()
    )
    squares = Distill(privileged, action, 1.0, "kl", sigma=2.0)(model, batch, raw)[0]
    goal = torch.from_numpy(action.forward(privileged(raw, ())))
    error = (model.act(batch).actions - goal).square() @ (batch.importance / batch.importance.sum()) / 8
    torch.testing.assert_close(squares, (error * ~batch.pad).sum() / (~batch.pad).sum())


def test_teachers_of_every_kind_answer_in_natural_units():
    data = Squares(60)
    feed = Feed([data], 4)
    state, action, _ = fit_normalizers(feed)
    raw = feed.plain(np.array([3, 20]))
    texts = tuple(feed.wordings.texts[w] for w in raw["words"])
    policy = NeuralPolicy(palmar_nano().build(feed.interface(4, 0.1)), state, action)
    both = NeuralTeacher(policy)(raw, texts)
    one = PolicyTeacher(policy)(raw, texts)
    assert both.shape == (2, 4, 3)
    np.testing.assert_allclose(both, one, atol=1e-5)

    class Short:
        interface = policy.interface

        def act(self, obs, prefix=None):
            return ActionChunk(np.zeros((1, 3), np.float32), 0.1, obs.time)

        def reset(self):
            pass

    student = SpeakingConfig().build(replace(feed.interface(4, 0.1), state_names=("tcp.y", "tcp.x", "tcp.z")))
    batch = feed.tensors(raw, state, action, np.ones(3, np.float32))
    with pytest.raises(
        BadValue, match=r"teacher's states are tcp.x, tcp.y, tcp.z; the student has tcp.y, tcp.x, tcp.z\. Next"
    ):
        Distill(NeuralTeacher(policy), action)(student, batch, raw)
    turned = replace(action, names=("dy", "dx", "still"))
    with pytest.raises(BadValue, match=r"normaliser's actions are dy, dx, still; the student has dx, dy, still\. Next"):
        Distill(privileged, turned)(student, batch, raw)
    with pytest.raises(BadValue, match="plans 1 steps; the student learns 4"):
        PolicyTeacher(Short())(raw, texts)
    with pytest.raises(BadValue, match=r"expected 0 … 1"):
        Distill(privileged, action, weight=2.0)


def test_beta_falls_as_it_says():
    assert [Dagger(3, beta=0.5).share(i) for i in (1, 2, 3)] == [0.5, 0.25, 0.125]
    assert [Dagger(3, beta=0.8, fall="linear").share(i) for i in (1, 2, 3)] == pytest.approx([0.8, 0.4, 0.0])
    assert Dagger(fall="none").share(1) == 0.0 and Dagger().rounds == 10
    with pytest.raises(UnknownName, match="Known: exponential, linear, none"):
        Dagger(fall="never")
    with pytest.raises(BadValue):
        Dagger(rounds=0)


def test_dagger_aggregates_and_goes_on_after_an_interruption(tmp_path, monkeypatch):
    from palmar.models import presets

    monkeypatch.setitem(presets.KINDS, "SpeakingConfig", SpeakingConfig)
    asked = []

    def gather(out: Path, driver: Path, beta: float, seed: int, episodes: int):
        assert (driver / "model.safetensors").exists()
        asked.append((out.name, driver.name, beta, seed, episodes))
        return Squares(10 * episodes, seed=seed)

    plan = Dagger(rounds=2, episodes=8, seed=100)
    config = dataclasses.replace(SMALL, steps=10)

    def stop(done):
        if done.number == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dagger(TrainRequest(SpeakingConfig(), Squares(200), config), tmp_path, plan, gather, watch=stop, progress=False)
    rounds = dagger(TrainRequest(SpeakingConfig(), Squares(200), config), tmp_path, plan, gather, progress=False)
    assert [r.frames for r in rounds] == [200, 280, 360] and [r.beta for r in rounds] == [1.0, 0.5, 0.25]
    assert asked[-2:] == [("data-01", "round-00", 0.5, 100, 8), ("data-02", "round-01", 0.25, 180, 8)]
    assert len(asked) == 3
    assert {p.name for p in tmp_path.iterdir()} == {"round-00", "round-01", "round-02"}


def test_a_round_of_another_scale_is_refused_unless_the_normaliser_is_fitted_anew(tmp_path, monkeypatch):
    from palmar.models import presets

    monkeypatch.setitem(presets.KINDS, "SpeakingConfig", SpeakingConfig)

    def gather(out: Path, driver: Path, beta: float, seed: int, episodes: int):
        far = Squares(400)
        far.actions = 20 * far.actions
        return far

    request = TrainRequest(SpeakingConfig(), Squares(100), dataclasses.replace(SMALL, steps=2))
    with pytest.raises(BadValue, match="another scale than checkpoint"):
        dagger(request, tmp_path / "kept", Dagger(rounds=1, episodes=8), gather, progress=False)
    first, second = dagger(
        request, tmp_path / "new", Dagger(rounds=1, episodes=8, normalizer="new"), gather, progress=False
    )
    a, b = (checkpoint.load(r.checkpoint).normalizers["action"].scale[0] for r in (first, second))
    assert b > 5 * a
