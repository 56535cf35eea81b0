"""What the page's process knows: the newest for each browser, who drives, and nothing that grows."""

import json
import socket
import tracemalloc
from pathlib import Path

import pytest

from palmar.serve.allowance import Allowance
from palmar.serve.page.app import policy_of
from palmar.serve.page.hub import IN_FLIGHT, LAG, SURE, Hub, Viewer
from palmar.serve.page.messages import Broken, framed, receive, text_of


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


def test_what_a_slow_line_says_is_held_is_held_no_more():
    """It is told the time and says it again: what is older than `LAG` counts for nothing."""
    hub, said = Hub(), []
    hub.say = said.append
    hand = hub.enter("ann")
    hub.wants(hand, {"t": "drive", "on": True})
    hub.beat()
    beat = [hand.told.get_nowait() for _ in range(hand.told.qsize())][-1]
    assert beat["t"] == "beat"
    late = beat["n"] - round(1000 * LAG) - 50
    for n, fresh in ((beat["n"], True), (late, False), (beat["n"] + 60_000, False), (None, False), ("1", False)):
        said.clear()
        hub.wants(hand, {"t": "keys", "down": ["w"], "beat": n})
        assert bool(said) is fresh, n


def test_nobody_types_what_is_no_key_of_the_page():
    hub, said = Hub(), []
    hub.say = said.append
    hand = hub.enter("ann")
    hub.wants(hand, {"t": "drive", "on": True})
    for key in ("\t", "enable", 7, None, "w"):
        hub.wants(hand, {"t": "press", "key": key})
    assert [h["key"] for h in said] == ["", "", "", "", "w"]
