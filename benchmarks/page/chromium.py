"""A browser driven through the DevTools protocol over a pipe: pages, clicks and keys, errors and requests."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

EXECUTABLE = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip
TIMEOUT_S = 60.0


class Browser:
    """A headless browser with a profile of its own in `folder`, which must be empty."""

    def __init__(self, folder: Path) -> None:
        assert EXECUTABLE is not None
        self._read_end, write = os.pipe()
        read, self._write_end = os.pipe()
        # The browser reads from descriptor 3 and writes to 4.
        shell = f'exec "$@" 3<&{read} 4>&{write}'
        command = ["bash", "-c", shell, "bash", EXECUTABLE, *FLAGS, f"--user-data-dir={folder}", "about:blank"]
        self._process = subprocess.Popen(
            command, pass_fds=(read, write), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        os.close(read)
        os.close(write)
        self._number, self._buffer = 0, b""
        self.events: list[dict[str, Any]] = []

    def close(self) -> None:
        """End the browser."""
        try:
            self.send("Browser.close", None, {})
            self._process.wait(20)
        except (OSError, TimeoutError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        os.close(self._read_end)
        os.close(self._write_end)

    def send(self, method: str, session: str | None, parameters: dict[str, Any]) -> dict[str, Any]:
        """The result of a command; events that come before it are kept. Raises RuntimeError for an error."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._write_end, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + TIMEOUT_S
        while True:
            found = self.receive(until)
            if found is None:
                raise TimeoutError(method)
            if found.get("id") == self._number:
                if "error" in found:
                    raise RuntimeError(f"{method}: {found['error']}")
                return dict(found.get("result", {}))

    def receive(self, until: float) -> dict[str, Any] | None:
        """The next message; an event is also kept. None when the time is over."""
        while b"\0" not in self._buffer:
            if not select.select([self._read_end], [], [], max(until - time.monotonic(), 0))[0]:
                return None
            content = os.read(self._read_end, 1 << 20)
            if not content:
                raise TimeoutError("the browser has ended")
            self._buffer += content
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        if "method" in message:
            self.events.append(message)
        return message


class Tab:
    """A page of the browser of this size and scheme, without scripts if so asked."""

    def __init__(
        self, browser: Browser, width: int = 1400, height: int = 900, *, is_dark: bool = False, has_scripts: bool = True
    ) -> None:
        self.browser = browser
        target = browser.send("Target.createTarget", None, {"url": "about:blank"})["targetId"]
        attached = browser.send("Target.attachToTarget", None, {"targetId": target, "flatten": True})
        self.session, self.target = attached["sessionId"], target
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self.send("Emulation.setFocusEmulationEnabled", enabled=True)
        self.size(width, height)
        self.scheme(is_dark)
        if not has_scripts:
            self.send("Emulation.setScriptExecutionDisabled", value=True)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command to this page."""
        return self.browser.send(method, self.session, parameters)

    def size(self, width: int, height: int) -> None:
        """Give the page this size, in CSS pixels."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def scheme(self, is_dark: bool) -> None:
        """Let the page prefer dark or light colours."""
        value = "dark" if is_dark else "light"
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": value}])

    def open(self, url: str, wait_for: str = "performance.getEntriesByName('ready').length > 0") -> None:
        """Load a page, and wait until an expression holds."""
        self.send("Page.navigate", url=url)
        self.wait(wait_for)

    def load(self, url: str) -> None:
        """Load a page until it is whole."""
        before = len(self._own("Page.loadEventFired"))
        self.send("Page.navigate", url=url)
        while len(self._own("Page.loadEventFired")) == before:
            if self.browser.receive(time.monotonic() + TIMEOUT_S) is None:
                raise TimeoutError(url)

    def wait(self, expression: str, timeout_s: float = TIMEOUT_S) -> None:
        """Wait until an expression holds."""
        until = time.monotonic() + timeout_s
        while not self.value(f"Boolean({expression})"):
            if time.monotonic() > until:
                raise TimeoutError(f"{expression} does not hold; errors: {self.errors()}")
            time.sleep(0.02)

    def value(self, expression: str) -> Any:
        """The value of an expression, awaited."""
        found = self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(f"{expression}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def drawn(self) -> None:
        """Wait until what was asked for is drawn."""
        two_frames = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        self.value(f"window.seedbed ? seedbed.whenDrawn() : {two_frames}")

    def mouse(self, kind: str, x: float, y: float) -> None:
        """A mouse event: mousePressed, mouseMoved or mouseReleased, with the left button."""
        held = {"button": "left", "clickCount": 1} if kind != "mouseMoved" else {}
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, buttons=0 if kind == "mouseReleased" else 1, **held)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press at one point, move to another and release."""
        self.mouse("mousePressed", *start)
        for part in (0.3, 0.7, 1.0):
            self.mouse("mouseMoved", *(a + part * (b - a) for a, b in zip(start, end, strict=True)))
        self.mouse("mouseReleased", *end)
        self.drawn()

    def hover(self, x: float, y: float) -> None:
        """Move the pointer there without a button."""
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y, buttons=0)
        self.drawn()

    def key(self, key: str, text: str = "") -> None:
        """Press a key."""
        codes = {"Enter": 13, "Escape": 27, "Tab": 9, "ArrowDown": 40, "ArrowUp": 38, "End": 35, "Home": 36}
        shared = {"key": key, "windowsVirtualKeyCode": codes.get(key, ord(key[0]))}
        self.send("Input.dispatchKeyEvent", type="keyDown", **shared, **({"text": text} if text else {}))
        self.send("Input.dispatchKeyEvent", type="keyUp", **shared)
        self.drawn()

    def text(self, selector: str) -> str:
        """The text of an element."""
        return str(self.value(f"document.querySelector({json.dumps(selector)}).textContent"))

    def screenshot(self, path: Path) -> bytes:
        """What is seen, as PNG, kept in a file."""
        content = base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"])
        path.write_bytes(content)
        return content

    def errors(self) -> list[str]:
        """Errors, warnings and exceptions of this page so far."""
        found = []
        for event in self._own():
            if event["method"] == "Runtime.exceptionThrown":
                found.append(str(event["params"]["exceptionDetails"].get("exception", {}).get("description")))
            if event["method"] == "Runtime.consoleAPICalled" and event["params"]["type"] in ("error", "warning"):
                found.append(str(event["params"]["args"]))
            if event["method"] == "Log.entryAdded" and event["params"]["entry"]["level"] in ("error", "warning"):
                found.append(event["params"]["entry"]["text"])
        return found

    def requests(self) -> list[str]:
        """The addresses that this page asked for."""
        return [e["params"]["request"]["url"] for e in self._own() if e["method"] == "Network.requestWillBeSent"]

    def close(self) -> None:
        """Close the page."""
        self.browser.send("Target.closeTarget", None, {"targetId": self.target})

    def forget(self) -> None:
        """Count no error of this page so far."""
        self.browser.events = [event for event in self.browser.events if event.get("sessionId") != self.session]

    def _own(self, method: str = "") -> list[dict[str, Any]]:
        own = [event for event in self.browser.events if event.get("sessionId") == self.session]
        return [event for event in own if method in ("", event["method"])]
