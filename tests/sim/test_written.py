"""Lists of instructions are read entry by entry, and the one that is wrong is named."""

import pytest

from palmar.errors import BadFile, BadValue
from palmar.sim.written import read_written


def test_the_entry_that_is_wrong_is_named(tmp_path):
    file = tmp_path / "list.toml"
    file.write_text('[[instruction]]\ntext = "a"\n[[instruction]]\nwords = "b"\n')
    with pytest.raises(BadFile, match=r"list\.toml, instruction 2: 'text'\. Next: text"):
        read_written(file, lambda entry: entry["text"], "text", "free.toml")
    file.write_text('[[instruction]]\ntext = "a"\n')
    assert read_written(file, lambda entry: entry["text"], "text", "free.toml") == ("a",)

    def refuses(entry):
        raise BadValue("it is odd. Next: another")

    with pytest.raises(BadFile, match=r"instruction 1: it is odd\. Next: text$"):
        read_written(file, refuses, "text", "free.toml")
    file.write_text("x")
    with pytest.raises(BadFile, match=r"Next: \[\[instruction\]\] entries, as in free\.toml of palmar"):
        read_written(file, lambda entry: entry, "text", "free.toml")
