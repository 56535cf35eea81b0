"""Two processes are one, whether each has all of the weights or half of them."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from squares import Squares
from training import train

from palmar.data.mixture import Mixture
from palmar.errors import BadFile, BadValue
from palmar.models.presets import palmar_nano
from palmar.models.tensors import read_tensors, write_tensors
from palmar.policy import load_policy
from palmar.train import sharded
from palmar.train.checks import check_shard
from palmar.train.loop import TrainConfig
from palmar.train.lora import Lora
from palmar.train.recipe import Recipe, Stage
from palmar.train.run import Run
from palmar.train.world import World, forked, seed
from palmar.types import Observation

HERE = Path(__file__).parent
SCRIPT = """
import os
import sys
from dataclasses import replace
from pathlib import Path
from speaking import SpeakingConfig
from squares import Squares
from test_robots import Gantry, OTHER
from palmar.models.sequence import SelfAttentionConfig
from palmar.models.transformer import TransformerConfig
from palmar.models.vision import SmallConvConfig
from palmar.models.vla import VLAConfig
from palmar.train.lora import Lora
from palmar.train.loop import TrainConfig
from training import train
from palmar.train.recipe import Recipe, Stage
import torch._dynamo  # what training imports, before the fork: three imports of it take longer than all that is trained
from transformers import AutoModel, AutoTokenizer, BertModel

children = []
for name, rank, size in (("one", 0, 1), ("two", 0, 2), ("two", 1, 2)):
    if (pid := os.fork()) == 0:
        os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": sys.argv[2]}
        break
    children.append(pid)
else:
    sys.exit(any([os.waitpid(pid, 0)[1] for pid in children]))

out, two = Path(sys.argv[1]) / name, size == 2
config = TrainConfig(
    steps=12, horizon=4, batch_size=16, threads=1, log_every=1, augment=None, validate=2, validation=0.1, precision="fp32",
    validate_share=0.95,
)
train(SpeakingConfig(), Squares(200, ragged=True), out / "plain", config, progress=False)

layers = TransformerConfig(width=24, layers=2, heads=2, hidden=37, dropout=0.0)
robots = VLAConfig(vision=SmallConvConfig(channels=(8, 16), out=16), fusion=SelfAttentionConfig(layers), robots=(OTHER,))
given = {"others": {"gantry": [Gantry(200)]}, "progress": False}
train(robots, Squares(200, ragged=True), out / "robots", replace(config, steps=6), **given)

adapters = Lora(rank=2, alpha=4.0, targets=("fusion", "heads"))
plan = Recipe("many", (Stage("head", train=("@head",)), Stage("lora", lora=adapters), Stage("all", train=("*",))))
cut = replace(config, steps=6, shard=two, accumulate=2, patience=9, lr=3e-3)
train(robots, Squares(200, ragged=True), out / "sharded", cut, recipe=plan, **given)

def stop(row):
    if row["step"] == 3:
        raise KeyboardInterrupt

if two:
    try:
        train(robots, Squares(200, ragged=True), out / "cut", cut, recipe=plan, watch=stop, **given)
    except KeyboardInterrupt:
        print("stopped", flush=True)
    train(robots, Squares(200, ragged=True), out / "cut", cut, recipe=plan, resume=True, **given)
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same runs in one process and in two."""
    root = tmp_path_factory.mktemp("processes")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    path = os.pathsep.join([str(HERE), *sys.path[1:]])
    env = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, "-c", SCRIPT, str(root), str(port)]
    job = subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        said, wrong = job.communicate(timeout=1200)
        assert job.returncode == 0, wrong
        assert said == 2 * "stopped\n"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(job.pid, signal.SIGKILL)
    return {"one": root / "one", "two": root / "two"}


def rows(folder: Path) -> list[dict[str, float]]:
    timing = ("minutes", "samples_per_s", "loader_share", "validation_share")
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in timing} for row in found]


def check_close(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor], share: float = 1e-2) -> None:
    """Tensor by tensor, by the norm of the difference: of single numbers whose gradient is rounding noise (the weights of an
    input that is constant) Adam makes steps of any sign."""
    assert one.keys() == two.keys()
    for name, a in one.items():
        if not name.endswith("key_value.bias"):  # the bias of attention's keys has no other gradient
            assert a.dtype == two[name].dtype and a.shape == two[name].shape
            assert (a - two[name]).norm() <= share * a.norm() + 1e-6, name


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return read_tensors(folder / "model.safetensors")[0]


@pytest.mark.parametrize("name", ["plain", "robots", "sharded"])
def test_two_processes_give_the_losses_and_weights_of_one(runs: dict[str, Path], name: str) -> None:
    one, two = (rows(runs[n] / name) for n in ("one", "two"))
    assert len(one) == len(two) >= 8  # only one of the two processes writes
    for a, b in zip(one, two, strict=True):
        assert a == pytest.approx(b, rel=1e-3, abs=2e-5)
    check_close(*(weights(runs[n] / name) for n in ("one", "two")))


def test_sharded_weights_ship_as_a_plain_checkpoint_that_acts(runs: dict[str, Path]) -> None:
    data = Squares(10)
    obs = Observation({"front": data.images[0]}, data.states[0], data.tasks[0], 0.0)
    for robot in ("", "@gantry"):
        mine, theirs = (load_policy(f"{runs[n] / 'sharded'}{robot}").act(obs).actions for n in ("one", "two"))
        np.testing.assert_allclose(mine, theirs, rtol=1e-2, atol=1e-3)


def test_a_sharded_run_resumes_to_the_same_weights_and_rows(runs: dict[str, Path]) -> None:
    """It was stopped among adapters, with a best so far, by one of its processes."""
    whole, cut = runs["two"] / "sharded", runs["two"] / "cut"
    assert rows(whole) == rows(cut)
    a, b = weights(whole), weights(cut)
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_the_state_of_a_sharded_run_is_that_of_another(runs: dict[str, Path]) -> None:
    (one, about), (two, more) = (read_tensors(runs[n] / "sharded/train.safetensors") for n in ("one", "two"))
    assert {n.split("/")[0] for n in one} > {"weight", "average", "best", "exp_avg_sq", "step"}
    check_close(one, two, 0.2)  # gradients of the last step, of weights that differ a little
    assert json.loads(about["run"])["about"] == json.loads(more["run"])["about"]  # so that either may go on with it


def test_what_cannot_be_sharded_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    config = TrainConfig(steps=1, horizon=4, shard=True)
    with pytest.raises(BadValue, match=r"the only one\. Next: torchrun --nproc-per-node N"):
        train(palmar_nano(), Squares(50), tmp_path / "x", config, progress=False)
    check_shard(Recipe(), own_loss=True)
    weighed = Recipe("r", (Stage(), Stage("far", data=Mixture(losses=(("far", 2.0),)))))
    with pytest.raises(BadValue, match=r"stage 'far' weighs the losses of tasks.*Next: .*without --shard"):
        check_shard(weighed, own_loss=True)
    with pytest.raises(BadValue, match="another objective"):
        check_shard(Recipe(), own_loss=False)
    assert not any(tmp_path.iterdir())


def test_the_innermost_layers_are_gathered_one_by_one() -> None:
    inner = torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(2))
    outer = torch.nn.Sequential(torch.nn.Linear(2, 2))
    outer.inner = inner
    model = torch.nn.ModuleDict({"a": torch.nn.ModuleList([outer, torch.nn.ReLU()]), "head": torch.nn.Linear(2, 2)})
    assert sharded.stacked(model) == [*inner]


def test_a_file_is_streamed_as_safetensors_writes_it(tmp_path: Path) -> None:
    tensors = {
        "a": torch.arange(6.0).view(2, 3).T, "step": torch.tensor(3.0), "none": torch.empty(0, 4),
        "mask": torch.tensor([True, False, True]), "half": torch.ones(3, dtype=torch.bfloat16), "n": torch.arange(2),
    }  # fmt: skip
    path = tmp_path / "x.safetensors"
    sharded.write(path, {n: (t, t) for n, t in tensors.items()}, {"format": "test"}, leads=True)
    write_tensors(tmp_path / "y.safetensors", tensors, {"format": "test"})
    (found, meta), (plain, _) = read_tensors(path), read_tensors(tmp_path / "y.safetensors")
    stored = sharded.Stored(path)
    assert meta == stored.meta == {"format": "test"} and "a" in stored and "b" not in stored
    for name, tensor in tensors.items():
        for other in (found[name], plain[name], stored[name]):
            assert other.dtype == tensor.dtype and torch.equal(other, tensor)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(BadFile, match="damaged"):
        sharded.Stored(path)


def test_a_world_of_one_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    alone = World.join()
    assert alone == World() and alone.leads
    g = torch.ones(3)
    alone.mean([g, None])
    assert alone.agree(2.5, "cpu") == 2.5 and alone.means({"a": 1.0}, "cpu") == {"a": 1.0} and g.sum() == 3
    with pytest.raises(BadValue, match="batch size 15 over 2 processes; expected a multiple of 2"):
        World(0, 2).check(15)


def test_many_processes_take_a_gpu_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(BadValue, match="'cuda:0' for 2 processes; expected cuda, of which each takes its own"):
        World.join("cuda:0")
    with pytest.raises(BadValue, match="'cuda:1', and torch finds 1 GPUs"):
        World.join("cuda")


def test_seeding_leaves_other_generators_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def disturbed(*_: object) -> None:
        raise AssertionError("the generator of a GPU that the run does not use")

    monkeypatch.setattr(torch.cuda, "manual_seed_all", disturbed)
    monkeypatch.setattr(torch.cuda, "manual_seed", disturbed)
    model = torch.nn.Sequential(torch.nn.Linear(4, 4))
    before = torch.get_rng_state()
    with forked("cpu"):
        seed(7)
        drawn = torch.rand(3)
        seed(7)
        assert torch.equal(torch.rand(3), drawn)
    assert torch.equal(torch.get_rng_state(), before)
    Run(model, TrainConfig(steps=1), Recipe("lora", (Stage(lora=Lora(2)),)))
    assert torch.equal(torch.get_rng_state(), before)
