"""What `palmar run --certified` asks for before anything moves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from palmar.errors import BadValue
from palmar.runtime.adaptation.certificate import require_certificate

if TYPE_CHECKING:
    from palmar.cli.live import RunConfig

ROBOT = "arm7"
"""Of the simulated table, where no robot is named."""


def require_for_run(certificate: Path, config: RunConfig) -> None:
    """Raise `BadValue` unless the certificate holds for the one policy and the robot of this run."""
    if config.ab:
        raise BadValue("--certified is about one policy, and --ab names a second. Next: leave one of the two out")
    if config.table is None and not config.robot:
        raise BadValue("--certified with --body does not know the robot beforehand. Next: --robot, its name or file")
    require_certificate(certificate, config.policy, config.robot or ROBOT)
