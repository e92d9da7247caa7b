"""A local HTTP server of a folder, as slow and as faulty as asked: range reads, latency, bandwidth, errors.

    python -m tests.support.storage FOLDER LATENCY_S BYTES_PER_S    (prints its port)

Every response waits for the latency; all responses share one bandwidth. Latencies of requests at the same
time overlap, as they do on an object store.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PIECE = 1 << 16


class Server(ThreadingHTTPServer):
    """The state that all requests share."""

    daemon_threads = True
    latency_s = 0.0
    bytes_per_s = float("inf")

    def prepare(self) -> None:
        """Forget all requests."""
        self.lock = threading.Lock()
        self.free_at = time.monotonic()  # when the line has sent all that was accepted until now
        self.errors_left = 0  # range requests that get 503
        self.short_left = 0  # range requests that get half of their bytes
        self.requests: list[str] = []

    def send_slowly(self, n_bytes: int) -> None:
        """Wait until the line has sent so many bytes."""
        with self.lock:
            self.free_at = max(self.free_at, time.monotonic()) + n_bytes / self.bytes_per_s
            wait = self.free_at - time.monotonic()
        if wait > 0:
            time.sleep(wait)


class Handler(SimpleHTTPRequestHandler):
    """GET with ranges, on kept connections."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        """Answer with a file, a part of it or a listing."""
        time.sleep(self.server.latency_s)
        path, asked = Path(self.translate_path(self.path)), self.headers.get("Range")
        if not asked or not path.is_file():
            super().do_GET()
            return
        first, last = (int(number) for number in asked.removeprefix("bytes=").split("-"))
        with self.server.lock:
            self.server.requests.append(f"{path.name} {first}-{last}")
            fails, self.server.errors_left = self.server.errors_left > 0, self.server.errors_left - 1
            short = not fails and self.server.short_left > 0
            self.server.short_left -= short
        if fails:
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        with path.open("rb") as file:
            file.seek(first)
            data = file.read(last + 1 - first)
        if short:
            data = data[: len(data) // 2]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{first + len(data) - 1}/{path.stat().st_size}")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        for start in range(0, len(data), PIECE):
            piece = data[start : start + PIECE]
            self.server.send_slowly(len(piece))
            self.wfile.write(piece)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def make_server(folder: Path) -> Server:
    """A server on a free port of this machine."""
    server = Server(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    server.prepare()
    return server


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[tuple[Server, str]]:
    """(server, URL) in a thread of this process."""
    server = make_server(folder)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def serve_s3() -> Iterator[dict[str, str]]:
    """The environment by which clients find an empty S3 server in a thread of this process."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
    finally:
        server.stop()


if __name__ == "__main__":
    throttled = make_server(Path(sys.argv[1]))
    throttled.latency_s, throttled.bytes_per_s = float(sys.argv[2]), float(sys.argv[3])
    print(throttled.server_port, flush=True)
    throttled.serve_forever()
