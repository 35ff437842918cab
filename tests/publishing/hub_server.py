"""A Hub on loopback, in memory: the endpoints that huggingface_hub's client calls to publish and to load.

`with HubServer() as hub:` serves at `hub.endpoint` until the end of the block.
"""

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import yaml


KINDS = {"models": "model", "datasets": "dataset", "spaces": "space"}
LFS_SUFFIXES = (".safetensors", ".parquet", ".jpg", ".png")
EMPTY = {".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"}
NOT_PUBLISHED = (
    "optimizer.pt", "training_args.bin", "run.json", "trainer_state.json", "notes.py", "checkpoint-2/optimizer.pt",
    "runs/events.out",
)  # fmt: skip
"""What lies in the tests' checkpoint folder besides the checkpoint."""


@dataclass
class Commit:
    """Of one branch: what it says, and path → content after it."""

    oid: str
    message: str
    files: dict[str, bytes]


@dataclass
class Repository:
    owner: str
    private: bool = False
    branches: dict[str, list[Commit]] = field(default_factory=dict)

    def add(self, branch: str, message: str, files: dict[str, bytes]) -> Commit:
        history = self.branches.setdefault(branch, [])
        oid = hashlib.sha1(f"{id(self)} {branch} {len(history)} {message}".encode()).hexdigest()
        history.append(Commit(oid, message, files))
        return history[-1]

    def at(self, revision: str) -> Commit | None:
        if revision in self.branches:
            return self.branches[revision][-1]
        return next((c for history in self.branches.values() for c in history if c.oid == revision), None)


class HubServer:
    """Users by their tokens, repositories by kind and id, and the ways it is told to fail.

    Args:
        users: token → name; `roles` says of some that they may only "read".
    """

    def __init__(self, users: dict[str, str] | None = None):
        self.users = users or {"hf_write": "someone", "hf_read": "someone", "hf_other": "another"}
        self.roles = {"hf_read": "read"}
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.blobs: dict[str, bytes] = {}
        self.uploads_to_drop = 0
        self.commits_to_drop = 0
        self.status_of: dict[str, int] = {}
        """The end of a path → the status that it answers with."""
        self.requests: list[tuple[str, str]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self.storage = f"http://localhost:{self._server.server_port}"
        """Of large files: to the client another host, which must not see the token."""

    def __enter__(self) -> "HubServer":
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *error) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add(self, repo_id: str, files: dict[str, bytes] | None = None, *, kind: str = "model", private: bool = False):
        """A repository that is there already."""
        repository = Repository(repo_id.partition("/")[0], private)
        repository.add("main", "initial commit", EMPTY | (files or {}))
        self.repositories[kind, repo_id] = repository
        return repository

    def files(self, repo_id: str, revision: str = "main", kind: str = "model") -> dict[str, bytes]:
        return self.repositories[kind, repo_id].at(revision).files

    def messages(self, repo_id: str, revision: str = "main", kind: str = "model") -> list[str]:
        return [commit.message for commit in self.repositories[kind, repo_id].branches[revision]]


class _Refused(Exception):
    def __init__(self, status: int, message: str, code: str = "", commit: str | None = None):
        super().__init__(message)
        self.status, self.code, self.commit = status, code, commit


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *args) -> None:
        pass

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def _serve(self) -> None:
        address = urlsplit(self.path)
        self.query = parse_qs(address.query)
        path = unquote(address.path)
        self.hub.requests.append((self.command, path))
        try:
            if self.command == "PUT" and self.hub.uploads_to_drop > 0:
                self.hub.uploads_to_drop -= 1
                self.rfile.read(min(100, int(self.headers.get("Content-Length") or 0)))
                raise ConnectionAbortedError
            self.body = self._read_body()
            for end, status in self.hub.status_of.items():
                if path.endswith(end):
                    raise _Refused(status, "told to fail")
            for methods, pattern, answer in _ROUTES:
                match = re.fullmatch(pattern, path)
                if match and self.command in methods:
                    return answer(self, **match.groupdict())
            raise _Refused(404, f"no endpoint {self.command} {path}")
        except _Refused as refused:
            headers = {"X-Error-Message": str(refused)}
            headers |= {"X-Error-Code": refused.code} if refused.code else {}
            headers |= {"X-Repo-Commit": refused.commit} if refused.commit else {}
            self._send(refused.status, {"error": str(refused)}, headers)
        except ConnectionError:
            self.close_connection = True

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _send(self, status: int, content, headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))} | (headers or {})
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    # Who asks, and for what

    def _user(self, required: bool = True) -> str | None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in self.hub.users:
            raise _Refused(401, "Invalid credentials in Authorization header")
        if required and not token:
            raise _Refused(401, "Invalid username or password.")
        return self.hub.users.get(token)

    def _repository(self, kind: str, repo_id: str, write: bool = False) -> Repository:
        user = self._user(required=write)
        repository = self.hub.repositories.get((KINDS[kind], repo_id))
        if repository is None or (repository.private and user != repository.owner):
            raise _Refused(404 if user else 401, "Repository not found", "RepoNotFound")
        if write and not (user == repository.owner and self._role() == "write"):
            raise _Refused(403, "You don't have the rights to write here.")
        return repository

    def _role(self) -> str:
        return self.hub.roles.get(self.headers["Authorization"].removeprefix("Bearer "), "write")

    def _commit_at(self, kind: str, repo_id: str, revision: str) -> Commit:
        commit = self._repository(kind, repo_id).at(revision)
        if commit is None:
            raise _Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit

    # Endpoints

    def whoami(self) -> None:
        access = {"accessToken": {"displayName": "test", "role": "write"}}
        name = self._user()
        access["accessToken"]["role"] = self._role()
        self._send(200, {"type": "user", "name": name, "orgs": [], "auth": {"type": "access_token", **access}})

    def create(self) -> None:
        user, request = self._user(), json.loads(self.body)
        owner, kind = request.get("organization") or user, request.get("type") or "model"
        if owner != user or self._role() != "write":
            raise _Refused(403, f"You don't have the rights to create a {kind} under the namespace {owner}")
        repo_id = f"{owner}/{request['name']}"
        address = f"{self.hub.endpoint}/{'' if kind == 'model' else kind + 's/'}{repo_id}"
        if (kind, repo_id) in self.hub.repositories:
            return self._send(409, {"error": f"You already created this {kind} repo", "url": address})
        self.hub.add(
            repo_id, kind=kind, private=request.get("visibility") == "private" or bool(request.get("private"))
        )
        self._send(200, {"url": address, "name": repo_id, "id": repo_id})

    def validate_yaml(self) -> None:
        metadata = json.loads(self.body)["content"].split("---")[1]
        try:
            found = yaml.safe_load(metadata)
            wrong = [] if isinstance(found.get("license", ""), str) else ["license must be a string"]
        except (yaml.YAMLError, AttributeError) as error:
            wrong = [str(error)]
        answer = {"errors": [{"message": message} for message in wrong], "warnings": []}
        self._send(400 if wrong else 200, answer)

    def auth_check(self, kind: str, repo_id: str, write: str | None) -> None:
        self._repository(kind, repo_id, write=write is not None)
        self._send(200, {})

    def info(self, kind: str, repo_id: str, revision: str | None = None) -> None:
        commit, repository = self._commit_at(kind, repo_id, revision or "main"), self._repository(kind, repo_id)
        config = json.loads(commit.files.get("config.json", b"{}"))
        metadata = commit.files.get("README.md", b"").decode().split("---")
        card = yaml.safe_load(metadata[1]) if len(metadata) > 2 else {}
        config = {name: config[name] for name in ("architectures", "model_type") if name in config}
        self._send(200, {
            "_id": commit.oid[:24], "id": repo_id, "modelId": repo_id, "author": repository.owner, "sha": commit.oid,
            "private": repository.private, "gated": False, "disabled": False, "downloads": 0, "likes": 0, "tags": [],
            "lastModified": "2026-01-01T00:00:00.000Z", "createdAt": "2026-01-01T00:00:00.000Z", "config": config,
            "cardData": card or {}, "siblings": [{"rfilename": name} for name in sorted(commit.files)],
        })  # fmt: skip

    def refs(self, kind: str, repo_id: str) -> None:
        branches = [
            {"name": name, "ref": f"refs/heads/{name}", "targetCommit": history[-1].oid}
            for name, history in self._repository(kind, repo_id).branches.items()
        ]
        self._send(200, {"branches": branches, "converts": [], "tags": []})

    def branch(self, kind: str, repo_id: str, name: str) -> None:
        repository = self._repository(kind, repo_id, write=True)
        if name in repository.branches:
            raise _Refused(409, f"Reference already exists: refs/heads/{name}")
        repository.add(name, "initial commit", dict(repository.at("main").files))
        self._send(200, {})

    def tree(self, kind: str, repo_id: str, revision: str, path: str | None = None) -> None:
        files = self._commit_at(kind, repo_id, revision).files
        entries = _entries(files)
        if path:
            if not any(name.startswith(f"{path}/") for name in files):
                raise _Refused(404, f"{path} does not exist", "EntryNotFound")
            entries = [entry for entry in entries if entry["path"].startswith(f"{path}/")]
        if self.query.get("recursive", ["false"])[0].lower() not in ("true", "1"):
            depth = len(path.split("/")) if path else 0
            entries = [entry for entry in entries if entry["path"].count("/") == depth]
        self._send(200, entries)

    def paths_info(self, kind: str, repo_id: str, revision: str) -> None:
        asked = parse_qs(self.body.decode())["paths"] if self.body[:1] != b"{" else json.loads(self.body)["paths"]
        entries = {entry["path"]: entry for entry in _entries(self._commit_at(kind, repo_id, revision).files)}
        self._send(200, [entries[path] for path in asked if path in entries])

    def preupload(self, kind: str, repo_id: str, revision: str) -> None:
        self._repository(kind, repo_id, write=True)
        files = self._commit_at(kind, repo_id, revision).files
        self._send(200, {"files": [
            {
                "path": file["path"], "shouldIgnore": False,
                "uploadMode": "lfs" if file["path"].endswith(LFS_SUFFIXES) else "regular",
                **({"oid": _oid(file["path"], files[file["path"]])} if file["path"] in files else {}),
            }
            for file in json.loads(self.body)["files"]
        ]})  # fmt: skip

    def lfs_batch(self, repo_id: str, kind: str | None = None) -> None:
        self._repository(kind or "models", repo_id, write=True)
        objects = []
        for wanted in json.loads(self.body)["objects"]:
            upload = {"upload": {"href": f"{self.hub.storage}/_lfs/{wanted['oid']}"}}
            objects.append(wanted if wanted["oid"] in self.hub.blobs else {**wanted, "actions": upload})
        self._send(200, {"transfer": "basic", "objects": objects})

    def lfs_upload(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise _Refused(400, "the content has another hash")
        self.hub.blobs[oid] = self.body
        self._send(200, {})

    def lfs_download(self, oid: str) -> None:
        if "Authorization" in self.headers:
            raise _Refused(400, "storage must not see the token")
        content, headers = self.hub.blobs[oid], {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
        part = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if part is None:
            return self._send(200, content, headers)
        first, last = int(part[1]), min(int(part[2] or len(content)), len(content) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        self._send(206, content[first : last + 1], headers)

    def commit(self, kind: str, repo_id: str, revision: str) -> None:
        repository = self._repository(kind, repo_id, write=True)
        files = dict(self._commit_at(kind, repo_id, revision).files)
        message = ""
        for line in self.body.splitlines():
            operation = json.loads(line)
            value = operation["value"]
            if operation["key"] == "header":
                message = value["summary"]
            elif operation["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                if value["oid"] not in self.hub.blobs:
                    raise _Refused(400, f"{value['path']} was not uploaded")
                files[value["path"]] = self.hub.blobs[value["oid"]]
            elif operation["key"] == "deletedFile" and files.pop(value["path"], None) is None:
                raise _Refused(404, "A file with this name doesn't exist", "EntryNotFound")
        if revision not in repository.branches:
            raise _Refused(400, f"{revision} is not a branch")
        commit = repository.add(revision, message, files)
        if self.hub.commits_to_drop > 0:
            self.hub.commits_to_drop -= 1
            raise ConnectionAbortedError
        self._send(200, {"commitUrl": f"{self.hub.endpoint}/{repo_id}/commit/{commit.oid}", "commitOid": commit.oid})

    def resolve(self, repo_id: str, revision: str, path: str, kind: str | None = None) -> None:
        commit = self._commit_at(kind or "models", repo_id, revision)
        if path not in commit.files:
            raise _Refused(404, "Entry not found", "EntryNotFound", commit.oid)
        content = commit.files[path]
        headers = {
            "X-Repo-Commit": commit.oid, "ETag": f'"{_oid(path, content)}"', "Accept-Ranges": "bytes",
            "Content-Type": "text/plain", "Last-Modified": formatdate(usegmt=True),
        }  # fmt: skip
        if path.endswith(LFS_SUFFIXES):
            sha = hashlib.sha256(content).hexdigest()
            self.hub.blobs[sha] = content
            headers |= {"X-Linked-Size": str(len(content)), "X-Linked-ETag": headers["ETag"]}
            headers |= {"Location": f"{self.hub.storage}/_lfs/{sha}"}
            return self._send(302, b"", headers)
        self._send(200, content, headers)


def _oid(path: str, content: bytes) -> str:
    """git's hash of a small file, sha256 of a large one."""
    if path.endswith(LFS_SUFFIXES):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _entries(files: dict[str, bytes]) -> list[dict]:
    folders = {name.rpartition("/")[0] for name in files if "/" in name}
    entries = [{"type": "directory", "path": folder, "oid": hashlib.sha1(folder.encode()).hexdigest(), "size": 0}
               for folder in sorted(folders)]  # fmt: skip
    for name, content in sorted(files.items()):
        entry = {"type": "file", "path": name, "size": len(content), "oid": _oid(name, content)}
        if name.endswith(LFS_SUFFIXES):
            entry["lfs"] = {"oid": _oid(name, content), "size": len(content), "pointerSize": 130}
        entries.append(entry)
    return entries


_REPO = r"(?P<repo_id>[^/]+/[^/]+?)"
_API = rf"/api/(?P<kind>models|datasets|spaces)/{_REPO}"
_PLAIN = rf"/(?:(?P<kind>datasets|spaces)/)?{_REPO}"
_ROUTES = [
    (("GET",), "/api/whoami-v2", _Handler.whoami),
    (("POST",), "/api/repos/create", _Handler.create),
    (("POST",), "/api/validate-yaml", _Handler.validate_yaml),
    (("GET",), rf"{_API}/auth-check(?P<write>/write)?", _Handler.auth_check),
    (("GET",), rf"{_API}/refs", _Handler.refs),
    (("POST",), rf"{_API}/branch/(?P<name>.+)", _Handler.branch),
    (("GET",), rf"{_API}/revision/(?P<revision>.+)", _Handler.info),
    (("GET",), rf"{_API}/tree/(?P<revision>[^/]+)(?:/(?P<path>.+))?", _Handler.tree),
    (("POST",), rf"{_API}/paths-info/(?P<revision>[^/]+)", _Handler.paths_info),
    (("POST",), rf"{_API}/preupload/(?P<revision>.+)", _Handler.preupload),
    (("POST",), rf"{_API}/commit/(?P<revision>.+)", _Handler.commit),
    (("GET",), _API, _Handler.info),
    (("PUT",), "/_lfs/(?P<oid>[0-9a-f]{64})", _Handler.lfs_upload),
    (("GET", "HEAD"), "/_lfs/(?P<oid>[0-9a-f]{64})", _Handler.lfs_download),
    (("POST",), rf"{_PLAIN}\.git/info/lfs/objects/batch", _Handler.lfs_batch),
    (("GET", "HEAD"), rf"{_PLAIN}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", _Handler.resolve),
]
