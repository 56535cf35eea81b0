"""What is wrong with an answer is told to the model whole, and to the person."""

import pytest

from palmar.agent.language_model import ModelAnswer, ModelMessage, ToolCall, ToolDefinition
from palmar.agent.tool_answer import LONGEST_FAULT, TRIES, ask_for_call
from palmar.errors import BadValue, ModelUnreachable

TOOL = ToolDefinition("label", "", {"type": "object"})


class Model:
    name = "made:up"

    def __init__(self):
        self.asked = []

    def answer(self, system, messages, tools=(), on_text=None, must_call=False):
        self.asked.append(messages[-1].results[0].text if messages[-1].results else "")
        return ModelAnswer("", (ToolCall("1", "label"),))


@pytest.mark.parametrize(("length", "kept"), [(20, 20), (200, 200), (5000, LONGEST_FAULT)])
def test_the_model_is_told_what_was_wrong_up_to_the_largest_length(length, kept):
    model, fault = Model(), "w" * length

    def read(call):
        raise BadValue(f"{fault}. Next: another\nof which this line is not told")

    with pytest.raises(BadValue, match="answered 2 times") as error:
        ask_for_call(model, "", [ModelMessage("user", "go")], [TOOL], read)
    assert len(model.asked) == TRIES and "w" * kept in model.asked[1] and "w" * (kept + 1) not in model.asked[1]
    assert ("Next: another" in model.asked[1]) == (length < LONGEST_FAULT) and "not told" not in model.asked[1]
    assert "w" * kept in str(error.value) and str(error.value).endswith("Next: ask again, or another model")


@pytest.mark.parametrize("calls", [(), (ToolCall("1", "label"),), (ToolCall("1", "label"), ToolCall("2", "label"))])
def test_what_is_refused_is_neither_read_nor_repaired(calls):
    class Refusing(Model):
        def answer(self, system, messages, tools=(), on_text=None, must_call=False):
            super().answer(system, messages)
            return ModelAnswer("", calls, "refused")

    model = Refusing()
    with pytest.raises(ModelUnreachable, match=r"^made:up would not answer this\. Next: "):
        ask_for_call(model, "", [ModelMessage("user", "go")], [TOOL], lambda call: pytest.fail("it is read"))
    assert len(model.asked) == 1
