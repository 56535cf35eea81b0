"""Logs as values and as files: what is wrong with one is said by value, with the next step; what can be mended is."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from simulated_arm import other, recorded, small_arm
from synthetic import episode

from palmar.data.writer import DatasetWriter
from palmar.errors import BadFile, BadValue
from palmar.robots.arm7 import arm7
from palmar.transfer.log_files import log_of_columns, read_log
from palmar.transfer.torque_log import TorqueLog, check_log, sampled

ARM = small_arm()
NAMES = [f"{q}{i}" for q in ("q", "dq", "tau") for i in (1, 2, 3)]


@pytest.fixture(scope="module")
def log():
    return recorded(ARM, ARM.inertia, 0, seconds=4.0)


def columns(log):
    return dict(zip(NAMES, np.hstack([log.q, log.dq, log.torque]).T, strict=True))


def checked(log, cutoff=8.0):
    return sampled(check_log(log, ARM, cutoff), cutoff, 0.06)


def without(log, start, stop):
    keep = (log.time < start) | (log.time > stop)
    return TorqueLog(log.time[keep], log.q[keep], log.torque[keep], log.joints, log.dq[keep], log.source)


def repeated(log, share):
    time = log.time.copy()
    again = np.arange(1, len(time), round(1 / share))
    time[again] = time[again - 1]
    return replace(log, time=time)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda g: replace(g, q=np.rad2deg(g.q), dq=np.rad2deg(g.dq)),
            r"allows -2\.5 … 2\.5 rad\. Next: --units deg: as degrees",
        ),
        (
            lambda g: replace(g, units="deg", q=np.deg2rad(g.q), dq=np.deg2rad(g.dq)),
            r"as radians they fit the limits of .*expected degrees\. Next: --units rad",
        ),
        (lambda g: replace(g, dq=np.rad2deg(g.dq)), r"velocity of a is 57\.3 times the change .*degrees a second\?"),
        (lambda g: replace(g, q=g.q + 4.0), r"Next: the robot of the log, and its columns in the order of its joints"),
        (lambda g: replace(g, dq=g.dq[:, ::-1]), r"the velocity of a is .* correlation"),
        (lambda g: replace(g, time=g.time[::-1]), r"time runs backwards from 4 to 3\.995 s in row 1"),
        (lambda g: repeated(g, 0.2), r"rows repeat the time of the row before; expected at most 5%"),
        (lambda g: without(g, 1.0, 1.5), r"gap of 0\.\d+ s at .* Next: a stretch without it, such as 0:"),
        (lambda g: replace(g, joints=("a", "b", "d")), r"is of joints a, b, d; small has a, b, c"),
        (
            lambda g: replace(g, time=10 * g.time, dq=g.dq / 10),
            r"has 20 samples a second; expected 40 or more .* Next: --cutoff 4",
        ),
    ],
    ids=[
        "degrees",
        "radians",
        "degrees a second",
        "other robot",
        "order",
        "backwards",
        "repeated",
        "gap",
        "joints",
        "rate",
    ],
)
def test_a_log_of_something_else_is_refused(log, change, message):
    with pytest.raises(BadValue, match=message):
        checked(change(log))


def test_numbers_that_are_none_are_placed(log):
    q = log.q.copy()
    q[7, 1] = np.nan
    with pytest.raises(BadValue, match=r"'made': q of b is nan in row 7 \(1 such values\)"):
        replace(log, q=q)
    with pytest.raises(BadValue, match=r"the time in row 3 is inf"):
        replace(log, time=np.where(np.arange(len(log.time)) == 3, np.inf, log.time))
    with pytest.raises(BadValue, match=r"torque is \[801, 2\] with \[801\] times and 3 joints"):
        replace(log, torque=log.torque[:, :2])


def test_what_can_be_mended_is_and_is_told(log):
    mended = check_log(repeated(log, 0.02), ARM, 8.0)
    assert len(mended.time) < len(log.time) and "rows that repeat a time are left out" in mended.notes[0]
    ragged = without(log, 1.0, 1.04)  # a gap shorter than the filter sees
    assert len(checked(ragged)) == len(checked(log))
    turned = replace(log, joints=("c", "b", "a"), q=log.q[:, ::-1], dq=log.dq[:, ::-1], torque=log.torque[:, ::-1])
    np.testing.assert_array_equal(check_log(turned, ARM, 8.0).q, log.q)


def test_a_stretch_is_looked_at_from_no_farther_than_a_gap(log):
    end = log.time[-1]
    for start, stop, low, high in ((1.5, 2.5, 0.5, 3.5), (0.5, 2.5, 0.0, 3.5), (1.5, end, 0.5, end)):
        seen = log.around(start, stop, 1.0, 0.06).time
        assert (seen[0], seen[-1]) == pytest.approx((low, high), abs=0.011)
    for begin, back, low, high in (
        (0.2, 1.5, 1.5, 3.5),
        (0.8, 1.0, 1.0, 3.5),
        (2.5, 3.9, 0.5, 2.5),
        (2.7, 2.9, 0.5, 2.7),
    ):
        seen = without(log, begin, back).around(1.5, 2.5, 1.0, 0.06).time
        assert (seen[0], seen[-1]) == pytest.approx((low, high), abs=0.011)


def test_velocities_and_accelerations_are_those_of_the_motion(log):
    plain = checked(replace(log, dq=None))
    given = checked(log)
    assert np.abs(plain.dq - given.dq)[40:-40].max() < 0.02 and np.abs(plain.ddq - given.ddq)[40:-40].max() < 0.5


def test_an_uneven_log_is_sampled_evenly(log):
    rng = np.random.default_rng(0)
    keep = np.sort(rng.choice(len(log.time), 700, replace=False))
    uneven = TorqueLog(log.time[keep], log.q[keep], log.torque[keep], log.joints, log.dq[keep])
    even = checked(uneven)
    assert np.ptp(np.diff(even.time)) < 1e-9
    at = np.interp(even.time, log.time, log.q[:, 0])
    assert np.abs(even.q[:, 0] - at).max() < 0.01


@pytest.mark.parametrize("kind", ["parquet", "csv", "zero", "named", "effort"])
def test_tables(log, tmp_path, kind):
    named = {
        "zero": [f"{q}_{i}" for q in ("position", "velocity", "effort") for i in (0, 1, 2)],
        "named": [f"{j}.{q}" for q in ("pos", "vel", "torque") for j in "abc"],
        "effort": [f"{q}/{j}" for q in ("joint_position", "joint_velocity", "joint_effort") for j in "abc"],
    }.get(kind, NAMES)
    table = {"timestamp" if kind == "named" else "time": log.time} | dict(
        zip(named, columns(log).values(), strict=True)
    )
    if kind in ("csv", "named"):
        file = tmp_path / "log.csv"
        rows = ["{}".format(",".join(map(repr, map(float, row)))) for row in zip(*table.values(), strict=True)]
        file.write_text("\n".join([",".join(table), *rows]))
    else:
        pq.write_table(pa.table(table), file := tmp_path / "log.parquet")
    read = read_log(file, ARM.joints)
    np.testing.assert_allclose(read.q, log.q)
    np.testing.assert_allclose(read.dq, log.dq)
    np.testing.assert_allclose(read.torque, log.torque)
    np.testing.assert_allclose(read_log(file, ARM.joints, "deg").q, np.deg2rad(log.q))


def test_columns_that_do_not_fit_are_named(log, tmp_path):
    table = columns(log)
    lacking = {n: v for n, v in table.items() if n != "tau2"}
    with pytest.raises(BadValue, match=r"no column for torque of b; it has q1, .* Next: name columns q1, dq1, tau1"):
        log_of_columns(log.time, lacking, ARM.joints, "x")
    with pytest.raises(BadValue, match=r"columns of more joints \(q4\) than a, b, c"):
        log_of_columns(log.time, table | {"q4": log.q[:, 0]}, ARM.joints, "x")
    with pytest.raises(BadValue, match=r"'effort_2' is a second torque of b"):
        log_of_columns(log.time, table | {"effort_2": log.q[:, 0]}, ARM.joints, "x")
    some = {n: v for n, v in table.items() if n != "dq3"}
    with pytest.raises(BadValue, match=r"velocities of 2 of 3 joints"):
        log_of_columns(log.time, some, ARM.joints, "x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q1,q2\n1,2\n3,4\n", r"has no time column"),
        ("time,t,q1\n1,2,3\n3,4,5\n", r"has the time columns time, t"),
        ("time,q1\n1,2\n", r"has 2 line\(s\); expected"),
        ("time,q1\n1,2\n1\n", r"has 1 values in line 3; expected 2"),
        ("time,q1\n1,2\n1,x\n", r"a value that is no number in line 3"),
    ],
)
def test_tables_that_are_none(text, message, tmp_path):
    (file := tmp_path / "log.csv").write_text(text)
    with pytest.raises((BadFile, BadValue), match=message):
        read_log(file, ARM.joints)


def test_files_that_are_no_logs(tmp_path):
    with pytest.raises(BadFile, match=r"there is no"):
        read_log(tmp_path / "none.csv", ARM.joints)
    (tmp_path / "log.parquet").write_bytes(b"no table")
    with pytest.raises(BadFile, match=r"is no Parquet table"):
        read_log(tmp_path / "log.parquet", ARM.joints)
    (tmp_path / "log.doc").write_text("x")
    with pytest.raises(BadFile, match=r"is no torque log; expected a \.parquet or \.csv table"):
        read_log(tmp_path / "log.doc", ARM.joints)


def test_a_data_set_without_torques_says_so(tmp_path):
    robot = arm7()
    with DatasetWriter(tmp_path / "set", robot, 10.0) as writer:
        writer.add(episode(8))
    with pytest.raises(BadValue, match=r"has no column for torque of joint1"):
        read_log(tmp_path / "set", robot.frame().joints)
    with pytest.raises(BadValue, match=r"episode is 3; expected 0 … 0"):
        read_log(tmp_path / "set", robot.frame().joints, episode=3)


def test_a_data_set_with_torques_is_read(tmp_path):
    from palmar.robot_parts import Measurement
    from palmar.types import Episode, Observation, Step

    plain = arm7()
    joints = plain.frame().joints
    state = [
        Measurement(f"{j}.{q}", u, q, j)
        for q, u in (("position", "rad"), ("velocity", "rad/s"), ("effort", "N·m"))
        for j in joints
    ]
    robot = replace(plain, state=tuple(state), cameras=())
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(12, 21)).astype(np.float32)
    action = np.zeros(len(robot.action_names), np.float32)
    steps = [Step(Observation({}, row, "move", i / 50), action, action) for i, row in enumerate(rows)]
    with DatasetWriter(tmp_path / "set", robot, 50.0) as writer:
        writer.add(Episode("move", "move", 0, "made", steps, True, "done", 12 / 50, {}))
    log = read_log(tmp_path / "set", joints)
    np.testing.assert_allclose(np.hstack([log.q, log.dq, log.torque]), rows)
    np.testing.assert_allclose(log.time, np.arange(12) / 50, atol=1e-6)


def test_a_bag_with_efforts_is_read(log, tmp_path):
    pytest.importorskip("rosbags")
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    kind = "sensor_msgs/msg/JointState"
    stamp, header, message = (store.types[n] for n in ("builtin_interfaces/msg/Time", "std_msgs/msg/Header", kind))
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        link = writer.add_connection("/joint_states", kind, typestore=store)
        for t, q, dq, torque in zip(log.time[:60], log.q, log.dq, log.torque, strict=False):
            now = 10**18 + round(t * 1e9)
            made = message(
                header=header(stamp=stamp(sec=now // 10**9, nanosec=now % 10**9), frame_id=""), name=["c", "a", "b", "finger"],
                position=np.array([q[2], q[0], q[1], 0.0]), velocity=np.array([dq[2], dq[0], dq[1], 0.0]),
                effort=np.array([torque[2], torque[0], torque[1], 0.0]),
            )  # fmt: skip
            writer.write(link, now, store.serialize_cdr(made, kind))
    read = read_log(tmp_path / "bag", ARM.joints)
    np.testing.assert_allclose(read.q, log.q[:60])
    np.testing.assert_allclose(read.torque, log.torque[:60])
    np.testing.assert_allclose(read.time, log.time[:60], atol=1e-5)
    with pytest.raises(BadFile, match=r"has 0 messages on /joint_states with x, y, z"):
        read_log(tmp_path / "bag", ("x", "y", "z"))


def test_a_limit_that_nobody_states_refuses_nothing(log):
    free = other(ARM, torque=np.full(3, np.inf), lower=np.full(3, -np.inf), upper=np.full(3, np.inf))
    assert check_log(replace(log, torque=100 * log.torque), free, 8.0).joints == ARM.joints
