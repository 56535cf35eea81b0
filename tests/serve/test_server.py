"""The policy server, as its clients meet it: the same answers as here, a memory each, and an answer in words to everybody else."""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
from serving import FACE, Alone, Counting, seen, serving
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from palmar.adapters import wire
from palmar.errors import BadFile, BadValue, PolicyUnreachable
from palmar.models.acting import NeuralPolicy
from palmar.policy import check_policy, load_policy
from palmar.runtime.supervision.handshake import KEY
from palmar.serve.allowance import Allowance
from palmar.serve.engine import Engine
from palmar.serve.reach import loopback
from palmar.serve.server import PolicyServer, ServeConfig
from palmar.types import Prefix


def http(address: str, path: str, **headers: str) -> tuple[int, str, str]:
    ask = urllib.request.Request(address.replace("ws", "http", 1) + path, headers=headers)
    try:
        with urllib.request.urlopen(ask, timeout=5) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, "", error.read().decode()


@pytest.fixture
def server():
    with serving() as made:
        yield made


def test_what_it_answers_is_what_the_policy_answers(server):
    policy, here = load_policy(server.address), Counting()
    assert policy.interface == FACE and (policy.served.policy, policy.served.fingerprint) == ("counting", "abc")
    for i in range(3):
        theirs, ours = policy.act(seen(0.1 * i)), here.act(seen(0.1 * i))
        for name in ("actions", "features"):
            np.testing.assert_array_equal(getattr(theirs, name), getattr(ours, name))
        np.testing.assert_array_equal(theirs.attention["front.target"], ours.attention["front.target"])
        assert (theirs.t0, theirs.dt, theirs.confidence, theirs.done) == (ours.t0, ours.dt, ours.confidence, ours.done)
    assert policy.timing["policy_timing"]["infer_ms"] >= 0 and policy.timing["server_timing"]["prev_total_ms"] > 0
    policy.close()


def test_each_client_has_a_memory_and_a_reset_of_its_own(server):
    one, two = load_policy(server.address), load_policy(server.address)
    assert [one.act(seen(0.1 * i)).done for i in range(3)] == [0.01, 0.02, 0.03]
    assert two.act(seen()).done == 0.01
    one.reset()
    assert one.act(seen()).done == 0.01 and two.act(seen(0.1)).done == 0.02
    one.close()
    two.close()


def test_the_observation_and_the_prefix_arrive_as_they_were():
    policy = Counting()
    policy.session = lambda: policy
    with serving(policy) as server:
        client = load_policy(server.address)
        prefix = Prefix(np.arange(14, dtype=np.float32).reshape(2, 7), 1)
        client.act(seen(1.25, "push the rød"), prefix)
        client.close()
    (obs, got), sent = policy.seen[0], seen(1.25, "push the rød")
    assert obs.instruction == sent.instruction and obs.time == 1.25
    np.testing.assert_array_equal(obs.state, sent.state)
    for camera in FACE.cameras:
        np.testing.assert_array_equal(obs.images[camera], sent.images[camera])
    np.testing.assert_array_equal(got.actions, prefix.actions)
    assert got.committed == 1


@pytest.fixture
def stock():
    """As openpi's client speaks: no entry of palmar's."""
    with ExitStack() as lines:

        def made(address: str):
            line = lines.enter_context(connect(address, compression=None, max_size=None, proxy=None))
            return line, wire.unpack(line.recv())

        yield made


def asked(obs=None, **more):
    obs = obs or seen()
    pictures = {f"observation/{c}": x for c, x in obs.images.items()}
    return pictures | {"observation/state": obs.state, "prompt": obs.instruction} | more


def test_a_client_of_openpi_is_served(server, stock):
    line, metadata = stock(server.address)
    keys = metadata["palmar"]["keys"]
    assert keys["images"] == {"front": "observation/front", "wrist": "observation/wrist"} and keys["prompt"] == "prompt"
    for i in range(2):
        line.send(wire.pack(asked()))
        answer = wire.unpack(line.recv())
        assert answer["actions"].shape == (8, 7) and "palmar" not in answer
        assert set(answer["policy_timing"]) == {"infer_ms"} and ("prev_total_ms" in answer["server_timing"]) == bool(i)
    line.close()


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("hello", "a text message; expected msgpack"),
        (b"\xc1", "no msgpack message"),
        (wire.pack([1, 2]), "a request is a list"),
        (wire.pack({"prompt": "x"}), "'observation/front' is missing"),
        (wire.pack(asked(prompt=3)), "'prompt' is a int; expected text"),
        (wire.pack(asked() | {"observation/front": np.zeros((24, 32, 3), np.float32)}), "expected uint8"),
        (wire.pack(asked() | {"observation/front": np.zeros((8, 8, 3), np.uint8)}), "camera 'front' gives 8×8 px"),
        (wire.pack(asked() | {"observation/state": np.zeros(3, np.float32)}), "expected 22 numbers"),
        (wire.pack(asked() | {"observation/state": np.full(22, np.nan, np.float32)}), "state is not finite"),
        (wire.pack(asked(palmar={"id": "1", "reset": False})), "expected id, time and reset"),
        (wire.pack(asked(palmar={"id": 1, "reset": False, "time": float("nan")})), "time of an observation is nan"),
        (wire.pack(asked(palmar={"id": 1, "reset": False, "time": 0.0, "prefix": {"actions": 3}})), "prefix is no actions"),
        (b"\x91" * 5000, "no msgpack message"),
        (b"\xdc\xff\xff" + b"\x90" * 65535, "a list"),
        (wire.pack([[0] * 60_000] * 4), "more than 200000 entries"),
        (b"\xdd\x7f\xff\xff\xff", "no msgpack message"),
    ],
)  # fmt: skip
def test_what_is_no_request_is_told_and_ends_the_connection(message, said, stock):
    with serving(config=ServeConfig(port=0, largest=2**20)) as server:
        line, _ = stock(server.address)
        line.send(message)
        answer = line.recv(timeout=5)
        assert isinstance(answer, str) and said in answer
        with pytest.raises(ConnectionClosed) as closed:
            line.recv(timeout=5)
        assert closed.value.rcvd.code == 1008
        client = load_policy(server.address)  # and serves others as before
        assert client.act(seen()).done == 0.01
        client.close()


def test_what_is_too_large_is_refused_by_its_size(server, stock):
    line, _ = stock(server.address)
    line.send(bytes(server.largest + 1))
    with pytest.raises(ConnectionClosed) as closed:
        line.recv(timeout=5)
    assert closed.value.rcvd.code == 1009


def test_a_message_that_was_sent_before_is_not_done_again(server, stock):
    line, _ = stock(server.address)
    message = wire.pack(asked(palmar={"id": 4, "reset": False, "time": 0.0}))
    line.send(message)
    assert wire.unpack(line.recv())["palmar"]["id"] == 4
    line.send(message)
    assert "request 4 after 4" in line.recv(timeout=5)


def test_errors_inside_say_nothing_of_the_inside(server, caplog):
    client = load_policy(server.address)
    with pytest.raises(PolicyUnreachable, match="inference failed; the server's log says why under") as raised:
        client.act(seen(instruction="break"))
    assert "secret" not in str(raised.value) and "secret" in caplog.text
    with pytest.raises(PolicyUnreachable, match=r"not that\. Next: this"):
        client.act(seen(instruction="refuse"))
    assert client.act(seen(0.3)).done == 0.01  # a new session
    client.close()


def test_what_takes_too_long_is_told_and_others_are_not_told_to_wait_for_ever():
    with serving(config=ServeConfig(port=0, patience=0.3)) as server:
        client = load_policy(server.address)
        with pytest.raises(PolicyUnreachable, match=r"no answer within 0\.3 s"):
            client.act(seen(instruction="hang"))
        client.close()


def test_health_tells_that_inference_hangs():
    with serving(config=ServeConfig(port=0, patience=0.2)) as server:
        assert http(server.address, "/healthz")[0] == 200
        client = load_policy(server.address)
        with pytest.raises(PolicyUnreachable, match="no answer within"):
            client.act(seen(instruction="hang"))
        status, _, said = http(server.address, "/healthz")
        assert status == 503 and "inference has hung for" in said
        client.close()


def test_a_policy_that_corrects_between_chunks_is_not_served():
    policy = Counting()
    policy.correct = lambda obs, action, position: action
    with pytest.raises(BadValue, match="corrects each action from the newest observation"), serving(policy):
        pytest.fail("it began")


def test_one_memory_serves_one_client_at_a_time():
    with serving(Alone()) as server:
        assert not server.engine.shares
        one = load_policy(server.address)
        with pytest.raises(PolicyUnreachable, match="503"):
            load_policy(server.address)
        one.close()
        two = load_policy(server.address, wait=5.0)
        assert two.act(seen()).done == 0.01
        two.close()


def test_no_more_clients_than_it_may():
    with serving(config=ServeConfig(port=0, connections=2)) as server:
        some = [load_policy(server.address) for _ in range(2)]
        with pytest.raises(PolicyUnreachable, match=r"503.*raise its --connections"):
            load_policy(server.address)
        some.pop().close()
        until = time.monotonic() + 5
        while server.sessions > 1 and time.monotonic() < until:
            time.sleep(0.01)
        load_policy(server.address).close()
        some.pop().close()


def test_a_key_is_compared_and_asked_for_everywhere_but_for_health(monkeypatch):
    with serving(config=ServeConfig(port=0, key="s3cret")) as server:
        for wrong in (None, "", "s3cre", "s3cretx", "S3cret"):
            monkeypatch.setenv(KEY, wrong) if wrong else monkeypatch.delenv(KEY, raising=False)
            with pytest.raises(PolicyUnreachable, match=rf"401.*in the environment variable {KEY}"):
                load_policy(server.address)
        monkeypatch.setenv(KEY, "s3cret")
        client = load_policy(server.address)
        assert client.act(seen()).done == 0.01
        client.close()
        assert http(server.address, "/healthz") == (200, "text/plain; charset=utf-8", "OK\n")
        assert http(server.address, "/metrics")[0] == 401
        status, kind, text = http(server.address, "/metrics", Authorization="Api-Key s3cret")
        assert status == 200 and kind.startswith("text/plain; version=")
        assert "palmar_requests_total 1.0" in text and 'palmar_refused_total{reason="key"} 6.0' in text
        with pytest.raises(InvalidStatus):  # two headers, one of them right
            both = [("Authorization", "Api-Key s3cret"), ("Authorization", "Api-Key no")]
            connect(server.address, additional_headers=both, proxy=None).__enter__()


def test_a_page_of_another_origin_is_refused(server):
    with pytest.raises(InvalidStatus) as refused:
        connect(server.address, origin="http://evil.example", proxy=None).__enter__()
    assert refused.value.response.status_code == 403


def test_a_client_that_asks_too_often_waits():
    allowed = Allowance(10.0)
    assert [allowed.wait(0.0) for _ in range(10)] == [0.0] * 10
    assert allowed.wait(0.0) == pytest.approx(0.1) and allowed.wait(0.0) == pytest.approx(0.2)
    assert allowed.wait(5.0) == 0.0
    with serving(config=ServeConfig(port=0, rate=5.0)) as server:
        client, began = load_policy(server.address), time.monotonic()
        for i in range(8):
            client.act(seen(0.1 * i))
        assert time.monotonic() - began >= 0.5
        assert "palmar_slowed_requests_total 3.0" in server.metrics.text()
        client.close()


def test_settings_that_cannot_be_are_refused(tmp_path):
    for config, said in (
        ({"host": "0.0.0.0"}, "is reached from other computers, and there is no key"),
        ({"port": 70_000}, "port"),
        ({"rate": 0}, "rate"),
        ({"key": "a b"}, "printable ASCII"),
        ({"key": "ключ"}, "printable ASCII"),
        ({"certificate": tmp_path / "c.pem"}, "one is missing"),
    ):
        with pytest.raises(BadValue, match=said):
            ServeConfig(**config)
    ServeConfig(host="0.0.0.0", open=True)
    ServeConfig(host="0.0.0.0", key="abc")
    assert loopback("localhost") and loopback("::1") and loopback("127.0.0.5") and not loopback("192.168.0.3")
    (tmp_path / "c.pem").write_text("no certificate")
    with pytest.raises(BadFile, match="no certificate with its key"):
        ServeConfig(certificate=tmp_path / "c.pem", private_key=tmp_path / "c.pem").context()
    with pytest.raises(BadFile, match=r"not there|no file"):
        ServeConfig(certificate=tmp_path / "no.pem", private_key=tmp_path / "no.pem").context()


def test_a_port_that_is_taken_is_told():
    with serving() as server:
        port = int(server.address.rpartition(":")[2])
        with (
            pytest.raises(BadValue, match=f"cannot listen on 127.0.0.1:{port}"),
            serving(config=ServeConfig(port=port)),
        ):
            pytest.fail("it began")


def test_a_server_of_another_system_and_none_at_all():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"ws://127.0.0.1:{free.getsockname()[1]}"
    for ask in (check_policy, lambda where: load_policy(where, wait=0.1)):
        with pytest.raises(PolicyUnreachable, match="no policy server at"):
            ask(nobody)
    for odd in ("ws://", "ws://host name:1", "ws://h:99999"):
        with pytest.raises(BadValue, match="no address of a policy server"):
            load_policy(odd)


def test_the_same_policy_comes_back_and_another_is_refused():
    with serving() as server:
        client, port = load_policy(server.address), int(server.address.rpartition(":")[2])
        client.act(seen())
        client.act(seen(0.1))
    until = time.monotonic() + 5
    while client.unreachable is None and time.monotonic() < until:
        time.sleep(0.005)
    assert "is not there any more" in str(client.unreachable)
    with pytest.raises(PolicyUnreachable, match="no policy server at"):
        client.act(seen(0.2))
    with serving(config=ServeConfig(port=port)):
        assert client.act(seen(0.3)).done == 0.01 and client.unreachable is None  # it remembers nothing of before
    with (
        serving(config=ServeConfig(port=port), fingerprint="other"),
        pytest.raises(PolicyUnreachable, match="serves another policy now, 'counting' other instead of 'counting' abc"),
    ):
        client.act(seen(0.4))
    client.close()


def test_an_answer_that_is_none_to_the_question_is_refused(server, monkeypatch):
    client = load_policy(server.address)
    really = client.line.ask
    for change, said in (
        (lambda a: a["palmar"].update(id=99), "an answer to request 99"),
        (lambda a: a["palmar"].update(dt=0.2), "expected .* and 0.1"),
        (lambda a: a["palmar"].update(confidence=2.0), "confidence 2.0; expected 0 … 1"),
        (lambda a: a["palmar"].update(features="x"), "features that is a str"),
        (lambda a: a["palmar"].update(execute=0), "execute 0"),
        (lambda a: a.update(actions=np.zeros((8, 3), np.float32)), "sends actions"),
        (lambda a: a.update(actions="none"), "sends actions that are a str"),
    ):

        def ask(request, change=change):
            answer = really(request)
            change(answer)
            return answer

        monkeypatch.setattr(client.line, "ask", ask)
        with pytest.raises(PolicyUnreachable, match=said):
            client.act(seen())
    client.close()


def test_several_that_wait_share_a_pass():
    """Of the shipped policy: equal to asking one by one but for rounding."""
    policy = load_policy("shipped")
    assert isinstance(policy, NeuralPolicy)
    rng = np.random.default_rng(0)
    images = {c: rng.integers(0, 256, (*s, 3), np.uint8) for c, s in policy.interface.cameras.items()}
    obs = [
        replace(
            seen(0.1 * i, "pick up the red cube" + " now" * i),
            images=images,
            state=rng.normal(size=22).astype(np.float32),
        )
        for i in range(4)
    ]
    engine, began, go = Engine(policy), threading.Event(), threading.Event()

    class Slow(Counting):
        def act(self, obs, prefix=None):
            began.set()
            go.wait(10)
            return super().act(obs, prefix)

    first = engine.ask(Slow(), seen())  # keeps the thread busy while the others queue up
    assert began.wait(10)
    sessions = [engine.open() for _ in obs]
    answers = [engine.ask(s, o) for s, o in zip(sessions, obs, strict=True)]
    go.set()
    first.result(10)
    got = [a.result(20) for a in answers]
    assert {g.together for g in got} == {4}
    for one, o in zip(got, obs, strict=True):
        np.testing.assert_allclose(one.chunk.actions, policy.session().act(o).actions, atol=1e-5)
    wrong = replace(obs[0], state=np.zeros(3, np.float32))
    mixed = [engine.ask(s, o) for s, o in zip(sessions, (obs[0], wrong), strict=False)]
    assert mixed[0].result(20).chunk.actions.shape == (16, 7)
    with pytest.raises(BadValue, match="state has 3 values"):
        mixed[1].result(20)
    engine.close()


def test_what_a_client_that_left_was_waiting_for_is_not_computed():
    engine, began, go = Engine(Counting()), threading.Event(), threading.Event()

    class Slow(Counting):
        def act(self, obs, prefix=None):
            began.set()
            go.wait(10)
            return super().act(obs, prefix)

    first = engine.ask(Slow(), seen())
    assert began.wait(10)
    session = engine.open()
    gone = engine.ask(session, seen())
    assert gone.cancel()
    go.set()
    first.result(10)
    assert engine.ask(session, seen()).result(10).chunk.done == 0.01
    engine.close()


def test_the_metadata_is_plain(server, stock):
    line, metadata = stock(server.address)
    assert json.loads(json.dumps(metadata))["palmar"]["format"] == 1
    line.close()


def test_it_answers_once_before_anybody_asks():
    """And a policy that cannot answer a black picture is served all the same."""
    policy = Alone()
    server = PolicyServer(policy, ServeConfig(port=0))
    server.warm()
    assert policy.asked == 0 and len(policy.seen) == 1  # reset again
    assert server.metrics.count == 0
    policy.act = lambda obs, prefix=None: 1 / 0
    server.warm()
    server.engine.close()
