"""Questions with true answers, from the simulator."""

from pathlib import Path

import numpy as np
import pytest

from palmar.data.webdata import WebData
from palmar.errors import BadFile, BadValue
from palmar.lab.questions import KINDS, Question, Thing, WebConfig, about, caption, make

THINGS = (Thing("red", "cube", 0.2), Thing("blue", "ball", 0.5), Thing("red", "plate", 0.8))


def asked(things: tuple[Thing, ...]) -> dict[str, Question]:
    return {q.prompt: q for q in about(things, np.random.default_rng(0))}


def test_answers_are_true_of_what_is_seen() -> None:
    found = asked(THINGS)
    assert found["how many things are on the table?"].answer == "three"
    assert found["what is on the table?"].answer == "a red cube, a blue ball and a red plate" == caption(THINGS)
    assert found["what colour is the ball?"].answer == "blue" and found["what is the blue thing?"].answer == "ball"
    assert "what is the red thing?" not in found  # there are two
    for prompt, q in found.items():
        if q.kind == "position":
            first, second = (next(t for t in THINGS if n in part and t.name in part) for n, part in
                             ((" ", p) for p in prompt.split(" left or right of ")))  # fmt: skip
            assert q.answer == ("left" if first.u < second.u else "right")
        assert q.answer in q.choices and len(set(q.choices)) == len(q.choices) > 1
    assert {q.kind for q in found.values()} == set(KINDS)


def test_an_empty_table_and_twins_ask_no_more_than_can_be_answered() -> None:
    assert [q.answer for q in about((), np.random.default_rng(0))] == ["no"]
    twins = (Thing("red", "cube", 0.2), Thing("red", "cube", 0.8))
    assert {q.kind for q in about(twins, np.random.default_rng(0))} == {"count", "caption"}


def test_a_folder_is_made_read_and_not_overwritten(tmp_path: Path) -> None:
    web = make(tmp_path / "web", WebConfig(tables=6, held_out=0.34), processes=1)
    assert len(list((tmp_path / "web/pictures").glob("*.png"))) == 6
    assert len(web.training) and len(web.held_out) and not set(web.training) & set(web.held_out)
    assert web.pictures(web.training[:2]).shape == (2, 96, 96, 3) and 0.1 < web.chance < 0.6
    again = WebData(tmp_path / "web")
    assert again.prompts == web.prompts and again.answers == web.answers
    with pytest.raises(BadFile, match="is not empty"):
        make(tmp_path / "web", WebConfig(tables=2), processes=1)
    (tmp_path / "web/pictures/000000.png").unlink()
    first = np.flatnonzero(np.array(WebData(tmp_path / "web")._picture) == 0)[:1]
    with pytest.raises(BadFile, match=r"000000.png' is missing"):
        WebData(tmp_path / "web").pictures(first)
    with pytest.raises(BadValue):
        WebConfig(tables=1)
