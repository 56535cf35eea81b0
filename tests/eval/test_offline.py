"""Offline evaluation: errors as counted by hand, baselines, what a policy ignores, and which episodes are held out."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from faulty import Arm
from rich.console import Console

from palmar.data.split import TRAINED_ON, episode_digests, held_out
from palmar.errors import BadFile, BadValue
from palmar.eval.bootstrap import Estimate, means
from palmar.eval.offline import evaluate, recommended
from palmar.eval.offline_page import execution_text, page
from palmar.eval.offline_results import OfflineResults, compared, is_offline, judge
from palmar.eval.open_loop import frames_of
from palmar.models.base import Interface
from palmar.types import ActionChunk, Observation

HORIZON = 24
FACE = Interface({"front": (24, 32)}, Arm.state_names, Arm.action_names, HORIZON, 1 / 20)


class Oracle:
    """Knows the set; answers with what comes after the state it sees, plus an offset in the first channel."""

    def __init__(self, data: Arm, offset: float = 0.0, horizon: int = HORIZON) -> None:
        self.data, self.offset, self.horizon = data, offset, horizon
        self.interface = dataclasses.replace(FACE, horizon=horizon)
        self.info: dict = {}
        self.resets = 0

    def reset(self) -> None:
        self.resets += 1

    def at(self, obs: Observation) -> int:
        return int(np.abs(self.data.states - obs.state).sum(1).argmin())

    def act(self, obs: Observation, prefix: object = None) -> ActionChunk:
        i = self.at(obs)
        rows = np.minimum(i + np.arange(self.horizon), len(self.data) - 1)
        chunk = self.data.actions[rows].copy()
        chunk[:, 0] += self.offset
        return ActionChunk(chunk, 1 / 20, obs.time)


class Looking(Oracle):
    """Off by what it sees wrongly: its first channel follows the picture's brightest column, its second the words."""

    def act(self, obs: Observation, prefix: object = None) -> ActionChunk:
        i, chunk = self.at(obs), super().act(obs).actions
        wanted = self.data.batch(np.array([i]), 1)
        chunk[:, 0] += (obs.images["front"] != wanted["images"]["front"][0]).mean() * 5
        chunk[:, 1] += 0.5 * (obs.instruction != self.data.tasks[int(wanted["task"][0])])
        return ActionChunk(chunk, 1 / 20, obs.time)


@pytest.fixture(scope="module")
def data() -> Arm:
    return Arm(episodes=8)


@pytest.fixture(scope="module")
def blind(data: Arm) -> OfflineResults:
    return evaluate(Oracle(data, 0.1), data, name="oracle")


def test_errors_are_those_of_the_offset(data: Arm, blind: OfflineResults) -> None:
    first = blind.channels[0]
    for moment in ("first", "later", "chunk"):
        e = first.errors["policy"][moment]
        assert e.value == pytest.approx(0.1, abs=1e-6) and e.low == pytest.approx(0.1, abs=1e-6) and e.n == 8
        assert first.in_sd("policy", moment).value == pytest.approx(0.1 / data.actions[:, 0].std(), rel=1e-5)
    assert blind.channels[1].errors["policy"]["chunk"].value == pytest.approx(0, abs=1e-6)
    assert blind.config["later_seconds"] == 1.0
    assert [c.hold for c in blind.channels] == ["state joint1.pos", "state joint2.pos", "state gripper.pos"]


def test_baselines_are_what_they_say(data: Arm, blind: OfflineResults) -> None:
    at = frames_of(data.length, 4, 24)
    actions, states = data.actions.reshape(8, 40, 3), data.states.reshape(8, 40, 3)
    first = np.abs(actions[:, at] - states[:, at]).mean((0, 1))
    second = np.abs(actions[:, at[at + 20 < 40] + 20] - states[:, at[at + 20 < 40]]).mean((0, 1))
    mean = np.abs(actions[:, at] - data.actions.mean(0)).mean((0, 1))
    last = np.abs(actions[:, at[at > 0]] - actions[:, at[at > 0] - 1]).mean((0, 1))
    for i, c in enumerate(blind.channels):
        assert c.errors["hold still"]["first"].value == pytest.approx(first[i], rel=1e-4)
        assert c.errors["hold still"]["later"].value == pytest.approx(second[i], rel=1e-4)
        assert c.errors["mean action"]["first"].value == pytest.approx(mean[i], rel=1e-4)
        assert c.errors["last action"]["first"].value == pytest.approx(last[i], rel=1e-4)
        assert c.less_hold.value == pytest.approx(c.errors["policy"]["later"].value - second[i], abs=1e-6)
    gap = blind.versus["hold still"]["later"]
    assert gap.high is not None and gap.high < 0, "better than holding still, in the whole interval"


def test_a_policy_that_looks_at_nothing_is_told_so(data: Arm, blind: OfflineResults) -> None:
    assert blind.ignores_cameras and blind.ignores_words
    assert any("IGNORES ITS CAMERAS" in n for n in blind.notes) and any("IGNORES ITS WORDS" in n for n in blind.notes)
    change = blind.ablation("black pictures").change
    assert (change.value, change.low, change.high) == pytest.approx((0, 0, 0), abs=1e-9) and change.n == 8
    assert blind.to_dict()["ignores_cameras"] is True
    looks = evaluate(Looking(data, 0.1), data)
    assert not looks.ignores_cameras and not looks.ignores_words
    assert [a.verdict.partition(":")[0] for a in looks.ablations] == ["uses its cameras"] * 2 + ["uses its words"]
    assert all(a.moved and a.moved > 0 for a in looks.ablations)
    alike = Arm(episodes=8)
    for e in alike.episodes:
        e.instruction = "open the box"
    words = evaluate(Oracle(alike), alike).ablation("other words")
    assert not words.tested and "same instruction" in words.verdict
    assert evaluate(Oracle(data), data, ablate=False).ablations == ()


def test_few_episodes_are_no_proof() -> None:
    assert judge(Estimate(0.01, -0.02, 0.05, 9)) == "no"
    assert judge(Estimate(0.2, -0.1, 0.6, 3)) == "cannot tell"
    assert judge(Estimate(0.2, 0.1, 0.3, 9)) == "yes"
    assert judge(Estimate(0.2, None, None, 1)) == "cannot tell" and judge(Estimate(0.0, None, None, 1)) == "no"
    assert judge(Estimate(None, None, None, 0)) == "cannot tell"


def test_held_out_episodes_are_those_not_trained_on(data: Arm) -> None:
    digests = episode_digests(data)
    policy = Oracle(data)
    policy.info = {TRAINED_ON: list(digests[:5])}
    found = evaluate(policy, data, ablate=False)
    assert [e.index for e in found.episodes] == [5, 6, 7] and found.split["known"]
    assert found.split["text"] == "3 of 8 episodes are held out; the other 5 were trained on"
    grown = Arm(episodes=10)  # the same eight, and two more
    assert held_out(grown, policy.info).held_out == (5, 6, 7, 8, 9)
    other = Arm(episodes=3)
    other.actions += 0.01
    assert held_out(other, policy.info).text == "none of these 3 episodes was trained on: all are held out"
    tuned = held_out(data, {TRAINED_ON: ["?", *digests[:5]]})
    assert tuned.held_out == (5, 6, 7) and not tuned.known and "that it began from does not say" in tuned.text
    policy.info = {TRAINED_ON: list(digests)}
    with pytest.raises(BadValue, match=r"no episode to evaluate on: 0 of 8 .*Next: record more, or --every"):
        evaluate(policy, data)
    assert len(evaluate(policy, data, every=True, ablate=False).episodes) == 8
    few = evaluate(Oracle(data), data, episodes=3, ablate=False, seed=1)
    assert len(few.episodes) == 3 and any("only 3 episodes were looked at" in n for n in few.notes)
    assert any("does not say which episodes" in n for n in few.notes)


def test_seams_and_how_much_of_a_chunk(data: Arm) -> None:
    smooth = evaluate(Oracle(data), data, execute=4, ablate=False)
    assert smooth.execution.seam.value == pytest.approx(1.0, rel=0.3), "it steps as the data do"
    short = evaluate(Oracle(data, horizon=1), data, execute=4, ablate=False)
    assert any("3 of 4 ticks have no action" in n for n in short.notes)
    assert short.execution.seam.value is None and short.execution.recommended == 1
    assert "the error at 1 s is not known" in " ".join(short.notes)
    assert recommended([0.1, 0.11, 0.12, 0.13, 0.2, 0.3, 0.4, 0.5]) == 3
    assert recommended([0.1] * 8) == 4, "half the chunk is left for a late answer"
    assert recommended([0.1, 0.2, 0.1, 0.1]) == 1 and recommended([None]) == 1
    assert "Recommended: execute" in execution_text(smooth)


def test_frames() -> None:
    assert frames_of(9, 4, 24).tolist() == [0, 4, 8]
    pairs = frames_of(400, 5, 10)
    assert len(pairs) == 10 and pairs.min() == 0 and pairs.max() == 399
    assert all(i + 5 in pairs for i in pairs[::2])
    assert frames_of(1, 4, 24).tolist() == [0]


def test_what_does_not_fit_is_refused_by_name(data: Arm) -> None:
    def fails(match: str, **face: object) -> None:
        policy = Oracle(data)
        policy.interface = dataclasses.replace(FACE, **face)  # type: ignore[arg-type]
        with pytest.raises(BadValue, match=match):
            evaluate(policy, data)

    fails("state has elbow, and the set's has joint1.pos", state_names=("elbow",))
    fails("actions are a, b, the set's are joint1, joint2, gripper", action_names=("a", "b"))
    fails("looks at camera wrist; the set has front", cameras={"wrist": (24, 32)})
    fails(r"last 0.1 s \(10 Hz\), the set has 20 fps", dt=0.1)
    with pytest.raises(BadValue, match="frames is 0"):
        evaluate(Oracle(data), data, frames=0)


def test_episodes_with_numbers_that_are_not_finite_are_left_out() -> None:
    """Also of the scale and of what a policy is shown in place of its own pictures."""
    spoilt, whole = Arm(), Arm()
    spoilt.actions[3, 1], spoilt.states[spoilt.episodes[2].start + 1, 0] = np.nan, np.inf
    found = evaluate(Oracle(whole), spoilt, every=True)
    left = [e.index for i, e in enumerate(whole.episodes) if i not in (0, 2)]
    assert (
        sorted(e.index for e in found.episodes) == left
        and f"; of the {len(whole.episodes)} episodes 2 hold NaN or infinity and are left out" in found.split["text"]
    )
    assert found.config["frames_seen"] > 0 and np.isfinite(found.overall["policy"]["chunk"].value or 0.0)
    spoilt.actions[:] = np.nan
    with pytest.raises(BadValue, match=r"every episode holds NaN or infinity\. Next: palmar inspect"):
        evaluate(Oracle(whole), spoilt)


def test_names_in_another_order_are_put_in_order(data: Arm) -> None:
    class Turned(Oracle):
        def act(self, obs: Observation, prefix: object = None) -> ActionChunk:
            straight = Observation(obs.images, obs.state[::-1].copy(), obs.instruction, obs.time)
            chunk = super().act(straight)
            return ActionChunk(chunk.actions[:, ::-1].copy(), chunk.dt, chunk.t0)

    policy = Turned(data)
    policy.interface = dataclasses.replace(FACE, state_names=Arm.state_names[::-1], action_names=Arm.action_names[::-1])
    found = evaluate(policy, data, ablate=False)
    assert found.overall["policy"]["chunk"].value == pytest.approx(0, abs=1e-6)


def test_a_policy_that_looks_back_is_shown_the_frames_before(data: Arm) -> None:
    class Back(Oracle):
        times: list[float]

        def act(self, obs: Observation, prefix: object = None) -> ActionChunk:
            self.times.append(obs.time)
            return super().act(obs)

    policy = Back(data)
    policy.times = []
    policy.interface = dataclasses.replace(FACE, offsets=(-2, 0))
    evaluate(policy, data, ablate=False, episodes=1)
    assert policy.times[:6] == pytest.approx([0, 0, 0.1, 0.2, 0.3, 0.4]) and policy.resets * 2 == len(policy.times)


def test_results_come_back_from_their_file_and_are_compared(data: Arm, blind: OfflineResults, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "r.json"
    blind.save(path)
    assert OfflineResults.load(path) == blind and is_offline(path)
    assert json.loads(path.read_text())["channels"][0]["errors_in_sd"]["policy"]["first"]["n"] == 8
    better = evaluate(Oracle(data, 0.02), data, ablate=False)
    found = compared(blind, better)["chunk"]
    assert found.high is not None and found.high < 0 and found.n == 8
    foreign = Arm(episodes=3)
    foreign.actions += 0.01
    with pytest.raises(BadValue, match="share no episode"):
        compared(blind, evaluate(Oracle(foreign), foreign, ablate=False))
    bad = tmp_path / "bad.json"
    bad.write_text("[]")
    assert not is_offline(bad) and not is_offline(tmp_path / "none")
    with pytest.raises(BadFile, match="is no offline evaluation"):
        OfflineResults.load(bad)
    with pytest.raises(BadFile, match="no results at"):
        OfflineResults.load(tmp_path / "none")


def test_the_page_says_it_too(blind: OfflineResults, data: Arm) -> None:
    text = page(blind)
    assert "THE POLICY IGNORES ITS CAMERAS" in text and text.count("<svg") == 2 and "open loop" in text
    assert "http://" not in text.replace("http://www.w3.org", "") and "joint1" in text
    assert "<svg" in page(evaluate(Oracle(data, horizon=1), data, ablate=False))


def test_means_have_intervals_over_episodes() -> None:
    values = np.array([[1.0, np.nan], [2.0, np.nan], [3.0, 5.0]])
    a, b = means(values)
    assert a.value == 2 and a.low is not None and a.high is not None and 1 <= a.low < 2 < a.high <= 3 and a.n == 3
    assert b == Estimate(5.0, None, None, 1)
    assert means(np.full((2, 1), np.nan))[0] == Estimate(None, None, None, 0)
    (ratio,) = means(np.array([[1.0], [2.0]]), np.array([2.0, 4.0]))
    assert ratio.value == pytest.approx(0.5) and ratio.low == pytest.approx(0.5)
    assert str(Estimate(None, None, None, 0)) == "–" and str(Estimate(1.0, 0.5, 2.0, 3)) == "1 [0.5, 2]"
    assert means(values) == means(values), "the same each time"


def test_options_say_when_they_count() -> None:
    from palmar.cli.commands import Eval
    from palmar.cli.shared import check_only_with

    with pytest.raises(BadValue, match=r"--html page.html counts only with --data"):
        check_only_with(Eval(html=Path("page.html")))
    with pytest.raises(BadValue, match="--swap counts in simulation only, and not with --data"):
        Eval(data=Path("set"), swap=True).run(Console())
    with pytest.raises(BadFile, match="there is no data set"):
        Eval(data=Path("set"), policy="openpi").run(Console())
    with pytest.raises(BadValue, match="the expert drives the simulator"):
        Eval(data=Path("set"), policy="expert").run(Console())
