"""Models of Anthropic's Messages API, over the `anthropic` package: streaming and tool use.

The package signs in, sends, and reads statuses; the stream is read here, within bounds. The key is taken from ANTHROPIC_API_KEY
at every call and kept nowhere.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from palmar.agent.language_model import (
    ModelAnswer,
    ModelMessage,
    ModelUsage,
    Stopped,
    ToolDefinition,
)
from palmar.agent.model_wire import (
    LONGEST_STREAM,
    AnswerInParts,
    Deadline,
    EventError,
    Patience,
    TryAgain,
    check_stream,
    count,
    failed,
    key_of,
    model_address,
    object_of,
    part,
    said_by,
    seconds_to_wait,
    server_events,
    too_long,
    unlike,
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
    handed back to it with its turn (`ModelAnswer.own`).

    Raises `BadValue` without a key, and for an address that is none; `MissingPackage`.
    """

    def __init__(
        self, model: str = DEFAULT, base_url: str = "", patience: Patience | None = None, tokens: int = TOKENS
    ) -> None:
        need("anthropic", "agent")
        import anthropic  # noqa: F401 - takes seconds the first time, which are none of the server's

        self.model, self.name, self.tokens = model, f"anthropic:{model}", tokens
        self.patience = patience or Patience()
        self.base_url = model_address(base_url, BASE, URL)
        self._forced = True
        _key()

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
            said["system"] = _plain(system)
        if tools:
            said["tools"] = [
                {"name": t.name, "description": t.description, "input_schema": dict(t.schema)} for t in tools
            ]
            said["tool_choice"] = {"type": "auto", "disable_parallel_tool_use": must_call}

        def once(deadline: Deadline) -> ModelAnswer:
            forced = tools and must_call and self._forced
            answer = self._once(said | {"tool_choice": FORCED} if forced else said, deadline, on_text)
            if answer is None:
                self._forced = False
                answer = self._once(said, deadline, on_text)
            assert answer is not None
            return answer

        return with_retries(f"{self.name} at {self.base_url}", self.patience, once)

    def _once(
        self, said: dict[str, Any], deadline: Deadline, on_text: Callable[[str], None] | None
    ) -> ModelAnswer | None:
        """One try; None where the model refuses to be forced to call a tool. What it raises has no trace of the request, which
        has the key in its header."""
        import anthropic
        import httpx2

        key, silence = _key(), deadline.wait(self.patience)
        parts = AnswerInParts(deadline.where, on_text)
        http = anthropic.DefaultHttpxClient(
            follow_redirects=False,
            timeout=silence,
            trust_env=not loopback(urlsplit(self.base_url).hostname or ""),  # no proxy on the way to this computer
            event_hooks={"response": [lambda response: _bound(response, deadline)]},
        )
        with anthropic.Anthropic(
            api_key=key, base_url=self.base_url, max_retries=0, timeout=silence, http_client=http
        ) as client:
            try:
                with client.messages.with_streaming_response.create(**said, stream=True) as response:
                    check_stream(deadline.where, response.headers.get("content-type", ""), key)
                    return _read(response.iter_bytes(), deadline, parts)
            except anthropic.APIStatusError as error:
                if error.status_code == 400 and said.get("tool_choice") == FORCED:
                    return None
                body = said_by(str(error.api_message or error.body or ""), key)
                after = seconds_to_wait(error.response.headers.get("retry-after"))
                raised: Exception = failed(deadline.where, error.status_code, body, after, KEY)
            except (anthropic.APITimeoutError, httpx2.TimeoutException):
                raised = parts.broken("is silent")
            except anthropic.APIConnectionError as error:
                raised = TryAgain(f"cannot be reached ({said_by(str(error.__cause__ or error), key)})")
            except httpx2.HTTPError:
                raised = parts.broken()
            except EventError as error:
                raised = parts.reported(error, key)
        raise raised


FORCED = {"type": "any", "disable_parallel_tool_use": True}


def _key() -> str:
    if key := key_of(KEY):
        return key
    raise BadValue(
        f"there is no key for Anthropic's models in the environment variable {KEY}. Next: --planner rules, which needs none, or "
        "a key from console.anthropic.com"
    )


def _bound(response: httpx2.Response, deadline: Deadline) -> None:
    """Keep a response to its bounds, also where the package reads it itself (the body of an error)."""
    import httpx2

    stream: Any = response.stream

    class Bounded(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            total = 0
            for piece in stream:
                total += len(piece)
                deadline.check()
                if total > LONGEST_STREAM:
                    raise too_long(deadline.where)
                yield piece

        def close(self) -> None:
            stream.close()

    response.stream = Bounded()


def _plain(text: str) -> str:
    """Without lone surrogates, which the package cannot send."""
    return text.encode("utf-8", "replace").decode()


def _message(message: ModelMessage) -> dict[str, Any]:
    """A turn as the API takes it; results before anything else."""
    if message.own:
        return {"role": message.role, "content": list(message.own)}
    content: list[dict[str, Any]] = [
        {"type": "tool_result", "tool_use_id": r.id, "content": _plain(r.text), "is_error": r.failed}
        for r in message.results
    ]
    for picture in message.pictures:
        data = base64.b64encode(picture.data).decode()
        source = {"type": "base64", "media_type": picture.media_type, "data": data}
        content.append({"type": "image", "source": source})
    if message.text.strip():
        content.append({"type": "text", "text": _plain(message.text)})
    content += [{"type": "tool_use", "id": c.id, "name": c.name, "input": dict(c.input)} for c in message.calls]
    return {"role": message.role, "content": content or [{"type": "text", "text": "(nothing)"}]}


def _read(pieces: Iterator[bytes], deadline: Deadline, parts: AnswerInParts) -> ModelAnswer:
    """The answer in a stream of events. Raises `ModelUnreachable`, `TryAgain` and `EventError`."""
    blocks: dict[int, dict[str, Any]] = {}
    stopped: Stopped = "end"
    usage, complete, any_event = ModelUsage(), False, False
    for _, data in server_events(pieces, deadline):
        event = object_of(deadline.where, data)
        any_event, type_, index = True, event.get("type"), count(event, "index")
        if type_ == "message_start":
            said = part(part(event, "message"), "usage")
            usage = ModelUsage(count(said, "input_tokens"), count(said, "output_tokens"))
        elif type_ == "content_block_start":
            block = blocks[index] = dict(part(event, "content_block"))
            if block.get("type") == "tool_use":
                parts.call(index, block.get("id"), block.get("name"))
            elif block.get("type") == "text":
                parts.text(block.setdefault("text", ""))
        elif type_ == "content_block_delta":
            _more(blocks.setdefault(index, {}), index, part(event, "delta"), parts)
        elif type_ == "message_delta":
            reason = part(event, "delta").get("stop_reason")
            stopped = STOPPED.get(reason, "end") if isinstance(reason, str) else stopped
            said = part(event, "usage")
            usage = ModelUsage(count(said, "input_tokens", usage.read), count(said, "output_tokens", usage.written))
        elif type_ == "message_stop":
            complete = True
            break
        elif type_ == "error":
            error = part(event, "error")
            raise EventError(f"{error.get('type')}: {error.get('message')}", error.get("type") in PASSING_ERRORS)
    if not complete:
        raise parts.broken() if any_event else unlike(deadline.where, "a stream without an event")
    return parts.finish(stopped, usage, tuple(_own(blocks, parts)))


def _more(block: dict[str, Any], index: int, delta: dict[str, Any], parts: AnswerInParts) -> None:
    """A piece of a block: of its text, of what a tool is given, or of what the model thinks."""
    if delta.get("type") == "text_delta":
        parts.text(delta.get("text"))
        block["text"] = block.get("text", "") + delta["text"]
    elif delta.get("type") == "input_json_delta":
        parts.input(index, delta.get("partial_json"))
    elif delta.get("type") in ("thinking_delta", "signature_delta"):
        name = str(delta["type"]).removesuffix("_delta")
        block[name] = str(block.get(name, "")) + str(delta.get(name, ""))


def _own(blocks: dict[int, dict[str, Any]], parts: AnswerInParts) -> Iterator[dict[str, Any]]:
    """The blocks to hand back with the turn: as they came, without what the API does not take again."""
    for index in sorted(blocks):
        block = blocks[index]
        if block.get("type") == "tool_use":
            call = parts.read(index)
            yield {"type": "tool_use", "id": call.id, "name": call.name, "input": dict(call.input)}
        elif block.get("type") == "text":
            if block["text"].strip():
                yield {"type": "text", "text": block["text"]}
        elif block.get("type") in ("thinking", "redacted_thinking"):
            yield block
