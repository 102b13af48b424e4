"""Leases of stored sweeps: who may run one, who has to wait, and what becomes of one that is taken over."""

import json
import threading
import time
from dataclasses import asdict
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.storage import Storage
from harness.storage.lease import Holder, Rhythm, leased
from harness.storage.stored_files import StoredFile
from ndcl.errors import UserError
from tests.integration import sweeps

LIVELY = Rhythm(renew=0.05, stale=60, settle=0)
SHORT = Rhythm(renew=0.05, stale=0.3, settle=0)
PATIENT = Rhythm(renew=3600, stale=3600, settle=0)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Of one sweep on two machines."""
    made = tmp_path / "one" / "tiny", tmp_path / "two" / "tiny"
    for folder in made:
        folder.mkdir(parents=True)
    return made


@pytest.fixture
def place(tmp_path: Path) -> str:
    return str(tmp_path / "shared")


def left_by_a_killed_process(place: str, folder: Path) -> None:
    with leased(Storage(place, "tiny"), folder, print, rhythm=PATIENT):
        text = Storage(place, "tiny").lease_file.read()
    assert text is not None
    Storage(place, "tiny").lease_file.write(text)


def test_a_second_machine_is_refused_while_the_first_runs(place: str, folders: tuple[Path, Path]) -> None:
    first, second = folders
    with leased(Storage(place, "tiny"), first, print, rhythm=LIVELY):
        with (
            pytest.raises(UserError, match=r"is being run by another process \(process \d+ on \S+, since") as error,
            leased(Storage(place, "tiny"), second, print, rhythm=LIVELY),
        ):
            pass
        assert "--take-over" in str(error.value)
        with leased(Storage(place, "other"), second, print, rhythm=PATIENT):
            pass
    with leased(Storage(place, "tiny"), second, print, rhythm=PATIENT):
        pass
    assert Storage(place, "tiny").lease_file.read() is None


def test_what_a_dead_machine_has_left_is_taken_over_once_it_is_seen_not_to_change(
    place: str, folders: tuple[Path, Path]
) -> None:
    left_by_a_killed_process(place, folders[0])
    said: list[str] = []
    with leased(Storage(place, "tiny"), folders[1], said.append, rhythm=SHORT):
        pass
    [line] = said
    assert "was being run by another process" in line
    assert "waiting 0.3 s to see whether it still is" in line


def test_the_machine_on_which_it_was_killed_goes_on_at_once(place: str, folders: tuple[Path, Path]) -> None:
    left_by_a_killed_process(place, folders[0])
    said: list[str] = []
    with leased(Storage(place, "tiny"), folders[0], said.append, rhythm=PATIENT):
        pass
    assert said == []


def test_who_is_taken_over_writes_nothing_more_and_says_by_whom(place: str, folders: tuple[Path, Path]) -> None:
    first, second = Storage(place, "tiny"), Storage(place, "tiny")
    first_ends, taken = threading.Event(), threading.Event()

    def take_over() -> None:
        with leased(second, folders[1], print, take_over=True, rhythm=LIVELY):
            second.put("trials/a.json", "new")
            taken.set()
            first_ends.wait()

    def run_first() -> None:
        with leased(first, folders[0], print, rhythm=LIVELY):
            first.put("trials/a.json", "old")
            other.start()
            assert taken.wait(60)
            with pytest.raises(UserError, match="has been taken over"):
                first.put("trials/a.json", "late")

    other = threading.Thread(target=take_over, daemon=True)
    with pytest.raises(UserError, match=r"taken over by another process \(process .*; this one has stopped"):
        run_first()
    kept = StoredFile(second.uri, second._filesystem, f"{second._path}/trials/a.json").read()
    assert second.lease_file.read() is not None, "the first has removed the lease of the second"
    first_ends.set()
    other.join()
    assert kept == "new"


def test_a_storage_that_is_away_for_a_while_costs_no_lease(
    place: str, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    write, refused, written = StoredFile.write, threading.Event(), threading.Event()

    def fails_once(self: StoredFile, text: str) -> None:
        if not refused.is_set():
            refused.set()
            raise UserError("the storage can't be reached")
        write(self, text)
        written.set()

    with leased(Storage(place, "tiny"), folders[0], print, rhythm=LIVELY):
        monkeypatch.setattr(StoredFile, "write", fails_once)
        assert refused.wait(60)
        assert written.wait(60)


def test_of_two_that_take_a_lease_at_once_the_later_has_it(
    place: str, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    later = Holder(key="later", host="elsewhere", pid=1, since="now")
    file = Storage(place, "tiny").lease_file
    monkeypatch.setattr(time, "sleep", lambda seconds: file.write(json.dumps(asdict(later))))
    with (
        pytest.raises(UserError, match=r"is being run by another process \(process 1 on elsewhere, since now\)"),
        leased(Storage(place, "tiny"), folders[0], print, rhythm=PATIENT),
    ):
        pass


def test_a_sweep_without_a_storage_is_not_taken_over(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["sweep", str(sweeps.written(tmp_path)), "--take-over"])
    assert result.exit_code == 2
    assert "--take-over: only a sweep with --storage is taken over" in result.stderr
