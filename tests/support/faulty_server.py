"""Servers that fail as asked: a web server of files held in memory, and a proxy that cuts connections."""

import contextlib
import re
import socket
import threading
from collections import defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGE = b"<!DOCTYPE html><html>Please log in.</html>"


class FaultyServer(ThreadingHTTPServer):
    """Serves `files` by name. Each request for a file takes the next of its `faults`, if one is left.

    Faults: `503` (with `503 N`, Retry-After: N), `403`, `drop N` (close after N bytes), `stall N` (send
    nothing more after N bytes), `flip` (a wrong byte), `page` (an HTML page, status 200), `shift` (a range
    that starts one byte late), `whole` (no ranges: the whole file), `length N` (Content-Length: N).
    """

    daemon_threads = True

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = files
        self.faults: defaultdict[str, list[str]] = defaultdict(list)
        self.requests: list[tuple[str, int]] = []  # name, first byte
        self.agents: set[str] = set()
        self.lock = threading.Lock()
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: FaultyServer

    def do_GET(self) -> None:
        server, name = self.server, self.path.removeprefix("/")
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        with server.lock:
            server.requests.append((name, start))
            server.agents.add(self.headers.get("User-Agent", ""))
            faults = server.faults[name]
            fault, _, number = (faults.pop(0) if faults else "").partition(" ")
        try:
            self._answer(name, start, fault, number)
        except ConnectionError:  # the client is gone
            pass
        finally:
            self.close_connection = True

    def _answer(self, name: str, start: int, fault: str, number: str) -> None:
        data = self.server.files.get(name)
        if fault in ("503", "403") or data is None:
            self.send_response(int(fault or 404))
            if number:
                self.send_header("Retry-After", number)
            self.end_headers()
            return
        if fault == "page":
            data, start = PAGE, 0
        if fault == "whole":
            start = 0
        if start >= len(data):
            self.send_response(416)
            self.end_headers()
            return
        at = start + (fault == "shift")
        self.send_response(206 if at else 200)
        if at:
            self.send_header("Content-Range", f"bytes {at}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", number if fault == "length" else str(len(data) - at))
        self.end_headers()
        body = bytearray(data[at:])
        if fault == "flip":
            body[len(body) // 2] ^= 1
        if fault in ("drop", "stall"):
            self.wfile.write(body[: int(number)])
            self.wfile.flush()
            if fault == "stall":
                self.server.closing.wait()
            return
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextlib.contextmanager
def serve(files: dict[str, bytes]) -> Iterator[FaultyServer]:
    """The server, in a thread of this process."""
    server = FaultyServer(files)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


class CuttingProxy:
    """Passes connections on to a port; cuts the first `n_cuts` of them after `n_bytes` bytes of answer."""

    def __init__(self, port: int, n_cuts: int, n_bytes: int) -> None:
        self._target, self.cuts_left, self._n_bytes = port, n_cuts, n_bytes
        self.asked = bytearray()  # all that clients sent
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                threading.Thread(target=self._ask, args=(client, server), daemon=True).start()
                threading.Thread(target=self._answer, args=(client, server), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 16):
                self.asked += data
                server.sendall(data)

    def _answer(self, client: socket.socket, server: socket.socket) -> None:
        sent = 0
        with contextlib.suppress(OSError), client, server:
            while data := server.recv(1 << 14):
                client.sendall(data)
                sent += len(data)
                if sent > self._n_bytes and self.cuts_left:
                    self.cuts_left -= 1
                    client.shutdown(socket.SHUT_RDWR)
                    return

    def close(self) -> None:
        """Accept no more connections."""
        self._listener.close()
