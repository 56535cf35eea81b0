"""The quick examples run as their first lines say, and every example says what it is for."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
QUICK = {
    "00_hello.py": ([], "success after"),
    "02_your_own_policy.py": (["2"], "success: "),
    "03_safety.py": ([], "workspace tcp.z"),
    "06_build_a_model.py": ([], "16 actions of 7 numbers"),
    "09_gymnasium.py": ([], "1000 steps, "),
    "07_own_body.py": (["", "", "5"], "points at the square in 5 of 5 trials"),
}


@pytest.mark.parametrize("name", QUICK)
def test_a_quick_example_runs(name):
    arguments, said = QUICK[name]
    run = subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments], capture_output=True, text=True, timeout=120, check=False
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert said in run.stdout


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda p: p.name)
def test_an_example_has_a_title_a_reason_and_a_command(path):
    doc = ast.get_docstring(ast.parse(path.read_text())) or ""
    title, skip_pretrained, *why = doc.splitlines()
    assert title.endswith((".", "?"))
    assert skip_pretrained == ""
    assert f"python examples/{path.name}" in doc
    assert len(why) > 3


def test_examples_are_numbered_without_gaps():
    numbers = [int(p.name[:2]) for p in sorted(EXAMPLES.glob("*.py"))]
    assert numbers == list(range(len(numbers)))


def test_the_pictures_of_the_so101_are_those_of_every_pixel_computed_anew():
    """It draws what changes alone; data sets are recorded with the same pixels."""
    spec = importlib.util.spec_from_file_location("so101_scene", EXAMPLES / "08_so101.py")
    scene = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(scene)
    y, x = np.mgrid[:480, :640]
    rng = np.random.default_rng(0)
    for reach in (60, 90, 300):  # 300: where the cross is out of the picture
        discs, _ = scene.lay(rng)
        q = np.round(rng.uniform(-reach, reach, 6) / 2.5) * 2.5 if reach == 90 else rng.uniform(-reach, reach, 6)
        front = np.full((480, 640, 3), (150, 140, 125), np.uint8)
        for name, (u, v) in discs.items():
            front[(x - 640 * u) ** 2 + (y - 480 * v) ** 2 < 40**2] = scene.COLOURS[name]
        u, v = 640 * (q[0] / 160 + 0.5), 480 * (q[2] / 160 + 0.5)
        cross = ((abs(x - u) < 5) & (abs(y - v) < 24)) | ((abs(y - v) < 5) & (abs(x - u) < 24))
        front[cross] = (20, 20, 20)
        rows = np.clip((v + (np.arange(480) - 240) // 2).astype(int), 0, 479)
        columns = np.clip((u + (np.arange(640) - 320) // 2).astype(int), 0, 639)
        seen = scene.look(q, scene.board(discs))
        assert np.array_equal(seen[0], front) and np.array_equal(seen[1], front[rows][:, columns])
