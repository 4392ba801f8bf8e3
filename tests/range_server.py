"""A web server in this process that serves a folder, supports range requests and can break off an answer."""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class RangeServer:
    """Serves ``root`` at ``url``.

    Attributes:
        requests: (path, first requested byte) of every request so far.
        breaks: File names whose next answer ends after half of its bytes, with the action to take then.
        ranges: Whether range requests are supported, as by all but the simplest servers.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.requests = []
        self.breaks = {}
        self.ranges = True
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                owner.answer(self)

            def log_message(self, format, *arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def running(self):
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def answer(self, request):
        path = self.root / request.path.lstrip("/")
        asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        start = int(asked[1]) if asked and self.ranges else 0
        self.requests.append((request.path, start))
        if not path.is_file():
            request.send_error(404)
            return
        data = path.read_bytes()
        if start and start >= len(data):
            request.send_error(416)
            return
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        request.send_header("Content-Length", str(len(data) - start))
        request.end_headers()
        action = self.breaks.pop(path.name, None)
        request.wfile.write(data[start:] if action is None else data[start : start + (len(data) - start) // 2])
        request.wfile.flush()
        if action is not None:
            request.close_connection = True
            action()
