"""Commands are shown, then run: Ray's own, in sight of the user."""

import os
import subprocess
from collections.abc import Callable

from harness.cluster.commands import Command
from ndcl.errors import UserError

Say = Callable[[str], None]
"""Prints a line for the user."""


def run(command: Command, say: Say, failed: str) -> None:
    """Show a command and run it in sight of the user. Raises UserError, saying `failed`, if it fails."""
    say(f"$ {command}")
    done = _started(command)
    if done.returncode:
        raise UserError(f"{failed} (exit code {done.returncode})")


def ran(command: Command, say: Say, *, with_errors: bool = False) -> subprocess.CompletedProcess[str]:
    """Show and run a command, and take its output, on request with what it writes to stderr among it."""
    say(f"$ {command}")
    return _started(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT if with_errors else None)


def output(command: Command, say: Say, failed: str) -> str:
    """What a command prints. Raises UserError, saying `failed`, if it fails."""
    done = ran(command, say)
    if done.returncode:
        raise UserError(f"{failed} (exit code {done.returncode})")
    return done.stdout


def watched(command: Command, say: Say) -> int:
    """Show and run a command that may take long; its exit code. Raises KeyboardInterrupt at Ctrl-C.

    It has no input: ssh would take the terminal for itself, and send Ctrl-C to the head.
    """
    say(f"$ {command}")
    return _started(command, stdin=subprocess.DEVNULL).returncode


def started(command: Command, say: Say) -> "subprocess.Popen[bytes]":
    """Show and start a command that runs until it is ended; without input, as `watched`."""
    say(f"$ {command}")
    return subprocess.Popen(command.argv, env=_environment(command), stdin=subprocess.DEVNULL)


def _started(
    command: Command, stdin: int | None = None, stdout: int | None = None, stderr: int | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command.argv,
        env=_environment(command),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        text=True,
        errors="replace",
        check=False,
    )


def _environment(command: Command) -> dict[str, str]:
    return {**os.environ, **command.environment}
