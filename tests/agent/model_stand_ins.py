"""Servers on this computer that speak the published protocols of language models, by a script: answers, and every fault.

    with AnthropicStandIn([Said(calls=(("plan", {"steps": []}),))]) as server:
        model = server.model(monkeypatch)

A script is a list, of which each request takes the next item (the last stays), or a function of the request. An item is a `Said`
or a `Fault`. What was asked is in `requests`.
"""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from palmar.agent.language_model import LanguageModel
from palmar.agent.model_wire import Patience

SECRET = "sk-secret-0123456789abcdef"
QUICK = Patience(limit=5.0, silence=2.0, sleep=lambda seconds: None)


@dataclass(frozen=True)
class Said:
    """An answer. calls: (tool, its input: an object, or text that is sent as it is). pieces: characters of one event. stopped:
    the reason as the protocol has it, "" for the usual one. thought: of a model that thinks first."""

    text: str = ""
    calls: tuple[tuple[str, Any], ...] = ()
    pieces: int = 7
    stopped: str = ""
    thought: str = ""


@dataclass(frozen=True)
class Fault:
    """What a server does instead.

    status: answers with `status`, `headers` and `body`. silent: takes the request and never answers. silent after: in the middle.
    cut: drops the connection in the middle; ended: ends in the middle as if that were all. slow: `said`, with pauses. drip: goes on
    for ever, saying nothing. flood: 2 MB of text in small pieces; flood line: in one event; flood comments: none of it an answer.
    flood body: 20 MB with `status`. many calls: hundreds of tool calls. no json, no events, no utf-8: in place of an event.
    error event: reports `body` as an error within its stream. html: a page. headers drip: the headers come byte by byte for
    minutes, then `said`. gzip: 20 MB with `status`, compressed to a few KB.
    """

    kind: str
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = '{"error": {"type": "made_up", "message": "a fault"}}'
    said: Said = Said("one two three four five")


Item = Said | Fault


@dataclass(frozen=True)
class Seen:
    """A request. body: its JSON. texts: of the user and of results, in order. forced: it must call a tool."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]
    system: str
    texts: tuple[str, ...]
    pictures: int
    tools: dict[str, Any]
    forced: bool
    results: int


class StandIn:
    """A server in a thread. url: its address. finished: requests that were answered to the end. Like its model it refuses a
    conversation with a tool call without its result, or a result without its call (`unpaired`)."""

    prefix = ""

    def __init__(self, script: Sequence[Item] | Callable[[Seen], Item]) -> None:
        self.script, self.requests, self.finished = script, list[Seen](), 0
        self.stopping = threading.Event()
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                stand_in.handle(self)

            def log_message(self, *args: Any) -> None:
                """Says nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads, self.server.block_on_close = True, False
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}{self.prefix}"

    def __enter__(self) -> StandIn:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def close(self) -> None:
        self.stopping.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)

    # ------------------------------------------------------------------------------------------------ of each protocol

    def model(self, patch: pytest.MonkeyPatch, patience: Patience = QUICK) -> LanguageModel:
        """The model behind this server, with `SECRET` as its key."""
        raise NotImplementedError

    def seen(self, path: str, headers: Mapping[str, str], body: dict[str, Any]) -> Seen:
        raise NotImplementedError

    def events(self, said: Said) -> Iterator[bytes]:
        """An answer as the protocol streams it."""
        raise NotImplementedError

    def error_event(self, body: str) -> bytes:
        raise NotImplementedError

    # ---------------------------------------------------------------------------------------------------------- serving

    def handle(self, http: BaseHTTPRequestHandler) -> None:
        body = json.loads(http.rfile.read(int(http.headers["content-length"])))
        seen = self.seen(http.path, {k.lower(): v for k, v in http.headers.items()}, body)
        self.requests.append(seen)
        if callable(self.script):
            item = self.script(seen)
        else:
            item = self.script[min(len(self.requests), len(self.script)) - 1]
        http.close_connection = True
        try:
            if self.unpaired(body["messages"]):
                self.fail(
                    http, Fault("status", 400, body='{"error": {"message": "tool calls and results do not match"}}')
                )
            elif isinstance(item, Said):
                self.send(http, self.events(item))
            else:
                self.fail(http, item)
        except OSError:
            return  # the client has gone
        self.finished += 1

    def send(
        self, http: BaseHTTPRequestHandler, events: Iterator[bytes], status: int = 200, kind: str = "text/event-stream",
        whole: bool = True, **headers: str,
    ) -> None:  # fmt: skip
        """In chunks. whole: with the last one, which says that it is all."""
        http.send_response(status)
        for name, value in (
            {"Content-Type": kind, "Transfer-Encoding": "chunked", "Connection": "close"} | headers
        ).items():
            http.send_header(name, value)
        http.end_headers()
        for event in events:
            http.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            http.wfile.flush()
        if whole:
            http.wfile.write(b"0\r\n\r\n")

    def fail(self, http: BaseHTTPRequestHandler, fault: Fault) -> None:
        events = list(self.events(fault.said))
        half = events[: len(events) // 2]
        if fault.kind == "status":
            self.send(http, iter([fault.body.encode()]), fault.status, "application/json", **fault.headers)
        elif fault.kind == "silent":
            self.stopping.wait(30)
        elif fault.kind == "silent after":
            self.send(http, self._then_silence(half))
        elif fault.kind == "cut":
            self.send(http, iter(half), whole=False)
        elif fault.kind == "ended":
            self.send(http, iter(half))
        elif fault.kind == "slow":
            self.send(http, self._slowly(events))
        elif fault.kind == "drip":
            self.send(http, self._slowly([b": nothing\n\n"] * 10_000))
        elif fault.kind == "flood":
            self.send(http, self.events(Said("x" * 2_000_000, pieces=1000)))
        elif fault.kind == "flood line":
            self.send(http, self.events(Said("x" * 2_000_000, pieces=2_000_000)))
        elif fault.kind == "flood input":
            self.send(http, self.events(Said(calls=(("plan", {"why": "x" * 2_000_000}),), pieces=1000)))
        elif fault.kind == "headers drip":
            http.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            for byte in self._slowly([b"a"] * 10_000):
                http.wfile.write(byte)
                http.wfile.flush()
            http.wfile.write(b"\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + b"".join(events))
        elif fault.kind == "gzip":
            kind = "text/event-stream" if fault.status == 200 else "application/json"
            packed = gzip.compress(b"\0" * 20_000_000)
            self.send(http, iter([packed]), fault.status, kind, **fault.headers | {"Content-Encoding": "gzip"})
        elif fault.kind == "flood comments":
            self.send(http, iter([b": nothing\n\n" * 10_000] * 200))
        elif fault.kind == "flood body":
            self.send(http, iter([b"x" * 100_000] * 200), fault.status, "application/json", **fault.headers)
        elif fault.kind == "many calls":
            self.send(http, self.events(Said(calls=(("plan", {}),) * 500)))
        elif fault.kind == "no json":
            self.send(http, iter([*half, b"event: content_block_delta\ndata: {broken\n\n"]))
        elif fault.kind == "no events":
            self.send(http, iter([b"Good day.\n\nThis is no stream of events.\n\n"]))
        elif fault.kind == "no utf-8":
            self.send(http, iter([b"event: message_start\ndata: \xff\xfe\n\n"]))
        elif fault.kind == "error event":
            self.send(http, iter([*half, self.error_event(fault.body)]))
        elif fault.kind == "html":
            self.send(http, iter([b"<html>Sign in</html>"]), kind="text/html; charset=utf-8")
        else:
            raise AssertionError(fault.kind)

    def _then_silence(self, events: list[bytes]) -> Iterator[bytes]:
        yield from events
        self.stopping.wait(30)

    def _slowly(self, events: list[bytes]) -> Iterator[bytes]:
        for event in events:
            if self.stopping.wait(0.02):
                return
            yield event


def anthropic_stream(*events: dict[str, Any]) -> type[StandIn]:
    """A stand-in of the Messages API that answers with these events, whatever its script says."""

    class Raw(AnthropicStandIn):
        def events(self, said: Said) -> Iterator[bytes]:
            yield from (f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events)

    return Raw


def openai_stream(*chunks: dict[str, Any]) -> type[StandIn]:
    """A stand-in of chat completions that answers with these chunks, whatever its script says."""

    class Raw(OpenAIStandIn):
        def events(self, said: Said) -> Iterator[bytes]:
            yield from (f"data: {json.dumps(c)}\n\n".encode() for c in chunks)
            yield b"data: [DONE]\n\n"

    return Raw


def in_pieces(text: str, size: int) -> Iterator[str]:
    return (text[i : i + size] for i in range(0, len(text), size))


def input_text(given: Any) -> str:
    return given if isinstance(given, str) else json.dumps(given)


class AnthropicStandIn(StandIn):
    """The Messages API."""

    def model(self, patch: pytest.MonkeyPatch, patience: Patience = QUICK) -> LanguageModel:
        from palmar.agent.anthropic_model import AnthropicModel

        patch.setenv("ANTHROPIC_API_KEY", SECRET)
        return AnthropicModel("stand-in", self.url, patience)

    def seen(self, path: str, headers: Mapping[str, str], body: dict[str, Any]) -> Seen:
        texts, pictures, results = [], 0, 0
        for message in body["messages"]:
            for block in message["content"] if message["role"] == "user" else ():
                texts += [block["text"]] if block["type"] == "text" else []
                texts += [block["content"]] if block["type"] == "tool_result" else []
                results += block["type"] == "tool_result"
                pictures += block["type"] == "image"
        tools = {t["name"]: t["input_schema"] for t in body.get("tools", ())}
        forced = body.get("tool_choice", {}).get("type") == "any"
        return Seen(path, headers, body, body.get("system", ""), tuple(texts), pictures, tools, forced, results)

    def unpaired(self, messages: list[Any]) -> bool:
        called = set[str]()
        for message in messages:
            if {b["tool_use_id"] for b in message["content"] if b["type"] == "tool_result"} != called:
                return True
            called = {b["id"] for b in message["content"] if b["type"] == "tool_use"}
        return bool(called)

    def events(self, said: Said) -> Iterator[bytes]:
        def event(kind: str, **more: Any) -> bytes:
            return f"event: {kind}\ndata: {json.dumps({'type': kind} | more)}\n\n".encode()

        def block(index: int, start: dict[str, Any], deltas: list[dict[str, Any]]) -> Iterator[bytes]:
            yield event("content_block_start", index=index, content_block=start)
            yield from (event("content_block_delta", index=index, delta=d) for d in deltas)
            yield event("content_block_stop", index=index)

        usage = {"input_tokens": 12, "output_tokens": 1}
        yield event("message_start", message={"id": "msg_1", "role": "assistant", "content": [], "usage": usage})
        yield event("ping")
        index = 0
        if said.thought:
            deltas = [{"type": "thinking_delta", "thinking": p} for p in in_pieces(said.thought, said.pieces)]
            signed = [*deltas, {"type": "signature_delta", "signature": "signed"}]
            yield from block(0, {"type": "thinking", "thinking": "", "signature": ""}, signed)
            index = 1
        if said.text:
            deltas = [{"type": "text_delta", "text": p} for p in in_pieces(said.text, said.pieces)]
            yield from block(index, {"type": "text", "text": ""}, deltas)
            index += 1
        for name, given in said.calls:
            deltas = [
                {"type": "input_json_delta", "partial_json": p} for p in in_pieces(input_text(given), said.pieces)
            ]
            start = {"type": "tool_use", "id": f"toolu_{index}", "name": name, "input": {}}
            yield from block(index, start, deltas)
            index += 1
        reason = said.stopped or ("tool_use" if said.calls else "end_turn")
        yield event("message_delta", delta={"stop_reason": reason}, usage={"output_tokens": 34})
        yield event("message_stop")

    def error_event(self, body: str) -> bytes:
        return f'event: error\ndata: {{"type": "error", "error": {body}}}\n\n'.encode()


class OpenAIStandIn(StandIn):
    """Chat completions."""

    prefix = "/v1"

    def model(self, patch: pytest.MonkeyPatch, patience: Patience = QUICK) -> LanguageModel:
        from palmar.agent.openai_model import OpenAIModel

        patch.setenv("OPENAI_API_KEY", SECRET)
        return OpenAIModel("stand-in", self.url, patience)

    def seen(self, path: str, headers: Mapping[str, str], body: dict[str, Any]) -> Seen:
        texts, pictures = [], 0
        system = "\n".join(m["content"] for m in body["messages"] if m["role"] == "system")
        for message in body["messages"]:
            if message["role"] in ("user", "tool"):
                content = message["content"]
                parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
                texts += [p["text"] for p in parts if p["type"] == "text"]
                pictures += sum(p["type"] == "image_url" for p in parts)
        tools = {t["function"]["name"]: t["function"]["parameters"] for t in body.get("tools", ())}
        results = sum(m["role"] == "tool" for m in body["messages"])
        forced = body.get("tool_choice") == "required"
        return Seen(path, headers, body, system, tuple(texts), pictures, tools, forced, results)

    def unpaired(self, messages: list[Any]) -> bool:
        called = set[str]()
        for message in messages:
            if message["role"] == "tool":
                if message["tool_call_id"] not in called:
                    return True
                called.remove(message["tool_call_id"])
            elif called:
                return True
            else:
                called = {c["id"] for c in message.get("tool_calls", ())}
        return bool(called)

    def events(self, said: Said) -> Iterator[bytes]:
        def chunk(delta: dict[str, Any], reason: str | None = None, **more: Any) -> bytes:
            choice = {"index": 0, "delta": delta, "finish_reason": reason}
            said = {"id": "c1", "object": "chat.completion.chunk", "choices": [choice]} | more
            return f"data: {json.dumps(said)}\n\n".encode()

        yield chunk({"role": "assistant", "content": ""})
        yield from (chunk({"content": p}) for p in in_pieces(said.text, said.pieces))
        for index, (name, given) in enumerate(said.calls):
            start = {"index": index, "id": f"call_{index}", "type": "function"}
            yield chunk({"tool_calls": [start | {"function": {"name": name, "arguments": ""}}]})
            for p in in_pieces(input_text(given), said.pieces):
                yield chunk({"tool_calls": [{"index": index, "function": {"arguments": p}}]})
        yield chunk({}, said.stopped or ("tool_calls" if said.calls else "stop"))
        yield chunk({}, choices=[], usage={"prompt_tokens": 12, "completion_tokens": 34})
        yield b"data: [DONE]\n\n"

    def error_event(self, body: str) -> bytes:
        return f'data: {{"error": {body}}}\n\n'.encode()


STAND_INS = {"anthropic": AnthropicStandIn, "openai": OpenAIStandIn}
