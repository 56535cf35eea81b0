"""The container files name what is there: files, stages, extras, options, secrets; nobody in them is root."""

import dataclasses
import re
import shlex
import shutil
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from palmar.cli.commands import COMMANDS

ROOT = Path(__file__).parents[2]
yaml = pytest.importorskip("yaml")
COMPOSE = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
LINES = [
    line.strip()
    for line in re.sub(r"\\\n", " ", (ROOT / "deploy/Containerfile").read_text()).splitlines()
    if line.strip() and not line.startswith("#")
]
MADE = "deploy/.env", "deploy/secrets/key.pem", "deploy/secrets/cert.pem", "deploy/robot/arm.toml"
"""What docs/deploy.md has people make in this tree."""


def stages() -> dict[str, tuple[str, list[str]]]:
    """{stage: (what it begins from, its instructions)}."""
    found: dict[str, tuple[str, list[str]]] = {}
    for line in LINES:
        if line.startswith("FROM"):
            _, base, _, name = line.split()
            found[name] = (base, [])
        else:
            found[name][1].append(line)
    return found


def chain(name: str) -> list[str]:
    """The instructions of a stage and of those it begins from, in order."""
    base, own = stages()[name]
    return (chain(base) if base in stages() else []) + own


@pytest.mark.parametrize("target", ["robot", "server"])
def test_an_image_ends_as_a_user_that_is_not_root_and_starts_palmar(target):
    last = chain(target)
    (user,) = [line.split()[1] for line in last if line.startswith("USER")]
    assert user == "palmar" and any(line.startswith("RUN useradd") and "palmar" in line for line in last)
    assert last.index(f"USER {user}") > max(i for i, line in enumerate(last) if line.startswith(("RUN", "COPY")))
    assert 'ENTRYPOINT ["palmar"]' in last


def test_the_server_is_asked_how_it_is_and_draws_without_a_display():
    lines = chain("server")
    assert any(line.startswith("HEALTHCHECK") and "health.py" in line for line in lines)
    assert "ENV MUJOCO_GL=egl" in lines


def test_what_is_copied_is_there():
    for line in (x for x in LINES if x.startswith("COPY")):
        words = line.split()[1:]
        if words[0].startswith("--from="):
            assert words[0].removeprefix("--from=") in stages()
        else:
            assert all((ROOT / w).exists() for w in words[:-1]), line


def test_the_builder_gets_what_is_copied_and_nothing_else():
    copied = {w for x in LINES if x.startswith("COPY") and "--from=" not in x for w in x.split()[1:-1]}
    kept = [x for x in (ROOT / ".dockerignore").read_text().splitlines() if x and not x.startswith("#")]
    let = [x.removeprefix("!") for x in kept if x.startswith("!")]
    assert kept[0] == "*" and copied and sorted(let) == sorted(copied)
    # what the page has people make is not inside of it
    assert not any(made == x or made.startswith(f"{x}/") for made in MADE for x in let)


def test_the_keys_that_the_page_asks_for_are_in_no_repository(tmp_path):
    page = (ROOT / "docs/deploy.md").read_text()
    assert all(Path(name).name in page for name in MADE if not name.endswith(".toml"))
    shutil.copy(ROOT / ".gitignore", tmp_path)
    for name in (*MADE, "deploy/compose.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    git = ["git", "-C", tmp_path]
    subprocess.run([*git, "init", "-q"], check=True)
    listed = subprocess.run(
        [*git, "ls-files", "--others", "--exclude-per-directory=.gitignore"], check=True, capture_output=True, text=True
    )
    assert listed.stdout.split() == [".gitignore", "deploy/compose.yaml"]


def test_packages_are_pinned_and_their_extras_are_there():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    installs = [line for line in LINES if "pip install" in line]
    assert len(installs) == 3
    for line in installs:
        assert "-c constraints.txt" in line
        assert {e for group in re.findall(r"\.\[(.+?)\]", line) for e in group.split(",")} <= set(extras)


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_a_service_runs_a_command_with_options_that_it_has(name):
    service = COMPOSE["services"][name]
    command, *words = service["command"]
    fields = {f.name for f in dataclasses.fields(COMMANDS[command])}
    options = [w for w in words if w.startswith("--")]
    assert options and {o.removeprefix("--").replace("-", "_") for o in options} <= fields
    assert service["build"]["target"] in stages()
    assert (ROOT / "deploy" / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    assert service["profiles"] and service["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_the_key_is_asked_for_and_is_nowhere_in_the_file(name):
    service = COMPOSE["services"][name]
    assert service["environment"]["PALMAR_API_KEY"].startswith("${PALMAR_API_KEY:?")
    paths = {f"/run/secrets/{s}" for s in service["secrets"]}
    assert set(service["secrets"]) <= set(COMPOSE["secrets"])
    used = [w for w in (*service["command"], *service["environment"].values()) if w.startswith("/run/secrets/")]
    assert used and set(used) <= paths
    named = {v.partition(":")[0] for v in service.get("volumes", []) if re.match(r"\w+:", v)}
    assert named <= set(COMPOSE["volumes"])


def test_what_the_page_tells_about_is_in_the_files():
    page = re.sub(r"\\\n", " ", (ROOT / "docs/deploy.md").read_text())
    used = set(re.findall(r"\$\{(\w+):", (ROOT / "deploy/compose.yaml").read_text()))
    assert used == {n for row in re.findall(r"^\| (`[A-Z].*?) \|", page, re.M) for n in re.findall(r"`([A-Z_]+)`", row)}
    for line in (x for x in page.splitlines() if x.startswith("docker compose")):
        words = shlex.split(line.partition("#")[0])
        assert words[words.index("--profile") + 1] in COMPOSE["services"]


@pytest.mark.parametrize("code, ends", [(200, 0), (503, 1)])
def test_the_health_check_ends_as_the_server_answers(code, ends):
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code if self.path == "/healthz" else 404)
            self.end_headers()
            self.wfile.write(b"OK\n")

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        assert health(f"http://127.0.0.1:{server.server_port}/healthz").returncode == ends
    finally:
        server.shutdown()
        server.server_close()


def test_the_health_check_fails_where_nothing_answers():
    done = health("https://127.0.0.1:1/healthz")
    assert done.returncode == 1 and "127.0.0.1:1" in done.stderr


def health(where: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "deploy/health.py"], env={"PALMAR_HEALTH": where}, capture_output=True, text=True
    )
