"""Automatic domain randomisation on pretend policies: ranges find where a policy fails, and a stopped run goes on unchanged."""

import json
from dataclasses import replace

import pytest

from palmar.errors import BadFile, BadValue, UnknownName
from palmar.eval.span_plot import spans
from palmar.sim.params import SPACE, WorldParams
from palmar.transfer.adr import AdrConfig, AdrState, adr, episodes, start, step, worlds
from palmar.transfer.adr_history import AdrHistory, read
from palmar.transfer.adr_run import Rounds, Trials, in_simulation

SMALL = AdrConfig(("friction", "gain", "action_delay"), buffer=5, episodes=30, begin=0.2, seed=4)
ABOUT = {"policy": "pretend", "tasks": ["reach"]}


def reaching(low: float, high: float):
    """A policy that succeeds where the friction is inside low … high, whatever else."""
    return lambda ran, policy: [low <= b.params["friction"] <= high for b in ran]


def test_ranges_grow_to_where_the_policy_fails_and_no_further():
    end = adr(SMALL, reaching(0.7, 1.4), 100)
    low, high = end.ranges["friction"]
    assert low == pytest.approx(0.7, abs=0.06) and high == pytest.approx(1.4, abs=0.06)
    gain = end.ranges["gain"]
    assert gain[0] < SPACE["gain"].low and gain[1] > SPACE["gain"].high, "friction alone matters to it"
    assert end.ranges["action_delay"][0] == 0.0, "a delay has a physical minimum"
    assert end.entropy > start(SMALL).entropy


def test_a_policy_that_always_fails_shrinks_to_the_centre():
    end = adr(replace(SMALL, centre=WorldParams({"friction": 1.2})), lambda ran, policy: [False] * len(ran), 100)
    assert end.ranges["friction"] == (1.2, 1.2) and end.ranges["gain"] == (1.0, 1.0)
    assert end.entropy is None and end.to_dict()["entropy"] is None


def test_limits_and_physical_bounds_hold():
    config = replace(SMALL, limits={"friction": (0.8, 1.3)})
    end = adr(config, lambda ran, policy: [True] * len(ran), 200)
    assert end.ranges["friction"] == (0.8, 1.3)
    for name, (low, high) in end.ranges.items():
        assert SPACE[name].least <= low <= high <= SPACE[name].most


def test_an_end_moves_by_5_and_2_hundredths_of_the_ordinary_width():
    config = replace(SMALL, parameters=("friction",))
    state = start(config)
    ran = [b for b in episodes(config, state) if b.side == "high"][:5]
    width = SPACE["friction"].high - SPACE["friction"].low
    up, moved = step(config, state, ran, [True, True, True, True, False])
    assert up.ranges["friction"] == (state.ranges["friction"][0], pytest.approx(1.1 + 0.05 * width))
    assert [(m.side, m.successes, m.n) for m in moved] == [("high", 4, 5)] and up.buffers["friction"] == ((), ())
    down, _ = step(config, state, ran, [True, True, True, False, False])
    assert down.ranges["friction"][1] == pytest.approx(1.1 - 0.02 * width)
    waiting, moved = step(config, state, ran[:4], [True] * 4)
    assert not moved and waiting.ranges == state.ranges and waiting.buffers["friction"] == ((), (True,) * 4)


def test_one_parameter_is_at_its_end_and_the_rest_inside():
    state = start(SMALL)
    ran = episodes(SMALL, state)
    assert len(ran) == 30 and len({b.number for b in ran}) == 30
    for b in ran:
        assert b.params[b.parameter] == state.ranges[b.parameter][("low", "high").index(b.side)]
        assert all(low <= b.params[n] <= high for n, (low, high) in state.ranges.items())
    assert ("action_delay", "low") not in {(b.parameter, b.side) for b in ran}, "there is nothing below 0"
    assert worlds(SMALL, state).ranges == state.ranges


def test_a_run_taken_up_again_is_the_run_that_was_not_stopped(tmp_path):
    def go(path, until, resume):
        make = AdrHistory.resume if resume else AdrHistory.begin
        history = make(path, SMALL, ABOUT)
        train = lambda state: f"round-{state.iteration}"  # noqa: E731
        adr(SMALL, reaching(0.7, 1.4), until, history.state, train, 4, history.add)

    go(tmp_path / "whole.json", 17, False)
    for until, resume in ((5, False), (6, True), (17, True)):
        go(tmp_path / "torn.json", until, resume)
    assert (tmp_path / "torn.json").read_text() == (tmp_path / "whole.json").read_text()
    rows = read(tmp_path / "whole.json")["rows"]
    assert [r["policy"] for r in rows[::4]] == ["pretend", "round-4", "round-8", "round-12", "round-16"]
    assert not list(tmp_path.glob(".*")), "written aside and put in its place"


def test_a_state_survives_its_file():
    state = adr(SMALL, reaching(0.7, 1.4), 3)
    assert AdrState.from_dict(json.loads(json.dumps(state.to_dict()))) == state


def test_the_table_and_the_figure(tmp_path):
    pytest.importorskip("matplotlib")
    history = AdrHistory.begin(tmp_path / "h.json", SMALL, ABOUT)
    adr(SMALL, reaching(0.7, 1.4), 10, history.state, watch=history.add)
    rows = {r[0]: r[1:] for r in history.table()}
    assert rows["friction [×]"][0] == "0.5 … 1.5" and float(rows["friction [×]"][2]) > 0.2
    drawn = spans(
        {n: [tuple(r["ranges"][n]) for r in history.rows] for n in SMALL.parameters}, {"friction": (0.5, 1.5)}
    )
    assert drawn.startswith("<svg") and ">action delay<" in drawn
    with pytest.raises(BadValue, match=r"no ranges to draw.* Next: name one"):
        spans({}, {})


def test_a_history_of_another_run_is_refused(tmp_path):
    path = tmp_path / "h.json"
    AdrHistory.begin(path, SMALL, ABOUT).save()
    assert AdrHistory.resume(path, SMALL, ABOUT).state == start(SMALL, "pretend")
    with pytest.raises(BadFile, match=r"history of another run: buffer was 5 and is 6; .* Next: the settings"):
        AdrHistory.resume(path, replace(SMALL, buffer=6), ABOUT)
    with pytest.raises(BadFile, match=r'another run: policy was "pretend" and is "other"'):
        AdrHistory.resume(path, SMALL, ABOUT | {"policy": "other"})
    nested = ABOUT | {"trials": {"tasks": ["reach"], "timeout": 4.0}}
    AdrHistory.begin(path, SMALL, nested).save()
    assert AdrHistory.resume(path, SMALL, nested).about == nested
    with pytest.raises(BadFile, match=r"another run: trials.timeout was 4.0 and is 5.0"):
        AdrHistory.resume(path, SMALL, ABOUT | {"trials": {"tasks": ["reach"], "timeout": 5.0}})


@pytest.mark.parametrize(
    "change", ["", "[]", '{"format": "palmar adr 1"}', "inside out", "unknown", "no rows"],
)  # fmt: skip
def test_a_damaged_history_is_refused(tmp_path, change):
    path = tmp_path / "h.json"
    AdrHistory.begin(path, SMALL, ABOUT).save()
    row = json.loads(path.read_text())
    if change == "inside out":
        row["rows"][0]["ranges"]["friction"] = [1.5, 0.5]
    elif change == "unknown":
        row["rows"][0]["ranges"]["fraction"] = [0.5, 1.5]
    elif change == "no rows":
        row["rows"] = []
    path.write_text(json.dumps(row) if change in ("inside out", "unknown", "no rows") else change)
    with pytest.raises(BadFile, match=r"h.json' is no history of palmar adr \(.* Next: another --out"):
        AdrHistory.resume(path, SMALL, ABOUT)
    with pytest.raises(BadFile, match=r"no history at .* Next: palmar adr --out"):
        read(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"parameters": ()}, r"no parameter is named; .* Next: dynamics"),
        ({"limits": {"friction": (1.5, 0.5)}}, r"range of friction is 1.5 … 0.5, inside out"),
        (
            {"limits": {"friction": (1.2, 1.5)}},
            r"centre of friction is 1, outside its limits 1.2 … 1.5; .* Next: wider",
        ),
        (
            {"parameters": ("mass",), "limits": {"gain": (0.5, 2)}},
            r"limits of gain, whose range does not move; .* Next: gain",
        ),
        ({"parameters": ("mass",), "limits": {"mass": (1, 1)}}, r"no end of mass can move: .* Next: wider limits"),
        ({"buffer": 0}, r"buffer is 0; expected 1"),
        ({"widen": 0.0}, r"widen is 0.0; expected above 0"),
        ({"threshold": 1.5}, r"threshold is 1.5; expected 0 … 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(values, message):
    with pytest.raises(BadValue, match=message):
        AdrConfig(**values)
    with pytest.raises(UnknownName, match="Did you mean 'friction'"):
        AdrConfig(("frictio",))
    with pytest.raises(BadValue, match=r"1 outcomes of 2 episodes; .* Next: "):
        step(SMALL, start(SMALL), episodes(SMALL, start(SMALL))[:2], [True])
    with pytest.raises(BadValue, match=r"lr is 0; expected above 0"):
        Rounds("x", lr=0)  # type: ignore[arg-type]


def test_boundary_episodes_run_in_simulation():
    """The script that knows where things are reaches in plain worlds, and not through servos that hardly pull."""
    config = AdrConfig(("gain",), episodes=2, begin=0.0)
    evaluate = in_simulation(Trials(tasks=("reach",), timeout=3.0), processes=1)
    assert evaluate(episodes(config, start(config)), "expert") == [True, True]
    weak = replace(config, centre=WorldParams({"gain": 0.02}))
    assert evaluate(episodes(weak, start(weak)), "expert") == [False, False]
