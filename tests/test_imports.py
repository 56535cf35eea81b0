"""Imports go downhill, and a robot needs neither torch nor MuJoCo."""

import ast
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

import palmar

SOURCE = Path(palmar.__file__).parent
FLOORS = (
    "nouns",
    "robots",
    "description",
    "runtime",
    "sim data",
    "eval",
    "models",
    "adapters",
    "lab",
    "train",
    "transfer",
    "serve hub",
    "agent",
    "certify",
    "cli",
)
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms.split()}
NOUNS = {
    "types", "errors", "checks", "console", "ranges", "magnitudes", "kinematics", "units", "pictures", "robot_parts", "embodiments",
    "links",
    "tables", "shapes", "thresholds", "files",
    "mapping", "policy", "choices",
}  # fmt: skip
ALLOWED = {
    ("policy.py", "palmar.models.checkpoint"): "load_policy is the one place where any policy is loaded by its name.",
    (
        "policy.py",
        "palmar.models.correction",
    ): "load_policy also opens a correction, beside the policy that it belongs to.",
    ("policy.py", "palmar.models.exported"): "load_policy also opens an exported policy, in the same words.",
    (
        "policy.py",
        "palmar.models.translation",
    ): "load_policy also opens a policy that sees translated pictures, in the same words.",
    (
        "embodiments.py",
        "palmar.description.build",
    ): "Embodiment.from_urdf and from_mjcf make a robot from its description.",
    (
        "embodiments.py",
        "palmar.description.dataset",
    ): "Embodiment.from_dataset makes a robot from what was demonstrated.",
    ("embodiments.py", "palmar.description.file"): "Embodiment.from_file reads a robot file.",
}
"""{(file, module that is uphill): why it may be imported}. Such an import is made when the function is called, so that the nouns
need only light packages."""


def room(module: str) -> str:
    parts = module.split(".")
    name = parts[1] if len(parts) > 1 else "nouns"
    return "nouns" if name in NOUNS or name not in FLOOR else name


def imports(path: Path) -> set[str]:
    """Every palmar module a file imports, also inside functions; `from palmar.x import y` may mean palmar.x.y."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(SOURCE.parent).parent.parts
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(x for x in (base, node.module) if x)
            for a in node.names:
                inner = SOURCE.parent.joinpath(*module.split("."), a.name)
                found.add(f"{module}.{a.name}" if inner.is_dir() or inner.with_suffix(".py").exists() else module)
    return {m for m in found if m.split(".")[0] == "palmar"}


FILES = sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_go_downhill(path):
    where = path.relative_to(SOURCE)
    here = room(".".join(("palmar", *where.with_suffix("").parts)))
    for module in imports(path):
        if (str(where), module) in ALLOWED:
            continue
        assert FLOOR[room(module)] <= FLOOR[here], (
            f"{where} ({here}) imports {module} ({room(module)}), which is uphill"
        )
        assert room(module) == here or FLOOR[room(module)] < FLOOR[here], (
            f"{where} ({here}) imports {module} of the same floor"
        )


def test_every_exception_has_a_reason_and_is_needed_and_late():
    for (name, module), reason in ALLOWED.items():
        assert reason.endswith(".") and len(reason.split()) > 4, reason
        assert module in imports(SOURCE / name), f"{name} does not import {module} any more"
        above = [n for n in ast.parse((SOURCE / name).read_text()).body if isinstance(n, ast.ImportFrom)]
        assert not any(n.module == module for n in above), f"{name} imports {module} where it is imported itself"


def test_every_room_is_on_a_floor():
    rooms = {p.name for p in SOURCE.iterdir() if p.is_dir() and any(p.glob("*.py"))}
    assert rooms <= set(FLOOR), f"no floor for {rooms - set(FLOOR)}"
    files = {p.stem for p in SOURCE.glob("*.py")} - {"__init__", "__main__", "cli"}
    assert files == NOUNS, f"files beside the rooms must be nouns: {files - NOUNS}"


HEAVY = ("torch", "mujoco", "pyarrow", "av", "transformers", "matplotlib", "scipy", "PIL", "gymnasium")


def test_the_command_line_and_the_client_of_a_server_need_only_light_packages():
    """They explain themselves, and drive a robot by a policy elsewhere, where nothing else is installed."""
    code = f"""
import sys

class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY!r}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Without())
import palmar.serve.client, palmar.cli.live, palmar.cli.attended
from palmar.cli.main import main
main(["--help"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and "serve" in done.stdout, done.stderr


def modules_of(*rooms: str) -> list[str]:
    """Every module of these rooms."""
    files = [p.relative_to(SOURCE).with_suffix("") for room in rooms for p in sorted((SOURCE / room).rglob("*.py"))]
    return [".".join(("palmar", *p.parts)) for p in files if p.stem != "__init__"]


def check_imported_without(packages: Iterable[str], modules: Iterable[str]) -> None:
    """Imported in a process where these packages cannot be."""
    code = f"import sys\nfor name in {tuple(packages)!r}: sys.modules[name] = None\n" + "\n".join(
        f"import {m}" for m in modules
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_nouns_and_runtime_need_only_light_packages():
    check_imported_without(HEAVY, ["palmar", *(f"palmar.{n}" for n in sorted(NOUNS)), *modules_of("runtime")])


def test_what_a_simulator_is_installed_for_needs_no_torch():
    """palmar[sim] collects, films and evaluates a scripted expert, and identifies an arm, where nothing can learn."""
    modules = modules_of("sim", "data", "eval", "lab", "transfer")
    modules.remove("palmar.lab.bench")  # it times policies
    check_imported_without(["torch"], modules)


def test_what_learns_from_recorded_data_needs_no_simulator():
    """palmar[learn] trains on a data set where MuJoCo is not installed: what it may say and which tasks there are is text."""
    modules = ("train.job", "data.language", "sim.sentences", "sim.refusals", "sim.vocabulary", "sim.tasks")
    check_imported_without(["mujoco"], [f"palmar.{m}" for m in modules])


def test_an_agent_on_a_robot_needs_neither_torch_nor_a_simulator():
    """Where the policy is on a server, and the person says what lies on the table or its grounded heads do."""
    modules = (
        "agent.on_body",
        "agent.perceived",
        "agent.rules.planner",
        "agent.carry_out",
        "cli.agent_body",
        "cli.commands.agent",
    )
    check_imported_without(HEAVY, [f"palmar.{m}" for m in modules])


def loaded(code: str) -> set[str]:
    """The packages from elsewhere that a fresh process imports for this code, by the names they are imported under."""
    program = f"""
import contextlib, io, sys
before = set(sys.modules)
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    {code}
print(*{{name.partition(".")[0] for name in set(sys.modules) - before}} - set(sys.stdlib_module_names) - {{"palmar"}})
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


LIGHT = {"rich", "tyro", "docstring_parser", "typeguard", "typing_extensions"}


def test_importing_palmar_loads_nothing_else_until_a_name_is_asked_for():
    assert loaded("import palmar") == set()
    assert loaded("from palmar import load_policy") == {"numpy"}
    assert loaded("import palmar; [getattr(palmar, name) for name in palmar.__all__]") == {"numpy"}


@pytest.mark.parametrize("words", (["--help"], ["serve", "--help"], ["estop", "--help"], []), ids=" ".join)
def test_help_loads_what_the_command_line_is_made_of_and_not_numpy(words):
    assert loaded(f"from palmar.cli import main; main({words!r})") <= LIGHT


def test_palmar_says_its_names_and_no_others():
    assert set(palmar.__all__) == set(palmar.WHERE) <= set(dir(palmar))
    assert palmar.load_policy is palmar.policy.load_policy
    with pytest.raises(AttributeError, match="'palmar' has no attribute 'load_polcy'"):
        palmar.load_polcy  # noqa: B018
