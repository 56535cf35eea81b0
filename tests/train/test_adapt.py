"""Adapting: what a person drove is learned, old data are replayed in the asked shares, and nothing acts without its gate."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from synthetic import episode
from training import train

from palmar.cli.main import main
from palmar.data.corrections import Corrections
from palmar.data.durable import WriterLock
from palmar.data.mixture import Mixture
from palmar.data.reader import Dataset
from palmar.data.split import held_out
from palmar.data.writer import DatasetWriter
from palmar.errors import BadFile, BadValue
from palmar.eval.gate import change, gate
from palmar.models import checkpoint
from palmar.models.presets import preset
from palmar.policy import current_version, load_policy
from palmar.robots.arm7 import arm7
from palmar.runtime.adaptation.versions import Versions
from palmar.train.adapt import Successes, Unlabelled, adapt, recipe_of, shares
from palmar.train.adapt_config import AdaptConfig
from palmar.train.adapting import AdaptRequest, adapted_version
from palmar.train.feed import Feed
from palmar.train.loop import TrainConfig
from palmar.train.prepare import TrainSettings, prepare
from palmar.train.resume import STATE

SHORT = AdaptConfig(steps=2, corrections=4, replay=8, threads=1)
GOOD = gate(change([True] * 150, [True] * 150), change([False] * 60 + [True] * 40, [True] * 100))


def recorded(root: Path, episodes: int, interventions: bool = True, drove: int = 6, robot=None, first: int = 0) -> Path:
    with DatasetWriter(root, robot or arm7(), 10, interventions=interventions) as writer:
        for i in range(episodes):
            made = episode(12, seed=first + i)
            steps = [replace(s, intervention=k >= 12 - drove) for k, s in enumerate(made.steps)]
            writer.add(replace(made, steps=steps, source="corrected"))
    return root


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    root = tmp_path_factory.mktemp("adapt")
    corrections, replay = recorded(root / "corrections", 2), recorded(root / "replay", 3, interventions=False)
    config = TrainConfig(steps=2, batch_size=4, horizon=4, validation=0.0, threads=1)
    init = train(preset("palmar-nano"), Dataset(replay), root / "init", config, embodiment="arm7", progress=False)
    return SimpleNamespace(root=root, corrections=corrections, replay=replay, init=init)


def test_demonstrations_are_not_said_to_be_a_persons(there: SimpleNamespace, tmp_path: Path) -> None:
    done = adapt(there.init, [Dataset(there.replay)], [Dataset(there.replay)], tmp_path / "out", SHORT)
    assert done.corrected == 36 and done.person is None


def test_a_checkpoint_of_the_same_interface_comes_out(there: SimpleNamespace, tmp_path: Path) -> None:
    done = adapt(there.init, [Dataset(there.corrections)], [Dataset(there.replay)], tmp_path / "out", SHORT)
    before, after = load_policy(str(there.init)), load_policy(str(done.checkpoint))
    assert after.interface == before.interface
    assert done.corrected == 12 and done.replayed == 36 and done.person == pytest.approx(1.2)
    assert not (done.checkpoint / STATE).exists()
    for what in ("state", "action"):
        np.testing.assert_array_equal(after.normalizers[what].scale, before.normalizers[what].scale)
    a, b = before.model.state_dict(), after.model.state_dict()
    assert any(not torch.equal(a[k], b[k]) for k in a)


def test_episodes_of_which_a_part_was_learned_are_not_held_out(there: SimpleNamespace, tmp_path: Path) -> None:
    data = Dataset(recorded(tmp_path / "corrections", 2, first=50))
    before = checkpoint.read_config(there.init)[3]
    assert held_out(data, before).held_out == (0, 1)
    done = adapt(there.init, [data], [Dataset(there.replay)], tmp_path / "out", SHORT)
    split = held_out(data, checkpoint.read_config(done.checkpoint)[3])
    assert split.held_out == () and split.trained == 2


def test_the_head_alone_moves(there: SimpleNamespace, tmp_path: Path) -> None:
    config = replace(SHORT, part="head")
    done = adapt(there.init, [Dataset(there.corrections)], [Dataset(there.replay)], tmp_path / "out", config)
    a, b = (load_policy(str(p)).model.state_dict() for p in (there.init, done.checkpoint))
    moved = {k.split(".")[0] for k in a if not torch.equal(a[k], b[k])}
    assert moved and all(k.startswith(("head", "finished", "action")) for k in moved)


def test_low_rank_adapters_are_merged(there: SimpleNamespace, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    config = replace(SHORT, part="lora", rank=2)
    done = adapt(there.init, [Dataset(there.corrections)], [Dataset(there.replay)], tmp_path / "out", config)
    assert not any("lora" in k for k in load_policy(str(done.checkpoint)).model.state_dict())


def test_what_failed_is_not_replayed(there: SimpleNamespace, tmp_path: Path) -> None:
    """Of old runs of the policy those that succeeded, and of corrections what the person drove."""
    with DatasetWriter(tmp_path / "runs", arm7(), 10, interventions=True) as writer:
        for i, (success, drove) in enumerate([(True, 0), (False, 0), (True, 5)]):
            made = episode(12, seed=80 + i)
            steps = [replace(s, intervention=k >= 12 - drove) for k, s in enumerate(made.steps)]
            writer.add(replace(made, steps=steps, source="policy", success=success))
    runs, corrections = Dataset(tmp_path / "runs"), [Dataset(there.corrections)]
    done = adapt(there.init, corrections, [runs], tmp_path / "out", SHORT)
    assert done.replayed == 12 + 5
    assert [(e.start, e.stop) for e in Corrections(runs).episodes] == [(31, 36)]
    failed = Dataset(recorded(tmp_path / "failed", 1, drove=0))
    failed.episodes = tuple(replace(e, success=False) for e in failed.episodes)
    with pytest.raises(BadValue, match="no frame to replay"):
        adapt(there.init, corrections, [failed], tmp_path / "none", SHORT)


def test_a_batch_holds_the_asked_shares(there: SimpleNamespace) -> None:
    sets = [Dataset(there.replay), Corrections(Dataset(there.corrections)), Corrections(Dataset(there.corrections))]
    weights = shares([36], 64) + shares([12, 12], 32)
    feed = Feed(sets, 4, validation=0.0)
    mixture = recipe_of(AdaptConfig(), Mixture(1.0, weights)).stages[0].data
    for step in range(3):
        picked = mixture.draw(feed.groups, 96, 0.0, np.random.default_rng(step))
        assert abs(int(np.sum(picked < 36)) - 64) <= 1
        own = (picked[picked >= 36] - 36) % 24 % 12
        assert own.min() >= 6  # only what a person drove


def test_labels_of_the_simulator_are_unknown_in_corrections(there: SimpleNamespace) -> None:
    made = Unlabelled(Dataset(there.corrections), ("target.x", "target.y"))
    assert np.isnan(made.batch(np.array([1]), 4)["privileged"]).all() and made.privileged_names == (
        "target.x",
        "target.y",
    )


def test_what_does_not_fit_is_refused(there: SimpleNamespace, tmp_path: Path) -> None:
    data, old = Dataset(there.corrections), Dataset(there.replay)
    other = recorded(tmp_path / "other", 1, robot=replace(arm7(), name="arm8"))
    with pytest.raises(BadValue, match="recorded on 'arm8'; the policy drives 'arm7'"):
        adapt(there.init, [Dataset(other)], [old], tmp_path / "out", SHORT)
    with pytest.raises(BadValue, match="no frame that a person drove"):
        adapt(there.init, [Dataset(recorded(tmp_path / "none", 1, drove=0))], [old], tmp_path / "out", SHORT)
    with pytest.raises(BadValue, match="no old data"):
        adapt(there.init, [data], [], tmp_path / "out", SHORT)
    assert not (tmp_path / "out").exists()


def test_a_version_acts_only_with_its_gate_passed(there: SimpleNamespace, tmp_path: Path) -> None:
    request = AdaptRequest(str(there.init), [there.corrections], [there.replay], tmp_path / "versions", SHORT)
    with WriterLock(Versions(request.out).root), pytest.raises(BadFile, match="is being written by another process"):
        adapted_version(request, None, say=lambda text: None)
    first = adapted_version(request, None, say=lambda text: None)
    assert not first.promoted and current_version(tmp_path / "versions") == "v000"
    again = replace(request, policy=str(tmp_path / "versions"))
    refused = adapted_version(again, lambda a, b: gate(change([], []), change([], [])), say=lambda text: None)
    assert not refused.promoted and refused.parent == "v000" and refused.name == "v002"
    passed = adapted_version(again, lambda a, b: GOOD, say=lambda text: None)
    versions = Versions(tmp_path / "versions")
    assert passed.promoted and versions.current == "v003"
    about = versions.version("v003")
    assert about.parent == "v000" and about.gate is not None and about.gate["new"]["gained"] == 60
    assert len(about.data["episodes"]) == 2 and about.training["steps"] == 2
    mine = checkpoint.load(versions.path("v003")).model.state_dict()
    acting = load_policy(str(tmp_path / "versions")).model.state_dict()  # type: ignore[attr-defined]
    assert all(torch.equal(mine[k], acting[k]) for k in mine)
    with pytest.raises(BadValue, match="versions of a policy already"):
        adapted_version(request, None, say=lambda text: None)


def test_a_folder_that_needs_certificates_is_marked_before_a_version_acts(
    there: SimpleNamespace, tmp_path: Path
) -> None:
    out = tmp_path / "versions"
    request = AdaptRequest(str(there.init), [there.corrections], [there.replay], out, SHORT, certified="arm7")
    passed = adapted_version(request, lambda a, b: GOOD, say=lambda text: None)
    assert not passed.promoted and Versions(out).certified and current_version(out) == "v000"
    words = ["--out", str(tmp_path / "none"), "--certified", "arm7"]
    assert main(["adapt", str(there.init), "--corrections", str(tmp_path / "missing"), *words]) == 2
    assert not (tmp_path / "none").exists() or not any((tmp_path / "none").iterdir())


def episodes(*successes: bool) -> SimpleNamespace:
    return SimpleNamespace(episodes=[SimpleNamespace(success=s, source="policy") for s in successes])


def test_own_successes_are_learned_from_when_there_are_enough() -> None:
    plan = Successes(every=4, least=2, most=3)
    assert plan.due(episodes(True, True, False), 0) == []
    assert plan.due(episodes(True, False, False, False), 0) == []
    assert plan.due(episodes(True, True, False, True, True), 0) == [1, 3, 4]  # the newest three
    assert plan.due(episodes(True, True, False, True, True), 2) == []
    assert Successes().most == 10_000 and Successes().every == 100 and Successes().least == 50
    with pytest.raises(BadValue, match="least"):
        Successes(every=4, least=5)


def test_the_command_refuses_before_it_trains(there: SimpleNamespace, tmp_path: Path, capsys) -> None:
    assert main(["adapt", str(there.init), "--out", str(tmp_path / "v")]) == 2
    other = recorded(tmp_path / "other", 1, robot=replace(arm7(), name="arm8"))
    words = ["--replay", str(there.replay), "--out", str(tmp_path / "v")]
    assert main(["adapt", str(there.init), "--corrections", str(other), *words]) == 2
    corrected = ["--corrections", str(there.corrections)]
    assert main(["adapt", str(there.init), *corrected, *words, "--new", "camera_yaw"]) == 2
    assert main(["adapt", str(there.init), *corrected, *words, "--new", "sim", "--trials", "19"]) == 2
    assert not (tmp_path / "v").exists() or not any((tmp_path / "v").iterdir())
    said = capsys.readouterr().err
    assert "recorded on 'arm8'" in said and "--trials is 19; expected at least 20" in " ".join(said.split())
    assert "NAME=VALUE" in said and "Traceback" not in said


def test_the_command_leaves_a_candidate_without_held_out_tables(there: SimpleNamespace, tmp_path: Path, capsys) -> None:
    short = ["--steps", "1", "--corrected-frames", "2", "--replay-frames", "2"]
    where = ["--corrections", str(there.corrections), "--replay", str(there.replay), "--out", str(tmp_path / "v")]
    assert main(["adapt", str(there.init), *where, *short]) == 1
    assert "candidate" in " ".join(capsys.readouterr().out.split())
    assert current_version(tmp_path / "v") == "v000"


def test_every_round_is_tried_on_tables_that_no_version_was_chosen_by(there: SimpleNamespace, tmp_path: Path) -> None:
    from palmar.cli.commands.adapt import Adapt

    command = Adapt(str(there.init), out=tmp_path / "v", trials=150)
    assert command._table_seed() == 500_000
    versions = Versions(tmp_path / "v")
    versions.begin(there.init, "init")
    assert command._table_seed() == 500_000
    for tried in (1, 2):
        where = versions.room()
        shutil.copytree(there.init, where)
        versions.add(where.name, "v000", {}, None, {"tables": [500_000, 500_000 + 300 // tried]})
        assert command._table_seed() == 500_300  # the most that any version was tried on
    assert replace(command, table_seed=7)._table_seed() == 7


def test_held_out_tables_are_of_the_policys_own_robot(there: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    from palmar.cli.commands.adapt import Adapt

    real = checkpoint.check
    for robot, wanted in (("so101", "so101"), ("arm7", "arm7"), ("arm8", "")):
        monkeypatch.setattr(
            checkpoint, "check", lambda p, robot=robot: (None, replace(real(p)[1], embodiment=robot), None)
        )
        command = Adapt(str(there.init), new=("sim",))
        if wanted:
            assert command._tables(command.new, 500_000).robot == wanted
        else:
            with pytest.raises(BadValue, match="drives 'arm8', and there are tables for"):
                command._tables(command.new, 500_000)


def test_training_too_learns_what_a_person_drove_and_not_what_led_there(tmp_path: Path) -> None:
    """Episodes that nobody took over stay whole, whether they succeeded or not: `success_only` is for those."""
    ends = [(True, range(7, 12)), (False, ()), (True, ()), (True, range(3, 6)), (False, range(3, 6))]
    with DatasetWriter(tmp_path / "runs", arm7(), 10, interventions=True) as writer:
        for i, (success, drove) in enumerate(ends):
            made = episode(12, seed=80 + i)
            steps = [replace(s, intervention=k in drove) for k, s in enumerate(made.steps)]
            writer.add(replace(made, steps=steps, source="policy", success=success))
    said: list[str] = []
    settings = TrainSettings(preset="palmar-nano", data=(tmp_path / "runs",), steps=1)
    (data,) = prepare(settings, said.append).sets
    # given back, the policy came to the end of the fourth by itself, and not of the fifth
    assert [(e.start, e.stop) for e in data.episodes] == [(7, 12), (12, 24), (24, 36), (39, 42), (42, 48), (51, 54)]
    left = "what a policy did before they gave back is left out (19 frames of 60)"
    assert f"{tmp_path / 'runs'}: people took over; {left}" in said
    feed = Feed([data], 4, validation=0.4)
    for start, stop in ((0, 12), (36, 48), (48, 60)):
        inside = [((x >= start) & (x < stop)).any() for x in (feed.validation, feed.training)]
        assert inside in ([True, False], [False, True])  # both parts of the fourth are held out, or none
    (plain,) = prepare(
        replace(settings, data=(recorded(tmp_path / "plain", 2, interventions=False),)), said.append
    ).sets
    assert isinstance(plain, Dataset)
