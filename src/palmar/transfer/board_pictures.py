"""Views of a board from pictures on the disk: a folder with joint positions beside it, or the frames of a data set.

The folder holds pictures (.png, .jpg) and, for a robot, `joints.json`: {"NAME.png": {"CHANNEL": value, …}, …}, or a list of numbers
in the order of the robot's channels in place of the inner table, in the channels' own units, read while the arm was at rest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from palmar.embodiments import Embodiment
from palmar.errors import BadFile, BadValue, UnknownName, need, regular_file
from palmar.transfer.board_views import LEAST_CORNERS, LEAST_VIEWS, BoardViews
from palmar.transfer.marker_board import MarkerBoard
from palmar.types import Array

SUFFIXES = (".png", ".jpg", ".jpeg")
JOINTS = "joints.json"
MOST_PICTURES = 2000
STILL = 0.02  # share of a joint's range a second up to which an arm counts as at rest


def views_of_folder(
    folder: str | Path, board: MarkerBoard, robot: Embodiment | None = None, frame: str = ""
) -> tuple[BoardViews, dict[int, str], dict[str, str]]:
    """(views, {index: name of the picture}, {name: why it was left out}).

    Raises `BadFile` for a folder without pictures, a `joints.json` that is missing, damaged or does not name them, `BadValue` for
    pictures of different sizes and when the board is found in fewer than three.
    """
    need("PIL", "data")
    from PIL import Image, UnidentifiedImageError

    folder = Path(folder)
    if not folder.is_dir():
        raise BadFile(
            f"there is no folder '{folder}'. Next: a folder of pictures of the board, with {JOINTS} beside them"
        )
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    if not files or len(files) > MOST_PICTURES:
        raise BadFile(
            f"'{folder}' holds {len(files)} pictures; expected 1 … {MOST_PICTURES} of {', '.join(SUFFIXES)}. Next: 25 or so, "
            "each from another view"
        )
    rows = {} if robot is None else read_joints(folder / JOINTS, robot)
    pictures: dict[str, Array] = {}
    left: dict[str, str] = {}
    for file in files:
        try:
            with Image.open(regular_file(file)) as opened:
                pictures[file.name] = np.asarray(opened.convert("RGB"))
        except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
            raise BadFile(f"'{file}' is no picture ({str(error)[:120]}). Next: remove it, or save it again") from error
    if robot is not None:
        for name in [n for n in pictures if n not in rows]:
            left[name] = f"{JOINTS} does not name it"
            del pictures[name]
    return _found(pictures, rows, board, robot, frame, left)


def views_of_dataset(
    dataset: Any, camera: str, board: MarkerBoard, robot: Embodiment, frame: str = "", count: int = 40
) -> tuple[BoardViews, dict[int, str], dict[str, str]]:
    """The same of `count` frames of a `Dataset`, spread over all of it, each where the arm moves least.

    Raises `UnknownName` for a camera that it has not, `BadValue` where its state does not name the robot's joint positions.
    """
    if camera not in dataset.cameras:
        raise UnknownName("camera of the data set", camera, dataset.cameras)
    chosen = robot.frame(frame)
    where, scale = [], []
    for joint in chosen.joints:
        names = [m.name for m in robot.state if m.quantity == "position" and m.of == joint] + [f"{joint}.pos", joint]
        at = next((dataset.state_names.index(n) for n in names if n in dataset.state_names), None)
        if at is None:
            raise BadValue(
                f"the data set's state is {', '.join(dataset.state_names)}; expected {names[0]} among it. Next: a robot file "
                "whose joints are called as there (palmar robot make SET)"
            )
        where.append(at)
        channel = robot.channels[robot.index(joint)]
        scale.append(abs(channel.upper - channel.lower) if np.isfinite(channel.upper - channel.lower) else 2 * np.pi)
    states = dataset.states[:, where].astype(float)
    motion = np.full(len(states), np.inf)
    if len(states) > 2:
        same = (dataset.episode_of[2:] == dataset.episode_of[:-2]) & np.isfinite(states[2:] - states[:-2]).all(1)
        rate = np.abs(states[2:] - states[:-2]).max(1, initial=0.0, where=np.isfinite(states[2:] - states[:-2]))
        motion[1:-1] = np.where(same, rate * dataset.fps / 2 / max(scale), np.inf)
    pictures: dict[str, Array] = {}
    rows: dict[str, Array] = {}
    left: dict[str, str] = {}
    for part in np.array_split(np.arange(len(states)), min(count, max(len(states), 1))):
        if not len(part):
            continue
        i = int(part[int(np.argmin(motion[part]))])
        name = f"frame {i}"
        if motion[i] > STILL:
            left[name] = "the arm moves"
            continue
        pictures[name] = dataset.picture(camera, i)
        command = robot.home.copy()
        command[robot.path(chosen)] = states[i]
        rows[name] = command
    return _found(pictures, rows, board, robot, frame, left)


def read_joints(path: Path, robot: Embodiment) -> dict[str, Array]:
    """{picture: float64[N] command} of a `joints.json`; channels that it leaves out are at home. Raises `BadFile`."""
    wanted = f'expected {{"NAME.png": {{"{robot.channel_names[0]}": 0.1, …}}, …}} in the units of {robot.name}'
    try:
        table = json.loads(regular_file(path).read_text("utf-8"))
    except FileNotFoundError:
        raise BadFile(
            f"there is no '{path}'; {wanted}. Next: write it, or leave --robot out to calibrate the lens alone"
        ) from None
    except (ValueError, RecursionError) as error:
        raise BadFile(f"'{path}' is no JSON ({error}); {wanted}. Next: mend it") from error
    if not isinstance(table, dict):
        raise BadFile(f"'{path}' is a {type(table).__name__}; {wanted}. Next: mend it")
    out: dict[str, Array] = {}
    for name, given in table.items():
        command = robot.home.copy()
        pairs = (
            given.items()
            if isinstance(given, Mapping)
            else zip(robot.channel_names, given if isinstance(given, list) else (), strict=False)
        )
        if isinstance(given, list) and len(given) != len(robot.channels):
            raise BadFile(
                f"'{path}': '{name}' has {len(given)} numbers; expected {len(robot.channels)}. Next: one for each channel"
            )
        if not isinstance(given, Mapping | list):
            raise BadFile(f"'{path}': '{name}' is {given!r}; {wanted}. Next: mend it")
        for channel, value in pairs:
            if channel not in robot.channel_names:
                raise BadFile(
                    f"'{path}': '{name}' has '{channel}'; {robot.name} has {', '.join(robot.channel_names)}. Next: mend it"
                )
            if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
                raise BadFile(f"'{path}': {channel} of '{name}' is {value!r}; expected a number. Next: mend it")
            command[robot.index(channel)] = value
        if isinstance(given, Mapping) and (lost := [j for f in robot.frames for j in f.joints if j not in given]):
            raise BadFile(
                f"'{path}': '{name}' has no {lost[0]}; expected every joint on the way to a frame. Next: mend it"
            )
        out[str(name)] = command
    return out


def _found(
    pictures: Mapping[str, Array],
    rows: Mapping[str, Array],
    board: MarkerBoard,
    robot: Embodiment | None,
    frame: str,
    left: dict[str, str],
) -> tuple[BoardViews, dict[int, str], dict[str, str]]:
    pixels: list[Array] = []
    names: dict[int, str] = {}
    positions: list[Array] = []
    sizes = {p.shape[:2] for p in pictures.values()}
    if len(sizes) > 1:
        shown = ", ".join(f"{w}×{h}" for h, w in sorted(sizes))
        raise BadValue(f"pictures are of {shown} px; expected one size. Next: pictures of one camera in one setting")
    for name, picture in pictures.items():
        corners = board.find(picture)
        if (count := int(np.isfinite(corners[:, 0]).sum())) < LEAST_CORNERS:
            left[name] = f"{count} corners of the board were found; {LEAST_CORNERS} are needed"
            continue
        names[len(pixels)] = name
        pixels.append(corners)
        if robot is not None:
            positions.append(robot.positions(robot.frame(frame), rows[name]))
    if len(pixels) < LEAST_VIEWS:
        raise BadValue(
            f"the board was found in {len(pixels)} of {len(pictures)} pictures; expected {LEAST_VIEWS} or more, better 20. Next: "
            f"check --columns {board.columns}, --rows {board.rows}, --dictionary {board.dictionary}; more light, and nearer"
        )
    height, width = sizes.pop()
    given = None if robot is None else np.array(positions)
    return BoardViews(board.corners, np.array(pixels), width, height, given), names, left
