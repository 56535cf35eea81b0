"""Imports go downhill, and a robot needs neither torch nor MuJoCo."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import palmar

SOURCE = Path(palmar.__file__).parent
FLOORS = (
    "nouns",
    "robots",
    "description",
    "runtime",
    "sim data eval",
    "models",
    "adapters",
    "lab",
    "train",
    "transfer",
    "serve",
    "agent",
    "cli",
)
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms.split()}
NOUNS = {
    "types", "errors", "checks", "console", "ranges", "kinematics", "units", "pictures", "embodiments", "links", "mapping",
    "policy",
}  # fmt: skip
# Doors from the nouns upwards; they open late, when they are called: loading a checkpoint by its name, and making a robot
# from a file.
ALLOWED = {
    ("policy.py", "palmar.models.checkpoint"),
    ("policy.py", "palmar.models.correction"),
    ("embodiments.py", "palmar.description.build"),
    ("embodiments.py", "palmar.description.dataset"),
    ("embodiments.py", "palmar.description.file"),
}


def room(module: str) -> str:
    parts = module.split(".")
    name = parts[1] if len(parts) > 1 else "nouns"
    return "nouns" if name in NOUNS or name not in FLOOR else name


def imports(path: Path) -> set[str]:
    """Every palmar module a file imports, also inside functions; `from palmar.x import y` may mean palmar.x.y."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(SOURCE.parent).parent.parts
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(x for x in (base, node.module) if x)
            for a in node.names:
                inner = SOURCE.parent.joinpath(*module.split("."), a.name)
                found.add(f"{module}.{a.name}" if inner.is_dir() or inner.with_suffix(".py").exists() else module)
    return {m for m in found if m.split(".")[0] == "palmar"}


FILES = sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_go_downhill(path):
    where = path.relative_to(SOURCE)
    here = room(".".join(("palmar", *where.with_suffix("").parts)))
    for module in imports(path):
        if (str(where), module) in ALLOWED:
            continue
        assert FLOOR[room(module)] <= FLOOR[here], (
            f"{where} ({here}) imports {module} ({room(module)}), which is uphill"
        )
        side_by_side = {"sim": "data", "data": "sim", "train": "transfer", "transfer": "train", "eval": "data"}
        assert room(module) == here or FLOOR[room(module)] < FLOOR[here] or side_by_side[here] == room(module)


def test_every_room_is_on_a_floor():
    rooms = {p.name for p in SOURCE.iterdir() if p.is_dir() and any(p.glob("*.py"))}
    assert rooms <= set(FLOOR), f"no floor for {rooms - set(FLOOR)}"
    files = {p.stem for p in SOURCE.glob("*.py")} - {"__init__", "__main__", "cli"}
    assert files == NOUNS, f"files beside the rooms must be nouns: {files - NOUNS}"


def test_nouns_and_runtime_need_only_light_packages():
    """Imported in a process where the heavy packages cannot be."""
    heavy = ("torch", "mujoco", "pyarrow", "av", "transformers", "matplotlib", "scipy", "PIL")
    modules = ["palmar", *(f"palmar.{n}" for n in sorted(NOUNS))]
    modules += [f"palmar.runtime.{p.stem}" for p in sorted((SOURCE / "runtime").glob("*.py")) if p.stem != "__init__"]
    code = f"import sys\nfor name in {heavy!r}: sys.modules[name] = None\n" + "\n".join(f"import {m}" for m in modules)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
