"""Worlds and policies are loaded once by who owns them, and loading one changes nothing else in the process."""

import os
import shutil

import pytest
import torch

from palmar.lab.worlds import POLICIES, Loaded
from palmar.policy import load_policy, shipped


def test_a_world_is_made_once_for_each_owner():
    mine, yours = Loaded(), Loaded()
    assert mine.world("sim") is mine.world("sim") is not mine.world("sim", extents=True)
    assert mine.world("sim") is not yours.world("sim") and mine.world("sim", extents=True).extents


def test_a_policy_is_loaded_once_until_it_is_written_again(tmp_path, monkeypatch):
    folder = tmp_path / "policy"
    shutil.copytree(shipped(), folder)
    mine = Loaded()
    first = mine.policy(str(folder))
    assert mine.policy(str(folder)) is first
    os.utime(folder / "config.json", ns=(1, 1))
    second = mine.policy(str(folder))
    assert second is not first
    monkeypatch.setattr("palmar.lab.worlds.load_policy", lambda where: object())
    (tmp_path / "correction").mkdir()
    about = tmp_path / "correction" / "correction.json"
    about.write_text("{}")
    corrected = mine.policy(str(about.parent))
    assert mine.policy(str(about.parent)) is corrected
    os.utime(about, ns=(1, 1))
    assert mine.policy(str(about.parent)) is not corrected
    calls = []
    monkeypatch.setattr("palmar.lab.worlds.load_policy", lambda where: calls.append(where) or object())
    for where in ("a", "b", "a", "c", "a", "b"):  # of the last two, whichever was used longest ago goes
        mine.policy(where)
    assert POLICIES == 2 and calls == ["a", "b", "c", "b"]


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield torch.get_num_threads
    torch.set_num_threads(before)


def test_loading_a_policy_leaves_the_number_of_threads(threads):
    load_policy("shipped")
    Loaded().policy("shipped")
    assert threads() == 2
