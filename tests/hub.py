"""A hub on this machine: what the client of `huggingface_hub` asks for, of repositories that are folders."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

_COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def hub_of(root: Path) -> Iterator[str]:
    """The address of a hub with the repository owner/name for each folder owner/name below `root`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Answers, root))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Answers(BaseHTTPRequestHandler):
    def __init__(self, root: Path, *args: Any):
        self.root = root
        super().__init__(*args)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, with_body: bool) -> None:
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        told, content = "application/octet-stream", None
        if parts[:2] == ["api", "models"]:
            folder, asked = self.root / parts[2] / parts[3], parts[4] if len(parts) > 4 else "revision"
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            listed = [_listed(path, path.relative_to(folder).as_posix()) for path in files]
            about = {"id": "/".join(parts[2:4]), "sha": _COMMIT, "siblings": []}
            told, content = "application/json", json.dumps(listed if asked == "tree" else about).encode()
        elif parts[2] == "resolve":
            content = (self.root / parts[0] / parts[1]).joinpath(*parts[4:]).read_bytes()
        self.send_response(200 if content is not None else 404)
        if content is not None:
            self.send_header("Content-Type", told)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", _COMMIT)
        self.end_headers()
        if with_body and content is not None:
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def _listed(path: Path, name: str) -> dict[str, Any]:
    content = path.read_bytes()
    return {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
