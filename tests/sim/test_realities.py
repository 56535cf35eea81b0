"""Realities by grade: inside the ranges, outside them, with effects beside them; and methods meet them as bodies only."""

import ast
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import palmar
from palmar.choices import GRADES
from palmar.errors import BadValue
from palmar.robots import robot, robots
from palmar.runtime.loop import Body
from palmar.sim import effects, reality, tasks
from palmar.sim.cell import Cell
from palmar.sim.params import SPACE
from palmar.sim.world import World

SOURCE = Path(palmar.__file__).parent
SCENE = tasks.sample("pick", "layout", 4)


@settings(max_examples=50)
@given(st.integers(0, 10**15))
def test_near_is_inside_every_range_and_nominal_in_none(seed):
    hidden = reality.near(seed).hidden
    for p in SPACE.values():
        if p.group == "task":
            assert p.name not in hidden.values
            continue
        assert p.low <= hidden[p.name] <= p.high, p.name
        away = hidden[p.name] - p.nominal
        assert abs(away) > 0.3 * (p.high - p.nominal if away > 0 else p.nominal - p.low), p.name
    assert reality.near(seed).effects == ()
    assert hidden == reality.near(seed).hidden != reality.near(seed + 1).hidden


@settings(max_examples=50)
@given(st.integers(0, 10**15))
def test_far_is_outside_the_ranges_of_its_causes_and_near_in_the_rest(seed):
    near, far = reality.near(seed).hidden, reality.far(seed).hidden
    outside = {n for n, p in SPACE.items() if not p.low <= far[n] <= p.high}
    changed = {n for n in SPACE if far[n] != near[n]}
    causes = [c for c in reality.FAR if set(reality.FAR[c]) <= changed]
    assert len(causes) == reality.CAUSES
    assert outside == changed == set().union(*(reality.FAR[c] for c in causes))
    assert reality.far(seed) == reality.far(seed)


@pytest.mark.parametrize("seed", range(8))
def test_other_has_effects_beside_the_parameters(seed):
    made = reality.other(seed)
    assert made.hidden == reality.near(seed).hidden
    names = [e.name for e in made.effects]
    assert len(set(names)) == len(names) == reality.SEVERAL + 2
    assert names != [e.name for e in reality.other(seed + 1).effects]


@pytest.mark.parametrize("kind", reality.FAULTS)
@pytest.mark.parametrize("name", ["arm7", "mobile3"])
def test_every_effect_does_something_and_the_same_for_a_seed(kind, name):
    body = robot(name)
    make, least, most = reality.FAULTS[kind]
    picture = np.random.default_rng(1).integers(0, 255, (96, 96, 3)).astype(np.uint8)
    camera = body.cameras[0]

    def episode(seed, size):
        fault, out = make(body, np.random.default_rng(seed), size), []
        for k in range(150):
            t = k / 50
            command = body.home + 0.02 * np.sin(0.07 * k)
            out.append(fault.command(command, t))
            out.append(fault.measured(command, t))
            assert np.array_equal(out[-1], fault.measured(command, t))  # looking changes nothing
            if k % 5 == 0:
                seen = fault.picture(np.roll(picture, k, 0), camera, t)
                assert (seen.dtype, seen.shape) == (np.uint8, picture.shape)
                assert np.array_equal(seen, fault.picture(np.roll(picture, k, 0), camera, t))
                out.append(seen.astype(float))
        return np.concatenate([x.ravel() for x in out])

    one, again, larger = episode(1, least), episode(1, least), episode(1, most)
    assert np.array_equal(one, again)
    assert np.isfinite(one).all()
    plain = episode_without(body, picture)
    turns = body.moves_joint.any()
    if turns or kind not in ("eccentric gears", "dead band", "drifting encoders"):
        assert not np.array_equal(one, plain)
        assert not np.array_equal(one, larger)


def episode_without(body, picture):
    out = []
    for k in range(150):
        command = body.home + 0.02 * np.sin(0.07 * k)
        out += [command, command]
        if k % 5 == 0:
            out.append(np.roll(picture, k, 0).astype(float).ravel())
    return np.concatenate(out)


def test_worn_pads_and_another_table_change_the_model():
    plain, worn = World(), World(reality=reality.other(0))
    try:
        for w in (plain, worn):
            w.load(SCENE)
        pads = [i for i in range(plain.model.ngeom) if "finger" in plain.model.body(plain.model.geom_bodyid[i]).name]
        assert len(pads) == 2
        assert np.all(worn.model.geom_friction[pads, 0] < 0.5 * plain.model.geom_friction[pads, 0])
        assert np.all(worn.model.geom_priority[pads] == 1)
        assert (worn.model.tex_data != plain.model.tex_data).mean() > 0.2
    finally:
        plain.close()
        worn.close()


@pytest.mark.parametrize("beside", [{"robot": robot("so101")}, {"images": False}])
def test_a_cell_takes_its_world_or_the_robot_for_it(beside):
    with pytest.raises(BadValue, match="both a robot or images, and how its world is made"):
        Cell("near:1", made=lambda there: World(reality=there), **beside)


@pytest.mark.parametrize("name", robots())
@pytest.mark.parametrize("grade", ["far", "other"])
def test_every_robot_stands_in_them(grade, name):
    scene = tasks.sample(tasks.names(name)[-1], "layout", 2)
    cell = Cell(f"{grade}:1", robot(name))
    first = cell.lay(scene, 3)
    for k in range(30):
        cell.apply(cell.embodiment.home + 0.02 * np.sin(0.1 * k) * cell.embodiment.moves_joint)
    last = cell.observe()
    again = cell.lay(scene, 3)
    assert np.array_equal(first.state, again.state)
    assert all(np.array_equal(first.images[n], again.images[n]) for n in first.images)
    assert np.isfinite(last.state).all()
    assert not cell.embodiment.moves_joint.any() or not np.array_equal(last.state, first.state)
    cell.close()


def test_realities_by_name():
    for grade in GRADES:
        assert reality.reality(f"{grade}:7").name == f"{grade}:7"
        assert reality.reality(grade).name == f"{grade}:0"
        assert [reality.stage(f"{grade}:4-6", s) for s in range(4)] == [f"{grade}:{k}" for k in (4, 5, 6, 4)]
        assert reality.several(f"{grade}:4-6") == [f"{grade}:{k}" for k in (4, 5, 6)]
        assert reality.several(f"{grade}:3-3") == reality.several(f"{grade}:3") == [f"{grade}:3"]
    assert reality.several("twins:2") == ["twin:0", "twin:1"] and reality.several("sim") == ["sim"]
    assert (
        reality.stage("twins:2", 5) == "twin:1"
        and reality.stage("far:3", 9) == "far:3"
        and reality.stage("sim", 9) == "sim"
    )


@pytest.mark.parametrize(
    "name", ["near:-1", "near:5-3", "near:1-", "far:x", "nears:2", "mars", "near:1e3", "near:²", "sim:0"]
)
def test_a_name_that_is_none_is_refused_with_every_form(name):
    with pytest.raises(
        BadValue, match=r"expected sim, twin:SEED, near:SEED, far:SEED, other:SEED, GRADE:FIRST-LAST or twins:N"
    ):
        reality.stage(name, 0)
    with pytest.raises(
        BadValue, match=r"expected sim, twin:SEED, near:SEED, far:SEED, other:SEED\. Next: sim, or near:0"
    ):
        reality.reality("near:0-3")
    with pytest.raises(BadValue, match=r"world is 'twins:1'; expected sim, twin:SEED"):
        reality.reality("twins:1")  # and not plain simulation
    for make in reality.MAKERS.values():
        with pytest.raises(BadValue, match=r"is -1; expected 0 or more"):
            make(-1)


def test_a_cell_is_a_body_and_nothing_else():
    cell = Cell("near:1")
    assert isinstance(cell, Body)
    with pytest.raises(BadValue, match=r"no scene is laid out yet"):
        cell.reset(0)
    seen = [cell.lay(SCENE, 2), cell.reset(2), cell.observe()]
    assert all(o.privileged is None for o in seen)
    assert all(o.images for o in seen) and not cell.observe(images=False).images
    assert cell.success() is False
    assert {n for n in dir(cell) if not n.startswith("_")} == {
        "embodiment", "lay", "reset", "observe", "apply", "success", "close",
    }  # fmt: skip
    for name in ("world", "params", "reality", "model", "data", "scenario", "item"):
        assert not hasattr(cell, name), name
    with pytest.raises(AttributeError):
        cell.world = 1
    cell.close()
    with pytest.raises(BadValue, match=r"world is 'mars'"):
        Cell("mars")


TRUTH = {"hidden", "near", "far", "other", "FAR", "FAULTS", "MAKERS", "TWIN_ROWS"}
HIDING = ("palmar.sim.effects", "palmar.sim.faults", "palmar.sim.causes")
BODIES = ("world", "body", "twin", "cell", "robot", "real")
METHODS = [
    p for room in ("transfer", "train", "models", "adapters", "serve") for p in sorted((SOURCE / room).rglob("*.py"))
]


@pytest.mark.parametrize("path", METHODS, ids=lambda p: str(p.relative_to(SOURCE)))
def test_methods_never_read_what_is_hidden(path):
    """They may be given a body; the point and the effects of a reality are named, imported or read nowhere in them."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names = {a.name for a in node.names}
            assert node.module not in HIDING, f"line {node.lineno} imports {node.module}"
            if node.module == "palmar.sim.reality":
                assert not names & TRUTH, f"line {node.lineno} imports {names & TRUTH}"
            if node.module == "palmar.sim":
                assert not names & {m.rpartition(".")[2] for m in (*HIDING, "palmar.sim.reality")}, (
                    f"line {node.lineno} imports {names}"
                )
        elif isinstance(node, ast.Import):
            assert not {a.name for a in node.names} & {*HIDING, "palmar.sim.reality"}, node.lineno
        elif isinstance(node, ast.Attribute):
            assert node.attr != "reality", f"line {node.lineno} reads .reality"
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            assert not (owner in BODIES and node.attr in ("hidden", "params", "_verbs")), (
                f"line {node.lineno} reads {node.attr}"
            )


def test_it_would_be_seen(tmp_path):
    for text in (
        "from palmar.sim.reality import hidden", "from palmar.sim.effects import lens", "x = world.reality.hidden",
        "p = body.params",
        "from palmar.sim import causes", "v = twin.hidden", "import palmar.sim.reality",
    ):  # fmt: skip
        path = tmp_path / "method.py"
        path.write_text(text)
        with pytest.raises(AssertionError):
            test_methods_never_read_what_is_hidden(path)


def test_effects_of_one_s_own_are_a_value():
    """A fault begins anew with each episode, and hears commands, positions and pictures."""

    class Stuck(effects.Fault):
        def __init__(self, body, rng):
            self.bias, self.heard = rng.uniform(0.01, 0.02), 0

        def command(self, command, time):
            self.heard += 1
            return command + self.bias

        def picture(self, image, camera, time):
            return image // 2

    own = reality.Reality("cellar", None, (reality.Effect("stuck", begins=Stuck),))
    plain, world = World(), World(reality=own)
    try:
        sim, seen = plain.load(SCENE, seed=4), world.load(SCENE, seed=4)
        assert all(np.array_equal(seen.images[n], sim.images[n] // 2) for n in sim.images)
        fault = world._faults[0]
        command = world.data.ctrl.copy()
        world.apply(np.append(command[:7], 1.0))
        assert world.data.ctrl[:7] - command[:7] == pytest.approx(fault.bias)
        world.reset(4)
        assert world._faults[0] is not fault and world._faults[0].bias == fault.bias and world._faults[0].heard == 0
    finally:
        plain.close()
        world.close()
