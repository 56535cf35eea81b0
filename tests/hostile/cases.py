"""What is done with a changed folder, and what must hold: no traceback, no hang, bounded memory, nothing outside, no file lost."""

from __future__ import annotations

import faulthandler
import hashlib
import io
import os
import resource
import shutil
import signal
import stat
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mutations
import numpy as np
import robot_steps

from palmar.console import Screen
from palmar.errors import PalmarError
from palmar.types import Observation

SECONDS, MEGABYTES = 30, 1024
QUIET = Screen(file=io.StringIO())


class Hang(BaseException):
    """A case took longer than `SECONDS`."""


@dataclass(frozen=True)
class Fault:
    """What must not be. step: inspect, load, preflight, repair, undo, resume …"""

    kind: str
    seed: str
    change: str
    step: str
    what: str

    def __str__(self) -> str:
        return f"[{self.kind} {self.seed}] {self.change}\n    {self.step}: {self.what}"


# ------------------------------------------------------------------------------------------------ what is changed


def make_data(folder: Path, shared: bool) -> Path:
    """3 episodes of 12 frames, two cameras of 32 px."""
    from synthetic import ROBOT, episode, picture

    from palmar.data.writer import DatasetWriter

    robot = replace(ROBOT, cameras=tuple(replace(c, width=32, height=32) for c in ROBOT.cameras))
    root = folder / "set"
    writer = DatasetWriter(root, robot, 10)
    for i in range(3):
        made = episode(12, seed=i, instruction=f"task {i % 2}")
        steps = []
        for k, step in enumerate(made.steps):
            images = {cam.name: picture(k, i, n, 32) for n, cam in enumerate(robot.cameras)}
            steps.append(replace(step, observation=replace(step.observation, images=images)))
        writer.add(replace(made, steps=steps))
    writer.close(consolidate=shared)
    outside = folder / "outside"
    outside.mkdir(exist_ok=True)
    for path in (*root.glob("data/*/*"), *root.glob("videos/*/*/*"), *root.glob("meta/**/*.*")):
        shutil.copyfile(path, outside / path.name)
    return root


def make_checkpoint(folder: Path, name: str) -> Path:
    import torch

    from palmar.data.normalize import Normalizer
    from palmar.mapping import Interface
    from palmar.models.checkpoint import save
    from palmar.models.presets import preset

    config = preset(name)
    face = Interface(
        {"front": (32, 32)}, ("a.pos", "b.pos"), ("dx", "dy", "gripper"), horizon=4, offsets=config.offsets
    )
    torch.manual_seed(0)
    model = config.build(face)
    scales = {k: Normalizer(np.zeros(n), np.ones(n)) for k, n in (("state", 2), ("action", 3))}
    return save(folder / "checkpoint", model.state_dict(), config, face, scales)


def make_trained(folder: Path, name: str) -> Path:
    """A checkpoint of one step on the set of `make_data`, which lies in `demos` beside its files: to train on from."""
    from palmar.train.loop import train

    data = make_data(folder, True)
    root = train(_request(data, preset=name), folder / "checkpoint", progress=False)
    for path in (root / "train.safetensors", root / "metrics.jsonl"):
        path.unlink(missing_ok=True)
    shutil.copytree(data, root / "demos", ignore=shutil.ignore_patterns(".cache"))
    shutil.rmtree(folder / "outside")
    return root


def _request(data: Path, **settings: Any) -> Any:
    from palmar.train.prepare import TrainSettings, prepare

    few: Any = {"steps": 1, "batch_size": 2, "horizon": 4, "validation": 0.3}
    return prepare(TrainSettings(data=(data,), **few, **settings))


# ------------------------------------------------------------------------------------------------ what is done with it


def digests(root: Path, everything: bool = True) -> dict[str, str]:
    """By name; of links where they lead, of what is no file its kind."""
    out = {}
    for path in sorted(root.rglob("*")):
        name, mode = str(path.relative_to(root)), path.lstat().st_mode
        if name == ".lock" or (not everything and name.startswith((".cache",))):
            continue
        if stat.S_ISLNK(mode):
            out[name] = f"link to {path.readlink()}"
        elif stat.S_ISREG(mode):
            out[name] = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
        elif not stat.S_ISDIR(mode):
            out[name] = "special"
    return out


def payload(root: Path) -> set[str]:
    """Digests of all data files and videos, wherever they are in the set."""
    found = digests(root, everything=False)
    return {d for name, d in found.items() if name.endswith((".mp4", ".parquet")) and "meta/" not in name}


def look(root: Path) -> None:
    """All that only reads: inspect, preflight, every frame by seeking."""
    from synthetic import ROBOT

    from palmar.data.inspect import print_summary, summary
    from palmar.data.reader import Dataset
    from palmar.train.preflight import preflight

    dataset = Dataset(root, cache=False)
    refused: PalmarError | None = None
    for part in (
        lambda: summary(dataset), lambda: print_summary(dataset, QUIET), lambda: preflight(dataset, robot=ROBOT),
        lambda: read(dataset),
    ):  # fmt: skip
        try:
            part()
        except PalmarError as error:
            refused = error
    dataset.close()
    if refused is not None:
        raise refused


def read(dataset: Any) -> None:
    if len(dataset):
        dataset.batch(np.arange(min(len(dataset), 40)), 4)
        dataset.frame(len(dataset) - 1)
    assert dataset.stats is not None


def cached(root: Path) -> None:
    from palmar.data.reader import Dataset

    dataset = Dataset(root)
    if len(dataset):
        dataset.batch(np.arange(min(len(dataset), 5)), 2)
    dataset.close()


def repair(root: Path) -> None:
    """On the folder itself: nothing good is lost, and undo brings all back."""
    from palmar.data import repair as mending

    before, good = digests(root, everything=False), payload(root)
    try:
        done = mending.repair(root)
    except PalmarError as error:
        after = digests(root, everything=False)
        assert after == before, f"a refused repair changed {_differ(before, after)} ({error})"
        if "mending drops" not in str(error):
            raise
        done = mending.repair(root, drop=True)
    lost = good - payload(root)
    assert not lost, f"{len(lost)} data files or videos are gone: {_differ(before, digests(root))}"
    if not done.left:
        from palmar.data.reader import Dataset

        read(Dataset(root, cache=False))
    if done.kept:
        mending.undo(root)
    after = digests(root, everything=False)
    assert after == before, f"undo left {_differ(before, after)}"
    if done.left:
        raise LeftOver(done.left)


class LeftOver(PalmarError):
    """A repair that says itself that the set still cannot be read: no fault, but counted."""


def resume(root: Path) -> None:
    from synthetic import ROBOT

    from palmar.data.writer import DatasetWriter

    robot = replace(ROBOT, cameras=tuple(replace(c, width=32, height=32) for c in ROBOT.cameras))
    good = payload(root)
    writer = DatasetWriter(root, robot, 10, resume=True)
    lost = good - payload(root)
    try:
        assert not lost, f"recording on lost {len(lost)} data files or videos"
    finally:
        writer.close()


def load(root: Path) -> None:
    from palmar.models.checkpoint import load as load_checkpoint

    policy = load_checkpoint(root)
    face = policy.interface
    images = {c: np.zeros((*size, 3), np.uint8) for c, size in face.cameras.items()}
    if sum(x.size for x in images.values()) < 2**20:  # larger ones are sound, and slow
        policy.act(Observation(images, np.zeros(len(face.state_names), np.float32), "pick up the red cube", 0.0))


def config(root: Path) -> None:
    from synthetic import ROBOT

    from palmar.train.preflight import preflight

    preflight(checkpoint=root, robot=ROBOT)


def train(root: Path) -> None:
    """All that `palmar train` does, with one step of the smallest model: the set is read and cached, the model built, a batch
    drawn, a step made, the held-out frames looked at, the checkpoint written."""
    from palmar.train import loop

    loop.train(_request(root, preset="palmar-nano"), root / "out", progress=False)


def train_on(root: Path) -> None:
    """The same from the weights and the normalisers of a checkpoint (`palmar train --init`)."""
    from palmar.train import loop

    loop.train(_request(root / "demos", init=str(root)), root / "out", progress=False)


STEPS: dict[str, dict[str, Callable[[Path], None]]] = {
    "data": {"read": look, "repair": repair, "cache": cached, "resume": resume, "train": train},
    "checkpoint": {"preflight": config, "load": load, "train": train_on},
    "robot": {
        "show": robot_steps.show, "preflight": robot_steps.compare, "round trip": robot_steps.round_trip, "move": robot_steps.move,
    },
}  # fmt: skip
EVERY = {"cache": 4, "resume": 3}  # steps that not every case takes
READS = {"read", "preflight", "load", "show", "round trip", "move"}  # and write nothing


def _differ(a: dict[str, str], b: dict[str, str]) -> list[str]:
    return sorted(k for k in a.keys() | b.keys() if a.get(k) != b.get(k))[:6]


# ------------------------------------------------------------------------------------------------ guards


@contextmanager
def guarded(bytes_more: int = 3 << 30) -> Iterator[None]:
    """Bounded address space, an alarm for what hangs, no waiting for the disk."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    old, sync = resource.getrlimit(resource.RLIMIT_AS), os.fsync
    resource.setrlimit(resource.RLIMIT_AS, (used + bytes_more, old[1]))
    os.fsync = lambda handle: None  # type: ignore[assignment]

    def alarm(*_: Any) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, alarm)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        os.fsync = sync
        resource.setrlimit(resource.RLIMIT_AS, old)


_watched: dict[str, Any] = {"root": "", "seen": []}
ALLOWED = tuple(
    os.path.realpath(path)
    for path in (
        "/proc",
        "/sys",
        "/dev",
        sys.prefix,
        sys.base_prefix,
        Path(__file__).parents[2],
        "/usr/lib",
        "/lib",
        Path(tempfile.gettempdir()) / "torchinductor",  # made when torch is imported
    )
)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    """Paths that Python opens, moves or removes outside the folder at hand."""
    if not _watched["root"] or event not in (
        "open",
        "os.rename",
        "os.remove",
        "os.mkdir",
        "os.rmdir",
        "os.link",
        "os.symlink",
    ):
        return
    for name in arguments[:2] if event in ("os.rename", "os.link") else arguments[:1]:
        path = os.fsdecode(name) if isinstance(name, str | bytes | os.PathLike) else ""
        if path and not os.path.realpath(path).startswith((_watched["root"], *ALLOWED)):
            _watched["seen"].append(f"{event} {path}")


_heard = False


@contextmanager
def watched(folder: Path) -> Iterator[list[str]]:
    """What Python touches outside `folder` meanwhile."""
    global _heard
    if not _heard:
        sys.addaudithook(_hear)
        _heard = True
    _watched.update(root=os.path.realpath(folder), seen=[])
    try:
        yield _watched["seen"]
    finally:
        _watched["root"] = ""


# ------------------------------------------------------------------------------------------------ one case


def run_case(kind: str, source: Path, seed: str, place: Path) -> tuple[str, list[Fault], dict[str, str]]:
    """Change a copy of `source`, and do all that is done with such a folder. Returns (what was changed, faults, outcomes)."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    if (source.parent / "outside").exists():
        shutil.copytree(source.parent / "outside", place / "outside")
    spoiled = shutil.copytree(source, place / "spoiled", symlinks=True)
    name, change = mutations.mutate(kind, spoiled, seed)
    faults: list[Fault] = []
    outcomes: dict[str, str] = {}
    beside = digests(place / "outside") if (place / "outside").exists() else {}
    number = int(seed.rpartition(".")[2])
    for step, do in STEPS[kind].items():
        if number % EVERY.get(step, 1):
            continue
        root = spoiled
        if step not in READS:
            root = place / step
            _copy(spoiled, root)
        outcomes[step] = _attempt(
            step, do, root, lambda what, step=step: faults.append(Fault(kind, seed, change, step, what))
        )
    if beside and digests(place / "outside") != beside:
        faults.append(Fault(kind, seed, change, "all", "something outside the set was written"))
    return f"{name}: {change}", faults, outcomes


def _copy(source: Path, target: Path) -> None:
    """Also of pipes, and of links that lead to the folder itself."""
    target.mkdir()
    for path in source.iterdir():
        mode, place = path.lstat().st_mode, target / path.name
        if stat.S_ISLNK(mode):
            link = path.readlink()
            place.symlink_to(place if link == path else link)
        elif stat.S_ISDIR(mode):
            _copy(path, place)
        elif stat.S_ISFIFO(mode):
            os.mkfifo(place)
        else:
            shutil.copyfile(path, place)


def _attempt(step: str, do: Callable[[Path], None], root: Path, fault: Callable[[str], None]) -> str:
    peak, held = _peak(), _now()
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    faulthandler.dump_traceback_later(4 * SECONDS, exit=True)
    try:
        with watched(root) as outside:
            do(root)
        outcome = "well"
    except PalmarError as error:
        outcome = type(error).__name__
        if not str(error).strip() or "\n" in str(error).strip():
            fault(f"a message of no or many lines: {str(error)!r:.200}")
    except Hang:
        outcome = "hang"
        fault(f"took more than {SECONDS} s")
    except Exception as error:
        outcome = "traceback"
        fault("".join(traceback.format_exception(error)[-4:]).strip().replace("\n", "\n        "))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
    if outside:  # what was imported on the way may look elsewhere once
        fault(f"touched outside the set: {outside[:3]}")
    grown = _peak() - held  # of this step: what ran before in the process has had memory of its own
    if _peak() > peak and grown > MEGABYTES:
        fault(f"memory grew by {grown:.0f} MB; expected at most {MEGABYTES}")
    return outcome


def _peak() -> float:
    """The most memory that the process has had [MB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _now() -> float:
    """The memory it has [MB]."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
