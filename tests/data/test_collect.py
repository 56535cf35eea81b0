"""Collecting: labels come from the clean expert, seeds decide everything, and Ctrl-C loses nothing that was saved."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from palmar.data.collect import TAIL, CollectConfig, record
from palmar.data.reader import Dataset
from palmar.sim.params import NO_RANDOMIZATION


def test_an_episode_follows_from_its_seed() -> None:
    config = CollectConfig(tasks=("reach",), noises=(0.01,))
    a, b = record((config, 5)), record((config, 5))
    assert a.success and len(a.steps) == len(b.steps)
    for x, y in zip(a.steps, b.steps, strict=True):
        np.testing.assert_array_equal(x.observation.images["wrist"], y.observation.images["wrist"])
        np.testing.assert_array_equal(x.action, y.action)


def test_noise_drives_and_the_clean_expert_labels() -> None:
    noisy = record((CollectConfig(tasks=("reach",), noises=(0.01,)), 5))
    apart = [np.abs(s.action[:3] - s.executed[:3]).max() for s in noisy.steps[1:]]
    assert np.median(apart) > 1e-3
    clean = record((CollectConfig(tasks=("reach",), noises=(0.0,), randomization=NO_RANDOMIZATION), 5))
    for s in clean.steps[1:]:
        np.testing.assert_allclose(s.action, s.executed, atol=1e-6)


def test_what_done_looks_like_is_recorded() -> None:
    steps = record((CollectConfig(tasks=("reach",), noises=(0.0,)), 9)).steps
    done = [s.done for s in steps]
    assert not done[0] and done[-1] and sum(done) >= TAIL


def test_ctrl_c_keeps_what_was_saved(tmp_path: Path) -> None:
    out = tmp_path / "set"
    command = [
        sys.executable,
        "-c",
        "from palmar.cli import main; raise SystemExit(main())",
        "collect",
        "--out",
        str(out),
    ]
    child = subprocess.Popen(
        [*command, "--tasks", "reach", "--processes", "1"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    until = time.time() + 120
    while time.time() < until and len(list(out.glob("data/*/*.parquet"))) < 3:
        time.sleep(0.1)
    os.kill(child.pid, signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 130, said
    assert "Stopped by Ctrl-C" in said
    data = Dataset(out, cache=False)
    assert len(data.episodes) >= 3 and len(data) == sum(e.length for e in data.episodes)
