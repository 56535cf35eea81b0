"""Every figure is one well-formed SVG that asks for nothing, the same each time, and many fit on a page."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from palmar.errors import BadFile, BadValue
from palmar.eval import plots
from palmar.eval.plots import Identified
from palmar.eval.rows import cut_short, read_rows
from palmar.eval.stats import Rate

ROWS = [
    {"step": i, "minutes": i / 10, "lr": 1e-3, "action": 1 / (1 + i), "pixel": 9.0, "samples_per_s": 400}
    for i in range(5)
]
ROWS += [
    {"step": 4, "minutes": 0.4, "val_action": 0.3, "val_pixel": 4.0, "val_done": 0.8},
    {"step": 5, "minutes": 0.5, "action": None},
]
TIMING = {f"{k}_{p}": v for k in ("latency", "took", "jitter") for p, v in (("p50", 0.0), ("p99", 5.0), ("max", 40.0))}
FIGURES = {
    "success": lambda: plots.success({"a <b>": {"all": Rate(3, 4), "pick": Rate(0, 0)}, "c": {"all": Rate(0, 9)}}),
    "trend": lambda: plots.trend({"a": [(0, Rate(3, 4)), (1, Rate(4, 4))], "b": [(1, Rate(0, 4))]}, "T", "n", {1: "∞"}),
    **{f"curve {k}": (lambda k=k: plots.curves(ROWS)[k]) for k in plots.CURVES},
    "identified": lambda: plots.identified(
        [Identified("mass", 1.1, 1, 1.2, truth=1.15, range=(0.8, 1.2)), Identified("gain", 1, 0, 2, identified=False)]
    ),
    "histogram": lambda: plots.histogram(np.array([1.0, 2.0, np.nan]), "Latency", "ms"),
    "timing": lambda: plots.timing(TIMING, 20.0),
    "guards": lambda: plots.guards({"velocity": 4, "jerk": 0}, 100),
    "open loop": lambda: plots.open_loop(
        10.0, np.ones((9, 3)), [(0, np.zeros((4, 3))), (7, np.ones((4, 3)))], ["a", "b <c>", "d"]
    ),
    "one channel": lambda: plots.open_loop(10.0, np.ones((2, 1)), [], ["a"]),
    "error by step": lambda: plots.error_by_step(
        {"a": [(0.1, 0.0, 0.2), (0.2, 0.1, 0.3)], "b": [(None, None, None)]}, 10.0, 1
    ),
    "trajectories": lambda: plots.trajectories([(np.ones((4, 3)), True), (np.zeros((2, 3)), False)]),
}


@pytest.fixture(scope="module")
def drawn():
    return {name: draw() for name, draw in FIGURES.items()}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_svg_in_the_colours_of_its_page(drawn, name):
    svg = drawn[name]
    root = ET.fromstring(svg)
    assert root.tag.endswith("svg") and root.get("role") == "img" and root.get("aria-label")
    assert not re.search(r'(?:href|src)="(?!#)', svg)
    assert "var(--" in svg
    assert not any(placeholder in svg for placeholder in plots.THEME)
    assert "<text" in svg, "words stay words"


def test_the_same_values_give_the_same_text(drawn):
    for name in ("success", "guards"):
        assert drawn[name] == FIGURES[name]()


def test_figures_share_a_page_without_sharing_ids(drawn):
    ids = re.findall(r' id="([^"]+)"', "".join(drawn.values()))
    assert len(ids) == len(set(ids))


def test_curves_draw_what_there_is():
    assert plots.curves([]) == {}
    assert set(plots.curves([{"minutes": 1.0, "val_done": 0.5}])) == {"done"}


def test_rows_forgive_only_a_last_line_cut_short(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert read_rows(path) == [{"step": 1}, {"step": 2}] and cut_short(path)
    path.write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(BadFile, match="line 2 is no row"):
        read_rows(path)
    with pytest.raises(BadFile, match="no none in"):
        read_rows(tmp_path / "none")


@pytest.mark.parametrize(
    "draw",
    [lambda: plots.identified([]), lambda: plots.guards({"jerk": 0}), lambda: plots.timing({}), lambda: plots.trajectories([]),
     lambda: plots.trend({"a": []}, "", ""),
     lambda: plots.histogram(np.array([np.nan]), "", "")],
)  # fmt: skip
def test_nothing_to_draw_is_said(draw):
    with pytest.raises(BadValue):
        draw()


def test_an_interval_hits_or_not():
    row = Identified("mass", 1.0, 0.9, 1.1, truth=1.05)
    assert row.hit is True
    assert Identified("mass", 1.0, 0.9, 1.1, truth=1.3).hit is False
    assert Identified("mass", 1.0, 0.9, 1.1).hit is None
