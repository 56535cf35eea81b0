import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palmar.kinematics import Chain, matrix_to_quat, matrix_to_rotvec, quat_to_matrix, rotvec_to_matrix
from palmar.robots.arm7 import arm7

ROBOT = arm7()
angles = st.lists(st.floats(-3.0, 3.0), min_size=7, max_size=7).map(np.array)
vectors = st.lists(st.floats(-1.8, 1.8), min_size=3, max_size=3).map(np.array)
quats = st.lists(st.floats(-1, 1), min_size=4, max_size=4).map(np.array).filter(lambda q: np.linalg.norm(q) > 0.1)


@given(quats)
def test_quaternion_to_matrix_and_back(q):
    R = quat_to_matrix(q)
    assert np.allclose(R @ R.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(R) == pytest.approx(1.0)
    back = matrix_to_quat(R)
    unit = q / np.linalg.norm(q)
    assert back[0] >= 0
    assert min(np.abs(back - unit).max(), np.abs(back + unit).max()) < 1e-7


@given(vectors)
def test_rotation_vector_to_matrix_and_back(v):
    R = rotvec_to_matrix(v)
    assert np.allclose(R @ R.T, np.eye(3), atol=1e-9)
    assert np.allclose(rotvec_to_matrix(matrix_to_rotvec(R)), R, atol=1e-7)
    if 1e-9 < np.linalg.norm(v) < np.pi - 1e-3:
        assert np.allclose(matrix_to_rotvec(R), v, atol=1e-6)


def test_half_turns_and_no_turn():
    assert np.array_equal(matrix_to_rotvec(np.eye(3)), np.zeros(3))
    for axis in np.eye(3):
        assert np.allclose(np.abs(matrix_to_rotvec(rotvec_to_matrix(np.pi * axis))), np.pi * axis, atol=1e-7)


def test_the_order_is_wxyz():
    assert np.allclose(quat_to_matrix(np.array([np.sqrt(0.5), 0, 0, np.sqrt(0.5)])) @ [1, 0, 0], [0, 1, 0])
    assert np.allclose(rotvec_to_matrix(np.array([0, 0, np.pi / 2])) @ [1, 0, 0], [0, 1, 0])


def test_home_is_where_the_documented_lengths_put_it():
    """All angles 0: a Panda stretched up, 0.333 + 0.316 + 0.384 high, the hand hanging from the 88 mm flange offset."""
    position, rotation = ROBOT.frame().chain.forward(np.zeros(7))
    assert position == pytest.approx([0.088, 0.0, 0.333 + 0.316 + 0.384 - 0.107 - 0.1034])
    assert rotation[:, 2] == pytest.approx([0, 0, -1])
    position, rotation = ROBOT.frame().chain.forward(ROBOT.home[:7])
    assert rotation == pytest.approx(np.diag([1.0, -1.0, -1.0]), abs=1e-9)
    assert np.all((ROBOT.frame().workspace[0] < position) & (position < ROBOT.frame().workspace[1]))


@settings(max_examples=40)
@given(angles)
def test_the_jacobian_is_the_derivative(q):
    position, _, J = ROBOT.frame().chain.jacobian(q)
    assert np.allclose(position, ROBOT.frame().chain.forward(q)[0])
    h = 1e-6
    for i in range(7):
        e = np.zeros(7)
        e[i] = h
        (ahead, Ra), (behind, Rb) = ROBOT.frame().chain.forward(q + e), ROBOT.frame().chain.forward(q - e)
        assert np.allclose((ahead - behind) / (2 * h), J[:3, i], atol=1e-6)
        assert np.allclose(matrix_to_rotvec(Ra @ Rb.T) / (2 * h), J[3:, i], atol=1e-5)


@settings(max_examples=20)
@given(angles)
def test_batches_equal_single_calls(q):
    batch = np.stack([[q, -q], [q / 2, q * 0]])
    positions, rotations = ROBOT.frame().chain.forward(batch)
    assert positions.shape == (2, 2, 3)
    assert np.allclose(positions[0, 1], ROBOT.frame().chain.forward(-q)[0])
    assert np.allclose(rotations[1, 0], ROBOT.frame().chain.forward(q / 2)[1])


@settings(max_examples=25, deadline=None)
@given(st.floats(0.33, 0.62), st.floats(-0.3, 0.3), st.floats(0.02, 0.45), st.floats(-0.7, 0.7))
def test_solve_reaches_the_table(x, y, z, turn):
    goal = rotvec_to_matrix(np.array([0, 0, turn])) @ np.diag([1.0, -1.0, -1.0])
    q = ROBOT.frame().chain.solve(ROBOT.home[:7], np.array([x, y, z]), goal, ROBOT.home[:7], iterations=100)
    assert np.linalg.norm(ROBOT.frame().chain.forward(q)[0] - [x, y, z]) < 1e-3


def test_a_chain_stated_in_one_orientation_turns_about_its_axes():
    """Two links of 1 m along x; a joint about z, then one about y that lifts the last link."""
    chain = Chain.aligned(
        [np.zeros(3), np.array([1.0, 0, 0])], [np.array([0, 0, -1.0]), np.array([0, -1.0, 0])], np.array([1.0, 0, 0]), np.eye(3)
    )  # fmt: skip
    position, rotation = chain.forward(np.zeros(2))
    assert position == pytest.approx([2, 0, 0], abs=1e-12)
    assert rotation == pytest.approx(np.eye(3), abs=1e-12)
    assert chain.forward(np.array([0.0, np.pi / 2]))[0] == pytest.approx([1, 0, 1], abs=1e-12)
    assert chain.forward(np.array([np.pi / 2, 0.0]))[0] == pytest.approx([0, -2, 0], abs=1e-12)
