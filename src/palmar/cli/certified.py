"""What `palmar run --certified` asks for before anything moves, of every run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from palmar.errors import BadValue
from palmar.runtime.adaptation.certificate import require_certificate

if TYPE_CHECKING:
    from palmar.cli.runs import RunConfig

ROBOT = "arm7"
"""Of the simulated table, where no robot is named."""


def require_for_run(config: RunConfig, policy: str) -> None:
    """Raise `BadValue` where the run asks for a certificate, and it does not hold for the one policy and the robot of this run.
    policy: that of the configuration, of a folder of versions the one that acts."""
    if config.certified is None:
        return
    if config.ab:
        raise BadValue("--certified is about one policy, and --ab names a second. Next: leave one of the two out")
    if config.table is None and not config.robot:
        raise BadValue("--certified with --body does not know the robot beforehand. Next: --robot, its name or file")
    require_certificate(config.certified, policy, config.robot or ROBOT)
