"""A model hub on the loopback that serves a folder as huggingface.co would, and counts what was asked of it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "c" * 40


class Hub:
    """Serves ``folder/user/repo/file`` at ``/user/repo/resolve/main/file``.

    `asked` lists (method, path, range) of every request for a file; `close` takes the hub off the network. Uploads
    land in the same folder, whole files in the commit's own request; `made` lists what repositories were made with.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked, self.made = folder, [], []
        self.gate = threading.Event()  # closed, it holds back whole files (not headers, not parts)
        self.gate.set()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    def put(self, repo: str, name: str) -> Path:
        path = self.folder / repo / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def use(self, monkeypatch, cache: Path) -> None:
        """Point huggingface_hub, which reads its environment at import, at this hub and at an empty cache."""
        from huggingface_hub import constants

        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", self.endpoint)
        template = self.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))

    def close(self) -> None:
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            if listed := re.fullmatch(r"/api/models/([^/]+/[^/]+)", self.path):
                self._json(*_info(hub, listed[1]))
                return
            found = re.fullmatch(rf"/(.+)/resolve/(?:main|{COMMIT})/(.+)", self.path)
            path = hub.folder / found[1] / found[2] if found else None
            wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            if found:
                hub.asked.append((self.command, f"{found[1]}/{found[2]}", self.headers.get("Range")))
            if path is None or not path.is_file():
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            data = path.read_bytes()
            etag = hashlib.sha256(data).hexdigest()
            if wanted:
                data = data[int(wanted[1]) : int(wanted[2]) + 1]
            self.send_response(206 if wanted else 200)
            self.send_header("ETag", f'"{etag}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if body:
                if not wanted:
                    hub.gate.wait(timeout=120)
                self.wfile.write(data)

        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            repo = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(?:preupload|commit)/main", self.path)
            if self.path == "/api/repos/create":
                asked = json.loads(data)
                hub.made.append(asked)
                name = f"{asked.get('organization') or 'me'}/{asked['name']}"
                (hub.folder / name).mkdir(parents=True, exist_ok=True)
                self._json(200, {"url": f"{hub.endpoint}/{name}"})
            elif self.path == "/api/validate-yaml":
                self._json(200, {"errors": [], "warnings": []})
            elif repo and "/preupload/" in self.path:
                names = [one["path"] for one in json.loads(data)["files"]]
                told = [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]
                self._json(200, {"files": told})
            elif repo:
                for line in map(json.loads, data.splitlines()):
                    if line["key"] == "file":
                        path = hub.put(repo[1], line["value"]["path"])
                        path.write_bytes(base64.b64decode(line["value"]["content"]))
                url = f"{hub.endpoint}/{repo[1]}/commit/{COMMIT}"
                self._json(200, {"success": True, "commitOid": COMMIT, "commitUrl": url})
            else:
                self._json(404, {"error": f"nothing is posted to {self.path}"})

        def _json(self, status: int, value: object) -> None:
            body = json.dumps(value).encode()
            self.send_response(status)
            if status == 404:
                self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing on standard error."""

    return Handler


def _info(hub: Hub, repo: str) -> tuple[int, dict[str, object]]:
    """What the hub's interface tells of a repository."""
    if not (hub.folder / repo).is_dir():
        return 404, {"error": "Repository not found"}
    names = sorted(path.name for path in (hub.folder / repo).iterdir())
    return 200, {"id": repo, "sha": COMMIT, "private": False, "siblings": [{"rfilename": name} for name in names]}
