"""Opening a page in the user's browser, once the server that the caller becomes answers; where there is a browser."""

import contextlib
import os
import subprocess
import sys
import time
import urllib.request
import webbrowser

WAIT_SECONDS = 120.0
"""So long a server may take to answer."""


def open_when_served(address: str) -> None:
    """Open the page as soon as it is served, if somebody sits at a terminal under a desktop; returns at once.

    Its own process does so, since the caller becomes the server.
    """
    if sys.stdout.isatty() and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        command = [sys.executable, "-m", "harness.cli.browser", address]
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def _open(address: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(address.partition("#")[0], timeout=5).close()
            webbrowser.open(address)
            return
        time.sleep(0.5)


if __name__ == "__main__":
    _open(sys.argv[1])
