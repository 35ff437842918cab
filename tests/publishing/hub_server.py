"""A Hub on loopback: the HTTP endpoints that huggingface_hub's client uses to create, fill, list and download repositories.

Private repositories need the token of their owner; anyone else is told what the Hub tells, that there is none.
"""

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


LARGE = (".safetensors", ".onnx", ".bin", ".parquet", ".pt")
"""Suffixes of files that the Hub keeps by git LFS."""


@dataclass
class Commit:
    sha: str
    title: str
    files: dict[str, bytes]


@dataclass
class Repository:
    kind: str
    name: str
    private: bool
    branches: dict[str, list[Commit]] = field(default_factory=dict)

    def find(self, revision: str) -> Commit | None:
        if revision in self.branches:
            return self.branches[revision][-1]
        commits = (commit for history in self.branches.values() for commit in history)
        return next((commit for commit in commits if commit.sha == revision), None)

    def commit(self, branch: str, title: str, files: dict[str, bytes]) -> Commit:
        history = self.branches.setdefault(branch, [])
        sha = hashlib.sha1(f"{self.kind} {self.name} {branch} {len(history)} {title}".encode()).hexdigest()
        history.append(Commit(sha, title, files))
        return history[-1]


class HubServer:
    """Repositories by `kind/owner/name`, and what is to go wrong.

    Attributes:
        tokens: who each token is of.
        repositories: the public and private ones.
        dropped_uploads: how many uploads of large files, from now on, lose their connection in the middle.
        read_only: whether all tokens may only read.
        requests: (method, path) of all that came.
    """

    def __init__(self, tokens: dict[str, str]):
        self.tokens = tokens
        self.reset()
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def reset(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.large: dict[str, bytes] = {}
        self.dropped_uploads = 0
        self.read_only = False
        self.requests: list[tuple[str, str]] = []

    def create(self, kind: str, name: str, private: bool = False) -> Repository:
        repository = Repository(kind, name, private)
        repository.commit("main", "initial commit", {".gitattributes": b"*.safetensors filter=lfs\n"})
        self.repositories[f"{kind}s/{name}"] = repository
        return repository

    def model(self, name: str) -> Repository:
        return self.repositories[f"models/{name}"]

    def files(self, name: str, revision: str = "main") -> dict[str, bytes]:
        return self.model(name).find(revision).files

    @contextmanager
    def running(self):
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()


class _Refusal(Exception):
    def __init__(self, status: int, message: str, code: str = ""):
        self.status, self.message, self.code = status, message, code


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        self.query = parse_qs(parts.query)
        path = unquote(parts.path)
        with self.hub.lock:
            self.hub.requests.append((self.command, path))
            if self.command == "PUT" and path.startswith("/lfs/") and self.hub.dropped_uploads > 0:
                self.hub.dropped_uploads -= 1
                self.rfile.read(min(1000, int(self.headers["Content-Length"])))
                self.close_connection = True
                return
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            for pattern, methods, action in _ROUTES:
                found = re.fullmatch(pattern, path)
                if found and self.command in methods:
                    with self.hub.lock:
                        action(self, **found.groupdict())
                    return
            raise _Refusal(404, f"No {self.command} {path}")
        except _Refusal as refusal:
            self._send({"error": refusal.message}, refusal.status, {
                "X-Error-Message": refusal.message, **({"X-Error-Code": refusal.code} if refusal.code else {})
            })  # fmt: skip

    def _send(self, content, status: int = 200, headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        kind = "application/octet-stream" if isinstance(content, bytes) else "application/json"
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _user(self) -> str | None:
        given = self.headers.get("Authorization", "")
        if not given:
            return None
        token = given.removeprefix("Bearer ")
        if token not in self.hub.tokens:
            raise _Refusal(401, "Invalid credentials in Authorization header")
        return self.hub.tokens[token]

    def _repository(self, kind: str, name: str, to_write: bool = False) -> Repository:
        user = self._user()
        repository = self.hub.repositories.get(f"{kind}/{name}")
        owner = name.split("/")[0]
        if repository is None or (repository.private and user != owner):
            raise _Refusal(404 if user else 401, "Repository not found", "RepoNotFound")
        if to_write:
            self._may_write(user, owner)
        return repository

    def _may_write(self, user: str | None, owner: str) -> None:
        if user is None:
            raise _Refusal(401, "Invalid username or password.")
        if user != owner or self.hub.read_only:
            raise _Refusal(403, f"You don't have the rights to create or change a repository of {owner}")

    def _commit(self, repository: Repository, revision: str) -> Commit:
        commit = repository.find(revision)
        if commit is None:
            raise _Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit

    def whoami(self) -> None:
        user = self._user()
        if user is None:
            raise _Refusal(401, "Invalid username or password.")
        role = "read" if self.hub.read_only else "write"
        self._send({"type": "user", "name": user, "orgs": [], "auth": {"accessToken": {"role": role}}})

    def create(self) -> None:
        asked, user = json.loads(self.body), self._user()
        owner = asked.get("organization") or user
        self._may_write(user, owner)
        name, kind = f"{owner}/{asked['name']}", asked.get("type", "model")
        if f"{kind}s/{name}" in self.hub.repositories:
            raise _Refusal(409, "You already created this repository")
        self.hub.create(kind, name, asked.get("private") or asked.get("visibility") == "private")
        prefix = "" if kind == "model" else f"{kind}s/"
        self._send({"url": f"{self.hub.url}/{prefix}{name}", "name": name})

    def check_card(self) -> None:
        self._send({"errors": [], "warnings": []})

    def announce(self, kind: str, name: str, revision: str) -> None:
        self._commit(self._repository(kind, name, to_write=True), revision)
        files = [
            {"path": file["path"], "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
             "shouldIgnore": False, "oid": None}
            for file in json.loads(self.body)["files"]
        ]  # fmt: skip
        self._send({"files": files})

    def plan_uploads(self, prefix: str, name: str) -> None:
        self._repository(prefix.rstrip("/") or "models", name, to_write=True)
        objects = []
        for item in json.loads(self.body)["objects"]:
            upload = {"upload": {"href": f"{self.hub.url}/lfs/{item['oid']}"}}
            objects.append(item if item["oid"] in self.hub.large else {**item, "actions": upload})
        self._send({"transfer": "basic", "objects": objects})

    def upload(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise _Refusal(400, "The content is not that of its name")
        self.hub.large[oid] = self.body
        self._send(b"")

    def accept(self, kind: str, name: str, revision: str) -> None:
        repository = self._repository(kind, name, to_write=True)
        files, title = dict(self._commit(repository, revision).files), ""
        for line in self.body.splitlines():
            operation = json.loads(line)
            value = operation["value"]
            if operation["key"] == "header":
                title = value["summary"]
            elif operation["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                files[value["path"]] = self.hub.large[value["oid"]]
            elif operation["key"] == "deletedFile":
                files.pop(value["path"])
        commit = repository.commit(revision, title, files)
        self._send({"commitUrl": f"{self.hub.url}/{name}/commit/{commit.sha}", "commitOid": commit.sha})

    def branch(self, kind: str, name: str, branch: str) -> None:
        repository = self._repository(kind, name, to_write=True)
        if branch in repository.branches:
            raise _Refusal(409, f"Reference already exists: {branch}")
        repository.branches[branch] = list(repository.branches["main"])
        self._send({})

    def info(self, kind: str, name: str, revision: str | None = None) -> None:
        repository = self._repository(kind, name)
        commit = self._commit(repository, revision or "main")
        siblings = [{"rfilename": path, "size": len(content)} for path, content in commit.files.items()]
        config = json.loads(commit.files.get("config.json", b"{}"))
        self._send({
            "id": name, "sha": commit.sha, "private": repository.private, "siblings": siblings, "tags": [],
            "config": {"model_type": config.get("model_type")},
        })  # fmt: skip

    def check_access(self, kind: str, name: str, to_write: str | None) -> None:
        self._repository(kind, name, to_write=to_write is not None)
        self._send({})

    def refs(self, kind: str, name: str) -> None:
        branches = self._repository(kind, name).branches
        listed = [
            {"name": branch, "ref": f"refs/heads/{branch}", "targetCommit": history[-1].sha}
            for branch, history in branches.items()
        ]
        self._send({"branches": listed, "tags": [], "converts": []})

    def tree(self, kind: str, name: str, revision: str, folder: str = "") -> None:
        files = self._commit(self._repository(kind, name), revision).files
        start = f"{folder}/" if folder else ""
        inside = {path: content for path, content in files.items() if path.startswith(start)}
        if folder and not inside:
            raise _Refusal(404, f"{folder} does not exist", "EntryNotFound")
        deep = self.query.get("recursive", ["False"])[0].lower() in ("1", "true")
        entries = [_entry(path, content) for path, content in inside.items() if deep or "/" not in path[len(start) :]]
        folders = {
            path[: len(start)] + path[len(start) :].split("/")[0] for path in inside if "/" in path[len(start) :]
        }
        self._send(entries + [{"type": "directory", "path": path, "oid": path, "size": 0} for path in sorted(folders)])

    def paths(self, kind: str, name: str, revision: str) -> None:
        files = self._commit(self._repository(kind, name), revision).files
        text = self.body.decode()
        asked = json.loads(text)["paths"] if text.startswith("{") else parse_qs(text)["paths"]
        self._send([_entry(path, files[path]) for path in asked if path in files])

    def download(self, prefix: str, name: str, revision: str, path: str) -> None:
        commit = self._commit(self._repository(prefix.rstrip("/") or "models", name), revision)
        if path not in commit.files:
            raise _Refusal(404, f"Entry not found: {path}", "EntryNotFound")
        content, headers = commit.files[path], {"X-Repo-Commit": commit.sha, "Accept-Ranges": "bytes"}
        etag = hashlib.sha256(content).hexdigest()
        if path.endswith(LARGE) and self.command == "HEAD":
            headers |= {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(content))}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        status = 200
        if asked:
            start, end = int(asked[1]), int(asked[2] or len(content) - 1)
            headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
            content, status = content[start : end + 1], 206
        self._send(content, status, {"ETag": f'"{etag}"', **headers})


def _entry(path: str, content: bytes) -> dict:
    entry = {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
    if path.endswith(LARGE):
        entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return entry


_API, _REVISION = r"/api/(?P<kind>models|datasets|spaces)/(?P<name>[^/]+/[^/]+)", r"(?P<revision>[^/]+)"
_REPOSITORY = r"/(?P<prefix>datasets/|spaces/|)(?P<name>[^/]+/[^/]+)"
_ROUTES = [
    ("/api/whoami-v2", ("GET",), _Handler.whoami),
    ("/api/repos/create", ("POST",), _Handler.create),
    ("/api/validate-yaml", ("POST",), _Handler.check_card),
    (rf"{_API}/preupload/{_REVISION}", ("POST",), _Handler.announce),
    (rf"{_REPOSITORY}\.git/info/lfs/objects/batch", ("POST",), _Handler.plan_uploads),
    ("/lfs/(?P<oid>[0-9a-f]+)", ("PUT",), _Handler.upload),
    (rf"{_API}/commit/{_REVISION}", ("POST",), _Handler.accept),
    (rf"{_API}/branch/(?P<branch>.+)", ("POST",), _Handler.branch),
    (rf"{_API}/auth-check(?P<to_write>/write)?", ("GET",), _Handler.check_access),
    (rf"{_API}/refs", ("GET",), _Handler.refs),
    (rf"{_API}/tree/{_REVISION}(/(?P<folder>.+))?", ("GET",), _Handler.tree),
    (rf"{_API}/paths-info/{_REVISION}", ("POST",), _Handler.paths),
    (rf"{_API}(/revision/{_REVISION})?", ("GET",), _Handler.info),
    (rf"{_REPOSITORY}/resolve/{_REVISION}/(?P<path>.+)", ("GET", "HEAD"), _Handler.download),
]
