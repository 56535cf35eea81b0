"""The page against strangers: other pages in the same browser, names of others, what is too large, too many, or never read."""

import asyncio
import base64
import hashlib
import json
import re
import socket
import urllib.error
import urllib.request
from typing import ClassVar

import pytest
from paged import PATIENCE, Browser, operated, until
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from palmar.serve.page.app import PAGE, _show
from palmar.serve.page.config import PageConfig
from palmar.serve.page.hub import IN_FLIGHT, Viewer


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


def test_a_viewer_is_let_go_for_what_it_does_not_confirm_and_not_for_having_nothing_to_see():
    """It was, when a run took longer than `patience` to start: with the first picture after that, and its driver with it."""

    class Line:
        def __init__(self):
            self.sent, self.closed = [], False

        async def send_text(self, text):
            self.sent.append(text)

        async def close(self, code):
            self.closed = True

    class Rounds:
        next: ClassVar[list[str]] = []

        def round(self, viewer):
            out, self.next = self.next, []
            viewer.sent += len(out)
            return out

    async def story():
        line, rounds, viewer = Line(), Rounds(), Viewer("somebody")
        showing = asyncio.create_task(_show(line, rounds, viewer, 0.3))
        for told in ("about", "state"):
            await asyncio.sleep(0.6)  # nothing to see for longer than its patience
            rounds.next = [told]
            viewer.wake.set()
            await asyncio.sleep(0.05)
            assert line.sent[-1] == told and not showing.done() and not line.closed
            viewer.confirmed = viewer.sent
            viewer.wake.set()
        await asyncio.sleep(0.05)
        rounds.next = ["not confirmed"]
        viewer.wake.set()
        await asyncio.wait_for(showing, PATIENCE)
        assert line.closed

    asyncio.run(story())


def test_a_browser_that_says_no_key_in_time_is_let_go(shown):
    with connect(shown.address.replace("http", "ws", 1) + "/hand") as line, pytest.raises(ConnectionClosed) as closed:
        line.recv(PATIENCE)
    assert closed.value.rcvd.code == 4401


def test_a_stop_that_is_too_long_is_refused_before_it_is_read():
    """Without the key, nobody fills the memory of the robot's computer."""
    with operated(PageConfig(port=0, key="secret")) as session:
        host, port = session.address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as line:
            line.sendall(b"POST /stop HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n" + b"x" * 8192)
            assert line.recv(4096).split(b"\r\n")[0].split()[1] == b"401"


def test_a_policy_server_cannot_be_stopped_from_its_page():
    with operated(kind="server") as session:
        until(lambda: answer_of(session.address + "/stop", b"{}")[0] == 404, "it says that it stops something")
