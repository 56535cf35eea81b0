"""A few hundred of the mutations that `run.py` makes by the thousand; each seed is another sample of them."""

import random

import cases
import pytest
import run
import values


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return run.sources(tmp_path_factory.mktemp("hostile"))


@pytest.mark.parametrize(("kind", "count"), [("data", 60), ("checkpoint", 40), ("robot", 120)])
def test_single_mutations_end_in_a_message_and_cost_no_good_file(made, tmp_path, kind, count):
    faults = []
    with cases.guarded():
        for i in range(count):
            faults += cases.run_case(kind, made[kind][i % len(made[kind])], f"test.{i}", tmp_path / "place")[1]
    assert not faults, "\n".join(map(str, faults))


def test_what_a_seed_changes_stays_the_same(made):
    """A fault can be looked at again by its seed."""
    source = made["data"][0]
    doc = {"a": {"b": [1, 2]}, "c": 3.5}
    said = [values.changed_json({"a": {"b": [1, 2]}, "c": 3.5}, random.Random(i)) for i in range(5)]
    assert said == [values.changed_json({"a": {"b": [1, 2]}, "c": 3.5}, random.Random(i)) for i in range(5)]
    assert values.places(doc) == [("a",), ("a", "b"), ("a", "b", 0), ("a", "b", 1), ("c",)] and source.is_dir()


def test_the_guards_see_what_they_guard_against(made, tmp_path, monkeypatch):
    """A reader that ends in a traceback, one that leads outside and a repair that deletes are told."""

    def leads_outside(root):
        (root.parent / "outside" / "info.json").read_text()

    def deletes(root):
        for path in root.glob("data/*/*"):
            path.unlink()

    def fails(root):
        raise KeyError("action")

    steps = {"read": leads_outside, "fails": fails, "repair": cases.repair}
    monkeypatch.setitem(cases.STEPS, "data", steps)
    monkeypatch.setattr("palmar.data.repair.repair", lambda root, drop=False: deletes(root))
    with cases.guarded():
        found = cases.run_case("data", made["data"][0], "guards.0", tmp_path / "place")[1]
    assert [f.step for f in found] == ["read", "fails", "repair"]
    assert "outside the set" in found[0].what and "KeyError" in found[1].what and "are gone" in found[2].what
