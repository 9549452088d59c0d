"""A real headless Chromium, driven over its DevTools pipe with the standard library alone.

`Browser` starts the browser, `open` shows one file in a page of a given width, and the page remembers every console
message, every exception and every network request. No port is opened and no profile is left behind.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome-headless-shell")
SWITCHES = (
    "--headless",
    "--no-sandbox",  # tests often run as root in a container, where Chromium's sandbox cannot
    "--disable-gpu",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
)
PATIENCE_S = 30.0


def find_chromium() -> str | None:
    """Return the path of a Chromium, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class BrowserError(Exception):
    """The browser refused a command, or went away."""


@dataclass
class Page:
    """One open page.

    Attributes:
        messages: Console messages, log entries (a violated content security policy is one) and exceptions, in words.
        requests: Addresses that were asked for after the page's own, pictures inside the page left out.
    """

    browser: Browser
    session: str
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def evaluate(self, script: str) -> Any:
        """Return the value of a JavaScript expression; the page's own policy does not apply to it."""
        found = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise BrowserError(json.dumps(found["exceptionDetails"])[:400])
        return found["result"].get("value")

    def click(self, selector: str) -> None:
        """Press the mouse in the middle of an element."""
        box = self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); "
            "e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect(); "
            "return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def resize(self, width: int, height: int, *, mobile: bool = False) -> None:
        """Give the page another size, in CSS pixels."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)

    def emulate(self, media: str = "", **features: str) -> None:
        """Show it as print (`media="print"`), or with media features such as `prefers_color_scheme="dark"`."""
        wanted = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self._call("Emulation.setEmulatedMedia", media=media, features=wanted)

    def screenshot(self, path: Path, *, whole: bool = True) -> Path:
        """Write what the page shows as PNG."""
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]))
        return path

    def pdf(self) -> bytes:
        """Print the page."""
        return base64.b64decode(self._call("Page.printToPDF", preferCSSPageSize=True)["data"])

    def accessible(self) -> list[tuple[str, str]]:
        """Return (role, name) of what a screen reader is told, in order."""
        nodes = self._call("Accessibility.getFullAXTree")["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in nodes
            if not node.get("ignored") and "role" in node
        ]

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        return self.browser.call(method, self.session, **params)

    def note(self, method: str, params: dict[str, Any]) -> None:
        """Remember an event of the browser."""
        if method == "Runtime.exceptionThrown":
            thrown = params["exceptionDetails"]
            self.messages.append(thrown.get("exception", {}).get("description", thrown["text"]))
        elif method == "Runtime.consoleAPICalled":
            self.messages.append(json.dumps(params["args"])[:400])
        elif method == "Log.entryAdded":
            self.messages.append(f"{params['entry']['level']}: {params['entry']['text']}"[:400])
        elif method == "Network.requestWillBeSent" and not params["request"]["url"].startswith("data:"):
            self.requests.append(params["request"]["url"])


class Browser:
    """A running Chromium; use it in a `with`."""

    def __init__(self, program: str) -> None:
        self._pages: dict[str, Page] = {}
        self._counter = 0
        self._buffer = b""
        self._profile = tempfile.mkdtemp(prefix="chromium-")
        from_browser, their_out = _pipe()
        their_in, self._to_browser = _pipe()
        self._from_browser = from_browser
        self._process = subprocess.Popen(
            [program, *SWITCHES, f"--user-data-dir={self._profile}", "about:blank"],
            pass_fds=(3, 4), preexec_fn=_wired(their_in, their_out),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={"HOME": self._profile, "PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8"},
        )  # fmt: skip
        os.close(their_in)
        os.close(their_out)
        os.set_blocking(self._from_browser, False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._from_browser)
        os.close(self._to_browser)
        shutil.rmtree(self._profile, ignore_errors=True)

    def open(self, path: Path, width: int, height: int = 800, *, mobile: bool = False) -> Page:
        """Show a file and wait until it is there."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            self.call(f"{domain}.enable", session)
        page.resize(width, height, mobile=mobile)
        address = path.resolve().as_uri()
        self.call("Page.navigate", session, url=address)
        deadline = time.monotonic() + PATIENCE_S
        while page.evaluate("document.readyState + ' ' + location.protocol") != "complete file:":
            if time.monotonic() > deadline:
                raise BrowserError(f"{address} did not load")
            time.sleep(0.02)
        page.requests = [one for one in page.requests if one != address]
        return page

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Send one command and return its answer."""
        self._counter += 1
        number = self._counter
        message = {"id": number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        os.write(self._to_browser, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE_S
        while True:
            answer = self._next(deadline)
            if answer.get("id") == number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']['message']}")
                return dict(answer["result"])
            page = self._pages.get(answer.get("sessionId", ""))
            if page is not None and "method" in answer:
                page.note(answer["method"], answer["params"])

    def _next(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            try:
                part = os.read(self._from_browser, 1 << 20)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise BrowserError("the browser does not answer") from None
                time.sleep(0.005)
                continue
            if not part:
                raise BrowserError(f"the browser ended with exit code {self._process.wait()}")
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(line))


def _pipe() -> tuple[int, int]:
    """A pipe with numbers far from 3 and 4, which the browser expects."""
    ends = os.pipe()
    moved = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 20) for end in ends]
    for end in ends:
        os.close(end)
    return moved[0], moved[1]


def _wired(their_in: int, their_out: int) -> Callable[[], None]:
    def wire() -> None:
        os.dup2(their_in, 3)
        os.dup2(their_out, 4)

    return wire
