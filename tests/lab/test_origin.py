"""A set that is added to keeps to the worlds it was made in."""

import json
from pathlib import Path

import pytest
from synthetic import episode

from palmar.errors import BadFile
from palmar.lab import collect as room
from palmar.lab.collect import CollectConfig, collect
from palmar.lab.origin import FILE, Origin
from palmar.robots.arm7 import arm7
from palmar.sim import truth
from palmar.sim.params import Randomization, subset


def test_other_worlds_are_refused_by_name(tmp_path: Path) -> None:
    Origin(tmp_path, "demonstrations", 0, "sim", Randomization(1.0)).note()
    Origin(tmp_path, "demonstrations", 0, "sim", Randomization(0.7)).note()  # nothing was made of the first
    Origin(tmp_path, "demonstrations", 3, "sim", Randomization(0.7)).note()
    Origin(tmp_path, "stills", 0, "sim", Randomization(1.0)).note()  # worlds of their own
    assert set(json.loads((tmp_path / FILE).read_text())) == {"demonstrations", "stills"}
    for world, drawn, said in (
        ("near:0", Randomization(0.7), "world sim at strength 0.7; these would be of world near:0"),
        ("sim", Randomization(1.0), "would be of world sim at strength 1"),
        ("sim", subset(["friction"], 0.7), "strength 0.7 of friction"),
    ):
        with pytest.raises(BadFile) as refused:
            Origin(tmp_path, "demonstrations", 3, world, drawn)
        assert said in str(refused.value) and "Next: another --out" in str(refused.value)


@pytest.mark.parametrize("text", ["[]", "{", '{"demonstrations": 3}', '{"demonstrations": {"world": 1, "drawn": []}}'])
def test_a_note_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(BadFile, match="Next: "):
        Origin(tmp_path, "demonstrations", 1, "sim", Randomization(0.7))


def test_a_collection_notes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        room, "record", lambda loaded, job: episode(4, seed=job[1], privileged=len(truth.names(arm7())))
    )
    collect(tmp_path / "set", CollectConfig(episodes=1), processes=1, progress=False)
    with pytest.raises(
        BadFile, match=r"of world sim at strength 0\.7; these would be of world twin:1 at strength 0\.7"
    ):
        collect(tmp_path / "set", CollectConfig(episodes=2, world="twin:1"), processes=1, resume=True, progress=False)
