"""Knowing when it does not know: signals, evidence, detector, band, judge and the policy that says so."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palmar.errors import BadFile, BadValue, UnknownName
from palmar.eval import detection
from palmar.runtime.confidence.confident import Confident, Speed
from palmar.runtime.confidence.conformal import WARMUP, Band, alarm_steps
from palmar.runtime.confidence.detector import Detector
from palmar.runtime.confidence.distance import DISTANCE, Gaussian, Neighbours
from palmar.runtime.confidence.evidence import FORMS, Running, Usual
from palmar.runtime.confidence.judge import Judge, JudgeConfig, Level
from palmar.runtime.confidence.learn import Rollouts
from palmar.runtime.confidence.recorded import CHUNK_SIGNALS, rollouts
from palmar.runtime.confidence.signals import SIGNALS, sample_disagreement, signals, token_entropy
from palmar.types import ActionChunk, Observation


def chunk(actions, t0=0.0, dt=0.1, **more):
    return ActionChunk(np.asarray(actions, np.float32), dt, t0, **more)


def made(n=160, tasks=4, seed=0, shift=0.8, steps=60):
    """Synthetic episodes: failures drift alike in two signals of three from some step on, and last until the time is up."""
    rng = np.random.default_rng(seed)
    failed, task = rng.random(n) < 0.4, rng.integers(0, tasks, n)
    lengths = np.where(failed, steps, rng.integers(steps // 3, steps // 2 + 5, n))
    level = rng.normal(0, 0.3, (tasks, 3))
    values = level[task][:, None] + 0.4 * rng.normal(size=(n, steps, 3)) + 0.3 * rng.normal(size=(n, 1, 3))
    late = (np.arange(steps) >= rng.integers(5, 15, n)[:, None]) & failed[:, None]
    values[..., 0] += shift * late
    values[..., 1] -= shift * late
    values = np.where((np.arange(steps) < lengths[:, None])[..., None], np.exp(values), np.nan)
    return Rollouts(("a", "b", "c"), values, lengths, failed, task)


# ------------------------------------------------------------------------------------------------ signals


def test_two_chunks_of_one_plan_agree_where_they_overlap():
    line = np.outer(np.arange(12.0), [1.0, -2.0])
    same = [chunk(line[:8]), chunk(line[4:12], t0=0.4)]
    assert SIGNALS["disagreement"](same) == 0 and SIGNALS["seam"](same) == 0
    other = [chunk(line[:8]), chunk(line[4:12] + [3.0, 4.0], t0=0.4)]
    assert SIGNALS["disagreement"](other) == pytest.approx((9 + 16) / 2) and SIGNALS["seam"](other) == pytest.approx(5)


def test_what_cannot_be_told_is_nan_and_never_a_guess():
    one = [chunk(np.zeros((3, 2)))]
    assert np.isnan(signals(one, ["disagreement", "seam", "jerk", "spread", "doubt"])).all()
    assert np.isnan(SIGNALS["disagreement"]([chunk(np.zeros((3, 2))), chunk(np.zeros((3, 2)), t0=9.0)]))  # no overlap
    assert SIGNALS["doubt"]([chunk(np.zeros((3, 2)), confidence=0.25)]) == 0.75
    assert SIGNALS["spread"]([chunk(np.zeros((2, 2)), spread=np.full((2, 2), 0.5))]) == 0.5


def test_size_travel_jerk_and_turns_have_their_units():
    cubic = chunk((np.arange(8.0)[:, None] * 0.1) ** 3)  # third derivative 6
    assert SIGNALS["jerk"]([cubic]) == pytest.approx(6, rel=1e-3)
    assert SIGNALS["travel"]([chunk(0.2 * np.arange(5)[:, None])]) == pytest.approx(2.0)
    assert SIGNALS["size"]([chunk([[3.0, 4.0]] * 3)]) == 5
    assert SIGNALS["turns"]([chunk([[0.0], [1.0], [0.0], [1.0]])]) == 1 and SIGNALS["turns"]([cubic]) == 0


def test_mistakes_with_signals_are_named():
    with pytest.raises(UnknownName, match="Did you mean 'jerk'"):
        signals([chunk(np.zeros((2, 1)))], ["jerks"])
    with pytest.raises(BadValue, match="no chunk"):
        signals([], ["jerk"])
    with pytest.raises(BadValue, match="2 and 3 channels"):
        SIGNALS["seam"]([chunk(np.zeros((2, 2))), chunk(np.zeros((2, 3)))])
    with pytest.raises(BadValue, match="M ≥ 2"):
        sample_disagreement(np.zeros((1, 2, 2)))
    with pytest.raises(BadValue, match="softmax"):
        token_entropy(np.ones((2, 3)))


def test_samples_and_tokens_that_agree_are_sure():
    assert sample_disagreement(np.ones((4, 3, 2))) == 0
    assert sample_disagreement(np.array([[[0.0]], [[2.0]]])) == 1
    assert token_entropy(np.eye(3)) == 0 and token_entropy(np.full((2, 4), 0.25)) == pytest.approx(np.log(4))


def test_far_features_are_far_in_units_of_training():
    x = np.random.default_rng(0).normal(size=(400, 6)) * [1, 1, 1, 1, 1, 10]
    far, near = np.eye(6)[0] * 8, np.eye(6)[5] * 8  # as long, but along the wide direction
    gauss, close = Gaussian.fit(x), Neighbours(x[:, :5])
    assert gauss(far) > 3 * gauss(near) and close(far[:5]) > 2 * close(np.zeros(5))
    assert np.isfinite(Gaussian.fit(x[:3])(far))  # fewer features than dimensions
    for rank in (1, 3):  # along what is left the deviations are taken to be alike, as they are here
        assert Gaussian.fit(x, rank=rank)(far) == pytest.approx(gauss(far), rel=0.1)
    again = Gaussian.from_dict(json.loads(json.dumps(Gaussian.fit(x, rank=4).to_dict())))
    assert again(far) == pytest.approx(Gaussian.fit(x, rank=4)(far), rel=1e-4)
    with pytest.raises(BadValue, match="rank is 0"):
        Gaussian.fit(x, rank=0)
    for wrong in (lambda: gauss(far[:2]), lambda: Gaussian.fit(x * np.nan), lambda: Neighbours(x[:3], 5)):
        with pytest.raises(BadValue, match="Next: t"):
            wrong()


# ------------------------------------------------------------------------------------------------ evidence and learning


def test_evidence_of_one_episode_is_that_of_many_at_once():
    data = made(12)
    together, many = Running(np.full(3, 0.1)), []
    for t in range(20):
        many.append(together.add(data.values[:, t]))
    alone = Running(np.full(3, 0.1))
    for t in range(20):
        assert np.allclose(alone.add(data.values[4, t]), many[t][4])
    assert many[0].shape == (12, 3 * len(FORMS))


def test_an_unknown_signal_says_nothing():
    running = Running(np.full(2, 0.1))
    usual = Usual(np.zeros((1, 6)), np.ones((1, 6)))
    assert np.isnan(running.add(np.array([np.nan, 1.0]))).sum() == len(FORMS)
    running.reset()
    out = usual.normal(running.add(np.array([np.nan, 1.0])), 0)
    assert np.isfinite(out).all() and (out[[0, 2, 4]] == 0).all()


def test_time_and_length_say_nothing_at_equal_time():
    data = made()
    time = np.tile(np.arange(60.0), (len(data), 1))
    assert detection.equal_time_auc(time, data.lengths, data.failed) == 0.5
    assert detection.same_step_auc(time, data.lengths, data.failed, np.array([5, 10])) == 0.5
    assert (
        detection.whole_episode_auc(time, data.lengths, data.failed) == 1.0
    )  # and everything where length is not controlled


def test_the_detector_is_better_than_each_signal_on_tasks_never_seen():
    ahead, aucs = [], []
    for seed in range(24):
        data = made(seed=seed, shift=0.4)
        seen, new = data.take(data.tasks < 3), data.take(data.tasks == 3)
        auc = [detection.equal_time_auc(Detector.learned(seen).scores(new), new.lengths, new.failed)]
        for k in range(3):
            one = Rollouts((data.names[k],), data.values[..., k : k + 1], data.lengths, data.failed, data.tasks)
            scores = Detector.learned(one.take(data.tasks < 3)).scores(one.take(data.tasks == 3))
            auc.append(detection.equal_time_auc(scores, new.lengths, new.failed))
        aucs.append(auc[0])
        ahead.append(auc[0] - max(auc[1:]))
    half = 1.96 * np.std(ahead, ddof=1) / np.sqrt(len(ahead))
    assert np.mean(ahead) - half > 0, (np.mean(ahead), half, np.mean(aucs))
    assert np.mean(aucs) > 0.75


def test_a_detector_of_noise_finds_nothing():
    aucs = []
    for seed in range(12):
        data = made(seed=seed, shift=0.0)
        new = data.take(data.tasks == 3)
        scores = Detector.learned(data.take(data.tasks < 3)).scores(new)
        aucs.append(detection.equal_time_auc(scores, new.lengths, new.failed))
    assert abs(np.mean(aucs) - 0.5) < 0.06


def test_learning_twice_gives_the_same():
    assert np.array_equal(Detector.fit(made()).weights, Detector.fit(made()).weights)


def test_a_fit_that_cannot_be_is_refused():
    data = made()
    with pytest.raises(BadValue, match="0 failures"):
        Detector.learned(data.successes())
    with pytest.raises(BadValue, match="10 or more"):
        Detector.fit(data.take(np.flatnonzero(data.failed)))
    with pytest.raises(BadValue, match="expected \\('a', 'b', 'c'\\)"):
        Detector.learned(data).scores(Rollouts(("x", "b", "c"), data.values, data.lengths, data.failed, data.tasks))
    with pytest.raises(BadValue, match="no band"):
        Detector.learned(data).watch()


# ------------------------------------------------------------------------------------------------ threshold


def test_false_alarms_keep_their_promise_on_new_successes():
    rates = []
    for seed in range(40):
        data = made(n=300, seed=seed)
        good = np.flatnonzero(~data.failed)
        detector = Detector.fit(data.take(np.concatenate([np.flatnonzero(data.failed), good[:-60]])), seed=seed)
        fresh = data.take(good[-60:])
        residuals = detector.band.residuals(detector.scores(fresh))
        rates.append((alarm_steps(residuals, fresh.lengths, detector.band.threshold(0.1)) < fresh.lengths).mean())
    half = 1.96 * np.std(rates, ddof=1) / np.sqrt(len(rates))
    assert abs(np.mean(rates) - 0.1) < 0.02 + half and half < 0.02


@given(st.integers(1, 60), st.floats(0.02, 0.9), st.floats(-3, 3))
def test_confidence_is_at_most_alpha_just_when_there_is_an_alarm(count, alpha, residual):
    band = Band(np.zeros(1), np.ones(1), np.sort(np.random.default_rng(count).normal(size=count)))
    assert (band.confidence(residual) <= alpha + 1e-12) == (residual > band.threshold(alpha))


def test_k_of_n_needs_k_and_nothing_alarms_at_first():
    scores = np.zeros((1, 20))
    scores[0, [8, 10]] = 9.0
    for k, expected in ((2, 9.0), (3, 0.0)):
        band = Band(np.zeros(1), np.ones(1), np.zeros(1), k, 5)
        assert band.residuals(scores)[0, 10:12].max() == expected
        assert np.isneginf(band.residuals(scores)[0, : WARMUP + k - 1]).all()
    with pytest.raises(BadValue, match="1 ≤ k ≤ n"):
        Band(np.zeros(1), np.ones(1), np.zeros(1), 6, 5)


def test_too_few_successes_promise_nothing():
    band = Band(np.zeros(1), np.ones(1), np.zeros(5))
    assert band.threshold(0.1) == np.inf and band.confidence(1e9) > 0.1
    with pytest.raises(BadValue, match="alpha is 0"):
        band.threshold(0)


# ------------------------------------------------------------------------------------------------ file, watch, policy


def test_a_detector_survives_its_file_and_watches_as_it_was_fitted(tmp_path):
    data, path = made(), tmp_path / "detector.json"
    detector = Detector.fit(data)
    detector.save(path)
    again, episode = Detector.load(path), data.take([3])
    scores = detector.scores(episode)[0]
    residuals, watch = detector.band.residuals(detector.scores(episode))[0], again.watch()
    for t in range(int(episode.lengths[0])):
        confidence = watch.add(episode.values[0, t])
        assert watch.score == pytest.approx(scores[t]) and confidence == detector.band.confidence(watch.residual)
        assert watch.residual == pytest.approx(residuals[t])


@pytest.mark.parametrize(
    "break_it",
    [
        lambda a: "{", lambda a: "[]", lambda a: json.dumps(a | {"format": "x"}), lambda a: json.dumps(a | {"weights": [1]}),
        lambda a: json.dumps(a | {"mean": []}), lambda a: json.dumps(a | {"floor": [float("nan")] * 3}),
        lambda a: json.dumps({k: v for k, v in a.items() if k != "std"}),
        lambda a: json.dumps(a | {"familiar": {"mean": [0.0], "axes": [[1.0, 0.0]], "deviations": [1.0], "rest": 1.0}}),
        lambda a: json.dumps(a | {"familiar": {"mean": [0.0], "axes": [[1.0]], "deviations": [0.0], "rest": 1.0}}),
        lambda a: json.dumps(a | {"band": a["band"] | {"width": [-1.0]}}), lambda a: json.dumps(a | {"band": {}}),
    ],
)  # fmt: skip
def test_a_damaged_file_is_refused(break_it, tmp_path):
    path = tmp_path / "detector.json"
    Detector.fit(made()).save(path)
    path.write_text(break_it(json.loads(path.read_text())))
    with pytest.raises(BadFile, match="Next: fit it again"):
        Detector.load(path)


class Wavering:
    """Plans that change their mind by `noise` from chunk to chunk."""

    interface = None

    def __init__(self, noise, seed=0):
        self.noise, self.seed = noise, seed
        self.reset()

    def reset(self):
        self.rng = np.random.default_rng(self.seed)

    def act(self, obs, prefix=None):
        plan = np.outer(obs.time + 0.1 * np.arange(8), [1.0, 0.5]) + self.noise * self.rng.normal(size=2)
        return chunk(plan, t0=obs.time)


def episode(policy, steps):
    policy.reset()
    return [policy.act(Observation({}, np.full(2, 0.4 * i, np.float32), time=0.4 * i)) for i in range(steps)]


def test_a_policy_that_changes_its_mind_loses_confidence():
    good = [episode(Wavering(0.02, seed), 20) for seed in range(40)]
    bad = [episode(Wavering(0.2, 100 + seed), 30) for seed in range(15)]
    detector = Detector.fit(rollouts(good + bad, [False] * 40 + [True] * 15))
    steady = episode(Confident(Wavering(0.02, 500), detector), 20)
    wavering = episode(Confident(Wavering(0.2, 501), detector), 20)
    assert steady[-1].confidence > 0.1 >= wavering[-1].confidence
    assert all(0 <= c.confidence <= 1 for c in steady + wavering)


def test_confident_forgets_at_reset_and_doubts_what_is_not_finite():
    detector = Detector.fit(
        rollouts([episode(Wavering(0.02 + 0.2 * (i > 20), i), 15) for i in range(30)], [i > 20 for i in range(30)])
    )
    policy = Confident(Wavering(0.2), detector)
    first, second = (([c.confidence for c in episode(policy, 12)]) for _ in range(2))
    assert first == second

    class Broken(Wavering):
        def act(self, obs, prefix=None):
            return chunk(np.full((4, 2), np.nan))

    broken = Confident(Broken(0), detector)
    assert broken.act(Observation({}, np.zeros(2, np.float32))).confidence == 0


def test_a_signal_nobody_computes_is_refused_and_extra_ones_are_taken():
    detector = Detector.fit(made())
    with pytest.raises(BadValue, match="fitted on a, b, c"):
        Confident(Wavering(0), detector)
    taken = Confident(Wavering(0), detector, {"a": Speed(), "b": lambda o, c: 1.0, "c": lambda o, c: 2.0})
    assert len(episode(taken, 10)) == 10 and taken.values(
        Observation({}, np.zeros(2, np.float32)), chunk([[0.0]])
    ).shape == (3,)
    speed = Speed()
    still = [
        Observation({}, np.array([0.0, 0.0], np.float32)),
        Observation({}, np.array([1.0, 3.0], np.float32), time=0.5),
    ]
    assert np.isnan(speed(still[0], None)) and speed(still[1], None) == 4.0


def test_a_table_of_signals_needs_chunks():
    table = rollouts([episode(Wavering(0), 3), episode(Wavering(0), 5)], [False, True])
    assert table.values.shape == (2, 5, len(CHUNK_SIGNALS)) and np.isnan(table.values[0, 3:]).all()
    for wrong in (([], []), ([[]], [True]), ([episode(Wavering(0), 2)], [])):
        with pytest.raises(BadValue, match="leave empty ones out"):
            rollouts(*wrong)


# ------------------------------------------------------------------------------------------------ what to do


def test_pause_then_ask_then_escalate():
    judge = Judge(JudgeConfig(pause=2, asks=1))
    assert judge(0.9).level is Level.GO and judge(None).level is Level.GO
    assert [judge(0.05).level for _ in range(3)] == [Level.PAUSE, Level.ASK, Level.ASK]
    assert judge(0.9).level is Level.ASK  # a person has been asked, and has not answered
    judge.answered()
    assert judge(0.9).level is Level.GO
    assert [judge(0.05).level for _ in range(2)] == [Level.PAUSE, Level.ESCALATE]
    judge.answered()
    advice = judge(0.9)
    assert advice.level is Level.ESCALATE and advice.speed == 0 and "hand over" in str(advice.reason)
    judge.reset()
    assert judge(0.9).level is Level.GO


def test_a_pause_ends_when_the_alarm_does():
    judge = Judge()
    assert [judge(c).level for c in (0.05, 0.05, 0.9, 0.05)] == [Level.PAUSE, Level.PAUSE, Level.GO, Level.PAUSE]


def test_a_novel_object_is_handled_at_half_speed_and_looked_at_twice_as_often():
    judge = Judge(JudgeConfig(execute=8))
    novel, near = judge(0.9, novel=True), judge(0.2)
    assert (novel.level, novel.speed, novel.execute) == (Level.CAREFUL, 0.5, 4) and "novel" in str(novel.reason)
    assert near.level is Level.CAREFUL and near.reason.value == 0.2 and near.reason.bound == 0.3
    assert judge(0.9).execute == 8


@pytest.mark.parametrize("wrong", [{"alpha": 0.0}, {"alpha": 0.5}, {"pause": 0}, {"slow": 0.0}, {"careful": 1.5}])
def test_a_judge_outside_its_ranges_is_refused(wrong):
    with pytest.raises(BadValue, match="Next:"):
        JudgeConfig(**wrong)
    with pytest.raises(BadValue, match="expected 0 … 1"):
        Judge()(1.5)


class Seeing(Wavering):
    """What it makes of what it sees lies `away` from where it lay in training."""

    def __init__(self, away, seed=0):
        super().__init__(0.02, seed)
        self.away = away

    def act(self, obs, prefix=None):
        features = self.rng.normal(size=6).astype(np.float32)
        features[0] += self.away
        return replace(super().act(obs), features=features)


def test_a_policy_that_sees_what_it_was_not_trained_on_loses_confidence(tmp_path):
    """Its chunks are as steady as ever: the features alone tell."""
    train = np.stack([c.features for seed in range(20) for c in episode(Seeing(0.0, seed), 20)])
    familiar = Gaussian.fit(train)
    good = [episode(Seeing(0.0, 100 + seed), 20) for seed in range(40)]
    bad = [episode(Seeing(8.0, 200 + seed), 30) for seed in range(15)]
    names = ("disagreement", DISTANCE)
    data = rollouts(good + bad, [False] * 40 + [True] * 15, names=names, familiar=familiar)
    Detector.fit(data, familiar=familiar).save(tmp_path / "detector.json")
    detector = Detector.load(tmp_path / "detector.json")
    assert episode(Confident(Seeing(0.0, 500), detector), 20)[-1].confidence > 0.1
    assert episode(Confident(Seeing(8.0, 501), detector), 20)[-1].confidence <= 0.1
    with pytest.raises(BadValue, match=r"the policy gives none\. Next: a detector fitted to this policy"):
        episode(Confident(Wavering(0.02), detector), 1)
    with pytest.raises(BadValue, match="fitted on distance; computed"):
        Confident(Seeing(0.0), replace(detector, familiar=None))
    with pytest.raises(BadValue, match=r"a feature of shape \[3\]; expected \[6\]"):
        familiar(np.zeros(3))


def test_the_distance_of_a_chunk_without_features_is_unknown():
    familiar = Gaussian.fit(np.random.default_rng(0).normal(size=(50, 6)))
    assert np.isnan(signals([chunk([[0.0]])], [DISTANCE], familiar)).all()
    with pytest.raises(UnknownName, match="distance"):
        signals([chunk([[0.0]])], [DISTANCE])
