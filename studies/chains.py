"""The links of the way from simulation to a reality: measure it, practise in what was measured, add demonstrations made in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from making import as_many

from palmar.choices import Scale
from palmar.data.mixture import Mixture
from palmar.data.reader import Dataset
from palmar.files import write_text
from palmar.lab.collect import CollectConfig
from palmar.models.base import ModelConfig
from palmar.models.checkpoint import read_config
from palmar.ranges import Processes
from palmar.sim.draws import Worlds
from palmar.sim.instructions import paraphrases
from palmar.sim.params import NO_RANDOMIZATION
from palmar.sim.reality import reality
from palmar.sim.world import World
from palmar.train.dagger import Gather
from palmar.train.loop import TrainConfig, TrainRequest, train
from palmar.train.recipe import Recipe, Stage
from palmar.transfer.board_drive import BoardDrive
from palmar.transfer.board_world import BoardWorld
from palmar.transfer.calibrated import CameraCalibration
from palmar.transfer.calibration import CalibrationConfig, calibrate
from palmar.transfer.diagnose import diagnose_slower, table
from palmar.transfer.digital_twin import read_part
from palmar.transfer.identification import Identification
from palmar.transfer.marker_board import MarkerBoard
from palmar.transfer.sysid import identify

ARM_ALONE: dict[str, Any] = {"seconds": 20.0, "slides": 0}
"""Of the diagnostic motions: no thing is pushed, because where joints lag far the guards stop the swings of a slide."""
VIEWS = 25
"""Of the marker board."""


def parts(folder: Path, name: str, seed: int) -> list[Identification | CameraCalibration]:
    """What motions of a seed and a board tell of a reality: its dynamics; its camera and joint zeros. Made once."""
    dynamics, camera = (folder / f"{what}-{seed}.json" for what in ("dynamics", "camera"))
    folder.mkdir(parents=True, exist_ok=True)
    if not dynamics.exists():
        body = World(images=False, reality=reality(name))
        body.load(table(), seed=seed)
        write_text(dynamics, identify(diagnose_slower(body, seed=seed, **ARM_ALONE), progress=False).to_json())
    if not camera.exists():
        board, about = MarkerBoard(), CalibrationConfig()
        held = BoardWorld(board, "hand", reality=reality(name))
        held.load_board(seed=seed)
        views = BoardDrive(held, board, about, lambda *_: None).collect(VIEWS, seed)
        held.close()
        write_text(camera, calibrate(views, held.embodiment, about).to_json())
    return [read_part(dynamics), read_part(camera)]


def demonstrated(
    folder: Path, name: str, tasks: Sequence[str], episodes: int, seed: int, processes: Processes = None
) -> Dataset:
    """Demonstrations made in a reality: by the scripted expert, who stands for a person and sees where things are."""
    asked = CollectConfig(episodes, tuple(tasks), seed, NO_RANDOMIZATION, world=name)
    return as_many(folder, asked, 1, processes)


def practised(tasks: Sequence[str], worlds: Worlds, frames: int, processes: Processes = None) -> Gather:
    """Episodes that the learner drives and the expert labels, until they hold so many frames."""

    def gather(out: Path, driver: Path, beta: float, seed: int, episodes: int) -> Dataset:
        asked = CollectConfig(1, tuple(tasks), seed, worlds, driver=str(driver), beta=beta)
        return as_many(out, asked, frames, processes)

    return gather


def fitted(
    where: Path,
    data: Sequence[Any],
    config: TrainConfig,
    begin: ModelConfig | str | Path,
    real: float = 0.0,
    normalizer: Scale = "check",
) -> Path:
    """A checkpoint. begin: a model without weights, or a checkpoint to go on from. real: this share of each batch is from the
    last set, whatever the sizes; 0: all frames count alike. normalizer: as of `TrainRequest`."""
    mixture = None
    if real:
        simulated = sum(len(d) for d in data[:-1])
        shares = (*[(1 - real) / simulated] * (len(data) - 1), real / len(data[-1]))
        mixture = Mixture(temperature=1.0, sources=shares)
    init = begin if isinstance(begin, str | Path) else None
    model = read_config(begin)[0] if isinstance(begin, str | Path) else begin
    recipe = Recipe("real" if real else "all", (Stage(data=mixture),))
    request = TrainRequest(
        model,
        data,
        config,
        recipe,
        embodiment="arm7",
        init=init,
        normalizer=normalizer,
        paraphrases=paraphrases,
    )
    return train(request, where, resume=True)
