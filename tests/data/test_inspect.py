import io
import json
import re

import numpy as np
import pytest
from synthetic import ROBOT, episode

from palmar.console import Screen
from palmar.data.inspect import print_summary, summary, warnings
from palmar.data.page import write_html
from palmar.data.reader import Dataset
from palmar.data.writer import DatasetWriter
from palmar.types import STILL


@pytest.fixture(scope="module")
def ds(tmp_path_factory):
    root = tmp_path_factory.mktemp("inspect") / "a <set>"
    with DatasetWriter(root, ROBOT, 10) as writer:
        for i in range(5):
            made = episode(10 + i, seed=i, instruction=f"lift the <b>cube</b> {i % 2}", success=i != 3)
            for step in made.steps:
                step.action[5] = 0.25
            writer.add(made)
    return Dataset(root)


def test_summary_counts_and_survives_json(ds):
    s = json.loads(json.dumps(summary(ds)))
    assert (s["episodes"], s["frames"], s["seconds"], s["success"], s["robot"]) == (5, 60, 6.0, 0.8, "arm7")
    assert s["length"] == {"min": 10, "median": 12.0, "mean": 12.0, "max": 14} and s["sources"] == {"expert": 5}
    assert s["cameras"] == {"front": [96, 96], "wrist": [96, 96]}
    (task,) = s["tasks"]
    assert (task["task"], task["episodes"], task["success"], len(task["instructions"])) == ("pick", 5, 0.8, 2)
    assert [row["name"] for row in s["action"] if row["constant"]] == ["drz"]
    assert s["action"][5]["mean"] == 0.25 and len(s["state"]) == 22
    assert s["size"]["stage"] == "below a proof of concept"
    assert s["size"]["next"] == {"stage": "proof of concept", "missing": 95}


def test_tables_name_what_matters(ds):
    out = io.StringIO()
    print_summary(ds, Screen(file=out, width=160))
    text = out.getvalue()
    for words in (
        "5 episodes · 60 frames",
        "success 80 %",
        "drz",
        "constant",
        "95 more demonstrations",
        "foundation 100 000+",
    ):
        assert words in text


def test_the_page_stands_alone_and_escapes(ds, tmp_path):
    page = write_html(ds, tmp_path / "page.html", episodes=2).read_text()
    assert "lift the &lt;b&gt;cube" in page and "<b>cube" not in page and "a &lt;set&gt;" in page
    assert not re.search(r'(src|href)="?(http|//)', page) and "<script" not in page and "prefers-color-scheme" in page
    assert page.count("data:image/jpeg;base64,") == 2 * 2 * 6  # episodes × cameras × moments
    assert page.count("<polyline") == 22 and page.count("class=hist") == 1 + 6
    assert "$" not in page


def test_an_empty_data_set_is_no_error(tmp_path):
    DatasetWriter(tmp_path / "set", ROBOT, 10).close()
    ds = Dataset(tmp_path / "set")
    assert summary(ds)["episodes"] == 0 and len(ds) == 0
    print_summary(ds, Screen(file=io.StringIO()))
    assert "0" in write_html(ds, tmp_path / "page.html").read_text()


@pytest.mark.parametrize("demonstrations", [0, 2])
def test_stills_are_not_judged_as_demonstrations(tmp_path, demonstrations):
    with DatasetWriter(tmp_path / "set", ROBOT, 10) as writer:
        for i in range(3 + demonstrations):
            made = episode(4 if i < 3 else 9, seed=i, success=i >= 3)
            made.source = STILL if i < 3 else "expert"
            writer.add(made)
    ds, out = Dataset(tmp_path / "set"), io.StringIO()
    s = json.loads(json.dumps(summary(ds)))
    print_summary(ds, Screen(file=out, width=160))
    text, page = out.getvalue(), write_html(ds, tmp_path / "new/page.html").read_text()
    assert s["stills"] == 3 and s["sources"]["still"] == 3
    if demonstrations:
        assert (s["success"], s["length"]["min"], s["seconds"], len(s["action"])) == (1.0, 9, 1.8, 7)
        assert "5 episodes, 3 of them stills" in text and "success 100 %" in text and "Episode lengths" in page
    else:
        assert [s[k] for k in ("success", "seconds", "length", "action", "size")] == [None, None, None, [], None]
        assert "stills: 3 tables · 12 photographs" in text and "no demonstrations" in text
        for word in ("success", "length", "min ·", "Hz", "action", "foundation"):
            assert word not in text.replace("expected", ""), word
        assert "These are stills" in page and "Episode lengths" not in page and "<h2>Actions" not in page
        assert " s</i>" not in page and "failed" not in page and "<polyline" in page


def test_a_set_with_a_number_that_is_none_is_shown_and_the_place_named(tmp_path, monkeypatch):
    """It could not be looked at, and the advice was to look at it."""
    with DatasetWriter(tmp_path / "set", ROBOT, 10) as writer:
        for i in range(2):
            writer.add(episode(12, seed=i))
    data = Dataset(tmp_path / "set")
    values = data.actions.copy()
    values[3, 0] = np.nan
    monkeypatch.setattr(Dataset, "actions", values)
    assert summary(data)["action"][0]["min"] == np.delete(values[:, 0], 3).min()
    assert any("is nan in episode 0, frame 3; expected finite numbers. Next: " in w for w in warnings(data))
