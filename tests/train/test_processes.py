"""Two processes are one."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from palmar.errors import BadValue
from palmar.models.tensors import read_tensors
from palmar.train.world import World

HERE = Path(__file__).parent
SCRIPT = """
import sys
from speaking import SpeakingConfig
from squares import Squares
from palmar.train.loop import TrainConfig, train
config = TrainConfig(steps=12, horizon=4, batch_size=16, threads=1, log_every=1, augment=None, validate=2, precision="fp32")
train(SpeakingConfig(), Squares(200), sys.argv[1], config, progress=False)
"""


def start(out: Path, rank: int, size: int, port: int) -> subprocess.Popen:
    where = {"RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    env = os.environ | where | {"PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(out)], env=env, stderr=subprocess.PIPE, text=True)


def losses(folder: Path) -> list[tuple[float, float, float]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(r["step"], r["loss"], r["gradient"]) for r in rows if "loss" in r]


def test_two_processes_give_the_loss_of_one(tmp_path: Path) -> None:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    jobs = [start(tmp_path / "one", 0, 1, 0), start(tmp_path / "two", 0, 2, port), start(tmp_path / "two", 1, 2, port)]
    for job in jobs:
        _, said = job.communicate(timeout=300)
        assert job.returncode == 0, said
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert len(one) == len(two) == 12  # only one of the two processes writes
    for a, b in zip(one, two, strict=True):
        assert a == pytest.approx(b, rel=2e-4, abs=1e-6)
    first, second = (read_tensors(tmp_path / n / "model.safetensors")[0] for n in ("one", "two"))
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-3, atol=1e-5)


def test_a_world_of_one_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    alone = World.join()
    assert alone == World() and alone.leads
    g = torch.ones(3)
    alone.mean([g, None])
    assert alone.agree(2.5, "cpu") == 2.5 and alone.means({"a": 1.0}, "cpu") == {"a": 1.0} and g.sum() == 3
    with pytest.raises(BadValue, match="batch size 15 over 2 processes; expected a multiple of 2"):
        World(0, 2).check(15)
