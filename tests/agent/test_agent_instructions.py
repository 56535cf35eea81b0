from palmar.agent import instructions as module
from palmar.agent.instructions import instructions

ONE = """[[instruction]]
text = "push the red cube left"
kind = "feasible"
things = ["red cube"]
goals = ["past red cube | left"]
"""


def test_the_file_is_read_at_each_call(tmp_path, monkeypatch):
    """What one caller read is not kept for another."""
    assert len(instructions()) == 100
    file = tmp_path / "instructions.toml"
    file.write_text(ONE)
    monkeypatch.setattr(module, "FILE", file)
    assert [x.text for x in instructions()] == ["push the red cube left"]
