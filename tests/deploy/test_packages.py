"""The check of the packages itself: an extra without a smoke test is found, and what an extra contains is known."""

import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts/packages.py"


@pytest.fixture
def packages():
    spec = importlib.util.spec_from_file_location("packages_under_test", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_extra_has_a_smoke_test(packages):
    packages.check_smoke()


def test_an_extra_without_a_smoke_test_is_named(packages, monkeypatch):
    monkeypatch.setitem(packages.EXTRAS, "forgotten", [])
    with pytest.raises(SystemExit, match="lacks 'forgotten'"):
        packages.check_smoke()


def test_a_smoke_test_without_its_extra_is_named(packages, monkeypatch):
    monkeypatch.delitem(packages.EXTRAS, "gym")
    with pytest.raises(SystemExit, match="has 'gym' too much"):
        packages.check_smoke()


def test_an_extra_contains_what_its_extras_contain(packages):
    assert packages.contained("pretrained") == {"learn", "data"}
    assert packages.contained("data") == set()


def test_what_is_left_out_is_an_extra(packages):
    assert {*packages.LEFT_OUT, *packages.UNPINNED} <= set(packages.EXTRAS)


def test_what_git_ignores_is_copied_nowhere(packages, monkeypatch, tmp_path):
    """Neither what git does not know, nor what somebody added against the rule."""
    shutil.copy(SCRIPT.parent.parent / ".gitignore", tmp_path)
    for name in ("deploy/.env", "deploy/secrets/key.pem", "deploy/secrets/added.pem", "src/new.py", "src/known.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for words in (["init", "-q"], ["add", "-f", "deploy/secrets/added.pem", "src/known.py"]):
        subprocess.run(["git", "-C", tmp_path, *words], check=True)
    monkeypatch.setattr(packages, "ROOT", tmp_path)
    assert sorted(packages.tracked()) == [".gitignore", "src/known.py", "src/new.py"]
