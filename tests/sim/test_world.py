"""The simulated table: equal seeds give equal bits, geometry agrees with the kinematics, and every parameter arrives."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from palmar.errors import BadValue
from palmar.kinematics import matrix_to_rotvec
from palmar.robots import robot
from palmar.robots.arm7 import arm7
from palmar.runtime.chunks import ChunkBuffer
from palmar.runtime.loop import Subscriber, rollout
from palmar.runtime.worker import Inline
from palmar.sim import camera, lens, tasks
from palmar.sim.experts import Expert
from palmar.sim.params import NOMINAL, SPACE, Randomization
from palmar.sim.scenario import Scenario
from palmar.sim.scenes import mujoco
from palmar.sim.things import COLOURS, SHAPES, Item
from palmar.sim.world import World

ROBOT = arm7()
SCENE = tasks.sample("place", "seen", 5)


@pytest.fixture(scope="module")
def world():
    w = World()
    yield w
    w.close()


def sway(world, ticks, look_every=5):
    """Observations while the arm sways about where it starts."""
    start, seen = np.append(world.data.ctrl[:7], 1.0), []
    for k in range(ticks):
        world.apply(start + 0.15 * np.sin(0.15 * k) * np.array([1, 1, 1, 1, 1, 1, 1, 0]))
        if k % look_every == look_every - 1:
            seen.append(world.observe())
    return seen


def same(a, b):
    return np.array_equal(a.state, b.state) and a.time == b.time and all(
        np.array_equal(a.images[c], b.images[c]) for c in ("front", "wrist")
    )  # fmt: skip


def test_equal_scenario_parameters_and_seed_give_equal_bits(world):
    strong = Randomization().sample(np.random.default_rng(0)).replace(image_latency=2, action_delay=1)
    first, one = world.load(SCENE, strong, 9), sway(world, 40)
    world.load(tasks.sample("push", "seen", 1))  # in between, another table
    other = World()
    again, two = other.load(SCENE, strong, 9), sway(other, 40)
    assert same(first, again)
    assert all(same(a, b) for a, b in zip(one, two, strict=True))
    assert np.array_equal(first.privileged, again.privileged)
    assert same(other.reset(9), again)
    assert all(same(a, b) for a, b in zip(one, sway(other, 40), strict=True))
    assert not np.array_equal(other.load(SCENE, strong, 10).state, again.state)
    other.close()


def test_a_seed_moves_the_arm_and_not_the_table(world):
    world.load(SCENE, seed=1)
    arm, things = world.tcp, [world.item(i) for i in range(len(SCENE.items))]
    world.reset(2)
    assert np.linalg.norm(world.tcp - arm) > 0.01
    assert all(np.allclose(world.item(i), p, atol=1e-6) for i, p in enumerate(things))


def test_the_kinematics_are_the_simulator_s(world):
    world.load(SCENE)
    rng, site = np.random.default_rng(3), world.model.site("tcp").id
    for _ in range(20):
        q = rng.uniform(ROBOT.lower[:7], ROBOT.upper[:7])
        world.data.qpos[:7] = q
        mujoco.mj_kinematics(world.model, world.data)
        position, rotation = ROBOT.frame().chain.forward(q)
        assert np.abs(position - world.tcp).max() < 1e-6
        assert np.linalg.norm(matrix_to_rotvec(rotation @ world.data.site_xmat[site].reshape(3, 3).T)) < 1e-6
    world.reset()


def test_the_state_is_named_and_measured(world):
    state = dict(zip(ROBOT.state_names, world.load(SCENE).state, strict=True))
    assert [state[f"joint{i}.pos"] for i in range(1, 8)] == pytest.approx(world.data.qpos[:7], abs=1e-6)
    assert [state[f"tcp.{x}"] for x in "xyz"] == pytest.approx(world.tcp, abs=1e-5)
    assert state["gripper.pos"] == pytest.approx(1.0, abs=0.01)
    target, goal = world.privileged()[:3], world.privileged()[3:6]
    assert target == pytest.approx(world.item(SCENE.target), abs=1e-6)
    assert goal == pytest.approx(tasks.task(SCENE.task).goal(world), abs=1e-6)
    assert len(world.privileged()) == len(world.truth_names)


@pytest.mark.parametrize("name", ["front", "wrist"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_projected_centre_is_where_the_picture_shows_it(world, name, shape):
    lens = next(c for c in ROBOT.cameras if c.name == name)
    checked, params = 0, NOMINAL.replace(camera_x=0.015, camera_pitch=-2.0, fov=66.0)
    for colour, (x, y) in zip(COLOURS, ((0.43, -0.05), (0.47, 0.12), (0.55, 0.03)), strict=False):
        world.load(Scenario("pick", "", (Item(shape, colour, x, y, 0.2),), 0), params, seed=4)
        with_it, point = world.photograph(lens).astype(int), world.item(0)
        u, v, depth = camera.project(world.data, world.model, lens, point)
        seen = dict(zip(world.truth_names, world.privileged(), strict=True))
        assert (seen[f"{name}.target.u"], seen[f"{name}.target.v"]) == pytest.approx(
            (np.clip(u, 0, 1), np.clip(v, 0, 1))
        )
        world.data.qpos[world.model.joint("item0").qposadr[0] + 2] = -3.0  # under the floor
        mujoco.mj_forward(world.model, world.data)
        blob = np.abs(world.photograph(lens).astype(int) - with_it).sum(axis=2) > 12
        rows, columns = np.nonzero(blob)
        whole = len(rows) and min(rows.min(), columns.min()) > 0 and max(rows.max(), columns.max()) < 95
        if not (seen[f"{name}.target.visible"] and whole):
            continue
        checked += 1
        assert 0.05 < depth < 1.0
        assert abs(columns.mean() + 0.5 - 96 * u) < 1.5
        assert abs(rows.mean() + 0.5 - 96 * v) < 1.5
    assert checked == 3 if name == "front" else checked >= 1  # the front camera sees the whole table


def test_what_is_hidden_or_out_of_the_picture_is_not_visible(world):
    world.load(Scenario("place", "", (Item("cube", "red", 0.5, 0.0), Item("plate", "blue", 0.5, 0.15)), 0, 1))

    def visible():
        return dict(zip(world.truth_names, world.privileged(), strict=True))["front.target.visible"]

    assert visible() == 1.0
    at = world.model.joint("item0").qposadr[0]
    for x, y, z in ((0.5, 0.0, -0.3), (0.5, 2.0, 0.1)):  # under the table; far aside
        world.data.qpos[at : at + 3] = x, y, z
        mujoco.mj_forward(world.model, world.data)
        assert visible() == 0.0


def everything(world, params):
    """All that a world is and does under parameters: the model's bytes, what the sensors say, and where things went."""
    world.load(SCENE, params)
    model = np.empty(mujoco.mj_sizeModel(world.model), np.uint8)
    mujoco.mj_saveModel(world.model, None, model)
    seen = sway(world, 5)[-1]
    return (model, seen.state, *seen.images.values(), world.data.qpos.copy(), world.data.ctrl.copy())


BESIDE = {
    "shadow_softness": {"shadow": 0.3}, "table_grain": {"table_pattern": 0.5}, "action_jitter": {"action_delay": 1.0},
}  # fmt: skip
"""What a parameter changes something of."""


def zero_of_a_robot_with_more_joints(name):
    def arrives(world, plain, changed):
        many = World(robot("bimanual14"), images=False)
        scene = tasks.sample("hand_reach", "seen", 1)
        i = int(name.removeprefix("zero_")) - 1
        states = [many.load(scene, p).state for p in (plain, changed)]
        turning = many.embodiment.moves_joint.sum()
        return (i < turning) != np.array_equal(*states)

    return arrives


def depth_is_noisy(world, plain, changed):
    seen = [(world.load(SCENE, p), world.depth(ROBOT.cameras[0]))[1] for p in (plain, changed)]
    return np.std(seen[1] - seen[0]) == pytest.approx(changed["depth_noise"], rel=0.05)


def success_must_hold(world, plain, changed):
    world.load(SCENE, changed)
    world._held = round(0.4 * ROBOT.control_rate)
    return not world.success() and world.success(0.3)


def a_jump_is_slower(world, plain, changed):
    steps = []
    for params in (plain, changed):
        world.load(SCENE, params)
        start = world.data.ctrl[:7].copy()
        world.apply(np.append(start + 0.3, 1.0))
        steps.append(world.data.ctrl[:7] - start)
    speed = np.array([c.velocity for c in ROBOT.channels[:7]]) / ROBOT.control_rate
    return steps[0] == pytest.approx(0.3) and steps[1] == pytest.approx(changed["rate_limit"] * speed)


def pictures_are_lost(world, plain, changed):
    seen = [(world.load(SCENE, p, 1), sway(world, 25, look_every=1))[1] for p in (plain, changed)]
    return any((a.images["wrist"] != b.images["wrist"]).any() for a, b in zip(*seen, strict=True))


AFTERWARDS = {
    "rate_limit": a_jump_is_slower, "frame_drop": pictures_are_lost,
    **{f"zero_{i}": zero_of_a_robot_with_more_joints(f"zero_{i}") for i in range(8, 15)},
    "depth_noise": depth_is_noisy, "hold": success_must_hold,
}  # fmt: skip


@pytest.mark.parametrize("name", SPACE)
def test_every_parameter_arrives(world, name):
    p = SPACE[name]
    moved = p.high if p.high > p.nominal else p.low
    params = NOMINAL.replace(**BESIDE.get(name, {}))
    if name in AFTERWARDS:
        assert AFTERWARDS[name](world, params, params.replace(**{name: moved}))
        return
    plain, changed = everything(world, params), everything(world, params.replace(**{name: moved}))
    assert not all(np.array_equal(a, b) for a, b in zip(plain, changed, strict=True))


def test_pictures_are_late_by_the_image_latency(world):
    def motion(latency):
        world.load(SCENE, NOMINAL.replace(image_latency=latency), 3)
        return sway(world, 8, look_every=1)

    def nearest(picture, pictures):
        return int(np.argmin([np.abs(picture.astype(int) - p.astype(int)).sum() for p in pictures]))

    now = motion(0)
    for latency in (1, 2):
        late = motion(latency)
        assert all(np.array_equal(a.state, b.state) for a, b in zip(now, late, strict=True))
        for name in ("front", "wrist"):
            shown = [nearest(obs.images[name], [o.images[name] for o in now]) for obs in late]
            assert shown[4:] == [k - latency for k in range(4, 8)]


@pytest.mark.parametrize("delay", [0, 1, 3])
def test_commands_are_late_by_the_action_delay(world, delay):
    world.load(SCENE, NOMINAL.replace(action_delay=delay))
    held, sent, done = world.data.ctrl[:7].copy(), [], []
    for k in range(6):
        sent.append(held + 0.01 * (k + 1))
        world.apply(np.append(sent[-1], 1.0))
        done.append(world.data.ctrl[:7].copy())
    assert np.allclose(done, [held] * delay + sent[: 6 - delay])


def test_noise_has_the_size_it_says(world):
    world.load(SCENE, NOMINAL.replace(proprio_noise=0.01, image_noise=0.02, action_noise=0.005))
    q = np.array([world.observe(images=False).state[:7] for _ in range(200)])
    assert np.std(q - world.data.qpos[:7]) == pytest.approx(0.01, rel=0.1)
    grey = np.full((96, 96, 3), 128, np.uint8)
    noisy = lens.develop(grey, world.params, np.random.default_rng(0)).astype(float) / 255
    assert np.std(noisy) == pytest.approx(0.02, rel=0.05)
    held, sent = np.append(world.data.qpos[:7], 1.0), []
    for _ in range(100):
        world.apply(held)
        sent.append(world.data.ctrl[:7] - held[:7])
    assert np.std(sent) == pytest.approx(0.005, rel=0.15)


def test_the_camera_develops_light():
    grey = np.full((4, 4, 3), 100, np.uint8)
    rng = np.random.default_rng(0)
    assert lens.develop(grey, NOMINAL, rng) is grey
    assert lens.develop(grey, NOMINAL.replace(brightness=1.2), rng)[0, 0].tolist() == [120] * 3
    assert lens.develop(grey, NOMINAL.replace(contrast=0.8), rng)[0, 0, 0] == 106  # towards the middle
    assert lens.develop(grey, NOMINAL.replace(hue=0.1), rng)[0, 0].tolist() == [100] * 3  # grey has no hue
    red = np.zeros((2, 2, 3), np.uint8)
    red[..., 0] = 200
    turned = lens.develop(red, NOMINAL.replace(hue=1 / 3), rng)[0, 0]
    assert turned.tolist() == [0, 200, 0]


def test_a_world_is_seen_from_any_thread_whatever_else_is_drawn():
    """As by a policy on a thread of its own: what was last drawn elsewhere does not keep the graphics to itself."""
    first, second = World(), World(quality=True)
    try:
        here = first.load(SCENE).images
        with ThreadPoolExecutor(1) as other:
            there = other.submit(first.observe).result(timeout=20).images
            fine = other.submit(second.load, tasks.sample("place", "seen", 6)).result(timeout=20).images
        again, back = second.observe().images, first.observe().images
        anew = first.load(SCENE).images  # frees what the other thread has drawn with
        for name, picture in here.items():
            for seen in (there, back, anew):
                np.testing.assert_array_equal(seen[name], picture)
            np.testing.assert_array_equal(again[name], fine[name])
            assert (fine[name] != picture).any()
    finally:
        first.close()
        second.close()


def test_a_picture_larger_than_what_can_be_drawn_is_refused(world):
    with pytest.raises(BadValue, match=r"a picture of 481×640 px; expected at most 480×640"):
        camera.Renderer(world.model, 481, 640)


def test_an_empty_room_says_what_to_do():
    with pytest.raises(BadValue, match=r"no scene is laid out yet. Next: world.load"):
        World().reset()


class Watch(Subscriber):
    """Whether the test of the task held and whether it was called success, tick by tick."""

    def __init__(self, world):
        self.world, self.held, self.called = world, [], []

    def on_tick(self, tick):
        self.held.append(tasks.task(self.world.scenario.task).success(self.world))
        self.called.append(self.world.success())


def test_success_is_a_test_that_has_held(world):
    obs = world.load(tasks.sample("reach", "layout", 0))
    assert not world.success()
    watch = Watch(world)
    rollout(
        world, Inline(Expert(world)), obs, chunks=ChunkBuffer(execute=1), subscribers=[watch], timeout=2.0
    )  # fmt: skip
    first = watch.held.index(True)
    assert all(watch.held[first:])
    assert watch.called.index(True) == first + 14  # 0.3 s at 50 Hz
    away = np.append(world.data.qpos[:7], 1.0)
    away[1] -= 0.3
    while tasks.task("reach").success(world):
        world.apply(away)
    assert not world.success()
    assert not world.success(hold=0.02)
    assert world.reset() is not None
    assert not world.success()


def test_people_get_a_larger_picture_and_quality_a_finer_one(world):
    world.load(SCENE)
    assert world.picture("front", 120, 160).shape == (120, 160, 3)
    fine = World(quality=True)
    fine.load(SCENE)
    assert (world.model.vis.quality.shadowsize, world.model.vis.quality.offsamples) == (0, 0)
    assert (fine.model.vis.quality.shadowsize, fine.model.vis.quality.offsamples) == (4096, 4)
    assert np.array_equal(fine.data.qpos, world.data.qpos)  # the physics are the same
    ours, theirs = (w.photograph(ROBOT.cameras[0]).astype(int) for w in (world, fine))
    assert 0.1 < np.abs(ours - theirs).mean() < 25
    fine.close()


def test_boxes_and_turns_are_told_when_asked_for(world):
    items = (
        Item("cube", "red", 0.46, -0.08, 0.2),
        Item("tray", "blue", 0.52, 0.12, -0.3),
        Item("ball", "green", 0.5, 0.0),
    )
    world.load(Scenario("place", "", items, 0, 1))
    plain = world.privileged()
    world.extents = True
    try:
        row = world.privileged()
        truth = dict(zip(world.truth_names, row.tolist(), strict=True))
        assert np.array_equal(row[: len(plain)], plain)
        for who, yaw in (("target", 0.2), ("goal", 0.0)):  # a destination stands straight
            seen = np.arctan2(truth[f"{who}.turn.sin"], truth[f"{who}.turn.cos"]) / 4
            assert seen == pytest.approx(yaw, abs=0.01)
        lens = ROBOT.cameras[0]
        before = world.picture(lens.name, 384, 384).astype(int)
        world.model.geom_rgba[world.model.geom("item0").id] = [0, 0, 0, 1]
        changed = np.argwhere(np.abs(world.picture(lens.name, 384, 384).astype(int) - before).sum(-1) > 20) / 384
        u, v, w, h = (truth[f"front.target.box.{x}"] for x in "uvwh")
        (top, left), (bottom, right) = changed.min(0), changed.max(0)
        assert (
            u - w / 2 - 0.01 < left
            and right < u + w / 2 + 0.01
            and v - h / 2 - 0.01 < top
            and bottom < v + h / 2 + 0.01
        )
        assert w < 1.7 * (right - left) and h < 1.7 * (bottom - top)
        world.load(Scenario("pick", "", items, 2))
        truth = dict(zip(world.truth_names, world.privileged().tolist(), strict=True))
        assert truth["target.turn.cos"] == truth["target.turn.sin"] == 0  # round
        assert all(truth[f"{c}.goal.box.{x}"] == 0 for c in ("front", "wrist") for x in "uvwh")  # there is none
    finally:
        world.extents = False
