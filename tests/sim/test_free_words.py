"""Sentences in free words, each of a table on which it makes sense."""

from collections import Counter

import pytest

from palmar.errors import BadFile, BadValue, TooLongInstruction
from palmar.lab.suite import EvalConfig, run
from palmar.lab.worlds import Loaded
from palmar.sim import tasks
from palmar.sim.experts import Expert
from palmar.sim.free_words import CLEAR, free_instructions, free_scenario
from palmar.sim.things import DESTINATIONS
from palmar.sim.world import World

TASKS = ("reach", "pick", "place", "push")


def test_there_are_300_of_four_tasks():
    told = free_instructions()
    counts = Counter(i.task for i in told)
    assert len({i.text for i in told}) == 300 and set(counts) == set(TASKS) and min(counts.values()) >= 70


@pytest.mark.parametrize("name", TASKS)
def test_each_is_said_of_a_table_that_holds_what_it_names(name):
    told = [i for i in free_instructions() if i.task == name]
    for seed, said in enumerate(told):
        scenario = tasks.sample(name, "free", seed)
        names = [item.name for item in scenario.items]
        assert scenario.instruction == said.text and scenario.split == "free" and names[0] == said.target
        assert len(set(names)) == len(names) and set(said.others) <= set(names)
        assert (scenario.goal is None) == (name != "place") and scenario.direction == (said.direction or None)
        if scenario.goal is not None:
            assert names[scenario.goal] == said.goal and names[scenario.goal].split()[1] in DESTINATIONS
    assert free_scenario(tasks.task(name), 3) == free_scenario(tasks.task(name), 3)
    assert free_scenario(tasks.task(name), 3).items != free_scenario(tasks.task(name), 3 + len(told)).items


def test_a_thing_told_by_its_place_is_the_only_one_there():
    seen = 0
    for name in TASKS:
        told = [i for i in free_instructions() if i.task == name]
        for seed, said in enumerate(told):
            if said.relation and said.relation[0] in ("left of", "right of"):
                items = tasks.sample(name, "free", seed).items
                mark = next(i for i in items if i.name == said.relation[1])
                side = 1 if said.relation[0] == "left of" else -1
                there = [i.name for i in items if i.shape not in DESTINATIONS and side * (i.y - mark.y) > 0]
                assert there == [said.target] and side * (items[0].y - mark.y) > CLEAR
                seen += 1
    assert seen > 5


def test_what_is_no_list_and_tasks_without_sentences_are_refused(tmp_path):
    with pytest.raises(BadValue, match="no free words for task 'stack'"):
        tasks.sample("stack", "free", 0)
    with pytest.raises(BadValue, match="no free words for task 'stack'"):
        EvalConfig(tasks=("stack",), splits=("free",))
    file = tmp_path / "free.toml"
    for content in (
        "x", '[[instruction]]\ntext = "a"\n',
        '[[instruction]]\ntext = "a"\nkind = "plain"\ntask = "push"\ntarget = "red cube"\n',
        '[[instruction]]\ntext = "a"\nkind = "plain"\ntask = "reach"\ntarget = "pink cube"\n',
    ):  # fmt: skip
        file.write_text(content)
        with pytest.raises(BadFile, match=r"free\.toml.*Next: "):
            free_instructions(file)


def test_a_sentence_longer_than_the_policy_reads_is_a_trial_that_failed():
    class Refuses:
        interface = Expert(World(images=False)).interface

        def act(self, obs, prefix=None):
            raise self.error

        def reset(self):
            pass

    class Here(Loaded):
        def policy(self, name):
            return policy

    policy = Refuses()
    policy.error = TooLongInstruction("40 tokens. Next: fewer words")
    config = EvalConfig(policy="any", splits=("free", "layout"), timeout=1.0, execute=1)
    trial = run(Here(), (config, "reach", "free", 0))
    assert not trial.success and trial.instruction == free_instructions()[0].text
    with pytest.raises(TooLongInstruction):
        run(Here(), (config, "reach", "layout", 0))
    policy.error = BadValue("no. Next: yes")
    with pytest.raises(BadValue, match="no"):
        run(Here(), (config, "reach", "free", 0))
