"""A simulated scene as a `Body`: the same four verbs as a robot."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from palmar.embodiments import Embodiment
from palmar.errors import BadValue, RobotFault
from palmar.robot_parts import Camera, Frame
from palmar.robots import mechanics
from palmar.robots.arm7 import arm7
from palmar.sim import boxes, lens, privileged, tasks, truth
from palmar.sim.actuators import Actuators
from palmar.sim.decor import Drawn, clutter, shadows
from palmar.sim.delays import Commands, Frames
from palmar.sim.derived import ground
from palmar.sim.params import NOMINAL, WorldParams
from palmar.sim.reality import SIMULATION, Reality
from palmar.sim.rooms import Viewpoint
from palmar.sim.scenario import Scenario
from palmar.sim.scenery import Scenes
from palmar.sim.scenes import mujoco
from palmar.sim.space import ZEROS
from palmar.sim.things import MOVING, half_extent
from palmar.types import Array, Observation

UNSTABLE = {
    int(mujoco.mjtWarning.mjWARN_BADQPOS): "positions",
    int(mujoco.mjtWarning.mjWARN_BADQVEL): "speeds",
    int(mujoco.mjtWarning.mjWARN_BADQACC): "accelerations",
    int(mujoco.mjtWarning.mjWARN_BADCTRL): "commands",
}


class World:
    """A robot in the scene of a task. Load a scenario, then `observe` and `apply` until `success`.

    Deterministic from scenario, parameters and seed. `tcp`, `opening`, `table`, `item` and `place` are simulator truth for
    experts and success tests; a policy sees `observe` only.

    robot: one of `palmar.robots`, the 7-joint arm where none is given. images: False leaves the cameras off. quality:
    MuJoCo's own visual defaults (shadows, 4 samples a pixel, reflections) instead of fast ones: several times slower, and not
    what the shipped policy was trained on. reality: what differs from the simulator (`sim.reality`).
    extents: whether the privileged truth holds boxes and turns too (half a millisecond a look). physics: whether it holds
    contacts, mass, friction and the world's parameters too (`sim.privileged`). dress: as of `scenes.build`.
    backdrop: given model, data, camera and picture, what its cameras see (`transfer.backdrop`).

    Raises `BadValue` for a robot that has no description for the simulator.
    """

    extents = False
    physics = False
    dress: Callable[[Any], None] | None = None
    backdrop: Callable[[Any, Any, Camera, Array], Array] | None = None

    def __init__(
        self,
        robot: Embodiment | None = None,
        images: bool = True,
        quality: bool = False,
        reality: Reality = SIMULATION,
    ) -> None:
        self.embodiment = robot or arm7()
        self.mechanics = mechanics(self.embodiment)
        self.reality = reality
        self._images, self._quality = images, quality
        self._scenes = Scenes(self.embodiment, self.mechanics, quality)

    def load(self, scenario: Scenario, params: WorldParams = NOMINAL, seed: int | None = None) -> Observation:
        """Lay out the scene, put the robot near its start pose and look. A reality's own parameters replace those given.

        A scene of the same kind as one of the last is not compiled again (`scenery.Scenes`); `model` and `data` are then the
        same objects, changed.

        Raises `BadValue` for a task that does not fit the robot.
        """
        robot, task = self.embodiment, tasks.task(scenario.task)
        if robot.name not in task.robots:
            raise BadValue(
                f"task '{task.name}' is for {', '.join(task.robots)}, not for {robot.name}. "
                f"Next: one of {', '.join(tasks.names(robot.name))}"
            )
        self.scenario, self.params = scenario, self.reality.hidden or params
        self._seed = scenario.seed if seed is None else seed
        self._laid = self._scenes.lay(scenario, self.params, anew=self.reality.rebuilds, dress=self.dress)
        self.model, self.data = self._laid.model, self._laid.data
        self.reality.modify(self.model, tuple(self.mechanics.grippers.values()))
        self._substeps = round(1.0 / robot.control_rate / self.model.opt.timestep)
        self._bodies = [self.model.body(f"item{i}").id for i in range(len(scenario.items))]
        zeros = [float(np.deg2rad(self.params[f"zero_{i + 1}"])) for i in range(ZEROS)]
        bodies = [self.model.body(b).name for b in range(self.model.nbody)]
        self._balls = [
            [b for b, name in enumerate(bodies) if name.startswith(f"item{i}_ball")] for i in range(len(scenario.items))
        ]
        self._actuators = Actuators(robot, self.mechanics, self.model, zeros)
        self._ground = ground(task.scene.room, self.params)
        self._around = clutter(task.scene.room, self.params)
        return self.reset()

    def reset(self, seed: int | None = None) -> Observation:
        """Start the loaded scenario again; a seed changes the noise and the robot's start pose, not the scene."""
        if not hasattr(self, "model"):
            raise BadValue("no scene is laid out yet. Next: world.load(tasks.sample('pick')) before reset")
        robot = self.embodiment
        self._seed = self._seed if seed is None else seed
        self._rng = np.random.default_rng([11, self._seed])
        mujoco.mj_resetData(self.model, self.data)
        command = robot.home.copy()
        for start in self.mechanics.starts:
            frame = robot.frame(start.frame)
            home = robot.positions(frame, robot.home)
            goal = np.array(start.centre) + self._rng.uniform(start.low, start.high)
            q = frame.chain.solve(home, goal, start.rotation, home)
            command[robot.path(frame)] = robot.commands(frame, q)
        self._check(command)
        for joint, ends in self.mechanics.scatter.items():
            self.data.qpos[self.model.joint(joint).qposadr[0]] = self._rng.uniform(*ends)
        self._actuators.put(self.data, command)
        self._actuators.send(self.data, command)
        late, self._faults = np.random.default_rng([12, self._seed]), self.reality.begin(robot, self._seed)
        self._commands = Commands(robot, self.params, self._actuators.scale, command, late)
        self._actuators.stick(self.model, self.data, self.params["stribeck"])
        self._ticks = self._held = 0
        mujoco.mj_forward(self.model, self.data)
        for _ in range(10):  # let the objects settle
            mujoco.mj_step(self.model, self.data)
        self._check_stable()
        self.data.time = 0.0
        self._frames = Frames(self.params, robot.control_rate, self.data.qpos.copy(), late)
        return self.observe()

    def ask(self, scenario: Scenario) -> None:
        """Ask for something else of what is loaded: nothing moves, and success is judged anew.

        Raises `BadValue` before `load`, and for a scenario of other things or of another room."""
        if not hasattr(self, "model") or scenario.items != self.scenario.items:
            raise BadValue(
                f"'{scenario.instruction}' is asked of things that are not loaded. Next: world.load(scenario), or one of "
                "world.scenario.items"
            )
        if (room := tasks.task(scenario.task).scene.room) != tasks.task(self.scenario.task).scene.room:
            raise BadValue(
                f"task '{scenario.task}' is done in another room, {room.size[0]:g} × {room.size[1]:g} m. Next: world.load"
            )
        self.scenario, self._held = scenario, 0

    def observe(self, images: bool = True) -> Observation:
        seen: dict[str, Array] = {}
        state = self._state()
        if images and self._images:
            seen = {c.name: self.photograph(c) for c in self.embodiment.cameras}
        truth = self.privileged() if images else None
        return Observation(seen, state, self.scenario.instruction, self.time, truth)

    @property
    def time(self) -> float:
        """Since the start of the episode [s]."""
        return self._ticks / self.embodiment.control_rate

    def _state(self) -> Array:
        """float32[S]: what the sensors say, joint positions with noise, poses of frames by the robot's own kinematics."""
        moving = self._actuators.moving
        position, velocity, force = self._actuators.measured(self.data)
        noise = self._rng.normal(0, self.params["proprio_noise"] + 1e-12, len(moving))
        position[moving] += noise / np.abs(self._actuators.scale[moving])
        for fault in self._faults:
            position = fault.measured(position, self.time)
        return self._stated(position, velocity, force).astype(np.float32)

    def _stated(self, position: Array, velocity: Array, force: Array | None) -> Array:
        robot = self.embodiment
        state = robot.state_from(position, velocity, force)
        for i, m in enumerate(robot.state):
            if m.quantity == "other" and m.name in self.mechanics.sensors:
                state[i] = self.data.qpos[self.model.joint(self.mechanics.sensors[m.name]).qposadr[0]]
        return state

    def apply(self, command: Array) -> None:
        """Raises `BadValue` for what is no command, `RobotFault` when the simulation becomes unstable."""
        command = self.embodiment.command_of(command)
        if noise := self.params["action_noise"]:
            moving = self._actuators.moving
            command[moving] += self._rng.normal(0, noise, len(moving)) / np.abs(self._actuators.scale[moving])
        sent = self._commands(command)
        for fault in self._faults:
            sent = fault.command(sent, self.time)
        self._actuators.send(self.data, sent)
        self._actuators.stick(self.model, self.data, self.params["stribeck"])
        mujoco.mj_step(self.model, self.data, self._substeps)
        self._check_stable()
        self._frames.push(self.data.qpos.copy())
        self._ticks += 1
        self._held = self._held + 1 if tasks.task(self.scenario.task).success(self) else 0

    def pose(self, command: Array, items: Mapping[int, Array]) -> None:
        """Put the robot and some things somewhere at once, without physics. command: float64[N] of the channels, which is also
        what the servos are asked for from now on; commands and pictures under way are forgotten. items: {index: centre [m]} of
        things that are free.

        Raises `BadValue` for a command that is not finite or outside the limits, and for a thing that stands fast.
        """
        command = self.embodiment.command_of(command)
        self._check(command)
        self._actuators.put(self.data, command)
        for i, centre in items.items():
            if not self.scenario.items[i].mass or not np.isfinite(centre).all():
                raise BadValue(
                    f"'{self.scenario.items[i].name}' cannot be put at {centre}; expected a free thing, 3 numbers. "
                    "Next: world.scenario.items says which are free"
                )
            start = self.model.joint(f"item{i}").qposadr[0]
            self.data.qpos[start : start + 3] = centre
        self.data.qvel[:] = 0.0
        mujoco.mj_forward(self.model, self.data)
        # one stream for both, as in `reset`, and not the one that began there
        late = np.random.default_rng([12, self._seed, 1])
        self._commands = Commands(self.embodiment, self.params, self._actuators.scale, command, late)
        self._actuators.send(self.data, command)
        self._frames = Frames(self.params, self.embodiment.control_rate, self.data.qpos.copy(), late)

    def _check(self, command: Array) -> None:
        """Raise `BadValue` for joints or openings that are not finite or outside their limits."""
        for c, value in zip(self.embodiment.channels, command, strict=True):
            if not c.lower - 1e-6 <= value <= c.upper + 1e-6:
                raise BadValue(
                    f"'{c.name}' cannot be put at {value:g} {c.unit}; expected {c.lower:g} … {c.upper:g}. "
                    "Next: a pose within the robot's limits"
                )

    def _check_stable(self) -> None:
        """Raise `RobotFault` where MuJoCo found no number among positions, speeds or commands: it has then put the robot and
        all things back to where they began, or the command to 0, and would go on."""
        for kind, what in UNSTABLE.items():
            if self.data.warning[kind].number:
                raise RobotFault(
                    f"the simulation of {self.embodiment.name} became unstable at {self._ticks / self.embodiment.control_rate:.2f} "
                    f"s: {what} are not finite or huge; expected finite numbers. Next: world parameters nearer to plain "
                    "simulation, or a shorter time step in the robot's mechanics"
                )

    def close(self) -> None:
        """Free what is held on the graphics side, a backdrop's (its `close`) too. Another look makes it again."""
        self._scenes.close()
        if close := getattr(self.backdrop, "close", None):
            close()

    def success(self, hold: float | None = None) -> bool:
        """The task's test has held for the last `hold` seconds; None: as long as the parameter `hold` says."""
        hold = self.params["hold"] if hold is None else hold
        return self._held >= hold * self.embodiment.control_rate

    @property
    def frame(self) -> Frame:
        """The frame that the scenario asks for, the first where it names none. Raises `BadValue` without frames."""
        hands = tasks.task(self.scenario.task).scene.hands
        return self.embodiment.frame(hands[self.scenario.hand] if self.scenario.hand else "")

    @property
    def point(self) -> str:
        """Name of the point that goes for things: of `frame`, or the robot's first point where it has no frames."""
        return self.frame.name if self.embodiment.frames else self.mechanics.points[0].name

    @property
    def gripper(self) -> str | None:
        """Name of the channel that opens the gripper at `frame`; None where there is none."""
        return self.mechanics.grippers.get(self.point)

    @property
    def tcp(self) -> Array:
        return np.array(self.data.site_xpos[self.model.site(self.point).id])

    @property
    def opening(self) -> float:
        """Measured opening of the gripper at `tcp`, 0 closed … 1 open. Raises `BadValue` where there is none."""
        return self._actuators.opening(self.data, self._gripper())

    @property
    def grip_width(self) -> float:
        """Between the pads of the gripper at `tcp` when it is open [m]. Raises `BadValue` where there is none."""
        return self._actuators.width(self._gripper())

    def _gripper(self) -> str:
        if self.gripper is None:
            raise BadValue(
                f"{self.embodiment.name} has no gripper at '{self.point}'. "
                "Next: a task without grasping, or a robot with a gripper"
            )
        return self.gripper

    @property
    def table(self) -> float:
        return self._ground

    def item(self, i: int) -> Array:
        """Centre of an object, or foot of a destination, base frame at the start [m]."""
        return np.array(self.data.xpos[self._bodies[i]])

    def rotation(self, i: int) -> Array:
        """float64[3, 3], from the thing's frame to the base frame at the start."""
        return np.array(self.data.xmat[self._bodies[i]]).reshape(3, 3)

    def speed(self, i: int) -> float:
        """How fast the centre of a thing moves [m/s]."""
        velocity = np.zeros(6)
        mujoco.mj_objectVelocity(self.model, self.data, mujoco.mjtObj.mjOBJ_XBODY, self._bodies[i], velocity, 0)
        return float(np.linalg.norm(velocity[3:]))

    def contents(self, i: int) -> Array:
        """float64[n, 3]: where the balls are that a thing held at the start [m]; none for most things."""
        return np.array(self.data.xpos[self._balls[i]])

    def ajar(self, i: int) -> float:
        """How far a drawer or door is open, 0 … 1. Raises `BadValue` for another thing."""
        joint = self._joint(i)
        return float(self.data.qpos[joint.qposadr[0]] / joint.range[1])

    def handle(self, i: int) -> tuple[Array, Array]:
        """Position [3] [m] of the handle of a drawer or door, and the direction [3] it goes in when that opens.

        Raises `BadValue` for another thing."""
        joint = self._joint(i)
        where = np.array(self.data.site_xpos[self.model.site(f"item{i}_handle").id])
        axis = np.array(self.data.xaxis[joint.id])
        if joint.type[0] == mujoco.mjtJoint.mjJNT_HINGE:
            axis = np.cross(axis, where - self.data.xanchor[joint.id])
        return where, axis / np.linalg.norm(axis)

    def _joint(self, i: int) -> Any:
        if self.scenario.items[i].shape not in MOVING:
            raise BadValue(
                f"'{self.scenario.items[i].name}' does not open; expected a {' or a '.join(MOVING)}. "
                "Next: world.scenario.items says which there are"
            )
        return self.model.joint(f"item{i}_part")

    def place(self, point: str) -> tuple[Array, Array]:
        """Position [3] [m] and rotation [3, 3] of a named point of the robot, base frame at the start."""
        i = self.model.site(point).id
        return np.array(self.data.site_xpos[i]), np.array(self.data.site_xmat[i]).reshape(3, 3)

    @property
    def view(self) -> Viewpoint:
        """Where people look at the scene from."""
        return tasks.task(self.scenario.task).scene.room.view

    @property
    def truth_names(self) -> tuple[str, ...]:
        """What `privileged` holds, in its order."""
        return truth.names(self.embodiment, self.extents, self.physics)

    def privileged(self) -> Array:
        """float32[P] in the order of `truth_names`."""
        values = boxes.values(self)
        if self.physics:
            values |= privileged.values(self)
        return truth.encode(self.truth_names, values)

    def body_of(self, i: int) -> int:
        """MuJoCo's number of a thing."""
        return int(self._bodies[i])

    def exact_state(self) -> Array:
        """float64[S]: the state without the noise of `observe`."""
        return self._stated(*self._actuators.measured(self.data))

    def box(self, camera: Camera, i: int) -> tuple[float, float, float, float]:
        """(left, top, right, bottom) in 0 … 1 of the image, and beyond it: around a thing's projected corners."""
        return boxes.around(self, camera, i)[0]

    def picture(self, camera: str = "front", height: int = 240, width: int = 320) -> Array:
        """A picture for people, without what a camera adds: uint8[height, width, 3]."""
        return self._laid.renderer(height, width)(self.data, camera, self._decor())

    def photograph(self, camera: Camera) -> Array:
        """What one camera of the robot sees: uint8[H, W, 3]."""
        picture = self._in_time(camera, lambda data: self._rendered(data, camera))
        fov = float(self.model.camera(camera.name).fovy[0])
        picture = lens.develop(picture, self.params, self._rng, fov, self.time)
        for fault in self._faults:
            picture = fault.picture(picture, camera, self.time)
        return self.reality.photograph(picture)

    def _in_time(self, camera: Camera, look: Callable[[Any], Array]) -> Array:
        """What a look [H, W, …] gives of the moment that a camera shows: the present, or one before, stripe by stripe."""
        if self._frames.live:
            return look(self.data)
        stripes = self._frames.shown()
        parts = [look(self._laid.at(q)) for q in stripes]
        rows = np.linspace(0, camera.height, len(stripes) + 1).astype(int)
        return np.concatenate([p[a:b] for p, (a, b) in zip(parts, itertools.pairwise(rows), strict=True)])

    def _rendered(self, data: Any, camera: Camera) -> Array:
        """uint8[H, W, 3], before lens and sensor."""
        picture = self._laid.renderer(camera.height, camera.width)(data, camera.name, self._decor())
        return picture if self.backdrop is None else self.backdrop(self.model, data, camera, picture)

    def depth(self, camera: Camera) -> Array:
        """What a depth camera in its place would measure: float32[H, W], distance from the camera's plane [m]; as late as its
        picture, row by row."""
        looks = self._laid.renderer(camera.height, camera.width)
        seen = self._in_time(camera, lambda data: looks.depth(data, camera.name))
        if noise := self.params["depth_noise"]:
            seen = seen + self._rng.normal(0, noise, seen.shape).astype(np.float32)
        return np.maximum(seen, 0.0)

    def _decor(self) -> list[Drawn]:
        """What is seen beside the model: clutter, and the shadows of the things."""
        if self.params["shadow"] <= 0:
            return self._around
        things = [(self.item(i), float(half_extent(x)[0])) for i, x in enumerate(self.scenario.items)]
        return self._around + shadows(tasks.task(self.scenario.task).scene.room, self.params, things)
