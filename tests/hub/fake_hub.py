"""A hub for tests: the requests that huggingface_hub makes for a push and a pull, answered from memory on a loopback port."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_writer"
LARGE = ".safetensors", ".mp4", ".parquet"  # as on the hub: stored by their SHA-256


@dataclass
class Stored:
    private: bool = True
    commits: list[tuple[str, dict[str, bytes]]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        revision = self.tags.get(revision, revision)
        if revision == "main":
            return self.commits[-1]
        return next((c for c in self.commits if c[0] == revision), None)

    def commit(self, files: dict[str, bytes]) -> str:
        said = hashlib.sha1(json.dumps([len(self.commits), sorted((n, len(d)) for n, d in files.items())]).encode())
        self.commits.append((said.hexdigest(), files))
        return said.hexdigest()


@dataclass
class FakeHub:
    """repositories: by "models/OWNER/NAME" or "datasets/OWNER/NAME". cut: names of files whose bytes stop in the middle, each time.
    wrong: files that come with other bytes of the same length. unsaid: files of which
    no digest and no size is named. requests: (method, path, token)."""

    address: str = ""
    repositories: dict[str, Stored] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)
    wrong: set[str] = field(default_factory=set)
    unsaid: set[str] = field(default_factory=set)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    uploads: dict[str, bytes] = field(default_factory=dict)

    def add(self, name: str, files: dict[str, bytes], private: bool = False) -> str:
        return self.repositories.setdefault(name, Stored(private)).commit(files)


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    hub = FakeHub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None: ...

    def __getattr__(self, name: str) -> Any:
        """do_GET, do_POST, …: one answer for all."""
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def _answer(self) -> None:
        body = self._body()
        path = unquote(urlsplit(self.path).path)
        self.token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        self.hub.requests.append((self.command, path, self.token))
        if self.token not in ("", TOKEN):
            return self._say(401, {"error": "Invalid credentials in Authorization header"})
        if path == "/api/whoami-v2":
            return self._say(200, {"type": "user", "name": "me"}) if self.token else self._say(401, {"error": "none"})
        if path == "/api/validate-yaml":
            return self._say(200, {"errors": [], "warnings": []})
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if match := re.fullmatch(r"/upload/(\w+)", path):
            self.hub.uploads[match[1]] = body
            return self._say(200, {})
        if match := re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            return self._batch(json.loads(body))
        if match := re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)(?:/(\w+)/(.+))?", path):
            return self._about(match[1], match[2], match[3] or "", match[4] or "", body)
        if match := re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self._file(f"{match[1] or 'models/'}{match[2]}", match[3], match[4])
        return self._say(404, {"error": f"no such request: {path}"})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _create(self, asked: dict[str, Any]) -> None:
        kind = f"{asked.get('type') or 'model'}s"
        name = f"{asked.get('organization') or 'me'}/{asked['name']}"
        if not self.token:
            return self._say(401, {"error": "no token"})
        private = asked.get("visibility") == "private" if "visibility" in asked else bool(asked.get("private"))
        self.hub.repositories[f"{kind}/{name}"] = Stored(private)
        return self._say(200, {"url": f"{self.hub.address}/{name}"})

    def _about(self, kind: str, name: str, verb: str, rest: str, body: bytes) -> None:
        found = self.hub.repositories.get(f"{kind}/{name}")
        if found is None or (found.private and not self.token):
            return self._say(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        if verb == "preupload":
            files = json.loads(body)["files"]
            modes = [
                {
                    "path": f["path"],
                    "uploadMode": "lfs" if f["path"].endswith(LARGE) else "regular",
                    "shouldIgnore": False,
                }
                for f in files
            ]
            return self._say(200, {"files": modes})
        if verb == "commit":
            return self._commit(found, body)
        if verb == "tag" and self.command == "DELETE":
            there = found.tags.pop(rest, None)
            return self._say(200 if there else 404, {}, {} if there else {"X-Error-Code": "RevisionNotFound"})
        if verb == "tag":
            found.tags[json.loads(body)["tag"]] = rest
            return self._say(200, {})
        if verb in ("", "revision"):
            if not found.commits:
                return self._say(200, {"id": name, "sha": "0" * 40, "private": found.private, "siblings": []})
            at = found.at(rest or "main")
            if at is None:
                return self._say(404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"})
            return self._say(200, self._info(name, found, *at))
        return self._say(404, {"error": f"no such request: {verb}"})

    def _info(self, name: str, found: Stored, sha: str, files: dict[str, bytes]) -> dict[str, Any]:
        rows = []
        for path, data in files.items():
            row: dict[str, Any] = {"rfilename": path, "size": len(data), "blobId": git_digest(data)}
            if path.endswith(LARGE):
                row["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
            rows.append({"rfilename": path} if path in self.hub.unsaid else row)
        return {"id": name, "sha": sha, "private": found.private, "siblings": rows}

    def _commit(self, found: Stored, body: bytes) -> None:
        if not self.token:
            return self._say(401, {"error": "no token"})
        files = dict(found.commits[-1][1]) if found.commits else {}
        for line in body.splitlines():
            row = json.loads(line)
            value = row["value"]
            if row["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif row["key"] == "lfsFile":
                files[value["path"]] = self.hub.uploads[value["oid"]]
            elif row["key"] == "deletedFile":
                files.pop(value["path"])
        sha = found.commit(files)
        return self._say(200, {"success": True, "commitOid": sha, "commitUrl": f"{self.hub.address}/x/y/commit/{sha}"})

    def _batch(self, asked: dict[str, Any]) -> None:
        rows = [
            {
                "oid": o["oid"],
                "size": o["size"],
                "actions": {"upload": {"href": f"{self.hub.address}/upload/{o['oid']}"}},
            }
            for o in asked["objects"]
        ]
        self._say(200, {"transfer": "basic", "objects": rows}, kind="application/vnd.git-lfs+json")

    def _file(self, key: str, revision: str, path: str) -> None:
        found = self.hub.repositories.get(key)
        at = None if found is None or (found.private and not self.token) else found.at(revision)
        if at is None or path not in at[1]:
            return self._say(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
        data = at[1][path]
        etag = hashlib.sha256(data).hexdigest() if path.endswith(LARGE) else git_digest(data)
        headers = {
            "X-Repo-Commit": at[0],
            "ETag": f'"{etag}"',
            "X-Linked-Etag": f'"{etag}"',
            "X-Linked-Size": str(len(data)),
        }
        if path in self.hub.wrong:
            data = bytes(len(data))
        begin = 0
        if match := re.match(r"bytes=(\d+)-", self.headers.get("Range", "")):
            begin = int(match[1])
        self.send_response(206 if begin else 200)
        for header, value in headers.items():
            self.send_header(header, value)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - begin))
        self.end_headers()
        if self.command == "HEAD":
            return
        if path in self.hub.cut:
            self.wfile.write(data[begin : begin + max(1, (len(data) - begin) // 2)])
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()
            return
        self.wfile.write(data[begin:])

    def _say(
        self, status: int, answer: dict[str, Any], headers: dict[str, str] | None = None, kind: str = "application/json"
    ) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if "error" in answer:
            self.send_header("X-Error-Message", str(answer["error"]))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def git_digest(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
