"""A body of one's own: does it do what its robot's description says?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

from palmar.checks import Check, failed
from palmar.cli.shared import Answer
from palmar.console import Screen, styled
from palmar.ranges import Range

if TYPE_CHECKING:
    from palmar.embodiments import Embodiment
    from palmar.runtime.bodies.find import Found

Part = Annotated[float, Range(0.002, 0.2)]


@dataclass(frozen=True)
class CheckBody:
    """Prove a body before a policy moves it: names, clock, rate, cameras, and units, sign and limits of each channel.

    The robot moves: each channel by a small part of its range, out and back, from wherever its reset leaves it, within its
    limits. Stay beside it with a hand on its switch, and see that it does what is printed.
    """

    body: str
    """module:Class, from the current folder or an installed package, "lerobot:TYPE?NAME=VALUE&…" for a robot of lerobot, gym:ENV,
    or mock:."""
    robot: str = ""
    """Name of a robot that comes with palmar, or a robot file (.toml). The body's own `embodiment` when not given."""
    share: Part = 0.03
    """How far each channel is moved, as a share of its range; openings and speeds five times that."""
    json: bool = False
    """One JSON object with every figure on stdout."""

    def run(self, console: Screen) -> Answer:
        from palmar.description.find import find_robot
        from palmar.runtime.bodies.find import find_body
        from palmar.runtime.undisturbed import ended_by_signals

        with ended_by_signals():  # the robot is braked and let go of, however it ends
            return self._checked(console, find_body(self.body), find_robot(self.robot) if self.robot else None)

    def _checked(self, console: Screen, found: Found, robot: Embodiment | None) -> Answer:
        from palmar.runtime.bodies.approval import write_result
        from palmar.runtime.bodies.check_body import check_body
        from palmar.runtime.clock import WallClock

        body = found.connect(robot, strict=False)
        n, robot = len(body.embodiment.channels), body.embodiment
        console.print(
            styled("[bold]{}[/] as {}: {} channels will move a little, one after the other.", self.body, robot.name, n)
        )

        def show(check: Check) -> None:
            console.print(styled("{} {}: {}", styled("[green]ok" if check.ok else "[red]no"), check.name, check.found))
            if not check.ok:
                console.print(styled("   [bold]Next:[/] {}", check.next))

        checks = check_body(body, self.share, WallClock(), show)
        path = write_result(body, checks)
        bad = failed(checks)
        passed = f"{len(checks) - len(bad)} of {len(checks)} checks passed"
        console.print(styled("{}{}", passed, styled(", [red]{} did not", len(bad)) if bad else ""))
        if guesses := robot.guesses():
            console.print(styled("[yellow]limits that are guesses still: {}", ", ".join(guesses)))
        return int(bool(bad)), {"passed": not bad, "checks": [asdict(c) for c in checks], "kept": str(path)}
