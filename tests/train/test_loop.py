import dataclasses
import json
import os
import signal
import threading

import numpy as np
import pytest
import torch
from squares import COLOURS, Squares
from training import train

from palmar.data.augment import warp_labels
from palmar.errors import BadFile, BadValue
from palmar.models import checkpoint
from palmar.models.presets import palmar_nano, preset
from palmar.models.tensors import read_tensors
from palmar.sim.truth import decoder
from palmar.train.feed import Augment, Feed, ahead, shifted
from palmar.train.loop import Run, TrainConfig
from palmar.train.recipe import Recipe, Stage
from palmar.train.resume import CtrlC, differences
from palmar.types import Observation

SMALL = TrainConfig(
    steps=6, horizon=4, batch_size=16, threads=1, log_every=1, augment=Augment(shift=1), validate_share=0.95
)


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def timeless(folder):
    timing = ("minutes", "samples_per_s", "loader_share", "validation_share")
    return [{k: v for k, v in row.items() if k not in timing} for row in rows(folder)]


def test_it_learns_and_looks_where_the_words_say(tmp_path):
    config = TrainConfig(steps=160, horizon=4, batch_size=64, lr=2e-3, threads=1, validate=2, augment=Augment(shift=1))
    para = {f"reach the {c} square": [f"go to the {c} block", f"touch {c}"] for c in COLOURS}
    out = train(
        palmar_nano(), Squares(2000, seed=1), tmp_path / "run", config, paraphrases=para.__getitem__, progress=False
    )
    log = [r for r in rows(out) if "loss" in r]
    assert log[-1]["action"] < 0.4 * log[0]["action"] and log[-1]["pixel"] < 2.5

    policy, unseen = checkpoint.load(out), Squares(60, seed=2)
    hit, swapped, towards = [], [], []
    names = list(COLOURS)
    for i in range(len(unseen)):
        for words, which in ((unseen.tasks[unseen._task[i]], 0), (f"go to the {names[unseen.other[i]]} block", 1)):
            chunk = policy.act(Observation({"front": unseen.images[i]}, unseen.states[i], words))
            heat = chunk.attention["front.target"]
            row, column = np.unravel_index(heat.argmax(), heat.shape)
            seen = (np.array([column, row]) + 0.5) / heat.shape[0]
            away = np.linalg.norm(unseen.places[i] - seen, axis=-1)
            (hit, swapped)[which].append(int(away.argmin()) == which and away.min() < 0.12)
            wish = unseen.places[i, which] - unseen.states[i, :2]
            if np.linalg.norm(wish) > 0.2:
                towards.append(
                    float(chunk.actions[0, :2] @ wish / np.linalg.norm(chunk.actions[0, :2]) / np.linalg.norm(wish))
                )
    assert np.mean(hit) > 0.9 and np.mean(swapped) > 0.9  # the same picture, other words, the other square
    assert np.mean(towards) > 0.9


def weights(folder):
    return read_tensors(folder / "model.safetensors")[0]


def test_an_interrupted_run_resumes_bit_for_bit(tmp_path):
    data = Squares(200)
    whole = train(palmar_nano(), data, tmp_path / "whole", SMALL, progress=False)

    def stop_at_three(row):
        if row["step"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(palmar_nano(), data, tmp_path / "cut", SMALL, progress=False, watch=stop_at_three)
    assert checkpoint.load(tmp_path / "cut").info["step"] == 3
    torch.manual_seed(99)  # nothing outside the run may matter
    cut = train(palmar_nano(), data, tmp_path / "cut", SMALL, progress=False, resume=True)
    a, b = weights(whole), weights(cut)
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert (
        timeless(cut) == timeless(whole) and len(rows(cut)) == 12
    )  # a row of training and one of validation each step
    with pytest.raises(BadValue, match=r"another batch_size \(16, now 8\)"):
        train(palmar_nano(), data, cut, dataclasses.replace(SMALL, batch_size=8), progress=False, resume=True)


@pytest.fixture
def listening():
    """As in a terminal, whoever started the tests: in the background a shell has Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_run_cut_between_two_rows_logs_what_it_would_have(tmp_path, listening):
    """The means of the next row begin before the cut; who is told to stop in a step's validation ends that step first."""
    data, config = Squares(200), dataclasses.replace(SMALL, log_every=4, steps=8, validate=8)
    whole = train(palmar_nano(), data, tmp_path / "whole", config, progress=False)

    def ctrl_c(row):
        if row["step"] == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(palmar_nano(), data, tmp_path / "cut", config, progress=False, watch=ctrl_c)
    assert [r["step"] for r in rows(tmp_path / "cut")] == [1, 2, 3]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    cut = train(palmar_nano(), data, tmp_path / "cut", config, progress=False, resume=True)
    assert timeless(cut) == timeless(whole) and [r["step"] for r in rows(cut) if "loss" in r] == [4, 8]


def test_the_second_ctrl_c_ends_at_once(listening):
    with pytest.raises(KeyboardInterrupt), CtrlC() as ctrl_c:
        signal.raise_signal(signal.SIGINT)
        assert ctrl_c.asked
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_finished_run_says_so_and_stays_as_it_is(tmp_path, capsys):
    data = Squares(100)
    out = train(palmar_nano(), data, tmp_path / "run", SMALL, progress=False)
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    assert train(palmar_nano(), data, out, SMALL, resume=True) == out
    said = capsys.readouterr().out
    assert said == f"'{out}' is finished already, at step 6: nothing was trained.\n"
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before


def test_fine_tuning_starts_from_a_checkpoint(tmp_path):
    data = Squares(200)
    first = train(palmar_nano(), data, tmp_path / "a", SMALL, progress=False)
    slow = dataclasses.replace(SMALL, steps=1, lr=1e-9, ema=0.0)
    second = train(palmar_nano(), data, tmp_path / "b", slow, init=first, progress=False)
    a, b = weights(first), weights(second)
    assert all(torch.allclose(a[k], b[k], atol=1e-6) for k in a)
    other = Squares(200)
    other.actions = 1.2 * other.actions + 0.01  # what a weight means must not change with the data it goes on with
    third = train(palmar_nano(), other, tmp_path / "d", slow, init=first, progress=False)
    kept, was = (checkpoint.load(c).normalizers["action"].to_dict() for c in (third, first))
    assert kept == was
    with pytest.raises(BadValue, match="has cameras"):
        train(palmar_nano(), Squares(100, cameras=("left",)), tmp_path / "c", slow, init=first, progress=False)


@pytest.mark.parametrize(
    ("scale", "offset", "said"), [(10, 0, "beyond 5 σ"), (0.05, 0, "expected about 1"), (1, 3, "mean")]
)
def test_data_of_another_scale_are_refused_by_init_unless_the_normaliser_is_fitted_anew(tmp_path, scale, offset, said):
    first = train(palmar_nano(), Squares(200), tmp_path / "a", dataclasses.replace(SMALL, steps=1), progress=False)
    other = Squares(200)
    other.actions = scale * other.actions + np.float32(offset)
    few = dataclasses.replace(SMALL, steps=1, lr=1e-9)
    with pytest.raises(
        BadValue, match=rf"another scale than checkpoint.*action: dx.*{said}.*Next: .*--normalizer keep"
    ):
        train(palmar_nano(), other, tmp_path / "b", few, init=first, progress=False)
    assert not (tmp_path / "b").exists()
    as_it_is = train(palmar_nano(), other, tmp_path / "k", few, init=first, normalizer="keep", progress=False)
    kept, was = (checkpoint.load(c).normalizers["action"].to_dict() for c in (as_it_is, first))
    assert kept == was
    anew = train(palmar_nano(), other, tmp_path / "b", few, init=first, normalizer="new", progress=False)
    of_new, of_old = (checkpoint.load(c).normalizers["action"] for c in (anew, first))
    np.testing.assert_allclose(of_new.scale[:2], scale * of_old.scale[:2], rtol=1e-3)
    with pytest.raises(BadValue, match=r"data\.0\.actions"):  # and a run goes on with the data that it began with
        train(palmar_nano(), other, first, dataclasses.replace(SMALL, steps=1), resume=True, progress=False)


class TwoViews(Squares):
    """Two cameras that see unlike things, in the order given; states and actions in the order given."""

    def __init__(self, frames, cameras=("front", "wrist"), states=(0, 1, 2), actions=(0, 1, 2)):
        super().__init__(frames, cameras=("front", "wrist"))
        self.order, self.turn, self.cameras = list(states), list(actions), cameras
        self.state_names = tuple(Squares.state_names[i] for i in states)
        self.action_names = tuple(Squares.action_names[i] for i in actions)
        self.states, self.actions = self.states[:, self.order], self.actions[:, self.turn]

    def batch(self, indices, horizon):
        raw = super().batch(indices, horizon)
        pictures = {"front": raw["images"]["front"], "wrist": 255 - raw["images"]["front"]}
        return raw | {"images": {c: pictures[c] for c in self.cameras}}


def test_cameras_and_channels_in_another_order_are_put_in_order_by_name(tmp_path):
    given = {"cameras": ("wrist", "front"), "states": (2, 0, 1), "actions": (1, 2, 0)}
    config = dataclasses.replace(SMALL, steps=4, lr=1e-2, ema=0.0)
    first = train(palmar_nano(), TwoViews(200), tmp_path / "a", config, progress=False)
    assert list(checkpoint.read_interface(first).cameras) == ["front", "wrist"]
    ways = {"same": TwoViews(200), "other": TwoViews(200, **given)}
    ends = {
        n: weights(train(palmar_nano(), d, tmp_path / n, config, init=first, progress=False)) for n, d in ways.items()
    }
    assert all(torch.equal(ends["same"][k], ends["other"][k]) for k in ends["same"])
    assert list(checkpoint.read_interface(tmp_path / "other").cameras) == ["front", "wrist"]

    def stop(row):
        if row["step"] == 2:
            raise KeyboardInterrupt

    short = dataclasses.replace(config, log_every=1)
    whole = train(palmar_nano(), TwoViews(200), tmp_path / "whole", short, progress=False)
    with pytest.raises(KeyboardInterrupt):
        train(palmar_nano(), TwoViews(200), tmp_path / "cut", short, progress=False, watch=stop)
    resumed = train(
        palmar_nano(), TwoViews(200, ("wrist", "front")), tmp_path / "cut", short, resume=True, progress=False
    )
    assert all(torch.equal(weights(whole)[k], weights(resumed)[k]) for k in weights(whole))

    plain = train(palmar_nano(), [TwoViews(100), TwoViews(100)], tmp_path / "two", config, progress=False)
    mixed = train(palmar_nano(), [TwoViews(100), TwoViews(100, **given)], tmp_path / "mixed", config, progress=False)
    assert all(torch.equal(weights(plain)[k], weights(mixed)[k]) for k in weights(plain))
    with pytest.raises(BadValue, match=r"has state_names .*tcp\.w"):
        strange = TwoViews(200)
        strange.state_names = ("tcp.x", "tcp.y", "tcp.w")
        train(palmar_nano(), strange, tmp_path / "c", config, init=first, progress=False)


def test_sets_of_two_picture_sizes_are_refused_by_name(tmp_path):
    with pytest.raises(
        BadValue, match=r"pictures of camera 'front': 48×48 px and 64×64 px in set 1\. Next: .*--image-size 48 48"
    ):
        train(palmar_nano(), [Squares(100), Squares(100, size=64)], tmp_path / "x", SMALL, progress=False)


class NoState(Squares):
    """A set that recorded pictures and actions only."""

    state_names = ()

    def __init__(self, frames):
        super().__init__(frames)
        self.states = np.zeros((frames, 0), np.float32)


def test_a_set_without_a_state_trains_and_acts(tmp_path):
    data = NoState(200)
    with pytest.raises(BadValue, match="have no state, and 'palmar-nano' needs one"):
        train(palmar_nano(), data, tmp_path / "n", SMALL, progress=False)
    out = train(preset("bcz-tiny"), data, tmp_path / "x", dataclasses.replace(SMALL, steps=3), progress=False)
    policy = checkpoint.load(out)
    chunk = policy.act(Observation({"front": data.images[0]}, data.states[0], data.tasks[0], 0.0))
    assert policy.interface.state_names == () and np.isfinite(chunk.actions).all()


LONG = "reach the {} square which is the one that is not too far from the other one and not too near to the edge of the table"


@pytest.mark.filterwarnings("error")
def test_no_instruction_is_cut(tmp_path, capsys):
    """Two that differ beyond the 32nd token are read apart; a longer one than any in training is refused when acting."""
    data = Squares(100)
    tail = " please and thank you very much for doing it, "
    data.tasks = [LONG.format("same") + tail + colour for colour in ("red", "green", "blue", "yellow")]
    out = train(palmar_nano(), data, tmp_path / "x", dataclasses.replace(SMALL, steps=2))
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "longer than 'palmar-nano' reads, and none is cut: language.max_tokens is" in said and "instead of 32" in said
    )
    policy = checkpoint.load(out)
    tokens = [policy.sentences([t])[0] for t in data.tasks]
    assert policy.model.config.language.max_tokens == max(t.shape[1] for t in tokens) > 32
    assert not torch.equal(tokens[0], tokens[1])
    obs = Observation({"front": data.images[0]}, data.states[0], data.tasks[0], 0.0)
    policy.act(obs)
    with pytest.raises(BadValue, match=r"the instruction has more than the \d+ tokens .*Next: say it in fewer"):
        policy.act(dataclasses.replace(obs, instruction=data.tasks[0] + " or the other one, if you like it better"))
    again = train(palmar_nano(), data, tmp_path / "y", dataclasses.replace(SMALL, steps=1), init=out, progress=False)
    assert checkpoint.load(again).model.config == policy.model.config
    data.tasks = [300 * "far " + t for t in data.tasks]
    with pytest.raises(BadValue, match=r"4 of 4 instructions have more than the 256 tokens .*at most 256.*'far far"):
        train(palmar_nano(), data, tmp_path / "z", SMALL, progress=False)


def test_it_trains_by_the_clock_and_without_truth_or_success(tmp_path):
    data = Squares(200)
    data.privileged_names = ()
    out = train(
        palmar_nano(), data, tmp_path / "t", dataclasses.replace(SMALL, steps=None, minutes=0.02), progress=False
    )
    log = [r for r in rows(out) if "loss" in r]
    assert log[-1]["minutes"] >= 0.02 and "heat" not in log[-1] and log[-1]["lr"] < 1e-4


def test_bad_settings_are_refused():
    with pytest.raises(BadValue, match="exactly one"):
        TrainConfig()
    with pytest.raises(BadValue, match="precision"):
        TrainConfig(steps=1, precision="int8")
    nan = float("nan")
    for name, value in (("steps", 0), ("steps", -1), ("minutes", 0), ("minutes", -1.0), ("minutes", nan), ("lr", nan)):
        with pytest.raises(BadValue, match=rf"^{name} is {value}; expected [^=]*$"):
            TrainConfig(**{"steps": 1} | {name: value} if name == "lr" else {name: value})


@pytest.mark.parametrize("length", [{"steps": 100}, {"minutes": 1.0}])
def test_the_learning_rate_warms_up_from_a_hundredth(length):
    run = Run(torch.nn.Linear(1, 1), TrainConfig(**length, lr=1.0, warmup=0.1))
    rates = []
    for run.step in range(101):
        run.elapsed = 60 * run.step / 100
        rates.append(run.rate())
    assert rates[0] == 0.01 and rates[10] == 1.0 and rates[100] == pytest.approx(0.01)
    assert np.all(np.diff(rates[:11]) > 0) and np.all(np.diff(rates[10:]) < 0)


def test_a_checkpoint_is_not_overwritten(tmp_path):
    data = Squares(100)
    out = train(palmar_nano(), data, tmp_path / "run", SMALL, progress=False)
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    with pytest.raises(BadFile, match=r"run' holds a checkpoint. Next: --resume to go on, another --out, or remove it"):
        train(palmar_nano(), data, out, SMALL, progress=False)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    (out / "train.safetensors").unlink()
    with pytest.raises(BadFile, match=r"holds a checkpoint. Next: it has no train.safetensors"):
        train(palmar_nano(), data, out, SMALL, progress=False, resume=True)
    assert weights(out).keys() and len(rows(out))


def test_resuming_needs_the_same_settings_and_data(tmp_path):
    data = Squares(100)
    out = train(palmar_nano(), data, tmp_path / "run", SMALL, progress=False)

    def refused(match, sets=data, config=SMALL, **more):
        with pytest.raises(BadValue, match=match):
            train(palmar_nano(), sets, out, config, progress=False, resume=True, **more)

    refused(
        r"another clip \(1.0, now 2.0\), lr \(0.001, now 0.002\)\. Next",
        config=dataclasses.replace(SMALL, lr=2e-3, clip=2.0),
    )
    refused(r"another augment.shift \(1, now 2\)", config=dataclasses.replace(SMALL, augment=Augment(shift=2)))
    refused(
        r"another steps \(6, now 7\)\. Next: resume with the settings.*--init .*run and another --out",
        config=dataclasses.replace(SMALL, steps=7),
    )
    refused(r"recipe.stages.0.lr \(None, now 0.1\)", recipe=Recipe(stages=(Stage(lr=0.1),)))
    refused(r"recipe.stages.1.name \(none, now b\)", recipe=Recipe(stages=(Stage(), Stage("b"))))
    refused("interface.dt", dt=0.5)
    refused("wording", paraphrases=lambda task: [task.upper()])
    refused(r"data.0.episodes \(10, now 11\)", Squares(110))
    refused(r"another data.1.frames \(none, now 100\), data.1.episodes \(none, now 10\)", [data, data])
    other = Squares(100)
    other.actions = other.actions.copy()
    other.actions[5, 0] += 1e-3
    refused("data.0.actions", other)
    failed = Squares(100)
    failed.episodes[3].success = False
    refused("another data.0.episode table", failed)
    same = dataclasses.replace(SMALL, threads=2, log_every=2, checkpoint_minutes=1.0)
    assert train(palmar_nano(), Squares(100), out, same, progress=False, resume=True) == out


def test_what_an_older_palmar_did_not_know_is_not_compared():
    before = {"lr": 1.0, "recipe": {"stages": [{"data": {"web": 0.0}}]}}
    now = {"lr": 1.0, "new": 3, "recipe": {"stages": [{"data": {"web": 0.0, "robots": []}, "actions": True}]}}
    assert differences(before, now) == []
    now["recipe"]["stages"][0]["data"]["robots"] = ["gantry"]
    assert differences(before, now) == ["recipe.stages.0.data.robots (none, now ['gantry'])"]


def test_rows_that_were_logged_but_not_saved_are_forgotten(tmp_path):
    data = Squares(100)

    def stop_at_three(row):
        if row["step"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(palmar_nano(), data, tmp_path / "run", SMALL, progress=False, watch=stop_at_three)
    with (tmp_path / "run/metrics.jsonl").open("a") as f:  # what a kill after the last save leaves
        f.write('{"step": 4.0, "loss": 1.0}\n{"step": 5.0, "loss": 1.0}\n{"step": 6.0, "lo')
    out = train(palmar_nano(), data, tmp_path / "run", SMALL, progress=False, resume=True)
    assert [r["step"] for r in rows(out) if "loss" in r] == [1, 2, 3, 4, 5, 6]


def test_two_sets_are_one_feed():
    a, b = Squares(30, seed=1), Squares(40, seed=2)
    b.tasks = [t.upper() for t in b.tasks]
    feed = Feed([a, b], 4, validation=0.2)
    assert len(feed.training) + len(feed.validation) == 70 and not set(feed.training) & set(feed.validation)
    picked = np.array([35, 3, 69, 29, 30])
    got = feed.frames(picked)
    assert np.array_equal(got["state"], np.concatenate([a.states, b.states])[picked])
    assert [feed.tasks[t] for t in got["task"]] == [
        (a.tasks[a._task[i]] if i < 30 else b.tasks[b._task[i - 30]]) for i in picked
    ]
    order = np.concatenate([feed.order(s, 10) for s in range(14)])
    assert np.bincount(order[: len(feed.training)]).max() == 1  # every frame once per epoch
    assert np.array_equal(feed.order(3, 10), order[30:40])
    b.cameras = ("other",)
    with pytest.raises(BadValue, match="differ in cameras"):
        Feed([a, b], 4)


def test_a_shift_moves_pictures_and_points_together():
    images = np.zeros((50, 16, 16, 3), np.uint8)
    images[:, 8, 5] = 255
    labels = {
        "points": np.full((50, 1, 2, 2), (5.5 / 16, 8.5 / 16), np.float32),
        "visible": np.ones((50, 1, 2), np.float32),
    }
    moved, after = shifted({"front": images}, labels, 3, np.random.default_rng(0))
    for picture, (u, v) in zip(moved["front"], after["points"][:, 0, 0], strict=True):
        assert picture[int(v * 16), int(u * 16), 0] == 255 and (picture > 0).sum() == 3
    edge = {"points": np.full((50, 1, 2, 2), 0.99, np.float32), "visible": np.ones((50, 1, 2), np.float32)}
    assert 0 < shifted({"front": images}, edge, 3, np.random.default_rng(0))[1]["visible"].mean() < 1


def test_boxes_and_turns_become_labels_where_the_data_have_them():
    names = tuple(f"front.{g}.{x}" for g in ("target", "goal") for x in ("u", "v", "visible"))
    more = tuple(f"front.{g}.box.{x}" for g in ("target", "goal") for x in "uvwh") + (
        "target.turn.cos",
        "target.turn.sin",
    )
    truth = np.array([[0.5, 0.25, 1, 0.5, 0.5, 0, 0.5, 0.25, 0.2, 0.1, 0, 0, 0, 0, 0.6, 0.8]], np.float32)
    assert "boxes" not in decoder(names, ["front"], ())(truth[:, :6], truth[:, :0])
    labels = decoder(names + more, ["front"], ())(truth, truth[:, :0])
    assert labels["boxed"].tolist() == [[[True, False]]] and labels["turned"].tolist() == [[True, False]]
    np.testing.assert_allclose(labels["boxes"][0, 0, 0], [0.5, 0.25, 0.2, 0.1])
    np.testing.assert_allclose(labels["turns"][0], [[0.6, 0.8], [0, 0]])
    _, moved = shifted({"front": np.zeros((1, 20, 20, 3), np.uint8)}, labels, 3, np.random.default_rng(2))
    gone = moved["points"] - labels["points"]
    assert gone.any()
    np.testing.assert_allclose((moved["boxes"] - labels["boxes"])[..., :2], gone, atol=1e-6)
    turned = warp_labels(labels, np.array([[0.1, 1.0]], np.float32), [(20, 20)])
    assert not turned["boxed"].any() and not turned["turned"].any()


def test_ahead_hands_over_errors_and_ends():
    def make(i):
        if i == 2:
            raise ValueError("frame 2 is broken")
        return i

    steps = ahead(make, 0, 5)
    assert [next(steps), next(steps)] == [0, 1]
    with pytest.raises(ValueError, match="frame 2"):
        next(steps)
    endless = ahead(lambda i: i, 5, None)
    assert [next(endless), next(endless)] == [5, 6]
    endless.close()
    assert not [t for t in threading.enumerate() if t.name == "palmar-feed" and t.is_alive()]
