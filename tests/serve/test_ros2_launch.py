"""The launch file, where there is no `launch`: it parses, and its options are those of the commands."""

import ast
from dataclasses import fields
from pathlib import Path

import palmar
from palmar.cli.commands import COMMANDS

FILE = Path(palmar.__file__).parent / "assets" / "ros2" / "palmar.launch.py"


def test_the_launch_file_starts_both_commands_by_options_that_they_have():
    tree = ast.parse(FILE.read_text())
    assert any(isinstance(n, ast.FunctionDef) and n.name == "generate_launch_description" for n in tree.body)
    words = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    used = {w.removeprefix("--").replace("-", "_") for w in words if w.startswith("--")}
    assert {"ros2", "ros2-monitor"} <= set(words) and len(used) >= 5
    known = {f.name for name in ("ros2", "ros2-monitor") for f in fields(COMMANDS[name])}
    assert used <= known
