"""A test depends on nothing but the code: not on which file ran before it."""

import ast
import tomllib
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
FILES = sorted(TESTS.rglob("test_*.py"))
PYTEST = tomllib.loads((TESTS.parent / "pyproject.toml").read_text("utf-8"))["tool"]["pytest"]["ini_options"]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(TESTS)))
def test_a_helper_is_found_whichever_file_runs_first(path: Path) -> None:
    """A helper of another room is found only when a test of that room was collected before, unless pyproject.toml names its
    folder."""
    known = {TESTS.parent / folder for folder in PYTEST["pythonpath"]} | {path.parent}
    helpers = {p.stem: p.parent for p in TESTS.rglob("*.py") if p not in FILES}
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else [getattr(node, "module", None) or ""]
        for name in names if isinstance(node, ast.Import | ast.ImportFrom) else ():
            assert name not in helpers or helpers[name] in known, (
                f"{path.name} imports {name}; expected '{helpers[name].relative_to(TESTS.parent)}' in pythonpath of pyproject.toml"
            )
