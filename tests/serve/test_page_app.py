"""The page against strangers: other pages in the same browser, names of others, what is too large, too many, or never read."""

import base64
import hashlib
import json
import re
import socket
import tracemalloc
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from paged import PATIENCE, Browser, operated, until
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from palmar.serve.page.app import PAGE, policy_of
from palmar.serve.page.config import PageConfig
from palmar.serve.page.hub import IN_FLIGHT, SURE, Allowance, Hub, Viewer
from palmar.serve.page.messages import Broken, framed, receive, text_of


@pytest.fixture(scope="module")
def shown():
    with operated(PageConfig(port=0, viewers=4, patience=1.0)) as session:
        session.run()
        yield session


def answer_of(url, data=None, **headers):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode(), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), error.headers


def test_the_page_is_whole_and_asks_nobody_else(shown):
    status, html, headers = answer_of(shown.address)
    assert status == 200 and html == PAGE.read_text("utf-8")
    assert not re.findall(r"""(?:src|href)=["'](?!data:,)""", html) and "http://" not in html.replace(
        "http://www.w3.org/2000/svg", ""
    )
    policy = headers["Content-Security-Policy"]
    script = re.search(r"<script>(.*?)</script>", html, re.DOTALL)[1]
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy
    assert "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert not re.findall(r"<[^>]+ (?:style|on\w+)=", html.partition("<script>")[0])  # which that policy would not run


def test_health(shown):
    assert answer_of(shown.address + "/healthz")[:2] == (200, "OK\n")


def test_a_name_that_somebody_else_gave_this_machine_is_refused(shown):
    """DNS rebinding: a stranger's page whose name points here has the stranger's name in Host and Origin."""
    port = shown.address.rpartition(":")[2]
    assert answer_of(shown.address, Host=f"evil.example:{port}")[0] == 421
    assert answer_of(shown.address + "/stop", b"{}", Host=f"evil.example:{port}")[0] == 403
    for name in ("localhost", "127.0.0.1", socket.gethostname()):
        assert answer_of(shown.address, Host=f"{name}:{port}")[0] == 200


@pytest.mark.parametrize("path", ["/live", "/hand"])
def test_another_page_in_the_same_browser_is_refused(shown, path):
    where = shown.address.replace("http", "ws", 1) + path
    with pytest.raises(InvalidStatus, match="403"):
        connect(where, origin="http://evil.example").__enter__()
    assert answer_of(shown.address + "/stop", b"{}", Origin="http://evil.example")[0] == 403
    with connect(where, origin=shown.address) as line:
        line.send('{"key": ""}')
        assert line.recv(PATIENCE)


def test_too_many_viewers(shown):
    browsers = [Browser(shown.address) for _ in range(4)]
    try:
        [b.heard("role") for b in browsers]
        for path in ("/hand", "/live"):
            with connect(shown.address.replace("http", "ws", 1) + path) as line:
                line.send("{}")
                with pytest.raises(ConnectionClosed) as closed:
                    while True:
                        line.recv(PATIENCE)
                assert closed.value.rcvd.code == 4403
    finally:
        [b.close() for b in browsers]


@pytest.mark.parametrize(
    "message",
    [
        "",
        "{",
        "[]",
        "7",
        '"stop"',
        '{"t": ' * 900,
        "\x00",
        '{"t": "keys", "down": ' + "[" * 900,
        b"\x93\xff\xff",
        "x" * 5000,
    ],
)
def test_nonsense_ends_its_own_connection_alone(shown, message):
    other = Browser(shown.address)
    with connect(shown.address.replace("http", "ws", 1) + "/hand") as line:
        line.send("{}")
        line.send(message)
        with pytest.raises(ConnectionClosed):
            while True:
                line.recv(PATIENCE)
    other.say("drive", on=True)
    until(lambda: any(m.get("driver") for m in other.told), "the page is gone")
    other.close()


@pytest.mark.parametrize(
    "message",
    [
        {"t": "shutdown"}, {"t": None}, {}, {"t": "keys", "down": 7}, {"t": "keys", "down": [None, {}, "w" * 99]},
        {"t": "instruct", "text": {"a": 1}}, {"t": "answer", "id": -1}, {"t": "drive"}, {"t": "hold", "who": "boss"},
        {"t": "stop", "id": "x"},
    ],
)  # fmt: skip
def test_what_is_nearly_a_request_breaks_nothing(message):
    hub, said = Hub(), []
    hub.say = said.append
    hand = hub.enter("ann")
    hub.wants(hand, {"t": "drive", "on": True})
    hub.wants(hand, message)
    for head in said:
        assert head["who"] == "ann" and len(json.dumps(head)) < 2000
        assert all(isinstance(k, str) and len(k) <= 16 for k in head.get("down", []))


def test_who_sends_too_much_is_let_go(shown):
    with connect(shown.address.replace("http", "ws", 1) + "/hand") as line:
        line.send("{}")
        with pytest.raises(ConnectionClosed) as closed:
            for _ in range(100_000):
                line.send('{"t": "hold too often"}')
            while True:
                line.recv(PATIENCE)
        assert closed.value.rcvd is None or closed.value.rcvd.code == 4429


def test_a_viewer_that_never_reads_is_let_go_and_costs_the_others_nothing(shown):
    """It takes the first round and confirms none."""
    with connect(shown.address.replace("http", "ws", 1) + "/live", max_size=None) as lazy:
        lazy.send("{}")
        other = Browser(shown.address)
        until(lambda: other.pictures.get("front", 0) > 5, "no pictures")
        rounds = 0
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                message = lazy.recv(PATIENCE)
                rounds += isinstance(message, str) and json.loads(message)["t"] == "round"
        assert closed.value.rcvd.code == 4408 and rounds <= IN_FLIGHT
        before = other.pictures["front"]
        until(lambda: other.pictures["front"] > before + 5, "the other is let go as well")
        other.close()


def test_a_browser_that_says_no_key_in_time_is_let_go(shown):
    with connect(shown.address.replace("http", "ws", 1) + "/hand") as line, pytest.raises(ConnectionClosed) as closed:
        line.recv(PATIENCE)
    assert closed.value.rcvd.code == 4401


def test_a_slow_viewer_sees_the_newest():
    hub, viewer = Hub(), Viewer("slow")
    hub.viewers.add(viewer)
    for i in range(100):
        hub.told({"t": "state", "n": i})
        hub.picture("front", str(i).encode())
        hub.round(viewer)
    assert viewer.sent == IN_FLIGHT
    viewer.confirmed = viewer.sent
    state, picture, _ = hub.round(viewer)
    assert json.loads(state)["n"] == 99 and picture == b"99"
    assert hub.round(viewer) == []


def test_a_day_of_states_is_no_larger_than_an_hour():
    """864 000 states a day at 10 Hz: what is kept does not grow with their number."""
    hub, viewer = Hub(), Viewer("day")
    hub.viewers.add(viewer)

    def shown(turns):
        for i in turns:
            hub.told({"t": "state", "time": i / 10, "confidence": [[i / 10, 0.5]], "history": [["x", i]] * 30})
            hub.picture("front", bytes(3000))
            hub.round(viewer)
            viewer.confirmed = viewer.sent

    tracemalloc.start()
    try:
        shown(range(1000))
        before = tracemalloc.get_traced_memory()[0]
        shown(range(1000, 6000))
        assert tracemalloc.get_traced_memory()[0] - before < 50_000
    finally:
        tracemalloc.stop()
    assert len(hub.sure) == SURE


def test_confidence_of_another_run_takes_the_place_of_the_last():
    hub = Hub()
    hub.told({"t": "state", "confidence": [[1.0, 0.1], [2.0, 0.2]]})
    hub.told({"t": "state", "confidence": [[1.0, 0.1], [2.0, 0.2], [3.0, 0.3]]})
    assert list(hub.sure) == [[1.0, 0.1], [2.0, 0.2], [3.0, 0.3]]
    hub.told({"t": "state", "confidence": [[0.5, 0.9]]})
    assert list(hub.sure) == [[0.5, 0.9]]


def test_names_are_unique_and_plain():
    hub = Hub()
    names = [hub.enter(name).name for name in ("ann", "ann", "ann", "", "\x1b[31mred", "x" * 99)]
    assert len(set(names)) == 6 and all(n.isprintable() and len(n) <= 24 for n in names)


def test_a_browser_that_reads_no_answers_keeps_the_newest():
    hub = Hub()
    hand = hub.enter("ann")
    for i in range(1000):
        hub.told({"t": "did", "id": f"ann/{i}"})
    assert hand.told.qsize() == 64
    last = [hand.told.get_nowait() for _ in range(64)][-1]
    assert last["id"] == 999


def test_an_allowance():
    allowed = Allowance(10.0)
    assert sum(allowed.take() for _ in range(1000)) in range(10, 14)
    allowed._last -= 1.0
    assert sum(allowed.take() for _ in range(1000)) in range(10, 14)


def test_messages_between_the_processes():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"".join(framed({"t": "a", "x": float("nan"), "y": [float("inf"), 1]}, b"pixels")))
        assert receive(theirs) == ({"t": "a", "x": None, "y": [None, 1]}, b"pixels")
        for wrong in (b"\xff" * 8, framed({"x": 1})[0], b"\x01\x00\x00\x00\x00\x00\x00\x00{"):
            ours.sendall(wrong)
            with pytest.raises(Broken):
                receive(theirs)
        ours.close()
        with pytest.raises(Broken, match="closed"):
            receive(theirs)
    assert text_of({"a": Path("x")}) == '{"a": "x"}'


def test_the_policy_of_contents_names_every_script():
    assert policy_of("<script>1</script><style>2</style><script>3</script>").count("'sha256-") == 3
