"""Kafka Connect's REST API."""

import http.client
import json
from typing import Any, Optional, Tuple


class Unreachable(Exception):
    """No worker answers."""


class Rest(Exception):
    """An answer that is not a success."""

    def __init__(self, method: str, path: str, code: int, message: str) -> None:
        super().__init__(f"{method} {path} returned {code} ({code}): {message}")
        self.code, self.text = code, message


class Connect:
    def __init__(self, host: str) -> None:
        self.host = host

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        code, answer = self._send(method, path, body)
        if code >= 300:
            message = answer.get("message", "") if isinstance(answer, dict) else str(answer)
            raise Rest(method, path, code, message)
        return answer

    def find(self, path: str) -> Optional[Any]:
        """What is there; None when it is not."""
        try:
            return self.ask("GET", path)
        except Rest as error:
            if error.code == 404:
                return None
            raise

    def _send(self, method: str, path: str, body: Any) -> Tuple[int, Any]:
        connection = http.client.HTTPConnection(self.host, 8083, timeout=70)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"Content-Type": "application/json", "Accept": "application/json"})
            response = connection.getresponse()
            raw = response.read()
            try:
                return response.status, json.loads(raw) if raw else {}
            except ValueError:
                return response.status, raw.decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(str(error)) from error
        finally:
            connection.close()
