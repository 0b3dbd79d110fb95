"""A registry that has what the node's containerd has: some Deployments want their image pulled even if it is there.

Tags are in index.json, {"repository:tag": "sha256:..."}; everything else is containerd's own content.
"""

import http.server
import json
import re
from pathlib import Path

BLOBS = Path("/var/lib/containerd/io.containerd.content.v1.content/blobs/sha256")
INDEX = json.loads(Path("/kind/registry/index.json").read_text())
REQUEST = re.compile(r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs)/(?P<reference>[^/?]+)")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self, code: int, kind: str, body: bytes, digest: str = "") -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if digest:
            self.send_header("Docker-Content-Digest", digest)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self) -> None:  # noqa: N802
        if self.path.rstrip("/") == "/v2":
            return self._answer(200, "application/json", b"{}")
        found = REQUEST.match(self.path)
        if not found:
            return self._answer(404, "application/json", b'{"errors":[{"code":"NAME_UNKNOWN"}]}')
        reference = found["reference"]
        digest = reference if reference.startswith("sha256:") else INDEX.get(f"{found['name']}:{reference}", "")
        blob = BLOBS / digest.removeprefix("sha256:")
        if not digest or not blob.is_file():
            return self._answer(404, "application/json", b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')
        body = blob.read_bytes()
        kind = "application/octet-stream"
        if found["kind"] == "manifests":
            kind = json.loads(body).get("mediaType", "application/vnd.docker.distribution.manifest.v2+json")
        return self._answer(200, kind, body, digest)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", 5001), Handler).serve_forever()
