"""Models of Anthropic's Messages API, over the `anthropic` package: streaming and tool use.

The package signs in, sends, and reads statuses; the stream is read here, within bounds. The key is taken from ANTHROPIC_API_KEY
at every call and kept nowhere.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from palmar.agent.language_model import ModelAnswer, ModelMessage, Stopped, ToolDefinition
from palmar.agent.model_address import key_of, model_address
from palmar.agent.model_stream import (
    LONGEST_STREAM,
    AnswerInParts,
    EventError,
    check_stream,
    checked_text,
    encodable,
    index_in,
    object_in,
    object_of,
    plain,
    server_events,
    text_in,
    too_long,
    unlike,
)
from palmar.agent.model_wire import (
    Deadline,
    OnText,
    Patience,
    TryAgain,
    either,
    failed,
    said_by,
    seconds_to_wait,
    with_retries,
)
from palmar.errors import BadValue, need
from palmar.serve.reach import loopback

if TYPE_CHECKING:
    import httpx2

DEFAULT = "claude-sonnet-5-5"
URL, KEY, BASE = "https://api.anthropic.com", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"
TOKENS = 16_384
"""Of an answer, with what the model thinks before it."""
STOPPED: dict[str, Stopped] = {
    "max_tokens": "length", "model_context_window_exceeded": "length", "refusal": "refused", "tool_use": "tools",
}  # fmt: skip
PASSING_ERRORS = ("overloaded_error", "api_error", "rate_limit_error", "timeout_error")
"""Errors inside a stream that may pass by themselves."""


class AnthropicModel:
    """model: as Anthropic calls it. base_url: another address, "" for ANTHROPIC_BASE_URL or Anthropic's own.

    Many models of 2026 refuse to be forced to call a tool; such a one is asked to in words from then on. What it thought is
    handed back to it with its turn (`ModelAnswer.own`). instead: as of `find_model`.

    Raises `BadValue` without a key, and for an address that is none; `MissingPackage`.
    """

    def __init__(
        self,
        model: str = DEFAULT,
        base_url: str = "",
        patience: Patience | None = None,
        tokens: int = TOKENS,
        instead: str = "",
    ) -> None:
        need("anthropic", "agent")
        import anthropic  # noqa: F401 - takes seconds the first time, which are none of the server's

        self.model, self.name, self.tokens = model, f"anthropic:{model}", tokens
        self.patience, self.instead = patience or Patience(), instead
        self.base_url = model_address(base_url, BASE, URL)
        self._forced = True
        self._key()

    def answer(
        self,
        system: str,
        messages: Sequence[ModelMessage],
        tools: Sequence[ToolDefinition] = (),
        on_text: Callable[[str], None] | None = None,
        must_call: bool = False,
    ) -> ModelAnswer:
        """One answer; see `LanguageModel`."""
        said: dict[str, Any] = {
            "model": self.model, "max_tokens": self.tokens, "messages": [_message(m) for m in messages],
        }  # fmt: skip
        if system:
            said["system"] = system
        if tools:
            said["tools"] = [
                {"name": t.name, "description": t.description, "input_schema": dict(t.schema)} for t in tools
            ]
            said["tool_choice"] = {"type": "auto", "disable_parallel_tool_use": must_call}

        said = encodable(said)

        def once(deadline: Deadline, on_text: OnText) -> ModelAnswer:
            if tools and must_call and self._forced:
                answer = self._once(said | {"tool_choice": FORCED}, deadline, on_text)
                if answer is not None:
                    return answer
            answer = self._once(said, deadline, on_text)
            assert answer is not None
            if tools and must_call:
                self._forced = False  # it answered what it had refused: it was the forcing
            return answer

        return with_retries(f"{self.name} at {self.base_url}", self.patience, once, on_text, self.instead)

    def _once(
        self, said: dict[str, Any], deadline: Deadline, on_text: Callable[[str], None] | None
    ) -> ModelAnswer | None:
        """One try; None where the model refuses to be forced to call a tool. What it raises has no trace of the request, which
        has the key in its header."""
        import anthropic
        import httpx2

        key, silence = self._key(), deadline.wait(self.patience)
        parts = AnswerInParts(deadline.where, on_text)
        http = anthropic.DefaultHttpxClient(
            follow_redirects=False,
            timeout=silence,
            trust_env=not loopback(urlsplit(self.base_url).hostname or ""),  # no proxy on the way to this computer
            event_hooks={"response": [lambda response: _bound(response, deadline)]},
        )
        with anthropic.Anthropic(
            api_key=key, base_url=self.base_url, max_retries=0, timeout=silence, http_client=http,
            default_headers={"Accept-Encoding": "identity"},
        ) as client:  # fmt: skip
            try:
                with client.messages.with_streaming_response.create(**said, stream=True) as response:
                    headers = response.headers
                    encoding = headers.get("content-encoding", "")
                    check_stream(deadline.where, headers.get("content-type", ""), encoding, key)
                    return _read(response.iter_bytes(), deadline, parts)
            except anthropic.APIStatusError as error:
                if error.status_code == 400 and said.get("tool_choice") == FORCED:
                    return None
                body = said_by(str(error.api_message or error.body or ""), key)
                after = seconds_to_wait(error.response.headers.get("retry-after"))
                raised: Exception = failed(deadline, error.status_code, body, after, KEY)
            except (anthropic.APITimeoutError, httpx2.TimeoutException):
                raised = parts.broken("is silent")
            except anthropic.APIConnectionError as error:
                raised = TryAgain(f"cannot be reached ({said_by(str(error.__cause__ or error), key)})")
            except httpx2.HTTPError:
                raised = parts.broken()
            except EventError as error:
                raised = parts.reported(error, key)
        raise raised

    def _key(self) -> str:
        if key := key_of(KEY):
            return key
        raise BadValue(
            f"there is no key for Anthropic's models in the environment variable {KEY}. "
            f"Next: {either(self.instead, 'a key from console.anthropic.com')}"
        )


FORCED = {"type": "any", "disable_parallel_tool_use": True}


def _bound(response: httpx2.Response, deadline: Deadline) -> None:
    """Keep a response to its bounds, also where the package reads it itself (the body of an error): the bytes that arrive are
    counted, and what is encoded is left out, because the package would decode it without bounds."""
    import httpx2

    stream: Any = response.stream

    class Bounded(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            total = 0
            for piece in stream if plain(response.headers.get("content-encoding", "")) else ():
                total += len(piece)
                deadline.check()
                if total > LONGEST_STREAM:
                    raise too_long(deadline.where)
                yield piece

        def close(self) -> None:
            stream.close()

    response.stream = Bounded()


def _message(message: ModelMessage) -> dict[str, Any]:
    """A turn as the API takes it; results before anything else."""
    if message.own:
        return {"role": message.role, "content": list(message.own)}
    content: list[dict[str, Any]] = [
        {"type": "tool_result", "tool_use_id": r.id, "content": r.text, "is_error": r.failed} for r in message.results
    ]
    for picture in message.pictures:
        data = base64.b64encode(picture.data).decode()
        source = {"type": "base64", "media_type": picture.media_type, "data": data}
        content.append({"type": "image", "source": source})
    if message.text.strip():
        content.append({"type": "text", "text": message.text})
    content += [{"type": "tool_use", "id": c.id, "name": c.name, "input": dict(c.input)} for c in message.calls]
    return {"role": message.role, "content": content or [{"type": "text", "text": "(nothing)"}]}


def _read(pieces: Iterator[bytes], deadline: Deadline, parts: AnswerInParts) -> ModelAnswer:
    """The answer in a stream of events. Raises `ModelUnreachable`, `TryAgain` and `EventError`."""
    where = deadline.where
    blocks = _Blocks(where, parts)
    stopped: Stopped = "end"
    complete, any_event = False, False
    for _, data in server_events(pieces, deadline):
        event = object_of(where, data)
        any_event, type_ = True, event.get("type")
        if type_ == "content_block_start":
            blocks.begin(index_in(where, event, 0), object_in(where, event, "content_block"))
        elif type_ == "content_block_delta":
            blocks.more(index_in(where, event, 0), object_in(where, event, "delta"))
        elif type_ == "message_delta":
            if reason := text_in(where, object_in(where, event, "delta"), "stop_reason"):
                stopped = STOPPED.get(reason, "end")
        elif type_ == "message_stop":
            complete = True
            break
        elif type_ == "error":
            error = object_in(where, event, "error")
            raise EventError(f"{error.get('type')}: {error.get('message')}", error.get("type") in PASSING_ERRORS)
    if not complete:
        raise parts.broken() if any_event else unlike(where, "a stream without an event")
    return parts.finish(stopped, tuple(blocks.own()))


class _Blocks:
    """The blocks of an answer as they come, and as they are handed back with the turn: what was read as text, and no more."""

    def __init__(self, where: str, parts: AnswerInParts) -> None:
        self.where, self.parts = where, parts
        self._blocks: dict[int, tuple[str, dict[str, list[str]]]] = {}

    def begin(self, index: int, block: dict[str, Any]) -> None:
        if index in self._blocks:
            raise unlike(self.where, f"two blocks of index {index}")
        type_ = text_in(self.where, block, "type")
        self._blocks[index] = type_, {}
        if type_ == "tool_use":
            self.parts.call(index, block.get("id"), block.get("name"))
        for name in TEXTS.get(type_, ()):
            if block.get(name) is not None:
                self._add(index, name, block[name])

    def more(self, index: int, delta: dict[str, Any]) -> None:
        """A piece of a block: of its text, of what a tool is given, or of what the model thinks."""
        type_ = text_in(self.where, delta, "type")
        name = type_.removesuffix("_delta")
        if type_ == "input_json_delta":
            self.parts.input(index, delta.get("partial_json"))
        elif type_ in ("text_delta", "thinking_delta", "signature_delta"):
            if index not in self._blocks or name not in TEXTS.get(self._blocks[index][0], ()):
                raise unlike(self.where, f"a {type_} outside a block that has it")
            self._add(index, name, delta.get(name))

    def _add(self, index: int, name: str, piece: Any) -> None:
        text = self.parts.text(piece) if name == "text" else checked_text(self.where, piece)
        self._blocks[index][1].setdefault(name, []).append(text)

    def own(self) -> Iterator[dict[str, Any]]:
        """Without what the API does not take again."""
        for index, (type_, texts) in sorted(self._blocks.items()):
            said = {name: "".join(pieces) for name, pieces in texts.items()}
            if type_ == "tool_use":
                call = self.parts.read(index)
                yield {"type": type_, "id": call.id, "name": call.name, "input": dict(call.input)}
            elif type_ in TEXTS and (type_ != "text" or said.get("text", "").strip()):
                yield {"type": type_} | said


TEXTS = {"text": ("text",), "thinking": ("thinking", "signature"), "redacted_thinking": ("data",)}
"""{type of a block: the texts of it that are handed back}."""
