"""A checkpoint or a data set from a hub: of one commit, each file compared with what the hub says of it, whole or not at all."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palmar.errors import BadFile, brief, unusable
from palmar.hub.connection import Repository, connect, endpoint, token, told
from palmar.hub.contents import PICKLES, TAKEN, hidden, inside

PIECE = 1 << 20


@dataclass(frozen=True)
class Pulled:
    """commit: 40 hex digits, which `revision` takes. left_out: files that were not fetched."""

    repository: Repository
    folder: Path
    commit: str
    files: int
    size: int
    left_out: tuple[str, ...]


def pull(name: str, out: str | Path, revision: str = "") -> Pulled:
    """Fetch OWNER/NAME or datasets/OWNER/NAME into a new folder. revision: a branch, a tag or a commit; not given: the tag v3.0
    of a data set that has it, else main. Either is pinned to its commit before the first file.

    Fetched beside `out` and renamed: what fails leaves nothing. Raises `BadFile`, `BadValue`.
    """
    repository, folder = Repository.parse(name), Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadFile(f"'{folder}' is there already. Next: another --out; nothing is replaced")
    api = connect()
    with told(repository, "read"):
        info = _info(api, repository, revision)
    wanted, left_out = _chosen(repository, info)
    size = sum(int(f.size or 0) for f in wanted)
    try:
        made = [p for p in (folder.parent, *folder.parent.parents) if not p.exists()]
        folder.parent.mkdir(parents=True, exist_ok=True)
        if size > shutil.disk_usage(folder.parent).free:
            raise BadFile(
                f"'{repository}' has {size / 1e9:.1f} GB, more than '{folder.parent}' has room for. Next: another --out"
            )
        staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    except OSError as e:
        raise unusable(e, folder, writing=True) from e
    try:
        _fetch(repository, info.sha, wanted, staging)
        _opens(repository, staging)
        staging.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        staging.rename(folder)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        for path in made:
            if path.exists() and not any(path.iterdir()):
                path.rmdir()
        raise
    return Pulled(repository, folder, info.sha, len(wanted), size, tuple(left_out))


def _info(api: Any, repository: Repository, revision: str) -> Any:
    from huggingface_hub.errors import RevisionNotFoundError

    def asked(of: str | None) -> Any:
        return api.repo_info(repository.name, repo_type=repository.kind, revision=of, files_metadata=True)

    if not revision and repository.kind == "dataset":
        from palmar.data.format import VERSION

        try:
            return asked(VERSION)
        except RevisionNotFoundError:
            return asked(None)
    return asked(revision or None)


def _chosen(repository: Repository, info: Any) -> tuple[list[Any], list[str]]:
    """(files to fetch, names that are left). Raises `BadFile` for a repository that is not what it should be."""
    if not re.fullmatch(r"[0-9a-f]{40}", str(info.sha)):
        raise BadFile(
            f"the hub names commit '{info.sha}' of '{repository}'; expected 40 hex digits. Next: check HF_ENDPOINT"
        )
    files = list(info.siblings or ())
    for f in files:
        if not inside(f.rfilename):
            raise BadFile(
                f"'{repository}' has a file called '{f.rfilename}', which is no name inside a folder. Next: do not use it"
            )
    wanted = [f for f in files if Path(f.rfilename).suffix in TAKEN and not hidden(f.rfilename)]
    left = [f.rfilename for f in files if f not in wanted and not hidden(f.rfilename)]
    if unsaid := [f.rfilename for f in wanted if not _digest(f)]:
        raise BadFile(
            f"the hub names no digest of '{unsaid[0]}' of '{repository}', so what comes could not be compared; expected one of "
            "each file. Next: check HF_ENDPOINT, or another hub"
        )
    names, pickled = {f.rfilename for f in wanted}, [n for n in left if Path(n).suffix.lower() in PICKLES]
    needed = ("meta/info.json",) if repository.kind == "dataset" else ("config.json", "model.safetensors")
    if missing := [n for n in needed if n not in names]:
        more = (
            f" It has '{pickled[0]}', a format that can run code when opened, which palmar does not fetch."
            if pickled
            else ""
        )
        raise BadFile(f"'{repository}' has no {missing[0]}.{more} Next: a repository with {' and '.join(needed)}")
    return wanted, left


def _fetch(repository: Repository, commit: str, files: list[Any], folder: Path) -> None:
    from huggingface_hub import hf_hub_download

    for f in files:
        with told(repository, "read"):
            hf_hub_download(
                repository.name, f.rfilename, repo_type=repository.kind, revision=commit, local_dir=folder,
                endpoint=endpoint(), token=token() or False,
            )  # fmt: skip
        _compare(repository, f, folder / f.rfilename)
    shutil.rmtree(folder / ".cache", ignore_errors=True)


def _digest(said: Any) -> str:
    """What the hub says a file is: the SHA-256 of a large one, git's digest of a small; "" where it says nothing."""
    return str((said.lfs.sha256 if said.lfs else said.blob_id) or "")


def _compare(repository: Repository, said: Any, path: Path) -> None:
    """Raise `BadFile` unless a file has the length and the digest that the hub says: SHA-256 of a large one, git's of a small."""
    size = path.stat().st_size
    large = said.lfs
    digest = hashlib.sha256() if large else hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    if (said.size is not None and size != said.size) or digest.hexdigest() != _digest(said):
        raise BadFile(
            f"'{said.rfilename}' of '{repository}' came damaged ({size} bytes of {said.size}). Next: try again"
        )


def _opens(repository: Repository, folder: Path) -> None:
    """Raise `BadFile` unless what came is a data set or a policy."""
    try:
        if repository.kind == "dataset":
            from palmar.data.reader import Dataset

            Dataset(folder).close()
            return
        from palmar.models import checkpoint
        from palmar.models.tensors import read_header

        read_header(folder / "model.safetensors")
        if b'"palmar-checkpoint"' in (folder / "config.json").read_bytes():
            checkpoint.check(folder)
    except BadFile as e:
        said = str(e).replace(str(folder), str(repository)).partition(" Next:")[0]
        raise BadFile(
            f"what came of '{repository}' does not open: {said} Next: tell who made it, or another --revision"
        ) from e
    except (KeyError, TypeError, ValueError) as e:
        raise BadFile(f"what came of '{repository}' does not open ({brief(e)}). Next: another --revision") from e
