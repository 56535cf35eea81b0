"""An answer that has to be one tool call, read into a value; one that cannot be read is handed back once, with what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from palmar.agent.language_model import (
    LanguageModel,
    ModelAnswer,
    ModelMessage,
    ToolCall,
    ToolDefinition,
    ToolResult,
    check_not_refused,
)
from palmar.errors import BadValue, UnknownName

T = TypeVar("T")
TRIES = 2
LONGEST_FAULT = 300  # characters of what was wrong that the model is told


def ask_for_call(
    model: LanguageModel,
    system: str,
    messages: Sequence[ModelMessage],
    tools: Sequence[ToolDefinition],
    read: Callable[[ToolCall], T],
    on_text: Callable[[str], None] | None = None,
) -> T:
    """What `read` makes of the one call that the model answers with. read: raises `BadValue` or `UnknownName` for a call that it
    does not take.

    Raises `BadValue` when the repaired answer cannot be read either, `ModelUnreachable` for one that is refused, which is not
    repaired, and what `LanguageModel.answer` raises.
    """
    asked, fault = list(messages), ""
    for _ in range(TRIES):
        answer = model.answer(system, asked, tools, on_text, must_call=True)
        check_not_refused(model.name, answer)
        try:
            return read(_the_call(answer, tools))
        except (BadValue, UnknownName) as error:
            fault = str(error).partition("\n")[0][:LONGEST_FAULT]
        asked += [ModelMessage.of(answer), _repair(answer, fault)]
    raise BadValue(
        f"{model.name} answered {TRIES} times what cannot be used; the last fault: “{fault}”. Next: ask again, or another model"
    )


def _the_call(answer: ModelAnswer, tools: Sequence[ToolDefinition]) -> ToolCall:
    if answer.stopped == "length":
        raise BadValue("the answer was cut off at its largest length. Next: a shorter one")
    if len(answer.calls) != 1:
        said = "text alone" if not answer.calls else f"{len(answer.calls)} tool calls"
        raise BadValue(f"the answer is {said}. Next: call one of the tools, once")
    call = answer.calls[0]
    if call.name not in [t.name for t in tools]:
        raise UnknownName("tool", call.name[:60], [t.name for t in tools])
    if call.fault:
        raise BadValue(f"{call.name}: {call.fault}. Next: a JSON object as the schema says")
    return call


def _repair(answer: ModelAnswer, fault: str) -> ModelMessage:
    said = f"This answer cannot be used: {fault}\nAnswer again with one call of one of the tools, as its schema says."
    results = tuple(ToolResult(c.id, said, failed=True) for c in answer.calls)
    return ModelMessage("user", "" if results else said, results=results)
