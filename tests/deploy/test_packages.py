"""The check of the packages itself: an extra without a smoke test is found, and what an extra contains is known."""

import importlib.util
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
