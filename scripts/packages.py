"""Build the wheel and the sdist, look at what is in them, and install each extra alone in a fresh environment and use it.

    python scripts/packages.py                    every extra but those of LEFT_OUT
    python scripts/packages.py --all              these as well
    python scripts/packages.py --only data sim    some of them

The extras are read from pyproject.toml. Each needs a function of its name in scripts/smoke.py, and fails without one. The
environment of an extra that contains another (`palmar[sim]` contains `palmar[data]`) begins as a copy of the other's by hard
links, so that torch is unpacked once; pip adds what the extra adds, and `pip check` agrees.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import venv
import zipfile
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = SETTINGS["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
LEFT_OUT = {
    "all": "make setup installs it, and the tests run in it",
    "dev": "make test installs it, and runs it",
    "track": "W&B and Trackio are large; --all",
    "openvino": "its runtime is large; --all",
}
"""{extra: why it is not installed alone each time}. `all` and `dev` need no function in smoke.py."""
UNPINNED = {"track": "Trackio wants Pillow below 13, and constraints.txt pins 13"}
"""{extra: why it is installed without constraints.txt}."""
TOOLS = ("build", *SETTINGS["build-system"]["requires"])
BASE_LIMIT = 76e6  # bytes of the base with all it needs; numpy alone is 58 MB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="also what is usually left out")
    parser.add_argument("--only", nargs="+", metavar="EXTRA", choices=EXTRAS, help="these alone")
    parser.add_argument("--out", type=Path, help="keep wheel and sdist in this folder")
    options = parser.parse_args()
    check_smoke()
    wanted = options.only or [e for e in EXTRAS if e not in LEFT_OUT or (options.all and e not in ("all", "dev"))]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="palmar-packages-") as folder:
        work = Path(folder)
        wheel, sdist = built(work)
        check_contents(wheel, sdist)
        print(
            f"{wheel.name} {wheel.stat().st_size / 1e6:.1f} MB, {sdist.name} {sdist.stat().st_size / 1e6:.1f} MB: as the tree"
        )
        if options.out is not None:
            options.out.mkdir(parents=True, exist_ok=True)
            for package in (wheel, sdist):
                shutil.copy2(package, options.out)
        base = work / "base"
        venv.create(base, with_pip=True, symlinks=True)
        install(base, wheel, "")
        check_size(base)
        smoke(base, "base", work)
        made: dict[str, Future[Path]] = {"": Future()}
        made[""].set_result(base)
        with ThreadPoolExecutor(2) as pool:  # most of the time goes to pip and to one Python process
            # what an extra begins with was begun before it
            for extra in sorted(wanted, key=lambda e: len(contained(e))):
                made[extra] = pool.submit(alone, extra, made[beginning(extra, made)], wheel, work)
            for env in made.values():
                env.result()
    for extra in EXTRAS:
        if extra not in wanted:
            print(f"not installed alone: {extra} ({LEFT_OUT.get(extra, 'not asked for')})")
    print(f"{len(wanted)} extras in {time.monotonic() - began:.0f} s")


def check_smoke() -> None:
    """Every extra has a function in smoke.py, and every public function without an argument that is no extra is `base`."""
    found = {
        n.name
        for n in ast.parse((ROOT / "scripts/smoke.py").read_text()).body
        if isinstance(n, ast.FunctionDef) and not n.args.args and not n.args.vararg
    }
    needed = {"base", *EXTRAS} - {"all", "dev"}
    problems = [f"lacks {name!r}" for name in sorted(needed - found)]
    problems += [f"has {name!r} too much" for name in sorted(found - needed)]
    if problems:
        sys.exit(
            f"scripts/smoke.py {', '.join(problems)}; expected a function for each extra of pyproject.toml, and base"
        )


def contained(extra: str) -> set[str]:
    """The extras of palmar that this one asks for, and those that they ask for."""
    inner = {e for d in EXTRAS.get(extra, ()) for m in re.findall(r"^palmar\[(.+)\]$", d) for e in m.split(",")}
    return inner.union(*(contained(e) for e in inner)) if inner else inner


def beginning(extra: str, made: Iterable[str]) -> str:
    """Which of the extras `made` its environment begins as: the largest that it contains, one with torch before all others."""
    inner = [e for e in made if e == "" or e in contained(extra)]
    return max(inner, key=lambda e: ("learn" in {e, *contained(e)}, len(contained(e))))


def built(work: Path) -> tuple[Path, Path]:
    """The wheel, which was built from the sdist, and the sdist. The tree is copied first: a build folder that lies in it is old."""
    tree, tools = work / "tree", work / "tools"
    for name in tracked():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tree / name)
    venv.create(tools, with_pip=True, symlinks=True)
    pip(tools, "install", "-c", ROOT / "constraints.txt", *TOOLS)
    run(tools / "bin/python", "-m", "build", "--no-isolation", "--outdir", work / "dist", tree)
    run(tools / "bin/python", "-m", "build", "--no-isolation", "--wheel", "--outdir", work / "direct", tree)
    (wheel,), (sdist,) = (work / "dist").glob("*.whl"), (work / "dist").glob("*.tar.gz")
    (direct,) = (work / "direct").glob("*.whl")
    assert hashes(wheel) == hashes(direct), "the sdist builds another wheel than the tree"
    return wheel, sdist


def tracked() -> list[str]:
    """The files of the tree that git knows or would add, and none that .gitignore names, even where git knows it."""
    listed = run("git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    ignored = run("git", "-C", ROOT, "ls-files", "-z", "--cached", "--ignored", "--exclude-per-directory=.gitignore")
    names = dict.fromkeys(listed.split("\0"))  # once each
    return [n for n in names if n and n not in ignored.split("\0") and (ROOT / n).is_file()]


def hashes(wheel: Path) -> dict[str, str]:
    """{file in the wheel: digest of what it holds}."""
    with zipfile.ZipFile(wheel) as archive:
        return {n: hashlib.sha256(archive.read(n)).hexdigest() for n in archive.namelist()}


def check_contents(wheel: Path, sdist: Path) -> None:
    """The wheel holds every file of src/palmar, the docs, and nothing else but its metadata; no package holds tests or caches."""
    package = {name.removeprefix("src/") for name in tracked() if name.startswith("src/palmar/")}
    held = {n for n in hashes(wheel) if not n.startswith(f"palmar-{PROJECT['version']}.dist-info/")}
    pages = {n for n in tracked() if n == "README.md" or re.fullmatch(r"docs/[^/]+\.md", n)}
    docs = {f"palmar/assets/docs/{Path(n).name}" for n in pages}  # setup.py puts them there, for `palmar chat`
    assert held == package | docs, (
        f"the wheel lacks {(package | docs) - held or 'nothing'}, and has {held - package - docs or 'nothing'} too much"
    )
    needed = {
        "palmar/py.typed",
        "palmar/assets/palmar-tiny/model.safetensors",
        "palmar/data/page.html",
        "palmar/eval/report.html",
    }
    assert needed <= held, f"the wheel lacks {needed - held}"
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"palmar-{PROJECT['version']}.dist-info/METADATA").decode()
    assert set(re.findall(r"^Provides-Extra: (.+)$", metadata, re.M)) == set(EXTRAS)
    with tarfile.open(sdist) as archive:
        names = [n.partition("/")[2] for n in archive.getnames()]
    bad = [n for n in (*names, *held) if n.startswith("tests/") or "__pycache__" in n or n.endswith((".pyc", ".log"))]
    assert not bad, bad
    assert {f"src/{n}" for n in held - docs} | pages | {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "constraints.txt",
    } <= set(names)


def alone(extra: str, largest: Future[Path], wheel: Path, work: Path) -> Path:
    """The environment of one extra, made from that of the largest one it contains, installed and used."""
    env = work / f"env-{extra}"
    clone(largest.result(), env)
    install(env, wheel, extra)
    smoke(env, extra, work)
    return env


def clone(source: Path, to: Path) -> None:
    """An environment with the same packages, by hard links. Its scripts, which name the other's Python, are left out."""
    venv.create(to, with_pip=False, symlinks=True)
    site = Path("lib") / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    run("cp", "-al", f"{source / site}/.", to / site)


def install(env: Path, wheel: Path, extra: str) -> None:
    what = f"palmar[{extra}] @ {wheel.as_uri()}" if extra else str(wheel)
    pinned = () if extra in UNPINNED else ("-c", ROOT / "constraints.txt")
    pip(env, "install", *pinned, what)
    pip(env, "check")


def check_size(env: Path) -> None:
    """Print what the base weighs without pip, and hold it to `BASE_LIMIT`."""
    site = next(env.glob("lib/*/site-packages"))
    own = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence")
    sizes = {
        p.name: sum(f.stat().st_size for f in (p.rglob("*") if p.is_dir() else [p]) if f.is_file() and f.suffix != ".pyc")
        for p in site.iterdir() if not p.name.startswith(own)
    }  # fmt: skip
    largest = sorted(sizes, key=lambda n: -sizes[n])[:5]
    shown = ", ".join(f"{n} {sizes[n] / 1e6:.1f}" for n in largest)
    print(f"base: {sum(sizes.values()) / 1e6:.1f} MB without bytecode ({shown})")
    assert sum(sizes.values()) < BASE_LIMIT, f"the base is larger than {BASE_LIMIT / 1e6:.0f} MB"


def smoke(env: Path, extra: str, work: Path) -> None:
    folder = work / f"smoke-{extra}"
    folder.mkdir()
    began = time.monotonic()
    run(env / "bin/python", "-I", ROOT / "scripts/smoke.py", extra, cwd=folder)
    print(f"{extra}: good, {time.monotonic() - began:.1f} s", flush=True)


def pip(env: Path, *words: str | Path) -> None:
    options = ("--no-compile",) if words[0] == "install" else ()
    run(env / "bin/python", "-m", "pip", words[0], "-q", "--disable-pip-version-check", *options, *words[1:])


def run(*words: str | Path, cwd: Path | None = None) -> str:
    """What a program prints; its own words where it fails."""
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, cwd=cwd)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))}\nended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
