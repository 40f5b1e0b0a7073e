"""The arguments of simulated engines, by HTTP: their image asks for them whenever one starts.

`GET /engines/POD` answers a JSON list. Pods are named by their Deployment: NAME-HASH-xxxxx.
"""

import json
import threading
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.cluster.controlplane import HOST

PORT = 5001
DEFAULT = ("--start-seconds=0.2", "--load-seconds=0.5")


class EngineArguments:
    """`known` is what tests give, by LLMService; all others start with `DEFAULT`."""

    def __init__(self) -> None:
        self.known: Mapping[str, Sequence[str]] = {}
        self._server: ThreadingHTTPServer | None = None

    def of_pod(self, pod: str) -> Sequence[str]:
        return self.known.get(pod.rsplit("-", 2)[0], DEFAULT)

    def start(self) -> None:
        """Serve at 10.200.0.1. Raises OSError."""
        arguments = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                root, _, pod = self.path.lstrip("/").partition("/")
                body = json.dumps(list(arguments.of_pod(pod))).encode()
                self.send_response(200 if root == "engines" and pod else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        self._server = ThreadingHTTPServer((HOST, PORT), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
