"""Chromium without a window, where one is installed: how it is started, and a tab that can be asked and clicked."""

import contextlib
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--enable-logging=stderr", "--v=0",
)  # fmt: skip
SECONDS = 120

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium is installed (Debian: apt-get install chromium)"
)


@contextlib.contextmanager
def open_tab(profile: Path, *options: str) -> Iterator["Tab"]:
    """A tab of a Chromium that is told what to do through pipes, by its DevTools protocol."""
    orders, to_browser = os.pipe()
    from_browser, answers = os.pipe()
    redirected = ["bash", "-c", f'exec "$0" "$@" 3<&{orders} 4>&{answers}', str(CHROMIUM)]
    command = [*redirected, *FLAGS, "--remote-debugging-pipe", f"--user-data-dir={profile}", *options]
    process = subprocess.Popen(command, pass_fds=(orders, answers), stderr=subprocess.DEVNULL)
    os.close(orders)
    os.close(answers)
    try:
        yield Tab(to_browser, from_browser)
    finally:
        process.kill()
        process.wait()
        os.close(to_browser)
        os.close(from_browser)


class Tab:
    """One page, with all that it complained of."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to_browser, self._from_browser, self._unread, self._number = to_browser, from_browser, b"", 0
        self._session: dict[str, str] = {}
        self.problems: list[str] = []
        """Errors in the console, exceptions that nobody caught, and what could not be loaded."""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for part in ("Runtime", "Log", "Page"):
            self._call(f"{part}.enable")

    def visit(self, address: str) -> None:
        """Begin to load a page."""
        self._call("Page.navigate", url=address)

    def value(self, expression: str) -> Any:
        """What a JavaScript expression comes to."""
        found = self._evaluated(expression)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait_for(self, expression: str) -> Any:
        """The value of a JavaScript expression as soon as it holds; on a page that is just coming it may raise."""
        deadline = time.monotonic() + SECONDS
        while not (value := (found := self._evaluated(expression))["result"].get("value")):
            told = found.get("exceptionDetails", {}), self.problems, self.text()[:2000]
            assert time.monotonic() < deadline, f"{expression}: waited in vain; {told}"
            time.sleep(0.2)
        return value

    def text(self) -> str:
        """What can be read on the page; nothing before it has come."""
        return str(self.value("document.body?.innerText ?? ''"))

    def _evaluated(self, expression: str) -> dict[str, Any]:
        return self._call("Runtime.evaluate", expression=expression, returnByValue=True)

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        order = {"id": self._number, "method": method, "params": parameters, **self._session}
        os.write(self._to_browser, json.dumps(order).encode() + b"\0")
        while (message := self._next_message()).get("id") != self._number:
            self._take_note(message)
        assert "error" not in message, message
        result: dict[str, Any] = message["result"]
        return result

    def _next_message(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            assert select.select([self._from_browser], [], [], SECONDS)[0], "the browser says nothing"
            part = os.read(self._from_browser, 1 << 16)
            assert part, "the browser has ended"
            self._unread += part
        first, self._unread = self._unread.split(b"\0", 1)
        message: dict[str, Any] = json.loads(first)
        return message

    def _take_note(self, event: dict[str, Any]) -> None:
        told = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.problems.append(str(told["exceptionDetails"].get("exception", told["exceptionDetails"])))
        elif event.get("method") == "Runtime.consoleAPICalled" and told["type"] == "error":
            self.problems.append(" ".join(str(part.get("value", part.get("description"))) for part in told["args"]))
        elif event.get("method") == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.problems.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
