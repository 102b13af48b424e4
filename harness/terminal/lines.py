"""Lines on stdout and stderr: what a terminal would obey, or the encoding lacks, is shown as an escape."""

import errno
import os
import select
import sys

from harness.terminal.legible import ERRORS, legible

FULL = (errno.ENOSPC, errno.EDQUOT)
"""Errors of a disk that is full, to which an output goes."""


def prepare_streams() -> None:
    """Have stdout and stderr show an escape where their encoding lacks a character, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=ERRORS)


def is_abandoned() -> bool:
    """Whether nobody reads the pipe any more that stdout or stderr goes into."""
    poll = select.poll()
    for stream in (1, 2):
        poll.register(stream, select.POLLOUT)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def discard_output() -> None:
    """Let all that is still to be written to stdout vanish, so that the end of the process does not fail on it, too."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def say(line: str, *, error: bool = False) -> None:
    """Print one line; an `error` or a notice goes to stderr. It is not wrapped: a command in it can be copied."""
    stream = sys.stderr if error else sys.stdout
    stream.write(f"{legible(line, stream.encoding)}\n")
    stream.flush()
