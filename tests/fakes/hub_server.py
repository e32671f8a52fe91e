"""A hub on this machine: answers as huggingface.co does to what huggingface_hub asks for a download.

``repos`` maps ``org/name`` to its files; a file may be slow (``Slow``: sends half, then waits for the gate), cut off
(``Cut``: sends half, then the connection is gone) or huge (``Huge``: only claims its size). ``answers`` replaces every
answer about a repository by a status and an error code. ``requests`` gathers (method, path, authorization).
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "a" * 40


@dataclass
class Slow:
    """A file of which the second half comes only when the gate opens."""

    content: bytes
    gate: threading.Event = field(default_factory=threading.Event)
    started: threading.Event = field(default_factory=threading.Event)


@dataclass
class Cut:
    """A file of which the connection is lost half way, so many times, as soon as the gate is open."""

    content: bytes
    times: int
    gate: threading.Event = field(default_factory=threading.Event)


@dataclass
class Huge:
    """A file that claims to have so many bytes."""

    size: int


File = bytes | Slow | Cut | Huge


@dataclass
class Hub:
    """The server while it runs."""

    url: str = ""
    repos: dict[str, dict[str, File]] = field(default_factory=dict)
    answers: dict[str, tuple[int, str]] = field(default_factory=dict)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    commit: str = COMMIT
    """What ``main`` stands for."""
    next_commit: str = ""
    """What ``main`` stands for as soon as somebody has asked."""


def size_of(file: File) -> int:
    """Bytes that the file has or claims."""
    if isinstance(file, Huge):
        return file.size
    return len(file.content if isinstance(file, Slow | Cut) else file)


@contextmanager
def hub_server() -> Iterator[Hub]:
    """Run a hub on a free port of the loopback interface."""
    hub = Hub()

    class Handler(_Handler):
        state = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        for files in hub.repos.values():
            for file in files.values():
                if isinstance(file, Slow | Cut):
                    file.gate.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    state: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        """Nothing on the test's output."""

    def _answer(self) -> None:
        path = self.path.split("?")[0]
        self.state.requests.append((self.command, path, self.headers.get("Authorization", "")))
        parts = path.removeprefix("/api/models/").strip("/").split("/")
        repo_id = "/".join(parts[:2])
        files = self.state.repos.get(repo_id)
        if repo_id in self.state.answers:
            status, code = self.state.answers[repo_id]
            self._refuse(status, code)
        elif files is None:
            self._refuse(401, "RepoNotFound")
        elif path.startswith("/api/models/"):
            self._describe(parts[2:], repo_id, files)
        elif len(parts) > 4 and parts[2] == "resolve" and (name := "/".join(parts[4:])) in files:
            self._send_file(files[name], self.state.commit if parts[3] == "main" else parts[3])
        else:
            self._refuse(404, "EntryNotFound")

    def _describe(self, what: list[str], repo_id: str, files: dict[str, File]) -> None:
        if what[:1] == ["revision"] and what[1] not in {"main", COMMIT, self.state.commit}:
            self._refuse(404, "RevisionNotFound")
        elif what[:1] == ["tree"]:
            self._send_json(
                [
                    {"type": "file", "path": name, "size": size_of(file), "oid": etag(name)}
                    for name, file in files.items()
                ]
            )
        else:
            commit = COMMIT if what[1:] == [COMMIT] else self.state.commit
            self.state.commit = self.state.next_commit or commit
            self._send_json({"id": repo_id, "sha": commit, "siblings": [{"rfilename": name} for name in files]})

    def _send_file(self, file: File, commit: str) -> None:
        self.send_response(200)
        self.send_header("X-Repo-Commit", commit)
        self.send_header("ETag", f'"{etag(self.path)}"')
        self.send_header("Content-Length", str(size_of(file)))
        self.end_headers()
        if self.command == "HEAD" or isinstance(file, Huge):
            self.close_connection = isinstance(file, Huge)
            return
        content = file.content if isinstance(file, Slow | Cut) else file
        half = len(content) // 2 if isinstance(file, Slow) else len(content)
        if isinstance(file, Cut) and file.times > 0:
            file.times -= 1
            file.gate.wait()
            half, self.close_connection = len(content) // 2, True
        self.wfile.write(content[:half])
        self.wfile.flush()
        if isinstance(file, Slow):
            file.started.set()
            file.gate.wait()
            try:
                self.wfile.write(content[half:])
            except OSError:
                self.close_connection = True

    def _send_json(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()


def etag(name: str) -> str:
    """Any stable name for a blob."""
    return hashlib.sha1(name.encode()).hexdigest()
