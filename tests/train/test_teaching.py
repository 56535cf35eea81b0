"""Teachers without eyes teach students that look; a teacher learned by trial is exported without its library's files."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from speaking import SpeakingConfig
from squares import Squares
from training import train

from palmar.data.privileged import PrivilegedData
from palmar.errors import BadFile, BadValue, UnknownName
from palmar.lab.suite import EvalConfig, evaluate
from palmar.lab.worlds import Loaded
from palmar.models import presets
from palmar.models.teacher import TeacherConfig
from palmar.policy import load_policy
from palmar.train.dagger import begun
from palmar.train.distill import Distill, PrivilegedTeacher
from palmar.train.loop import TrainConfig
from palmar.train.student import StudentTraining, student, teacher_of


class Told(Squares):
    """As a recorded set: pictures only where they are asked for."""

    def batch(self, indices, horizon, images=True, offsets=(0,)):
        raw = super().batch(indices, horizon)
        return raw if images else raw | {"images": {}}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> Path:
    """It reads where the named square is, and goes there."""
    data = PrivilegedData(Told(1500), ("target.x", "target.y"))
    config = TrainConfig(steps=400, horizon=2, batch_size=64, threads=1, lr=3e-3, augment=None, validate=1, ema=0.97)
    return train(
        TeacherConfig((64, 64), words=0), data, tmp_path_factory.mktemp("t") / "teacher", config, progress=False
    )


def test_it_knows_what_its_pictures_do_not_show(teacher):
    rows = [json.loads(line) for line in (teacher / "metrics.jsonl").read_text().splitlines()]
    assert [r["val_action"] for r in rows if "val_action" in r][-1] < 0.12
    data = Told(50, seed=9)
    raw = data.batch(np.arange(50), 4)
    wish = PrivilegedTeacher(load_policy(str(teacher)), data.privileged_names)(raw, ("",) * 50)
    assert wish.shape == (50, 2, 3)
    np.testing.assert_allclose(wish[:, 0, :2], data.actions[:, :2], atol=0.02)


def test_a_student_learns_from_it_on_what_it_visits(teacher, tmp_path, monkeypatch):
    """The teacher plans 2 steps and reads two columns more; the student plans 4 and has a camera."""
    monkeypatch.setitem(presets.KINDS, "SpeakingConfig", SpeakingConfig)
    asked = []

    def gather(out: Path, driver: Path, beta: float, seed: int, episodes: int):
        asked.append((out.name, driver.name, beta))
        return Told(40 * episodes, seed=seed)

    training = StudentTraining(
        tasks=("reach",), demos=8, rounds=1, episodes=4, steps=60, batch_size=32, lr=5e-3, horizon=4
    )
    seen = []
    out = student(
        str(teacher), training, tmp_path, model=SpeakingConfig(), gather=gather, progress=False, watch=seen.append
    )
    assert asked == [("demos", "teacher", 1.0), ("data-01", "round-00", 0.0)] and [r.frames for r in seen] == [320, 480]
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    away = [r["teacher"] for r in rows if "teacher" in r]
    assert away[-1] < 0.8 * away[0], away
    with pytest.raises(BadFile, match=r"was begun with tasks reach, and pick is asked for; .* Next: another --out"):
        student(str(teacher), replace(training, tasks=("pick",)), tmp_path, model=SpeakingConfig(), gather=gather)
    with pytest.raises(UnknownName, match="preset 'nope'"):
        student(str(teacher), replace(training, preset="nope"), tmp_path / "new", gather=gather)
    assert not (tmp_path / "new").exists() and len(asked) == 2


def test_a_folder_keeps_what_it_was_begun_with(tmp_path):
    begun(tmp_path / "a", {"tasks": ("reach",), "lr": 0.1})
    begun(tmp_path / "a", {"tasks": ("reach",), "lr": 0.1})
    with pytest.raises(BadFile, match=r"was begun with lr 0.1, and 0.2 is asked for"):
        begun(tmp_path / "a", {"tasks": ("reach",), "lr": 0.2})
    (tmp_path / "a" / "settings.json").write_text("{")
    with pytest.raises(BadFile, match=r"is no JSON .* Next: another folder"):
        begun(tmp_path / "a", {})


def test_what_is_no_teacher_and_an_objective_alone_are_refused(teacher, tmp_path):
    with pytest.raises(
        BadValue, match=r"'shipped' reads no simulator truth; expected a teacher\. Next: palmar teacher"
    ):
        teacher_of("shipped")
    data = Told(30)
    with pytest.raises(BadValue, match=r"no action normaliser\. Next"):
        Distill(lambda raw, texts: None)(SpeakingConfig(), None, {})  # type: ignore[arg-type]
    with pytest.raises(BadValue, match=r"the teacher reads 'target\.x'"):
        PrivilegedTeacher(load_policy(str(teacher)), data.privileged_names[3:])


@pytest.fixture(scope="module")
def tried(tmp_path_factory):
    """A few steps of PPO: what it learned with, its environment, and its checkpoint."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    from palmar.train.reinforce import CLIP, Reinforce, environment, export

    table = environment(Reinforce(timeout=1.0))
    normal = VecNormalize(DummyVecEnv([lambda: table]), clip_obs=CLIP)
    small = {"net_arch": [16, 8]}
    learner = PPO("MlpPolicy", normal, n_steps=32, batch_size=32, n_epochs=1, policy_kwargs=small, device="cpu", seed=0)
    learner.learn(32)
    yield learner, normal, table, export(learner, normal, table, tmp_path_factory.mktemp("ppo") / "policy")
    normal.close()


def test_what_was_learned_by_trial_acts_alike_without_its_library(tried):
    learner, normal, table, folder = tried
    assert {p.name for p in folder.iterdir()} == {"config.json", "model.safetensors"}
    policy = load_policy(str(folder))
    seen, _ = table.reset(seed=1)
    for i in range(20):
        raw = seen + np.random.default_rng(i).normal(0, 0.1, seen.shape).astype(np.float32)
        action, _ = learner.predict(normal.normalize_obs(raw), deterministic=True)
        theirs = table.middle + np.clip(action, -1, 1) * table.half
        state = np.asarray(policy.inner.normalizers["state"].forward(raw[None]))
        np.testing.assert_allclose(np.clip(state, -10, 10)[0], normal.normalize_obs(raw), atol=1e-4)
        own, truth = raw[: len(policy.interface.state_names)], raw[len(policy.interface.state_names) :]
        from palmar.types import Observation

        mine = policy.among(policy.columns).act(Observation({}, own, privileged=truth)).actions[0]
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_it_is_tried_in_simulation_and_not_in_a_reality(tried):
    config = EvalConfig(str(tried[3]), 1, ("reach",), timeout=0.5, execute=1)
    (trial,) = evaluate(config, processes=1, progress=False).trials
    assert trial.task == "reach" and trial.commands > 0
    from palmar.lab.suite import run

    with pytest.raises(BadValue, match="a reality tells no contacts"):
        run(Loaded(), (EvalConfig(str(tried[3]), 1, ("reach",), world="twin:0", execute=1), "reach", "layout", 0))


def test_a_trial_by_ppo_reports_and_is_bounded(tmp_path):
    from palmar.train.reinforce import Reinforce, reinforce

    rows = []
    trial = Reinforce(steps=32, rollout=32, batch_size=32, epochs=1, hidden=(8,), timeout=1.0)
    folder = reinforce(trial, tmp_path / "p", rows.append)
    assert rows[0]["step"] == 32 and rows[0]["episodes"] >= 2 and load_policy(str(folder)).columns
    with pytest.raises(BadValue, match="rollout is 100, batch size 64; expected a multiple"):
        Reinforce(rollout=100, batch_size=64)
