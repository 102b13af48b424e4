"""The log of a worker: what it, its children and its libraries print, on a disk and in an object store."""

import subprocess
import sys
from pathlib import Path

import pytest

from harness.trials.rank_logs import logs_exist
from ndcl.filesystems import filesystem_of, join
from tests.servers.object_stores import served_gs

PROGRAM = """
import os, subprocess, sys
from harness.trials.rank_logs import kept_log
try:
    with kept_log(sys.argv[1]):
        print("from Python")
        os.write(2, b"from a library\\n")
        subprocess.run(["sh", "-c", "echo from a child"], check=True)
        raise ValueError("no luck")
except ValueError:
    os.write(1, b"afterwards\\n")
"""
KEPT = ("from Python", "from a library", "from a child", "ValueError: no luck", "worker 0 of 1 begins on")


def run(folder: str) -> str:
    """What the program printed."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, folder], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
    ).stdout


def check(text: str, times: int) -> None:
    for line in KEPT:
        assert text.count(line) == times, line
    assert "afterwards" not in text


def test_all_that_is_printed_is_kept_with_the_error_and_printed_as_well(tmp_path: Path) -> None:
    folder = tmp_path / "trial" / "logs"
    assert not logs_exist(str(folder))
    for times in (1, 2):  # as when the worker is started again
        printed = run(str(folder))
        assert all(line in printed for line in (*KEPT[:-1], "afterwards"))
        check((folder / "rank-0.log").read_text(), times)
    assert logs_exist(str(folder))


def test_in_an_object_store_the_log_of_an_earlier_worker_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    with served_gs() as bucket:
        folder = join(bucket, "run/trial/logs")
        filesystem, path = filesystem_of(join(folder, "rank-0.log"))
        assert not logs_exist(folder)
        for times in (1, 2):
            run(folder)
            with filesystem.open_input_stream(path) as stream:
                check(stream.read().decode(), times)
        assert logs_exist(folder)
