"""benchmarks/agent.py counts disturbed runs, and says how many were not."""

import importlib.util
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console


@pytest.fixture(scope="module")
def benchmark_module():
    path = Path(__file__).parents[2] / "benchmarks" / "agent.py"
    spec = importlib.util.spec_from_file_location("agent_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_seeds_are_tried_until_so_many_runs_were_disturbed(benchmark_module):
    seeds = []

    def disturb(how, n):
        seeds.append(n)
        return Counter(all=1, happened=how != "weak gripper" or n % 2 == 0)

    tally = benchmark_module.disturbed_runs(11, disturb)
    assert [(c["happened"], c["all"]) for c in tally.values()] == [(4, 4), (4, 4), (3, 5)]
    assert len(set(seeds)) == len(seeds) == 13


def test_the_tries_are_bounded(benchmark_module):
    tally = benchmark_module.disturbed_runs(6, lambda how, n: Counter(all=1, happened=0))
    assert sum(c["all"] for c in tally.values()) == 6 * benchmark_module.MOST_TRIES


@pytest.mark.slow
def test_what_was_not_disturbed_is_told_and_does_not_count(benchmark_module):
    console = Console(width=200, record=True)
    benchmark_module.recovered("expert", 6, console)
    told = console.export_text()
    assert "weak gripper: 2 disturbed (1 more were not, and do not count)" in told
    assert "all: 6 disturbed" in told and "(n=6)" in told
