"""Views of a board from a body that moves: small turns first, then where the next view tells most, through the ordinary verbs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from palmar.embodiments import Embodiment
from palmar.errors import BadValue, RobotFault
from palmar.runtime.loop import Body, resting_command
from palmar.runtime.safety.filter import Safety
from palmar.transfer.board_views import LEAST_CORNERS, LENSES, BoardViews, fit_free
from palmar.transfer.calibration import CalibrationConfig
from palmar.transfer.marker_board import MarkerBoard
from palmar.transfer.next_view import most_telling
from palmar.transfer.reprojection import JointProblem
from palmar.types import Array, Observation

FIRST = 6  # views by small turns, before anything is known
TRIES = 30  # of such turns
TURN = 0.22  # their standard deviation [rad]; a tenth of that where a joint slides [m]
AT_ONCE = 3  # views that are chosen from one fit
SHARE = 0.6  # of the velocity limits
LAG = 0.4  # share of a channel's tolerance that it may be behind before the path waits
PATIENT = 3  # times its length that a path waits at most
SETTLE, READ = 0.2, 0.3  # the arm rests so long before its joints are read, and they are read so long [s]


class BoardDrive:
    """Drives a body from view to view. seconds: how long it has moved and looked so far, on the body's clock.

    Raises `BadValue` for a camera that the robot has not and a robot without frames.
    """

    def __init__(
        self, body: Body, board: MarkerBoard, config: CalibrationConfig, say: Callable[[str], None] = lambda _: None
    ) -> None:
        self.body, self.board, self.config, self.say = body, board, config, say
        self.robot: Embodiment = body.embodiment
        self.frame = self.robot.frame(config.frame)
        known = [c.name for c in self.robot.cameras]
        if config.camera not in known:
            raise BadValue(
                f"camera is '{config.camera}'; {self.robot.name} has {', '.join(known) or 'none'}. Next: --camera NAME"
            )
        self.dt = 1.0 / self.robot.control_rate
        self.safety = Safety(self.robot)
        self.obs: Observation = body.reset()
        self.command = resting_command(self.robot, self.obs)
        self.safety.reset(self.command)
        self.pixels: list[Array] = []
        self.positions: list[Array] = []
        self.size = (0, 0)
        self.seconds = 0.0

    def collect(self, count: int = 25, seed: int = 0) -> BoardViews:
        """Go to `count` views, look, and come back to where it began. Raises `BadValue` where the board is not seen, `RobotFault`
        where the safety layer stops the robot."""
        start = self.command.copy()
        if not self.look():
            raise BadValue(
                f"camera '{self.config.camera}' does not see the board from where the robot starts; expected {LEAST_CORNERS} "
                "corners or "
                "more. Next: start with the board in the middle of the picture, in light, and check --columns, --rows and "
                "--dictionary"
            )
        rng = np.random.default_rng([47, seed])
        path = self.robot.path(self.frame)
        home = self.robot.positions(self.frame, start)
        spread = np.where(self.frame.chain.slides, TURN / 10, TURN)
        for _ in range(TRIES):
            if len(self.pixels) >= min(FIRST, count):
                break
            self.visit(home + np.clip(rng.normal(size=len(path)), -2, 2) * spread)
        if len(self.pixels) < min(FIRST, count):
            raise BadValue(
                f"the board was seen in {len(self.pixels)} of {TRIES} views about the start pose; expected {FIRST}. Next: "
                "start with the board in the middle of the picture and further away"
            )
        missed = 0
        while len(self.pixels) < count and missed < count:
            for q in self._near_first(self._next(min(AT_ONCE, count - len(self.pixels)), seed + missed)):
                missed += not self.visit(q)
                self.say(f"{len(self.pixels)} of {count} views")
        self.to(start)
        return self.views()

    def _near_first(self, positions: Array) -> list[Array]:
        """The same views in an order of short ways."""
        left, here, out = list(positions), self.positions[-1], []
        while left:
            here = left.pop(int(np.argmin([np.abs(q - here).max() for q in left])))
            out.append(here)
        return out

    def views(self) -> BoardViews:
        return BoardViews(
            self.board.corners, np.array(self.pixels), self.size[1], self.size[0], np.array(self.positions)
        )

    def visit(self, positions: Array) -> bool:
        """Go to joint positions [J] on the frame's path, clipped to the limits, and look. Whether the board was seen."""
        command = self.command.copy()
        path = self.robot.path(self.frame)
        command[path] = self.robot.commands(self.frame, positions)
        self.to(np.clip(command, self.robot.lower, self.robot.upper))
        return self.look()

    def look(self) -> bool:
        """Rest, read the joints and take a picture. Whether there are enough corners in it; then the view is kept."""
        for _ in range(round(SETTLE / self.dt)):
            self._tick(self.command)
        read: list[Array] = []
        for _ in range(max(1, round(READ / self.dt))):
            self._tick(self.command)
            read.append(self.robot.measured(self.obs.state))
        seen = self.body.observe(images=True)
        picture = seen.images.get(self.config.camera)
        if picture is None:
            raise BadValue(
                f"the body gives no picture of '{self.config.camera}'. Next: a camera of the body, or --images"
            )
        pixels = self.board.find(picture)
        if int(np.isfinite(pixels[:, 0]).sum()) < LEAST_CORNERS:
            return False
        self.size = (picture.shape[0], picture.shape[1])
        self.pixels.append(pixels)
        self.positions.append(self.robot.positions(self.frame, np.mean(read, axis=0)))
        return True

    def to(self, target: Array) -> None:
        """Along a straight line of the channels with smooth ends."""
        begin = self.command.copy()
        speed = SHARE * self.robot.array("velocity")
        n = max(int(np.ceil(1.5 * (np.abs(target - begin) / speed).max() / self.dt)), 1)
        k = waited = 0
        while k < n:
            behind = self._lags()
            waited += behind
            if not behind or waited > PATIENT * n:  # then the guards say what is wrong
                k += 1
            s = k / n
            self._tick(begin + (target - begin) * s * s * (3 - 2 * s))

    def _lags(self) -> bool:
        """Whether a channel is so far behind its command that the path had better wait for it: motors may be weak."""
        measured, allowed = self.robot.measured(self.obs.state), self.robot.array("tolerance")
        off = np.abs(self.robot.difference(measured, self.command))
        return bool((off > LAG * allowed).any())  # no tolerance and no measurement: NaN, which is not above

    def _tick(self, goal: Array) -> None:
        verdict = self.safety.check(goal, self.obs, self.obs.time)
        if verdict.stop:
            raise RobotFault(
                f"calibration was stopped: {'; '.join(map(str, verdict.reasons))}. Next: look at the robot, and start again"
            )
        self.command = verdict.command
        self.body.apply(self.command)
        self.obs = self.body.observe(images=False)
        self.seconds += self.dt

    def _next(self, count: int, seed: int) -> Array:
        views = self.views()
        names = LENSES["simulated"] if len(self.pixels) < 12 else LENSES[self.config.lens]
        free = fit_free(views, names, self.config.fov or self._fov())
        zeros = self.config.zeros and len(self.pixels) >= 9
        fit = JointProblem(views, self.frame.chain, self.config.in_hand, free, zeros).solve()
        had: Any = views.positions
        found = most_telling(fit, views.points, self.robot, self.frame, self.config.in_hand, names, had, count, seed)
        if len(found):
            return found
        rng = np.random.default_rng([53, seed])
        return np.asarray(had[rng.integers(len(had), size=1)] + rng.normal(size=(1, had.shape[1])) * TURN / 2)

    def _fov(self) -> float:
        return next(c.fov for c in self.robot.cameras if c.name == self.config.camera)
