"""A model hub on the loopback that serves a folder as huggingface.co would, and counts what was asked of it."""

from __future__ import annotations

import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "c" * 40


class Hub:
    """Serves ``folder/user/repo/file`` at ``/user/repo/resolve/main/file``.

    `asked` lists (method, path, range) of every request; `close` takes the hub off the network.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked = folder, []
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
            found = re.fullmatch(r"/(.+)/resolve/main/(.+)", self.path)
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

        def log_message(self, *_: object) -> None:
            """Say nothing on standard error."""

    return Handler
