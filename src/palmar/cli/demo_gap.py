"""The gap to a reality: measure it, then practise in simulation with what was measured, beside a control that practises without."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from palmar.files import write_text
from palmar.transfer.calibrated import CameraCalibration
from palmar.transfer.identification import Identification

if TYPE_CHECKING:
    from palmar.cli.demo import DemoConfig
    from palmar.sim.cell import Cell
    from palmar.sim.draws import Worlds
    from palmar.sim.reality import Reality
    from palmar.sim.world import World
    from palmar.train.loop import TrainConfig
    from palmar.transfer.marker_board import MarkerBoard

REALITY = "far:14"
"""Its causes are a camera that was moved with joint zeros that are off, and late commands and pictures."""
REST = 0.7
"""Strength of the randomisation of everything that was not measured, in every arm."""
LOOKED_FOR = ("gain", "damping", "link_mass", "action_delay", "action_noise", "proprio_noise")
"""Friction is not among them: nobody tracks things in a cell."""
RATE, BATCH = 1e-4, 64


@dataclass(frozen=True)
class Measured:
    """Of the reality, through its sensors alone: how the arm moves, and where camera and joint zeros are."""

    dynamics: Identification
    camera: CameraCalibration


def measure(config: DemoConfig) -> Measured:
    """Meet the reality as a cell: diagnostic motions, then a marker board in the gripper. Writes arm.json and camera.json, as of
    `palmar sysid` and `palmar calibrate`."""
    from palmar.sim.cell import Cell
    from palmar.transfer.board_drive import BoardDrive
    from palmar.transfer.calibration import CalibrationConfig, calibrate
    from palmar.transfer.diagnose import diagnose_slower, table
    from palmar.transfer.marker_board import MarkerBoard
    from palmar.transfer.sysid import identify

    cell = Cell(REALITY, images=False)
    try:
        cell.lay(table())
        dynamics = identify(diagnose_slower(cell, slides=0), parameters=LOOKED_FOR)
    finally:
        cell.close()
    board, what = MarkerBoard(), CalibrationConfig("front")
    cell = board_cell(board)
    try:
        camera = calibrate(BoardDrive(cell, board, what).collect(config.views), cell.embodiment, what)
    finally:
        cell.close()
    write_text(config.out / "arm.json", dynamics.to_json())
    write_text(config.out / "camera.json", camera.to_json())
    return Measured(dynamics, camera)


def board_cell(board: MarkerBoard) -> Cell:
    """The reality with a marker board in the gripper, pictures large enough to find its corners."""
    from palmar.sim.cell import Cell
    from palmar.transfer.board_world import BoardWorld

    def made(there: Reality) -> World:
        world = BoardWorld(board, reality=there)
        world.load_board()
        return world

    return Cell(REALITY, made=made)


def practices(found: Measured) -> dict[str, tuple[str, Worlds]]:
    """{arm: (its step in words, the worlds it practises in)}: the control first, then one measurement more each. Equal seeds make
    equal tables, and equal worlds but for what is known."""
    from palmar.sim.params import Randomization
    from palmar.transfer.digital_twin import digital_twin

    return {
        "control": ("control: practice, nothing measured", Randomization(REST)),
        "dynamics": ("the arm's dynamics identified", digital_twin([found.dynamics], REST)),
        "twin": ("camera and joint zeros calibrated too", digital_twin([found.dynamics, found.camera], REST)),
    }


def practise(
    config: DemoConfig,
    policy: Path,
    found: Measured,
    train: Callable[[Path, list[Path], TrainConfig, Path | None], Path],
) -> dict[str, Path]:
    """{arm: its policy}, each from the same policy, by as many demonstrations in worlds of its own and as many steps of training;
    the first demonstrations are kept. train: out, data, for how long, what to begin from."""
    from palmar.lab.collect import CollectConfig, collect
    from palmar.train.loop import TrainConfig

    out: dict[str, Path] = {}
    length = TrainConfig(steps=config.adapt_steps, lr=RATE, batch_size=BATCH)
    for arm, (_, worlds) in practices(found).items():
        practice = CollectConfig(config.adapt_episodes, seed=600_000, randomization=worlds)
        data = collect(config.out / f"data-{arm}", practice).root
        out[arm] = train(config.out / f"policy-{arm}", [config.out / "data", data], length, policy)
    return out


def truths(found: Measured) -> Mapping[str, tuple[float, float, float, bool, str, float | None]]:
    """{parameter: (value, low, high, identified, remark, truth)} of all that was looked for, for a report alone: here, after
    everything, the hidden point is read. The camera has no truth beside it: it was found in a base that the first joint's zero
    turns."""
    from palmar.sim.params import SPACE
    from palmar.sim.reality import reality
    from palmar.transfer.digital_twin import camera_ranges, zero_ranges

    hidden = reality(REALITY).hidden
    assert hidden is not None
    rows: dict[str, tuple[float, float, float, bool, str, float | None]] = {
        n: (e.value, e.low, e.high, e.identified, e.note, hidden[n]) for n, e in found.dynamics.estimates.items()
    }
    zeros = zero_ranges(found.camera)
    for n, (low, high) in (camera_ranges(found.camera) | zeros).items():
        if low < high:
            rows[n] = ((low + high) / 2, low, high, True, SPACE[n].meaning, hidden[n] if n in zeros else None)
    return rows
