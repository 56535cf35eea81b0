"""Models behind any endpoint that speaks OpenAI's chat completions, over plain HTTP: streaming and tool calls.

The key is taken from OPENAI_API_KEY at every call and kept nowhere; servers of one's own need none.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from palmar.agent.language_model import ModelAnswer, ModelMessage, Stopped, ToolDefinition
from palmar.agent.model_address import key_of, model_address
from palmar.agent.model_stream import (
    AnswerInParts,
    EventError,
    check_stream,
    encodable,
    index_in,
    object_in,
    object_of,
    objects_in,
    part,
    plain,
    read_json,
    server_events,
    text_in,
    unlike,
)
from palmar.agent.model_wire import (
    READ,
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
from palmar.errors import BadValue
from palmar.serve.reach import loopback

URL, KEY, BASE = "https://api.openai.com/v1", "OPENAI_API_KEY", "OPENAI_BASE_URL"
TOKENS = 16_384
PIECE = 16_384
"""Bytes that are read at once, at most."""
STOPPED: dict[str, Stopped] = {"length": "length", "content_filter": "refused", "tool_calls": "tools"}


class OpenAIModel:
    """model: as the server calls it. base_url: up to /v1, "" for OPENAI_BASE_URL or OpenAI's own. instead: as of `find_model`.

    Raises `BadValue` without a key where OpenAI itself is asked, and for an address that is none.
    """

    def __init__(
        self,
        model: str,
        base_url: str = "",
        patience: Patience | None = None,
        tokens: int = TOKENS,
        instead: str = "",
    ) -> None:
        self.model, self.name, self.tokens = model, f"openai:{model}", tokens
        self.patience, self.instead = patience or Patience(), instead
        self.base_url = model_address(base_url, BASE, URL)
        self._of_openai = self.base_url.startswith(URL)
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
            "model": self.model,
            "max_completion_tokens" if self._of_openai else "max_tokens": self.tokens,
            "messages": [{"role": "system", "content": system}] * bool(system),
            "stream": True,
        }
        for message in messages:
            said["messages"] += _messages(message)
        if tools:
            said["tools"] = [
                {
                    "type": "function",
                    "function": {"name": t.name, "description": t.description, "parameters": t.schema},
                }
                for t in tools
            ]
            said["tool_choice"] = "required" if must_call else "auto"
            said["parallel_tool_calls"] = not must_call
        body = json.dumps(encodable(said)).encode()

        def once(deadline: Deadline, on_text: OnText) -> ModelAnswer:
            return self._once(body, deadline, on_text)

        return with_retries(f"{self.name} at {self.base_url}", self.patience, once, on_text, self.instead)

    def _once(self, body: bytes, deadline: Deadline, on_text: OnText) -> ModelAnswer:
        """One try. What it raises has no trace of the request, which has the key in its header."""
        key = self._key()
        parts = AnswerInParts(deadline.where, on_text)
        request = urllib.request.Request(
            f"{self.base_url}/chat/completions",
            body,
            {"Content-Type": "application/json", "Accept": "text/event-stream"},
        )
        if key:
            request.add_unredirected_header("Authorization", f"Bearer {key}")
        handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
        if loopback(urlsplit(self.base_url).hostname or ""):
            handlers.append(urllib.request.ProxyHandler({}))  # no proxy on the way to this computer
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=deadline.wait(self.patience)) as response:
                headers = response.headers
                encoding = headers.get("content-encoding", "")
                check_stream(deadline.where, headers.get("content-type", ""), encoding, key)
                return _read(_pieces(response), deadline, parts)
        except urllib.error.HTTPError as error:
            with contextlib.closing(error):
                raised = _failed(error, deadline, key)
        except TimeoutError:
            raised = parts.broken("is silent")
        except urllib.error.URLError as error:
            silent = isinstance(error.reason, TimeoutError)
            raised = TryAgain("is silent" if silent else f"cannot be reached ({said_by(str(error.reason), key)})")
        except EventError as error:
            raised = parts.reported(error, key)
        except (http.client.HTTPException, OSError):
            raised = parts.broken()
        raise raised

    def _key(self) -> str:
        key = key_of(KEY)
        if not key and self._of_openai:
            raise BadValue(
                f"there is no key for OpenAI's models in the environment variable {KEY}. "
                f"Next: {either(self.instead, 'openai:MODEL@URL for a server of your own')}"
            )
        return key


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an error like any other status: what is sent is for one address alone."""

    def redirect_request(self, *args: Any, **named: Any) -> None:
        return None


def _failed(error: urllib.error.HTTPError, deadline: Deadline, key: str) -> Exception:
    body, whole = b"", False
    with contextlib.suppress(OSError, http.client.HTTPException):
        for piece in _pieces(error) if plain(error.headers.get("content-encoding", "")) else ():
            body += piece
            if len(body) > READ or deadline.left <= 0:
                break
        else:
            whole = not getattr(error.fp, "length", None)  # bytes that were announced and did not come
    if not whole:
        body = body[: -len(key) or None]  # it may end with half of the key
    text = body.decode("utf-8", "replace")
    with contextlib.suppress(ValueError):  # no JSON: as it is
        text = str(part(read_json(text), "error").get("message") or text)
    return failed(deadline, error.code, said_by(text, key), seconds_to_wait(error.headers.get("retry-after")), KEY)


def _pieces(response: Any) -> Iterator[bytes]:
    while piece := response.read1(PIECE):
        yield piece


def _messages(message: ModelMessage) -> list[dict[str, Any]]:
    """A turn as the API takes it; each result is a message of its own, before the rest."""
    if message.role == "assistant":
        said: dict[str, Any] = {"role": "assistant", "content": message.text or ("" if message.calls else "(nothing)")}
        if message.calls:
            said["tool_calls"] = [
                {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": json.dumps(dict(c.input))}}
                for c in message.calls
            ]
        return [said]
    results = [
        {"role": "tool", "tool_call_id": r.id, "content": f"failed: {r.text}" if r.failed else r.text}
        for r in message.results
    ]
    content: list[dict[str, Any]] = [{"type": "text", "text": message.text}] * bool(message.text)
    for picture in message.pictures:
        data = base64.b64encode(picture.data).decode()
        content.append({"type": "image_url", "image_url": {"url": f"data:{picture.media_type};base64,{data}"}})
    if not content and results:
        return results
    return [*results, {"role": "user", "content": content if message.pictures else message.text}]


def _read(pieces: Iterator[bytes], deadline: Deadline, parts: AnswerInParts) -> ModelAnswer:
    """The answer in a stream of chunks. Raises `ModelUnreachable`, `TryAgain` and `EventError`."""
    where = deadline.where
    stopped: Stopped | None = None
    any_event, done, refused = False, False, False
    for _, data in server_events(pieces, deadline):
        any_event = True
        if data.strip() == "[DONE]":
            done = True
            break
        chunk = object_of(where, data)
        if chunk.get("error"):
            raise EventError(str(part(chunk, "error").get("message") or chunk["error"]))
        for choice in objects_in(where, chunk, "choices")[:1]:  # one was asked for; a chunk of figures has none
            delta = object_in(where, choice, "delta")
            refused = refused or bool(text_in(where, delta, "refusal"))
            if delta.get("content") is not None:
                parts.text(delta["content"])
            for at, call in enumerate(objects_in(where, delta, "tool_calls")):
                _call(where, call, at, parts)
            if reason := text_in(where, choice, "finish_reason"):
                stopped = STOPPED.get(reason, "end")
                refused = refused or stopped == "refused"
    if stopped is None and not done:
        raise parts.broken() if any_event else unlike(where, "a stream without an event")
    return parts.finish("refused" if refused else stopped or "end")


def _call(where: str, call: dict[str, Any], at: int, parts: AnswerInParts) -> None:
    """A piece of a tool call. Some servers give every call the same index, and tell them apart by id."""
    function, id = object_in(where, call, "function"), text_in(where, call, "id")
    key: int | str = index_in(where, call, at)
    if id and parts.id_of(key) not in (None, id):
        key = id
    if parts.id_of(key) is None:
        parts.call(key, id or f"call_{key}", function.get("name"))
    if function.get("arguments") is not None:
        parts.input(key, function["arguments"])
