"""A body of one's own, opened for a policy: what `palmar run` and `palmar agent` do with --body before it moves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from palmar.cli.shared import pairs
from palmar.console import say
from palmar.description.find import find_robot
from palmar.description.guesses import check_deployable
from palmar.embodiments import Embodiment
from palmar.errors import BadValue
from palmar.policy import Policy
from palmar.runtime.bodies.approval import require_checked
from palmar.runtime.bodies.find import Attached, Found, find_body
from palmar.runtime.fitting import Fitted, fitted
from palmar.runtime.supervision.deadman import Deadman, deadman_of, wait_until_held
from palmar.runtime.supervision.estop import Latch
from palmar.runtime.supervision.hosted import HostedBody, require_ready

if TYPE_CHECKING:
    from palmar.cli.runs import RunConfig
    from palmar.serve.page.run import RunPage

HELD = 30.0  # longest time to wait for a deadman switch to be held [s]
ON_PAGE = "page"  # the word of --deadman for a button on the page


@dataclass(frozen=True)
class OpenedBody:
    """body: connected, with the robot of `fit`, and not reset yet. latch: its E-STOP, which was not pressed then."""

    body: HostedBody | Attached
    fit: Fitted
    latch: Latch


@dataclass(frozen=True)
class ReadyBody:
    """A body that is not connected yet. robot: as whom it is driven, None for the body's own."""

    config: RunConfig
    found: Found
    robot: Embodiment | None

    @contextmanager
    def opened(self, policy: Policy) -> Iterator[OpenedBody]:
        """The body as long as the block runs; closed however that ends.

        Raises `BadValue` for a policy that does not fit, limits that are guesses, a body that has not passed its check
        and a latched E-STOP, `RobotFault` where it cannot be connected.
        """
        c, robot = self.config, self.robot
        fit = None if robot is None else fitted_to(c, policy, robot)
        body: HostedBody | Attached
        here = c.watchdog is None or self.found.remote  # a remote one has its watchdog with it
        body = self.found.connect(robot) if here else HostedBody(c.body, robot, c.watchdog)  # type: ignore[arg-type]
        try:
            latch = Latch(body.embodiment.name)
            latch.require_released()
            latch.prepare()
            if fit is None:
                check_deployable(body.embodiment)
                require_checked(body.embodiment, self.found, "")
                fit = fitted_to(c, policy, body.embodiment)
            body.embodiment = fit.robot
            yield OpenedBody(body, fit, latch)
        finally:
            body.close()


def ready_body(config: RunConfig) -> ReadyBody:
    """The body and the robot of a configuration, with all that can be said of them before a policy is loaded. Raises as
    `find_body`, `find_robot` and `require_ready`."""
    found = find_body(config.body)
    robot = find_robot(config.robot) if config.robot else None
    if robot is not None:
        require_ready(found, robot, config.robot, config.watchdog)
    return ReadyBody(config, found, robot)


def fitted_to(config: RunConfig, policy: Policy, robot: Embodiment) -> Fitted:
    """The policy behind the configuration's names, cameras and held channels. Raises `BadValue` if it does not fit."""
    names, cameras = pairs("--names", config.names), pairs("--cameras", config.cameras)
    held = {n: _number(n, v) for n, v in pairs("--hold", config.hold).items()}
    return fitted(policy, robot, names, cameras, held, config.fit, config.policy)


def _number(name: str, value: str) -> float:
    try:
        return float(value)
    except ValueError as error:
        raise BadValue(f"--hold {name}={value}: '{value}' is no number. Next: --hold {name}=0.5") from error


@contextmanager
def held_switch(config: RunConfig, page: RunPage | None = None) -> Iterator[Deadman | None]:
    """The deadman switch once it is held, None where none is asked for. Raises `BadValue` when nobody holds it."""
    if not config.deadman:
        yield None
        return
    if config.deadman == ON_PAGE:
        if page is None:
            raise BadValue("--deadman page is a button of the page, and there is none. Next: add --page")
        page.holding(True)
    switch: Deadman = page.deadman if page is not None and config.deadman == ON_PAGE else deadman_of(config.deadman)
    try:
        say("hold the deadman switch ({}): the robot moves while it is held", config.deadman)
        wait_until_held(switch, HELD)
        yield switch
    finally:
        switch.close()
        if page is not None:
            page.holding(False)
