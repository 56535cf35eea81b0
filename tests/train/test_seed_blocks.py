"""Runs that differ in their seed alone share no table, and no round of training."""

import itertools

import pytest

from palmar.cli.commands.teach import StudentCommand, TeacherCommand
from palmar.errors import BadValue
from palmar.sim.scenario import TEST_SEED, seed_block
from palmar.train.dagger import SEEDS_APART, Dagger


@pytest.mark.parametrize("command", [TeacherCommand, StudentCommand])
def test_tables_of_two_seeds_are_apart(command) -> None:
    c = command(**({"teacher": "x"} if command is StudentCommand else {}))
    size = Dagger.tables(c.demos, c.rounds, c.episodes)
    taken = []
    for seed in range(4):
        first = seed_block(600_000, seed, size)
        plan = Dagger(c.rounds, c.episodes, seed=first + 10 * c.demos)
        begins = [first, *(plan.first_seed(i) for i in range(1, c.rounds + 1))]
        counts = [c.demos, *[c.episodes] * c.rounds]
        taken += [range(b, b + 3 * n) for b, n in zip(begins, counts, strict=True)]  # three tries an episode
    for a, b in itertools.combinations(taken, 2):
        assert a.stop <= b.start or b.stop <= a.start
    assert seed_block(600_000, 0, size) == 600_000


def test_a_seed_whose_tables_would_be_those_of_tests_is_refused() -> None:
    with pytest.raises(BadValue, match=r"seed is 400; expected 0 … 399, each with 1000 tables of its own\. Next: "):
        seed_block(600_000, 400, 1000)
    assert seed_block(600_000, 399, 1000) + 1000 == TEST_SEED
    assert len({seed + SEEDS_APART * i for seed in range(1000) for i in range(20)}) == 20_000
    with pytest.raises(BadValue, match=r"a run of 400001 tables; expected 400000 at most"):
        seed_block(600_000, 0, 400_001)
