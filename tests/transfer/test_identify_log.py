"""An arm's inertias and friction are found from a log of it, intervals hold, bodies can exist, and what a log cannot "
"tell is said."""

from dataclasses import replace

import numpy as np
import pytest
from simulated_arm import FRICTION, other, recorded, small_arm, truth

from palmar.errors import BadFile, BadValue
from palmar.eval.stats import Z95
from palmar.transfer.excitation import PUSH, ROOM, SPEED, design
from palmar.transfer.friction import MODELS, FrictionModel, features, presliding
from palmar.transfer.identify_log import TorqueFitConfig, identify_torques
from palmar.transfer.inertia import consistent
from palmar.transfer.rigid_body import structural_base
from palmar.transfer.torque_choice import choose, weights_of
from palmar.transfer.torque_errors import compared
from palmar.transfer.torque_fit import Stretch, normal, prior_of, solve
from palmar.transfer.torque_identification import TorqueIdentification
from palmar.transfer.torque_intervals import separable, uncertainty
from palmar.transfer.torque_log import sampled
from palmar.transfer.torque_plot import plot_torques

ARM = small_arm()
QUICK = TorqueFitConfig(models=MODELS[:1])
V = (MODELS[0],) * 3


@pytest.fixture(scope="module")
def log():
    return recorded(ARM, truth(ARM, 5), 5)


@pytest.fixture(scope="module")
def found(log):
    return identify_torques(log, ARM, (0.5, 7.0), (7.0, 9.5), QUICK)


def stretch_of(log, cutoff=8.0):
    return Stretch.of(ARM, sampled(log, 0.75 * cutoff, 0.06), cutoff)


def test_the_torques_of_another_stretch_are_predicted(found):
    assert (np.array(found.rms_test) < 0.15).all()  # of 0.2 N·m white noise and a slow part, after the filter
    assert (np.array(found.rms_test) < 0.3 * np.array(found.rms_described)).all()


def test_bodies_can_exist_and_friction_is_found(found):
    assert consistent(np.array(list(found.inertia.values()))).all()
    assert all(mass > 0 for mass, _, _ in found.bodies().values())
    for joint, values in zip(ARM.joints, FRICTION, strict=True):
        for term, value in zip(("coulomb", "viscous", "offset"), values, strict=True):
            assert found.friction[joint].coefficients[term] == pytest.approx(value, abs=0.2)


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Over ten hidden arms: base parameters and friction, 24 each."""
    base = structural_base(ARM.chain)
    inside = []
    for seed in range(10):
        hidden = truth(ARM, seed)
        stretch = stretch_of(recorded(ARM, hidden, seed))
        weights = weights_of(stretch, V, 0.4, rounds=3)
        X, prior = stretch.design(V), prior_of(stretch, V, 0.4)
        theta = solve(*normal(X, stretch.torque, weights), prior)
        sure = uncertainty(X, stretch.torque - X @ theta, weights, prior, np.ones(3))
        wide = np.hstack([base.matrix, np.zeros((len(base.columns), 9))])
        off = np.abs(wide @ theta - base.values(hidden.ravel()))
        inside += list(off <= Z95 * sure.of(wide))
        inside += list(np.abs(theta[30:] - np.ravel(FRICTION)) <= Z95 * sure.deviation[30:])
    assert 0.88 <= np.mean(inside) <= 0.99, np.mean(inside)


def test_what_is_not_told_is_said(found):
    assert not found.estimates["a.mass"].identified  # it turns about z alone
    assert "no motion tells it by itself" in found.estimates["a.mass"].note
    assert found.estimates["c.mx"].identified
    assert any("only in combinations" in s for s in found.cannot_tell)
    alone = separable(structural_base(ARM.chain))
    assert not alone[0] and alone[21]  # mass of the first, first moment along x of the last


def test_the_motion_that_is_proposed_tells_more_and_keeps_to_the_limits(log):
    slow = recorded(ARM, truth(ARM, 5), 5, scale=0.15)
    found = identify_torques(slow, ARM, config=QUICK)
    motion = found.next_motion
    assert motion is not None and motion.after < 0.8 * motion.before
    stretch = stretch_of(slow)
    weights, prior = np.full(3, 0.5), prior_of(stretch, V, 0.4)
    hessian = normal(stretch.design(V), stretch.torque, weights)[0] + prior.terms(prior.mean)[2]
    plan = design(ARM, V, False, hessian, weights, 50.0, np.array([20, 26]), np.ones(39), tries=12)
    _, q, dq, ddq = plan.motion.at(100.0)
    assert (np.abs(q) <= ROOM * 2.5 + 1e-6).all() and (np.abs(dq) <= 1.01 * SPEED * 2.0).all()
    assert (np.abs(ddq) <= 1.05 * PUSH * 8.0).all() and np.abs(dq[[0, -1]]).max() < 1e-9
    np.testing.assert_allclose(np.gradient(q, 0.01, axis=0)[5:-5], dq[5:-5], atol=0.02)
    np.testing.assert_allclose(np.gradient(dq, 0.01, axis=0)[5:-5], ddq[5:-5], atol=0.25)


def test_the_friction_model_is_chosen_by_blocks_left_out():
    model, values = FrictionModel("presliding", 0.01), ((4.0, 0.3, 0.1), (3.0, 0.3, 0.0), (1.5, 0.1, 0.0))
    stretch = stretch_of(recorded(ARM, ARM.inertia, 3, model=model, coefficients=values, noise=0.05))
    models = (MODELS[0], FrictionModel("presliding", 0.01), FrictionModel("asymmetric"))
    chosen = choose(stretch, models, spreads=(0.4,))
    assert chosen.models.count(model) >= 2
    plain = choose(stretch_of(recorded(ARM, ARM.inertia, 3, noise=0.05)), models, spreads=(0.4,))
    assert plain.models == V


def test_friction_models():
    q, dq = np.linspace(0, 1, 50), np.full(50, 0.5)
    for model in MODELS:
        assert features(model, q, dq, np.ones(50)).shape == (50, len(model.terms)) and len(model.units) == len(
            model.terms
        )
    turned = np.concatenate([q, q[::-1]])
    z = presliding(turned, np.gradient(turned), 0.05)
    assert z[49] == pytest.approx(1.0, abs=0.01) and z[-1] == pytest.approx(-1.0, abs=0.01) and z[50] > 0


def test_rotors_count_in_the_torques_of_motors(log):
    q = sampled(log, 20.0, 0.06)
    heavy = replace(log, torque=log.torque + 0.3 * np.stack([np.interp(log.time, q.time, a) for a in q.ddq.T], 1))
    found = identify_torques(heavy, ARM, config=replace(QUICK, rotors=True, next_motion=False))
    assert set(found.rotor) == set(ARM.joints) and found.rotor["c"] == pytest.approx(0.3, abs=0.1)


def test_a_file_of_it_survives(found, log, tmp_path):
    (file := tmp_path / "found.json").write_text(found.to_json())
    again = TorqueIdentification.load(file)
    assert again == found
    motion = sampled(log, 6.0, 0.06)
    torque = again.predict(ARM, motion.q, motion.dq, motion.ddq)
    assert np.sqrt(np.mean((torque - log.torque[: len(torque)]) ** 2)) < 0.4
    plot_torques(again, ARM, log, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 10_000
    with pytest.raises(BadValue, match=r"was identified on a, b, c"):
        again.predict(other(ARM, joints=("x", "y", "z")), motion.q, motion.dq, motion.ddq)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"format": "palmar torque identification 1"}', '{"format": "another"}']
)
def test_a_file_of_something_else_is_told(text):
    with pytest.raises(BadFile, match=r"not an identification from torques"):
        TorqueIdentification.from_json(text)


def test_bodies_that_cannot_exist_are_not_read(found):
    broken = found.to_json().replace(f"{found.inertia['b'][0]!r}", "-1.0")
    with pytest.raises(BadFile, match=r"no body has"):
        TorqueIdentification.from_json(broken)


def test_no_file_is_told(tmp_path):
    with pytest.raises(BadFile, match=r"no identification at"):
        TorqueIdentification.load(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("change", "window", "message"),
    [
        (lambda g: g, (0.0, 1.0), r"lasts 0\.99 s here; expected 2 s or more"),
        (lambda g: g, (20.0, 30.0), r"no samples in 20 … 30 s; it lasts from 0\.00 to 10\.00 s"),
        (lambda g: replace(g, torque=-g.torque), None, r"go against those of small's links .*opposite sign"),
        (
            lambda g: replace(g, torque=np.random.default_rng(0).normal(0, 5, g.torque.shape)),
            None,
            r"do not follow from this motion",
        ),
        (lambda g: replace(g, q=0 * g.q, dq=0 * g.q), None, r"no joint moves by 0\.05 or more"),
        (lambda g: replace(g, torque=g.torque * 30), None, r"the torque of a reaches .*at most 60 N·m"),
    ],
    ids=["short", "elsewhere", "sign", "noise", "still", "torque units"],
)
def test_a_log_that_tells_nothing_is_refused(log, change, window, message):
    with pytest.raises(BadValue, match=message):
        identify_torques(change(log), ARM, window, config=QUICK)


def test_gaps_beside_the_test_stretch_do_no_harm(log):
    left = ((log.time < 4.5) | (log.time >= 7.0)) & ((log.time < 9.5) | (log.time >= 9.7))
    ragged = replace(log, time=log.time[left], q=log.q[left], torque=log.torque[left], dq=log.dq[left])
    again = identify_torques(ragged, ARM, (0.5, 4.5), (7.0, 9.5), replace(QUICK, next_motion=False))
    assert max(again.rms_test) < 0.3  # fitted on 4 s of the 6.5 s
    assert compared(again, ARM, ragged, (7.0, 9.5)).rms == pytest.approx(again.rms_test, rel=0.15)


def test_the_test_stretch_may_not_overlap(log):
    with pytest.raises(BadValue, match=r"overlaps the fitted one"):
        identify_torques(log, ARM, (0.5, 8.0), (7.0, 9.0), QUICK)


def test_a_joint_that_stands_still_is_named(log):
    q, dq = log.q.copy(), log.dq.copy()
    q[:, 2], dq[:, 2] = 0.1, 0.0
    found = identify_torques(replace(log, q=q, dq=dq), ARM, config=replace(QUICK, next_motion=False))
    assert any("c hardly move" in n for n in found.notes) and not found.estimates["c.viscous"].identified


def test_a_fit_without_an_end_is_told(monkeypatch):
    stretch = stretch_of(recorded(ARM, ARM.inertia, 1, seconds=4.0))
    prior = prior_of(stretch, V, 0.4)
    N, b = normal(stretch.design(V), stretch.torque, np.ones(3))
    with pytest.raises(BadValue, match=r"not finite"):
        solve(N, np.where(np.arange(len(b)) == 3, np.nan, b), prior)
    monkeypatch.setattr("palmar.transfer.torque_fit.STEPS", 1)
    with pytest.raises(BadValue, match=r"does not settle"):
        solve(N, b + 1e5, prior)
