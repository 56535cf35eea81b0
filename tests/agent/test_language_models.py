"""Both protocols of language models against servers that speak them, and that fail in every way."""

from __future__ import annotations

import io
import json
import logging
import signal
import threading
import traceback
import urllib.error
from collections.abc import Callable, Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_stand_ins import QUICK, SECRET, STAND_INS, Fault, Said, Seen, StandIn, anthropic_stream, openai_stream

from palmar.agent import language_model
from palmar.agent.anthropic_model import AnthropicModel
from palmar.agent.language_model import (
    LONGEST,
    LanguageModel,
    ModelMessage,
    ModelPicture,
    ToolDefinition,
    ToolResult,
    check_not_refused,
    find_model,
)
from palmar.agent.model_wire import READ, Patience
from palmar.agent.openai_model import OpenAIModel
from palmar.errors import BadValue, ModelUnreachable, UnknownName

TOOLS = [ToolDefinition("plan", "a plan", {"type": "object", "properties": {"why": {"type": "string"}}})]
HELLO = [ModelMessage("user", "hello")]
Start = Callable[..., tuple[StandIn, LanguageModel]]


@pytest.fixture(params=list(STAND_INS))
def start(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """start(script, patience) → (server, model), for each protocol."""
    servers: list[StandIn] = []

    def made(script: Any, patience: Patience = QUICK) -> tuple[StandIn, LanguageModel]:
        servers.append(STAND_INS[request.param](script))
        return servers[-1], servers[-1].model(monkeypatch, patience)

    yield made
    for server in servers:
        server.close()


# ------------------------------------------------------------------------------------------------------------ what is said


def test_text_is_streamed_and_comes_whole(start: Start) -> None:
    server, model = start([Said("Hello, wörld.\nSecond line: ☃", pieces=3)])
    pieces: list[str] = []
    answer = model.answer("be brief", HELLO, on_text=pieces.append)
    assert answer.text == "".join(pieces) == "Hello, wörld.\nSecond line: ☃" and len(pieces) > 3
    assert answer.calls == () and answer.stopped == "end"
    (seen,) = server.requests
    assert seen.system == "be brief" and seen.texts == ("hello",) and seen.body["stream"] is True
    assert seen.headers.get("authorization") == f"Bearer {SECRET}" or seen.headers.get("x-api-key") == SECRET


def test_tools_are_called_with_parsed_input(start: Start) -> None:
    given = {"why": 'dé "quoted" ☃', "steps": [{"n": 1.5, "ok": None}]}
    server, model = start([Said("I plan.", (("plan", given), ("plan", {})))])
    answer = model.answer("", HELLO, TOOLS, must_call=True)
    assert [c.name for c in answer.calls] == ["plan", "plan"] and answer.stopped == "tools"
    assert answer.calls[0].input == given and answer.calls[1].input == {} and answer.calls[0].id != answer.calls[1].id
    assert server.requests[0].forced and server.requests[0].tools == {"plan": TOOLS[0].schema}


def test_a_tool_is_not_forced_unless_asked(start: Start) -> None:
    server, model = start([Said("no need")])
    assert model.answer("", HELLO, TOOLS).text == "no need" and not server.requests[0].forced


def test_a_conversation_goes_on_with_results_and_pictures(start: Start) -> None:
    server, model = start([Said("", (("plan", {"why": "a"}),)), Said("done")])
    first = model.answer("", HELLO, TOOLS)
    picture = ModelPicture.of(np.zeros((4, 6, 3), np.uint8))
    result = ToolResult(first.calls[0].id, "it fell over", failed=True)
    more = [*HELLO, ModelMessage.of(first), ModelMessage("user", "look", (picture,), (result,))]
    assert model.answer("", more, TOOLS).text == "done"
    seen = server.requests[1]
    assert seen.results == 1 and seen.pictures == 1 and seen.texts[0] == "hello" and seen.texts[-1] == "look"
    assert "it fell over" in seen.texts[1]
    assert '"why": "a"' in json.dumps(seen.body) or '\\"why\\": \\"a\\"' in json.dumps(seen.body)


@pytest.mark.parametrize(
    "given",
    ["{broken", '["a"]', "[" * 5000, '{"a": NaN}', '{"a": Infinity}', '{"a": "\\ud800"}', '{"a": 1' + "0" * 5000 + "}",
     '{"a": 1e400}', '{"a": [-1e400]}', '{"a": 1' + "0" * 400 + "}"],
)  # fmt: skip
def test_input_that_is_no_json_object_is_said_to_be_none(start: Start, given: str) -> None:
    server, model = start([Said("", (("plan", given),), pieces=1000), Said("again")])
    first = model.answer("", HELLO, TOOLS)
    (call,) = first.calls
    assert call.input == {} and call.fault and call.name == "plan"
    result = ModelMessage("user", results=(ToolResult(call.id, call.fault, failed=True),))
    assert model.answer("", [*HELLO, ModelMessage.of(first), result], TOOLS).text == "again"
    json.dumps(server.requests[1].body, allow_nan=False)


def test_an_answer_that_reached_its_length_or_was_refused_says_so(start: Start) -> None:
    server, model = start([])
    of_anthropic = isinstance(model, AnthropicModel)
    long, refused = ("max_tokens", "refusal") if of_anthropic else ("length", "content_filter")
    server.script = [Said("half", stopped=long), Said("", stopped=refused)]
    assert model.answer("", HELLO).stopped == "length"
    assert model.answer("", HELLO).stopped == "refused"
    server.script = [Said("I plan.", (("plan", {}),), stopped=refused)]
    answer = model.answer("", HELLO, TOOLS)
    assert answer.stopped == "refused"
    with pytest.raises(ModelUnreachable, match=f"^{model.name} would not answer this. Next: "):
        check_not_refused(model.name, answer)


@pytest.mark.parametrize(
    "choices",
    [
        [
            {"delta": {"refusal": "I cannot "}},
            {"delta": {"refusal": "do that."}},
            {"delta": {}, "finish_reason": "stop"},
        ],
        [
            {"delta": {"content": "a", "refusal": None}, "finish_reason": "content_filter"},
            {"delta": {}, "finish_reason": "stop"},
        ],
    ],
)
def test_a_refusal_of_openai_stays_one_whatever_follows(
    choices: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with openai_stream(*({"choices": [c]} for c in choices))([Said()]) as server:
        assert server.model(monkeypatch).answer("", HELLO).stopped == "refused"


def test_nothing_at_all_is_an_empty_answer(start: Start) -> None:
    _, model = start([Said(), Said("after")])
    empty = model.answer("", HELLO)
    assert empty.text == "" and empty.calls == ()
    again = [*HELLO, ModelMessage.of(empty), ModelMessage("user", "and?")]
    assert model.answer("", again).text == "after"


def test_a_lone_surrogate_does_not_end_the_conversation(start: Start) -> None:
    said = Said("It is so \ud800.", (("plan", {"why": "\ud800"}),), pieces=1000, thought="hm \udfff")
    server, model = start([said, Said("again")])
    first = model.answer("", HELLO, TOOLS)
    assert first.text == "It is so ?."
    json.dumps(first.own, ensure_ascii=False).encode()
    results = ModelMessage("user", "\ud800", results=(ToolResult(first.calls[0].id, "\ud800"),))
    odd = [ToolDefinition("plan", "\udfff", {"type": "object", "properties": {"\ud800": {"enum": ["\ud801"]}}})]
    assert model.answer("\ud800", [*HELLO, ModelMessage.of(first), results], odd).text == "again"
    json.dumps(server.requests[1].body, ensure_ascii=False).encode()


# ----------------------------------------------------------------------------------------------------------------- failures


class Naps:
    """A sleep that only counts."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 529])
def test_what_passes_is_tried_again(start: Start, status: int) -> None:
    naps = Naps()
    server, model = start([Fault("status", status), Fault("status", status), Said("at last")], Patience(sleep=naps))
    assert model.answer("", HELLO).text == "at last"
    assert len(server.requests) == 3 and naps.seconds == [1.0, 2.0]


def test_what_does_not_pass_is_given_up_after_a_bounded_number_of_tries(start: Start) -> None:
    naps = Naps()
    server, model = start([Fault("status", 529)], Patience(retries=4, sleep=naps, longest_wait=4.0))
    with pytest.raises(ModelUnreachable, match=r"status 529: a fault \(5 tries\).* Next: ask again later"):
        model.answer("", HELLO)
    assert len(server.requests) == 5 and naps.seconds == [1.0, 2.0, 4.0, 4.0]


def test_a_server_that_says_how_long_is_waited_for(start: Start) -> None:
    naps = Naps()
    _, model = start([Fault("status", 429, {"retry-after": "7"}), Said("ok")], Patience(sleep=naps))
    assert model.answer("", HELLO).text == "ok" and naps.seconds == [7.0]


def test_a_wait_that_no_calendar_has_is_a_wait_like_others(start: Start) -> None:
    naps = Naps()
    past, never = "Mon, 01 Jan 0001 00:00:00 +2300", "Fri, 31 Dec 9999 23:59:59 -2300"
    faults = [Fault("status", 429, {"retry-after": h}) for h in (past, never, "1e308")]
    _, model = start(faults, Patience(sleep=naps))
    for _ in range(2):
        with pytest.raises(ModelUnreachable, match="asks to wait more than a day") as error:
            model.answer("", HELLO)
        assert len(str(error.value)) < 400
    assert naps.seconds == [1.0]


def test_a_server_that_asks_for_too_long_is_not_waited_for(start: Start) -> None:
    naps = Naps()
    server, model = start([Fault("status", 429, {"retry-after": "3600"})], Patience(sleep=naps))
    with pytest.raises(ModelUnreachable, match="asks to wait 3600 s"):
        model.answer("", HELLO)
    assert naps.seconds == [] and len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "said"), [(400, "another model"), (401, "the right key"), (403, "the right key"), (404, "another model")]
)
def test_what_will_not_pass_is_not_tried_again(start: Start, status: int, said: str) -> None:
    server, model = start([Fault("status", status)])
    with pytest.raises(ModelUnreachable, match=f"status {status}: a fault.* Next: .*{said}"):
        model.answer("", HELLO)
    assert len(server.requests) == 1


@pytest.mark.parametrize("kind", ["cut", "ended", "silent after"])
def test_an_answer_that_breaks_off_is_asked_for_again(start: Start, kind: str) -> None:
    server, model = start([Fault(kind), Said("whole")], Patience(silence=0.3, sleep=Naps()))
    assert model.answer("", HELLO).text == "whole" and len(server.requests) == 2


@pytest.mark.parametrize("kind", ["cut", "ended", "silent after"])
def test_an_answer_that_a_person_has_begun_to_read_is_not_begun_anew(start: Start, kind: str) -> None:
    pieces: list[str] = []
    server, model = start([Fault(kind), Said("whole")], Patience(silence=0.3, sleep=Naps()))
    with pytest.raises(ModelUnreachable, match="Next: ask again"):
        model.answer("", HELLO, on_text=pieces.append)
    assert len(server.requests) == 1 and pieces


def test_a_slow_answer_is_waited_for(start: Start) -> None:
    _, model = start([Fault("slow")])
    assert model.answer("", HELLO).text == "one two three four five"


@pytest.mark.parametrize("kind", ["silent", "drip", "headers drip"])
def test_a_server_without_an_answer_is_waited_for_only_so_long(start: Start, kind: str) -> None:
    server, model = start([Fault(kind)], Patience(limit=0.6, silence=0.3, sleep=Naps()))
    with pytest.raises(ModelUnreachable, match=r"is silent|in time"):
        model.answer("", HELLO)
    assert server.requests and server.finished == 0  # it would go on


def test_a_server_that_is_not_there(start: Start) -> None:
    naps = Naps()
    server, model = start([Said("never")], Patience(sleep=naps))
    server.close()
    with pytest.raises(ModelUnreachable, match=r"cannot be reached .*\(4 tries\)"):
        model.answer("", HELLO)
    assert naps.seconds == [1.0, 2.0, 4.0]


@pytest.mark.parametrize("kind", ["flood", "flood line", "flood input", "flood comments"])
def test_an_answer_that_is_too_long_is_cut_off_and_refused(start: Start, kind: str) -> None:
    pieces: list[str] = []
    server, model = start([Fault(kind)], Patience(limit=30, silence=10, sleep=Naps()))
    with pytest.raises(ModelUnreachable, match="more than 64 KiB"):
        model.answer("", HELLO, TOOLS, on_text=pieces.append)
    assert len("".join(pieces)) <= LONGEST and len(server.requests) == 1


def test_the_body_of_an_error_is_bounded_too(start: Start) -> None:
    _, model = start([Fault("flood body", 400)], Patience(limit=30, silence=10, sleep=Naps()))
    with pytest.raises(ModelUnreachable) as error:
        model.answer("", HELLO)
    assert len(str(error.value)) < 700


@pytest.mark.parametrize(("status", "said"), [(200, "encoded as 'gzip'"), (400, "status 400"), (503, "status 503")])
def test_a_compressed_answer_is_not_unpacked(start: Start, status: int, said: str) -> None:
    server, model = start([Fault("gzip", status)], Patience(limit=30, silence=10, retries=0))
    with pytest.raises(ModelUnreachable, match=said) as error:
        model.answer("", HELLO)
    assert "x00" not in str(error.value)
    assert server.requests[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("no json", "no JSON object"), ("no events", "without an event"), ("no utf-8", "no UTF-8"), ("html", "text/html"),
        ("many calls", "more than 16 tool calls"),
    ],
)  # fmt: skip
def test_what_is_not_the_protocol_is_refused_at_once(start: Start, kind: str, said: str) -> None:
    server, model = start([Fault(kind)])
    with pytest.raises(ModelUnreachable, match=f"{said}.* Next: "):
        model.answer("", HELLO, TOOLS)
    assert len(server.requests) == 1


def test_an_error_inside_the_stream_is_repeated_without_the_key(start: Start) -> None:
    body = json.dumps({"type": "invalid_request_error", "message": f"no such thing, {SECRET}"})
    _, model = start([Fault("error event", body=body)])
    with pytest.raises(ModelUnreachable, match="no such thing, …"):
        model.answer("", HELLO)


def test_an_overload_inside_the_stream_of_anthropic_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    body = '{"type": "overloaded_error", "message": "Overloaded"}'
    with STAND_INS["anthropic"]([Fault("error event", body=body), Said("ok")]) as server:
        assert server.model(monkeypatch).answer("", HELLO).text == "ok"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed_and_the_key_goes_nowhere_else(start: Start, status: int) -> None:
    other, _ = start([Said("caught")])
    server, model = start([Fault("status", status, {"location": f"{other.url}/v1/messages"})])
    with pytest.raises(ModelUnreachable, match="redirect"):
        model.answer("", HELLO)
    assert len(server.requests) == 1 and other.requests == []


@pytest.mark.parametrize("where", ["sleep", "text"])
def test_ctrl_c_passes_through(start: Start, where: str) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    script = [Fault("status", 500)] if where == "sleep" else [Said("hello")]
    _, model = start(script, Patience(sleep=interrupted))
    with pytest.raises(KeyboardInterrupt):
        model.answer("", HELLO, on_text=interrupted)


@pytest.fixture
def sigint() -> Iterator[None]:
    """Ctrl-C raises `KeyboardInterrupt`, also where the process that runs the tests ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals of this system go to no thread")
def test_ctrl_c_ends_the_wait_for_a_silent_server(start: Start, sigint: None) -> None:
    waits = threading.get_ident()

    def script(seen: Seen) -> Fault:
        signal.pthread_kill(waits, signal.SIGINT)
        return Fault("silent")

    _, model = start(script, Patience(limit=60, silence=30))
    with pytest.raises(KeyboardInterrupt):
        model.answer("", HELLO)


# ---------------------------------------------------------------------------------------------------------------------- key


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", 401, body=json.dumps({"error": {"message": f"bad key {SECRET}"}})),
        Fault("status", 400, body=f"no JSON but {SECRET}"), Fault("status", 500, body=SECRET), Fault("cut"), Fault("html"),
        Fault("silent"), Fault("no json"), Fault("status", 307, {"location": "http://127.0.0.1:1/"}), Fault("flood"),
        Fault("error event", body=json.dumps({"type": "overloaded_error", "message": SECRET})),
    ],
    ids=lambda f: f"{f.kind} {f.status}",
)  # fmt: skip
def test_the_key_is_in_no_message_log_file_or_repr(
    start: Start, fault: Fault, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    caplog.set_level(logging.DEBUG)
    _, model = start([fault], Patience(limit=1.0, silence=0.3, retries=1, sleep=Naps()))
    with pytest.raises(ModelUnreachable) as error:
        model.answer("", HELLO)
    shown = io.StringIO()
    traceback.print_exception(error.value, file=shown)
    kept = [repr(model), repr(vars(model)), str(error.value), repr(error.value), shown.getvalue(), caplog.text]
    captured = capfd.readouterr()
    kept += [captured.out, captured.err, *(p.read_text("utf-8", "replace") for p in tmp_path.rglob("*") if p.is_file())]
    assert not any(SECRET in text for text in kept)
    chain: BaseException | None = error.value
    while chain is not None:  # nothing that carries the request is kept with the error
        assert not hasattr(chain, "request")
        chain = chain.__cause__ or chain.__context__


class Body(io.BytesIO):
    """Of an answer, in pieces of this size. length: bytes that do not come. after: raised at the end."""

    def __init__(self, data: bytes, size: int, length: int = 0, after: Exception | None = None) -> None:
        super().__init__(data)
        self.size, self.length, self.after = size, length, after

    def read1(self, most: int | None = -1) -> bytes:
        piece = self.read(self.size)
        if not piece and self.after is not None:
            raise self.after
        return piece


@pytest.mark.parametrize("how", ["longer than is read", "ends early", "breaks off", "whole"])
def test_half_of_the_key_at_the_end_of_a_cut_body_is_not_shown(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other half is in what is not read."""
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    model = OpenAIModel("m", "http://127.0.0.1:9/v1", Patience(retries=0))
    opened = list[Body]()

    class Opener:
        def open(self, request: Any, timeout: float) -> Any:
            raise urllib.error.HTTPError("", 400, "", Message(), opened[-1])

    monkeypatch.setattr("urllib.request.build_opener", lambda *handlers: Opener())
    for half in range(1, len(SECRET)):
        before = b"bad key" + b" " * (READ + 1 - half)
        if how == "longer than is read":
            opened.append(Body(before[: READ + 1 - half] + SECRET.encode(), READ + 1))
        else:
            after = OSError() if how == "breaks off" else None
            opened.append(Body(b"bad key " + SECRET[:half].encode(), 5, 9 if how == "ends early" else 0, after))
        with pytest.raises(ModelUnreachable, match=r"status 400.* Next: ") as error:
            model.answer("", HELLO)
        assert (SECRET[:2] in str(error.value)) == (how == "whole" and half > 1)


def test_a_server_of_ones_own_needs_no_key() -> None:
    with STAND_INS["openai"]([Said("hello")]) as server:
        assert find_model(f"openai:llama3:8b@{server.url}").answer("", HELLO).text == "hello"
        assert "authorization" not in server.requests[0].headers and server.requests[0].path == "/v1/chat/completions"
        assert server.requests[0].body["model"] == "llama3:8b" and "max_tokens" in server.requests[0].body


# ---------------------------------------------------------------------------------------------------------------- addresses


def test_the_address_comes_from_the_environment(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    server, model = start([Said("hello")])
    base = "ANTHROPIC_BASE_URL" if isinstance(model, AnthropicModel) else "OPENAI_BASE_URL"
    monkeypatch.setenv(base, server.url)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # of no use on the way to this computer
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:9")
    assert type(model)("m").answer("", HELLO).text == "hello"


@pytest.mark.parametrize("name", ["", "gpt", "openai", "openai:", "anthropic:", "rules:x", "ollama:llama"])
def test_a_model_that_is_not_known(name: str) -> None:
    with pytest.raises(UnknownName, match="openai:MODEL@URL"):
        find_model(name)


# -------------------------------------------------------------------------------------------------- details of each protocol


def test_a_model_that_refuses_to_be_forced_is_asked_in_words_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Anthropic's models of autumn 2026 do."""

    def script(seen: Seen) -> Said | Fault:
        body = (
            '{"error": {"type": "invalid_request_error", "message": "tool_choice: forced tool use is not supported"}}'
        )
        return Fault("status", 400, body=body) if seen.forced else Said("", (("plan", {}),))

    with STAND_INS["anthropic"](script) as server:
        model = server.model(monkeypatch)
        for _ in range(2):
            assert model.answer("", HELLO, TOOLS, must_call=True).calls[0].name == "plan"
        assert [s.forced for s in server.requests] == [True, False, False]


def test_a_request_that_is_refused_for_something_else_is_still_forced_next_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    body = '{"error": {"type": "invalid_request_error", "message": "prompt is too long"}}'
    script = [Fault("status", 400, body=body), Fault("status", 400, body=body), Said("", (("plan", {}),))]
    with STAND_INS["anthropic"](script) as server:
        model = server.model(monkeypatch)
        with pytest.raises(ModelUnreachable, match="prompt is too long"):
            model.answer("", HELLO, TOOLS, must_call=True)
        assert model.answer("", HELLO, TOOLS, must_call=True).calls[0].name == "plan"
        assert [s.forced for s in server.requests] == [True, False, True]


def test_what_a_model_thought_is_handed_back_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    with STAND_INS["anthropic"](
        [Said("I plan.", (("plan", {"why": "a"}),), thought="hmm, the cube"), Said("ok")]
    ) as server:
        model = server.model(monkeypatch)
        first = model.answer("", HELLO, TOOLS)
        assert first.text == "I plan."
        model.answer(
            "",
            [*HELLO, ModelMessage.of(first), ModelMessage("user", results=(ToolResult(first.calls[0].id, "done"),))],
            TOOLS,
        )
        thought, text, call = server.requests[1].body["messages"][1]["content"]
        assert thought == {"type": "thinking", "thinking": "hmm, the cube", "signature": "signed"}
        assert (
            text == {"type": "text", "text": "I plan."}
            and call["input"] == {"why": "a"}
            and call["id"] == first.calls[0].id
        )


def test_calls_that_share_an_index_are_told_apart_by_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """As some servers of other makers send them."""

    class Whole(STAND_INS["openai"]):  # type: ignore[misc]
        def events(self, said: Said) -> Iterator[bytes]:
            for id in ("a", "b"):
                call = {"index": 0, "id": id, "function": {"name": "plan", "arguments": json.dumps({"why": id})}}
                yield f"data: {json.dumps({'choices': [{'delta': {'tool_calls': [call]}}]})}\r\n\r\n".encode()
            yield b'data: {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}\r\n\r\n'

    with Whole([Said()]) as server:
        answer = server.model(monkeypatch).answer("", HELLO, TOOLS)
    assert [c.input for c in answer.calls] == [{"why": "a"}, {"why": "b"}]


def test_pictures_are_png_or_jpeg() -> None:
    from PIL import Image

    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    picture = ModelPicture.of(image)
    assert picture.media_type == "image/png"
    assert (np.asarray(Image.open(io.BytesIO(picture.data))) == image).all()
    sink = io.BytesIO()
    Image.fromarray(image).save(sink, "JPEG")
    assert ModelPicture(sink.getvalue()).media_type == "image/jpeg"
    for bad in (b"GIF89a", b"", language_model.PNG + b"0" * language_model.LARGEST_PICTURE):
        with pytest.raises(BadValue, match="Next: "):
            ModelPicture(bad)
    with pytest.raises(BadValue, match="Next: "):
        ModelPicture.of(np.zeros((0, 4, 3), np.uint8))


def _block(index: int, block: Any, *deltas: Any) -> list[dict[str, Any]]:
    """Events of a block."""
    more = [{"type": "content_block_delta", "index": index, "delta": d} for d in deltas]
    return [{"type": "content_block_start", "index": index, "content_block": block}, *more]


END = [{"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, {"type": "message_stop"}]
TEXT, THINKING = {"type": "text", "text": ""}, {"type": "thinking", "thinking": "", "signature": ""}


@pytest.mark.parametrize(
    "events",
    [
        _block(0, {"type": "thinking", "text": 5}, {"type": "text_delta", "text": "hi"}),
        _block(0, {"type": "text", "text": 5}), _block(0, {"type": "thinking", "thinking": 5}),
        _block(0, THINKING, {"type": "thinking_delta", "thinking": {"a": 1}}),
        _block(0, THINKING, {"type": "signature_delta", "signature": 3}), _block(0, THINKING, {"type": "thinking_delta"}),
        _block(0, {"type": "redacted_thinking", "data": [1]}), _block(0, TEXT, {"type": "thinking_delta", "thinking": "a"}),
        _block(0, {"type": "tool_use", "id": "a", "name": "plan"}, {"type": "text_delta", "text": "hi"}),
        _block(0, {"type": "tool_use", "id": 1, "name": "plan"}), _block(0, {"type": ["text"]}), _block(0, "text"),
        _block(0, TEXT, ["text_delta"]), _block(0, TEXT, {"type": ["text_delta"]}), _block(0, TEXT, {"type": "text_delta"}),
        _block(0, TEXT) + _block(0, {"type": "tool_use", "id": "a", "name": "plan"}), _block(-1, TEXT),
        [{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}}],
        [{"type": "message_delta", "delta": {"stop_reason": ["end_turn"]}}],
    ],
    ids=str,
)  # fmt: skip
def test_events_of_anthropic_are_read_strictly(events: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    with anthropic_stream(*events, *END)([Said()]) as server:
        with pytest.raises(ModelUnreachable, match=" Next: "):
            server.model(monkeypatch).answer("", HELLO, TOOLS)
        assert len(server.requests) == 1


def test_what_a_model_thought_is_handed_back_as_it_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    thought = _block(0, THINKING | {"later": "\ud800"}, {"type": "signature_delta", "signature": "a\ud800"})
    hidden, cited = (
        _block(1, {"type": "redacted_thinking", "data": "b\udfff"}),
        {"type": "citations_delta", "citation": {}},
    )
    text = _block(2, TEXT | {"citations": None}, {"type": "text_delta", "text": "hi"}, cited)
    with anthropic_stream(*thought, *hidden, *text, *_block(3, {"type": "to come"}), *END)([Said()]) as server:
        answer = server.model(monkeypatch).answer("", HELLO)
    assert answer.own == (
        {"type": "thinking", "thinking": "", "signature": "a?"}, {"type": "redacted_thinking", "data": "b?"},
        {"type": "text", "text": "hi"},
    )  # fmt: skip


def _chosen(delta: Any, **more: Any) -> list[Any]:
    return [{"index": 0, "delta": delta} | more]


@pytest.mark.parametrize(
    "choices",
    [
        [{"x": 1}, None, 3], [None], {"delta": {}}, "text", 0, _chosen("hi"), _chosen({"content": 5}), _chosen({"content": ["hi"]}),
        _chosen({"tool_calls": {"id": "a"}}), _chosen({"tool_calls": [None]}), _chosen({"tool_calls": [{"id": 1, "function": {}}]}),
        _chosen({"tool_calls": [{"id": "a", "function": "plan"}]}), _chosen({}, finish_reason=["stop"]),
        _chosen({"tool_calls": [{"index": "0", "id": "a", "function": {"name": "plan"}}]}),
        _chosen({"tool_calls": [{"id": "a", "function": {"name": "plan", "arguments": {}}}]}),
        _chosen({"tool_calls": [{"id": "a", "function": {"name": ["plan"]}}]}),
    ],
    ids=str,
)  # fmt: skip
def test_chunks_of_openai_are_read_strictly(choices: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with openai_stream({"choices": choices})([Said()]) as server:
        with pytest.raises(ModelUnreachable, match=" Next: "):
            server.model(monkeypatch).answer("", HELLO, TOOLS)
        assert len(server.requests) == 1


def test_what_servers_leave_out_or_send_as_null_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    call = {"id": "a", "function": {"name": "plan", "arguments": None}}
    empty = {"content": None, "tool_calls": None}
    chunks = [
        {"choices": []},
        {"choices": None},
        {},
        {"choices": _chosen(None)},
        {"choices": _chosen(empty, finish_reason=None)},
    ]
    with openai_stream(*chunks, {"choices": _chosen({"tool_calls": [call]})})([Said()]) as server:
        answer = server.model(monkeypatch).answer("", HELLO, TOOLS)
    assert [(c.name, c.input, c.fault) for c in answer.calls] == [("plan", {}, "")]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("openai:m@localhost:1", "'localhost:1' is no address.*openai:m@http://localhost:1"),
        ("openai:m@ftp://x", "'ftp://x' is no address.*openai:m@http://x"),
        ("openai:m@", "'' is no address.*openai:m@http://HOST:PORT/v1"),
        ("openai:@http://localhost:1/v1", "names no model"),
    ],
)
def test_an_address_that_is_none_is_told_before_a_key_is_asked_for(name: str, said: str) -> None:
    with pytest.raises(BadValue, match=said):
        find_model(name)


def test_a_model_s_own_name_may_begin_with_an_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert find_model("openai:@cf/meta/llama").name == "openai:@cf/meta/llama"
