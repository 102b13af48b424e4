"""A fresh copy of the tracked files, and a person who types in it."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.journeys.guides import ROOT

_NOT_OURS = ("NDCL_DATA", "NDCL_CACHE", "MLFLOW_TRACKING_URI", "RAY_ADDRESS", "COLUMNS")
"""Variables that a new user does not have."""
TIMEOUT_SECONDS = 400
_LONG_AGO = 946684800
"""The year 2000."""


class Clone:
    """The tracked files in `folder`, with its own home."""

    def __init__(self, folder: Path, home: Path) -> None:
        """Copies what git lists, as it is in the working tree."""
        self.folder, self.home = folder, home
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
        for name in filter(None, listed.decode().split("\0")):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        (folder / ".venv").symlink_to(Path(sys.prefix))
        for name in ("pyproject.toml", "requirements.lock"):  # older than what is installed, which serves others, too
            os.utime(folder / name, (_LONG_AGO, _LONG_AGO))
        assert self.type("python -c 'import harness; print(harness.__file__)'").startswith(f"{folder}/")

    def type(self, line: str, *settings: str, cwd: Path | None = None, code: int = 0, text: str | None = None) -> str:
        """Type a line, with `--set` appended for each of `settings`, and give what it prints.

        `cwd` is where, the clone by default; `code` the exit code that is expected; `text` what comes from standard
        input.
        """
        done = subprocess.run(
            ["bash", "-c", with_settings(line, settings)],
            cwd=cwd or self.folder,
            env=self._environment(),
            input=text or "",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_SECONDS,
        )
        assert done.returncode == code, f"{line}: exit code {done.returncode}\n{done.stdout}"
        assert "Traceback (most recent call last)" not in done.stdout, done.stdout
        return done.stdout

    def start(self, line: str, *settings: str, cwd: Path | None = None) -> "Running":
        """Type a line and don't wait for its end."""
        return Running(with_settings(line, settings), cwd or self.folder, self._environment())

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in _NOT_OURS}
        path = f"{self.folder / '.venv' / 'bin'}{os.pathsep}{kept['PATH']}"
        return kept | {"PATH": path, "PYTHONPATH": str(self.folder), "HOME": str(self.home), "LANG": "C.UTF-8"}


class Running:
    """A command that has been typed and runs; used as a context, it has ended when that is left."""

    def __init__(self, line: str, cwd: Path, environment: dict[str, str]) -> None:
        self.line = line
        self._output = (cwd / f".output-{time.monotonic_ns()}").open("w+")
        self._process = subprocess.Popen(
            ["bash", "-c", f"exec {line}"],
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
        self._output.close()

    @property
    def text(self) -> str:
        """What it has printed so far."""
        return Path(self._output.name).read_text()

    def wait_until(self, holds: Callable[[], object]) -> None:
        """Wait until something holds, while the command runs."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not holds():
            assert self._process.poll() is None, f"{self.line} ended\n{self.text}"
            assert time.monotonic() < deadline, f"{self.line} takes too long\n{self.text}"
            time.sleep(0.1)

    def interrupt(self) -> int:
        """Press Ctrl-C; the exit code."""
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(60)

    def kill(self) -> None:
        """End it and all that it started at once, as a power failure does."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def with_settings(line: str, settings: Sequence[str]) -> str:
    """A command with `--set` appended."""
    return " ".join([line, *(f"--set {shlex.quote(setting)}" for setting in settings)])


def next_commands(printed: str) -> list[str]:
    """The commands that a command names at its end, as `next: ndcl ui`."""
    return re.findall(r"^next: (ndcl .*)$", printed, re.MULTILINE)
