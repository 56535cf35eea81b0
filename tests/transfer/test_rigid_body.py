"""The regressor is MuJoCo's inverse dynamics; base parameters are what it depends on; described links become joints' parameters."""

from dataclasses import replace

import mujoco
import numpy as np
import pytest
from simulated_arm import URDF, small_arm

from palmar.description.write import write_robot
from palmar.errors import BadValue
from palmar.robots.arm7 import arm7, mechanics
from palmar.transfer.inertia import (
    believable,
    body_of,
    consistent,
    divergence,
    link_parameters,
    moved,
    parameters_of,
    pseudo_inertia,
)
from palmar.transfer.rigid_body import base_parameters, regressor, structural_base
from palmar.transfer.serial_arm import serial_arm
from palmar.transfer.smoothing import derivative, lowpass


def compiled(chain, inertia, slides):
    """MuJoCo's model of a chain of joints that carry these bodies."""
    spec = mujoco.MjSpec()
    spec.option.gravity = [0, 0, -9.81]
    parent = spec.worldbody
    for j, row in enumerate(inertia):
        mass, com, moments = body_of(row)
        parent = parent.add_body(pos=chain.offsets[j], quat=chain.quats[j])
        parent.add_joint(type=mujoco.mjtJoint.mjJNT_SLIDE if slides[j] else mujoco.mjtJoint.mjJNT_HINGE, axis=[0, 0, 1])
        parent.mass, parent.ipos, parent.fullinertia, parent.explicitinertial = mass, com, moments, True
    return spec.compile()


def inverse(model, q, dq, ddq):
    data, out = mujoco.MjData(model), []
    for row in zip(q, dq, ddq, strict=True):
        data.qpos[:], data.qvel[:], data.qacc[:] = row
        mujoco.mj_inverse(model, data)
        out.append(data.qfrc_inverse.copy())
    return np.array(out)


@pytest.mark.parametrize("without_tool", [False, True])
def test_regressor_is_mujocos_inverse_dynamics_of_arm7(without_tool):
    arm = serial_arm("arm7", without_tool=without_tool)
    rng = np.random.default_rng(0)
    q, dq, ddq = (rng.normal(0, s, (40, 7)) for s in (1.0, 1.5, 4.0))
    model = compiled(arm.chain, arm.inertia, [False] * 7)
    ours = regressor(arm.chain, q, dq, ddq).reshape(40, 7, 70) @ arm.inertia.ravel()
    np.testing.assert_allclose(ours, inverse(model, q, dq, ddq), atol=1e-8)


@pytest.mark.parametrize(
    "slides", [(True, False, False), (False, True, False), (False, False, True), (True, True, True)]
)
def test_joints_that_slide(slides):
    arm = small_arm(slides)
    rng = np.random.default_rng(1)
    q, dq, ddq = (rng.normal(0, s, (20, 3)) for s in (0.5, 1.0, 3.0))
    ours = regressor(arm.chain, q, dq, ddq).reshape(20, 3, 30) @ arm.inertia.ravel()
    np.testing.assert_allclose(ours, inverse(compiled(arm.chain, arm.inertia, slides), q, dq, ddq), atol=1e-8)


def test_the_arm_has_43_base_parameters_and_they_are_all_that_counts():
    arm = serial_arm("arm7", without_tool=True)
    base = structural_base(arm.chain)
    assert len(base.columns) == 43  # Gaz et al. 2019 count as many for a Panda
    rng = np.random.default_rng(2)
    q, dq, ddq = (rng.normal(0, s, (10, 7)) for s in (1.0, 1.5, 4.0))
    Y = regressor(arm.chain, q, dq, ddq).reshape(70, 70)
    np.testing.assert_allclose(
        Y[:, base.columns] @ base.values(arm.inertia.ravel()), Y @ arm.inertia.ravel(), atol=1e-7
    )
    np.testing.assert_allclose(base.matrix @ arm.inertia.ravel(), base.values(arm.inertia.ravel()), atol=1e-12)
    assert base.formula(0, [f"p{k}" for k in range(70)]).startswith(
        "p6"
    )  # the first link shows in its inertia about z alone


def test_a_motion_of_few_samples_tells_fewer():
    arm = serial_arm("arm7")
    Y = regressor(arm.chain, np.zeros((3, 7)), np.zeros((3, 7)), np.zeros((3, 7))).reshape(21, 70)
    assert len(base_parameters(Y).columns) < 10


def test_the_tool_is_part_of_the_last_joint_unless_it_is_left_out():
    with_tool, without = serial_arm("arm7"), serial_arm("arm7", without_tool=True)
    np.testing.assert_allclose(with_tool.inertia[:6], without.inertia[:6])
    hand = sum(link.mass for link in mechanics().links if link.tool)
    assert with_tool.inertia[6, 0] - without.inertia[6, 0] == pytest.approx(hand)


def test_inertias_of_a_urdf_are_read_in_the_joints_frames(tmp_path):
    (file := tmp_path / "two.urdf").write_text(URDF)
    arm = serial_arm(file, frame="flange")
    assert arm.stated and arm.joints == ("j1", "j2") and list(arm.torque) == [50, 20]
    model = mujoco.MjModel.from_xml_string(URDF)
    model.opt.gravity[:] = [0, 0, -9.81]
    rng = np.random.default_rng(3)
    q, dq, ddq = (rng.uniform(-s, s, (10, 2)) for s in (1.5, 2.0, 5.0))
    ours = regressor(arm.chain, q, dq, ddq).reshape(10, 2, 20) @ arm.inertia.ravel()
    np.testing.assert_allclose(ours, inverse(model, q, dq, ddq), atol=1e-6)
    with pytest.raises(BadValue, match=r"does not say which of its bodies are the tool"):
        serial_arm(file, frame="flange", without_tool=True)


def test_pseudo_inertia_and_its_parameters():
    row = link_parameters(2.0, (0.1, -0.2, 0.3), (0.02, 0.03, 0.04, 0.001, 0.002, -0.003))
    np.testing.assert_allclose(parameters_of(pseudo_inertia(row)), row)
    mass, com, inertia = body_of(row)
    np.testing.assert_allclose(
        [mass, *com, *inertia], [2, 0.1, -0.2, 0.3, 0.02, 0.03, 0.04, 0.001, 0.002, -0.003], atol=1e-12
    )
    turned = moved(row, np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]), np.array([1.0, 0, 0]))
    np.testing.assert_allclose(turned[:4], [2.0, 2 * (0.2 + 1), 2 * 0.1, 2 * 0.3])
    assert consistent(row) and not consistent(
        link_parameters(1.0, (0, 0, 0), (0.1, 0.01, 0.01))
    )  # breaks the triangle rule
    assert consistent(believable(np.array([link_parameters(1.0, (0.1, 0, 0), (0.1, 0.01, 0.09))]))).all()


def test_divergence_is_least_at_the_description_and_its_derivatives_are_right():
    prior = small_arm().inertia[1]
    value, slope, bend = divergence(prior, prior)
    assert abs(value) < 1e-9 and np.abs(slope * prior).max() < 1e-8 and np.linalg.eigvalsh(bend).min() > 0
    point = 1.3 * prior
    _, slope, bend = divergence(point, prior)
    for k in range(10):
        step = np.zeros(10)
        step[k] = 1e-6
        up, down = divergence(point + step, prior), divergence(point - step, prior)
        assert slope[k] == pytest.approx((up[0] - down[0]) / 2e-6, rel=1e-4, abs=1e-4)
        np.testing.assert_allclose(bend[k], (up[1] - down[1]) / 2e-6, rtol=1e-3, atol=1e-2)
    assert divergence(-prior, prior)[0] == np.inf


def test_lowpass_keeps_slow_signals_to_their_ends_and_removes_fast_ones():
    t = np.arange(0, 3, 0.002)
    slow, fast = np.sin(2 * np.pi * 0.4 * t) + 5 + t, np.sin(2 * np.pi * 60 * t)
    out = lowpass(np.stack([slow + fast, slow], 1), 8.0, 0.002)
    error = np.abs(out - slow[:, None])
    assert error[:, 1].max() < 0.01 and error.max() < 0.12 and error[60:-60].max() < 0.01
    assert np.abs(derivative(lowpass(slow, 8.0, 0.002), 0.002) - derivative(slow, 0.002)).max() < 0.1


def test_a_robot_file_states_no_inertias_and_they_are_guessed(tmp_path):
    write_robot(replace(arm7(), name="mine"), file := tmp_path / "arm.toml")
    arm = serial_arm(file)
    assert not arm.stated and consistent(arm.inertia).all() and "guessed from the lengths" in arm.notes[0]
    np.testing.assert_allclose(arm.torque, (87, 87, 87, 87, 12, 12, 12))
    write_robot(arm7(), named := tmp_path / "same.toml")
    assert serial_arm(named).stated  # palmar's own robot, by name and lengths
