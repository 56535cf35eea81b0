"""docs/walks.md is as the code goes: its files exist, and a walk is at most nine of them."""

import re
from pathlib import Path

import pytest

import palmar

SOURCE = Path(palmar.__file__).parent
PAGE = SOURCE.parents[1] / "docs" / "walks.md"


@pytest.mark.skipif(not PAGE.exists(), reason="the documentation lies beside the source, not in the installed package")
def test_the_walks_name_files_that_exist():
    text = PAGE.read_text()
    for name in re.findall(r"`((?:\w+/)*\w+\.py)", text):
        assert (SOURCE / name).exists(), name
    walks = text.split("\n## ")[1:]
    assert len(walks) == 2
    for walk in walks:
        rows = re.findall(r"^\| `((?:\w+/)*\w+\.py)` \|", walk, flags=re.MULTILINE)
        assert 5 <= len(rows) <= 9 and len(set(rows)) == len(rows)
