"""What each extra is for, done once in an environment that holds nothing else. `scripts/packages.py` runs it there.

    ENVIRONMENT/bin/python -I scripts/smoke.py EXTRA

A function for each extra of pyproject.toml, under its name, and `base` for none. Its first line says what it tries. It works in the
current folder, and fails by an assertion.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from contextlib import redirect_stdout
from importlib.util import find_spec
from pathlib import Path

import numpy as np


def palmar(*words: str | Path, code: int = 0) -> str:
    """What a command prints. Fails unless it ends with this exit code."""
    done = subprocess.run([sys.executable, "-I", "-m", "palmar.cli", *map(str, words)], capture_output=True, text=True)
    assert done.returncode == code, f"palmar {words} ended with {done.returncode}: {done.stderr}"
    return done.stdout + (done.stderr if code else "")


def figures(*words: str | Path) -> dict:
    """The figures of a command."""
    return json.loads(palmar(*words, "--json"))


def figures_here(*words: str | Path) -> dict:
    """The figures of a command that runs in this process, where torch is imported already."""
    from palmar.cli.main import main

    with redirect_stdout(io.StringIO()) as said:
        assert main([*map(str, words), "--json"]) == 0, said.getvalue()
    return json.loads(said.getvalue())


def base() -> None:
    """The installed command explains itself; guards hold an arm that is told nonsense; what is missing is named."""
    from palmar.robots.arm7 import arm7
    from palmar.runtime.mock import MockBody
    from palmar.runtime.safety.filter import Safety

    for heavy in ("torch", "mujoco", "pyarrow", "av", "PIL", "websockets", "transformers", "matplotlib"):
        assert find_spec(heavy) is None, heavy
    script = Path(sys.prefix) / "bin" / "palmar"
    help_text = subprocess.run([script, "--help"], capture_output=True, text=True, check=True).stdout
    assert "serve-body" in help_text and "estop" in help_text
    assert figures("robot", "show", "so101")["name"] == "so101"
    assert "palmar[sim]" in palmar("collect", "--out", "demos", "--episodes", "1", code=2)
    assert "palmar[learn]" in palmar("serve", "shipped", code=2)
    robot = arm7()
    body, safety = MockBody(robot), Safety(robot)
    obs = body.reset()
    safety.reset(robot.home)
    for tick in range(20):
        verdict = safety.check(robot.home + np.inf, obs, tick / robot.control_rate)
        body.apply(verdict.command)
    assert verdict.reasons and np.abs(np.array(body.commands) - robot.home).max() < 0.2


def data() -> None:
    """A data set of pictures is written, inspected, and mended after a file was lost."""
    record(Path("set"))
    found = figures("inspect", "set", "--html", "page.html")
    assert (found["episodes"], found["frames"]) == (3, 36), found
    assert Path("page.html").stat().st_size > 10_000
    Path("set/meta/info.json").unlink()
    palmar("repair", "set")
    assert figures("inspect", "set")["episodes"] == 3


def record(root: Path, space: str = "ee_delta") -> None:
    """Three episodes of twelve steps, each picture a gradient that moves. space: of the actions."""
    from palmar.data.writer import DatasetWriter
    from palmar.robots.arm7 import arm7
    from palmar.types import Episode, Observation, Step

    robot = arm7().with_action_space(space)
    y, x = np.mgrid[:96, :96]
    with DatasetWriter(root, robot, 10) as writer:
        for seed in range(3):
            rng, steps = np.random.default_rng(seed), []
            for i in range(12):
                picture = np.stack([(x + 4 * i) % 200, (y + 9 * seed) % 200, x * 0 + 40], -1).astype(np.uint8)
                state = rng.normal(size=len(robot.state_names)).astype(np.float32)
                action = rng.normal(size=len(robot.action_names)).astype(np.float32)
                seen = Observation({c.name: picture for c in robot.cameras}, state, "pick up the red cube", i / 10)
                steps.append(Step(seen, action, action))
            writer.add(Episode("pick up the red cube", "pick", seed, "expert", steps, True, "done", 1.2, {}))


def sim() -> None:
    """An expert reaches in a world with pictures, what it did is a data set, and it succeeds on tables of an evaluation."""
    done = figures("collect", "--out", "demos", "--episodes", "1", "--tasks", "reach", "--processes", "1")
    assert done["saved"] == 1, done
    assert figures("inspect", "demos")["frames"] > 5
    tried = figures("eval", "--policy", "expert", "--tasks", "reach", "--episodes", "2", "--processes", "1")
    assert tried["success"]["layout"]["all"]["successes"] == 2, tried
    from palmar.sim import tasks
    from palmar.sim.world import World

    picture = World().load(tasks.sample("reach", seed=1)).images["front"]
    assert picture.std() > 10, "the picture is of one colour"


def sysid() -> None:
    """The gain of a simulated arm is identified from one short motion."""
    from palmar.sim.params import WorldParams
    from palmar.sim.world import World
    from palmar.transfer.diagnose import diagnose, table
    from palmar.transfer.sysid import identify

    world = World(images=False)
    world.load(table(), WorldParams({"gain": 0.85}))
    found = identify(diagnose(world, seconds=3.0, held_out=2.0, slides=0), parameters=("gain",), progress=False)
    gain = found.estimates["gain"]
    assert gain.identified and abs(gain.value - 0.85) < 0.05, gain


def calibration() -> None:
    """A board is drawn and found again, and the lens that saw three of it is calibrated."""
    from palmar.transfer.board_views import BoardViews
    from palmar.transfer.calibration import CalibrationConfig, calibrate
    from palmar.transfer.marker_board import MarkerBoard

    palmar("calibrate", "--board", "board.png")
    board = MarkerBoard()
    picture = np.pad(board.draw(40), ((60, 60), (60, 60), (0, 0)), constant_values=255)
    corners = board.find(picture)
    assert np.isfinite(corners).all() and np.ptp(corners[:, 0]) > 150
    lean = np.array([[[1, 0.1 * k], [0, 1 + 0.05 * k]] for k in range(3)])
    seen = np.stack([(corners - 200) @ m.T / (1 + 5e-4 * k * (corners[:, :1] - 200)) + 200 for k, m in enumerate(lean)])
    found = calibrate(BoardViews(board.corners, seen, 400, 320), config=CalibrationConfig(lens="simulated"))
    assert found.place == "alone" and np.isfinite(found.lens["fx"])


def learn() -> None:
    """The shipped policy acts; a small one is trained for three steps, and acts."""
    act("shipped")
    record(Path("set"))
    assert (
        figures_here("train", "act-tiny", "--data", "set", "--out", "run", "--steps", "3", "--batch-size", "4")["step"]
        == 3
    )
    act("run")


def act(name: str) -> np.ndarray:
    """The actions of a policy for a fixed observation: finite, as many and as wide as it says."""
    from palmar import Observation, load_policy

    policy = load_policy(name)
    face = policy.interface
    rng = np.random.default_rng(0)
    images = {c: rng.integers(0, 256, (*size, 3), np.uint8) for c, size in face.cameras.items()}
    chunk = policy.act(Observation(images, np.zeros(len(face.state_names), np.float32), "pick up the red cube"))
    assert chunk.actions.shape[1] == len(face.action_names) and np.isfinite(chunk.actions).all(), chunk.actions
    assert len(chunk.actions) > 1 and np.abs(chunk.actions).max() > 0
    return chunk.actions


def pretrained() -> None:
    """The encoder that has seen ImageNet has its weights: another picture has other features."""
    import torch

    from palmar.models.imagenet import ImagenetConfig

    encoder = ImagenetConfig(stages=3).build(0)
    pictures = torch.stack([torch.zeros(3, 64, 64), torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))])
    with torch.no_grad():
        dark, noise = encoder(pictures)
    assert dark.shape == (64, 40) and (dark - noise).abs().mean() > 0.1


def serve() -> None:
    """A policy that is served is asked over a websocket, with and without the key; its health and its counts are read."""
    from palmar import ActionChunk, Observation, load_policy
    from palmar.errors import PalmarError
    from palmar.robots.arm7 import arm7
    from palmar.serve.server import PolicyServer, ServeConfig

    face = arm7().interface(8)

    class Still:
        interface = face

        def reset(self) -> None: ...

        def act(self, obs: Observation, prefix: object = None) -> ActionChunk:
            return ActionChunk(np.full((8, len(face.action_names)), obs.state[0], np.float32), 0.1, obs.time)

    server = PolicyServer(Still(), ServeConfig(port=0, key="a-key-of-this-test"), "still", "abc")
    ready = threading.Event()
    threading.Thread(target=lambda: asyncio.run(server.run(lambda _: ready.set())), daemon=True).start()
    assert ready.wait(20)
    images = {c: np.zeros((*size, 3), np.uint8) for c, size in face.cameras.items()}
    seen = Observation(images, np.full(len(face.state_names), 0.25, np.float32), "reach", 3.0)
    try:
        load_policy(server.address).act(seen)
    except PalmarError:
        pass
    else:
        raise AssertionError("it answered without the key")
    os.environ["PALMAR_API_KEY"] = server.config.key
    assert np.array_equal(load_policy(server.address).act(seen).actions, np.full((8, len(face.action_names)), 0.25))
    page = server.address.replace("ws:", "http:")
    with urllib.request.urlopen(page + "/healthz", timeout=10) as answer:
        assert answer.status == 200
    counts = urllib.request.Request(page + "/metrics", headers={"Authorization": f"Api-Key {server.config.key}"})
    with urllib.request.urlopen(counts, timeout=10) as answer:
        assert b"palmar_" in answer.read()


def page() -> None:
    """The page of a session is served, says it is well, and refuses a stop of another origin."""
    from palmar.serve.page.config import PageConfig
    from palmar.serve.page.run import RunPage

    page = RunPage(PageConfig(port=0), {"policy": "none", "robot": "mock"})
    try:
        with urllib.request.urlopen(page.address, timeout=30) as answer:
            assert b"Stop the robot" in answer.read()
        with urllib.request.urlopen(page.address + "/healthz", timeout=30) as answer:
            assert answer.read() == b"OK\n"
        stranger = urllib.request.Request(page.address + "/stop", b"{}", {"Origin": "http://evil.example"})
        try:
            urllib.request.urlopen(stranger, timeout=30)
        except urllib.error.HTTPError as error:
            assert error.code == 403
        else:
            raise AssertionError("a stranger stopped the robot")
    finally:
        page.close()


def report() -> None:
    """A page with a table, an interval and a figure is made of twenty trials."""
    from palmar.eval.report import Report, ReportData
    from palmar.eval.results import Results, Trial

    trials = tuple(
        Trial("reach", "layout", "sim", s, "reach the cube", s > 4, 2.0, True, "cube", True, 0.01, 1.0, 0.0, 10, 0)
        for s in range(20)
    )
    Results({"policy": "mine"}, trials).save("results.json")
    page = (
        Report(ReportData(title="Mine", results={"mine": Results.load("results.json")})).save("report.html").read_text()
    )
    assert "<svg" in page and "15 of 20" in page and "75 %" in page


def export() -> None:
    """The shipped policy answers alike from ONNX Runtime, on recorded observations."""
    exported("onnx")


def openvino() -> None:
    """The shipped policy answers alike from OpenVINO, on recorded observations."""
    exported("openvino")


def exported(to: str) -> None:
    record(Path("set"))
    done = figures_here("export", "shipped", "--out", "fast", "--to", to, "--data", "set", "--observations", "8")
    assert done["parity"]["mean"] < 0.01, done
    assert np.abs(act("fast") - act("shipped")).max() < 0.01


def gym() -> None:
    """A stock call of Gymnasium makes the table; ten random steps stay in its spaces."""
    import gymnasium

    env = gymnasium.make("palmar.sim.registered:palmar/Table-v0", task="reach")
    obs, info = env.reset(seed=0)
    for _ in range(10):
        obs, reward, *_ = env.step(env.action_space.sample())
        assert env.observation_space.contains(obs) and np.isfinite(reward)
    assert info["instruction"]


def rl() -> None:
    """A teacher learns by trial for a few steps, and drives without the library's files."""
    from palmar.policy import load_policy
    from palmar.train.reinforce import Reinforce, reinforce

    folder = reinforce(Reinforce(steps=64, rollout=64, batch_size=32, epochs=1, timeout=1.0), Path("teacher"))
    assert {p.name for p in folder.iterdir()} == {"config.json", "model.safetensors"}
    assert load_policy(str(folder)).interface.cameras == {}


def mcap() -> None:
    """A run is recorded, and opened again by the mcap package."""
    from mcap.reader import make_reader

    from palmar.robots.arm7 import arm7
    from palmar.runtime.loop import rollout
    from palmar.runtime.mock import MockBody
    from palmar.runtime.records.mcap_file import McapRecorder
    from palmar.types import ActionChunk

    robot = arm7()

    class Still:
        interface = robot.interface(2)

        def reset(self) -> None:
            pass

        def act(self, obs, prefix=None) -> ActionChunk:
            return ActionChunk(np.zeros((2, len(robot.action_names)), np.float32), 0.1, obs.time)

    body, recorder = MockBody(robot), McapRecorder("run.mcap", {"policy": "still"})
    rollout(body, Still(), body.reset(), subscribers=[recorder], timeout=1.0)
    recorder.close()
    with Path("run.mcap").open("rb") as file:
        topics = [channel.topic for _, channel, _ in make_reader(file).iter_messages()]
    assert topics.count("/command") == 50, topics


def hub() -> None:
    """A push without a token is refused before anything is sent, and a hub that is not there is named."""
    record(Path("set"))
    os.environ |= {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_DISABLE_TELEMETRY": "1"}
    os.environ.pop("HF_TOKEN", None)
    assert "HF_TOKEN" in palmar("push", "set", "me/set", "--license", "mit", code=2)
    said = palmar("pull", "me/set", "--out", "got", code=2)
    assert "http://127.0.0.1:9" in said and not Path("got").exists(), said


def ros() -> None:
    """A data set becomes a bag of ROS 2, and is read back."""
    record(Path("set"), "channels")
    assert figures("bag", "set", "--out", "bag", "--robot", "arm7")["frames"] == 36
    found = figures("import", "bag", "--out", "back", "--robot", "arm7")
    assert figures("inspect", "back")["episodes"] == 3, found


def ray() -> None:
    """The same evaluation over a Ray of this machine and here; a cluster that is not there is named."""
    same = ("eval", "--policy", "expert", "--tasks", "reach", "--episodes", "2")
    over, here = (figures(*same, "--processes", n) for n in ("ray:local", "1"))
    for name in ("success", "jerk_rms_median", "commands"):
        assert over[name] == here[name], (over, here)
    assert "127.0.0.1:9" in palmar(*same, "--processes", "ray:127.0.0.1:9", code=2)


def agent() -> None:
    """The rules plan without a model; the docs that come with the package are searched by words; a key is asked for by name."""
    from palmar.agent.language_planner import find_planner
    from palmar.agent.plans import Plan, PlanRequest
    from palmar.agent.retrieval import Index
    from palmar.agent.rules.planner import RulePlanner
    from palmar.agent.seen import SceneDescription, SeenObject
    from palmar.agent.sources import documentation
    from palmar.errors import BadValue

    for heavy in ("torch", "mujoco"):
        assert find_spec(heavy) is None, heavy
    scene = SceneDescription((SeenObject("red cube"), SeenObject("blue plate", True)))
    plan = RulePlanner().decide(PlanRequest("put the cube on the plate", scene))
    assert isinstance(plan, Plan) and str(plan.steps[0]) == "place_on(red cube, blue plate)"
    index = Index(documentation(), quiet=True)
    assert index.search("how do I stop the robot from a browser?") and index.without_meaning
    try:
        find_planner("anthropic")
    except BadValue as error:
        assert "--planner rules" in str(error)
    else:
        raise AssertionError("a planner without a key")
    assert "palmar[" in palmar("agent", "push the cube left", code=2)


def track() -> None:
    """A row of training lies in a Trackio run, kept on this machine, and in an offline run of W&B."""
    os.environ |= {"TRACKIO_DIR": str(Path("trackio").absolute()), "WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    from palmar.train.track import trackio, wandb

    for start in (trackio, wandb):
        start("palmar")({"step": 1, "loss": 0.5})
    import trackio as kept
    import wandb as offline

    kept.finish()
    offline.finish()
    assert list(Path("trackio").glob("*.db")) and list(Path("wandb").glob("offline-run-*/*.wandb"))


if __name__ == "__main__":
    import palmar as package

    assert Path(package.__file__).is_relative_to(sys.prefix), f"{package.__file__} is not of this environment"
    globals()[sys.argv[1]]()
