"""A page in a headless Chromium, driven over the DevTools protocol through two pipes.

https://chromedevtools.github.io/devtools-protocol/: with --remote-debugging-pipe the browser reads JSON
messages, each ended by a zero byte, from file descriptor 3 and writes them to 4.
"""

import base64
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Message = dict[str, Any]


class Browser:
    """One page of a browser."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from = to_browser, from_browser
        self._rest = b""
        self._last_id = 0
        self._session: str | None = None
        self.events: list[Message] = []

    def call(self, method: str, **params: Any) -> Message:
        """The result of a command. Raises AssertionError with what the browser says if it fails."""
        self._last_id += 1
        message = {"id": self._last_id, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._last_id:
                assert "error" not in answer, answer
                result: Message = answer["result"]
                return result
            self.events.append(answer)

    def open(self, url: str) -> None:
        """Open a page in a new tab and wait until everything in it is loaded."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=url)
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._read())

    def resize(self, width: int, height: int = 844) -> None:
        """Show the page as a screen of that many CSS pixels does."""
        self.call(
            *("Emulation.setDeviceMetricsOverride",),
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page; a promise is awaited."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def complaints(self) -> list[Message]:
        """Errors and warnings of the console, of scripts and of the network so far."""
        found = []
        for event in self.events:
            method, params = event.get("method"), event.get("params", {})
            if (
                method in ("Runtime.exceptionThrown", "Network.loadingFailed")
                or (method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"))
                or (method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"))
            ):
                found.append(event)
        return found

    def requested(self) -> list[str]:
        """The addresses that the page asked for, without those that hold their data themselves."""
        urls = [
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]
        return [url for url in urls if not url.startswith("data:")]

    def screenshot(self, path: Path) -> None:
        """Write the whole page, as it is laid out now, as PNG."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def pdf(self) -> bytes:
        """The printed page."""
        return base64.b64decode(self.call("Page.printToPDF", printBackground=True)["data"])

    def _read(self) -> Message:
        while b"\0" not in self._rest:
            more = os.read(self._from, 1 << 20)
            assert more, "the browser has ended"
            self._rest += more
        message, self._rest = self._rest.split(b"\0", 1)
        decoded: Message = json.loads(message)
        return decoded


@contextmanager
def browser(command: list[str]) -> Iterator[Browser]:
    """A headless browser with a profile of its own, which ends with the block."""
    read_by_it, to_browser = os.pipe()
    from_browser, written_by_it = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        arguments = [
            *command,
            "--headless",
            "--no-sandbox",  # which root in a container cannot have
            "--disable-gpu",
            "--disable-dev-shm-usage",  # /dev/shm is small in containers
            "--no-first-run",
            "--disable-background-networking",
            f"--user-data-dir={profile}",
            "--remote-debugging-pipe",
        ]
        shell = f'exec "$@" 3<&{read_by_it} 4>&{written_by_it}'
        process = subprocess.Popen(
            ["bash", "-c", shell, "bash", *arguments],
            pass_fds=(read_by_it, written_by_it),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read_by_it)
        os.close(written_by_it)
        try:
            yield Browser(to_browser, from_browser)
        finally:
            os.close(to_browser)  # then the browser ends
            os.close(from_browser)
            process.terminate()
            process.wait()
