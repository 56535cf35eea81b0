"""A checkpoint to begin from is checked before its configuration is built: it may come from anybody."""

import json

import pytest
from synthetic import ROBOT, episode

from palmar.data.reader import Dataset
from palmar.data.split import OTHERS, said_episodes
from palmar.data.writer import DatasetWriter
from palmar.errors import BadFile
from palmar.models import checkpoint
from palmar.models.tensors import read_tensors, write_tensors
from palmar.train.loop import train
from palmar.train.prepare import TrainSettings, prepare


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("begin")
    writer = DatasetWriter(folder / "set", ROBOT, 10)
    for i in range(2):
        writer.add(episode(8, seed=i))
    writer.close()
    return train(request(folder / "set", preset="palmar-nano"), folder / "run", progress=False)


def request(data, **settings):
    return prepare(
        TrainSettings(data=(data,), steps=1, batch_size=2, horizon=4, image_size=(32,), validation=0.0, **settings)
    )


def changed(root, place, value, target):
    """A copy whose configuration has another value, and whose weights say that they belong to it."""
    doc = json.loads((root / "config.json").read_text())
    part = doc
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    target.mkdir()
    (target / "config.json").write_text(json.dumps(doc))
    weights, meta = read_tensors(root / "model.safetensors")
    meta = dict(meta) | {"fingerprint": checkpoint._fingerprint({k: doc[k] for k in doc if k != "info"})}
    write_tensors(target / "model.safetensors", weights, meta)
    return target


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("config", "vision", "deep"), -32, "describes a model that cannot be built"),
        (("config", "language", "heads"), 0, "has 0 heads; expected a divisor of the width"),
        (("config", "language", "heads"), 20, "has 20 heads; expected a divisor of the width"),
        (("normalizers", "state", "names"), [0.0], "names is .*; expected a list of texts"),
    ],
)
def test_what_cannot_be_built_is_told_as_a_file_to_mend(trained, tmp_path, place, value, message):
    init = changed(trained, place, value, tmp_path / "init")
    with pytest.raises(BadFile, match=message):
        train(request(trained.parent / "set", init=str(init)), tmp_path / "out", progress=False)


def test_a_list_of_episodes_that_is_none_counts_as_unsaid(trained, tmp_path):
    init = changed(trained, ("info", "trained_on"), [["a"]], tmp_path / "init")
    out = train(request(trained.parent / "set", init=str(init)), tmp_path / "out", progress=False)
    listed = said_episodes(checkpoint.read_config(out)[3])
    assert listed is not None and listed[0] == OTHERS
    assert len(listed) == 1 + len(Dataset(trained.parent / "set", cache=False).episodes)
