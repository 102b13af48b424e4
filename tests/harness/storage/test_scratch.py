"""The folder in which a training process writes: its own, and gone once the process is, whatever ended it."""

import subprocess
import sys
from pathlib import Path

import pytest

from harness.storage.scratch import scratch_folder

WRITES_AND_WAITS = """
from harness.storage.scratch import scratch_folder
(scratch_folder() / "half").write_text("a checkpoint")
print(scratch_folder(), flush=True)
input()
"""


def writing(temporary: Path) -> tuple["subprocess.Popen[str]", Path]:
    """A process that has begun to write, and its folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITES_AND_WAITS],
        env={"TMPDIR": str(temporary), "PYTHONPATH": str(Path(__file__).parents[3])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_what_a_killed_process_has_left_goes_and_the_living_keep_theirs(tmp_path: Path) -> None:
    dead, of_the_dead = writing(tmp_path)
    living, of_the_living = writing(tmp_path)
    try:
        assert of_the_dead != of_the_living
        dead.kill()
        dead.communicate()
        assert (of_the_dead / "half").exists()
        last, of_the_last = writing(tmp_path)
        last.kill()
        last.communicate()
        assert not of_the_dead.exists()
        assert (of_the_living / "half").read_text() == "a checkpoint"
        assert of_the_last.parent == of_the_living.parent
    finally:
        living.kill()
        living.communicate()


def test_a_process_has_one_folder_that_only_its_user_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    scratch_folder.cache_clear()
    own = scratch_folder()
    assert scratch_folder() == own
    assert own.parent.stat().st_mode & 0o777 == own.stat().st_mode & 0o777 == 0o700
    scratch_folder.cache_clear()
