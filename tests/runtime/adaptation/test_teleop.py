"""A person at a keyboard: what keys do, what stays, and a terminal that says only what is pressed."""

import os
import pty
from dataclasses import replace

import numpy as np
import pytest

from palmar.embodiments import DELTA
from palmar.errors import BadValue
from palmar.robot_parts import Channel
from palmar.robots.arm7 import arm7
from palmar.robots.bimanual14 import bimanual14
from palmar.robots.mobile3 import mobile3
from palmar.runtime.adaptation.intervening import ByHand, Intervening
from palmar.runtime.adaptation.teleop import GIVE, GRIP, TAKE, Keyboard, Teleop, bindings
from palmar.runtime.loop import Tick
from palmar.runtime.mock import MockBody
from palmar.shapes import Collision
from palmar.types import ActionChunk, Verdict

ROBOT = arm7()


class Fingers:
    """Keys that a test holds down."""

    def __init__(self, *held: str) -> None:
        self.down, self.new = set(held), set(held)

    def held(self, key: str) -> bool:
        return key in self.down

    def pressed(self, key: str) -> bool:
        new = key in self.new
        self.new.discard(key)
        return new

    typed = pressed


def acted(robot, *keys: str) -> np.ndarray:
    return Teleop(robot, Fingers(*keys)).act(MockBody(robot).observe()).actions


def test_keys_move_the_hand_and_nothing_else_moves() -> None:
    rest, ahead, both = acted(ROBOT), acted(ROBOT, "w"), acted(ROBOT, "a", "f")
    assert not rest[:, :6].any() and rest.shape == (2, 7)
    assert ahead[0, :3] == pytest.approx([0.01, 0, 0]) and both[0, :3] == pytest.approx([0, 0.01, -0.01])
    assert acted(ROBOT, "w", "s")[0, 0] == 0 and acted(ROBOT, "u")[0, 5] == pytest.approx(0.06)
    assert acted(ROBOT, "w")[0, 6] == rest[0, 6]


def test_a_base_is_driven_and_two_hands_have_one_that_moves() -> None:
    robot = mobile3()
    assert acted(robot, "w").any() and not acted(robot).any()
    robot = bimanual14().with_action_space("ee_delta")
    moved = np.flatnonzero(acted(robot, "w")[0] - acted(robot)[0])
    assert [robot.action_names[i].split(".")[-1] for i in moved] == [DELTA[0]]


def test_the_gripper_stays_as_the_policy_had_it_until_a_key_turns_it() -> None:
    keys = Fingers()
    person = Teleop(ROBOT, keys)
    person.take_over(np.append(ROBOT.home[:7], 0.1))
    obs = MockBody(ROBOT).observe()
    assert person.act(obs).actions[0, 6] == pytest.approx(0.1)
    keys.new.add(GRIP)
    opened = person.act(obs).actions[0, 6]
    assert opened == ROBOT.channels[-1].upper == person.act(obs).actions[0, 6]


def test_a_key_that_was_pressed_while_the_policy_drove_does_not_open_the_hand() -> None:
    keys = Fingers()
    driven = Intervening(Still(), Teleop(ROBOT, keys), ByHand(lambda: keys.typed(TAKE), lambda: keys.typed(GIVE)))
    driven.reset()
    obs = MockBody(ROBOT).observe()
    driven.act(obs)
    keys.new |= {GRIP, TAKE}
    mine = driven.act(replace(obs, time=obs.time + 0.1))
    assert mine.intervention and mine.actions[0, 6] == 0.0
    keys.new.add(GRIP)
    assert driven.act(replace(obs, time=obs.time + 0.2)).actions[0, 6] == ROBOT.channels[-1].upper


class Lowering:
    """A policy of a base with a mast, that lowers the mast and then answers no number."""

    def __init__(self, robot) -> None:
        self.interface, self.good = robot.interface(8), True

    def reset(self) -> None:
        """Nothing to forget."""

    def act(self, obs, prefix=None) -> ActionChunk:
        actions = np.zeros((8, 4), np.float32)
        actions[:, 3] = np.linspace(0.4, 0.33, 8) if self.good else np.nan
        return ActionChunk(actions, 0.1, obs.time)


def test_who_takes_over_moves_nothing_that_no_key_is_for() -> None:
    mast = Channel("mast", "prismatic", "m", 0.0, 1.0, 0.2, 1.0, home=0.9)
    base = replace(mobile3(), channels=(*mobile3().channels, mast), state=(), collision=Collision())
    state = base.state_from(np.array([0.0, 0.0, 0.0, 0.5]), np.zeros(4))
    obs = replace(MockBody(mobile3()).observe(), state=state.astype(np.float32))
    assert Teleop(base, Fingers()).act(obs).actions[0, 3] == pytest.approx(0.5)  # where it is, and not home
    keys = Fingers()
    policy, taken = Lowering(base), [False, True, False]
    driven = Intervening(policy, Teleop(base, keys), ByHand(lambda: taken.pop(0), lambda: False))
    driven.act(obs)
    policy.good = False
    command = np.array([0.0, 0.0, 0.0, 0.37])
    driven.on_tick(Tick(20, 0.4, obs, command, Verdict(command)))
    mine = driven.act(replace(obs, time=obs.time + 0.4))
    assert mine.intervention and mine.actions[0, 3] == pytest.approx(
        0.37
    )  # what was commanded last, whatever was asked for
    assert driven.act(replace(obs, time=obs.time + 0.5)).actions[0, 3] == pytest.approx(0.37)


def test_a_robot_without_keys_is_refused() -> None:
    with pytest.raises(BadValue, match="no keys for arm7"):
        bindings(ROBOT.with_action_space("channels"))


class Still:
    interface = ROBOT.interface(8)

    def reset(self) -> None:
        """Nothing to forget."""

    def act(self, obs, prefix=None) -> ActionChunk:
        return ActionChunk(np.zeros((8, 7), np.float32), 0.1, obs.time)


def test_tab_takes_over_and_b_gives_back() -> None:
    keys = Fingers("w")
    policy = Intervening(Still(), Teleop(ROBOT, keys), ByHand(lambda: keys.typed(TAKE), lambda: keys.typed(GIVE)))
    policy.reset()
    obs, drove = MockBody(ROBOT).observe(), []
    for typed in ("", TAKE, "", TAKE, GIVE, GIVE, GIVE + TAKE, GIVE + TAKE):
        keys.new |= set(typed)
        drove.append(policy.act(obs).intervention)
    assert drove == [False, True, True, True, False, False, True, True]


def test_who_hammers_on_the_key_drives_at_once() -> None:
    """A terminal cannot tell hammering from a key that is held, and neither must keep a person from the robot."""
    main, child = pty.openpty()
    now = [3.0]
    keys = Keyboard(child, lambda: now[0])
    policy = Intervening(Still(), Teleop(ROBOT, keys), ByHand(lambda: keys.typed(TAKE), lambda: keys.typed(GIVE)))
    policy.reset()
    obs = MockBody(ROBOT).observe()
    os.write(main, b"\t")
    assert policy.act(obs).intervention
    os.write(main, b"b")
    assert not policy.act(obs).intervention
    for when in (3.2, 3.5, 3.9):
        now[0] = when
        os.write(main, b"\t")
        assert policy.act(obs).intervention
    keys.close()
    os.close(main)
    os.close(child)


def test_a_terminal_repeats_a_held_key_and_is_put_back() -> None:
    import termios

    main, child = pty.openpty()
    now = [0.0]
    before = termios.tcgetattr(child)
    keys = Keyboard(child, lambda: now[0])
    os.write(main, b"w\t")
    assert keys.held("w") and keys.pressed(TAKE) and not keys.pressed(TAKE)
    now[0] = 0.5  # before it repeats
    assert keys.held("w")
    os.write(main, b"w\t")
    assert keys.held("w") and not keys.pressed(TAKE)  # a key that is held is pressed once
    now[0] = 0.9
    assert not keys.held("w")  # it repeated, and stopped
    os.write(main, b"\t")
    now[0] = 5.0
    assert keys.pressed(TAKE)
    keys.close()
    assert termios.tcgetattr(child)[3] == before[3]
    os.close(main)
    os.close(child)


def test_without_a_terminal_there_are_no_keys(tmp_path) -> None:
    with (tmp_path / "file").open("w") as file, pytest.raises(BadValue, match="terminal"):
        Keyboard(file.fileno())
