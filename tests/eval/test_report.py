"""Films show the trial that was counted; the page is whole, and stands with any of its pieces missing."""

import base64
import itertools
import platform
import re
from dataclasses import asdict, fields, replace
from html.parser import HTMLParser

import numpy as np
import pytest

from palmar.errors import BadFile, BadValue
from palmar.eval.plots import Identified
from palmar.eval.report import Comparison, Deployment, Machine, Number, Report, ReportData, plain
from palmar.eval.results import Results, Trial
from palmar.eval.stats import Rate
from palmar.lab.film import Filmmaker, film, overlay, side_by_side, telling, why
from palmar.lab.suite import EvalConfig, run
from palmar.lab.worlds import Loaded
from palmar.robots.arm7 import arm7
from palmar.runtime.loop import rollout
from palmar.runtime.mock import MockBody
from palmar.runtime.worker import Inline
from palmar.types import ActionChunk

CONFIG = EvalConfig("expert", world="twin:0", timeout=2.0)


@pytest.fixture(scope="module")
def shot(tmp_path_factory):
    return film(CONFIG, "reach", "layout", 0, tmp_path_factory.mktemp("films") / "reach.mp4")


class Looking:
    """Stands still and says where it looked."""

    interface = arm7().interface(4)

    def act(self, obs, prefix=None):
        heat = np.zeros((24, 24), np.float32)
        heat[3, 4] = 1.0
        return ActionChunk(
            np.array([[0, 0, 0, 0, 0, 0, 1.0]] * 4, np.float32), 0.1, obs.time, attention={"front.target": heat}
        )

    def reset(self):
        pass


def test_filming_changes_nothing_about_a_trial(shot):
    """The twin is noisy: one more look through a camera would change the trial."""
    plain_trial = run(Loaded(), (CONFIG, "reach", "layout", 0))
    assert shot.success == plain_trial.success
    assert shot.seconds == pytest.approx(plain_trial.duration)
    maker = Filmmaker()
    watched = asdict(run(Loaded(), (CONFIG, "reach", "layout", 0), (maker,))) | {"latency": 0}
    assert watched == asdict(plain_trial) | {"latency": 0}


def test_a_film_plays_in_a_browser(shot):
    import av

    raw = shot.path.read_bytes()
    assert raw.find(b"moov") < raw.find(b"mdat"), "starts before it is loaded"
    assert len(raw) < 60_000 * (shot.seconds + 1.0)
    with av.open(str(shot.path)) as container:
        stream = container.streams.video[0]
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(stream)]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert float(stream.duration * stream.time_base) == pytest.approx(shot.seconds + 1.0, abs=0.25)
    assert frames[0].shape[0] % 2 == frames[0].shape[1] % 2 == 0
    assert np.abs(frames[0].astype(int) - frames[-1]).mean() > 1, "something moves"
    assert shot.poster.read_bytes()[:3] == b"\xff\xd8\xff"
    assert len(shot.tcp) == len(frames) - round(12.5) and np.ptp(shot.tcp, axis=0).max() > 0.01
    assert not list(shot.path.parent.glob(".*")), "nothing is left aside"


def test_a_robot_without_a_model_is_filmed_through_its_camera(tmp_path):
    body, maker = MockBody(arm7()), Filmmaker(instruction="a very long sentence " * 20)
    rollout(body, Inline(Looking()), body.reset(), subscribers=[maker], timeout=0.5)
    made = maker.save(tmp_path / "m.mp4", None, "robot")
    assert made.path.stat().st_size > 1000 and made.success is None
    with pytest.raises(BadValue, match="watched no rollout"):
        Filmmaker().save(tmp_path / "n.mp4")


def test_heat_is_laid_over_the_picture():
    grey, heat = np.full((96, 96, 3), 100, np.uint8), np.zeros((24, 24), np.float32)
    assert np.ptp(np.asarray(overlay(grey, [heat], 180))) == 0
    heat[6, 18] = 0.3
    warm = np.asarray(overlay(grey, [heat], 180)).astype(int)
    v, u = np.unravel_index((warm[..., 0] - warm[..., 2]).argmax(), (180, 180))
    assert (u, v) == (pytest.approx(18.5 * 7.5, abs=8), pytest.approx(6.5 * 7.5, abs=8))


TRIAL = Trial("pick", "layout", "sim", 0, "pick up the red cube", True, 3.0, True, "red cube", None, 0.01, 1, 0, 10, 2)


def trials(pattern, **change):
    made = (replace(TRIAL, seed=i, success=ok, task=("pick", "place")[i % 2], **change) for i, ok in enumerate(pattern))
    return Results({}, tuple(made))


def test_telling_shows_both_ends_and_every_task():
    chosen = telling(trials([True, True, True, False, True, False, True]), 4)
    assert [t.success for t in chosen] == [True, False, True, False]
    assert {t.task for t in chosen} == {"pick", "place"}
    assert telling(trials([True]), 4)[0].success
    assert why(replace(TRIAL, success=False, approached=False, nearest="blue ball")) == "went to the blue ball instead"


def test_side_by_side_names_its_films(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr("palmar.lab.film.film", lambda *a, loaded: made.append((str(a[4].name), a[5], loaded)))
    side_by_side({"": CONFIG, "not adapted": replace(CONFIG, world="sim")}, [TRIAL], tmp_path)
    assert [m[:2] for m in made] == [
        ("pick_layout_0_twin-0.mp4", ""),
        ("pick_layout_0_sim_not-adapted.mp4", "not adapted"),
    ]
    assert made[0][2] is made[1][2]  # each world and policy is loaded once for all films


class Page(HTMLParser):
    """Collects what a browser would fetch, ids, links and unclosed tags."""

    VOID = ("meta", "img", "source", "br", "link", "input", "hr")

    def __init__(self, text):
        super().__init__()
        self.fetched, self.ids, self.links, self.open, self.tags, self.words = [], [], [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        self.tags.append((tag, a))
        self.fetched += [a[k] for k in ("src", "poster", "data", "srcset", "action") if k in a]
        self.fetched += [a["href"]] if "href" in a and tag == "link" else []
        self.links += [a[k] for k in ("href", "xlink:href") if k in a]
        self.ids += [a["id"]] if "id" in a else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def data(shot):
    timing = {f"{k}_{p}": 3.0 for k in ("latency", "took", "jitter", "period") for p in ("p50", "p99", "max")}
    twin = replace(shot, success=False, note="went to the <b>ball</b> instead")
    return ReportData(
        "A & B <script>", "short", ["One.", "Two."], [Number("new tables", rate=Rate(13, 20)), Number("policy", "12 ms")],
        [replace(shot, world="sim"), twin], {"before": trials([False] * 12), "after": trials([True] * 11 + [False])},
        [Comparison("before", "after", "Closing the gap"), Comparison("before", "no such arm")], {"sim": trials([True] * 3)},
        {"run": [{"step": 1, "minutes": 1.0, "action": 0.5, "lr": 1e-3}]}, {"demos": {"episodes": 1200, "fps": 10, "frames": 9}},
        [Identified("mass", 1.1, 1.0, 1.2, "×", True, 1.15, 1.0, (0.8, 1.2)), Identified("gain", 1, 0, 9, identified=False)],
        [Deployment("pick up the red cube", True, True, 4.0, timing, {"velocity": 3}, 200, film=replace(shot, seed=None)),
         Deployment("push it", None, False, 9.0)],
        20.0, {"train": 60.0}, {"policy": "/home/someone/x/policy", "n": 3, "nested": {"p": ("/tmp/a/b", None)}},
        [("palmar demo --out /home/someone/demo", "all of it")], Machine.here(),
    )  # fmt: skip


def test_the_page_is_whole_and_fetches_nothing(data, tmp_path):
    path = Report(data).save(tmp_path / "deep" / "report.html")
    text = path.read_text()
    page = Page(text)
    assert not page.open, f"unclosed {page.open}"
    assert page.fetched and all(f.startswith("data:") for f in page.fetched)
    assert all(link.startswith("#") for link in page.links)
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert "url(http" not in text and "@import" not in text and "<script" not in text
    assert "default-src 'none'" in text
    videos = [a for tag, a in page.tags if tag == "video"]
    assert len(videos) == 3 and all(a["aria-label"] for a in videos)
    assert all(a.get("alt") is not None for tag, a in page.tags if tag == "img")
    assert all(a.get("scope") for tag, a in page.tags if tag == "th")
    first = next(a["src"] for tag, a in page.tags if tag == "source")
    assert base64.b64decode(first.partition(",")[2]) == data.films[0].path.read_bytes()


def test_the_page_is_honest_and_keeps_secrets(data):
    text = Report(data).html()
    words = " ".join(" ".join(Page(text).words).split())
    assert "43–82 %, 13 of 20" in words, "a rate has its interval and its trials beside it"
    assert "after is better" in words and "on the same 12 tables" in words
    assert "failed in reality twin" in words and "went to the <b>ball</b> instead" in words
    assert "1 of 1 parameters" in words
    for private in ("/home", "/tmp", "someone"):
        assert private not in text
    assert not re.search(rf"\b{re.escape(platform.node() or 'without_names')}\b", words)
    assert words.index("One.") < words.index("How to read this page") < words.index("Closing the gap")


def test_every_piece_may_be_missing(data, monkeypatch):
    for figure in ("success", "identified", "timing", "guards", "trajectories"):  # drawn in the tests above
        monkeypatch.setattr(f"palmar.eval.plots.{figure}", lambda *_: "<svg></svg>")
    monkeypatch.setattr("palmar.eval.plots.curves", lambda *_: {"lr": "<svg></svg>"})
    left_out = [f.name for f in fields(ReportData) if f.name not in ("title", "subtitle", "budget")]
    for name in left_out:
        empty = getattr(ReportData(), name)
        page = Page(Report(replace(data, **{name: empty})).html())
        assert not page.open
    assert "Films" not in Page(Report(ReportData("nothing yet")).html()).words
    only = Report(ReportData(results=data.results))
    assert [n.label for n in only.numbers] == ["before", "after"]
    assert "went to" in only.html()


def test_films_beyond_the_limit_are_named(data):
    data = ReportData(films=data.films[:1], deployments=[replace(data.deployments[0], timing={}, guards={})])
    words = " ".join(Page(Report(data, limit_mb=0.02).html()).words)
    assert "reach.mp4" in words and "left out to keep this page small" in words
    gone = ReportData(films=[replace(data.films[0], path=data.films[0].path.with_name("gone.mp4"))])
    with pytest.raises(BadFile, match=r"gone.mp4' cannot be read"):
        Report(gone).html()


def test_markdown_is_short_and_says_the_same(data):
    text = Report(data).to_markdown()
    assert text.startswith("# A & B")
    assert "**65 %** new tables (43–82 %, 13 of 20)" in text
    assert "after is better" in text and "/home" not in text
    assert len(text.splitlines()) < 60
    assert Report(ReportData()).to_markdown() == "# palmar report\n"


def test_paths_are_cut_to_their_last_part():
    assert plain({"a": "/x/y/z.mp4", "b": ["~/k/demo"], "c": 1}) == {"a": "z.mp4", "b": ["demo"], "c": 1}
    assert plain("demo/policy and 3/4") == "demo/policy and 3/4"
    assert plain("palmar eval --policy=/a/b/c --x twin:0") == "palmar eval --policy=c --x twin:0"
    for a, b in itertools.pairwise(("sim", "twin:0", "put it in/on")):
        assert plain(a) == a and plain(b) == b


def test_the_machine_is_named_without_its_name():
    here = Machine.here()
    assert here.cores >= 1 and here.cpu
    assert re.match(r"\d+\.\d+", here.versions["numpy"])
    assert platform.node() not in here.system
