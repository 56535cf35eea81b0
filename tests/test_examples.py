"""The quick examples run as their first lines say, and every example says what it is for."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
QUICK = {
    "00_hello.py": ([], "success after"),
    "02_your_own_policy.py": (["2"], "success: "),
    "03_safety.py": ([], "workspace tcp.z"),
    "06_build_a_model.py": ([], "16 actions of 7 numbers"),
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
