"""A server of one file on 127.0.0.1 that cuts, delays, redirects and lies as told."""

import contextlib
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer(ThreadingHTTPServer):
    """Serves `content` under every path.

    cuts          for each coming request, after how many bytes the connection is closed; then none is cut
    statuses      for each coming request, the status that is answered instead of the file
    ranges        whether parts can be asked for
    tag           the ETag; empty for none
    length        whether Content-Length is sent
    redirect      path that is answered by another address
    pause         seconds between blocks of 64 KiB
    """

    daemon_threads = True

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content, self.cuts, self.statuses = content, [], []
        self.ranges, self.tag, self.length, self.redirect, self.pause = True, '"1"', True, {}, 0.0
        self.requests = []  # (path, first byte asked for)

    def url(self, path="file.weights"):
        return f"http://127.0.0.1:{self.server_address[1]}/{path}"


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        server = self.server
        start = 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and server.ranges and self.headers.get("If-Range", server.tag) == server.tag:
            start = int(asked[1])
        server.requests.append((self.path, start))
        if self.path in server.redirect:
            self.send_response(302)
            self.send_header("Location", server.redirect[self.path])
            self.end_headers()
            return
        if server.statuses and (status := server.statuses.pop(0)) != 200:
            self.send_error(status)
            return
        content = server.content
        if start and start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if server.length:
            self.send_header("Content-Length", str(len(content) - start))
        if server.tag:
            self.send_header("ETag", server.tag)
        self.end_headers()
        end = start + server.cuts.pop(0) if server.cuts else len(content)
        with contextlib.suppress(ConnectionError):
            for at in range(start, min(end, len(content)), 1 << 16):
                self.wfile.write(content[at : min(at + (1 << 16), end)])
                if server.pause:
                    time.sleep(server.pause)


@contextlib.contextmanager
def serving(content):
    """A server that runs until the block ends."""
    server = FileServer(content)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(60)
