"""A teacher has no eyes: it learns from numbers, is saved and loaded equal, and acts where the simulator tells what it reads."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from toy import batch, face

from palmar.data.normalize import Normalizer
from palmar.errors import BadFile, BadValue, UnknownName
from palmar.mapping import Interface
from palmar.models import checkpoint
from palmar.models.config import from_dict, to_dict
from palmar.models.privileged import Privileged
from palmar.models.teacher import TeacherConfig
from palmar.policy import load_policy
from palmar.types import Observation

NAMES = ("joint1.pos", "joint2.pos", "truth.target.x", "truth.world.mass")
PLAIN = TeacherConfig(words=0)
FACE = Interface({}, NAMES, ("a", "b"), 2)


def saved(folder, config=PLAIN, face=FACE):
    torch.manual_seed(0)
    model = config.build(face)
    torch.nn.init.normal_(model.head.out.weight, std=0.3)
    unit = {
        "state": Normalizer(np.zeros(len(face.state_names)), np.ones(len(face.state_names))),
        "action": Normalizer(np.zeros(2), np.ones(2)),
    }
    return checkpoint.save(folder, model.state_dict(), config, face, unit)


@pytest.mark.parametrize("config", [TeacherConfig(), TeacherConfig((32,), "tanh", words=0, clip=1.0, done=None)])
def test_it_learns_and_its_configuration_survives_a_file(config):
    assert from_dict(TeacherConfig, to_dict(config)) == config
    interface = replace(face(config), cameras={})
    torch.manual_seed(0)
    model = config.build(interface)
    given = replace(batch(face(config)), images={})
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for _ in range(60):
        loss, parts = model.loss(given)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(parts["action"]))
    assert losses[-1] < 0.7 * losses[0]
    out = model.eval().act(given)
    assert out.actions.shape == given.actions.shape and (out.done is None) == (config.done is None)
    if config.clip:
        assert out.actions.abs().max() <= config.clip


def test_a_checkpoint_that_names_truth_is_a_teacher_and_reads_it_by_name(tmp_path):
    teacher = load_policy(str(saved(tmp_path / "t")))
    assert isinstance(teacher, Privileged) and teacher.columns == ("target.x", "world.mass") and not teacher.extents
    assert teacher.interface.state_names == NAMES[:2] and not teacher.interface.cameras
    state = np.array([0.1, 0.2], np.float32)
    here = Observation({}, state, privileged=np.array([9, 0.3, 0.4], np.float32))
    there = Observation({}, state, privileged=np.array([0.4, 0.3], np.float32))
    a = teacher.among(("other", "target.x", "world.mass")).act(here).actions
    b = teacher.among(("world.mass", "target.x")).act(there).actions
    np.testing.assert_array_equal(a, b)
    with pytest.raises(BadValue, match=r"it reads simulator truth, and here there is none\. Next: palmar student"):
        teacher.act(Observation({}, state))
    with pytest.raises(
        BadValue, match=r"the teacher reads 'world\.mass', which the simulator does not tell here: target\.x"
    ):
        teacher.among(("target.x",))


def test_truth_before_the_robots_own_channels_is_refused(tmp_path):
    turned = replace(FACE, state_names=NAMES[2:] + NAMES[:2])
    with pytest.raises(BadValue, match=r"expected the robot's channels and then those that begin with 'truth\.'"):
        load_policy(str(saved(tmp_path / "t", face=turned)))


def test_a_teacher_of_nothing_and_of_other_weights_is_refused(tmp_path):
    with pytest.raises(BadValue, match="acts from numbers, and the data have no state"):
        TeacherConfig(words=0).build(replace(FACE, state_names=()))
    with pytest.raises(BadValue, match=r"expected widths ≥ 1, words ≥ 0, a limit > 0\. Next"):
        TeacherConfig(hidden=())
    folder = saved(tmp_path / "t")
    other = saved(tmp_path / "o", TeacherConfig((8,), words=0))
    (folder / "config.json").write_text((other / "config.json").read_text())
    with pytest.raises(BadFile, match="fingerprints differ"):
        load_policy(str(folder))


def test_a_column_that_no_set_tells_is_named():
    from palmar.data.privileged import PrivilegedData

    class Nothing:
        privileged_names = ()

    with pytest.raises(BadValue, match=r"the data tell no simulator truth.*Next: palmar collect"):
        PrivilegedData(Nothing())

    class Some(Nothing):
        privileged_names, cameras = ("target.x",), ()

    with pytest.raises(UnknownName, match=r"column of simulator truth 'target.y'"):
        PrivilegedData(Some(), ("target.y",))
