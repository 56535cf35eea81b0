"""Studies with several trainings an arm: what is said of them, and that the arms of the comparison get the same."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from study import Size, points, verdict
from trainings import SEEDS, by_training, gain, over, seeds, total

from palmar.errors import BadValue
from palmar.eval.crossed import Crossed

pytest.importorskip("torch")
import adr_convergence
import chains
import sysid_vs_dr
import transfer_comparison as comparison
from making import Lab


def lab(tmp_path, size):
    return Lab(tmp_path / "out", tmp_path / "data", size)


def tried(good, tables=40, trainings=3):
    """The first `good` tables of each training succeed."""
    return {f"{k}/reach/layout/{i}": i < good for k in range(trainings) for i in range(tables)}


def test_what_is_said_of_trainings(tmp_path):
    rows = {"a": {"_x": tried(10)}, "b": {"_x": tried(30)}}
    gained = gain(rows, "a", "b", "_x")
    assert gained.value == 0.5 and verdict(gained) == "is better than" and points(gained).startswith("+50 points [+")
    assert verdict(gain(rows, "b", "a", "_x")) == "is worse than"
    assert verdict(gain(rows, "a", "a", "_x")) == "cannot be told from"
    assert by_training(rows["a"], "_x") == "10 10 10" and total(rows["a"]["_x"]).successes == 30
    assert over(rows, "_x")["b"].value == 0.75
    assert seeds(lab(tmp_path, Size(9))) == SEEDS and len(seeds(lab(tmp_path, Size(9, data=0.1)))) == 2
    with pytest.raises(BadValue, match="expected the same trainings and tables"):
        gain({"a": {"_x": tried(10)}, "b": {"_x": tried(10, trainings=2)}}, "a", "b", "_x")


def test_few_episodes_are_made_in_this_process(tmp_path):
    assert lab(tmp_path, Size(9)).processes is None and lab(tmp_path, Size(9, data=0.1)).processes == 1


def test_places_are_what_the_comparisons_leave_possible():
    good = {"plain": 2, "A DR": 20, "B SysID": 20, "C teacher-student": 38}
    assert comparison.places({arm: {"_real": tried(g)} for arm, g in good.items()}) == {
        "plain": (4, 4), "A DR": (2, 3), "B SysID": (2, 3), "C teacher-student": (1, 1),
    }  # fmt: skip


def test_the_best_arm_stands_first_and_what_it_won_back_is_points():
    good = dict(zip(comparison.MAKERS, (4, 20, 6, 20, 24, 24, 34), strict=True))
    rows = {arm: {"_sim": tried(36), "_real": tried(g), "frames": "9"} for arm, g in good.items()}
    table = comparison.lines(rows)
    assert table[0]["arm"] == "chain" and table[-1]["arm"] == "plain"
    assert (
        table[0]["place"] == "1"
        and table[0]["against plain"].startswith("+75 points")
        and table[-1]["place"] == "6 to 7"
    )
    said = comparison.answer(rows)
    assert "loses 80 points in far:2" in said and "with chain: 75 points, 94 % of what was lost" in said
    assert "chain is better than DR and real (+25 points" in said
    lost = comparison.answer({arm: row | {"_real": tried(36)} for arm, row in rows.items()})
    assert "loses 0 points" in lost and "comes back" not in lost


class Frames(list):
    """Stands in for a data set of so many frames."""

    root = Path("frames")


@pytest.mark.parametrize("size", [comparison.STUDY.full, comparison.STUDY.quick], ids=["full", "quick"])
def test_every_arm_gets_as_many_frames_and_steps(size, tmp_path, monkeypatch):
    steps, made, real = [], {}, round(400 * size.data)

    def as_many(out, config, frames, processes=None):
        made[str(out)] = Frames(range(real if config.world != "sim" else frames))
        return made[str(out)]

    def train(request, out, **_):
        steps.append(request.config.steps)
        return Path(out)

    def rounds(out, count, number, gather):
        """The first training and so many rounds."""
        steps.extend([count] * (number + 1))
        for i in range(1, number + 1):
            gather(out / f"data-{i:02d}", Path("driver"), 0.0, 5 + i, 1)
        return out

    def dagger(request, out, plan, gather):
        return [SimpleNamespace(checkpoint=rounds(out, request.config.steps, plan.rounds, gather))]

    def student(teacher, training, out, gather):
        gather(out / "demos", Path(teacher), 0.0, 5, 1)
        return rounds(out, training.steps, training.rounds, gather)

    def fit(practice, level, folder, before):
        steps.append(level.steps)
        return folder

    for name, stand_in in {
        "as_many": as_many, "train": train, "dagger": dagger, "student": student, "clone": lambda *_: "teacher",
        "Dataset": lambda where, cache=True: made[str(where)], "MappedData": lambda data, like: data,
        "measured": lambda *_: comparison.NO_RANDOMIZATION, "read_config": lambda _: [None],
    }.items():  # fmt: skip
        for module in (comparison, chains):
            monkeypatch.setattr(module, name, stand_in, raising=False)
    monkeypatch.setattr(comparison.Practice, "fit", fit)
    whole = comparison.frames_of(lab(tmp_path, size))
    for arm, make in comparison.MAKERS.items():
        steps.clear()
        frames = make(lab(tmp_path, size), 1)[1]
        assert sum(steps) == pytest.approx(size.steps, abs=3), arm
        assert frames == pytest.approx(whole, abs=4), arm


def grown(ends):
    """Ranges of every parameter, `ends` times as wide as the hand-tuned ones after each iteration."""
    space = adr_convergence.SPACE
    about = lambda p, w: [p.nominal + w * (p.low - p.nominal), p.nominal + w * (p.high - p.nominal)]  # noqa: E731
    return [{n: about(space[n], w) for n in adr_convergence.PARAMETERS} for w in ends]


@pytest.mark.parametrize(
    ("late", "said"),
    [(1.2, "quarter +0 %: they have settled"), (0.9, "+33 %: they still widen"), (2.4, "-50 %: they still narrow")],
)
def test_whether_ranges_have_settled(late, said):
    tables = {f"_{where}": tried(20) for where in adr_convergence.WHERE}
    history = {str(k): grown([0.1, 0.5, 0.7, late, 1.2 + 0.1 * (k - 1)]) for k in range(3)}
    rows = {arm: tables | {"_ranges": history} for arm in adr_convergence.STUDY.arms}
    answer = adr_convergence.answer(rows)
    assert said in answer and answer.startswith("After 4 iterations the ranges are 1.20 [0.95, 1.45] times as wide")
    assert "action_delay 1.20 [0.95, 1.45]" in answer and "from 0.10" in answer
    line = adr_convergence.lines(rows)[2]
    assert line["ranges"] == "ADR" and line["action_delay [ticks]"] == "0 … 3.6" and line["by training"] == "20 20 20"


def test_worlds_of_the_arms_differ_in_what_they_should(tmp_path, monkeypatch):
    from palmar.transfer.identification import Estimate, Identification

    found = Identification("arm7", {"friction": Estimate(0.63, 0.6, 0.66, "×", True)}, 2.0, 1.0)
    monkeypatch.setattr(sysid_vs_dr, "identification", lambda *_: found)
    drawn = {}
    for arm in sysid_vs_dr.STUDY.arms:
        worlds = sysid_vs_dr.worlds(lab(tmp_path, Size(9)), arm, 0)
        drawn[arm] = [worlds.sample(sysid_vs_dr_rng(i)) for i in range(50)]
    assert not any(w.values for w in drawn["off"])
    assert all(set(w.values) == {"friction"} for w in drawn["identified"])
    for arm in ("identified", "both"):
        assert abs(sum(w["friction"] for w in drawn[arm]) / 50 - 0.63) < 0.01
    assert {w["light"] for w in drawn["both"]} == {
        w["light"] for w in drawn["dr"]
    }  # the same worlds but for what is known


def sysid_vs_dr_rng(seed):
    import numpy as np

    return np.random.default_rng(seed)


def test_a_difference_is_told_with_its_sign():
    assert points(Crossed(-0.125, -0.2, 0.01, 3, 40)) == "-12 points [-20, +1]"
