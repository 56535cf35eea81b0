"""Metrics of a run: what is counted, who reads it, and that nobody who reads can hold it up."""

import json
import re
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from oplog import log_of, write
from prometheus_client.parser import text_string_to_metric_families

import palmar
from palmar.errors import BadValue
from palmar.robots.arm7 import arm7
from palmar.runtime import timing
from palmar.runtime.chunks import ChunkBuffer
from palmar.runtime.control.path import Control
from palmar.runtime.loop import Subscriber, rollout
from palmar.runtime.mock import MockBody
from palmar.runtime.records.runs import read_log
from palmar.runtime.safety.filter import Safety
from palmar.runtime.safety.guards import GUARDS
from palmar.runtime.supervision.controller import Controller
from palmar.runtime.worker import Inline
from palmar.serve import run_metrics
from palmar.serve.metrics import Metrics
from palmar.serve.reach import own_host
from palmar.serve.run_metrics import READERS, RunMetrics, scraped
from palmar.types import ActionChunk

ROBOT = arm7("channels")
ASSETS = Path(palmar.__file__).parent / "assets" / "monitoring"


class Far:
    interface = ROBOT.interface(8)
    person = (0.4, 0.8)

    def act(self, obs, prefix=None) -> ActionChunk:
        if obs.time > 1.5:
            raise ConnectionError("gone")
        actions = np.tile(np.append(ROBOT.home[:7] + 1.0, 1.0), (8, 1)).astype(np.float32)
        return ActionChunk(actions, 0.1, obs.time, 0.25, intervention=self.person[0] <= obs.time < self.person[1])

    def reset(self) -> None: ...


class ByHand(Far):
    person = (0.0, 9.0)


def drive(metrics: RunMetrics, timeout: float = 3.0, *more: Subscriber, policy: Far | None = None) -> None:
    controller = Controller(watchdog=0.6)
    metrics.watch(controller)
    metrics.go_on()
    body, safety = MockBody(ROBOT), Safety(ROBOT, guards=(*GUARDS, controller))
    rollout(
        body, Inline(policy or Far()), body.reset(), chunks=ChunkBuffer(), control=Control(ROBOT, safety),
        subscribers=(controller, metrics, *more), timeout=timeout,
    )  # fmt: skip


def read(address: str) -> str:
    with urllib.request.urlopen(address, timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        return answer.read().decode()


def values(text: str) -> dict[str, float]:
    """{name{labels}: value}."""
    out = {}
    for family in text_string_to_metric_families(text):
        for s in family.samples:
            labels = ",".join(f"{k}={v}" for k, v in sorted(s.labels.items()))
            out[s.name + (f"{{{labels}}}" if labels else "")] = s.value
    return out


def test_what_happened_is_what_is_read() -> None:
    metrics = RunMetrics({"policy": 'mi"ne\n', "robot": "arm7"})
    with scraped(metrics, 0) as address:
        assert not any(k.endswith("_total") for k in values(read(address)))  # nobody has said yet what to count on from
        metrics.go_on()
        before = values(read(address))
        assert before["palmar_run_ticks_total"] == 0 and before["palmar_run_mode{mode=RUN}"] == 1
        assert before["palmar_run_guard_changes_total{guard=velocity}"] == 0  # so that its rate exists
        drive(metrics)
        metrics.ended("timeout", False)
        v = values(read(address))
    assert (
        v["palmar_run_ticks_total"]
        == 150
        == v["palmar_run_tick_seconds_count"]
        == v["palmar_run_tick_late_seconds_count"]
    )
    assert v["palmar_run_mode{mode=HOLD}"] == 1 and v["palmar_run_mode{mode=RUN}"] == 0
    spent = {m: v[f"palmar_run_mode_seconds_total{{mode={m}}}"] for m in ("RUN", "HOLD", "HANDOFF", "ESTOP")}
    assert sum(spent.values()) == pytest.approx(3.0, abs=0.03) and spent["HOLD"] > 0.3
    assert v["palmar_run_interventions_total"] == 1 and v["palmar_run_intervention_seconds_total"] == pytest.approx(
        0.4, abs=0.05
    )
    assert (
        v["palmar_run_policy_failures_total"] > 0 and v["palmar_run_confidence"] == 0.25 and v["palmar_run_estop"] == 0
    )
    assert (
        v["palmar_run_changed_commands_total"]
        >= max(x for k, x in v.items() if k.startswith("palmar_run_guard_changes"))
        > 0
    )
    assert v["palmar_run_episodes_total{outcome=timeout}"] == 1 and v["palmar_run_successes_total"] == 0
    # asked four times, and once a person drove
    assert v["palmar_run_inference_seconds_count"] == 3 and v["palmar_run_inference_seconds_bucket{le=5.0}"] == 3
    assert any(k.startswith("palmar_run_info{policy=mi") and x == 1 for k, x in v.items())


def test_what_a_person_does_says_nothing_of_the_policy() -> None:
    metrics = RunMetrics()
    drive(metrics, 1.0, policy=ByHand())
    assert metrics.takeovers.seconds == pytest.approx(1.0, abs=0.05)
    assert sum(metrics.inference.counts) == 0 and metrics.confidence is None


def test_a_tick_is_late_for_the_report_and_for_the_metrics_alike() -> None:
    assert run_metrics.SLACK is timing.SLACK and timing.Timing().slack == timing.SLACK


def test_an_emergency_stop_is_counted_once() -> None:
    class Presses(Subscriber):
        def on_tick(self, tick) -> None:
            if tick.index == 20:
                metrics.controller.emergency_stop("button")

    metrics = RunMetrics()
    drive(metrics, 1.0, Presses())
    with scraped(metrics, 0) as address:
        v = values(read(address))
    assert v["palmar_run_estops_total"] == 1 and v["palmar_run_estop"] == 1


def test_a_stop_is_counted_however_it_comes_about() -> None:
    """While it holds already, by two buttons, again after a reset, between two runs, and before the first."""
    first, second = Controller(), Controller()
    metrics = RunMetrics()
    metrics.watch(first)
    first.emergency_stop("handshake")
    assert metrics.stops == 1
    first.reset()
    first.hold("rests")
    first.emergency_stop("button")
    first.emergency_stop("collision")
    assert metrics.stops == 2
    metrics.watch(first)
    metrics.watch(second)
    assert metrics.stops == 2
    second.emergency_stop("page")
    assert metrics.stops == 3


def test_earlier_runs_are_counted_on(tmp_path: Path) -> None:
    rows = log_of(tmp_path / "log", [True, False, True], interventions={"n": 1, "seconds": 2.0}, estops=3)
    write(tmp_path / "log", rows[:-1])  # the last goes on
    metrics = RunMetrics()
    metrics.go_on(read_log(tmp_path / "log").runs)
    metrics.ended("done", True)
    assert metrics.episodes == {"done": 2, "timeout": 1} and metrics.successes == 2
    assert (metrics.takeovers.n, metrics.takeovers.seconds, metrics.stops) == (2, 4.0, 6)


def test_readers_that_hang_cost_the_loop_nothing_and_make_room_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_metrics._Handler, "timeout", 0.3)
    metrics = RunMetrics()
    with scraped(metrics, 0) as address:
        port = int(address.rsplit(":", 1)[1].partition("/")[0])
        hanging = []
        for i in range(3 * READERS):
            line = socket.create_connection(("127.0.0.1", port))
            line.sendall(b"" if i % 2 else b"GET /metrics HTT")  # and nothing more; nobody reads either
            hanging.append(line)
        drive(metrics)
        assert metrics.ticks == 150
        deadline = time.monotonic() + 30
        while True:
            try:
                text = read(address)
                break
            except (urllib.error.URLError, ConnectionError):
                assert time.monotonic() < deadline, "no reader is answered any more"
        assert values(text)["palmar_run_ticks_total"] == 150
        for line in hanging:
            line.close()


def test_only_metrics_are_there_and_only_for_this_computer() -> None:
    with scraped(RunMetrics(), 0) as address:
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(address.replace("/metrics", "/"), timeout=10)
        assert address.startswith("http://127.0.0.1:")
        port = int(address.rsplit(":", 1)[1].partition("/")[0])
        with (
            pytest.raises(BadValue, match=f"cannot serve metrics on 127.0.0.1:{port} .*Next: another --metrics"),
            scraped(RunMetrics(), port),
        ):
            pass
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(address, timeout=10)


def asked_as(address: str, host: str) -> int:
    """Status of a request for this address under another name."""
    request = urllib.request.Request(address, headers={"Host": host})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_metrics_are_not_read_by_a_name_that_a_stranger_gave_this_computer() -> None:
    with scraped(RunMetrics(), 0) as address:
        assert asked_as(address, "rebound.example:9470") == 421 == asked_as(address, "localhost.rebound.example")
        for own in ("LocalHost:9470", "127.0.0.1", "[::1]:9470", socket.gethostname().upper()):
            assert asked_as(address, own) == 200, own


@pytest.mark.parametrize(
    ("host", "listens", "own"),
    [
        ("robot.lab:8000", "Robot.Lab", True), ("ROBOT.lab", "robot.lab", True), ("192.168.0.7:8000", "0.0.0.0", True),
        ("[fe80::1]:8000", "::", True), ("", "", False), ("[", "0.0.0.0", False), ("robot.lab.example", "robot.lab", False),
        ("127.0.0.1.example", "127.0.0.1", False),
    ],
)  # fmt: skip
def test_a_name_of_this_computer(host: str, listens: str, own: bool) -> None:
    assert own_host(host, listens) is own


def exposed() -> set[str]:
    """Every name that is served, of a run and of a policy server."""
    metrics = RunMetrics({"policy": "x"})
    drive(metrics)
    metrics.ended("done", True)
    server = Metrics()
    server.answered(0.1, 0.05, 2)
    server.refused("key")
    with scraped(metrics, 0) as address:
        text = read(address) + server.text()
    return {s.name for f in text_string_to_metric_families(text.replace("# EOF", "")) for s in f.samples}


def test_every_metric_of_the_dashboard_is_served() -> None:
    board = json.loads((ASSETS / "grafana.json").read_text())
    queries = [t["expr"] for p in board["panels"] for t in p.get("targets", [])]
    queries.append(board["templating"]["list"][1]["query"]["query"])
    wanted = {name for q in queries for name in re.findall(r"palmar_\w+", q)}
    there = exposed()
    assert len(queries) > 25 and wanted <= there, wanted - there
    shown, used = ({re.sub(r"_(bucket|sum|count|total|created)$", "", n) for n in names} for names in (there, wanted))
    assert shown - used == set(), "served, and on no panel"


def test_the_dashboard_is_laid_out_without_overlap() -> None:
    board = json.loads((ASSETS / "grafana.json").read_text())
    assert len({p["id"] for p in board["panels"]}) == len(board["panels"])
    cells: set[tuple[int, int]] = set()
    for p in board["panels"]:
        g = p["gridPos"]
        own = {(x, y) for x in range(g["x"], g["x"] + g["w"]) for y in range(g["y"], g["y"] + g["h"])}
        assert not own & cells and g["x"] + g["w"] <= 24, p["title"]
        cells |= own


def test_the_scrape_file_reads_both() -> None:
    text = (ASSETS / "prometheus.yml").read_text()
    assert re.findall(r'targets: \["127.0.0.1:(\d+)"\]', text) == ["9470", "8000"]
