"""A checkpoint or a data set to a hub: looked at before, in one commit, private unless said otherwise."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palmar.errors import BadFile, BadValue
from palmar.eval.results import Results
from palmar.hub.card import check_licence, dataset_card, model_card
from palmar.hub.connection import Repository, connect, endpoint, token, told
from palmar.hub.contents import CARD, TREES, Contents, look


@dataclass(frozen=True)
class Pushed:
    """commit: 40 hex digits, to be pinned by who pulls. tag: of a data set. left_out: files that stayed here."""

    repository: Repository
    url: str
    commit: str
    tag: str
    private: bool
    files: int
    left_out: tuple[str, ...]


def push(
    folder: str | Path, name: str, licence: str = "", results: str | Path | None = None, public: bool = False
) -> Pushed:
    """Make OWNER/NAME hold what the folder holds. licence: of the card, which is written unless the folder has a README.md.
    results: a file of `palmar eval --out`, for the card of a checkpoint.

    Of a data set the trees meta, data and videos are replaced as a whole, and the tag of its version is set. Raises `BadFile`,
    `BadValue`, before anything is sent where the folder, the name or the licence is not right.
    """
    contents = look(folder)
    repository = Repository(Repository.parse(name).name, contents.kind)
    if name.startswith("datasets/") and contents.kind != "dataset":
        raise BadValue(f"'{folder}' holds a checkpoint; '{name}' is the name of a data set. Next: {repository}")
    if results is not None and contents.kind == "dataset":
        raise BadValue(f"results '{results}' for a data set; expected them of a checkpoint. Next: leave --results out")
    if contents.has_card and (licence or results is not None):
        raise BadValue(
            f"'{contents.folder / CARD}' is the card already; a licence and results are for one that is written. Next: leave "
            "--license and --results out, or take README.md away"
        )
    tag = _checked(contents)
    card = None if contents.has_card else _card(contents, repository.name, licence, results)
    if not token():
        raise BadValue("HF_TOKEN is not set; pushing needs a token with the right to write. Next: export HF_TOKEN")
    api = connect()
    with told(repository, "written"):
        api.whoami()
        private, there = _made(api, repository, public)
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        added = [CommitOperationAdd(n, str(contents.folder / n)) for n in contents.files]
        if card is not None:
            added.append(CommitOperationAdd(CARD, card.encode()))
        gone = [n for n in there if contents.kind == "dataset" and n.startswith(TREES) and n not in contents.files]
        done = api.create_commit(
            repository.name, [*added, *(CommitOperationDelete(n) for n in gone)], commit_message="palmar push",
            repo_type=repository.kind,
        )  # fmt: skip
        if tag:
            _tag(api, repository, tag, done.oid)
    url = f"{endpoint()}/{repository}"
    return Pushed(repository, url, done.oid, tag, private, len(added), contents.left_out)


def _checked(contents: Contents) -> str:
    """The version tag of a data set, "" of a checkpoint. Raises `BadFile` where it does not open."""
    if contents.kind == "model":
        about = _json(contents.folder / "config.json")
        if about.get("format") == "palmar-checkpoint":
            from palmar.models import checkpoint

            checkpoint.check(contents.folder)
        else:
            from palmar.models.tensors import read_header

            read_header(contents.folder / "model.safetensors")
        return ""
    from palmar.data.format import VERSION
    from palmar.data.reader import Dataset

    found = Dataset(contents.folder)
    version = found.version
    found.close()
    if version != VERSION:
        raise BadFile(
            f"'{contents.folder}' is a data set of version {version}; LeRobot loads {VERSION} by its tag. Next: palmar import "
            f"{contents.folder} --out NEW"
        )
    return VERSION


def _json(path: Path) -> dict[str, Any]:
    try:
        about = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as e:
        raise BadFile(f"'{path}' is damaged ({type(e).__name__}). Next: copy the folder again from its source") from e
    if not isinstance(about, dict):
        raise BadFile(f"'{path}' holds no object. Next: copy the folder again from its source")
    return about


def _card(contents: Contents, name: str, licence: str, results: str | Path | None) -> str:
    check_licence(licence)
    if contents.kind == "dataset":
        return dataset_card(contents.folder, name, licence)
    return model_card(contents.folder, name, licence, None if results is None else Results.load(results))


def _made(api: Any, repository: Repository, public: bool) -> tuple[bool, list[str]]:
    """(whether it is private, the files in it) of the repository, which is made where there is none. Raises `BadValue` for one
    that everybody can read, unless that was said."""
    from huggingface_hub.errors import RepositoryNotFoundError

    with suppress(RepositoryNotFoundError):
        info = api.repo_info(repository.name, repo_type=repository.kind)
        if not info.private and not public:
            raise BadValue(
                f"'{repository}' is there and public; what is pushed could be read by all. Next: --public, or another name"
            )
        return bool(info.private), [s.rfilename for s in info.siblings or ()]
    api.create_repo(repository.name, repo_type=repository.kind, private=not public)
    return not public, []


def _tag(api: Any, repository: Repository, tag: str, commit: str) -> None:
    from huggingface_hub.errors import HfHubHTTPError

    with suppress(HfHubHTTPError):  # there is none yet
        api.delete_tag(repository.name, tag=tag, repo_type=repository.kind)
    api.create_tag(repository.name, tag=tag, revision=commit, repo_type=repository.kind)
