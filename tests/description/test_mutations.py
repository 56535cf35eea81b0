"""Descriptions with single faults: each loads, or is refused with a message; nothing else happens."""

import random
import re

import pytest
import test_mjcf
import test_urdf

from palmar.description import from_description, robot_text
from palmar.description.file import parse_robot
from palmar.errors import UserError
from palmar.robots import robot

MORE = """<tendon><fixed name="grip"><joint joint="f1" coef=".5"/><joint joint="f2" coef=".5"/></fixed></tendon><actuator>
<position joint="j1" kp="1"/><velocity joint="j3" ctrlrange="-1 1"/><position name="hand" tendon="grip" kp="1" ctrlrange="0 .04"/>
</actuator><equality><joint joint1="j3" joint2="j1"/></equality><keyframe><key qpos="0 0 0 0 0"/></keyframe>"""
MIMIC = test_urdf.joint("g", "tool0", "x", more='<mimic joint="base"/>')
SEEDS = {
    "arm.xml": test_mjcf.ARM.format(more=MORE),
    "arm.urdf": test_urdf.urdf(*test_urdf.ARM, MIMIC),
    "arm.toml": robot_text(robot("arm7")),
}
VALUES = ("", "0", "-1", "nan", "inf", "1e400", "1e308", "-1e308", "9" * 400, "a", "0 0 0", "j1", "ball", "free", "slide",
          "floating", "true", "é", "&lt;", "root", "[/red]", "1 0 0 0 0", "999999999")  # fmt: skip
TAGS = ("body", "joint", "site", "fixed", "replicate", "composite", "include", "default", "freejoint", "key", "plugin")


def mutated(text: str, rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.6:
        at = rng.choice(list(re.finditer(r'"[^"\n]*"', text)))
        return f'{text[: at.start()]}"{rng.choice(VALUES)}"{text[at.end() :]}'
    if kind < 0.75:
        at = rng.choice(list(re.finditer(r'\s[a-z_]+ ?= ?"[^"\n]*"', text)))
        return text[: at.start()] + text[at.end() :]
    if kind < 0.9 and (found := list(re.finditer(r"<([a-z0-9]+)[^<>]*/>", text))):
        at = rng.choice(found)
        return text[: at.start()] + rng.choice(["", at.group() * 2, f"<{rng.choice(TAGS)}/>"]) + text[at.end() :]
    cut = rng.randrange(len(text))
    return text[:cut] + text[cut + rng.randint(1, 30) :]


@pytest.mark.parametrize("name", SEEDS)
def test_a_fault_is_a_robot_or_a_message(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng, path = random.Random(0), tmp_path / name
    refused = 0
    for _ in range(300):
        text = mutated(SEEDS[name], rng)
        try:
            if name.endswith(".toml"):
                parse_robot(text, name)
            else:
                path.write_text(text)
                from_description(path, guess=rng.random() < 0.7)
        except UserError as error:
            refused += 1
            assert 20 < len(str(error)) < 2000
    assert 20 < refused < 300
    assert {p.name for p in tmp_path.iterdir()} <= {name}, "nothing else is written"
