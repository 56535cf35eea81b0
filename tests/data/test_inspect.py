import io
import json
import re

import pytest
from rich.console import Console
from synthetic import ROBOT, episode

from palmar.data.inspect import print_summary, summary
from palmar.data.page import write_html
from palmar.data.reader import Dataset
from palmar.data.writer import DatasetWriter


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
    print_summary(ds, Console(file=out, width=160))
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
    print_summary(ds, Console(file=io.StringIO()))
    assert "0" in write_html(ds, tmp_path / "page.html").read_text()
