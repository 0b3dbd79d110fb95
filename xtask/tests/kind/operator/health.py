"""The endpoints that the real operators' probes ask."""

import http.server
import threading


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # noqa: N802
        body = b"" if self.path in ("/healthy", "/ready") else b"# no metrics\n"
        self.send_response(204 if not body else 200)
        if body:
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def serve(port: int) -> None:
    server = http.server.ThreadingHTTPServer(("", port), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
